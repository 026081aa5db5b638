"""One track beside the identities it may have: how alike, how plausible in place and time, and what is ruled out.

All evidence is weighed on the scale of the distance. What places, motion and transit times say comes as natural
logarithms of likelihood ratios (one person against two) and is turned into distance at a fixed rate.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.constraints import Exclusion, Topology, overlap_s
from pipeline.identity.look_distances import LookDistances
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import TrackState
from pipeline.identity.transits import FLOOR
from pipeline.types import Evidence, FloatArray, TrackKey

_MARGIN_NATS = (
    1.5  # what a distance of `margin` is worth in log-odds; a transit prior of .05 (3 nats) costs two margins
)
_MOST_FOR = 5.0  # margins that place, motion and time together can speak for a link: looks decide in the end
_MOST_AGAINST = 6.0
_FAR_APART = -6.0  # log-ratio of places at which two cannot be one: 1 in 400
_MOST_PLACE = 10.0  # nats, over all cameras together
_LEAST_TOLD = 0.3  # nats; what says less is not named as a basis
_SHARED_GROUND = 2.5  # nats: who is seen by one of two overlapping cameras is mostly seen by the other, too
_DOUBT_LINKS = 0.5  # of sure links at once that show the overlap: a single one is believed by two thirds
_SHARED_S = 0.5  # so long at once
_UNSEEN = 0.2  # plausibility of passing a camera on the way without being seen
_FASTEST = 0.5  # of the shortest time that is declared: nobody is twice as fast
_TOO_FAST = 3.0  # nats
_TOUCH_S = 0.05  # tracks that share less do not overlap
_NEIGHBOURS_S = 8.0  # a track that begins so long after another one ended may go on from it
_FEW = 10.0  # plausible candidates among whom the threshold holds as it is: it was measured on sites of as many people
_LEAST_LOOKS = 8  # candidates for which everything is weighed, however far they are
_MOST_LOOKS = 24  # the same, however many are near: the person is hardly ever farther down
_MOST_EXCLUDED = 8  # excluded identities that the evidence names, nearest first

NEVER = 1e6  # cost of a pair that is not allowed


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What besides looks speaks for or against one pair, in nats."""

    transit: float = 0.0
    place_m: float | None = None
    place: float = 0.0
    motion: float = 0.0
    overlap: float = 0.0

    @property
    def nats(self) -> float:
        return self.place + self.motion + self.overlap + self.transit

    @property
    def prior(self) -> float:
        """Plausibility of the ways, at most 1."""
        return math.exp(min(self.transit, 0.0))

    @property
    def basis(self) -> tuple[str, ...]:
        told = {"place": self.place, "motion": self.motion, "transit": self.overlap + self.transit}
        speaking = [name for name in told if abs(told[name]) >= _LEAST_TOLD]
        return ("appearance", *sorted(speaking, key=lambda name: -abs(told[name])))


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """One track beside candidates.

    Attributes:
        identity_ids: rising. distance: (I,) of looks. cost: (I,) distance with everything else; NEVER where excluded.
        circumstances: of the candidates that are not excluded. reasons: why the others are.
        crowd: by how much nearer somebody must be because many may be it: one of a thousand strangers is always near.
    """

    track: TrackState
    identity_ids: Sequence[int]
    distance: FloatArray
    cost: FloatArray
    circumstances: Mapping[int, Circumstances]
    reasons: Mapping[int, str]
    crowd: float = 0.0

    def best(self, without: Collection[int] = ()) -> tuple[int, float] | None:
        """The candidate of the least cost that is allowed, the first of several; None when none is."""
        for column in self._nearest(1 + len(without)):
            if self.identity_ids[column] not in without:
                return self.identity_ids[column], float(self.cost[column])
        return None

    def _nearest(self, count: int) -> list[int]:
        """Columns of the least costs that are allowed, at most so many; of equals the first ones."""
        order = np.argsort(self.cost, kind="stable")[:count]
        return [int(column) for column in order if self.cost[column] < NEVER]

    def cost_of(self, identity_id: int) -> float:
        """Its cost; NEVER for one that is no candidate."""
        column = self._column(identity_id)
        return NEVER if column is None else float(self.cost[column])

    def is_candidate(self, identity_id: int) -> bool:
        return self._column(identity_id) is not None

    def _column(self, identity_id: int) -> int | None:
        column = bisect_left(self.identity_ids, identity_id)
        return column if column < len(self.identity_ids) and self.identity_ids[column] == identity_id else None

    def _distance_of(self, identity_id: int) -> float:
        column = self._column(identity_id)
        return math.inf if column is None else float(self.distance[column])

    def evidence(self, chosen: int | None, threshold: float) -> Evidence:
        """Why this one was chosen (None: why nobody was)."""
        order = [(self.identity_ids[column], float(self.cost[column])) for column in self._nearest(2)]
        shown = chosen if chosen is not None else (order[0][0] if order else None)
        runner_up = next(((i, round(c, 4)) for i, c in order if i != shown), None)
        about = self.circumstances.get(shown, Circumstances()) if shown is not None else Circumstances()
        near = sorted(self.reasons, key=lambda i: (self._distance_of(i), i))
        return Evidence(
            distance=None if shown is None else round(self._distance_of(shown), 4),
            threshold=round(threshold - self.crowd, 4),
            runner_up=runner_up,
            transit_prior=round(about.prior, 4) if chosen is not None else 1.0,
            excluded=tuple((i, self.reasons[i]) for i in near[:_MOST_EXCLUDED]),
            clips=self.track.clips,
            late=self.track.late,
            cost=None if shown is None else round(self.cost_of(shown), 4),
            place_m=None if about.place_m is None else round(about.place_m, 4),
            basis=about.basis,
        )


class Comparer:
    """Compares tracks with identities, as the memory has them at the moment."""

    def __init__(
        self,
        config: MatcherConfig,
        threshold: float,
        memory: SiteMemory,
        topology: Topology,
        exclusion: Exclusion,
    ) -> None:
        self._per_nat = config.margin / _MARGIN_NATS
        self._limits = (-_MOST_AGAINST * config.margin, _MOST_FOR * config.margin)
        self._far = threshold + config.margin
        self._hopeless = threshold + (_MOST_FOR + 1) * config.margin
        self._memory = memory
        self._looks = LookDistances(memory)
        self._topology = topology
        self._exclusion = exclusion

    def row(self, track: TrackState, candidates: Sequence[int], without: Collection[TrackKey] = ()) -> Row:
        """The track beside candidates (rising ids).

        Args:
            without: tracks of the candidates that do not speak; the track itself never does.
        """
        silent = {track.key, *without}
        distance = self._looks.distances(track, candidates, silent)
        cost = np.where(np.isfinite(distance), distance, NEVER).astype(np.float32)
        circumstances: dict[int, Circumstances] = {}
        reasons: dict[int, str] = {}
        looked_at = self._worth_a_look(track, candidates, distance)
        unseen = np.ones(len(candidates), bool)
        unseen[looked_at] = False
        cost[unseen] = np.maximum(
            cost[unseen], self._hopeless
        )  # whether they are excluded was not asked: never accepted
        for column in looked_at:
            identity_id = candidates[column]
            reason = self._exclusion.reason(track, self._memory.identities[identity_id], silent)
            if reason is None and np.isfinite(distance[column]):
                about = self._circumstances(track, identity_id, silent)
                circumstances[identity_id] = about
                cost[column] -= min(max(about.nats * self._per_nat, self._limits[0]), self._limits[1])
                reason = "elsewhere on the ground at the same time" if about.place <= _FAR_APART else None
            if reason is not None:
                reasons[identity_id] = reason
                cost[column] = NEVER
        crowd = self._crowd(
            max(len(candidates), self._memory.index.crowd(track.key.camera_id)), circumstances.values(), len(reasons)
        )
        return Row(track, list(candidates), distance, cost, circumstances, reasons, crowd)

    def _crowd(self, candidates: int, looked_at: Collection[Circumstances], excluded: int) -> float:
        """Log of how many times `_FEW` may be it, each as plausible as its ways are, on the scale of the distance."""
        share = candidates / max(len(looked_at) + excluded, 1)  # those not looked at are like those who were
        plausible = share * sum(about.prior for about in looked_at)
        return self._per_nat * math.log(max(plausible / _FEW, 1.0))

    def _worth_a_look(self, track: TrackState, candidates: Sequence[int], distance: FloatArray) -> Sequence[int]:
        """Columns for which it is asked what else speaks for or against them: others are too far whatever it says.

        At least the nearest few, so that it can be told who was excluded. Place and motion speak only for those who
        were seen at the time or just before; about all others a way can but speak against.
        """
        order = np.argsort(distance, kind="stable")[:_MOST_LOOKS]
        near = max(int(np.searchsorted(distance[order], self._far, side="right")), _LEAST_LOOKS)
        hopeful = int(np.searchsorted(distance[order], self._hopeless, side="right"))
        columns: list[int] = order[:near].tolist()
        return columns + [c for c in order[near:hopeful].tolist() if self._was_there(track, candidates[c])]

    def _was_there(self, track: TrackState, identity_id: int) -> bool:
        """Whether somebody was seen at the time of a track, or so near to it that the one may go on as the other."""
        first_s, last_s = track.first_s - _NEIGHBOURS_S, track.last_s + _NEIGHBOURS_S
        return any(first_s <= m.last_s and m.first_s <= last_s for m in self._memory.members(identity_id))

    def _circumstances(self, track: TrackState, identity_id: int, silent: Collection[TrackKey]) -> Circumstances:
        """From the identity's tracks at the same time, and those just before and just after."""
        at_the_time, before, after = [], None, None
        for member in self._memory.members(identity_id):  # by birth
            if member.key in silent:
                continue
            if min(member.last_s, track.last_s) - max(member.first_s, track.first_s) > _TOUCH_S:
                at_the_time.append(member)
            if (member.first_s, member.key) <= (track.first_s, track.key):
                before = member
            elif after is None:
                after = member
        place, place_m = self._place(track, at_the_time) if at_the_time else (0.0, None)
        overlap = max((self._shared(track, member) for member in at_the_time), default=0.0)
        transit = self._transit_nats(track, identity_id, before, after)
        return Circumstances(transit, place_m, place, self._motion(track, before, after), overlap)

    def _place(self, track: TrackState, members: Sequence[TrackState]) -> tuple[float, float | None]:
        """Log-ratio and metres of the places at the same time in other cameras."""
        found = [
            evidence
            for member in members
            if member.key.camera_id != track.key.camera_id
            if (evidence := self._memory.places.together(track.key, member.key)) is not None
        ]
        if not found:
            return 0.0, None
        ratios = [evidence.log_ratio for evidence in found]
        longest = max(found, key=lambda e: e.common_s)
        together = min(sum(ratios), _MOST_PLACE)  # their errors are not independent
        return (min(ratios) if min(ratios) <= _FAR_APART else together), longest.median_m

    def _shared(self, track: TrackState, member: TrackState) -> float:
        """For being seen at the same time by another camera that overlaps, as declared or learned."""
        cameras = track.key.camera_id, member.key.camera_id
        if cameras[0] == cameras[1] or overlap_s(track.span, member.span) < _SHARED_S:
            return 0.0
        declared = self._topology.overlaps(*cameras)
        if declared is not None:
            return _SHARED_GROUND if declared else 0.0
        if self._memory.transits.overlap_seen(*cameras) is False:
            return 0.0
        links = self._memory.transits.at_once(*cameras)
        return _SHARED_GROUND * links / (links + _DOUBT_LINKS)

    def _motion(self, track: TrackState, before: TrackState | None, after: TrackState | None) -> float:
        """Log-ratio of going on from the last track before, and into the next one after."""
        nats = 0.0
        if before is not None and -_TOUCH_S <= track.first_s - before.last_s <= _NEIGHBOURS_S:
            follows = self._memory.places.follows(before.key, track.key)
            nats += follows.log_ratio if follows is not None else 0.0
        if after is not None and not track.open and -_TOUCH_S <= after.first_s - track.last_s <= _NEIGHBOURS_S:
            follows = self._memory.places.follows(track.key, after.key)
            nats += follows.log_ratio if follows is not None else 0.0
        return nats

    def _transit_nats(
        self, track: TrackState, identity_id: int, before: TrackState | None, after: TrackState | None
    ) -> float:
        """For the way from the identity's sight before the track, and on to the one after, instead of past it."""
        own = (track.first_s, track.last_s, track.key.camera_id)
        origin = (before.first_s, before.last_s, before.key.camera_id) if before is not None else None
        destination = (after.first_s, after.last_s, after.key.camera_id) if after is not None else None
        for camera_id, sight in self._memory.identities[identity_id].past.items():
            seen = (sight.last_s, sight.last_s, camera_id)
            if seen <= own:
                origin = seen if origin is None else max(origin, seen)
            else:
                destination = seen if destination is None else min(destination, seen)
        through = self._way(origin, own) + self._way(own, destination)
        return through - self._way(origin, destination) if origin and destination else through

    def _way(self, origin: tuple[float, float, str] | None, destination: tuple[float, float, str] | None) -> float:
        if origin is None or destination is None or origin[2] == destination[2]:
            return 0.0
        gap_s = destination[0] - origin[1]
        prior = self._memory.transits.prior(origin[2], destination[2], gap_s)
        way = self._topology.way(origin[2], destination[2])
        if way is None:
            return math.log(prior)
        if way.rules > 1 and not self._memory.transits.links(origin[2], destination[2]):
            prior = min(prior, max(_UNSEEN ** (way.rules - 1), FLOOR))
        return math.log(prior) - (_TOO_FAST if way.least_s > 0 and gap_s < _FASTEST * way.least_s else 0.0)

    def to_tracks(self, track: TrackState, others: Sequence[TrackState]) -> FloatArray:
        """(N,) of how a track looks from how others do."""
        return self._looks.between(track, others)
