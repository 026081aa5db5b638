"""Crops that are kept for learning, and clips that are fused again from them."""

import numpy as np
import pytest
from kept_crops import CHANNELS, ROWS, clip_of, crop, key, request, site

from pipeline.fitting.crops import CropStore, KeptLimits, fused_again
from pipeline.ports import EncoderDescription
from pipeline.types import ClipFeature
from reid.heads import MeanHead

DESCRIPTION = EncoderDescription("m", ROWS, CHANNELS)
CROP_BYTES = ROWS * CHANNELS * 2 + ROWS * 4


def filled(count, limits=None, pictures=False, tracks=1):
    cut = (lambda wanted: wanted.picture) if pictures else None
    store = CropStore(limits, cut)
    for i in range(count):
        for track_id in range(tracks):
            store.add(key(track_id=track_id), crop(float(i)), request(np.full((4, 2, 3), i % 256, np.uint8)))
    return store


def times(store, track_id=0):
    return [c.captured_at_s for c in store.crops_of(key(track_id=track_id))]


def test_few_crops_are_all_kept_in_half_precision_without_pictures():
    store = filled(5)
    assert times(store) == [0, 1, 2, 3, 4] and not store.thinned and store.total == 5
    kept = store.crops_of(key(track_id=0))[0]
    assert kept.stripes.dtype == np.float16 and kept.picture is None
    assert kept.feature("m").stripes.dtype == np.float32


def test_values_too_large_for_half_precision_are_kept_as_they_are():
    store = CropStore()
    store.add(key(), crop(0.0, np.full((ROWS, CHANNELS), 1e6, np.float32)), request())
    assert store.crops_of(key())[0].stripes.max() == pytest.approx(1e6)


def test_a_long_track_is_thinned_evenly():
    store = filled(1000, KeptLimits(of_track=64))
    gaps = np.diff(times(store))
    assert 32 <= len(times(store)) <= 64 and len(set(gaps)) == 1
    assert store.thinned and store.total == 1000


def test_all_tracks_are_thinned_when_memory_is_full():
    store = filled(100, KeptLimits(feature_bytes=200 * CROP_BYTES), tracks=10)
    counts = [len(times(store, track_id)) for track_id in range(10)]
    assert sum(counts) <= 200 and min(counts) >= 8
    assert all(len(set(np.diff(times(store, track_id)))) == 1 for track_id in range(10))


def test_the_crops_after_a_cut_are_the_other_tracks():
    store = filled(6)
    store.split(key(track_id=0), key(track_id=7), 3.0)
    assert (times(store), times(store, 7), store.total) == ([0, 1, 2, 3], [4, 5], 6)
    store.add(key(track_id=7), crop(6.0), request())
    assert times(store, 7) == [4, 5, 6] and store.total == 7


def test_a_cut_of_a_thinned_track_leaves_both_evenly_thinned():
    store = filled(100, KeptLimits(of_track=32))
    store.split(key(track_id=0), key(track_id=7), 49.5)
    for i in range(100, 120):
        store.add(key(track_id=7), crop(float(i)), request())
    assert len(set(np.diff(times(store)))) == len(set(np.diff(times(store, 7)))) == 1
    assert store.total == 120 and times(store)[-1] < 50 <= times(store, 7)[0]


def test_a_cut_after_which_nothing_came_or_of_an_unknown_track_changes_nothing():
    store = filled(3)
    store.split(key(track_id=0), key(track_id=7), 2.0)
    store.split(key(track_id=5), key(track_id=8), 0.0)
    assert times(store) == [0, 1, 2] and not times(store, 7) and not times(store, 8)


def test_pictures_are_kept_when_asked_and_thinned_evenly_before_features_are():
    store = filled(64, KeptLimits(picture_bytes=20 * 24), pictures=True)
    with_picture = [c.number for c in store.crops_of(key(track_id=0)) if c.picture is not None]
    assert len(times(store)) == 64
    assert 8 <= len(with_picture) <= 20 and len(set(np.diff(with_picture))) == 1


def test_no_picture_at_all_fits_and_nothing_hangs():
    store = filled(8, KeptLimits(picture_bytes=0), pictures=True, tracks=3)
    assert all(c.picture is None for c in store.all_crops())


def test_an_unknown_track_and_an_unknown_clip_have_no_crops():
    store = filled(2)
    assert store.crops_of(key("b", 9)) == ()
    assert store.crops_of_clip(clip_of(key(), 1, [crop(0.0)])) == ()


def test_a_clip_is_made_of_its_own_crops_or_of_the_nearest_that_were_kept():
    store = filled(1000, KeptLimits(of_track=10))
    clip = clip_of(key(track_id=0), 1, [crop(100.0), crop(101.0), crop(500.0)])
    store.note(clip, [crop(100.0), crop(101.0), crop(500.0)])
    found = [c.captured_at_s for c in store.crops_of_clip(clip)]
    kept = np.array(times(store))
    assert found == sorted({float(kept[np.abs(kept - t).argmin()]) for t in (100.0, 101.0, 500.0)})


def test_other_features_come_only_to_crops_with_a_picture():
    store = filled(8, KeptLimits(picture_bytes=4 * 24), pictures=True)
    other = store.with_features(lambda crops: [crop(c.captured_at_s, 2 * np.ones((4, 3))) for c in crops])
    assert [c.stripes.shape for c in other.all_crops()] == [(4, 3)] * 4
    assert [c.stripes.shape for c in store.all_crops()] == [(ROWS, CHANNELS)] * 8


def test_the_head_that_made_the_clips_makes_the_same_ones_again():
    footage, store = site([("a", 1, 1, 0.0, 6.0, 0.0), ("b", 1, 2, 0.0, 6.0, 0.0)])
    head = MeanHead(DESCRIPTION)
    once = fused_again(footage, store, head, "m")
    twice = fused_again(once, store, head, "m")
    for first, second in zip(once.clips, twice.clips, strict=True):
        assert np.array_equal(first.embedding, second.embedding)
        assert first.model_id == head.clip_model_id
    assert [type(m) for m in once.messages] == [type(m) for m in footage.messages]
    assert once.tracklets == footage.tracklets


def test_a_clip_without_any_crop_is_an_error_not_a_guess():
    footage, _ = site([("a", 1, 1, 0.0, 2.0, 0.0)])
    with pytest.raises(ValueError, match="no crop"):
        fused_again(footage, CropStore(), MeanHead(DESCRIPTION), "m")


def test_clips_go_through_the_codec_as_the_matcher_gets_them():
    footage, store = site([("a", 1, 1, 0.0, 3.0, 0.0)])
    for clip in fused_again(footage, store, MeanHead(DESCRIPTION), "m").clips:
        assert isinstance(clip, ClipFeature)
        assert np.array_equal(clip.embedding, clip.embedding.astype(np.float16).astype(np.float32))
