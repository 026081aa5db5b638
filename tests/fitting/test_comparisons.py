"""Tracks against people as the matcher compares them: with ground truth, and by what is certain without it."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import clip, tracklet

from pipeline.config import Config, MatcherConfig, TopologyConfig
from pipeline.fitting.certain import certain_pairs, compare_certain
from pipeline.fitting.comparisons import FeatureSets, compare_labelled, looks_of
from pipeline.fitting.views import ClockLag, PathMatch
from pipeline.identity.constraints import Topology
from pipeline.identity.matcher import Matcher
from pipeline.identity.state import FEATURES_PER_TRACK
from pipeline.scoring.clips import LabelledClip
from pipeline.types import CameraState

E = np.eye(6, dtype=np.float32)
MATCHER = MatcherConfig(patience_s=1.5, subtract_camera_mean=False)  # looks as they are
ANYWHERE = Topology(())


def labelled(camera, person, track, vector, at_s, visit=1):
    return LabelledClip(clip(camera, track, vector, at_s, at_s + 0.5), person, visit)


def test_the_first_look_knows_the_clips_within_the_matchers_patience():
    clips = [clip("a", 1, E[t], t, t + 0.4) for t in range(3)]
    for patience_s, known in ((1.5, 2), (0.5, 1), (60, 3)):
        first = looks_of(clips[::-1], MatcherConfig(patience_s=patience_s))[0]
        assert (first.start_s, first.end_s, len(first.features)) == (0, known - 0.6, known)
    assert len(looks_of(clips[:1], MATCHER)) == 1 and looks_of([], MATCHER) == []


def test_later_looks_come_as_the_track_grows_and_know_what_the_matcher_keeps_of_all_of_it():
    clips = [clip("a", 1, E[t % 6] + 0.01 * t, t, t + 0.4) for t in range(8)]
    looks = looks_of(clips, MATCHER)
    known = [round(look.end_s + 0.6) for look in looks]
    assert (known[0], known[-1]) == (2, 8) and known == sorted(set(known))
    assert 2 < len(known) < 7  # not after every clip
    assert [len(look.features) for look in looks] == [min(n, FEATURES_PER_TRACK) for n in known]
    assert {look.start_s for look in looks} == {0}
    longer = looks_of([clip("a", 1, E[0], t, t + 0.4) for t in range(40)], MATCHER)
    assert (len(longer), longer[0].end_s, longer[-1].end_s) == (4, 1.4, 39.4)  # after 2, 6, 18 clips, and all


def test_clips_of_parts_are_compared_where_both_can_be_seen():
    def by_parts(camera, track, visibility, at_s):
        own = clip(camera, track, np.tile(E[0], 2), at_s, at_s + 0.4)
        parts = np.stack([E[0], E[track]])
        return replace(own, parts=parts, visibility=np.asarray(visibility), attention=np.zeros((0, 2)))

    sets = FeatureSets(MATCHER)
    sets.learn("whole", [by_parts("a", 1, [1, 1], 0)])
    looks = [looks_of([by_parts("b", 2, visibility, 9)], MATCHER)[0] for visibility in ([1, 1], [1, 0])]
    assert [float(sets.distances(look, ["whole"])[0]) for look in looks] == pytest.approx([0.5, 0.0], abs=1e-3)


def test_a_view_of_several_tracks_keeps_features_of_each_of_them():
    tracks = [[clip("a", n, E[n] + 0.01 * t, 10 * n + t, 10 * n + t + 0.4) for t in range(9)] for n in (1, 2)]
    sets = FeatureSets(MATCHER)
    sets.learn("both", tracks[0] + tracks[1])
    sets.learn("one", tracks[0])
    look = looks_of([clip("b", 3, E[2], 40, 40.4)], MATCHER)[0]
    both, one = sets.distances(look, ["both", "one"])
    assert both < 0.1 < one  # the nearer half of eight features are those of the second track


def test_the_distance_is_the_one_that_the_matcher_writes_into_its_evidence():
    known = [clip("a", 1, v, t, t + 0.4) for t, v in enumerate([E[0], E[0] + 0.6 * E[1], E[0] + 0.8 * E[2]])]
    new = [clip("b", 1, E[0] + 0.3 * E[3], 20, 20.4, quality=0.9)]
    sets = FeatureSets(MATCHER)
    sets.learn("him", known)
    (distance,) = sets.distances(looks_of(new, MATCHER)[0], ["him"])
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
    compared = compare_labelled([clips], MATCHER)
    assert (len(compared.same), len(compared.different)) == (3, 5)
    assert compared.same == pytest.approx([1.0] * 3)
    assert (compared.units, compared.unit, compared.basis) == (2, "person", "ground truth")
    assert len(compared.nearest_other) == 4


def test_nothing_to_compare_gives_empty_comparisons():
    for clips in ([], [labelled("a", 1, 1, E[0], 0)]):
        compared = compare_labelled([clips], MATCHER)
        assert len(compared.same) == len(compared.different) == 0
    empty = compare_certain([[]], certain_pairs([], [], ANYWHERE), Config())
    assert len(empty.same) == len(empty.different) == 0


def test_two_tracks_at_one_time_in_one_camera_are_two_people():
    tracks = [tracklet("a", 1, 0, 10), tracklet("a", 2, 5, 12, left=300)]
    pairs = certain_pairs(tracks, [], ANYWHERE)
    assert (pairs.seen_together, len(pairs.apart)) == (1, 1)
    clips = [clip("a", 1, E[0], 0, 0.4), clip("a", 1, E[0], 6, 6.4), clip("a", 2, E[1], 5, 5.4)]
    compared = compare_certain([clips], pairs, Config(matcher=MATCHER))
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
    apart = compare_labelled([first, second], MATCHER)
    assert (len(apart.same), len(apart.different), apart.units) == (0, 4, 3)
