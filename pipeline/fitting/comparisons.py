"""Tracks against people as the matcher compares them: what it keeps of a track against what it keeps of a person."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.config import MatcherConfig
from pipeline.identity.common_look import features_against_common
from pipeline.identity.gallery import Feature, Features, feature_of
from pipeline.identity.memory import SiteMemory
from pipeline.identity.revise import due_again
from pipeline.identity.state import TrackState
from pipeline.scoring.clips import LabelledClip, evenly_spread
from pipeline.types import ClipFeature, FloatArray, IntArray, TrackKey

_MOST_LOOKS = 5  # moments of one track: the first, where it gets its identity, and later ones, where that is revised
_MOST_SETS = 2000  # people's views that a look is compared with; more are thinned out evenly

Name = TypeVar("Name", bound=Hashable)
FeatureOf = Callable[[ClipFeature], Feature]


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What the matcher knows of one track when it decides about it.

    Attributes:
        features: those that it keeps of the clips until then.
        start_s, end_s: first and last crop of these clips.
    """

    key: TrackKey
    features: Features
    start_s: float
    end_s: float

    @property
    def quality(self) -> float:
        """The best one, as the matcher counts a track's."""
        return float(self.features.qualities.max())


@dataclass(frozen=True, eq=False, slots=True)
class Comparisons:
    """Distances with the people (or tracks) that they are between.

    Attributes:
        same: (S,) float32 distances. same_of: (S,) int64, whom. same_quality: (S,) of the track that was looked at.
        different: (N,) float32. different_of: (N, 2) int64, which two. different_quality: (N,).
        nearest_other: (Q,) for each look the distance of the nearest other person's view; empty for certain pairs,
            where most other people are not known.
        unit: what the numbers count: "person" or "track". units: how many there are.
        basis: "ground truth" or "certain pairs".
    """

    same: FloatArray
    same_of: IntArray
    same_quality: FloatArray
    different: FloatArray
    different_of: IntArray
    different_quality: FloatArray
    nearest_other: FloatArray
    unit: str
    units: int
    basis: str

    def weights(self, drawn: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(S,) and (N,) weight of each comparison when its people count as often as `drawn` (U,) says."""
        first, second = self.different_of.T
        return drawn[self.same_of], drawn[first] * drawn[second]


def looks_of(clips: Sequence[ClipFeature], matcher: MatcherConfig, feature: FeatureOf = feature_of) -> list[Look]:
    """Up to five looks at one track, evenly spread over those that the matcher takes; the first and the last always.

    The first is due `patience_s` after the first clip; later ones come when the track has grown (`due_again`), and at
    the track's end. Each knows all clips until then. So one threshold is chosen for first decisions and for revisions:
    a short track counts by its first look alone, a long one mostly by later ones.
    """
    ordered = in_time(clips)
    memory = SiteMemory(matcher.features_per_identity, matcher.decide_every_s)
    looks = []
    for number, clip in enumerate(ordered):
        track = memory.tracks.get(clip.key)
        if track is None:
            track = TrackState(clip.key, clip.start_s, clip.end_s, first_clip_s=clip.made_at_s)
            memory.add_track(track)
        track.clips += 1
        memory.learn(track, feature(clip), matcher.min_quality)
        following = ordered[number + 1] if number + 1 < len(ordered) else None
        if _is_looked_at(track, following, matcher.patience_s):
            track.reviewed = track.clips
            start_s = min(one.start_s for one in ordered[: number + 1])
            looks.append(Look(clip.key, memory.gallery.features(clip.key), start_s, clip.end_s))
    return [looks[i] for i in evenly_spread(range(len(looks)), _MOST_LOOKS)]


def _is_looked_at(track: TrackState, following: ClipFeature | None, patience_s: float) -> bool:
    """Whether the matcher decides about the track before the next clip comes; None: there is none."""
    if following is None:
        return True
    if not track.reviewed:
        return following.made_at_s > (track.first_clip_s or 0.0) + patience_s
    return due_again(track)


def features_as_compared(
    clips: Iterable[ClipFeature], whose: Callable[[ClipFeature], Hashable], matcher: MatcherConfig
) -> FeatureOf:
    """What the matcher compares of these clips, which are of all cameras.

    Args:
        whose: the person of a clip, or else its track.
    """
    if not matcher.subtract_camera_mean:
        return feature_of
    ordered = in_time(clips)
    features = features_against_common(ordered, whose, matcher.min_quality, matcher.patience_s)
    known = {id(clip): feature for clip, feature in zip(ordered, features, strict=True)}
    return lambda clip: known[id(clip)]


def in_time(clips: Iterable[ClipFeature]) -> list[ClipFeature]:
    """In the order in which they were made."""
    return sorted(clips, key=lambda clip: (clip.made_at_s, clip.end_s, clip.start_s, clip.sequence))


class FeatureSets(Generic[Name]):
    """Views of people, each with the features that the matcher would have kept of its tracks."""

    def __init__(self, config: MatcherConfig, feature: FeatureOf = feature_of) -> None:
        self._config = config
        self._feature = feature
        self._memory = SiteMemory(config.features_per_identity, config.decide_every_s)
        self._ids: dict[Name, int] = {}

    def __contains__(self, name: Name) -> bool:
        return name in self._ids

    @property
    def names(self) -> list[Name]:
        return list(self._ids)

    def learn(self, name: Name, clips: Iterable[ClipFeature]) -> None:
        """Show all clips of one view, of one track or of several; once for each view."""
        tracks: dict[TrackKey, TrackState] = {}
        for clip in in_time(clips):
            if clip.key not in tracks:
                tracks[clip.key] = self._add_track(name, clip)
            self._memory.learn(tracks[clip.key], self._feature(clip), self._config.min_quality)

    def _add_track(self, name: Name, clip: ClipFeature) -> TrackState:
        """A track of this view alone: one that has changed over to somebody else belongs to two views."""
        key = TrackKey(clip.camera_id, clip.epoch, len(self._memory.tracks))
        track = TrackState(key, clip.start_s, clip.end_s)
        self._memory.add_track(track)
        if name not in self._ids:
            self._ids[name] = self._memory.new_identity(track).identity_id
        self._memory.link(track, self._ids[name])
        return track

    def distances(self, look: Look, names: Sequence[Name]) -> FloatArray:
        """(G,) the matcher's distance of a look to each view."""
        owners = [self._memory.owners(self._ids[name]) for name in names]
        return self._memory.gallery.nearest(look.features, owners)


View = tuple[str, int, int]  # camera, visit, person
Looks = Callable[[Sequence[ClipFeature], MatcherConfig, FeatureOf], Sequence[Look]]


def compare_labelled(
    groups: Sequence[Sequence[LabelledClip]], matcher: MatcherConfig, looks: Looks = looks_of
) -> Comparisons:
    """Every track of a known person against every other stay of everybody.

    One stay at a time, so that a person is known from one side only: harder than when several cameras have taught the
    matcher. Stays of the looked-at person in the same visit do not count.

    Args:
        groups: clips that one head has fused; only those of one group are compared.
        looks: at one track, from its clips.
    """
    everybody = sorted({clip.person_id for labelled in groups for clip in labelled})
    people = {person: i for i, person in enumerate(everybody)}
    collected = Collected()
    for labelled in groups:
        _compare_group(labelled, matcher, people, collected, looks)
    return collected.comparisons("person", len(people), "ground truth")


def _compare_group(
    labelled: Sequence[LabelledClip],
    matcher: MatcherConfig,
    people: Mapping[int, int],
    collected: "Collected",
    looks: Looks,
) -> None:
    known = {id(one.clip): one.person_id for one in labelled}
    feature = features_as_compared([one.clip for one in labelled], lambda clip: known[id(clip)], matcher)
    sets: FeatureSets[View] = FeatureSets(matcher, feature)
    views: dict[View, list[ClipFeature]] = {}
    tracks: dict[tuple[TrackKey, View], list[ClipFeature]] = {}
    for one in labelled:
        view = (one.camera_id, one.visit, one.person_id)
        views.setdefault(view, []).append(one.clip)
        tracks.setdefault((one.key, view), []).append(one.clip)
    for view in sorted(views):
        sets.learn(view, views[view])
    names = [sets.names[i] for i in evenly_spread(range(len(sets.names)), _MOST_SETS)]
    for (_, own), clips in sorted(tracks.items(), key=lambda item: item[0]):
        others = [name for name in names if name != own]
        for look in looks(clips, matcher, feature):
            collected.add(look, people[own[2]], [people[name[2]] for name in others], sets.distances(look, others))


class Collected:
    """Comparisons while they are being made."""

    def __init__(self) -> None:
        self._same: list[tuple[float, int, float]] = []
        self._different: list[tuple[float, int, int, float]] = []
        self._nearest: list[float] = []

    def add(self, look: Look, unit: int, units: Sequence[int], distances: FloatArray) -> None:
        """One look at `unit` against views of `units`."""
        nearest = np.inf
        for other, distance in zip(units, distances.tolist(), strict=True):
            if other == unit:
                self._same.append((distance, unit, look.quality))
            else:
                self._different.append((distance, unit, other, look.quality))
                nearest = min(nearest, distance)
        if np.isfinite(nearest):
            self._nearest.append(nearest)

    def comparisons(self, unit: str, units: int, basis: str) -> Comparisons:
        same = np.array(self._same, np.float64).reshape(-1, 3)
        different = np.array(self._different, np.float64).reshape(-1, 4)
        return Comparisons(
            same[:, 0].astype(np.float32),
            same[:, 1].astype(np.int64),
            same[:, 2].astype(np.float32),
            different[:, 0].astype(np.float32),
            different[:, 1:3].astype(np.int64),
            different[:, 3].astype(np.float32),
            np.array(self._nearest if basis == "ground truth" else [], np.float32),
            unit,
            units,
            basis,
        )
