"""Which identities a track may have at all, and which cameras have to do with each other."""

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config import TopologyConfig
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import IdentityState, Span, TrackState

_TOLD_TWICE_S = 0.35  # for so long a tracker may follow one person under two numbers; less than until its first clip
_TOUCH_S = 0.05  # two tracks of one camera that share less than half a frame may be one person


@dataclass(frozen=True, slots=True)
class Way:
    """The quickest way that is declared from one camera to another: over so many rules, in no less time."""

    rules: int
    least_s: float


class Topology:
    """What the configuration says of the cameras' places."""

    def __init__(self, rules: Sequence[TopologyConfig]) -> None:
        self._overlap = {frozenset(r.pair): r.overlap for r in rules if r.pair}
        self._transit = {
            (r.from_camera, r.to_camera): r.transit_s for r in rules if r.from_camera and r.to_camera and r.transit_s
        }
        self._ways: dict[int, tuple[npt.NDArray[np.int16], npt.NDArray[np.float64]]] = {}  # made when asked for
        self._apart: dict[tuple[str, str], bool] = {}  # asked for all the time
        self._near: dict[str, set[str]] = {}
        for a, b in [*self._transit, *(tuple(sorted(pair)) for pair in self._overlap)]:
            self._near.setdefault(a, {a}).add(b)
            self._near.setdefault(b, {b}).add(a)
        self._places = {camera_id: place for place, camera_id in enumerate(sorted(self._near))}
        self._steps = [
            [
                (self._places[other], self._step_s(camera_id, other))
                for other in sorted(self._near[camera_id] - {camera_id})
            ]
            for camera_id in self._places
        ]

    def way(self, a: str, b: str) -> Way | None:
        """How people get from a to b, as far as is declared; None where no rules lead there.

        A way that is declared in one direction is taken to be as long in the other.
        """
        start, end = self._places.get(a), self._places.get(b)
        if start is None or end is None:
            return Way(0, 0.0) if a == b else None
        if start not in self._ways:
            self._ways[start] = self._ways_from(start)
        rules, least_s = self._ways[start]
        return Way(int(rules[end]), float(least_s[end])) if rules[end] >= 0 else None

    def _ways_from(self, start: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64]]:
        """Dijkstra's shortest paths (1959), by time, then by rules: to each camera, -1 rules where none lead."""
        rules = np.full(len(self._places), -1, np.int16)  # arrays: a thousand cameras have a million ways
        least_s = np.zeros(len(self._places))
        heap = [(0.0, 0, start)]
        while heap:
            at_s, count, camera = heapq.heappop(heap)
            if rules[camera] >= 0:
                continue
            rules[camera], least_s[camera] = count, at_s
            for other, step_s in self._steps[camera]:
                if rules[other] < 0:
                    heapq.heappush(heap, (at_s + step_s, count + 1, other))
        return rules, least_s

    def _step_s(self, a: str, b: str) -> float:
        window = self._transit.get((a, b)) or self._transit.get((b, a))
        return max(window[0], 0.0) if window else 0.0

    def may_overlap(self, a: str, b: str) -> bool:
        """Whether one person can be in both cameras at once: as declared; where nothing is declared, yes.

        A declared transit time of more than nothing says that the two do not overlap.
        """
        declared = self._overlap.get(frozenset((a, b)))
        if declared is not None:
            return declared
        windows = [w for w in (self._transit.get((a, b)), self._transit.get((b, a))) if w]
        return not any(window[0] > 0 for window in windows)

    def apart(self, a: str, b: str) -> bool:
        """Whether nobody is seen by both at once: a camera itself shows a person once."""
        pair = (a, b)
        known = self._apart.get(pair)
        if known is None:
            known = self._apart[pair] = a == b or not self.may_overlap(a, b)
        return known

    def overlaps(self, a: str, b: str) -> bool | None:
        """Whether the two see the same ground, as declared; None where nothing is said."""
        declared = self._overlap.get(frozenset((a, b)))
        return declared if declared is not None else (None if self.may_overlap(a, b) else False)

    def share_people(self, a: str, b: str) -> bool:
        """Whether tracks of the two cameras may want the same identity: always, where nothing is declared."""
        if a == b or a not in self._near or b not in self._near:
            return True
        return not self._near[a].isdisjoint(self._near[b])


def overlap_s(a: Span, b: Span) -> float:
    """How long two spans of time have in common; below 0: how far they are apart."""
    return min(a[1], b[1]) - max(a[0], b[0])


def at_once(a: Span, b: Span) -> bool:
    """Whether two spans of time overlap by more than an instant."""
    return overlap_s(a, b) > _TOUCH_S


class Exclusion:
    """One person is in one place at a time."""

    def __init__(self, memory: SiteMemory, topology: Topology) -> None:
        self._memory = memory
        self._topology = topology

    def reason(self, track: TrackState, identity: IdentityState, without: Collection[object] = ()) -> str | None:
        """Why this track cannot be this identity; None when it can.

        Args:
            without: tracks of the identity that do not count.
        """
        if identity.model_id != track.model_id:
            return "features of another model"
        clash = next(iter(self.clashes(track, identity, without)), None)
        if clash is not None:
            return self._where(track, clash.key.camera_id)
        for camera_id, spans in identity.spans.items():
            if any(at_once(track.span, span) for span in spans) and self._topology.apart(
                track.key.camera_id, camera_id
            ):
                return self._where(track, camera_id)
        return None

    def clashes(self, track: TrackState, identity: IdentityState, without: Collection[object] = ()) -> list[TrackState]:
        """Tracks of the identity that are seen where and when this one cannot be the same person."""
        return [
            member
            for member in self._memory.members(identity.identity_id)
            if member.key != track.key and member.key not in without and self.are_two(track, member)
        ]

    def are_two(self, a: TrackState, b: TrackState) -> bool:
        """Whether two tracks are seen where and when they cannot be one person."""
        return (
            at_once(a.span, b.span)
            and self._topology.apart(a.key.camera_id, b.key.camera_id)
            and not self._told_twice(a, b)
        )

    def _told_twice(self, a: TrackState, b: TrackState) -> bool:
        """Whether the tracker began the one where it was about to end the other: one person under two numbers."""
        if overlap_s(a.span, b.span) > _TOLD_TWICE_S:
            return False
        before, after = sorted((a, b), key=lambda t: (t.first_s, t.key))
        return self._memory.places.coincide(before.key, after.key)

    def between(self, a: IdentityState, b: IdentityState) -> str | None:
        """Why two identities cannot be one; None when they can."""
        if a.model_id != b.model_id:
            return "features of another model"
        if b.identity_id in a.apart or a.identity_id in b.apart:
            return "said to be two by an operator"
        for track in self._memory.members(a.identity_id):
            if reason := self.reason(track, b):
                return reason
        for track in self._memory.members(b.identity_id):
            if reason := self.reason(track, a):
                return reason
        for camera_id, spans in a.spans.items():
            for other_id, others in b.spans.items():
                if self._topology.apart(camera_id, other_id) and any(at_once(x, y) for x in spans for y in others):
                    return f"in {other_id} at the same time"
        return None

    def may_turn_out(self, track: TrackState, identity: IdentityState) -> bool:
        """Whether an open track of the identity may be seen now where the two exclude each other, and nobody said so.

        A camera's ticks tell who is visible. Without them the last clip counts, and they come about once a second.
        """
        return any(
            member.open and not self._memory.tells_who_is_visible(member.key)
            for member in self._memory.members(identity.identity_id)
            if member.key != track.key and self._topology.apart(track.key.camera_id, member.key.camera_id)
        )

    @staticmethod
    def _where(track: TrackState, camera_id: str) -> str:
        same = camera_id == track.key.camera_id
        return "in this camera at the same time" if same else f"in {camera_id} at the same time"
