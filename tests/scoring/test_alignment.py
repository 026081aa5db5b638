"""What is scored: IoU, distractors, ignore regions, annotated frames."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_examples import rows, scored, stay, truth

from pipeline.scoring.alignment import align_camera, distractor_matches, iou_xywh, truth_after
from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows

NOTHING_LEFT_OUT = {"after the last frame": 0, "frame not annotated": 0, "in an ignore region": 0, "on a distractor": 0}


def boxes(*listed: tuple[int, int, tuple[float, float, float, float]]) -> Rows:
    return Rows(
        np.array([frame for frame, _, _ in listed]),
        np.array([person for _, person, _ in listed]),
        np.array([xywh for _, _, xywh in listed]).reshape(-1, 4),
        np.ones(len(listed)),
    )


def test_iou_of_worked_boxes() -> None:
    a = np.array([[0.0, 0, 10, 10], [0, 0, 0, 10], [100, 100, 5, 5]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [0, 0, 10, 0]])
    np.testing.assert_allclose(iou_xywh(a, b), [[1, 50 / 150, 0], [0, 0, 0], [0, 0, 0]])


def test_iou_of_no_boxes_is_empty() -> None:
    assert iou_xywh(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert iou_xywh(np.zeros((2, 4)), np.zeros((0, 4))).shape == (2, 0)


BOXES = st.lists(
    st.tuples(*[st.floats(-50, 50, width=32)] * 2, *[st.sampled_from([0.0, 1e-9, 0.1, 7.3, 20.0, 60.5])] * 2),
    min_size=1,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(BOXES, BOXES)
def test_iou_is_trackevals_to_the_last_bit(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> None:
    trackeval = pytest.importorskip("trackeval")
    ours = iou_xywh(np.array(a), np.array(b))
    theirs = trackeval.datasets.MotChallenge2DBox._calculate_box_ious(np.array(a), np.array(b))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, iou_xywh(np.array(b), np.array(a)).T)
    assert ((ours >= 0) & (ours <= 1 + 1e-12)).all()


def test_frames_without_any_box_are_scored_too() -> None:
    got = scored("a", stay(1, 0, [2]), stay(7, 0, [2, 4]))
    assert [frame.frame for frame in got.frames] == [1, 2, 3, 4]
    assert [len(frame.truth) for frame in got.frames] == [0, 1, 0, 0]
    assert [len(frame.result) for frame in got.frames] == [0, 1, 0, 1]
    assert [frame.iou.shape for frame in got.frames] == [(0, 0), (1, 1), (0, 0), (0, 1)]
    assert got.frames[1].iou.tolist() == [[1.0]]
    assert got.left_out == NOTHING_LEFT_OUT


def test_no_rows_on_either_side_score_no_frames() -> None:
    got = scored("a", [], [])
    assert (got.frames, len(got.truth), len(got.result)) == ((), 0, 0)
    assert len(align_camera("a", truth([]), rows([]), frame_count=3).frames) == 3


def test_rows_in_any_order_are_found_again_by_kept() -> None:
    results = rows([(3, 8, 1), (1, 7, 0), (3, 7, 0), (2, 7, 0)])
    got = align_camera("a", truth(stay(1, 0, [1, 2, 3])), results)
    assert got.kept.tolist() == [1, 3, 0, 2]
    np.testing.assert_array_equal(got.result.ids, results.ids[got.kept])
    for frame in got.frames:
        assert (got.truth.frames[frame.truth] == frame.frame).all()
        assert (got.result.frames[frame.result] == frame.frame).all()
        expected = iou_xywh(got.truth.xywh[frame.truth], got.result.xywh[frame.result])
        np.testing.assert_array_equal(frame.iou, expected)


def test_other_ids_leave_the_boxes_as_they_are() -> None:
    got = scored("a", stay(1, 0, [1, 2]), stay(7, 0, [1, 2]))
    renamed = got.with_ids(np.array([3, 4]))
    assert renamed.result.ids.tolist() == [3, 4]
    np.testing.assert_array_equal(renamed.result.xywh, got.result.xywh)
    assert renamed.frames is got.frames


def test_only_annotated_frames_are_scored() -> None:
    partly = replace(truth(stay(1, 0, [1, 2, 3])), annotated=np.array([1, 3, 5]))
    got = align_camera("a", partly, rows(stay(7, 0, range(1, 7))))
    assert [frame.frame for frame in got.frames] == [1, 3, 5]
    assert got.truth.frames.tolist() == [1, 3]
    assert got.result.frames.tolist() == [1, 3, 5]
    assert got.left_out == {**NOTHING_LEFT_OUT, "frame not annotated": 3}


@pytest.mark.parametrize("annotated", [None, np.array([1, 2, 3, 4])])
def test_what_comes_after_the_last_frame_is_left_out_on_both_sides(annotated: np.ndarray | None) -> None:
    people = replace(truth(stay(1, 0, [1, 2, 3, 4])), annotated=annotated)
    results = rows(stay(7, 0, [2, 3, 4, 9]))
    by_argument = align_camera("a", people, results, frame_count=2)
    by_seqinfo = align_camera("a", replace(people, frame_count=2), results)
    for got in (by_argument, by_seqinfo):
        assert [frame.frame for frame in got.frames] == [1, 2]
        assert got.truth.frames.tolist() == [1, 2]
        assert got.result.frames.tolist() == [2]
        assert got.left_out == {**NOTHING_LEFT_OUT, "after the last frame": 3}
    assert truth_after(people, 2) == 2
    assert truth_after(people, 4) == 0


def test_a_result_on_a_distractor_is_not_scored_and_one_on_a_car_is_false() -> None:
    people = rows([(1, 1, 0), (1, 2, 1), (1, 3, 2)])
    roles = np.array([Role.PERSON, Role.DISTRACTOR, Role.OTHER], np.int8)
    got = align_camera("a", CameraTruth(people, roles), rows([(1, 7, 0), (1, 8, 1), (1, 9, 2)]))
    assert got.truth.ids.tolist() == [1]
    assert got.result.ids.tolist() == [7, 9]
    assert got.left_out == {**NOTHING_LEFT_OUT, "on a distractor": 1}


def test_of_two_results_on_a_distractor_one_is_excused() -> None:
    people = CameraTruth(boxes((1, 1, (0, 0, 10, 10))), np.array([Role.DISTRACTOR], np.int8))
    got = align_camera("a", people, boxes((1, 7, (0, 0, 10, 8)), (1, 8, (0, 0, 10, 9))))
    assert got.result.ids.tolist() == [7]


def test_a_result_that_fits_a_person_better_is_not_taken_by_a_distractor() -> None:
    # The distractor overlaps the result by 0.6, the person beside it by 1.0.
    people = CameraTruth(
        boxes((1, 1, (0, 0, 10, 10)), (1, 2, (0, 0, 10, 6))), np.array([Role.PERSON, Role.DISTRACTOR], np.int8)
    )
    got = align_camera("a", people, boxes((1, 7, (0, 0, 10, 10))))
    assert got.result.ids.tolist() == [7]


def test_an_overlap_of_exactly_one_half_is_a_match_with_a_distractor_and_less_is_not() -> None:
    is_distractor = np.array([True])
    assert distractor_matches(np.array([[0.5]]), is_distractor).tolist() == [0]
    assert distractor_matches(np.array([[0.499]]), is_distractor).tolist() == []
    assert distractor_matches(np.zeros((0, 2)), np.zeros(0, bool)).tolist() == []


def test_boxes_mostly_inside_an_ignore_region_are_scored_on_neither_side() -> None:
    # The region covers x from 0 to 100 in frames 2 to 3; boxes are 20 wide.
    region = np.array([[2.0, 3, 0, 0, 100, 100]])
    people = boxes((1, 1, (40, 10, 20, 20)), (2, 1, (40, 10, 20, 20)), (2, 2, (95, 10, 20, 20)))
    results = boxes(
        (1, 7, (40, 10, 20, 20)),  # before the region's frames
        (2, 7, (40, 10, 20, 20)),  # inside
        (3, 7, (90, 10, 20, 20)),  # exactly half inside: scored
        (3, 8, (89, 10, 20, 20)),  # more than half
        (4, 7, (40, 10, 20, 20)),  # after
        (2, 9, (50, 10, 0, 20)),  # no area: in no region
    )
    got = align_camera("a", replace(CameraTruth(people, np.ones(3, np.int8)), ignored=region), results)
    assert sorted(got.kept.tolist()) == [0, 2, 4, 5]
    assert got.truth.ids.tolist() == [1, 2]
    assert got.left_out == {**NOTHING_LEFT_OUT, "in an ignore region": 2}


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=10),
    st.sets(st.tuples(st.integers(1, 7), st.integers(1, 3)), max_size=10),
    st.lists(st.sampled_from(Role), min_size=10, max_size=10),
    st.one_of(st.none(), st.sets(st.integers(1, 6))),
    st.one_of(st.none(), st.integers(0, 8)),
)
def test_every_result_row_is_scored_or_left_out_for_one_reason(
    people: set[tuple[int, int]],
    results: set[tuple[int, int]],
    roles: list[Role],
    annotated: set[int] | None,
    frame_count: int | None,
) -> None:
    people_rows, result_rows = (rows([(f, p, p) for f, p in sorted(side)]) for side in (people, results))
    listed = None if annotated is None else np.array(sorted(annotated), np.int64)
    region = np.array([[2.0, 4, 150, 0, 100, 100]])
    annotation = CameraTruth(people_rows, np.array(roles[: len(people)], np.int8), listed, region)
    got = align_camera("a", annotation, result_rows, frame_count)
    assert len(got.result) + sum(got.left_out.values()) == len(result_rows)
    assert len(set(got.kept.tolist())) == len(got.kept) == len(got.result)
    assert sum(len(frame.result) for frame in got.frames) == len(got.result)
    assert sum(len(frame.truth) for frame in got.frames) == len(got.truth)
