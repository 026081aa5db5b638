import numpy as np
import pytest
from hand_made import people, rows, span, traced, truth_of

from pipeline.scoring.alignment import align_camera
from pipeline.scoring.appearances import match_boxes, units_of
from pipeline.scoring.rows import NOBODY, Rows
from pipeline.scoring.times import FrameTimes

AT_10_HZ = FrameTimes(fps=10.0)


def found(one):
    return [(a.identity_id, a.first_frame, a.last_frame, a.person_id) for a in one.appearances]


def test_an_appearance_knows_its_frames_times_person_and_rows():
    one = traced(truth_of(people((span(1, 20), 1))), rows((span(3, 12), 7, 100)))
    (appearance,) = one.appearances
    assert found(one) == [(7, 3, 12, 1)]
    assert (appearance.start_s, appearance.end_s) == pytest.approx((0.2, 1.1))
    assert appearance.rows.tolist() == appearance.scored.tolist() == list(range(10))
    assert appearance.matched == 10


def test_without_tracks_an_id_is_cut_where_it_is_away_for_more_than_a_second():
    truth = truth_of(people((span(1, 60), 1)))
    # rows in frames 5 and 15 are 1.0 s apart at 10 frames/s, those in 15 and 26 are 1.1 s apart
    one = traced(truth, rows((span(1, 5), 7, 100), (15, 7, 100), (26, 7, 100)))
    assert found(one) == [(7, 1, 15, 1), (7, 26, 26, 1)]


def test_where_nothing_is_known_of_time_25_frames_are_a_second():
    truth = truth_of(people((span(1, 60), 1)))
    one = traced(truth, rows((1, 7, 100), (26, 7, 100), (52, 7, 100)), times=FrameTimes())
    assert found(one) == [(7, 1, 26, 1), (7, 52, 52, 1)]


def test_with_tracks_two_tracks_of_one_id_are_two_appearances():
    truth = truth_of(people((span(1, 20), 1)))
    one = traced(truth, rows((span(1, 20), 7, 100)), local=rows((span(1, 9), 1, 100), (span(10, 20), 2, 100)))
    assert found(one) == [(7, 1, 9, 1), (7, 10, 20, 1)]
    assert [a.unit for a in one.appearances] == [1, 2]


def test_with_tracks_a_gap_does_not_cut():
    truth = truth_of(people((span(1, 50), 1)))
    results = rows((1, 7, 100), (50, 7, 100))
    assert found(traced(truth, results, local=rows((1, 3, 100), (50, 3, 100)))) == [(7, 1, 50, 1)]


def test_an_unknown_beginning_is_no_appearance_and_a_change_of_id_cuts():
    truth = truth_of(people((span(1, 20), 1)))
    online = rows((span(1, 4), NOBODY, 100), (span(5, 9), 7, 100), (span(10, 20), 8, 100))
    one = traced(truth, online, local=rows((span(1, 20), 1, 100)), nobody=NOBODY)
    assert found(one) == [(7, 5, 9, 1), (8, 10, 20, 1)]


def test_zero_is_an_id_like_any_other_where_nobody_said_otherwise():
    assert found(traced(truth_of(people((1, 1))), rows((1, 0, 100)))) == [(0, 1, 1, 1)]


def test_boxes_with_negative_ids_are_units_of_their_own_and_no_appearances():
    results = rows((span(1, 3), -1, 100))
    assert units_of(results, AT_10_HZ, None).tolist() == [0, 1, 2]
    assert traced(truth_of(people((span(1, 3), 1))), results).appearances == ()


def test_the_person_is_whom_most_boxes_lie_on():
    truth = truth_of(people((span(1, 20), 1), (span(1, 20), 2)))
    one = traced(truth, rows((span(1, 5), 7, 100), (span(6, 12), 7, 200)))
    assert found(one) == [(7, 1, 12, 2)]
    assert one.appearances[0].matched == 7


def test_of_two_people_as_often_the_lower_id_is_the_person():
    truth = truth_of(people((span(1, 20), 1), (span(1, 20), 2)))
    assert found(traced(truth, rows((span(1, 5), 7, 200), (span(6, 10), 7, 100)))) == [(7, 1, 10, 1)]


def test_boxes_beside_everybody_lie_on_nobody():
    assert found(traced(truth_of(people((span(1, 9), 1))), rows((span(1, 5), 7, 500)))) == [(7, 1, 5, None)]


def test_only_the_better_of_two_boxes_lies_on_a_person():
    # shifted by 2 px of 40: IoU 38 / 42; by 10 px: 30 / 50 = 0.6; both would do alone
    one = traced(truth_of(people((1, 1))), rows((1, 7, 110), (1, 8, 102)))
    assert {(a.identity_id, a.person_id) for a in one.appearances} == {(7, None), (8, 1)}


def test_everybody_is_matched_where_the_nearest_pairs_would_leave_somebody_out():
    # person 1 at 100, person 2 at 108; box x = 104 overlaps both with 36 / 44, box x = 92 only person 1 (32 / 48)
    truth = truth_of(rows((1, 1, 100), (1, 2, 108)))
    camera = align_camera("a", truth, rows((1, 7, 104), (1, 8, 92)))
    assert match_boxes(camera).truth_of.tolist() == [1, 0]


def test_an_overlap_of_exactly_one_half_is_a_match():
    # 40 px wide, shifted by 40 / 3: shared 80 / 3, union 160 / 3
    camera = align_camera("a", truth_of(rows((1, 1, 0))), rows((1, 7, 40 / 3)))
    assert match_boxes(camera).result_of.tolist() == [0]


def test_an_appearance_without_any_scored_box_is_left_out():
    truth = truth_of(people((span(1, 9), 1), (span(1, 9), 2)), unsure=[2])
    assert found(traced(truth, rows((span(1, 9), 7, 100), (span(1, 9), 8, 200)))) == [(7, 1, 9, 1)]


def test_frames_that_are_not_annotated_count_for_the_span_and_not_for_the_person():
    truth = truth_of(people((5, 1)), annotated=[5])
    one = traced(truth, rows((span(1, 9), 7, 100)))
    assert found(one) == [(7, 1, 9, 1)]
    assert (len(one.appearances[0].rows), len(one.appearances[0].scored)) == (9, 1)


def test_identical_boxes_in_one_frame_go_to_one_track_each_the_surest_first():
    box = np.array([[100.0, 10, 40, 80]] * 2)
    local = Rows(np.array([1, 1]), np.array([4, 5]), box, np.array([0.5, 0.9]))
    results = Rows(np.array([1, 1]), np.array([70, 80]), box, np.array([0.9, 0.5]))
    assert units_of(results, AT_10_HZ, local).tolist() == [5, 4]


def test_rows_that_no_track_has_become_runs_after_the_tracks():
    results = rows((span(1, 2), 7, 100), (span(1, 2), 8, 300))
    assert units_of(results, AT_10_HZ, rows((span(1, 2), 3, 100))).tolist() == [3, 3, 4, 4]


def test_no_rows_have_no_units_and_no_appearances():
    assert units_of(Rows.empty(), AT_10_HZ, None).tolist() == []
    assert units_of(Rows.empty(), AT_10_HZ, rows((1, 1, 100))).tolist() == []
    assert units_of(rows((1, 4, 100)), AT_10_HZ, Rows.empty()).tolist() == [0]
    assert traced(truth_of(people((1, 1))), Rows.empty()).appearances == ()
    assert traced(truth_of(Rows.empty()), Rows.empty()).appearances == ()


def test_units_do_not_depend_on_the_ids():
    stretches = [(span(1, 9), 1, 100), (span(2, 5), 2, 200), (span(30, 40), 1, 300)]
    renamed = [(frames, {1: 90, 2: 4}[name], x) for frames, name, x in stretches]
    units = [units_of(rows(*given), AT_10_HZ, None).tolist() for given in (stretches, renamed)]
    assert units[0] == units[1]
