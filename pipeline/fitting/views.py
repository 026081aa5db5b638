"""Two views of the same ground: by how much their clocks differ, and which tracks are one person.

Where two cameras see the same floor, a foot point of one picture has its place in the other: a fixed, smooth map (a
homography; here a polynomial of second degree). Moved against each other by the right time, the paths of one person
obey such a map, whatever it is; moved by a wrong one, or of two people, they do not. No identity, no calibration and
no appearance is needed. Who does not move, or walks straight at one speed, says nothing: every shift fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.fitting.paths import WalkedPath

_STEP_S = 0.1  # paths are compared on this grid: a walker moves 0.15 m in it
_COARSE_S = 0.2  # lags tried at first
_FINE_S = 0.02  # and around the best one
_NEAR_S = 1.5  # lags this near to the best one belong to its peak
_LEAST_COMMON_S = 6.0  # shorter ways are curves of second degree themselves
_LEAST_MOVEMENT = 0.25  # standard deviation of the foot point, in heights of the box
_LEAST_FIT = 0.85  # share of the movement that the map explains
_MOST_REST = (
    0.35  # what it leaves unexplained, over what it leaves at the best lag elsewhere: one person 0.04 to 0.2 on a
)
# real four-camera site with known clocks (the best of two people there: 0.54)
# The same where no second pair of paths agrees: of the paths of one person (ground truth), and of any two tracks, of
# which many are tried; chance hits leave 0.17 and more
_MOST_REST_ALONE = {True: 0.25, False: 0.15}
_LEAST_ALONE_S = 20.0  # and so long must it be
_NOISE = 0.005  # share of the movement that boxes never tell: a map that fits everywhere says nothing
_AGREE_S = 0.5  # lags of two pairs of paths that say the same
_MOST_PAIRS = 60  # pairs of paths of two cameras that are tried, those with the most common time first
_LEAST_ERROR_S = 0.05  # half a frame at 10 a second: boxes do not know it better

Lags = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PathMatch:
    """Two paths that obey one map at one lag.

    Attributes:
        names: of the two paths. lag_s: second camera's clock minus the first one's.
        fit: share of the movement explained. rest: see `_MOST_REST`.
    """

    names: tuple[str, str]
    lag_s: float
    fit: float
    rest: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockLag:
    """By how much the clock of the second camera is ahead of the first one's.

    Attributes:
        error_s: standard error. how: "movement" or "walking times".
        samples: paths that were matched, or transits there and back.
        strength: how clear it is: for "movement" 1 - rest of the best match.
    """

    cameras: tuple[str, str]
    lag_s: float
    error_s: float
    how: str
    samples: int
    strength: float
    matches: tuple[PathMatch, ...] = ()


def lag_of_views(first: Sequence[WalkedPath], second: Sequence[WalkedPath], most_lag_s: float) -> ClockLag | None:
    """What the paths of two cameras say about their clocks; None when nothing is clear.

    Paths with a `person_id` are compared with those of the same person, all of them under one map; the others with
    every path of the other camera, and what agrees with the clearest match counts.
    """
    pairs = _candidates(first, second, most_lag_s)
    if not pairs:
        return None
    if pairs[0][0].person_id is not None:
        pooled = match_paths(pairs, most_lag_s)
        matches = [pooled] if pooled and _is_clear(pooled) else []
    else:
        tried = [match_paths([pair], most_lag_s) for pair in pairs]
        matches = [m for m in tried if m and _is_clear(m)]
    if not matches:
        return None
    return _consensus((first[0].camera_id, second[0].camera_id), matches, pairs[0][0].person_id is not None)


def _candidates(
    first: Sequence[WalkedPath], second: Sequence[WalkedPath], most_lag_s: float
) -> list[tuple[WalkedPath, WalkedPath]]:
    pairs = []
    for a, b in product(filter(_moves, first), filter(_moves, second)):
        common_s = min(a.at_s[-1] + most_lag_s, b.at_s[-1]) - max(a.at_s[0] - most_lag_s, b.at_s[0])
        if a.person_id == b.person_id and min(common_s, a.seconds, b.seconds) >= _LEAST_COMMON_S:
            pairs.append((a, b))
    pairs.sort(key=lambda p: (-min(p[0].seconds, p[1].seconds), p[0].name, p[1].name))
    return pairs[:_MOST_PAIRS]


def _moves(path: WalkedPath) -> bool:
    return bool(path.foot_px.std(axis=0).max() >= _LEAST_MOVEMENT * np.median(path.height_px))


def match_paths(pairs: Sequence[tuple[WalkedPath, WalkedPath]], most_lag_s: float) -> PathMatch | None:
    """The lag at which one map takes all first paths to all second ones best; None where too little is common."""
    coarse = np.round(np.arange(-most_lag_s, most_lag_s + _COARSE_S / 2, _COARSE_S), 6)
    fits = _fits(pairs, coarse)
    if not np.isfinite(fits).any():
        return None
    best_s = float(coarse[np.nanargmax(fits)])
    fine = np.round(np.arange(best_s - 2 * _COARSE_S, best_s + 2 * _COARSE_S + _FINE_S / 2, _FINE_S), 6)
    near = _fits(pairs, fine)
    if not np.isfinite(near).any():
        return None
    lag_s, fit = float(fine[np.nanargmax(near)]), float(np.nanmax(near))
    elsewhere = fits[np.abs(coarse - lag_s) > _NEAR_S]
    if not np.isfinite(elsewhere).any():
        return None
    rest = (1 - fit + _NOISE) / (1 - float(np.nanmax(elsewhere)) + _NOISE)
    seconds = sum(min(a.seconds, b.seconds) for a, b in pairs)
    return PathMatch((pairs[0][0].name, pairs[0][1].name), lag_s, fit, rest, seconds)


def _is_clear(match: PathMatch) -> bool:
    return match.fit >= _LEAST_FIT and match.rest <= _MOST_REST


def _fits(pairs: Sequence[tuple[WalkedPath, WalkedPath]], lags: Lags) -> Lags:
    """(L,) mean of both directions' explained share at each lag; NaN where too little is common."""
    least_s = max(_LEAST_COMMON_S, 0.5 * sum(min(a.seconds, b.seconds) for a, b in pairs))
    fits = np.full(len(lags), np.nan)
    for i, lag_s in enumerate(lags.tolist()):
        samples = [_samples(a, b, lag_s) for a, b in pairs]
        here = np.concatenate([s[0] for s in samples])
        there = np.concatenate([s[1] for s in samples])
        if len(here) * _STEP_S >= least_s:
            fits[i] = (_explained(here, there) + _explained(there, here)) / 2
    return fits


def _samples(a: WalkedPath, b: WalkedPath, lag_s: float) -> tuple[Lags, Lags]:
    """(N, 2) foot points of `a` on a grid of its clock, and those of `b` at the same moments by its own clock."""
    start_s, end_s = max(a.at_s[0], b.at_s[0] - lag_s), min(a.at_s[-1], b.at_s[-1] - lag_s)
    at_s = np.arange(start_s, end_s, _STEP_S) if end_s > start_s else np.zeros(0)
    return _at(a, at_s), _at(b, at_s + lag_s)


def _at(path: WalkedPath, at_s: Lags) -> Lags:
    return np.stack([np.interp(at_s, path.at_s, path.foot_px[:, axis]) for axis in (0, 1)], axis=1)


def _explained(source: Lags, target: Lags) -> float:
    """Share of the target's variance that a map of second degree from the source explains."""
    scaled = (source - source.mean(axis=0)) / np.maximum(source.std(axis=0), 1e-6)
    x, y = scaled.T
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    wanted = target - target.mean(axis=0)
    everything = float((wanted**2).sum())
    return float(((basis.T @ wanted) ** 2).sum() / everything) if everything > 0 else 0.0


def _consensus(cameras: tuple[str, str], matches: Sequence[PathMatch], named: bool) -> ClockLag | None:
    """The lag that most matches agree on; None when others contradict as loudly."""
    best = min(matches, key=lambda m: (-sum(abs(o.lag_s - m.lag_s) <= _AGREE_S for o in matches), m.rest))
    agree = [m for m in matches if abs(m.lag_s - best.lag_s) <= _AGREE_S]
    if 2 * len(agree) <= len(matches) or (len(agree) == 1 and not _stands_alone(best, named)):
        return None
    weights = np.array([m.seconds / max(m.rest, 1e-3) for m in agree])
    lags = np.array([m.lag_s for m in agree])
    lag_s = float((weights * lags).sum() / weights.sum())
    spread_s = float(np.sqrt((weights * (lags - lag_s) ** 2).sum() / weights.sum()))
    error_s = max(_LEAST_ERROR_S, spread_s / np.sqrt(len(agree)), _LEAST_ERROR_S * (1 + 2 * best.rest))
    strength = 1 - min(m.rest for m in agree)
    return ClockLag(cameras, lag_s, float(error_s), "movement", len(agree), strength, tuple(agree))


def _stands_alone(match: PathMatch, named: bool) -> bool:
    return match.rest <= _MOST_REST_ALONE[named] and match.seconds >= _LEAST_ALONE_S
