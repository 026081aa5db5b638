"""One round of decisions: pending tracks against identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.config import MatcherConfig
from pipeline.identity.constraints import Topology, exclusion, may_turn_out_excluded, transit
from pipeline.identity.gallery import MatrixGallery
from pipeline.identity.order import is_past
from pipeline.identity.state import IdentityState, TrackState
from pipeline.types import Evidence, FloatArray

_TRANSIT_WEIGHT = 0.1  # distance that a wholly implausible transit costs; thresholds are about 0.2 to 0.4
_NO = 1e6  # cost of a pair that is not allowed
_MAX_EXCLUDED = 8  # excluded identities that the evidence names, nearest first


@dataclass(frozen=True, slots=True)
class Decision:
    """This track is this identity (None: a new one), or cannot be told (`unknown`)."""

    track: TrackState
    identity_id: int | None
    evidence: Evidence
    unknown: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """Pending tracks against identities, row by row.

    Attributes:
        distance: (T, I) appearance only. cost: (T, I) with the transit prior; _NO where excluded.
        reasons: why a pair is excluded.
    """

    tracks: Sequence[TrackState]
    identity_ids: Sequence[int]
    distance: FloatArray
    cost: FloatArray
    prior: FloatArray
    reasons: Mapping[tuple[int, int], str]


class Decider:
    """Assignment over everything pending, with a bounded wait in message time.

    A clear case (nearer than the threshold by `margin`, and the runner-up farther by `margin`) is linked at once;
    clearly nobody known becomes a new identity once two clips have spoken; everything else waits for better clips
    until `patience_s` after the first one, or the track's end.
    """

    def __init__(self, config: MatcherConfig, threshold: float, topology: Topology, gallery: MatrixGallery) -> None:
        self._config = config
        self._threshold = threshold
        self._topology = topology
        self._gallery = gallery

    def next_decision(
        self, pending: Sequence[TrackState], identities: Mapping[int, IdentityState], now_s: float, final: bool
    ) -> list[Decision]:
        """Decisions that can be taken together; call again after applying them, until the list is empty.

        Args:
            pending: tracks with at least one clip and no identity, in order of key.
            final: nothing more will come; decide everything.
        """
        if not pending:
            return []
        compared = self._compare(pending, identities, now_s)
        links = self._links(compared, identities, now_s, final)
        if links:
            return links
        for row, track in enumerate(pending):
            decision = self._new_or_unknown(compared, row, track, now_s, final)
            if decision:
                return [decision]  # one at a time: the next track may be the same new person
        return []

    def deadline_s(self, track: TrackState) -> float:
        return (track.first_clip_s or track.first_s) + self._config.patience_s

    def _compare(
        self, pending: Sequence[TrackState], identities: Mapping[int, IdentityState], now_s: float
    ) -> Comparison:
        ids = sorted(identities)
        distance = self._distances(pending, ids, identities)
        cost = distance.copy()
        prior = np.ones_like(distance)
        reasons: dict[tuple[int, int], str] = {}
        for row, track in enumerate(pending):
            for column, identity_id in enumerate(ids):
                reason = exclusion(track, identities[identity_id], self._topology, now_s)
                if reason:
                    reasons[row, column] = reason
                    cost[row, column] = _NO
                    continue
                prior[row, column] = transit(track, identities[identity_id], self._topology)
        cost = np.where(cost >= _NO, _NO, np.minimum(cost + _TRANSIT_WEIGHT * (1 - prior), _NO)).astype(np.float32)
        return Comparison(pending, ids, distance, cost, prior, reasons)

    def _distances(
        self, pending: Sequence[TrackState], ids: Sequence[int], identities: Mapping[int, IdentityState]
    ) -> FloatArray:
        """(T, I) mean over the track's clips, weighted by quality; inf between different models."""
        result = np.full((len(pending), len(ids)), np.inf, np.float32)
        for row, track in enumerate(pending):
            same = [i for i, n in enumerate(ids) if identities[n].model_id == track.model_id]
            if not same or not track.evidence:
                continue
            weights = np.maximum(np.array(track.qualities, np.float32), 0.05)
            each = self._gallery.nearest(np.stack(track.evidence), [ids[i] for i in same])
            result[row, same] = (weights[:, None] * each).sum(axis=0) / weights.sum()
        return result

    def _links(
        self, compared: Comparison, identities: Mapping[int, IdentityState], now_s: float, final: bool
    ) -> list[Decision]:
        if not compared.identity_ids:
            return []
        rows, columns = linear_sum_assignment(np.minimum(compared.cost, _NO))
        links = []
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            track = compared.tracks[row]
            identity = identities[compared.identity_ids[column]]
            due = self._is_due(track, now_s, final)
            if not due and may_turn_out_excluded(track, identity, self._topology):
                continue
            if self._accepts(compared, row, column, due):
                evidence = self._evidence(compared, row, column)
                links.append(Decision(track, compared.identity_ids[column], evidence))
        return links

    def _accepts(self, compared: Comparison, row: int, column: int, due: bool) -> bool:
        cost = compared.cost[row, column]
        if due:
            return bool(cost <= self._threshold)
        others = np.delete(compared.cost[row], column)
        clear = others.min(initial=np.inf) - cost >= self._config.margin
        return bool(clear and cost <= self._threshold - self._config.margin)

    def _new_or_unknown(
        self, compared: Comparison, row: int, track: TrackState, now_s: float, final: bool
    ) -> Decision | None:
        best = compared.cost[row].min(initial=np.inf)
        due = self._is_due(track, now_s, final)
        if best <= self._threshold and not due:
            return None
        if best <= self._threshold:
            return None if not final and track.open else self._leftover(compared, row, track)
        clearly_new = best > self._threshold + self._config.margin and track.clips >= 2
        if not (due or clearly_new):
            return None
        if track.quality < self._config.min_quality:
            ended = final or not track.open
            return Decision(track, None, self._evidence(compared, row, None), unknown=True) if ended else None
        return Decision(track, None, self._evidence(compared, row, None))

    def _leftover(self, compared: Comparison, row: int, track: TrackState) -> Decision:
        """Near somebody who was given to another track of the same moment: it cannot be told who this is."""
        return Decision(track, None, self._evidence(compared, row, None), unknown=True)

    def _is_due(self, track: TrackState, now_s: float, final: bool) -> bool:
        return final or not track.open or is_past(self.deadline_s(track), now_s)

    def _evidence(self, compared: Comparison, row: int, column: int | None) -> Evidence:
        costs = compared.cost[row]
        order = [int(i) for i in np.argsort(costs, kind="stable") if costs[i] < _NO and i != column]
        runner_up = order[0] if order else None
        near = sorted((c for r, c in compared.reasons if r == row), key=lambda c: (compared.distance[row, c], c))
        chosen = column if column is not None else runner_up
        return Evidence(
            distance=None if chosen is None else round(float(compared.distance[row, chosen]), 4),
            threshold=round(self._threshold, 4),
            runner_up=self._runner_up(compared, row, order[:1] if column is not None else order[1:2]),
            transit_prior=1.0 if column is None else round(float(compared.prior[row, column]), 4),
            excluded=tuple((compared.identity_ids[c], compared.reasons[row, c]) for c in near[:_MAX_EXCLUDED]),
            clips=compared.tracks[row].clips,
            late=compared.tracks[row].late,
        )

    @staticmethod
    def _runner_up(compared: Comparison, row: int, columns: Sequence[int]) -> tuple[int, float] | None:
        if not columns:
            return None
        return compared.identity_ids[columns[0]], round(float(compared.distance[row, columns[0]]), 4)
