"""Clips with the people they show, their retrieval figures and their distances."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.scoring.clips import (
    LabelledClip,
    PairDistances,
    evenly_spread,
    histogram,
    label_clips,
    pair_distances,
    retrieval_figures,
)
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth, TrueVisit
from pipeline.scoring.roles import Role
from pipeline.scoring.rows import Rows
from pipeline.types import ClipFeature, TrackKey, Tracklet

ABSENCE_S = 5.0
FPS = 10.0
BASE = np.eye(8, dtype=np.float32)


def box(left):
    return [left, 0.0, 20.0, 50.0]


def truth_of(rows, roles=None, annotated=None, visits=None, camera="door"):
    """rows: (frame, person, left)."""
    frames, ids = [r[0] for r in rows], [r[1] for r in rows]
    table = Rows(
        np.array(frames, int),
        np.array(ids, int),
        np.array([box(r[2]) for r in rows]).reshape(-1, 4),
        np.ones(len(rows)),
    )
    all_roles = np.array([Role.PERSON] * len(rows) if roles is None else roles, np.int8)
    where = None if annotated is None else np.array(annotated)
    return GroundTruth({camera: CameraTruth(table, all_roles, where)}, visits)


def tracklet(lefts, first_frame=1, track_id=1, camera="door"):
    """One box a frame."""
    index = np.arange(len(lefts)) + first_frame - 1
    xyxy = np.array([[left, 0, left + 20, 50] for left in lefts])
    key = TrackKey(camera, "1", track_id)
    return Tracklet(key, 0, float(index[-1]) / FPS, True, index, index / FPS, xyxy, np.ones(len(lefts)))


def clip(start_frame, end_frame, track_id=1, camera="door"):
    start_s, end_s = (start_frame - 1) / FPS, (end_frame - 1) / FPS
    key = TrackKey(camera, "1", track_id)
    none = np.zeros((0, 0))
    return ClipFeature(key, 1, start_s, start_s, end_s, end_s, BASE[0], none, np.zeros(0), none, 0.5, "m")


def people(rows, tracks, clips, **options):
    labelled, left_out = label_clips(clips, tracks, truth_of(rows, **options), absence_s=ABSENCE_S)
    return [c.person_id for c in labelled], left_out


def test_a_clip_gets_the_person_under_its_boxes():
    rows = [(n, 7, 100) for n in range(1, 11)] + [(n, 8, 300) for n in range(1, 11)]
    assert people(rows, [tracklet([100] * 10)], [clip(1, 10)]) == ([7], 0)


def test_a_clip_over_two_people_is_left_out_and_its_first_half_is_not():
    rows = [(n, 7, 100) for n in range(1, 11)] + [(n, 8, 100) for n in range(11, 21)]
    assert people(rows, [tracklet([100] * 20)], [clip(1, 20), clip(1, 10)]) == ([7], 1)


def test_a_clip_on_nobody_or_only_a_little_on_somebody_is_left_out():
    rows = [(n, 7, 100) for n in range(1, 5)]
    assert people(rows, [tracklet([100] * 10)], [clip(1, 10), clip(6, 10)]) == ([], 2)


def test_boxes_that_overlap_by_less_than_half_are_nobodys():
    assert people([(1, 7, 100)], [tracklet([108])], [clip(1, 1)]) == ([], 1)
    assert people([(1, 7, 100)], [tracklet([106])], [clip(1, 1)]) == ([7], 0)


def test_a_distractor_is_nobody():
    rows = [(n, 7, 100) for n in range(1, 4)]
    assert people(rows, [tracklet([100] * 3)], [clip(1, 3)], roles=[Role.DISTRACTOR] * 3) == ([], 1)


def test_between_annotated_frames_the_nearest_one_of_the_track_counts():
    rows = [(1, 7, 100), (11, 8, 100)]
    tracks = [tracklet([100] * 20)]
    found = people(rows, tracks, [clip(3, 3), clip(9, 9), clip(18, 18)], annotated=[1, 11])
    assert found == ([7, 8], 1)  # frame 18 is 0.7 s away


def test_a_track_detected_in_other_frames_than_the_annotated_ones_is_judged_on_its_way_between_them():
    rows = [(n, 7, 100 + 10 * n) for n in range(1, 20, 2)]
    whole = tracklet([100 + 10 * n for n in range(2, 21)], first_frame=2)
    every_fourth = replace(
        whole,
        frame_index=whole.frame_index[::4],
        captured_at_s=whole.captured_at_s[::4],
        xyxy=whole.xyxy[::4],
        confidence=whole.confidence[::4],
    )
    assert people(rows, [every_fourth], [clip(2, 18)], annotated=list(range(1, 20, 2))) == ([7], 0)


def test_a_frame_that_was_annotated_as_empty_shows_nobody():
    assert people([(1, 7, 100)], [tracklet([100] * 3)], [clip(3, 3)], annotated=[1, 2, 3]) == ([], 1)


def test_clips_without_their_track_or_their_cameras_truth_are_left_out():
    rows = [(1, 7, 100)]
    assert people(rows, [], [clip(1, 1)]) == ([], 1)
    assert people(rows, [tracklet([100], camera="hall")], [clip(1, 1, camera="hall")]) == ([], 1)
    assert people([], [tracklet([100])], [clip(1, 1)]) == ([], 1)
    assert people(rows, [], []) == ([], 0)


def test_visits_are_the_files_where_there_is_one_and_else_end_with_an_absence():
    rows = [(n, 7, 100) for n in [*range(1, 11), *range(70, 81)]]
    tracks = [tracklet([100] * 10), tracklet([100] * 11, first_frame=70, track_id=2)]
    clips = [clip(1, 10), clip(70, 80, track_id=2)]
    by_gap, _ = label_clips(clips, tracks, truth_of(rows), absence_s=ABSENCE_S)
    assert [c.visit for c in by_gap] == [1, 2]
    by_longer_gap, _ = label_clips(clips, tracks, truth_of(rows), absence_s=7.0)
    assert [c.visit for c in by_longer_gap] == [1, 1]
    visits = (TrueVisit("door", 7, 3, 1, 12), TrueVisit("door", 7, 4, 60, 90))
    by_file, _ = label_clips(clips, tracks, truth_of(rows, visits=visits), absence_s=ABSENCE_S)
    assert [c.visit for c in by_file] == [3, 4]


def labelled(camera, person, vector, visit=1, at_s=0.0):
    vector = np.asarray(vector, np.float32) / np.linalg.norm(vector)
    key, none = TrackKey(camera, "1", person), np.zeros((0, 0))
    shown = ClipFeature(key, 1, at_s, at_s, at_s + 1, at_s + 1, vector, none, np.zeros(0), none, 0.5, "m")
    return LabelledClip(shown, person, visit)


def test_retrieval_leaves_out_the_querys_own_camera_and_counts_valid_queries_only():
    clips = [
        labelled("a", 1, [1, 0, 0]),
        labelled("a", 1, [0.9, 0.1, 0]),  # junk for the first one
        labelled("b", 2, [0.8, 0.3, 0]),  # nearer to person 1 than person 1's other camera
        labelled("b", 1, [0.5, 0.8, 0]),
        labelled("b", 3, [0, 0, 1]),
    ]
    figures = retrieval_figures(clips)["cross_camera"]
    assert (figures["queries"], figures["gallery"]) == (3, 5)
    # Both queries of camera a find person 1 second; the one of camera b finds one of them behind person 2.
    assert figures["rank1"] == 0.0
    assert figures["rank5"] == 1.0
    assert figures["mAP"] == pytest.approx((1 / 2 + 1 / 2 + (1 / 2 + 2 / 3) / 2) / 3)
    assert figures["mAP_trapezoid"] < figures["mAP"]


def test_one_camera_has_retrieval_between_visits_only():
    clips = [
        labelled("a", 1, [1, 0]),
        labelled("a", 1, [0.9, 0.1], visit=2),
        labelled("a", 2, [0, 1]),
        labelled("a", 2, [0.1, 1]),
    ]
    figures = retrieval_figures(clips)
    assert figures["cross_camera"] | {"gallery": 4, "queries": 0} == figures["cross_camera"]
    assert {figures["cross_camera"][f"rank{r}"] for r in (1, 5, 10, 20)} == {None}
    assert figures["other_visit"]["queries"] == 2
    assert figures["other_visit"]["rank1"] == 1.0


def test_without_clips_every_figure_is_none():
    for figures in retrieval_figures([]).values():
        assert (figures["queries"], figures["gallery"]) == (0, 0)
        assert figures["mAP"] is None and figures["rank20"] is None


def test_pairs_of_one_person_are_of_two_stays_and_pairs_of_two_people_are_all():
    clips = [
        labelled("a", 1, [1, 0, 0]),
        labelled("a", 1, [1, 0, 0]),
        labelled("b", 1, [0, 1, 0]),
        labelled("a", 2, [0, 0, 1]),
    ]
    pairs = pair_distances(clips)
    assert pairs.same == pytest.approx([1.0, 1.0])
    assert pairs.different == pytest.approx([1.0, 1.0, 1.0])


def test_pairs_count_ten_clips_of_a_visit_at_most():
    clips = [labelled("a", 1, [1, 0, i / 100], at_s=i) for i in range(30)] + [labelled("b", 1, [0, 1, 0])]
    assert len(pair_distances(clips).same) == 10
    assert evenly_spread(range(30), 10)[0] == 0 and evenly_spread(range(30), 10)[-1] == 29


def test_pairs_of_nothing_and_of_one_clip_are_empty():
    for clips in ([], [labelled("a", 1, [1, 0])]):
        pairs = pair_distances(clips)
        assert len(pairs.same) == len(pairs.different) == 0


def test_a_histogram_holds_every_pair_also_those_on_its_last_edge():
    pairs = PairDistances(np.array([0.0, 0.02, 0.1], np.float32), np.array([0.3, 0.3], np.float32))
    counts = histogram(pairs)
    assert counts["edges"][0] == 0 and counts["edges"][-1] == pytest.approx(0.3)
    assert len(counts["edges"]) == len(counts["same"]) + 1 == len(counts["different"]) + 1
    assert (sum(counts["same"]), sum(counts["different"]), counts["different"][-1]) == (3, 2, 2)
    assert counts["basis"] == "ground truth"


def test_a_histogram_of_nothing_has_one_empty_bin():
    nothing = np.zeros(0, np.float32)
    assert histogram(PairDistances(nothing, nothing), "certain pairs") == {
        "edges": [0.0, 0.02],
        "same": [0],
        "different": [0],
        "basis": "certain pairs",
    }
