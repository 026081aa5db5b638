"""Tracks against people as the matcher compares them: with ground truth, and by what is certain without it."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import clip, tracklet

from pipeline.config import Config, MatcherConfig, ReidConfig, TopologyConfig
from pipeline.fitting.certain import certain_pairs, compare_certain
from pipeline.fitting.comparisons import FeatureSets, clips_of_a_decision, compare_labelled, looks_of
from pipeline.fitting.views import ClockLag, PathMatch
from pipeline.identity.constraints import Topology
from pipeline.identity.matcher import Matcher
from pipeline.scoring.clips import LabelledClip
from pipeline.types import CameraState, TrackKey

E = np.eye(6, dtype=np.float32)
MATCHER, REID = MatcherConfig(), ReidConfig()
ANYWHERE = Topology(())


def labelled(camera, person, track, vector, at_s, visit=1):
    vector = np.asarray(vector, np.float32) / np.linalg.norm(vector)
    return LabelledClip(camera, person, visit, TrackKey(camera, "1", track), vector, 0.8, at_s, at_s + 0.5)


def test_as_many_clips_speak_as_come_within_the_matchers_patience():
    assert clips_of_a_decision(MATCHER, REID) == 2
    assert clips_of_a_decision(MatcherConfig(patience_s=0.5), REID) == 1
    assert clips_of_a_decision(MatcherConfig(patience_s=60), REID) == 4


def test_looks_begin_with_the_first_clips_and_are_five_at_most():
    clips = [clip("a", 1, E[0], t, t + 0.4) for t in range(40)]
    looks = looks_of(clips[::-1], MATCHER, REID)
    assert len(looks) == 5
    assert (looks[0].start_s, looks[0].end_s, len(looks[0].embeddings)) == (0, 1.4, 2)
    assert len(looks_of(clips[:1], MATCHER, REID)) == 1 and looks_of([], MATCHER, REID) == []


def test_the_distance_is_the_one_that_the_matcher_writes_into_its_evidence():
    known = [clip("a", 1, v, t, t + 0.4) for t, v in enumerate([E[0], E[0] + 0.6 * E[1], E[0] + 0.8 * E[2]])]
    new = [clip("b", 1, E[0] + 0.3 * E[3], 20, 20.4, quality=0.9)]
    sets = FeatureSets(MATCHER)
    sets.learn("him", known)
    (distance,) = sets.distances(looks_of(new, MATCHER, REID)[0], ["him"])
    matcher = Matcher(MATCHER, 0.9, ["a", "b"])
    numbered = [_numbered(c, i + 1) for i, c in enumerate(known)] + [_numbered(new[0], 1)]
    ends = [CameraState(c, "1", 9, 30.0, "end") for c in ("a", "b")]
    for i, message in enumerate([*numbered, *ends]):
        matcher.receive(str(i), message)
    events = [e for e in matcher.advance().events if e.kind == "handed_over"]
    assert events[0].evidence.distance == pytest.approx(float(distance), abs=1e-4)


def _numbered(message, sequence):
    return replace(message, sequence=sequence)


def test_people_are_compared_over_stays_and_never_within_one():
    clips = [
        labelled("a", 1, 1, E[0], 0),
        labelled("a", 1, 2, E[0], 3),  # another track of the same stay
        labelled("b", 1, 1, E[1], 10),
        labelled("a", 2, 3, E[2], 0),
    ]
    compared = compare_labelled([clips], MATCHER, REID)
    assert (len(compared.same), len(compared.different)) == (3, 5)
    assert compared.same == pytest.approx([1.0] * 3)
    assert (compared.units, compared.unit, compared.basis) == (2, "person", "ground truth")
    assert len(compared.nearest_other) == 4


def test_nothing_to_compare_gives_empty_comparisons():
    for clips in ([], [labelled("a", 1, 1, E[0], 0)]):
        compared = compare_labelled([clips], MATCHER, REID)
        assert len(compared.same) == len(compared.different) == 0
    empty = compare_certain([[]], certain_pairs([], [], ANYWHERE), Config())
    assert len(empty.same) == len(empty.different) == 0


def test_two_tracks_at_one_time_in_one_camera_are_two_people():
    tracks = [tracklet("a", 1, 0, 10), tracklet("a", 2, 5, 12, left=300)]
    pairs = certain_pairs(tracks, [], ANYWHERE)
    assert (pairs.seen_together, len(pairs.apart)) == (1, 1)
    clips = [clip("a", 1, E[0], 0, 0.4), clip("a", 1, E[0], 6, 6.4), clip("a", 2, E[1], 5, 5.4)]
    compared = compare_certain([clips], pairs, Config())
    assert compared.different == pytest.approx([1.0] * 3)  # two looks at the first track, one at the second
    assert (compared.units, compared.unit, compared.basis) == (2, "track", "certain pairs")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (tracklet("a", 2, 9.5, 20, left=300), "less than a second together"),
        (tracklet("a", 2, 20, 30, left=300), "one after the other"),
        (tracklet("a", 2, 0, 10, left=105), "a second box on the same person"),
        (tracklet("a", 2, 0, 10, left=300, confidence=0.0), "never seen, only filled in"),
        (tracklet("b", 2, 0, 10, left=300), "another camera, which may see the same ground"),
    ],
)
def test_what_is_not_certain_is_not_used(other, why):
    assert certain_pairs([tracklet("a", 1, 0, 10), other], [], ANYWHERE).seen_together == 0, why


def test_cameras_that_share_no_ground_tell_two_people_apart():
    topology = Topology((TopologyConfig(pair=("a", "b"), overlap=False),))
    assert certain_pairs([tracklet("a", 1, 0, 10), tracklet("b", 1, 0, 10)], [], topology).seen_together == 1


def test_pieces_of_one_track_are_one_person_when_they_share_no_picture():
    pairs = certain_pairs([tracklet("a", 1, 0, 30)], [], ANYWHERE)
    apart = [clip("a", 1, E[0], 0, 0.4), clip("a", 1, E[0] + E[1], 8, 25)]
    assert compare_certain([apart], pairs, Config()).same == pytest.approx([1 - 2**-0.5], abs=1e-3)
    overlapping = [clip("a", 1, E[0], 0, 8), clip("a", 1, E[0] + E[1], 2, 25)]
    assert len(compare_certain([overlapping], pairs, Config()).same) == 0


def moved_as_one(first, second):
    match = PathMatch((first, second), 0.0, 0.98, 0.1, 30.0)
    return ClockLag(("a", "b"), 0.0, 0.05, "movement", 1, 0.9, (match,))


def test_tracks_that_move_as_one_are_one_person_and_apart_from_whom_the_other_is_apart():
    tracks = [tracklet("a", 1, 0, 10), tracklet("b", 1, 0, 10), tracklet("b", 2, 0, 10, left=300)]
    pairs = certain_pairs(tracks, [moved_as_one("a/1/1", "b/1/1")], ANYWHERE)
    assert pairs.across == 1
    clips = [clip("a", 1, E[0], 0, 0.4), clip("b", 1, E[0] + E[1], 0, 0.4), clip("b", 2, E[2], 0, 0.4)]
    compared = compare_certain([clips], pairs, Config())
    assert len(compared.same) == 2  # either way round
    assert len(compared.different) == 4  # track 2 of b with both
    assert compared.units == 2


def test_a_chance_hit_that_would_join_two_people_is_not_believed():
    tracks = [tracklet("a", 1, 0, 10), tracklet("b", 1, 0, 10), tracklet("b", 2, 0, 10, left=300)]
    lags = [moved_as_one("a/1/1", "b/1/1"), moved_as_one("a/1/1", "b/1/2")]
    pairs = certain_pairs(tracks, lags, ANYWHERE)
    assert pairs.across == 1
    assert all(len(pair) == 2 for pair in pairs.apart)


def test_clips_of_two_heads_are_never_compared_and_their_people_count_once():
    tracks = [tracklet("a", n, 0, 10, left=100.0 * n) for n in (1, 2, 3)]
    pairs = certain_pairs(tracks, [], ANYWHERE)
    one = [clip("a", 1, E[0], 0, 0.4), clip("a", 2, E[1], 0, 0.4)]
    other = [clip("a", 1, E[0], 5, 5.4), clip("a", 3, E[2], 5, 5.4)]
    compared = compare_certain([one, other], pairs, Config())
    assert {frozenset(pair) for pair in compared.different_of.tolist()} == {frozenset({0, 1}), frozenset({0, 2})}
    assert len(compared.same) == 0  # the first track's clips are of two heads
    assert compared.units == 3
    first = [labelled("a", 1, 1, E[0], 0), labelled("a", 2, 2, E[1], 0)]
    second = [labelled("b", 1, 1, E[0], 9), labelled("b", 3, 2, E[1], 9)]
    apart = compare_labelled([first, second], MATCHER, REID)
    assert (len(apart.same), len(apart.different), apart.units) == (0, 4, 3)
