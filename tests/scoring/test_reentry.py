import numpy as np
import pytest
from hand_made import people, rows, span, traced, truth_of

from pipeline.scoring.ground_truth import GroundTruth, TrueVisit
from pipeline.scoring.reentry import (
    Reentries,
    SaidReturn,
    TrueReturn,
    judge_returns,
    living_ids,
    returns_in_rows,
    said_returns,
    short_absences,
    true_returns,
    unknown_figures,
)
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes
from pipeline.types import IdentityEvent, ReferenceFrame, TrackKey

AT_10_HZ = FrameTimes(fps=10.0)


def returns(truth, absence_s=5.0, visits=None):
    site = GroundTruth({"a": truth}, visits)
    return [
        (r.person_id, r.first_frame, r.last_frame, r.is_sure) for r in true_returns(site, {"a": AT_10_HZ}, absence_s)
    ]


def event(kind, identity_id, at_s=0.0, camera="a", decided_at_s=None, into=None, track=1):
    key = None if camera is None else TrackKey(camera, "1", track)
    said_at_s = at_s if decided_at_s is None else decided_at_s
    return IdentityEvent(1, kind, identity_id, key, at_s, said_at_s, other_identity_id=into)


def back(person_id, at_s, is_sure=True, camera="a"):
    frame = round(at_s * 10) + 1
    return TrueReturn(camera, person_id, frame, frame + 10, at_s, is_sure)


def said(identity_id, at_s, decided_at_s=None, camera="a"):
    return SaidReturn(camera, identity_id, at_s, at_s if decided_at_s is None else decided_at_s)


def reference(identity_id, captured_at_s, reason="reentered", camera="a"):
    return ReferenceFrame(camera, captured_at_s, "i.png", "m.png", reason, identity_id, "grabcut")


@pytest.fixture
def empty_room():
    """Camera a, 100 s at 10 frames/s, all frames annotated and nobody there."""
    return {"a": traced(truth_of(people((span(1, 1000), 99))), Rows.empty())}


MAPPING = {"a": {7: 1, 8: 2}}  # id 7 is person 1, id 8 is person 2


# What is true


def test_visits_after_the_first_are_returns():
    visits = (
        TrueVisit("a", 1, 1, 1, 50),
        TrueVisit("a", 1, 2, 120, 150),
        TrueVisit("a", 1, 3, 300, 310, is_sure=False),
        TrueVisit("elsewhere", 1, 2, 5, 9),
    )
    assert returns(truth_of(Rows.empty()), visits=visits) == [(1, 120, 150, True), (1, 300, 310, False)]


def test_visits_that_come_too_soon_are_counted_apart():
    # the person is away from frame 50 to 80 = 3 s, then from 90 to 140 = 5 s
    visits = (TrueVisit("a", 1, 1, 1, 50), TrueVisit("a", 1, 2, 80, 90), TrueVisit("a", 1, 3, 140, 150))
    truth = GroundTruth({"a": truth_of(Rows.empty())}, visits)
    assert short_absences(truth, {"a": AT_10_HZ}, 5.0) == [visits[1]]
    assert short_absences(truth, {"a": AT_10_HZ}, 3.0) == []
    assert short_absences(truth, {}, 5.0) == []


def test_without_visits_a_gap_of_at_least_the_absence_is_a_return():
    # frames 50 and 100 are 5.0 s apart at 10 frames/s; 120 and 169 only 4.9 s
    truth = truth_of(people(((1, 50, 100, 120, 169), 1)))
    assert returns(truth_of(people((span(1, 50), 1), (span(100, 120), 1), (169, 1)))) == [(1, 100, 169, True)]
    assert returns(truth, absence_s=100.0) == []


def test_two_returns_each_have_their_own_stay():
    truth = truth_of(people((span(1, 9), 1), (span(100, 120), 1), (span(200, 205), 1), (span(1, 205), 2)))
    assert returns(truth) == [(1, 100, 120, True), (1, 200, 205, True)]


def test_sparse_annotation_is_no_absence():
    # only frames 1, 100 and 200 were annotated, with the person in each: nobody looked in between
    assert returns(truth_of(people(((1, 100, 200), 1)), annotated=[1, 100, 200])) == []
    # here somebody looked at frame 50, and the person was away
    assert returns(truth_of(people(((1, 100), 1)), annotated=[1, 50, 100])) == [(1, 100, 100, True)]


def test_frames_next_to_each_other_are_no_absence_however_slow_the_camera():
    site = GroundTruth({"a": truth_of(people(((1, 2), 1)))})
    assert true_returns(site, {"a": FrameTimes(fps=0.1)}, 5.0) == []


def test_an_unsure_box_is_presence():
    # person 1 is unsure in frames 20-90: no return in frame 100; without these rows there would be one
    truth_rows = people((span(1, 10), 1), (span(20, 90), 1), (span(100, 120), 1))
    roles = truth_of(truth_rows).roles.copy()
    assert returns(truth_of(truth_rows), absence_s=8.0) == []
    roles[(truth_rows.frames >= 20) & (truth_rows.frames <= 90)] = 2
    truth = truth_of(truth_rows)
    unsure = type(truth)(truth_rows, roles)
    assert returns(unsure, absence_s=8.0) == []
    keep = roles == 1
    without = Rows(truth_rows.frames[keep], truth_rows.ids[keep], truth_rows.xywh[keep], truth_rows.confidence[keep])
    assert returns(truth_of(without), absence_s=8.0) == [(1, 100, 120, True)]


def test_a_return_that_is_only_annotated_as_unsure_is_likely():
    truth_rows = people((span(1, 10), 1), (span(100, 120), 1))
    truth = truth_of(truth_rows)
    roles = truth.roles.copy()
    roles[truth_rows.frames >= 100] = 2
    assert returns(type(truth)(truth_rows, roles)) == [(1, 100, 120, False)]


def test_a_return_in_frames_that_are_not_listed_is_likely():
    truth_rows = people((span(1, 10), 1), (span(100, 120), 1))
    assert returns(truth_of(truth_rows, annotated=span(1, 90))) == [(1, 100, 120, False)]
    assert returns(truth_of(truth_rows, annotated=span(1, 110))) == [(1, 100, 120, True)]


def test_somebody_who_need_not_be_found_has_no_returns():
    assert returns(truth_of(people((span(1, 10), 1), (span(100, 120), 1)), unsure=[1])) == []
    assert returns(truth_of(Rows.empty())) == []


# What is said


def test_said_are_the_reentered_events_of_these_cameras_under_the_living_identity():
    events = [
        event("entered", 7, 0.0),
        event("reentered", 7, 10.0, decided_at_s=10.6, track=2),
        event("reentered", 9, 20.0, track=3),
        event("reentered", 7, 30.0, camera="elsewhere"),
        event("merged", 9, camera=None, into=8),
    ]
    assert said_returns(events, ["a"]) == [said(7, 10.0, 10.6), said(8, 20.0)]


def test_a_return_that_is_corrected_is_the_right_ones_from_then_on():
    events = [
        event("reentered", 7, 10.0, decided_at_s=10.6, track=2),
        event("reassigned", 8, 10.0, decided_at_s=14.0, track=2, into=7),
        event("reentered", 9, 20.0, decided_at_s=20.6, track=3),
        event("split", 10, 20.0, decided_at_s=25.0, track=3, into=9),
        event("merged", 10, camera=None, into=11),
    ]
    assert said_returns(events, ["a"]) == [said(8, 10.0, 14.0), said(11, 20.0, 25.0)]


def test_merges_are_followed_to_the_end_and_circles_end():
    events = [event("merged", 1, into=2), event("merged", 2, into=3), event("merged", 5, into=6)]
    assert living_ids(events) == {1: 3, 2: 3, 5: 6}
    assert set(living_ids([event("merged", 1, into=2), event("merged", 2, into=1)])) == {1, 2}


def test_rows_say_a_return_where_an_id_comes_back_after_the_absence():
    results = rows((span(1, 10), 7, 100), (span(60, 70), 7, 100), (span(119, 130), 7, 100), (span(11, 59), 8, 200))
    # 10 → 60 is 5.0 s: a return at frame 60 (5.9 s); 70 → 119 is 4.9 s: none
    assert returns_in_rows("a", results, AT_10_HZ, 5.0) == [said(7, pytest.approx(5.9))]
    assert returns_in_rows("a", Rows.empty(), AT_10_HZ, 5.0) == []


# What is right


def test_precision_recall_and_latency_are_as_worked_out_by_hand(empty_room):
    true = [back(1, 10.0), back(1, 40.0), back(2, 20.0), back(2, 60.0)]
    said_ones = [
        said(7, 10.2, decided_at_s=11.0),  # right: 1.0 s after the person was back
        said(7, 41.1),  # 1.1 s from the true one: false
        said(8, 19.5, decided_at_s=19.8),  # right and early: latency 0
        said(7, 60.0),  # person 2 came back, id 7 is person 1: false
    ]
    figures = judge_returns(true, said_ones, empty_room, MAPPING).figures()
    assert (figures["true"], figures["found"], figures["false"]) == (4, 2, 2)
    assert (figures["precision"], figures["recall"]) == (0.5, 0.5)
    # latencies 0 and 1: median 0.5, 95th percentile 0.95
    assert figures["latency_s_p50"] == pytest.approx(0.5)
    assert figures["latency_s_p95"] == pytest.approx(0.95)
    assert figures["reference_latency_s_p50"] is None
    assert (figures["told_within_1_s"], figures["pictured_within_1_s"]) == (0.5, 0.0)  # of all four


def test_exactly_one_second_is_near_enough(empty_room):
    assert judge_returns([back(1, 10.0)], [said(7, 11.0)], empty_room, MAPPING).figures()["recall"] == 1.0


def test_one_event_finds_one_return_and_a_second_one_is_false(empty_room):
    for events in ([said(7, 10.1), said(7, 10.9)], [said(7, 10.9), said(7, 10.1)]):
        figures = judge_returns([back(1, 10.0)], events, empty_room, MAPPING).figures()
        assert (figures["found"], figures["false"], figures["latency_s_p50"]) == (1, 1, pytest.approx(0.1))


def test_as_many_returns_as_possible_are_found_not_the_nearest_pairs(empty_room):
    # the nearest pair is (10.8, 10.9); it would leave 10.0 with 11.7, too far, and 11.7 alone
    result = judge_returns([back(1, 10.0), back(1, 10.9)], [said(7, 10.8), said(7, 11.7)], empty_room, MAPPING)
    assert (len(result.found), result.missed, result.false) == (2, (), ())


def test_another_camera_is_no_match(empty_room):
    mapping = {"a": {7: 1}, "b": {7: 1}}
    result = judge_returns([back(1, 10.0, camera="b")], [said(7, 10.0)], empty_room, mapping)
    assert (len(result.found), len(result.missed), len(result.false)) == (0, 1, 1)


def test_a_likely_return_is_neither_missed_nor_false_when_hit(empty_room):
    true = [back(1, 10.0, is_sure=False), back(2, 20.0, is_sure=False)]
    figures = judge_returns(true, [said(7, 10.0)], empty_room, MAPPING).figures()
    assert figures["likely"] == {"true": 2, "found": 1}
    assert (figures["true"], figures["found"], figures["false"]) == (0, 0, 0)
    assert figures["precision"] is figures["recall"] is None


def test_a_sure_return_goes_before_a_likely_one_that_is_nearer(empty_room):
    true = [back(1, 10.0, is_sure=False), back(1, 10.8)]
    figures = judge_returns(true, [said(7, 10.0)], empty_room, MAPPING).figures()
    assert (figures["found"], figures["likely"]["found"]) == (1, 0)


def test_nothing_true_and_nothing_said_gives_none_not_nan():
    figures = judge_returns([], [], {}, {}).figures()
    assert figures["precision"] is figures["recall"] is figures["latency_s_p95"] is None
    assert (figures["true"], figures["found"], figures["false"]) == (0, 0, 0)


def test_without_events_precision_is_undefined_and_recall_zero(empty_room):
    figures = judge_returns([back(1, 10.0)], [], empty_room, MAPPING).figures()
    assert (figures["precision"], figures["recall"]) == (None, 0.0)


def test_figures_without_times_have_the_same_keys_and_no_values():
    unknown, known = unknown_figures(), Reentries().figures()
    assert list(unknown) == list(known)
    assert unknown["likely"] == {"true": None, "found": None}
    assert all(value is None for key, value in unknown.items() if key != "likely")


# What cannot be judged


def test_a_return_where_nothing_was_annotated_is_not_false():
    one = traced(truth_of(people((span(1, 50), 1)), annotated=span(1, 50)), Rows.empty())
    # frame 50 is at 4.9 s
    assert judge_returns([], [said(7, 5.8)], {"a": one}, MAPPING).false == (said(7, 5.8),)
    assert judge_returns([], [said(7, 6.0)], {"a": one}, MAPPING).false == ()


def test_a_return_of_somebody_who_need_not_be_found_is_not_false():
    truth = truth_of(people((span(1, 100), 1), (span(1, 100), 2)), unsure=[2])
    one = traced(truth, rows((span(50, 100), 8, 200), (span(50, 100), 7, 100)))
    # id 8 lies on person 2, who is not scored; id 7 on person 1, who never left
    assert judge_returns([], [said(8, 5.0), said(7, 5.0)], {"a": one}, {}).false == (said(7, 5.0),)


# Reference frames


def test_the_first_reference_frame_taken_for_the_return_counts(empty_room):
    references = [
        reference(7, 8.9),  # more than a second before: of the visit before
        reference(8, 10.1),  # of somebody else
        reference(7, 10.1, reason="entered"),
        reference(7, 10.1, camera="b"),
        reference(7, 12.5),
        reference(7, 11.5),
    ]
    result = judge_returns([back(1, 10.0)], [said(7, 10.0, 10.6)], empty_room, MAPPING, references)
    assert result.found[0].reference_latency_s == pytest.approx(1.5)


def test_a_picture_from_before_the_decision_serves_from_the_decision_on(empty_room):
    result = judge_returns([back(1, 10.0)], [said(7, 10.0, 10.6)], empty_room, MAPPING, [reference(7, 10.1)])
    assert result.found[0].reference_latency_s == pytest.approx(0.6)


def test_a_picture_of_the_next_return_is_not_taken_for_this_one(empty_room):
    true = [back(1, 10.0), back(1, 30.0)]
    result = judge_returns(true, [said(7, 10.0), said(7, 30.0)], empty_room, MAPPING, [reference(7, 30.2)])
    assert [f.reference_latency_s for f in result.found] == [None, pytest.approx(0.2)]


def test_a_picture_under_a_merged_identity_counts_for_the_living_one(empty_room):
    result = judge_returns([back(1, 10.0)], [said(7, 10.0)], empty_room, MAPPING, [reference(9, 10.5)], {9: 7})
    assert result.found[0].reference_latency_s == pytest.approx(0.5)


def test_many_returns_are_matched_one_to_one(empty_room):
    true = [back(1, float(t)) for t in np.arange(10, 60, 10)]
    result = judge_returns(true, [said(7, r.at_s + 0.3) for r in true], empty_room, MAPPING)
    assert (len(result.found), len(result.missed), len(result.false)) == (5, 0, 0)
    assert result.figures()["latency_s_p50"] == pytest.approx(0.3)
