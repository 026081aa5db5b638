"""One round of first decisions: pending tracks against identities."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.config import MatcherConfig
from pipeline.identity.compare import NEVER, Comparer, Row
from pipeline.identity.constraints import Exclusion, Topology
from pipeline.identity.memory import SiteMemory
from pipeline.identity.order import is_past
from pipeline.identity.state import TrackState
from pipeline.types import Evidence, FloatArray, TrackKey

_CLIPS_FOR_NEW = 2  # one look is not enough to say that nobody knows somebody


@dataclass(frozen=True, slots=True)
class Decision:
    """This track is this identity (None: a new one), or cannot be told (`unknown`)."""

    track: TrackState
    identity_id: int | None
    evidence: Evidence
    unknown: bool = False


class Decider:
    """Assignment over everything pending, with a bounded wait in message time.

    A clear case (nearer than the threshold by `margin`, and the runner-up farther by `margin`) is linked at once;
    clearly nobody known becomes a new identity once two clips have spoken; everything else waits for better clips
    until `patience_s` after the first one, or the track's end.

    Args:
        candidates: the identities that a track may have at all, rising.
    """

    def __init__(
        self,
        config: MatcherConfig,
        threshold: float,
        memory: SiteMemory,
        topology: Topology,
        exclusion: Exclusion,
        comparer: Comparer,
        candidates: Callable[[TrackState], Sequence[int]],
    ) -> None:
        self._config = config
        self._threshold = threshold
        self._memory = memory
        self._topology = topology
        self._exclusion = exclusion
        self._comparer = comparer
        self._candidates = candidates

    def round(self, news: Collection[TrackKey], now_s: float, final: bool) -> "Round":
        """The decisions of one moment.

        Args:
            news: pending tracks that something happened to; others only compete with them.
            final: nothing more will come; decide everything.
        """
        return Round(self, frozenset(news), now_s, final)

    def asked(self, news: Collection[TrackKey], final: bool) -> tuple[list[TrackState], list[TrackState]]:
        """Tracks to decide about, and those that compete with them."""
        pending = self._memory.pending()
        asked = [track for track in pending if final or track.key in news]
        cameras = {track.key.camera_id for track in asked}
        others = [track for track in pending if not final and track.key not in news]
        return asked, [track for track in others if self._competes(track, cameras)]

    def row(self, track: TrackState) -> Row:
        """A pending track beside its candidates."""
        return self._comparer.row(track, self._candidates(track))

    def may_change(self, row: Row, decision: Decision) -> bool:
        """Whether a decision about somebody else bears on a row."""
        if decision.identity_id is not None and row.is_candidate(decision.identity_id):
            return True
        return self._memory.index.are_near(row.track.key.camera_id, decision.track.key.camera_id)

    def decisions(self, rows: Sequence[Row], asked: int, now_s: float, final: bool) -> list[Decision]:
        """What can be decided together about the first `asked` rows: links, or else what is not a link.

        Of tracks that may be the same new person one at a time is decided.
        """
        links = self._links(rows, asked, now_s, final)
        if links:
            return links
        found: list[Decision] = []
        for row in rows[:asked]:
            if any(self.may_change(row, earlier) for earlier in found):
                continue
            decision = self._other_than_assigned(row, rows, now_s, final)
            if decision:
                found.append(decision)
        return found

    def deadline_s(self, track: TrackState) -> float:
        return (track.first_clip_s or track.first_s) + self._config.patience_s

    def _competes(self, track: TrackState, cameras: Collection[str]) -> bool:
        return any(self._topology.share_people(track.key.camera_id, other) for other in cameras)

    def _links(self, rows: Sequence[Row], asked: int, now_s: float, final: bool) -> list[Decision]:
        ids, costs = _joint(rows, self._threshold)
        if not ids:
            return []
        bounded = np.minimum(costs, self._threshold)  # what may not be is as good as being nobody known
        chosen = zip(*(places.tolist() for places in linear_sum_assignment(bounded)), strict=True)
        links = []
        for number, column in chosen:
            row, identity_id = rows[number], ids[column]
            if number >= asked or row.cost_of(identity_id) >= NEVER:
                continue
            due = self._is_due(row.track, now_s, final)
            identity = self._memory.identities[identity_id]
            if not due and self._exclusion.may_turn_out(row.track, identity):
                continue
            if self._accepts(row, identity_id, due):
                links.append(Decision(row.track, identity_id, row.evidence(identity_id, self._threshold)))
        return links

    def _accepts(self, row: Row, identity_id: int, due: bool) -> bool:
        cost = row.cost_of(identity_id) + row.crowd
        if due:
            return cost <= self._threshold
        runner_up = row.best(without=(identity_id,))
        clear = runner_up is None or runner_up[1] + row.crowd - cost >= self._config.margin
        return clear and cost <= self._threshold - self._config.margin

    def _other_than_assigned(self, row: Row, rows: Sequence[Row], now_s: float, final: bool) -> Decision | None:
        """For a track to which the assignment gave nobody: new, unknown, or somebody whom only another view wants."""
        track, best = row.track, row.best()
        due = self._is_due(track, now_s, final)
        if best is not None and best[1] + row.crowd <= self._threshold:
            if due and not self._is_contested(row, best[0], rows):
                return Decision(track, best[0], row.evidence(best[0], self._threshold))
            # near somebody who was given to another track of the same moment: it cannot be told who this is
            undecided = due and (final or not track.open)
            return self._nobody(row, unknown=True) if undecided else None
        clear = best is None or best[1] + row.crowd > self._threshold + self._config.margin
        if not due and not (clear and track.clips >= _CLIPS_FOR_NEW):
            return None
        if track.quality < self._config.min_quality:
            ended = final or not track.open
            return self._nobody(row, unknown=True) if ended else None
        return self._nobody(row)

    def _nobody(self, row: Row, unknown: bool = False) -> Decision:
        return Decision(row.track, None, row.evidence(None, self._threshold), unknown)

    def _is_contested(self, row: Row, identity_id: int, rows: Sequence[Row]) -> bool:
        """Whether somebody else, who is not the same person, may be this identity as well."""
        return any(
            other.cost_of(identity_id) + other.crowd <= self._threshold
            and self._exclusion.are_two(row.track, other.track)
            for other in rows
            if other is not row
        )

    def _is_due(self, track: TrackState, now_s: float, final: bool) -> bool:
        return final or not track.open or is_past(self.deadline_s(track), now_s)


class Round:
    """The decisions of one moment, a few at a time; what is known of a track serves until a decision bears on it."""

    def __init__(self, decider: Decider, news: Collection[TrackKey], now_s: float, final: bool) -> None:
        self._decider = decider
        self._news = news
        self._now_s = now_s
        self._final = final
        self._rows: dict[TrackKey, Row] = {}

    def next_decisions(self) -> list[Decision]:
        """To be applied before the next ones are asked for; the last are none."""
        asked, rivals = self._decider.asked(self._news, self._final)
        if not asked:
            return []
        rows = [self._row(track) for track in [*asked, *rivals]]
        decisions = self._decider.decisions(rows, len(asked), self._now_s, self._final)
        self._rows = {
            row.track.key: row
            for row in rows
            if not any(self._decider.may_change(row, decision) for decision in decisions)
        }
        return decisions

    def _row(self, track: TrackState) -> Row:
        row = self._rows.get(track.key)
        return self._decider.row(track) if row is None else row


def _joint(rows: Sequence[Row], threshold: float) -> tuple[list[int], FloatArray]:
    """The rows' candidates whom somebody may be, rising, and (T, I) costs."""
    near = [np.flatnonzero(row.cost <= threshold).tolist() for row in rows]
    ids = sorted({row.identity_ids[column] for row, columns in zip(rows, near, strict=True) for column in columns})
    place = {identity_id: column for column, identity_id in enumerate(ids)}
    costs = np.full((len(rows), len(ids)), NEVER, np.float32)
    for number, (row, columns) in enumerate(zip(rows, near, strict=True)):
        for column in columns:
            costs[number, place[row.identity_ids[column]]] = row.cost[column]
    return ids, costs
