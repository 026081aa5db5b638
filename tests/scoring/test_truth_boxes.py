"""Ground-truth boxes in place of a detector's."""

import numpy as np

from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows
from pipeline.scoring.truth_boxes import truth_boxes


def truth(rows, annotated=None, roles=None):
    table = np.array(rows, float).reshape(-1, 6)
    n = len(table)
    return CameraTruth(
        Rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:], np.ones(n)),
        np.full(n, Role.PERSON, np.int8) if roles is None else np.array(roles, np.int8),
        None if annotated is None else np.array(annotated),
    )


def listed(rows):
    return [(int(f), int(i), *map(float, box)) for f, i, box in zip(rows.frames, rows.ids, rows.xywh, strict=True)]


def test_where_every_frame_is_annotated_nothing_is_added():
    rows = [(1, 7, 0, 0, 10, 20), (3, 7, 4, 0, 10, 20)]
    assert listed(truth_boxes(truth(rows), 10.0)) == rows


def test_between_two_annotated_frames_a_person_stands_on_the_straight_line():
    rows = [(1, 7, 0, 0, 10, 20), (5, 7, 8, 4, 14, 20)]
    found = listed(truth_boxes(truth(rows, [1, 5]), 10.0))
    assert found == [
        (1, 7, 0, 0, 10, 20),
        (2, 7, 2, 1, 11, 20),
        (3, 7, 4, 2, 12, 20),
        (4, 7, 6, 3, 13, 20),
        (5, 7, 8, 4, 14, 20),
    ]


def test_nobody_is_put_over_an_annotated_frame_without_them():
    rows = [(1, 7, 0, 0, 10, 20), (5, 7, 8, 4, 14, 20)]
    assert listed(truth_boxes(truth(rows, [1, 3, 5]), 10.0)) == rows


def test_more_than_a_second_is_not_guessed():
    rows = [(1, 7, 0, 0, 10, 20), (12, 7, 8, 4, 14, 20)]
    assert listed(truth_boxes(truth(rows, [1, 12]), 10.0)) == rows
    assert len(truth_boxes(truth(rows, [1, 12]), 11.0)) == 12


def test_two_people_are_filled_apart_from_each_other():
    rows = [(1, 7, 0, 0, 10, 20), (1, 8, 100, 0, 10, 20), (3, 7, 2, 0, 10, 20), (3, 8, 104, 0, 10, 20)]
    found = listed(truth_boxes(truth(rows, [1, 3]), 10.0))
    assert (2, 7, 1, 0, 10, 20) in found
    assert (2, 8, 102, 0, 10, 20) in found
    assert len(found) == 6


def test_distractors_and_rows_of_frames_that_do_not_count_are_left_out():
    rows = [(1, 7, 0, 0, 10, 20), (2, 7, 0, 0, 10, 20), (3, 9, 0, 0, 10, 20)]
    found = truth_boxes(truth(rows, [1, 3], [Role.PERSON, Role.PERSON, Role.DISTRACTOR]), 10.0)
    assert listed(found) == [(1, 7, 0, 0, 10, 20)]


def test_without_rows_there_are_no_boxes():
    assert len(truth_boxes(truth([], [1, 2]), 10.0)) == 0
    assert len(truth_boxes(truth([]), 10.0)) == 0
