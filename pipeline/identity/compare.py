"""One track beside the identities it may have: how alike, how plausible in place and time, and what is ruled out.

All evidence is weighed on the scale of the distance. What places, motion and transit times say comes as natural
logarithms of likelihood ratios (one person against two) and is turned into distance at a fixed rate.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.constraints import Exclusion, Topology, overlap_s
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
        allowed = [(float(c), i) for i, c in zip(self.identity_ids, self.cost, strict=True) if c < NEVER]
        allowed = [pair for pair in allowed if pair[1] not in without]
        return min(allowed)[::-1] if allowed else None  # type: ignore[return-value]

    def cost_of(self, identity_id: int) -> float:
        """Its cost; NEVER for one that is no candidate."""
        return float(self.cost[self.identity_ids.index(identity_id)]) if identity_id in self.identity_ids else NEVER

    def evidence(self, chosen: int | None, threshold: float) -> Evidence:
        """Why this one was chosen (None: why nobody was)."""
        order = sorted((float(c), i) for i, c in zip(self.identity_ids, self.cost, strict=True) if c < NEVER)
        shown = chosen if chosen is not None else (order[0][1] if order else None)
        others = [(i, round(c, 4)) for c, i in order if i != shown]
        about = self.circumstances.get(shown, Circumstances()) if shown is not None else Circumstances()
        near = sorted(self.reasons, key=lambda i: (float(self.distance[self.identity_ids.index(i)]), i))
        distance = None if shown is None else float(self.distance[self.identity_ids.index(shown)])
        return Evidence(
            distance=None if distance is None else round(distance, 4),
            threshold=round(threshold - self.crowd, 4),
            runner_up=others[0] if others else None,
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
        self._hopeless = threshold + (_MOST_FOR + 1) * config.margin
        self._memory = memory
        self._topology = topology
        self._exclusion = exclusion

    def row(self, track: TrackState, candidates: Sequence[int], without: Collection[TrackKey] = ()) -> Row:
        """The track beside candidates (rising ids).

        Args:
            without: tracks of the candidates that do not speak; the track itself never does.
        """
        silent = {track.key, *without}
        distance = self.distances(track, candidates, silent)
        cost = np.where(np.isfinite(distance), distance, NEVER).astype(np.float32)
        circumstances: dict[int, Circumstances] = {}
        reasons: dict[int, str] = {}
        looked_at = self._worth_a_look(distance)
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
        crowd = self._crowd(len(candidates), circumstances.values(), len(reasons))
        return Row(track, list(candidates), distance, cost, circumstances, reasons, crowd)

    def _crowd(self, candidates: int, looked_at: Collection[Circumstances], excluded: int) -> float:
        """Log of how many times `_FEW` may be it, each as plausible as its ways are, on the scale of the distance."""
        share = candidates / max(len(looked_at) + excluded, 1)  # those not looked at are like those who were
        plausible = share * sum(about.prior for about in looked_at)
        return self._per_nat * math.log(max(plausible / _FEW, 1.0))

    def _worth_a_look(self, distance: FloatArray) -> Sequence[int]:
        """Columns for which it is asked what else speaks for or against them: others are too far whatever it says.

        At least the nearest few, so that it can be told who was excluded.
        """
        order = np.argsort(distance, kind="stable")
        count = int(np.searchsorted(distance[order], self._hopeless, side="right"))
        return order[: min(max(count, _LEAST_LOOKS), _MOST_LOOKS)].tolist()

    def distances(self, track: TrackState, candidates: Sequence[int], silent: Collection[TrackKey]) -> FloatArray:
        """(I,) of how the track looks from how the candidates look; inf between different models."""
        result = np.full(len(candidates), np.inf, np.float32)
        same = [i for i, n in enumerate(candidates) if self._memory.identities[n].model_id == track.model_id]
        groups = [self._memory.owners(candidates[i], silent) for i in same]
        result[same] = self._memory.gallery.nearest(self._memory.gallery.features(track.key), groups)
        return result

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
        gallery = self._memory.gallery
        return gallery.nearest(gallery.features(track.key), [[other.key] for other in others])
