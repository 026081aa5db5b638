"""Second thoughts: later clips and later tracks may show that a link was wrong, or that one is missing.

Looks at one track and its identity and proposes one correction at a time: give the track to somebody else
(`reassigned`), to nobody known (`split`), or make two identities one (`merged`). It moves only when the other side is
better by `margin`, so that nothing swings to and fro.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.compare import NEVER, Comparer, Row
from pipeline.identity.constraints import Exclusion
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import TrackState
from pipeline.types import Evidence, FloatArray, TrackKey

_SPEAKS = 10  # clips from which on a track's word has its full weight
_MUCH_SEEN = 6  # clips of a track
_LEAST_TO_PART = 4  # tracks of an identity that may be two people, two of each


@dataclass(frozen=True, slots=True)
class Correction:
    """What turned out to be otherwise.

    Attributes:
        tracks: that move, in order of key; all of an identity's when it is `merged`.
        identity_id: whose they were. to_id: whose they are; None: a new identity.
    """

    kind: Literal["merged", "split", "reassigned"]
    tracks: tuple[TrackState, ...]
    identity_id: int
    to_id: int | None
    evidence: Evidence


class Reviser:
    """Looks again at links that were made.

    Args:
        candidates: the identities that a track may have at all, rising.
    """

    def __init__(
        self,
        config: MatcherConfig,
        threshold: float,
        memory: SiteMemory,
        exclusion: Exclusion,
        comparer: Comparer,
        candidates: Callable[[TrackState], Sequence[int]],
    ) -> None:
        self._threshold = threshold
        self._margin = config.margin
        self._memory = memory
        self._exclusion = exclusion
        self._comparer = comparer
        self._candidates = candidates

    def review(self, track: TrackState) -> Correction | None:
        """The first thing that should be otherwise about a linked track and its identity; None when all is well."""
        if track.identity_id is None:
            return None
        own = track.identity_id
        row = self._comparer.row(track, sorted({*self._candidates(track), own}))
        if not track.fixed and (correction := self._about_track(track, own, row)):
            return correction
        if track.open and track.clips < _MUCH_SEEN:
            return None  # nothing about others can be learned from so little
        return self._about_identity(track, own, row)

    def is_sure(self, track: TrackState) -> bool:
        """Whether a link is beyond doubt: much was seen, and it is nearer than the threshold by `margin`."""
        if track.identity_id is None or track.clips < _MUCH_SEEN:
            return False
        cost = self._comparer.row(track, [track.identity_id]).cost_of(track.identity_id)
        return cost <= self._threshold - self._margin

    # -- one track --------------------------------------------------------------------------------------------------

    def _about_track(self, track: TrackState, own: int, row: Row) -> Correction | None:
        if own in row.reasons:
            return self._settle_clash(track, own, row)
        best = row.best(without=(own,))
        if not self._has_others(track, own):
            if best is not None and best[1] + row.crowd <= self._reach(track) and self._may_be_one(own, best[0]):
                return self._merge(own, best[0], row)
            return self._take_place(track, own, row, np.inf)
        cost = row.cost_of(own)
        better = best is not None and best[1] + row.crowd <= self._threshold and best[1] + self._inertia(track) < cost
        if best is not None and better and self._is_worth_more(track, own, best[0]):
            return self._move(track, own, best[0], row)
        if cost > self._threshold + self._inertia(track):
            return self._move(track, own, None, row)
        return self._take_place(track, own, row, cost)

    def _is_worth_more(self, track: TrackState, own: int, other: int) -> bool:
        """Of two who were seen at once, and cannot both have the track, the one to whom it gives more; else any."""
        return self._may_be_one(own, other) or self._worth(track, other, ()) > self._worth(track, own, ())

    def _inertia(self, track: TrackState) -> float:
        """How much better it must be elsewhere: more for one that was moved before, so that it ends."""
        return self._margin * (1 + track.moved)

    def _reach(self, track: TrackState) -> float:
        """How near somebody must be with whom the track's identity is made one."""
        return self._threshold - self._margin / 2 * track.moved

    def _has_others(self, track: TrackState, identity_id: int) -> bool:
        """Whether anything besides this track speaks for the identity."""
        owners = self._memory.owners(identity_id, (track.key,))
        return any(self._memory.gallery.count(owner) for owner in owners)

    def _settle_clash(self, track: TrackState, own: int, row: Row) -> Correction | None:
        """Two tracks at once under one identity: the one that is less to it goes."""
        identity = self._memory.identities[own]
        clashing = self._exclusion.clashes(track, identity)
        both = [track, *clashing]
        silent = [t.key for t in both]
        loose = [t for t in both if not t.fixed]
        if not loose:
            return None
        goes = min(loose, key=lambda t: (self._worth(t, own, silent), -t.first_s, t.key))
        rest = row if goes is track else self._comparer.row(goes, sorted({*self._candidates(goes), own}))
        return self._leave(goes, own, rest)

    def _leave(self, track: TrackState, own: int, row: Row) -> Correction:
        best = row.best(without=(own,))
        to_id = best[0] if best is not None and best[1] + row.crowd <= self._threshold else None
        return self._move(track, own, to_id, row)

    def _worth(self, track: TrackState, identity_id: int, silent: Collection[TrackKey]) -> float:
        """How much a track gives to an identity without those: how far below the threshold, times how much was seen."""
        cost = self._comparer.row(track, [identity_id], silent).cost_of(identity_id)
        return self._link_weight(track, identity_id, silent) * max(self._threshold - cost, 0.0)

    def _link_weight(self, track: TrackState, identity_id: int, silent: Collection[TrackKey]) -> float:
        """A link is as strong as its weaker side: the track, or all else that speaks for the identity."""
        others = [m for m in self._memory.members(identity_id) if m.key != track.key and m.key not in silent]
        rest = sum(map(self._weight, others)) + self._memory.gallery.count(identity_id)
        return min(self._weight(track), rest)

    def _take_place(self, track: TrackState, own: int, row: Row, cost: float) -> Correction | None:
        """Whether the track belongs to somebody whom others exclude that give less to it: then one of those goes."""
        for identity_id in self._near_but_excluded(row, cost):
            identity = self._memory.identities[identity_id]
            clashing = self._exclusion.clashes(track, identity)
            silent = {t.key for t in clashing}
            if not clashing or any(t.fixed for t in clashing):
                continue
            instead = self._comparer.row(track, [identity_id], silent).cost_of(identity_id)
            gain = self._link_weight(track, identity_id, silent) * (min(cost, self._threshold) - instead)
            losses = [(self._worth(t, identity_id, silent), t.key, t) for t in clashing]
            hurdle = max(self._inertia(t) for t in (track, *clashing))
            if instead > self._threshold or gain <= sum(loss for loss, _, _ in losses) + hurdle:
                continue
            goes = min(losses, key=lambda loss: loss[:2])[2]
            rest = self._comparer.row(goes, sorted({*self._candidates(goes), identity_id}))
            return self._leave(goes, identity_id, rest)
        return None

    def _near_but_excluded(self, row: Row, cost: float) -> list[int]:
        limit = min(self._threshold, cost - self._margin)
        near = [(float(d), i) for i, d in zip(row.identity_ids, row.distance, strict=True) if i in row.reasons]
        return [identity_id for distance, identity_id in sorted(near) if distance <= limit]

    def _move(self, track: TrackState, own: int, to_id: int | None, row: Row) -> Correction:
        kind: Literal["split", "reassigned"] = "split" if to_id is None else "reassigned"
        return Correction(kind, (track,), own, to_id, row.evidence(to_id, self._threshold))

    # -- one identity -----------------------------------------------------------------------------------------------

    def _about_identity(self, track: TrackState, own: int, row: Row) -> Correction | None:
        near = [(float(c), i) for i, c in zip(row.identity_ids, row.cost, strict=True) if i != own]
        for cost, identity_id in sorted(near):
            if cost > self._threshold:
                break
            limit = self._reach(track) - self._margin / 2 - row.crowd
            if self._may_be_one(own, identity_id) and self._linkage(own, identity_id) <= limit:
                return self._merge(own, identity_id, row)
        return None if track.open else self._part(own)

    def _may_be_one(self, a: int, b: int) -> bool:
        return self._exclusion.between(self._memory.identities[a], self._memory.identities[b]) is None

    def _linkage(self, a: int, b: int) -> float:
        """Mean cost of both identities' tracks towards the other one."""
        costs, weights = [], []
        for from_id, to_id in ((a, b), (b, a)):
            for track in self._memory.members(from_id):
                costs.append(self._comparer.row(track, [to_id]).cost_of(to_id))
                weights.append(self._weight(track))
        if not costs:
            return NEVER
        return float(np.average(costs, weights=weights))

    def _merge(self, a: int, b: int, row: Row) -> Correction:
        """The older one lives on."""
        into, gone = min(a, b), max(a, b)
        evidence = row.evidence(b if row.track.identity_id == a else a, self._threshold)
        return Correction("merged", tuple(self._memory.members(gone)), gone, into, evidence)

    def _part(self, own: int) -> Correction | None:
        """Whether an identity's tracks are two people: two groups, each at one, far from each other."""
        members = self._memory.members(own)
        if len(members) < _LEAST_TO_PART:
            return None
        group = _other_half(self._distances(members))
        moving = [members[i] for i in group]
        if min(len(moving), len(members) - len(moving)) < 2 or any(t.fixed for t in moving):
            return None
        silent = [t.key for t in moving]
        rows = [self._comparer.row(t, [own], silent) for t in moving]
        costs, weights = [r.cost_of(own) for r in rows], [self._weight(t) for t in moving]
        hurdle = max(self._inertia(t) for t in moving)
        if np.average(costs, weights=weights) <= self._threshold + hurdle:
            return None
        return Correction("split", tuple(moving), own, None, rows[0].evidence(None, self._threshold))

    def _distances(self, members: Sequence[TrackState]) -> FloatArray:
        result = np.zeros((len(members), len(members)), np.float32)
        for i, track in enumerate(members):
            result[i, :i] = result[:i, i] = self._comparer.to_tracks(track, members[:i])
        return result

    @staticmethod
    def _weight(track: TrackState) -> float:
        return float(min(track.clips, _SPEAKS))


def _other_half(distances: FloatArray) -> list[int]:
    """Of the two groups that average linkage joins last, the one without track 0."""
    groups = [[i] for i in range(len(distances))]
    while len(groups) > 2:
        pairs = [(_mean(distances, a, b), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups[:i])]
        _, i, j = min(pairs)
        groups[j] += groups.pop(i)
    return sorted(groups[1] if 0 in groups[0] else groups[0])


def _mean(distances: FloatArray, a: Sequence[int], b: Sequence[int]) -> float:
    return float(distances[np.ix_(a, b)].mean())


def due_again(track: TrackState) -> bool:
    """Whether enough clips came since a track's link was last looked at: a second one, then three times as many."""
    return track.clips >= (2 if track.reviewed < 2 else 3 * track.reviewed)
