"""Which crops are encoded, and when clips are made."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import ReidConfig
from pipeline.tracking.encoding_policy import EVENLY, EVENT
from pipeline.tracking.quality import frame_qualities, sharpness
from pipeline.tracking.sampling import (
    CLOSE_CHUNKS,
    MOST_CROPS,
    TALLEST_CROP_PX,
    ClipSampler,
    CropRequest,
    DueClip,
    evenly_spread,
)
from pipeline.types import CropFeature, CropQuality, Frame, Tracks

CONFIG = ReidConfig(clip_frames=4, first_clip_s=0.4, every_s=1.0, crop_every_s=0.25)
BOX = (100.0, 50.0, 160.0, 250.0)
NOISE = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)


def frame_at(time_s: float, image: np.ndarray = NOISE, damaged: bool = False) -> Frame:
    return Frame("cam", "1", round(time_s * 100), time_s, image, damaged)


def tracks_of(*boxes, confidence: float = 0.9, first_id: int = 1) -> Tracks:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Tracks(np.arange(first_id, first_id + len(boxes)), xyxy, np.full(len(boxes), confidence, np.float32))


def encoded(request: CropRequest) -> CropFeature:
    return CropFeature(
        request.captured_at_s, np.ones((4, 2), np.float32), np.ones(4, np.float32), request.quality, "model"
    )


def play(
    sampler: ClipSampler, times_s, tracks: Tracks | None = None
) -> tuple[list[CropRequest], list[tuple[float, DueClip]]]:
    """Offer the same tracks at every time, encode at once; the crops and the clips with their times."""
    tracks = tracks_of(BOX) if tracks is None else tracks
    crops: list[CropRequest] = []
    clips: list[tuple[float, DueClip]] = []
    for time_s in times_s:
        for request in sampler.offer(frame_at(time_s), tracks):
            crops.append(request)
            sampler.accept(request.track_id, encoded(request))
        clips += [(time_s, clip) for clip in sampler.due_clips(time_s)]
    return crops, clips


def steps(dt_s: float, until_s: float) -> list[float]:
    return [i * dt_s for i in range(round(until_s / dt_s) + 1)]


def feature(time_s: float, score_confidence: float = 1.0) -> CropFeature:
    quality = CropQuality(128.0, 1e9, 0.0, 0.0, score_confidence)
    return CropFeature(time_s, np.ones((4, 2), np.float32), np.ones(4, np.float32), quality, "model")


def test_no_tracks_need_no_crops():
    sampler = ClipSampler(CONFIG, EVENLY)
    assert sampler.offer(frame_at(0.0), Tracks.empty()) == []
    assert sampler.due_clips(10.0) == []


@pytest.mark.parametrize("dt_s", [0.04, 0.1, 0.2])
def test_the_first_clip_comes_first_clip_s_after_birth(dt_s):
    _, clips = play(ClipSampler(CONFIG, EVENLY), steps(dt_s, 0.8))
    time_s, clip = clips[0]
    assert time_s == pytest.approx(0.4)
    assert clip.first_visible_s == 0.0
    assert [c.captured_at_s < 0.25 for c in clip.crops] == [True, False]  # a chunk each, the second cut short


def test_birth_is_the_first_box_where_it_is_known():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.2), tracks_of(BOX), {1: 0.0})
    for request in sampler.offer(frame_at(0.4), tracks_of(BOX), {1: 0.0}):
        sampler.accept(request.track_id, encoded(request))
    clips = sampler.due_clips(0.4)
    assert [clip.first_visible_s for clip in clips] == [0.0]


def test_a_chunk_gives_one_crop():
    crops, _ = play(ClipSampler(CONFIG, EVENLY), steps(0.05, 5.0))
    chunks = [int((c.captured_at_s + 1e-4) // 0.25) for c in crops]
    assert chunks == sorted(set(chunks)) == list(range(20))


def test_a_crop_is_asked_for_when_its_chunk_is_over_even_if_the_track_is_not_seen():
    sampler = ClipSampler(CONFIG, EVENLY)
    assert sampler.offer(frame_at(0.0), tracks_of(BOX)) == []
    assert sampler.offer(frame_at(0.2), Tracks.empty()) == []
    assert [c.captured_at_s for c in sampler.offer(frame_at(0.3), Tracks.empty())] == [0.0]


def test_the_best_candidate_of_a_chunk_is_chosen():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(BOX, confidence=0.5))
    sampler.offer(frame_at(0.1), tracks_of(BOX, confidence=0.9))
    sampler.offer(frame_at(0.2), tracks_of(BOX, confidence=0.7))
    (chosen,) = sampler.offer(frame_at(0.3), Tracks.empty())
    assert chosen.captured_at_s == pytest.approx(0.1)
    assert chosen.quality.confidence == pytest.approx(0.9)


def test_a_sharp_picture_is_chosen_before_a_flat_one():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0, np.full_like(NOISE, 128)), tracks_of(BOX))
    sampler.offer(frame_at(0.1), tracks_of(BOX))
    (chosen,) = sampler.offer(frame_at(0.3), Tracks.empty())
    assert chosen.captured_at_s == pytest.approx(0.1)


def test_a_damaged_picture_is_only_taken_when_there_is_no_other():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0, damaged=True), tracks_of(BOX))
    sampler.offer(frame_at(0.1), tracks_of(BOX, confidence=0.3))
    sampler.offer(frame_at(0.2, damaged=True), tracks_of(BOX))
    assert [c.captured_at_s for c in sampler.offer(frame_at(0.3, damaged=True), tracks_of(BOX))] == [0.1]
    assert [c.captured_at_s for c in sampler.offer(frame_at(0.6), Tracks.empty())] == [0.3]


def test_a_crop_is_a_small_copy_of_its_own():
    image = NOISE.copy()
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0, image), tracks_of((100.5, 50.25, 160.0, 250.0)))
    image[:] = 0
    (crop,) = sampler.offer(frame_at(0.3, image), Tracks.empty())
    assert crop.crop_frame.image.shape == (200, 60, 3)
    np.testing.assert_array_equal(crop.crop_frame.image, NOISE[50:250, 100:160])
    np.testing.assert_allclose(crop.xyxy, [0.5, 0.25, 60, 200])
    assert crop.crop_frame.captured_at_s == crop.captured_at_s == 0.0
    assert not crop.crop_frame.image.flags.writeable


def test_a_tall_crop_is_stored_smaller():
    image = np.zeros((1200, 800, 3), np.uint8)
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0, image), tracks_of((100, 100, 500, 1124)))
    (crop,) = sampler.offer(frame_at(0.3, image), Tracks.empty())
    assert crop.crop_frame.image.shape == (TALLEST_CROP_PX, 200, 3)
    np.testing.assert_allclose(crop.xyxy, [0, 0, 200, 512])
    assert crop.quality.height_px == 1024


@pytest.mark.parametrize("box", [(700, 50, 760, 250), (-80, 50, -10, 250), (100, 50, 100, 50)])
def test_a_box_without_pixels_gives_no_crop_and_does_not_use_up_its_chunk(box):
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(box))
    sampler.offer(frame_at(0.1), tracks_of(BOX))
    assert [c.captured_at_s for c in sampler.offer(frame_at(0.3), Tracks.empty())] == [pytest.approx(0.1)]


def test_clips_follow_every_s_and_never_repeat_without_news():
    sampler = ClipSampler(CONFIG, EVENLY)
    _, clips = play(sampler, steps(0.1, 2.6))
    assert [time_s for time_s, _ in clips] == pytest.approx([0.4, 1.4, 2.4])
    assert [len(clip.crops) for _, clip in clips] == [2, 4, 4]
    _, later = play(sampler, [2.7, 2.8], Tracks.empty())  # the open chunk is closed and encoded
    assert later == []
    _, later = play(sampler, [3.5, 4.5, 5.5], Tracks.empty())
    assert [time_s for time_s, _ in later] == [3.5]


def test_a_clip_waits_for_the_first_encoded_crop():
    sampler = ClipSampler(CONFIG, EVENLY)
    requests = [r for t in steps(0.1, 1.0) for r in sampler.offer(frame_at(t), tracks_of(BOX))]
    assert sampler.due_clips(1.0) == []
    sampler.accept(1, encoded(requests[0]))
    assert [len(clip.crops) for clip in sampler.due_clips(1.1)] == [1]


def test_the_last_clip_of_a_short_track_holds_the_open_crop():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(BOX))
    assert sampler.last_clip(1) is None
    (request,) = sampler.flush(1)
    sampler.accept(1, encoded(request))
    clip = sampler.last_clip(1)
    assert clip is not None
    assert [c.captured_at_s for c in clip.crops] == [0.0]
    assert sampler.last_clip(1) is None
    assert sampler.flush(1) == []


def test_a_forgotten_track_leaves_nothing_and_its_late_crops_are_dropped():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(BOX))
    (request,) = sampler.flush(1)
    sampler.forget(1)
    sampler.forget(1)
    sampler.accept(1, encoded(request))
    assert sampler.last_clip(1) is None
    assert sampler.flush(1) == []
    assert sampler.due_clips(10.0) == []


def test_tracks_do_not_share_crops():
    crops, clips = play(ClipSampler(CONFIG, EVENLY), steps(0.1, 1.0), tracks_of(BOX, (400, 60, 460, 240)))
    assert {c.track_id for c in crops} == {1, 2}
    assert [(t, clip.track_id) for t, clip in clips] == [(0.4, 1), (0.4, 2)]
    assert clips[0][1].crops[0].quality.height_px == 200
    assert clips[1][1].crops[0].quality.height_px == 180


def test_memory_is_bounded_and_stays_even_in_time():
    sampler = ClipSampler(CONFIG, EVENLY)
    _, clips = play(sampler, steps(0.25, 100.0))
    stored = sampler._tracks[1].crops
    assert len(stored) == MOST_CROPS
    times_s = np.array([c.captured_at_s for c in stored])
    assert times_s[0] < 15
    assert times_s[-1] > 95
    assert np.diff(times_s).max() < 15
    last = [c.captured_at_s for c in clips[-1][1].crops]
    assert all(25 * i - 1 <= t <= 25 * (i + 1) + 1 for i, t in enumerate(last))


def test_thinning_keeps_the_better_of_two_neighbours():
    sampler = ClipSampler(CONFIG, EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(BOX))
    good = set(range(1, 100, 3))
    for i in range(100):
        sampler.accept(1, feature(float(i), 0.9 if i in good else 0.2))
    kept = {int(c.captured_at_s) for c in sampler._tracks[1].crops}
    assert len(kept & good) > 0.75 * len(kept)


def test_two_runs_are_equal():
    runs = [play(ClipSampler(CONFIG, EVENLY), steps(0.1, 3.0), tracks_of(BOX, (110, 60, 170, 240))) for _ in range(2)]
    described = [[(t, clip.track_id, [c.captured_at_s for c in clip.crops]) for t, clip in clips] for _, clips in runs]
    assert described[0] == described[1]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_few_crops_are_all_taken(count):
    crops = [feature(float(i)) for i in range(count)]
    assert evenly_spread(crops, 4) == crops


def test_many_crops_give_the_best_of_each_part_of_the_time():
    crops = [feature(float(i), 0.9 if i in (2, 5, 8, 11) else 0.1) for i in range(13)]
    assert [c.captured_at_s for c in evenly_spread(crops, 4)] == [2, 5, 8, 11]


def test_empty_parts_of_the_time_are_made_up_for_by_the_best_of_the_rest():
    crops = [feature(0.0), feature(0.1, 0.9), feature(0.2, 0.2), feature(10.0)]
    assert [c.captured_at_s for c in evenly_spread(crops, 3)] == [0.0, 0.1, 10.0]


def test_crops_of_one_moment_are_spread_without_dividing_by_nothing():
    assert len(evenly_spread([feature(1.0) for _ in range(6)], 4)) == 4


def test_quality_says_how_large_whole_and_free_a_person_is():
    tracks = tracks_of(BOX, (130, 50, 190, 250), (600, 100, 640, 200), (-20, 10, 20, 110))
    first, second, at_edge, half_out = frame_qualities(frame_at(0.0), tracks)
    assert first.height_px == 200
    assert first.overlap == second.overlap == pytest.approx(0.5)
    assert first.truncation == 0
    assert 0 < at_edge.truncation < 0.5
    assert half_out.truncation == pytest.approx(0.5)
    assert half_out.overlap == 0
    assert frame_qualities(frame_at(0.0), Tracks.empty()) == []


def test_sharpness_of_a_flat_or_empty_crop_is_nothing_and_blur_lowers_it():
    assert sharpness(np.full((80, 40, 3), 90, np.uint8)) == 0
    assert sharpness(np.zeros((0, 40, 3), np.uint8)) == 0
    checks = (np.indices((160, 80)).sum(axis=0) // 8 % 2 * 255).astype(np.uint8)
    soft = (np.indices((160, 80)).sum(axis=0) / 240 * 255).astype(np.uint8)
    assert sharpness(np.dstack([checks] * 3)) > 10 * sharpness(np.dstack([soft] * 3))


def test_a_candidate_that_cannot_win_costs_no_sharpness(monkeypatch):
    calls = []
    monkeypatch.setattr("pipeline.tracking.sampling.sharpness", lambda crop: calls.append(1) or 1e9)
    sampler = ClipSampler(replace(CONFIG, crop_every_s=10.0, first_clip_s=10.0), EVENLY)
    sampler.offer(frame_at(0.0), tracks_of(BOX, confidence=0.9))
    sampler.offer(frame_at(0.1), tracks_of(BOX, confidence=0.5))
    assert len(calls) == 1


def sampled(until_s: float) -> ClipSampler:
    """One track, ten frames a second, encoded at once; its clips made as they came due."""
    sampler = ClipSampler(CONFIG, EVENLY)
    play(sampler, steps(0.1, until_s))
    return sampler


def taken(clip: DueClip | None) -> list[float]:
    """The times of a clip's crops."""
    return [] if clip is None else [crop.captured_at_s for crop in clip.crops]


def test_clips_take_no_crop_from_later_than_they_may():
    sampler = sampled(0.3)  # too early for a clip
    for time_s in (0.4, 0.6, 0.8):
        sampler.accept(1, feature(time_s))
    assert sampler.due_clips(1.0, lambda track_id: -1.0) == []
    (clip,) = sampler.due_clips(1.0, lambda track_id: 0.6)
    assert max(taken(clip)) == 0.6
    assert sampler.last_clip(1, 0.6) is None
    assert max(taken(sampler.last_clip(1))) == 0.8


def test_a_held_back_clip_comes_as_soon_as_it_may():
    sampler = sampled(0.5)
    sampler.accept(1, feature(0.7))
    assert sampler.due_clips(1.5, lambda track_id: 0.6) == []
    assert [clip.track_id for clip in sampler.due_clips(1.6)] == [1]


def test_a_split_track_gives_its_later_crops_and_its_candidate_to_the_new_one():
    sampler = sampled(1.2)  # what was best between 1.0 and 1.2 is not encoded yet
    sampler.accept(1, feature(0.85))
    whole = taken(sampler.last_clip(1))
    sampler.split(1, 2, after_s=0.8, born_s=0.9)
    assert sampler.flush(1) == []
    (candidate,) = sampler.flush(2)
    assert candidate.track_id == 2 and candidate.captured_at_s >= 1.0
    clip = sampler.last_clip(2)
    assert (clip.track_id, clip.first_visible_s) == (2, 0.9)
    assert taken(clip) == [0.85]
    again = taken(sampler.last_clip(1))  # that clip was of two people
    assert max(again) <= 0.8 and set(again) >= {t for t in whole if t <= 0.8}


def test_the_first_clip_of_a_new_part_is_due_as_that_of_any_track():
    sampler = sampled(1.2)
    sampler.accept(1, feature(1.1))
    sampler.split(1, 2, after_s=0.9, born_s=1.0)
    assert 2 not in [clip.track_id for clip in sampler.due_clips(1.3)]
    assert 2 in [clip.track_id for clip in sampler.due_clips(1.4)]


def test_a_chunk_of_the_new_part_gives_one_crop():
    sampler = sampled(1.2)
    sampler.split(1, 2, after_s=0.9, born_s=1.0)
    later = tracks_of(BOX, first_id=2)
    times = [
        request.captured_at_s
        for time_s in (1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0)
        for request in sampler.offer(frame_at(time_s), later)
    ]
    assert len({int((t - 1.0 + 1e-4) // 0.25) for t in times}) == len(times) >= 2


def test_splitting_a_track_nobody_knows_changes_nothing():
    sampler = sampled(1.0)
    sampler.split(9, 10, after_s=0.5, born_s=0.6)
    assert sampler.last_clip(10) is None
    assert sampler.flush(10) == []


def crops_at(sampler: ClipSampler, times_s, tracks: Tracks, doubtful=lambda time_s: ()) -> list[float]:
    """When the crops that came due were taken; clips are made as they come due."""
    found = []
    for time_s in times_s:
        for request in sampler.offer(frame_at(time_s), tracks, doubtful=doubtful(time_s)):
            found.append(round(request.captured_at_s, 2))
            sampler.accept(request.track_id, encoded(request))
        sampler.due_clips(time_s)
    return sorted(found)


def test_looks_at_a_track_become_rare_as_it_goes_on():
    found = crops_at(ClipSampler(CONFIG), steps(0.1, 60.0), tracks_of(BOX))
    assert found[0] == 0.0 and len(found) <= 11
    gaps_s = np.diff(found[2:])
    assert gaps_s.max() <= 2 * EVENT.longest_s and len([t for t in found if t < 6.0]) <= 4


def test_the_first_picture_of_a_whole_person_is_not_held_back():
    at_edge, whole = tracks_of((0, 50, 40, 250)), tracks_of(BOX)
    sampler = ClipSampler(CONFIG)
    for time_s in (0.0, 0.1, 0.2):
        assert sampler.offer(frame_at(time_s), at_edge) == []
    (request,) = sampler.offer(frame_at(0.3), whole)
    assert request.captured_at_s == 0.3
    sampler.accept(1, encoded(request))
    assert [taken(clip) for clip in sampler.due_clips(0.3)] == [[0.3]]


def test_somebody_who_is_never_whole_gives_the_first_clip_when_it_is_due():
    sampler = ClipSampler(CONFIG)
    assert crops_at(sampler, steps(0.1, 0.4), tracks_of((0, 50, 40, 250)))
    assert sampler.last_clip(1) is None  # it was made


def test_a_doubt_is_settled_by_three_crops_and_not_again_at_once():
    sampler = ClipSampler(CONFIG)
    calm = crops_at(ClipSampler(CONFIG), steps(0.1, 12.0), tracks_of(BOX))
    found = crops_at(sampler, steps(0.1, 12.0), tracks_of(BOX), lambda t: {1} if t >= 8.0 else ())
    close = [t for t in found if 8.0 <= t < 9.0]
    assert len(close) == CLOSE_CHUNKS and np.diff(close).max() <= 0.35
    assert min(t for t in found if t > 9.0) >= 8.0 + EVENT.doubt_every_s  # the best of the chunk then open is of 9.0 s
    assert [t for t in found if t < 6.0] == [t for t in calm if t < 6.0]


def test_a_close_look_that_is_broken_off_goes_on_when_there_is_doubt_again():
    doubt = {8.0, 8.1, 8.2, 8.3, 9.0, 9.1, 9.2, 9.3, 9.4, 9.5}
    found = crops_at(
        ClipSampler(CONFIG), steps(0.1, 10.3), tracks_of(BOX), lambda t: {1} if round(t, 1) in doubt else ()
    )
    assert len([t for t in found if t >= 8.0]) == CLOSE_CHUNKS


def test_a_doubt_about_a_track_that_is_not_there_is_nothing():
    assert ClipSampler(CONFIG).offer(frame_at(0.0), Tracks.empty(), doubtful=(7,)) == []


def test_poor_crops_are_encoded_where_there_are_hardly_any_others():
    hidden = tracks_of(BOX, (110, 50, 170, 250))
    found = crops_at(ClipSampler(CONFIG), steps(0.1, 12.0), hidden)
    assert 2 <= len(found) <= 8 and found.count(found[0]) == 2  # both people, at long intervals


def test_a_clip_says_every_second_where_a_track_is_even_without_a_new_crop():
    sampler = ClipSampler(CONFIG)
    _, clips = play(sampler, steps(0.1, 12.0))
    times_s = [time_s for time_s, _ in clips]
    assert max(np.diff(times_s)) <= CONFIG.every_s + 0.11
    assert [clip for _, clip in play(sampler, [13.5, 14.5, 15.5], Tracks.empty())[1]] == []  # out of sight
