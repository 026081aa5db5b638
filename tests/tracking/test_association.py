import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from pipeline.boxes import box_iou
from pipeline.config import TrackerConfig
from pipeline.tracking.association import (
    UNMATCHED,
    Candidates,
    assign,
    associate,
    corner_iou,
    in_canonical_order,
)
from pipeline.types import Detections

CONFIG = TrackerConfig(high_confidence=0.5, low_confidence=0.1, birth_confidence=0.6, match_iou=0.2)


def tracks(*boxes, confirmed=True, unseen_s=0.0):
    count = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Candidates(xyxy, np.full(count, confirmed), np.full(count, unseen_s))


def detections(*rows):
    rows = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(rows[:, :4], rows[:, 4])


BOX = (100, 100, 140, 220)
SHIFTED = (104, 100, 144, 220)  # IoU .82 with BOX
FAR = (400, 100, 440, 220)


def test_nothing_matches_nothing():
    matches = associate(tracks(), detections(), CONFIG)
    assert matches.detection_of.shape == (0,)
    assert matches.newborn.shape == (0,)


def test_without_tracks_only_sure_detections_are_born():
    matches = associate(tracks(), detections((*BOX, 0.6), (*FAR, 0.55), (0, 0, 10, 10, 0.2)), CONFIG)
    assert matches.newborn.tolist() == [0]


def test_without_detections_no_track_is_matched():
    assert associate(tracks(BOX, FAR), detections(), CONFIG).detection_of.tolist() == [UNMATCHED, UNMATCHED]


def test_a_confident_detection_is_taken_before_a_better_placed_weak_one():
    matches = associate(tracks(BOX), detections((*SHIFTED, 0.9), (*BOX, 0.3)), CONFIG)
    assert matches.detection_of.tolist() == [0]
    assert matches.newborn.size == 0


def test_a_weak_detection_continues_a_track_seen_lately_but_gives_no_birth():
    matches = associate(tracks(BOX, unseen_s=0.5), detections((*SHIFTED, 0.2), (*FAR, 0.2)), CONFIG)
    assert matches.detection_of.tolist() == [0]
    assert matches.newborn.size == 0


def test_a_weak_detection_does_not_revive_a_track_long_unseen():
    assert associate(tracks(BOX, unseen_s=1.5), detections((*BOX, 0.2)), CONFIG).detection_of.tolist() == [UNMATCHED]


def test_a_weak_detection_does_not_continue_a_tentative_track():
    matches = associate(tracks(BOX, confirmed=False), detections((*BOX, 0.3)), CONFIG)
    assert matches.detection_of.tolist() == [UNMATCHED]


def test_a_detection_below_the_lowest_confidence_is_nobody():
    assert associate(tracks(BOX), detections((*BOX, 0.05)), CONFIG).detection_of.tolist() == [UNMATCHED]


def test_a_confirmed_track_chooses_before_a_tentative_one_that_lies_better():
    candidates = Candidates(np.array([BOX, SHIFTED], np.float32), np.array([False, True]), np.zeros(2))
    assert associate(candidates, detections((*BOX, 0.9)), CONFIG).detection_of.tolist() == [UNMATCHED, 0]


def test_a_gated_pair_does_not_push_a_good_pair_aside():
    similarity = np.array([[0.5, 0.45], [0.4, 0.1]])  # 0.45 + 0.4 would win, but 0.4 is not allowed
    rows, columns = assign(similarity, 0.42)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0)]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(0, 6)), elements=st.floats(0, 1)))
def test_assignment_is_one_to_one_and_within_the_gate(similarity):
    rows, columns = assign(similarity, 0.3)
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))
    assert (similarity[rows, columns] >= 0.3).all()


# Coarse values, so that ties and several pairs per row and column are common.
coarse = arrays(
    np.float32,
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
    elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5625, 0.75, 1.0]),
)


@settings(max_examples=300, deadline=None)
@given(coarse, st.sampled_from([0.2, 0.5]))
def test_no_assignment_has_a_larger_total_than_the_one_found(similarity, least):
    """The short way, where every column has a row of its own, is no worse than the Hungarian method."""
    rows, columns = assign(similarity, least)
    gated = np.where(similarity >= least, similarity, 0)
    best = gated[linear_sum_assignment(gated, maximize=True)].sum()
    assert similarity[rows, columns].sum() == best  # sums of these values are exact


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7))
def test_without_ties_the_pairs_are_those_of_the_hungarian_method(seed, count_rows, count_columns):
    rng = np.random.default_rng(seed)
    similarity = rng.random((count_rows, count_columns)).astype(np.float32)
    similarity[rng.random(similarity.shape) < 0.6] = 0.0
    gated = np.where(similarity >= 0.3, similarity, 0)
    expected = {(r, c) for r, c in zip(*linear_sum_assignment(gated, maximize=True), strict=True) if gated[r, c]}
    rows, columns = assign(similarity, 0.3)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


def test_two_columns_that_want_the_same_row_are_settled_by_the_total():
    rows, columns = assign(np.array([[0.9, 0.8], [0.7, 0.1]]), 0.3)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 6))
def test_corner_iou_equals_box_iou_to_the_bit(seed, count_a, count_b):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-50, 300, (count_a + count_b, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 200, low.shape)], axis=1).astype(np.float32)
    a, b = boxes[:count_a], boxes[count_a:]
    np.testing.assert_array_equal(corner_iou(a.T, b.T), box_iou(a, b))


def test_boxes_without_area_are_dropped():
    kept = in_canonical_order(detections((10, 10, 10, 50, 0.9), (*BOX, 0.5), (30, 30, 20, 20, 0.8)))
    np.testing.assert_array_equal(kept.xyxy, np.array([BOX], np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_canonical_order_forgets_the_order_of_the_input(seed):
    rows = [(*BOX, 0.9), (*SHIFTED, 0.9), (*FAR, 0.7), (100, 90, 150, 220, 0.9)]
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    a, b = in_canonical_order(detections(*rows)), in_canonical_order(detections(*shuffled))
    np.testing.assert_array_equal(a.xyxy, b.xyxy)
    np.testing.assert_array_equal(a.confidence, b.confidence)
