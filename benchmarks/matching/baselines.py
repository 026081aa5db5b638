"""Two ways of giving ids that the matcher must beat, on the same tracks and clip features.

Both know what any tracker knows: who is in one camera at one time is not one person.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from matching.judging import said
from matching.tracks import SiteTracks
from pipeline.types import ClipFeature, FloatArray, IdentityEvent, TrackKey, Tracklet

ASSOCIATE_EVERY_FRAMES = 20  # `time_window` of the OpenVINO multi-camera demo
_SLACK_S = 1e-6


@dataclass(eq=False)
class _Person:
    """An identity of the greedy rule: the average of all features so far, and where it was."""

    mean: npt.NDArray[np.floating]
    count: int
    tracks: list[TrackKey] = field(default_factory=list)

    def learn(self, embedding: FloatArray) -> None:
        self.mean = (self.mean * self.count + embedding) / (self.count + 1)
        self.count += 1


class GreedyNearest:
    """Greedy nearest neighbour with one threshold.

    The association rule of OpenVINO's multi-camera multi-target demo as it is described, written anew: every 20 frames
    the tracks of all cameras that have no id yet are compared with all identities by cosine distance to the identity's
    running average; the nearest pair of all is joined first, as long as it is nearer than the threshold; a track that
    nothing is near enough to becomes a new identity. Ids stay; every later feature of a track moves its identity's
    average. Two tracks that are in one camera at one time never get one id.

    Args:
        threshold: largest cosine distance of a link.
    """

    def __init__(self, tracks: SiteTracks, threshold: float) -> None:
        self._threshold = threshold
        self._spans = {t.key: (float(t.captured_at_s[0]), float(t.captured_at_s[-1])) for t in tracks.tracklets}
        self._clips = sorted((c for of in tracks.clips.values() for c in of), key=lambda c: (c.made_at_s, c.key))
        self._step_s = ASSOCIATE_EVERY_FRAMES / tracks.fps
        self._start_s = min((float(at_s[0]) for at_s in tracks.times_s.values() if len(at_s)), default=0.0)
        self._people: list[_Person] = []
        self._person_of: dict[TrackKey, int] = {}
        self._waiting: dict[TrackKey, list[ClipFeature]] = {}

    def run(self) -> list[IdentityEvent]:
        """Who every track was said to be, and when."""
        events: list[IdentityEvent] = []
        for at_s, clips in self._rounds():
            for clip in clips:
                if clip.key in self._person_of:
                    self._people[self._person_of[clip.key]].learn(clip.embedding)
                else:
                    self._waiting.setdefault(clip.key, []).append(clip)
            events += [said(key, person + 1, at_s) for key, person in self._associate()]
        return events

    def _rounds(self) -> Iterator[tuple[float, list[ClipFeature]]]:
        """The moments of association, each with the clips that came since the one before."""
        at_s, since = self._start_s + self._step_s, list[ClipFeature]()
        for clip in self._clips:
            while clip.made_at_s > at_s + _SLACK_S:
                if since:
                    yield at_s, since
                    since = []
                at_s += self._step_s
            since.append(clip)
        yield at_s, since

    def _associate(self) -> Iterator[tuple[TrackKey, int]]:
        means = {key: np.mean([c.embedding for c in clips], axis=0) for key, clips in self._waiting.items()}
        while means:
            found = min(
                (
                    (self._distance(key, mean, i), key, i)
                    for key, mean in means.items()
                    for i in range(len(self._people))
                ),
                default=(np.inf, TrackKey("", "", 0), 0),
            )
            if found[0] <= self._threshold:
                _, key, person = found
            else:
                key, person = min(means, key=lambda k: (self._spans[k][0], k)), len(self._people)
                self._people.append(_Person(np.zeros_like(means[key]), 0))
            self._join(key, person)
            del means[key]
            yield key, person
        self._waiting.clear()

    def _distance(self, key: TrackKey, mean: npt.NDArray[np.floating], place: int) -> float:
        person = self._people[place]
        if any(together(key, self._spans[key], other, self._spans[other]) for other in person.tracks):
            return float("inf")
        return 1.0 - float(mean @ person.mean / (np.linalg.norm(mean) * np.linalg.norm(person.mean)))

    def _join(self, key: TrackKey, person: int) -> None:
        self._person_of[key] = person
        self._people[person].tracks.append(key)
        for clip in self._waiting[key]:
            self._people[person].learn(clip.embedding)


def together(a: TrackKey, a_span: tuple[float, float], b: TrackKey, b_span: tuple[float, float]) -> bool:
    """Whether two tracks are in one camera at one time: they are two people. Spans are (first, last) second."""
    return a.camera_id == b.camera_id and a_span[0] <= b_span[1] and b_span[0] <= a_span[1]


@dataclass(frozen=True)
class Merge:
    """Two clusters became one at this distance; `ids` are the clusters of all tracks afterwards, from 1."""

    distance: float
    ids: Mapping[TrackKey, int]


def cluster(tracklets: Sequence[Tracklet], clips: Mapping[TrackKey, Sequence[ClipFeature]]) -> list[Merge]:
    """Constrained agglomerative clustering of all tracks that have clips, from single ones on; average linkage.

    A track is the mean of its clips; the distance of two clusters the mean cosine distance over their pairs of tracks;
    clusters with two tracks in one camera at one time never become one (cannot-link). It sees the whole recording.

    Returns:
        Every state, the first without any merge (distance 0). A threshold t stops before the first merge beyond t.
    """
    with_clips = [t for t in tracklets if t.key in clips]
    keys = [t.key for t in with_clips]
    groups = [[i] for i in range(len(keys))]
    states = [Merge(0.0, _numbered(keys, groups))]
    if not keys:
        return states
    distance = _distances(with_clips, clips)  # inf: cannot be one
    while len(groups) > 1:
        np.fill_diagonal(distance, np.inf)
        a, b = sorted(int(i) for i in np.unravel_index(int(distance.argmin()), distance.shape))
        if not np.isfinite(distance[a, b]):
            break
        merged_at = float(distance[a, b])
        sizes = len(groups[a]), len(groups[b])
        joined = (sizes[0] * distance[a] + sizes[1] * distance[b]) / sum(sizes)
        distance[a], distance[:, a] = joined, joined
        distance = np.delete(np.delete(distance, b, axis=0), b, axis=1)
        groups[a] += groups.pop(b)
        states.append(Merge(merged_at, _numbered(keys, groups)))
    return states


def thresholds_of(states: Sequence[Merge]) -> list[tuple[float, Mapping[TrackKey, int]]]:
    """The states at which some threshold stops, each with the least such threshold."""
    highest = np.maximum.accumulate([state.distance for state in states])
    reached = [i for i in range(len(states)) if i + 1 == len(states) or highest[i + 1] > highest[i]]
    return [(float(highest[i]), states[i].ids) for i in reached]


def _distances(tracklets: Sequence[Tracklet], clips: Mapping[TrackKey, Sequence[ClipFeature]]) -> np.ndarray:
    means = np.stack([np.mean([c.embedding for c in clips[t.key]], axis=0, dtype=np.float64) for t in tracklets])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    distance: np.ndarray = 1.0 - means @ means.T
    spans = [(float(t.captured_at_s[0]), float(t.captured_at_s[-1])) for t in tracklets]
    for i, one in enumerate(tracklets):
        for j, other in enumerate(tracklets):
            if together(one.key, spans[i], other.key, spans[j]):
                distance[i, j] = np.inf
    return distance


def _numbered(keys: Sequence[TrackKey], groups: Sequence[Sequence[int]]) -> dict[TrackKey, int]:
    return {keys[i]: number for number, group in enumerate(groups, start=1) for i in group}
