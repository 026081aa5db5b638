"""Clock offsets of a whole site, from what pairs of cameras say about each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.fitting.paths import Stay
from pipeline.fitting.transits import Hop, hops_of
from pipeline.fitting.views import ClockLag

_LEAST_EACH_WAY = 3  # transits: a median of fewer is anybody's
_LAG_STEP_S = 0.5  # of the lags tried: shorter than any way between two cameras
_MOST_IN_BOTH = 0.02  # of the time that people are seen: tracks linger a little
_MOST_WRONG = 0.1  # of it, at the best lag: some links are wrong
_SHARED_VIEW = 0.75  # of it, by the clocks as they are: the two see the same ground (a lag does that to one direction)
_LEAST_WALKING_ERROR_S = 0.5  # walks there and back are never quite equal
_MEDIAN_ERROR = 1.2533 * 1.4826  # standard error of a median from its median absolute deviation (normal law), times √n
_SURE = 2.0  # standard errors
_LEAST_OFFSET_S = {"movement": 0.1, "walking times": 1.0}  # smaller ones are not worth a change


@dataclass(frozen=True, slots=True)
class CameraOffset:
    """What to add to a camera's clock so that it agrees with the first camera's.

    Attributes:
        offset_s: in addition to what the configuration has. error_s: standard error.
        how: what it rests on; "walking times" as soon as one of the pairs on the way does.
        is_worth_it: large enough, against its error, to be written.
    """

    camera_id: str
    offset_s: float
    error_s: float
    how: str
    is_worth_it: bool


def lag_of_transits(first: str, second: str, stays: Sequence[Stay], most_lag_s: float) -> ClockLag | None:
    """Half the difference of the median ways there and back, taking both ways to be equally long.

    First the clocks must be near enough for ways to be told from stays: nobody can be in both cameras at once, so only
    lags count at which (nearly) nobody is, the smallest first, and the answer must be such a lag itself.

    Args:
        stays: of the site, by uncorrected clocks.

    Returns:
        None with fewer than 3 ways in one direction, and for cameras that see the same ground.
    """
    lags = np.round(np.arange(-most_lag_s, most_lag_s + _LAG_STEP_S / 2, _LAG_STEP_S), 6)
    both_s = np.array([_seconds_in_both(first, second, stays, lag_s) for lag_s in lags.tolist()])
    seen_s = _seconds_of(first, second, stays)
    if both_s[len(lags) // 2] > _SHARED_VIEW * seen_s:
        return None
    if both_s.min(initial=np.inf) > _MOST_WRONG * seen_s:
        return None
    apart = both_s <= both_s.min() + _MOST_IN_BOTH * seen_s
    for low_s, high_s in _runs(lags, apart):
        middle_s = (low_s + high_s) / 2
        moved = [stay.moved(-middle_s) if stay.camera_id == second else stay for stay in stays]
        found = _half_difference(first, second, hops_of(moved))
        if found and low_s - _LAG_STEP_S <= middle_s + found[0] <= high_s + _LAG_STEP_S:
            lag_s, error_s, samples = middle_s + found[0], found[1], found[2]
            return ClockLag((first, second), lag_s, error_s, "walking times", samples, abs(lag_s) / error_s)
    return None


def _half_difference(first: str, second: str, hops: Sequence[Hop]) -> tuple[float, float, int] | None:
    """(lag, its standard error, ways) of two cameras whose clocks are near each other."""
    there = np.array([h.gap_s for h in hops if (h.origin, h.destination) == (first, second)])
    back = np.array([h.gap_s for h in hops if (h.origin, h.destination) == (second, first)])
    if min(len(there), len(back)) < _LEAST_EACH_WAY:
        return None
    lag_s = float(np.median(there) - np.median(back)) / 2
    error_s = max(_LEAST_WALKING_ERROR_S, 0.5 * float(np.hypot(_median_error(there), _median_error(back))))
    return lag_s, error_s, len(there) + len(back)


def _seconds_in_both(first: str, second: str, stays: Sequence[Stay], lag_s: float) -> float:
    """How long people are in both cameras at once when the second one's clock is ahead by `lag_s`."""
    total_s = 0.0
    for a in stays:
        if a.camera_id != first:
            continue
        for b in stays:
            if b.camera_id == second and b.person_id == a.person_id:
                common_s = min(a.end_s, b.end_s - lag_s) - max(a.start_s, b.start_s - lag_s)
                total_s += max(0.0, common_s)
    return total_s


def _seconds_of(first: str, second: str, stays: Sequence[Stay]) -> float:
    """The shorter of the times that people spend in each of the two."""
    spent = [sum(s.end_s - s.start_s for s in stays if s.camera_id == camera) for camera in (first, second)]
    return min(spent)


def _runs(lags: npt.NDArray[np.float64], allowed: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """First and last lag of each run of allowed ones, nearest to 0 first."""
    places = np.flatnonzero(allowed)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
    ends = [(float(lags[run[0]]), float(lags[run[-1]])) for run in runs]
    return sorted(ends, key=lambda e: (0.0 if e[0] <= 0 <= e[1] else min(abs(e[0]), abs(e[1])), e))


def _median_error(values: np.ndarray) -> float:
    deviation = float(np.median(np.abs(values - np.median(values))))
    return _MEDIAN_ERROR * deviation / float(np.sqrt(len(values)))


def solve_offsets(cameras: Sequence[str], lags: Sequence[ClockLag]) -> dict[str, CameraOffset]:
    """Offsets by weighted least squares; the first camera of each group that hangs together keeps its clock.

    Returns:
        Only cameras that a lag connects, directly or not, with the first one of the configuration.
    """
    reached = _reached(cameras, lags)
    others = [camera for camera in cameras if camera in reached and camera != cameras[0]]
    if not others:
        return {}
    column = {camera: i for i, camera in enumerate(others)}
    used = [lag for lag in lags if set(lag.cameras) <= reached]
    rows, wanted = np.zeros((len(used), len(others))), np.zeros(len(used))
    for row, lag in enumerate(used):
        for camera, sign in zip(lag.cameras, (-1.0, 1.0), strict=True):
            if camera in column:
                rows[row, column[camera]] = sign / lag.error_s
        wanted[row] = -lag.lag_s / lag.error_s  # a clock that is ahead is put back
    covariance = np.linalg.inv(rows.T @ rows)
    offsets = covariance @ rows.T @ wanted
    hows = {camera: _how(camera, cameras[0], used) for camera in others}
    return {
        camera: _offset(camera, float(offsets[i]), float(np.sqrt(covariance[i, i])), hows[camera])
        for camera, i in column.items()
    }


def _offset(camera_id: str, offset_s: float, error_s: float, how: str) -> CameraOffset:
    worth = abs(offset_s) >= max(_LEAST_OFFSET_S[how], _SURE * error_s)
    return CameraOffset(camera_id, offset_s, error_s, how, worth)


def _reached(cameras: Sequence[str], lags: Sequence[ClockLag]) -> set[str]:
    reached = set(cameras[:1])
    while True:
        more = {c for lag in lags if set(lag.cameras) & reached for c in lag.cameras} - reached
        if not more:
            return reached
        reached |= more


def _how(camera: str, origin: str, lags: Sequence[ClockLag]) -> str:
    sure = [lag for lag in lags if lag.how == "movement"]
    return "movement" if camera in _reached([origin], sure) else "walking times"


def contradictions(lags: Sequence[ClockLag], offsets: Mapping[str, CameraOffset]) -> list[str]:
    """What the pairs say against the solution, for people: more than 3 standard errors and 0.3 s off."""
    told = []
    for lag in lags:
        a, b = (offsets[c].offset_s if c in offsets else 0.0 for c in lag.cameras)
        off_s = lag.lag_s - (a - b)
        if abs(off_s) > max(3 * lag.error_s, 0.3) and any(c in offsets for c in lag.cameras):
            told.append(f"the clocks of {lag.cameras[0]} and {lag.cameras[1]} disagree by {off_s:.2f} s with the rest")
    return told
