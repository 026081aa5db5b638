import numpy as np
import pytest
from hand_made import people, rows, span, traced, truth_of

from pipeline.scoring.ceiling import ceiling, ceiling_appearances
from pipeline.scoring.links import find_links
from pipeline.scoring.rows import Rows
from pipeline.scoring.tracking_metrics import score_camera, score_site


def ids_of(one):
    """Ids under the ceiling, in the order in which the rows were given."""
    (camera,) = ceiling([one])
    return camera.result.ids[np.argsort(camera.kept)].tolist()


def test_every_track_gets_the_id_of_its_person():
    truth = truth_of(people((span(1, 30), 1), (span(1, 30), 2)))
    # two stretches of person 1 under two ids, and one of person 2 under the first of them again
    one = traced(truth, rows((span(1, 5), 7, 100), (span(6, 10), 8, 100), (span(21, 30), 7, 200)))
    assert ids_of(one) == [1] * 10 + [2] * 10


def test_a_track_on_nobody_gets_an_id_that_no_person_has():
    one = traced(truth_of(people((span(1, 5), 3))), rows((span(1, 5), 7, 300), (span(1, 5), 3, 900)))
    assert ids_of(one) == [3, 3, 3, 3, 3, 4, 4, 4, 4, 4]  # 3 is the highest person: 4 is free


def test_of_two_tracks_of_one_person_in_a_frame_the_better_box_keeps_the_id():
    # track 7 lies exactly on person 1 in frames 1-4; track 8 is off by 10 px (IoU 0.6) in frames 4-6: in frame 4 both
    truth = truth_of(people((span(1, 6), 1)))
    one = traced(truth, rows((span(1, 4), 7, 100), (span(4, 6), 8, 110)))
    assert ids_of(one) == [1, 1, 1, 1, 2, 1, 1]


def test_the_better_box_keeps_the_id_whichever_comes_first():
    truth = truth_of(people((span(1, 6), 1)))
    one = traced(truth, rows((span(4, 6), 8, 110), (span(1, 4), 7, 100)))
    assert ids_of(one) == [2, 1, 1, 1, 1, 1, 1]


def test_the_box_that_lies_on_the_person_keeps_the_id_though_another_overlaps_more():
    # In frame 9 person 1 is at 100 and person 2 at 108. Box 104 overlaps person 1 more (36 / 44 against 32 / 48 of box
    # 92) and is matched with person 2, so that both are found. Both tracks are mostly person 1's.
    truth = truth_of(rows((span(1, 9), 1, 100), (9, 2, 108)))
    one = traced(truth, rows((span(1, 3), 7, 100), (9, 7, 104), (span(4, 8), 8, 100), (9, 8, 92)))
    assert ids_of(one) == [1, 1, 1, 3, 1, 1, 1, 1, 1, 1]


def test_a_box_that_gives_way_keeps_one_fresh_id_over_its_track():
    # both tracks are mostly person 1's; in frames 4 and 5 both are there, and the second is worse
    truth = truth_of(people((span(1, 9), 1)))
    one = traced(truth, rows((span(1, 5), 7, 100), (span(4, 9), 8, 110)))
    assert ids_of(one) == [1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1]


def test_where_the_person_is_away_one_of_two_boxes_keeps_the_id_all_the_same():
    # both tracks go on in frame 5 where nobody is: the one with more boxes on the person keeps the id
    truth = truth_of(people((span(1, 4), 1), (5, 2)))
    one = traced(truth, rows(((1, 2, 3, 5), 7, 100), ((4, 5), 8, 102)))
    assert ids_of(one) == [1, 1, 1, 1, 1, 3]


def test_a_track_over_two_people_stays_whole():
    truth = truth_of(people((span(1, 10), 1), (span(1, 10), 2)))
    one = traced(truth, rows((span(1, 6), 7, 100), (span(7, 10), 7, 200)))
    assert ids_of(one) == [1] * 10


def test_fresh_ids_are_not_shared_between_cameras():
    truth = truth_of(people((1, 1)))
    cameras = ceiling([traced(truth, rows((1, 7, 500)), camera_id=c) for c in ("a", "b")])
    assert [camera.result.ids.tolist() for camera in cameras] == [[2], [3]]


def test_pure_tracks_under_wrong_ids_have_a_ceiling_of_one():
    truth = truth_of(people((span(1, 10), 1), (span(1, 10), 2)))
    results = rows((span(1, 5), 7, 100), (span(6, 10), 8, 100), (span(1, 5), 8, 200), (span(6, 10), 7, 200))
    local = rows((span(1, 5), 1, 100), (span(6, 10), 2, 100), (span(1, 5), 3, 200), (span(6, 10), 4, 200))
    one = traced(truth, results, local=local)
    assert score_camera(one.camera)["IDF1"] == pytest.approx(0.5)  # each id covers 5 of 10 boxes of one person
    assert score_site(ceiling([one]))["IDF1"] == 1.0
    assert score_site(ceiling([one]))["HOTA"] == pytest.approx(1.0)


def test_links_under_the_ceiling_are_all_that_were_to_be_made():
    truth = truth_of(people((span(1, 50), 1), (span(1, 50), 2)))
    results = rows((span(1, 5), 7, 100), (span(30, 35), 8, 100), (span(1, 5), 8, 200), (span(30, 35), 9, 900))
    one = traced(truth, results)
    links = find_links(a for camera in ceiling_appearances([one]) for a in camera)
    # person 1 has two stretches, person 2 one, and nobody's is alone
    assert links.figures() == {"correct": 1, "false": 0, "missed": 0, "precision": 1.0, "recall": 1.0}


def test_a_track_whose_id_changed_is_one_appearance_under_the_ceiling():
    truth = truth_of(people((span(1, 9), 1)))
    one = traced(truth, rows((span(1, 4), 7, 100), (span(5, 9), 8, 100)), local=rows((span(1, 9), 1, 100)))
    assert len(one.appearances) == 2
    ((whole,),) = ceiling_appearances([one])
    assert (whole.identity_id, whole.first_frame, whole.last_frame, whole.matched) == (1, 1, 9, 9)
    assert whole.end_s == one.appearances[1].end_s


@pytest.mark.parametrize("truth_rows", [Rows.empty(), people((span(1, 3), 1))])
@pytest.mark.parametrize("results", [Rows.empty(), rows((span(1, 3), 7, 500)), rows((span(1, 3), -1, 100))])
def test_without_people_or_results_there_is_a_ceiling_too(truth_rows, results):
    one = traced(truth_of(truth_rows), results)
    (camera,) = ceiling([one])
    assert len(camera.result) == len(results)
    assert all(value is None or np.isfinite(value) for value in score_camera(camera).values())
    assert ceiling([]) == ceiling_appearances([]) == []
