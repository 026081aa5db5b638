"""Tracks against people as the matcher compares them: a few clips of a track against the features kept of a person."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.config import MatcherConfig, ReidConfig
from pipeline.identity.gallery import Feature
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import MAX_EVIDENCE, TrackState
from pipeline.scoring.clips import LabelledClip, evenly_spread
from pipeline.types import ClipFeature, FloatArray, IntArray, TrackKey

_LEAST_WEIGHT = 0.05  # of a clip without any quality, as in the matcher's decisions
_MOST_LOOKS = 5  # moments of one track: the first, where most decisions fall, and later ones
_MOST_SETS = 2000  # people's views that a look is compared with; more are thinned out evenly

AnyClip = ClipFeature | LabelledClip
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What of one track speaks when the matcher decides.

    Attributes:
        embeddings: (N, D) float32. qualities: (N,) float32.
        quality: the best of them, as the matcher counts a track's.
    """

    key: TrackKey
    embeddings: FloatArray
    qualities: FloatArray
    start_s: float
    end_s: float

    @property
    def quality(self) -> float:
        return float(self.qualities.max())


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


def clips_of_a_decision(matcher: MatcherConfig, reid: ReidConfig) -> int:
    """How many clips of a track speak when it is decided, `patience_s` after the first one."""
    return min(MAX_EVIDENCE, 1 + int(matcher.patience_s / reid.every_s))


def looks_of(clips: Sequence[AnyClip], matcher: MatcherConfig, reid: ReidConfig) -> list[Look]:
    """Up to five looks at one track, evenly spread over its clips; the first always.

    A look is what comes within the matcher's patience of its first clip.
    """
    together = clips_of_a_decision(matcher, reid)
    groups: list[list[AnyClip]] = []
    for clip in sorted(clips, key=lambda clip: (clip.end_s, clip.start_s)):
        group = groups[-1] if groups else []
        if group and len(group) < together and clip.end_s - group[0].end_s <= matcher.patience_s:
            group.append(clip)
        else:
            groups.append([clip])
    return [_look(groups[i]) for i in evenly_spread(range(len(groups)), _MOST_LOOKS)]


def _look(clips: Sequence[AnyClip]) -> Look:
    qualities = np.array([clip.quality for clip in clips], np.float32)
    start_s, end_s = min(clip.start_s for clip in clips), max(clip.end_s for clip in clips)
    return Look(clips[0].key, np.stack([clip.embedding for clip in clips]), qualities, start_s, end_s)


class FeatureSets(Generic[Name]):
    """Views of people, each with the features that the matcher would have kept of it."""

    def __init__(self, config: MatcherConfig) -> None:
        self._config = config
        self._memory = SiteMemory(config.features_per_identity, config.decide_every_s)
        self._ids: dict[Name, int] = {}

    @property
    def names(self) -> list[Name]:
        return list(self._ids)

    def learn(self, name: Name, clips: Iterable[AnyClip]) -> None:
        """Show the clips of one view, in order of time."""
        for clip in sorted(clips, key=lambda c: (c.end_s, c.start_s)):
            if name not in self._ids:
                track = TrackState(clip.key, clip.start_s, clip.end_s)
                self._ids[name] = self._memory.new_identity(track).identity_id
            identity = self._memory.identities[self._ids[name]]
            self._memory.learn(identity, Feature(clip.embedding, clip.quality, clip.end_s), self._config.min_quality)

    def distances(self, look: Look, names: Sequence[Name]) -> FloatArray:
        """(G,) distance of a look to each view: mean over its clips, weighted by their quality."""
        weights = np.maximum(look.qualities, _LEAST_WEIGHT)
        each = self._memory.gallery.nearest(look.embeddings, [self._ids[name] for name in names])
        return np.asarray((weights[:, None] * each).sum(axis=0) / weights.sum(), np.float32)


View = tuple[str, int, int]  # camera, visit, person


def compare_labelled(groups: Sequence[Sequence[LabelledClip]], matcher: MatcherConfig, reid: ReidConfig) -> Comparisons:
    """Every track of a known person against every other stay of everybody.

    One stay at a time, so that a person is known from one side only: harder than when several cameras have taught the
    matcher. Stays of the looked-at person in the same visit do not count.

    Args:
        groups: clips that one head has fused; only those of one group are compared.
    """
    everybody = sorted({clip.person_id for labelled in groups for clip in labelled})
    people = {person: i for i, person in enumerate(everybody)}
    collected = Collected()
    for labelled in groups:
        _compare_group(labelled, matcher, reid, people, collected)
    return collected.comparisons("person", len(people), "ground truth")


def _compare_group(
    labelled: Sequence[LabelledClip],
    matcher: MatcherConfig,
    reid: ReidConfig,
    people: Mapping[int, int],
    collected: "Collected",
) -> None:
    sets: FeatureSets[View] = FeatureSets(matcher)
    views: dict[View, list[LabelledClip]] = {}
    tracks: dict[tuple[TrackKey, View], list[LabelledClip]] = {}
    for clip in labelled:
        view = (clip.camera_id, clip.visit, clip.person_id)
        views.setdefault(view, []).append(clip)
        tracks.setdefault((clip.key, view), []).append(clip)
    for view in sorted(views):
        sets.learn(view, views[view])
    names = [sets.names[i] for i in evenly_spread(range(len(sets.names)), _MOST_SETS)]
    for (_, own), clips in sorted(tracks.items()):
        others = [name for name in names if name != own]
        for look in looks_of(clips, matcher, reid):
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
