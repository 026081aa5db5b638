"""What a link means: entered, handed over, re-entered, continued; and when somebody has left."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.state import IdentityState, Sight, TrackState, Visit
from pipeline.types import EventKind, Evidence, TrackKey

_GRACE_S = 0.6  # a track's first clip comes about this long after its birth: who returned in time must not have left
_SLACK_S = 1e-6  # times are compared as they were stored
_MARGIN_NATS = 1.5  # what a distance of `margin` is worth in log-odds, as in `compare`
_LEAST_MARGIN = 1e-3  # 0 would be surer than anything is


@dataclass(frozen=True, slots=True)
class Appearance:
    """How an identity comes into a camera.

    Attributes:
        at_s: when it did, where that was before the track began.
        exit_camera_id, exit_at_s: where and when it had been seen last before: in this camera, or, handed over, in the
            other one.
    """

    kind: EventKind
    absent_s: float | None = None
    via: tuple[str, ...] = ()
    previous_key: TrackKey | None = None
    at_s: float | None = None
    exit_camera_id: str | None = None
    exit_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    camera_id: str
    first_s: float
    last_s: float
    key: TrackKey
    left_picture: bool
    open: bool


class PresenceRules:
    """Visits of identities to cameras. Absence begins when the person leaves the picture; a track lost in mid-picture
    is an occlusion until `occlusion_s`, only then an absence (DESIGN, "re-entry")."""

    def __init__(self, config: MatcherConfig) -> None:
        self._absence_s = config.absence_s
        self._occlusion_s = config.occlusion_s

    def gone_after_s(self, left_picture: bool) -> float:
        """How long after the last sight of a track that ended so somebody is absent."""
        return self._absence_s if left_picture else max(self._absence_s, self._occlusion_s)

    def due_s(self, visit: Visit) -> float | None:
        """Message time at which `left` is to be said; None while a track is open or when it was said."""
        if visit.open_tracks or visit.left_at_s is not None:
            return None
        return visit.last_s + self.gone_after_s(visit.left_picture) + _GRACE_S

    def appearance(
        self,
        track: TrackState,
        identity: IdentityState,
        members: Sequence[TrackState],
        came_in_s: float | None = None,
    ) -> Appearance:
        """What it means that this track is this identity, from what came before it.

        Args:
            members: the identity's tracks; the track itself may be among them.
            came_in_s: when they came in by whom the track was hidden when it began (`came_in_with`).
        """
        seen = [*_archived(identity), *(_of(member) for member in members if member.key != track.key)]
        if not seen:
            return Appearance("entered")
        before = [s for s in seen if (s.first_s, s.key) < (track.first_s, track.key)] or seen
        latest = sorted(before, key=lambda s: (s.last_s, s.key))
        here = [s for s in latest if s.camera_id == track.key.camera_id]
        if not here:
            origin = latest[-1]
            return Appearance(
                "handed_over", via=(origin.camera_id,), exit_camera_id=origin.camera_id, exit_at_s=origin.last_s
            )
        own = here[-1]
        absent_s = max(0.0, track.first_s - own.last_s)
        away = [s.camera_id for s in latest if s.camera_id != own.camera_id and s.last_s > own.last_s]
        returned = not own.open and absent_s >= self.gone_after_s(own.left_picture) - _SLACK_S
        via = tuple(dict.fromkeys(away))
        at_s = None
        if returned and came_in_s is not None and self._absence_s <= came_in_s - own.last_s < absent_s:
            at_s, absent_s = came_in_s, came_in_s - own.last_s
        kind: EventKind = "reentered" if returned else "continued"
        return Appearance(kind, absent_s, via, own.key, at_s, own.camera_id, own.last_s)

    def returns_by_merge(
        self,
        gone: IdentityState,
        into: IdentityState,
        gone_members: Sequence[TrackState],
        into_members: Sequence[TrackState],
    ) -> list[tuple[TrackState, Appearance]]:
        """The tracks of which only a merge of two identities shows that the person came back, by birth.

        Only where the person had left the picture: who was lost in the middle of it may have been there all the time,
        under another's track, which is what merges are mostly about.
        """
        everybody = [*gone_members, *into_members]
        left = {track.key for track in everybody if track.left_picture}
        left |= {sight.last_key for one in (gone, into) for sight in one.past.values() if sight.left_picture}
        found = []
        for identity, members in ((gone, gone_members), (into, into_members)):
            for track in members:
                told, is_now = self.appearance(track, identity, members), self.appearance(track, into, everybody)
                came_back = is_now.kind == "reentered" and is_now.previous_key in left
                if came_back and told.kind != "reentered":
                    found.append((track, is_now))
        return sorted(found, key=lambda one: (one[0].first_s, one[0].key))


def _archived(identity: IdentityState) -> list[_Seen]:
    return [_Seen(c, s.last_s, s.last_s, s.last_key, s.left_picture, False) for c, s in identity.past.items()]


def _of(track: TrackState) -> _Seen:
    return _Seen(track.key.camera_id, track.first_s, track.last_s, track.key, track.left_picture, track.open)


def confidence_of(evidence: Evidence, margin: float) -> float | None:
    """How sure a link is, 0 to 1; None where there was nobody to compare with.

    The probability of the one who was chosen (for a new identity: of nobody known) among that one, the runner-up and
    nobody known, who all were as likely before: a cost that is lower by `margin` is worth `_MARGIN_NATS`, and the
    threshold is where a link is as likely as none.

    Args:
        margin: `matcher.margin`.
    """
    if evidence.cost is None:
        return None
    scale = _MARGIN_NATS / max(margin, _LEAST_MARGIN)
    costs = [evidence.cost, evidence.threshold]
    if evidence.runner_up is not None:
        costs.append(evidence.runner_up[1])
    odds = np.exp(-scale * (np.array(costs) - min(costs)))
    chosen = 0 if evidence.cost <= evidence.threshold else 1
    return float(odds[chosen] / odds.sum())


def bring_up_to_date(identity: IdentityState, members: Sequence[TrackState]) -> None:
    """Work the identity's visits out anew, after a track came, ended, or turned out to be somebody else."""
    cameras = sorted({*identity.past, *(track.key.camera_id for track in members)})
    visits = {}
    for camera_id in cameras:
        tracks = [track for track in members if track.key.camera_id == camera_id]
        visits[camera_id] = _visit(identity, camera_id, tracks)
    identity.visits = visits


def _visit(identity: IdentityState, camera_id: str, tracks: Sequence[TrackState]) -> Visit:
    sights = [Sight(track.last_s, track.key, track.left_picture) for track in tracks]
    if camera_id in identity.past:
        sights.append(identity.past[camera_id])
    last = max(sights, key=lambda s: (s.last_s, s.last_key))
    visit = Visit(camera_id, last.last_s, last.last_key, last.left_picture)
    visit.open_tracks = {track.key for track in tracks if track.open}
    said_s = identity.left_said_s.get(camera_id)
    if said_s is not None and said_s >= last.last_s - _SLACK_S and not visit.open_tracks:
        visit.left_at_s = said_s
    return visit
