"""What a link means: entered, handed over, re-entered, continued; and when somebody has left."""

from dataclasses import dataclass

from pipeline.config import MatcherConfig
from pipeline.identity.state import IdentityState, TrackState, Visit
from pipeline.types import EventKind, TrackKey

_GRACE_S = 0.6  # a track's first clip comes about this long after its birth: who returned in time must not have left
_KEEP_INTERVALS = 64  # ended tracks an identity remembers per camera, for exclusion


@dataclass(frozen=True, slots=True)
class Appearance:
    """How an identity comes into a camera."""

    kind: EventKind
    absent_s: float | None = None
    via: tuple[str, ...] = ()
    previous_key: TrackKey | None = None


class PresenceRules:
    """Visits of identities to cameras. Absence begins when the person leaves the picture; a track lost in mid-picture
    is an occlusion until `occlusion_s`, only then an absence (DESIGN, "re-entry")."""

    def __init__(self, config: MatcherConfig) -> None:
        self._absence_s = config.absence_s
        self._occlusion_s = config.occlusion_s

    def gone_after_s(self, visit: Visit) -> float:
        """How long after the last sight a closed visit becomes an absence."""
        return self._absence_s if visit.left_picture else max(self._absence_s, self._occlusion_s)

    def due_s(self, visit: Visit) -> float | None:
        """Message time at which `left` is to be said; None while a track is open or when it was said."""
        if visit.open_tracks or visit.left_at_s is not None:
            return None
        return visit.last_s + self.gone_after_s(visit) + _GRACE_S

    def appearance(self, track: TrackState, identity: IdentityState) -> Appearance:
        """What it means that this track is this identity; the identity is as it was before the link."""
        if not identity.visits:
            return Appearance("entered")
        camera_id = track.key.camera_id
        visit = identity.visits.get(camera_id)
        elsewhere = sorted(
            (v for v in identity.visits.values() if v.camera_id != camera_id), key=lambda v: (v.last_s, v.camera_id)
        )
        if visit is None:
            return Appearance("handed_over", via=(elsewhere[-1].camera_id,))
        absent_s = max(0.0, track.first_s - visit.last_s)
        via = tuple(v.camera_id for v in elsewhere if v.last_s > visit.last_s)
        returned = not visit.open_tracks and absent_s >= self.gone_after_s(visit)
        return Appearance("reentered" if returned else "continued", absent_s, via, visit.last_key)


def record_link(track: TrackState, identity: IdentityState, kind: EventKind) -> None:
    """Write the link into the identity's visits."""
    camera_id = track.key.camera_id
    visit = identity.visits.get(camera_id)
    if visit is None or kind == "reentered":
        visit = Visit(camera_id, track.first_s, track.last_s, track.key)
        identity.visits[camera_id] = visit
    visit.last_s = max(visit.last_s, track.last_s)
    visit.last_key = track.key
    visit.left_at_s = None
    if track.open:
        visit.open_tracks.add(track.key)
    else:
        record_end(track, identity)


def record_end(track: TrackState, identity: IdentityState) -> None:
    """Write the end of a linked track into the identity's visits."""
    visit = identity.visits.get(track.key.camera_id)
    if visit is None:
        return
    visit.open_tracks.discard(track.key)
    if track.last_s >= visit.last_s:
        visit.last_s = track.last_s
        visit.left_picture = track.left_picture
    spans = identity.intervals.setdefault(track.key.camera_id, [])
    spans.append((track.first_s, track.last_s))
    del spans[:-_KEEP_INTERVALS]
