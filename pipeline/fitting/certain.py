"""Comparisons without ground truth: of what is certain anyway.

Two tracks at the same time in one camera are two people; so are two in cameras of which the topology says that they
see different ground. Pieces of one track that share no picture are one person, and so are tracks of two cameras that
obey one map (`pipeline.fitting.views`). What follows from both is certain as well: who is apart from a track is apart
from all tracks of the same person.

Both kinds are nearer than what the matcher meets. Pieces of one track are one camera, one light and one walk. Two
people in one camera share its light, background and side, so a threshold below their distances is on the safe side.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.boxes import box_area, box_intersection
from pipeline.config import Config
from pipeline.fitting.comparisons import (
    Collected,
    Comparisons,
    FeatureSets,
    Look,
    features_as_compared,
    in_time,
    looks_of,
)
from pipeline.fitting.paths import track_name
from pipeline.fitting.views import ClockLag
from pipeline.identity.constraints import Topology
from pipeline.scoring.clips import evenly_spread
from pipeline.types import ClipFeature, TrackKey, Tracklet

_TOGETHER_S = 1.0  # two tracks seen for this long at once
_APART = 0.3  # of the smaller box may be shared: a second box on the same person is nested in the first one
_PIECE_GAP_S = 1.0  # between two pieces of one track
_MOST_PAIRS = 3000  # of tracks, for each kind; more are thinned out evenly

_Known = tuple[TrackKey, tuple[int, ...]]  # a track, and places of some of its clips in order of time


@dataclass(frozen=True, slots=True)
class CertainPairs:
    """Which tracks are one person, and which are two.

    Attributes:
        person_of: track -> number of its person; two numbers may be one person.
        apart: pairs of such numbers that are two people.
        seen_together: pairs of tracks of one camera (or of cameras that share no ground) at one time.
        across: pairs of tracks of two cameras that are one person.
    """

    person_of: Mapping[TrackKey, int]
    apart: frozenset[frozenset[int]]
    seen_together: int
    across: int


def certain_pairs(
    tracklets: Sequence[Tracklet],
    lags: Iterable[ClockLag],
    topology: Topology,
    same: Iterable[tuple[TrackKey, TrackKey]] = (),
) -> CertainPairs:
    """What the tracks say of themselves.

    Args:
        same: more pairs of tracks that are one person, as far as nothing contradicts.
    """
    together = _seen_together(tracklets, topology)
    people = _People([track.key for track in tracklets], together)
    keys = {track_name(track): track.key for track in tracklets}
    names = [match.names for lag in lags for match in lag.matches if set(match.names) <= set(keys)]
    matched = [(keys[first], keys[second]) for first, second in names]
    matched += [pair for pair in same if set(pair) <= set(people.number)]
    across = sum(people.join(one, other) for one, other in matched)
    apart = frozenset(frozenset((people.number[a], people.number[b])) for a, b in together)
    return CertainPairs(people.number, apart, len(together), across)


class _People:
    """Numbers of people, while tracks are being joined."""

    def __init__(self, keys: Sequence[TrackKey], together: Iterable[tuple[TrackKey, TrackKey]]) -> None:
        self.number = {key: i for i, key in enumerate(keys)}
        self._members = {i: [key] for key, i in self.number.items()}
        self._apart: dict[int, set[int]] = defaultdict(set)
        for a, b in together:
            self._apart[self.number[a]].add(self.number[b])
            self._apart[self.number[b]].add(self.number[a])

    def join(self, one: TrackKey, other: TrackKey) -> bool:
        """Make them one person; False where that would make one of two: what joined them was a chance hit."""
        kept, gone = self.number[one], self.number[other]
        if kept == gone:
            return True
        if gone in self._apart[kept]:
            return False
        for key in self._members[gone]:
            self.number[key] = kept
        self._members[kept] += self._members.pop(gone)
        for third in self._apart.pop(gone, ()):
            self._apart[third].discard(gone)
            self._apart[third].add(kept)
            self._apart[kept].add(third)
        return True


def _seen_together(tracklets: Sequence[Tracklet], topology: Topology) -> list[tuple[TrackKey, TrackKey]]:
    ordered = sorted(tracklets, key=lambda t: (t.captured_at_s[0], t.key))
    found = []
    open_now: list[Tracklet] = []
    for track in ordered:
        open_now = [t for t in open_now if t.captured_at_s[-1] > track.captured_at_s[0]]
        for other in open_now:
            same_camera = track.camera_id == other.camera_id
            if not same_camera and topology.may_overlap(track.camera_id, other.camera_id):
                continue
            if _seconds_together(track, other, same_camera) >= _TOGETHER_S:
                found.append((other.key, track.key))
        open_now.append(track)
    return found


def _seconds_together(a: Tracklet, b: Tracklet, same_camera: bool) -> float:
    """How long both were seen (not interpolated) at once; in one camera only while their boxes lie apart."""
    if not same_camera:
        return float(min(a.captured_at_s[-1], b.captured_at_s[-1]) - max(a.captured_at_s[0], b.captured_at_s[0]))
    _, in_a, in_b = np.intersect1d(a.frame_index, b.frame_index, return_indices=True)
    seen = (a.confidence[in_a] > 0) & (b.confidence[in_b] > 0)
    in_a, in_b = in_a[seen], in_b[seen]
    if len(in_a) < 2:
        return 0.0
    boxes_a, boxes_b = a.xyxy[in_a], b.xyxy[in_b]
    shared = np.array([box_intersection(x[None], y[None])[0, 0] for x, y in zip(boxes_a, boxes_b, strict=True)])
    smaller = np.maximum(np.minimum(box_area(boxes_a), box_area(boxes_b)), 1e-6)
    common_s = float(a.captured_at_s[in_a[-1]] - a.captured_at_s[in_a[0]])
    return common_s * float((shared / smaller <= _APART).mean())


def compare_certain(groups: Sequence[Sequence[ClipFeature]], pairs: CertainPairs, config: Config) -> Comparisons:
    """Looks at each track against what was known of another one (or of itself) at that time.

    Args:
        groups: clips that one head has fused; only those of one group are compared.
    """
    keys = sorted({clip.key for clips in groups for clip in clips} & set(pairs.person_of))
    numbers = {person: i for i, person in enumerate(dict.fromkeys(pairs.person_of[key] for key in keys))}
    collected = Collected()
    for clips in groups:
        _compare_group(clips, pairs, config, numbers, collected)
    return collected.comparisons("track", len(numbers), "certain pairs")


def _compare_group(
    clips: Sequence[ClipFeature],
    pairs: CertainPairs,
    config: Config,
    numbers: Mapping[int, int],
    collected: Collected,
) -> None:
    by_track: dict[TrackKey, list[ClipFeature]] = defaultdict(list)
    for clip in clips:
        if clip.key in pairs.person_of:
            by_track[clip.key].append(clip)
    by_track = {key: in_time(own) for key, own in sorted(by_track.items())}
    feature = features_as_compared(clips, lambda clip: pairs.person_of.get(clip.key, clip.key), config.matcher)
    looks = {key: looks_of(own, config.matcher, feature) for key, own in by_track.items()}
    sets: FeatureSets[_Known] = FeatureSets(config.matcher, feature)
    for a, b in _pairs_of_tracks(sorted(by_track), pairs):
        for one, other in ((a, b), (b, a)) if a != b else ((a, a),):
            for look in looks[one]:
                known = _known(look, by_track[other], one == other)
                if known:
                    name = (other, tuple(known))
                    if name not in sets:
                        sets.learn(name, [by_track[other][i] for i in known])
                    unit, units = (numbers[pairs.person_of[key]] for key in (one, other))
                    collected.add(look, unit, [units], sets.distances(look, [name]))


def _pairs_of_tracks(keys: Sequence[TrackKey], pairs: CertainPairs) -> list[tuple[TrackKey, TrackKey]]:
    """Same ones (a track with itself as well) and different ones, each kind thinned out evenly."""
    same = [(key, key) for key in keys]
    different = []
    members: dict[int, list[TrackKey]] = defaultdict(list)
    for key in keys:
        members[pairs.person_of[key]].append(key)
    for own in members.values():
        same += combinations(own, 2)
    for pair in sorted(sorted(p) for p in pairs.apart):
        a, b = pair
        different += [(x, y) for x in members.get(a, ()) for y in members.get(b, ())]
    chosen = []
    for kind in (same, different):
        chosen += [kind[i] for i in evenly_spread(range(len(kind)), _MOST_PAIRS)]
    return chosen


def _known(look: Look, clips: Sequence[ClipFeature], own: bool) -> list[int]:
    """Places of what is compared with the look: of another track its clips up to then, or its first one; of its own
    track those that have no picture in common with it."""
    if own:
        return [i for i, clip in enumerate(clips) if clip.start_s >= look.end_s + _PIECE_GAP_S]
    return [i for i, clip in enumerate(clips) if clip.end_s <= look.end_s + _PIECE_GAP_S] or [0]
