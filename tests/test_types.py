import numpy as np
import pytest

from pipeline.types import (
    ClipFeature,
    CropFeature,
    CropQuality,
    Detections,
    Frame,
    FusedClip,
    TrackKey,
    Tracklet,
    Tracks,
    frozen_array,
)

KEY = TrackKey("door", "1", 1)
GOOD = CropQuality(height_px=128, sharpness=1e9, truncation=0, overlap=0, confidence=1)


def test_a_writable_array_is_copied_and_a_read_only_one_is_shared():
    mine = np.zeros((2, 4), np.float32)
    kept = Detections(mine, np.zeros(2)).xyxy
    mine[:] = 7
    assert (kept == 0).all() and not kept.flags.writeable
    assert frozen_array(kept, "again", np.float32, (None, 4)) is kept


def test_arrays_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        Tracks.empty().xyxy[...] = 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Detections(np.zeros((2, 3)), np.zeros(2)), r"xyxy: expected shape \('any', 4\), got \(2, 3\)"),
        (lambda: Detections(np.zeros((2, 4)), np.zeros(3)), r"confidence: expected shape \(2,\), got \(3,\)"),
        (lambda: Detections(np.full((1, 4), np.nan), np.zeros(1)), "finite"),
        (lambda: Detections(np.zeros((1, 4)), np.array([1.1])), r"\[0, 1\]"),
        (lambda: Detections(np.zeros((1, 4)), np.array([np.nan])), r"\[0, 1\]"),
        (lambda: Tracks(np.zeros(2), np.zeros((1, 4)), np.zeros(2)), "Tracks.xyxy"),
        (lambda: Frame("a", "1", 0, 0.0, np.zeros((4, 4), np.uint8)), "expected"),
        (lambda: Frame("a", "1", 0, 0.0, np.zeros((4, 4, 3), np.float32)), "float32"),
        (lambda: Tracklet(KEY, 1, 1.0, True, [], [], np.zeros((0, 4)), []), "at least one"),
        (lambda: Tracklet(KEY, 1, 1.0, True, [0, 1], [1.0, 0.5], np.zeros((2, 4)), [1, 1]), "rising"),
        (lambda: CropFeature(0.0, np.zeros((2, 3)), np.zeros(3), GOOD, "m"), "energy"),
        (lambda: CropFeature(0.0, np.zeros((1, 3)), np.array([-1.0]), GOOD, "m"), "non-negative"),
        (lambda: FusedClip(np.full(4, 0.6), np.zeros((1, 4)), np.ones(1), np.ones((1, 1))), "norm 1"),
    ],
)
def test_a_wrong_value_says_what_was_expected(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_clip_needs_a_unit_vector_and_parts_that_agree():
    def clip(embedding, parts):
        return ClipFeature(KEY, 1, 0.0, 0.0, 1.0, 1.5, embedding, parts, np.ones(2), np.ones((1, 2)), 0.5, "m")

    whole = clip(np.eye(4)[0], np.zeros((2, 4)))
    assert (whole.camera_id, whole.epoch, whole.at_s) == ("door", "1", 1.5)
    with pytest.raises(ValueError, match="norm 1"):
        clip(np.zeros(4), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="visibility"):
        clip(np.eye(4)[0], np.zeros((3, 4)))


def test_nothing_has_no_length():
    assert len(Detections.empty()) == len(Tracks.empty()) == 0


def test_the_score_of_a_crop_falls_with_every_fault_and_stays_in_0_to_1():
    assert GOOD.score == pytest.approx(1.0, abs=1e-6)
    worse = [(64, 1e9, 0, 0, 1), (128, 0, 0, 0, 1), (128, 1e9, 0.5, 0, 1), (128, 1e9, 0, 0.5, 1), (128, 1e9, 0, 0, 0)]
    assert [CropQuality(*values).score for values in worse] == pytest.approx([0.5] * 5)
    assert CropQuality(0, 0, 1, 1, 0).score == 0.0 and CropQuality(9999, 1e9, 0, 0, 1).score <= 1.0
