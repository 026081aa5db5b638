"""Which pictures speak, in what clips, and what becomes of those that cannot be read."""

import logging

import cv2
import numpy as np
import pytest
from evaluation_examples import ColourEncoder, tracklet, write_picture
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.tracking import quality
from reid.datasets.tracklets import ImageTracklet
from reid.heads import MeanHead, StaHead
from reid.tracklet_vectors import Sampling, embed_tracklets, read_picture, sharpness


def heads(encoder):
    return {"mean": MeanHead(encoder.describe()), "sta-global": StaHead(encoder.describe())}


def unit(colours):
    mean = np.mean(np.array(colours, float) / 255, axis=0)
    return mean / np.linalg.norm(mean)


def test_even_takes_the_middle_of_each_part():
    assert Sampling("even", 4).choose(8).tolist() == [1, 3, 5, 7]
    assert Sampling("even", 4).choose(100).tolist() == [12, 37, 62, 87]
    assert Sampling("even", 1).choose(9).tolist() == [4]


@given(count=st.integers(1, 300), frames=st.integers(1, 9), most=st.none() | st.integers(1, 50))
@pytest.mark.parametrize("kind", ["even", "all", "dense"])
def test_chosen_pictures_rise_and_are_as_many_as_stated(kind, count, frames, most):
    sampling = Sampling(kind, frames, most)
    chosen = sampling.choose(count)
    limit = frames if kind == "even" else most or count
    assert len(chosen) == min(count, limit)
    assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < count


@given(count=st.integers(1, 300), frames=st.integers(1, 9))
def test_dense_clips_are_the_fewest_and_of_equal_length_to_within_one(count, frames):
    clips = Sampling("dense", frames).clips(count)
    lengths = [clip.stop - clip.start for clip in clips]
    assert sum(lengths) == count and max(lengths) <= frames and max(lengths) - min(lengths) <= 1
    assert len(clips) == -(-count // frames)
    assert [clip.start for clip in clips[1:]] == [clip.stop for clip in clips[:-1]]


def test_every_sampling_says_what_it_does():
    assert "4 pictures" in Sampling().describe()
    assert "up to 32 pictures" in Sampling("all", most=32).describe()
    assert "at most 4" in Sampling("dense").describe()


@pytest.mark.parametrize("wrong", [{"kind": "random"}, {"frames": 0}, {"kind": "all", "most": 0}])
def test_sampling_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Sampling(**wrong)


def test_the_vector_is_that_of_the_chosen_pictures(tmp_path):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250)]
    one = tracklet(tmp_path, 1, 0, colours)
    encoder = ColourEncoder()
    found = {
        kind: embed_tracklets([one], encoder, heads(encoder), Sampling(kind, 2)).vectors["mean"][0]
        for kind in ("even", "all", "dense")
    }
    np.testing.assert_allclose(found["even"], unit([colours[1], colours[4]]), atol=1e-5)
    np.testing.assert_allclose(found["all"], unit(colours), atol=1e-5)
    of_clips = np.mean([unit(colours[i : i + 2]) for i in (0, 2, 4)], axis=0)
    np.testing.assert_allclose(found["dense"], of_clips / np.linalg.norm(of_clips), atol=1e-5)


def test_pictures_pass_the_encoder_once_however_many_heads_there_are(tmp_path):
    tracklets = [tracklet(tmp_path, p, 0, [(p * 20, 90, 30)] * 5) for p in range(1, 8)]
    encoder, told = ColourEncoder(), []
    found = embed_tracklets(tracklets, encoder, heads(encoder), Sampling("all"), lambda *now: told.append(now))
    assert encoder.seen == found.pictures == 35
    assert told[-1] == (35, 35)
    assert {v.shape for v in found.vectors.values()} == {(7, 3)}


def test_batches_are_bounded_and_change_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    tracklets = [tracklet(tmp_path, p, 0, rng.integers(1, 255, (p, 3)).tolist()) for p in (1, 7, 2, 5)]
    encoder = ColourEncoder()
    whole = embed_tracklets(tracklets, encoder, heads(encoder), Sampling("all"))
    assert encoder.largest_call == 15
    for name, value in (("_BATCH", 4), ("_BATCH_BYTES", 16 * 32 * 3 * 2)):
        monkeypatch.setattr(f"reid.tracklet_vectors.{name}", value)
        small = ColourEncoder()
        parts = embed_tracklets(tracklets, small, heads(small), Sampling("all"))
        assert small.largest_call == (4 if name == "_BATCH" else 2) and small.seen == 15
        for head in whole.vectors:
            np.testing.assert_allclose(parts.vectors[head], whole.vectors[head], atol=1e-6)


def test_a_corrupt_picture_is_skipped_counted_and_named(tmp_path, caplog):
    one = tracklet(tmp_path, 1, 0, [(250, 0, 0), (0, 250, 0), (0, 0, 250)])
    one.images[1].write_bytes(b"not a picture")
    other = tracklet(tmp_path, 2, 0, [(9, 9, 9)])
    encoder = ColourEncoder()
    with caplog.at_level(logging.WARNING):
        found = embed_tracklets([one, other], encoder, heads(encoder), Sampling("all"))
    assert found.unreadable == (one.images[1],) and found.pictures == 3
    assert found.readable.tolist() == [True, True]
    assert str(one.images[1]) in caplog.text
    np.testing.assert_allclose(found.vectors["mean"][0], unit([(250, 0, 0), (0, 0, 250)]), atol=1e-5)


def test_a_tracklet_of_which_nothing_can_be_read_is_marked(tmp_path, caplog):
    bad = tracklet(tmp_path, 1, 0, [(250, 0, 0)] * 2)
    bad.images[0].write_bytes(b"")
    bad.images[1].write_bytes(bad.images[1].read_bytes()[:40])
    good = tracklet(tmp_path, 2, 0, [(9, 90, 9)])
    encoder = ColourEncoder()
    found = embed_tracklets([bad, good], encoder, heads(encoder), Sampling("all"))
    assert found.readable.tolist() == [False, True]
    assert not found.vectors["mean"][0].any()
    assert len(found.unreadable) == 2


def test_nothing_readable_at_all_is_an_error(tmp_path):
    bad = tracklet(tmp_path, 1, 0, [(250, 0, 0)])
    bad.images[0].write_bytes(b"?")
    encoder = ColourEncoder()
    with pytest.raises(DecodeError, match="none of the 1 pictures"):
        embed_tracklets([bad], encoder, heads(encoder), Sampling())


def test_a_missing_file_is_an_error_that_names_it_before_anything_is_encoded(tmp_path):
    good = tracklet(tmp_path, 1, 0, [(250, 0, 0)])
    gone = tmp_path / "2" / "0" / "a" / "07.png"
    encoder = ColourEncoder()
    with pytest.raises(DecodeError, match=r"07\.png: no such file.*incomplete"):
        embed_tracklets([good, ImageTracklet(2, 0, (gone, gone))], encoder, heads(encoder), Sampling("all"))
    assert encoder.seen == 0


def test_a_file_that_vanishes_meanwhile_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DecodeError, match=r"gone\.jpg: No such file"):
        read_picture(tmp_path / "gone.jpg")


def test_no_tracklets_give_no_vectors():
    encoder = ColourEncoder()
    found = embed_tracklets([], encoder, heads(encoder), Sampling())
    assert found.pictures == 0 and len(found.readable) == 0 and not found.vectors


def test_a_grey_picture_and_one_with_transparency_are_read_as_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 4), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((8, 4, 4), 77, np.uint8))
    for name in ("grey.png", "clear.png"):
        image = read_picture(tmp_path / name)
        assert image.shape == (8, 4, 3) and (image == 77).all()


def test_sharpness_is_the_figure_of_the_live_pipeline(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (90, 41, 3), np.uint8)
    assert sharpness(image) == quality.sharpness(image) > 0


def test_heads_get_the_size_and_sharpness_of_a_picture(tmp_path):
    path = write_picture(tmp_path / "a.png", (1, 2, 3), height=64)
    seen = []

    class Watching(MeanHead):
        def fuse(self, crops):
            seen.extend(crops)
            return super().fuse(crops)

    encoder = ColourEncoder()
    embed_tracklets([ImageTracklet(1, 0, (path,))], encoder, {"mean": Watching(encoder.describe())}, Sampling())
    assert [(crop.quality.height_px, crop.quality.sharpness, crop.quality.confidence) for crop in seen] == [(64, 0, 1)]
