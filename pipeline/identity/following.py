"""One track ends, another begins: could one person have gone on from there?

Where somebody is after a gap: velocity is an Ornstein-Uhlenbeck process (people keep their velocity for some seconds),
so the place is normal, with mean v τ (1 - e) and variance σ² τ² (2 g/τ - 3 + 4 e - e²), e = exp(-g/τ), g the gap; see
Gillespie, Phys. Rev. E 54 (1996). The longer the gap, the more likely the person went about and may be anywhere.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float64]

# Measured on the annotated people of PETS S2.L1 view 1, as shares of the box's height; the residual after 0.5 to 8 s is
# within 20 % of it. On lab4cam, whose people move less, within the same for gaps up to 2 s
_LEAST_SEEN_S = 0.01  # less than any frame time says nothing about a speed
_PERSISTENCE_S = 3.0  # τ
_PACE_HEIGHTS_S = 0.5  # σ, to the side; 0.8 m/s of somebody 1.75 m tall
_DOWN_SHARE = 0.4  # of that, downwards in a picture
_PACE_M_S = 0.8  # σ, on the ground
_WENT_ABOUT_S = 10.0  # after so long, two of three may be anywhere
_FASTEST_M_S, _REACH_M = 4.0, 1.0  # who runs; and errors of both places

# Where tracks begin and end, a box is as good as elsewhere, or cut off, or around two people: share and error of each
_START_SHARES = (0.7, 0.3)
_START_ERRORS_HEIGHTS = (0.12, 0.4)
_START_ERROR_M = 0.3
_PACE_ERROR_HEIGHTS, _PACE_ERROR_M = 0.15, 0.25  # over the seconds in which the pace was seen: error of the pace
_HEIGHT_SPREAD, _HEIGHT_DRIFT_S = 0.15, 0.03  # of the log of the height: at once, and for each second of the gap
_HEIGHTS_OF_PEOPLE = 0.5  # of the log of the height over a picture, anybody's
_ROOM_M2 = 60.0  # as people who have nothing to do with each other are spread
_EDGE_SHARE, _EDGE_HEIGHTS = 0.7, 0.5  # of the people who are new in a picture: so many come in at an edge so wide
# Of somebody else's tracks: so many begin beside the one that ended (who crosses somebody is lost with him, who walks
# with him comes out with him), so far away
_BESIDE_SHARE, _BESIDE_M, _BESIDE_HEIGHTS = 0.3, 1.0, 0.8
_ASTRAY = 0.02  # tracks that end or begin at a place that means nothing
_LEAST_RATIO, _MOST_RATIO = -8.0, 6.0


@dataclass(frozen=True, slots=True)
class FollowEvidence:
    """What end and start of two tracks say.

    Attributes:
        apart: of the end and the start; metres on the ground, heights of the box in a picture.
        log_ratio: natural log of P(start | the person who ended) / P(start | somebody else).
    """

    gap_s: float
    apart: float
    basis: Literal["ground", "picture"]
    log_ratio: float


def follow_on_ground(end: Table, start: Table) -> FollowEvidence | None:
    """From the last and the first moments of two tracks, (T, 9) and (U, 9) of `ground_rows`; None when they overlap."""
    gap_s = float(start[0, 0] - end[-1, 0])
    if gap_s <= 0:
        return None
    offset = start[0, 1:3] - end[-1, 1:3]
    apart = float(np.linalg.norm(offset))
    near = _START_ERROR_M**2 + float((end[-1] + start[0])[[3, 5]].mean())
    mean, variance = _place_after(gap_s, end[:, :3], np.full(2, _PACE_M_S), _PACE_ERROR_M)
    went_on = _density(offset - mean, variance + near)
    beside = _density(offset - mean, variance + near + _BESIDE_M**2)
    reachable = apart <= _FASTEST_M_S * gap_s + _REACH_M + 2 * np.sqrt(near)
    stays = _stays(gap_s)
    one = stays * went_on + (1 - stays) * (1.0 if reachable else _ASTRAY) / _ROOM_M2
    two = _BESIDE_SHARE * stays * beside + (1 - _BESIDE_SHARE * stays) / _ROOM_M2
    feet_seen = (1 - end[-1, 8]) * (1 - start[0, 8])  # else the places mean little
    return FollowEvidence(gap_s, apart, "ground", _ratio(feet_seen * one / two + 1 - feet_seen))


def follow_in_picture(end: Table, start: Table, picture_px: tuple[int, int]) -> FollowEvidence | None:
    """From the last and the first moments of two tracks of one camera, (T, 5) and (U, 5) rows of time and xyxy px.

    None when they overlap.
    """
    gap_s = float(start[0, 0] - end[-1, 0])
    if gap_s <= 0:
        return None
    height = float(np.median(_heights(end)))
    ways = np.stack([end[:, 0], (end[:, 1] + end[:, 3]) / 2 / height, end[:, 4] / height], axis=1)
    begin = np.array([(start[0, 1] + start[0, 3]) / 2, start[0, 4]]) / height
    offset = begin - ways[-1, 1:]
    pace = _PACE_HEIGHTS_S * np.array([1.0, _DOWN_SHARE])
    mean, variance = _place_after(gap_s, ways, pace, _PACE_ERROR_HEIGHTS)
    taller = float(np.log(np.median(_heights(start)) / height))
    size = float(
        _normal(taller, _HEIGHT_SPREAD**2 + (_HEIGHT_DRIFT_S * gap_s) ** 2) / _normal(taller, _HEIGHTS_OF_PEOPLE**2)
    )
    errors = zip(_START_SHARES, _START_ERRORS_HEIGHTS, strict=True)
    went_on = sum(share * _density(offset - mean, variance + error**2) for share, error in errors)
    beside = _density(offset - mean, variance + (_BESIDE_HEIGHTS * np.array([1.0, _DOWN_SHARE])) ** 2)
    new = _new_people(start[0, 1:], height, picture_px)
    stays = _stays(gap_s)
    one = stays * went_on * size + (1 - stays) * new
    two = _BESIDE_SHARE * stays * beside + (1 - _BESIDE_SHARE * stays) * new
    return FollowEvidence(gap_s, float(np.linalg.norm(offset)), "picture", _ratio(one / two))


def _place_after(gap_s: float, way: Table, pace: Table, pace_error: float) -> tuple[Table, Table]:
    """(2,) mean and (2,) variance of how far somebody got after a gap.

    Args:
        way: (T, 3) rows of time and place until then.
        pace: (2,) σ of a velocity. pace_error: of one that is seen for a second.
    """
    left = float(np.exp(-gap_s / _PERSISTENCE_S))
    seen_s = float(way[-1, 0] - way[0, 0])
    seen, error = (_slope(way), (pace_error / seen_s) ** 2) if seen_s > _LEAST_SEEN_S else (np.zeros(2), np.inf)
    trust = pace**2 / (pace**2 + error)  # of what was seen; the rest is the usual: no velocity
    reach = _PERSISTENCE_S * (1 - left)
    wandering = (pace * _PERSISTENCE_S) ** 2 * (2 * gap_s / _PERSISTENCE_S - 3 + 4 * left - left**2)
    return reach * trust * seen, wandering + reach**2 * pace**2 * (1 - trust)


def _slope(way: Table) -> Table:
    """(2,) least squares velocity."""
    at_s = way[:, 0] - way[:, 0].mean()
    return np.asarray(at_s @ (way[:, 1:] - way[:, 1:].mean(axis=0)) / (at_s @ at_s), np.float64)


def _stays(gap_s: float) -> float:
    """Probability that somebody is still on the way that was seen."""
    return float(np.exp(-gap_s / _WENT_ABOUT_S)) * (1 - _ASTRAY)


def _heights(rows: Table) -> Table:
    return np.maximum(rows[:, 4] - rows[:, 2], 1.0)


def _normal(offset: npt.ArrayLike, variance: npt.ArrayLike) -> Table:
    wide = np.asarray(variance, np.float64)
    return np.asarray(np.exp(-0.5 * np.asarray(offset) ** 2 / wide) / np.sqrt(2 * np.pi * wide), np.float64)


def _density(offset: Table, variance: Table) -> float:
    return float(np.prod(_normal(offset, variance)))


def _new_people(xyxy: Table, height: float, picture_px: tuple[int, int]) -> float:
    """Density, per square of the height, of tracks of new people that begin where this box is."""
    wide, tall = (side / height for side in picture_px)
    band = min(2 * (wide + tall) * _EDGE_HEIGHTS, wide * tall)
    within = np.concatenate([xyxy[:2], np.array(picture_px) - xyxy[2:]]).min() / height
    inside = (1 - _EDGE_SHARE) / (wide * tall)
    return inside + (_EDGE_SHARE / band if within <= _EDGE_HEIGHTS else 0.0)


def _ratio(times: float) -> float:
    return float(np.clip(np.log(max(times, 1e-12)), _LEAST_RATIO, _MOST_RATIO))
