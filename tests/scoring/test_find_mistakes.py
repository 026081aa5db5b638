import numpy as np
from hand_made import people, rows, span, traced, truth_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scoring.find_mistakes import MOST, MOST_OF_A_KIND, continued_matches, find_mistakes
from pipeline.scoring.links import Links, find_links
from pipeline.scoring.reentry import Reentries, SaidReturn, TrueReturn
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes
from pipeline.scoring.tracking_metrics import score_camera


def mistakes_of(*cameras, reentries=None):
    links = find_links(a for one in cameras for a in one.appearances)
    return find_mistakes(cameras, links, reentries)


def kinds(mistakes):
    return [m.kind for m in mistakes]


def labels(view):
    return [box.label for box in view.boxes]


def test_a_perfect_result_has_no_mistakes():
    truth = people((span(1, 30), 1), (span(1, 30), 2))
    assert mistakes_of(traced(truth_of(truth), truth)) == ()
    assert mistakes_of() == ()


def test_id_switches_of_a_person_in_a_camera_are_one_mistake():
    truth = truth_of(people((span(1, 20), 1)))
    one = traced(truth, rows((span(1, 10), 7, 100), (span(11, 13), 8, 100), (span(14, 20), 7, 100)))
    (switch,) = [m for m in mistakes_of(one) if m.kind == "id_switch"]
    # id 7 has 17 frames, id 8 three
    assert (switch.camera_id, switch.frame, switch.frames_wrong) == ("a", 11, 3)
    assert "2 times, first from 7 to 8 in frame 11" in switch.text
    assert [view.frame for view in switch.views] == [10, 11]
    assert [labels(view) for view in switch.views] == [["person 1", "id 7"], ["person 1", "id 8"]]
    assert switch.views[0].boxes[0].xywh == (100.0, 10.0, 40.0, 80.0)
    assert [box.is_truth for box in switch.views[0].boxes] == [True, False]


def test_a_pair_that_goes_on_is_no_switch_though_another_box_overlaps_more():
    # in frame 2 id 8 lies exactly on person 1, id 7 is off by 10 px (IoU 0.6): MOTA goes on with id 7
    truth = truth_of(people((span(1, 3), 1)))
    one = traced(truth, rows((1, 7, 100), ((2, 3), 7, 110), ((2, 3), 8, 100)))
    matched = one.camera.result.ids[continued_matches(one.camera)]
    assert matched.tolist() == [7, 7, 7]


boxes = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(0, 12)), max_size=30, unique_by=lambda b: b[:2]
)


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_the_switches_are_those_that_mota_counts(truth_boxes, result_boxes):
    truth = rows(*((frame, name, 20 * x) for frame, name, x in truth_boxes))
    results = rows(*((frame, name, 20 * x + name) for frame, name, x in result_boxes))
    camera = traced(truth_of(truth), results).camera
    result_of = continued_matches(camera)
    switches = 0
    for person in np.unique(camera.truth.ids):
        mine = result_of[(camera.truth.ids == person) & (result_of >= 0)]
        switches += int((np.diff(camera.result.ids[mine]) != 0).sum())
    assert switches == score_camera(camera)["IDSW"]


def test_a_wrong_link_shows_the_appearance_and_the_one_it_was_taken_for():
    a = traced(truth_of(people((span(1, 20), 1))), rows((span(1, 20), 7, 100)), camera_id="a")
    later = FrameTimes(fps=10.0, start_s=60.0)
    b = traced(truth_of(people((span(1, 30), 3))), rows((span(11, 30), 7, 300)), camera_id="b", times=later)
    wrong = next(m for m in mistakes_of(a, b) if m.kind == "wrong_link")
    assert (wrong.camera_id, wrong.frame, wrong.frames_wrong) == ("b", 11, 20)
    assert wrong.text == "b: person 3 gets id 7 from frame 11, which was person 1 in a"
    assert [(view.camera_id, view.frame, labels(view)) for view in wrong.views] == [
        ("b", 21, ["person 3", "id 7"]),
        ("a", 11, ["person 1", "id 7"]),
    ]


def test_the_picture_of_an_appearance_is_one_in_which_it_lies_on_its_person():
    # id 7 lies on person 1 in frames 1-4 and 13-15 only
    truth = truth_of(people((span(1, 15), 1)))
    result = rows((span(1, 4), 7, 100), (span(5, 12), 7, 500), (span(13, 15), 7, 100), (span(30, 40), 7, 600))
    wrong = next(m for m in mistakes_of(traced(truth, result)) if m.kind == "wrong_link")
    assert wrong.text.startswith("a: nobody gets id 7")
    assert (wrong.views[1].frame, labels(wrong.views[1])) == (4, ["person 1", "id 7"])


def test_a_missed_link_shows_the_person_under_both_ids():
    truth = truth_of(people((span(1, 20), 1), (span(60, 80), 1)))
    missed = next(
        m
        for m in mistakes_of(traced(truth, rows((span(1, 20), 7, 100), (span(60, 80), 8, 100))))
        if m.kind == "missed_link"
    )
    assert missed.text == "a: person 1 gets id 8 from frame 60, and was id 7 in a"
    assert missed.frames_wrong == 21
    assert [labels(view) for view in missed.views] == [["person 1", "id 8"], ["person 1", "id 7"]]


def test_a_person_missed_for_long_is_a_mistake_and_flicker_is_not():
    truth = truth_of(people((span(1, 40), 1)))
    # missed in frames 6-10 (0.4 s, 5 frames) and 21-40
    one = traced(truth, rows((span(1, 5), 7, 100), (span(11, 20), 7, 100)))
    (missed,) = mistakes_of(one)
    assert (missed.kind, missed.frame, missed.frames_wrong) == ("missed_person", 21, 20)
    assert missed.views[0].frame == 31
    assert labels(missed.views[0]) == ["person 1"]


def test_the_picture_of_a_missed_person_shows_what_was_found_instead():
    # off by 20 px of 40: IoU 1/3, no match
    (*_, missed) = mistakes_of(traced(truth_of(people((span(1, 10), 1))), rows((span(1, 10), 7, 120))))
    assert missed.kind == "missed_person"
    assert labels(missed.views[0]) == ["person 1", "id 7"]


def test_a_miss_of_a_second_counts_where_few_frames_are_annotated():
    sparse = truth_of(people(((1, 11), 1)), annotated=[1, 11])
    assert kinds(mistakes_of(traced(sparse, Rows.empty()))) == ["missed_person"]
    assert mistakes_of(traced(sparse, Rows.empty(), times=FrameTimes())) == ()  # seconds unknown, two frames


def test_a_stay_after_an_absence_is_another_miss():
    truth = truth_of(people((span(1, 15), 1), (span(60, 80), 1)))
    assert [m.frames_wrong for m in mistakes_of(traced(truth, Rows.empty()))] == [21, 15]


def test_boxes_on_nobody_for_long_are_a_false_alarm():
    one = traced(truth_of(people((span(1, 40), 1))), rows((span(1, 40), 1, 100), (span(5, 30), 8, 600), (7, 9, 700)))
    (alarm,) = mistakes_of(one)
    assert (alarm.kind, alarm.frame, alarm.frames_wrong) == ("false_alarm", 5, 26)
    assert labels(alarm.views[0]) == ["id 8"]


def test_missed_and_false_reentries_are_shown():
    truth = truth_of(people((span(1, 10), 1), (span(100, 120), 1), (span(1, 120), 2)))
    one = traced(truth, rows((span(1, 10), 7, 100), (span(100, 120), 9, 100), (span(1, 120), 8, 200)))
    judged = Reentries(
        missed=(TrueReturn("a", 1, 100, 120, 9.9), TrueReturn("a", 5, 100, 120, 9.9)),
        false=(SaidReturn("a", 8, 3.0, 3.5), SaidReturn("a", 33, 3.0, 3.5)),
    )
    found = find_mistakes([one], Links(), judged)
    missed = [m for m in found if m.kind == "missed_reentry"]
    false = [m for m in found if m.kind == "false_reentry"]
    assert [(m.frame, m.frames_wrong) for m in missed] == [(100, 21), (100, 0)]
    assert labels(missed[0].views[0]) == ["person 1", "id 9"]
    assert missed[1].views[0].boxes == ()  # person 5 has no boxes
    assert [(m.frame, m.frames_wrong) for m in false] == [(31, 120), (31, 0)]
    assert false[0].text == "a: id 8 is said to come back in frame 31, and is person 2"
    assert labels(false[0].views[0]) == ["person 2", "id 8"]
    assert false[1].views[0].boxes == ()


def test_the_worst_come_first_and_a_kind_has_its_limit():
    people_missed = [(span(1, 10 + n), n) for n in range(1, 31)]
    found = mistakes_of(traced(truth_of(people(*people_missed)), Rows.empty()))
    assert [m.frames_wrong for m in found] == list(range(40, 40 - MOST_OF_A_KIND, -1))


def test_all_kinds_together_have_a_limit():
    one = traced(truth_of(people((span(1, 30), 1))), Rows.empty())
    many = tuple(TrueReturn("a", 1, n, n, n / 10) for n in range(1, 40))
    false = tuple(SaidReturn("a", 8, n / 10, n / 10) for n in range(1, 40))
    cameras = [
        traced(
            truth_of(people(*((span(1, 200, 5), n) for n in range(1, 15)))),
            rows(
                *((span(1, 100, 5), n, 100 * n) for n in range(1, 15)),
                *((span(101, 200, 5), n + 1, 100 * n) for n in range(1, 15)),
                *((span(1, 200, 5), 50 + n, 5000 + 100 * n) for n in range(1, 15)),
            ),
            camera_id="b",
        ),
        traced(truth_of(people(*((span(1, 30), n) for n in range(1, 15)))), Rows.empty(), camera_id="c"),
        one,
    ]
    links = find_links(a for camera in cameras for a in camera.appearances)
    assert links.missed
    found = find_mistakes(cameras, links, Reentries(missed=many, false=false))
    assert len(found) == MOST == 60
    assert max(kinds(found).count(kind) for kind in set(kinds(found))) == MOST_OF_A_KIND
