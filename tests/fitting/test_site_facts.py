"""What a site's footage says for certain about who is who."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import tracklet
from kept_crops import GOOD, site

from pipeline.config import Config
from pipeline.fitting.facts import MOST_CROPS, is_good, site_facts
from pipeline.fitting.ground import GroundPath, SameSpan, ground_paths, spans_of_paths, spans_of_places
from pipeline.fitting.pieces import origin_of
from pipeline.fitting.views import ClockLag, PathMatch
from pipeline.ground import GroundPlane
from pipeline.types import TrackKey

CONFIG = Config()
A, B = TrackKey("a", "1", 1), TrackKey("b", "1", 1)


def facts_of(tracks, lags=(), grounds=None, sizes=None):
    footage, store = site(tracks)
    return site_facts(footage, store, CONFIG, lags, grounds or {}, sizes or {})


def test_an_empty_site_has_no_facts():
    facts = facts_of([])
    assert (facts.pieces, facts.person_of, facts.apart) == ((), (), frozenset())
    assert facts.counts["tracks"] == 0


def test_people_in_one_camera_at_once_are_apart_and_others_are_not_known():
    facts = facts_of([("a", 1, 1, 0, 5, 0), ("a", 2, 2, 0, 5, 200), ("a", 3, 3, 20, 25, 0), ("b", 4, 1, 0, 5, 0)])
    numbers = {origin_of(p.key).track_id: n for p, n in zip(facts.pieces, facts.person_of, strict=True)}
    assert len(set(numbers.values())) == 4
    assert facts.apart == {tuple(sorted((numbers[1], numbers[2])))}


def test_a_long_track_becomes_pieces_that_may_be_anybody_and_has_a_bounded_number_of_crops():
    facts = facts_of([("a", 1, 1, 0, 100, 0)])
    assert len(facts.pieces) == 4 == len(set(facts.person_of)) and not facts.apart
    assert all(2 <= len(p.crops) <= MOST_CROPS for p in facts.pieces)
    times = [c.captured_at_s for p in facts.pieces for c in p.crops]
    assert times == sorted(times) and len(times) == len(set(times))


def test_a_glimpse_of_one_crop_teaches_nothing():
    facts = facts_of([("a", 1, 1, 0, 0.5, 0), ("a", 2, 2, 0, 5, 200)])
    assert [p.key.track_id for p in facts.pieces] == [2]
    assert facts.counts["pieces"] == 2 and facts.counts["pieces_used"] == 1


@pytest.mark.parametrize(
    ("worse", "good"),
    [({}, True), ({"confidence": 0.4}, False), ({"overlap": 0.6}, False), ({"height_px": 10.0}, False)],
)
def test_crops_of_weak_hidden_or_tiny_people_are_left_out(worse, good):
    assert is_good(replace(GOOD, **worse), CONFIG.tracker, CONFIG.matcher.min_quality) is good


def test_tracks_of_two_cameras_whose_paths_obey_one_map_are_one_person():
    match = PathMatch(("a/1/1", "b/1/1"), 2.0, 0.95, 0.1, 20.0)
    lag = ClockLag(("a", "b"), 2.0, 0.05, "movement", 1, 0.9, (match,))
    tracks = [("a", 1, 1, 0, 20, 0), ("a", 2, 2, 0, 20, 200), ("b", 1, 1, 2, 22, 0)]
    facts = facts_of(tracks, [lag])
    numbers = {(p.key.camera_id, p.key.track_id): n for p, n in zip(facts.pieces, facts.person_of, strict=True)}
    assert numbers["a", 1] == numbers["b", 1] != numbers["a", 2]
    assert facts.counts["pieces_joined_over_cameras"] == 1
    assert facts.apart == {tuple(sorted((numbers["a", 1], numbers["a", 2])))}  # and so the one in b is, too


def test_a_match_that_would_make_one_person_of_two_is_not_believed():
    matches = tuple(PathMatch((f"a/1/{i}", "b/1/1"), 0.0, 0.95, 0.1, 20.0) for i in (1, 2))
    lag = ClockLag(("a", "b"), 0.0, 0.05, "movement", 2, 0.9, matches)
    facts = facts_of([("a", 1, 1, 0, 20, 0), ("a", 2, 2, 0, 20, 200), ("b", 1, 1, 0, 20, 0)], [lag])
    assert len(set(facts.person_of)) == 2 and len(facts.apart) == 1


def test_paths_of_tracks_that_are_not_there_or_never_together_give_no_span():
    matches = (PathMatch(("a/1/1", "x/1/1"), 0.0, 0.9, 0.1, 20.0), PathMatch(("a/1/1", "b/1/1"), 0.0, 0.9, 0.1, 20.0))
    lag = ClockLag(("a", "b"), 0.0, 0.05, "movement", 2, 0.9, matches)
    assert spans_of_paths([tracklet("a", 1, 0, 5), tracklet("b", 1, 50, 60)], [lag]) == []
    assert spans_of_paths([tracklet("a", 1, 0, 5), tracklet("b", 1, 2, 60)], [lag]) == [SameSpan((A, B), 2.0, 5.0, 0.0)]


# -- the ground


def standing(camera, track_id, start_s, end_s, place):
    at_s = np.arange(start_s, end_s, 0.1)
    return GroundPath(TrackKey(camera, "1", track_id), at_s, np.tile(np.array(place, float), (len(at_s), 1)))


def test_who_is_alone_at_one_place_in_two_cameras_is_one_person():
    spans = spans_of_places([standing("a", 1, 0, 10, (0, 0)), standing("b", 1, 4, 20, (0.4, 0))], {})
    assert [s.keys for s in spans] == [(A, B)]
    assert spans[0].start_s == pytest.approx(4, abs=0.3) and spans[0].end_s == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(
    "others",
    [
        [standing("b", 1, 0, 10, (0.8, 0))],  # too far
        [standing("b", 1, 8.5, 20, (0, 0))],  # too short
        [standing("b", 1, 20, 30, (0, 0))],  # at another time
        [standing("b", 1, 0, 10, (0, 0)), standing("b", 2, 0, 10, (1, 0))],  # somebody else near, in the other camera
        [standing("b", 1, 0, 10, (0, 0)), standing("a", 2, 0, 10, (1, 0))],  # and in the same one
        [standing("b", 1, 0, 10, (np.nan, np.nan))],  # feet not seen
        [],
    ],
)
def test_who_may_be_somebody_else_is_not_said_to_be_one_person(others):
    assert spans_of_places([standing("a", 1, 0, 10, (0, 0)), *others], {}) == []


def test_clocks_that_are_off_are_put_right_first():
    late = {"b": -30.0}
    spans = spans_of_places([standing("a", 1, 0, 10, (0, 0)), standing("b", 1, 0, 10, (0, 0))], late)
    assert [(s.keys, s.lag_s) for s in spans] == [((A, B), 30.0)]


def test_people_who_part_are_not_joined_by_the_moment_they_met():
    walks = standing("b", 1, 0, 30, (0, 0))
    walks.ground_m[:, 0] = np.linspace(0, 12, len(walks.at_s))
    assert spans_of_places([standing("a", 1, 0, 30, (0, 0)), walks], {}) == []


def test_feet_at_the_pictures_edge_and_unseen_boxes_are_left_out():
    plane = GroundPlane(np.diag([0.01, 0.01, 1.0]))
    track = tracklet("a", 1, 0.0, 1.0)
    confidence = np.where(np.arange(len(track.confidence)) < 3, 0.0, 0.9)
    (path,) = ground_paths([replace(track, confidence=confidence)], {"a": plane}, {"a": (640, 480)}, {})
    assert np.isnan(path.ground_m[:3]).all() and path.ground_m[3] == pytest.approx([1.1, 0.5])
    (cut,) = ground_paths([track], {"a": plane}, {"a": (640, 50)}, {})
    assert np.isnan(cut.ground_m).all()
    assert ground_paths([track], {"b": plane}, {"a": (640, 480)}, {}) == []


def test_calibrated_cameras_join_pieces_over_cameras():
    plane = GroundPlane(np.diag([0.01, 0.01, 1.0]))
    tracks = [("a", 1, 1, 0, 20, 100), ("b", 1, 1, 0, 20, 100), ("b", 2, 2, 0, 20, 500)]
    sizes = {"a": (640, 480), "b": (640, 480)}
    facts = facts_of(tracks, grounds={"a": plane, "b": plane}, sizes=sizes)
    assert facts.counts["tracks_at_one_place"] == 1 and facts.counts["pieces_joined_over_cameras"] == 1
    assert len(set(facts.person_of)) == 2
    alone = facts_of(tracks, grounds={"a": plane}, sizes=sizes)  # one calibrated camera says nothing
    assert len(set(alone.person_of)) == 3
