"""Who is at one place of the ground at one time in two calibrated cameras is one person.

Also what paths that obey one map say (`pipeline.fitting.views`), as spans of time in which two tracks are one person.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.fitting.paths import track_name
from pipeline.fitting.views import ClockLag
from pipeline.ground import GroundPlane
from pipeline.types import FloatArray, TrackKey, Tracklet

SAME_PLACE_M = 0.6  # two cameras' foot points of one person: 0.3 m apart by half, 0.55 m by nine of ten (lab4cam)
ALONE = 2.0  # nobody else within so many times that, or it might be them
LEAST_S = 2.0  # so long; who meets stands together longer, but not as near as that
LEAST_SHARE = 0.8  # of the time that both see somebody there at all
_STEP_S = 0.2  # a walker moves 0.3 m
_EDGE_PX = 2.0  # as `pipeline.boxes.touches_edge`
_WINDOW_STEPS = 300  # a minute at once: tracks of one minute only are compared

Places = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SameSpan:
    """Two tracks of two cameras that are one person from `start_s` to `end_s` by the first one's clock.

    Attributes:
        lag_s: the second one's clock minus the first one's.
    """

    keys: tuple[TrackKey, TrackKey]
    start_s: float
    end_s: float
    lag_s: float


@dataclass(frozen=True, eq=False, slots=True)
class GroundPath:
    """Where one track's feet were: (T,) seconds by the site's clock, rising, and (T, 2) metres; NaN where not seen."""

    key: TrackKey
    at_s: Places
    ground_m: Places

    def at(self, at_s: Places) -> Places:
        """(G, 2) at other times: the nearest box's, NaN where none is within a step."""
        after = np.searchsorted(self.at_s, at_s).clip(1, max(len(self.at_s) - 1, 1))
        before = after - 1
        after = after.clip(max=len(self.at_s) - 1)
        nearer = np.where(np.abs(self.at_s[before] - at_s) <= np.abs(self.at_s[after] - at_s), before, after)
        near = np.abs(self.at_s[nearer] - at_s) <= _STEP_S
        return np.where(near[:, None], self.ground_m[nearer], np.nan)


def ground_paths(
    tracklets: Sequence[Tracklet],
    grounds: Mapping[str, GroundPlane],
    sizes_px: Mapping[str, tuple[int, int]],
    behind_s: Mapping[str, float],
) -> list[GroundPath]:
    """The ways of all tracks of calibrated cameras; feet at the picture's edge, and boxes nobody saw, are left out.

    Args:
        sizes_px: (width, height) of each camera's picture.
        behind_s: what to add to a camera's times; 0 where nothing is said.
    """
    paths = []
    for track in tracklets:
        ground, size_px = grounds.get(track.camera_id), sizes_px.get(track.camera_id)
        if ground is None or size_px is None:
            continue
        foot = np.stack([(track.xyxy[:, 0] + track.xyxy[:, 2]) / 2, track.xyxy[:, 3]], axis=1)
        seen = (track.confidence > 0) & _feet_inside(track.xyxy, size_px)
        places = np.where(seen[:, None], ground.ground_m(foot, size_px), np.nan)
        paths.append(GroundPath(track.key, track.captured_at_s + behind_s.get(track.camera_id, 0.0), places))
    return paths


def _feet_inside(xyxy: FloatArray, size_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(N,) whether the box ends before the picture does, below and at both sides; a head may be cut off."""
    x1, _, x2, y2 = xyxy.T
    return np.asarray((x1 > _EDGE_PX) & (x2 < size_px[0] - _EDGE_PX) & (y2 < size_px[1] - _EDGE_PX))


def spans_of_places(paths: Sequence[GroundPath], behind_s: Mapping[str, float]) -> list[SameSpan]:
    """Tracks of two cameras that were at one place for `LEAST_S`, nobody else near."""
    cameras: dict[str, list[GroundPath]] = defaultdict(list)
    for path in paths:
        cameras[path.key.camera_id].append(path)
    found = []
    for first, second in combinations(sorted(cameras), 2):
        for (a, b), together in _times_together(cameras[first], cameras[second]).items():
            alone_s = np.array(together.matched_s)
            if len(alone_s) * _STEP_S >= LEAST_S and len(alone_s) >= LEAST_SHARE * together.common:
                start_s, end_s = (float(edge) - behind_s.get(first, 0.0) for edge in (alone_s.min(), alone_s.max()))
                lag_s = behind_s.get(first, 0.0) - behind_s.get(second, 0.0)
                found.append(SameSpan((a, b), start_s, end_s, lag_s))
    return found


@dataclass(slots=True)
class _Together:
    """Of two tracks: how many steps both had a place, and when they were alone at one."""

    common: int
    matched_s: list[float]


def _times_together(
    first: Sequence[GroundPath], second: Sequence[GroundPath]
) -> dict[tuple[TrackKey, TrackKey], _Together]:
    """Only pairs that were ever alone at one place."""
    start_s = max(min(path.at_s[0] for path in own) for own in (first, second))
    end_s = min(max(path.at_s[-1] for path in own) for own in (first, second))
    together: dict[tuple[TrackKey, TrackKey], _Together] = defaultdict(lambda: _Together(0, []))
    times = np.arange(start_s, end_s, _STEP_S) if end_s > start_s else np.zeros(0)
    for at_s in np.split(times, np.arange(_WINDOW_STEPS, len(times), _WINDOW_STEPS)):
        here, there = (_present(own, at_s) for own in (first, second))
        if not (here and there):
            continue
        a, b = (np.stack([path.at(at_s) for path in own]) for own in (here, there))  # (A, G, 2), (B, G, 2)
        apart_m = np.linalg.norm(a[:, None] - b[None, :], axis=3)  # (A, B, G)
        apart_m = np.where(np.isfinite(apart_m), apart_m, np.inf)
        alone = _alone(apart_m)
        for i, j in np.argwhere(np.isfinite(apart_m).any(axis=2)).tolist():
            pair = together[here[i].key, there[j].key]
            pair.common += int(np.isfinite(apart_m[i, j]).sum())
            pair.matched_s += at_s[alone[i, j]].tolist()
    return {keys: pair for keys, pair in together.items() if pair.matched_s}


def _present(paths: Sequence[GroundPath], at_s: Places) -> list[GroundPath]:
    if not len(at_s):
        return []
    return [path for path in paths if path.at_s[-1] >= at_s[0] and path.at_s[0] <= at_s[-1]]


def _alone(apart_m: Places) -> npt.NDArray[np.bool_]:
    """(A, B, G): at one place, and both without anybody else of the other camera within twice the distance."""
    near = apart_m <= ALONE * SAME_PLACE_M
    lonely = (near.sum(axis=1, keepdims=True) <= 1) & (near.sum(axis=0, keepdims=True) <= 1)
    return (apart_m <= SAME_PLACE_M) & lonely


def spans_of_paths(tracklets: Sequence[Tracklet], lags: Sequence[ClockLag]) -> list[SameSpan]:
    """The whole common time of tracks whose paths obey one map."""
    tracks = {track_name(track): track for track in tracklets}
    spans = []
    for lag in lags:
        for match in lag.matches:
            a, b = (tracks.get(name) for name in match.names)
            if a is None or b is None:
                continue
            start_s = max(a.captured_at_s[0], b.captured_at_s[0] - lag.lag_s)
            end_s = min(a.captured_at_s[-1], b.captured_at_s[-1] - lag.lag_s)
            if end_s > start_s:
                spans.append(SameSpan((a.key, b.key), float(start_s), float(end_s), lag.lag_s))
    return spans
