"""Which identities a track may have at all, and how plausible the way between two cameras is."""

from collections.abc import Sequence

from pipeline.config import TopologyConfig
from pipeline.identity.state import IdentityState, TrackState

_FLOOR = 0.05  # plausibility of a transit time outside the declared window: unlikely, never impossible (FACTS 7)
_TOUCH_S = 0.05  # two tracks of one camera that share less than half a frame may be one person


class Topology:
    """What the configuration says of the cameras' places."""

    def __init__(self, rules: Sequence[TopologyConfig]) -> None:
        self._overlap = {frozenset(r.pair): r.overlap for r in rules if r.pair}
        self._transit = {
            (r.from_camera, r.to_camera): r.transit_s for r in rules if r.from_camera and r.to_camera and r.transit_s
        }

    def may_overlap(self, a: str, b: str) -> bool:
        """Whether one person can be in both cameras at once: as declared; where nothing is declared, yes.

        A declared transit time of more than nothing says that the two do not overlap.
        """
        declared = self._overlap.get(frozenset((a, b)))
        if declared is not None:
            return declared
        windows = [w for w in (self._transit.get((a, b)), self._transit.get((b, a))) if w]
        return not any(window[0] > 0 for window in windows)

    def transit_prior(self, origin: str, destination: str, gap_s: float) -> float:
        """Plausibility of a way that took this long, in [_FLOOR, 1]; 1 where nothing is declared."""
        window = self._transit.get((origin, destination))
        if window is None or window[0] <= gap_s <= window[1]:
            return 1.0
        outside = window[0] - gap_s if gap_s < window[0] else gap_s - window[1]
        width = max(window[1] - window[0], 1.0)
        return max(_FLOOR, 1.0 - outside / width)


def exclusion(track: TrackState, identity: IdentityState, topology: Topology, now_s: float) -> str | None:
    """Why this track cannot be this identity; None when it can."""
    if identity.model_id != track.model_id:
        return "features of another model"
    end_s = now_s if track.open else track.last_s
    for camera_id, visit in identity.visits.items():
        same = camera_id == track.key.camera_id
        if not same and topology.may_overlap(camera_id, track.key.camera_id):
            continue
        if visit.open_tracks and visit.last_s > track.first_s + _TOUCH_S:
            return "in this camera at the same time" if same else f"in {camera_id} at the same time"
        for start_s, stop_s in identity.intervals.get(camera_id, ()):
            if min(stop_s, end_s) - max(start_s, track.first_s) > _TOUCH_S:
                return "in this camera at the same time" if same else f"in {camera_id} at the same time"
    return None


def may_turn_out_excluded(track: TrackState, identity: IdentityState, topology: Topology) -> bool:
    """Whether a track of this identity is open where the two exclude each other, and has not been heard of since.

    Clips come about once a second: until the next one nobody knows whether that track is still seen or already lost.
    """
    return any(
        visit.open_tracks
        and (camera_id == track.key.camera_id or not topology.may_overlap(camera_id, track.key.camera_id))
        for camera_id, visit in identity.visits.items()
    )


def transit(track: TrackState, identity: IdentityState, topology: Topology) -> float:
    """Plausibility of the identity's way from where it was last seen to this track."""
    if not identity.visits:
        return 1.0
    last = max(identity.visits.values(), key=lambda v: (v.last_s, v.camera_id))
    if last.camera_id == track.key.camera_id:
        return 1.0
    return topology.transit_prior(last.camera_id, track.key.camera_id, track.first_s - last.last_s)
