"""Two tracks that two calibrated cameras saw at the same time: are they at one place of the ground?

The model, in natural logarithms. One person's two foot points differ by the error of the boxes (a share of their
height, which is metres far from the camera), the calibrations' and the clocks' error; a few are far off; and feet that
are hidden behind a desk make a place that lies behind the true one, on the line from the camera. Two people are
anywhere, or (rarely, but then all the time) with each other. Errors last, so time counts less the longer it is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from pipeline.ground import GroundPlane

Table = npt.NDArray[np.float64]

NEAR_M = 0.6  # two cameras' foot points of one person: 0.3 m apart by half, 0.55 m by nine of ten (lab4cam)
_STEP_S = 0.2  # both paths are compared on this grid of time
_MOST_MOMENTS = 40  # of it that are looked at, evenly spread: errors are alike for longer than that
_LARGEST_GAP_S = 1.0  # between two boxes of a path: in between it goes straight
_EDGE_PX = 2.0  # as `pipeline.boxes.touches_edge`

# Of a foot point (lab4cam's annotated and detected boxes, as shares of the box's height): its error to the side and
# downwards; and how far boxes end below the middle between the feet.
_SIDE_ERROR, _DOWN_ERROR, _LEAST_ERROR_PX = 0.03, 0.04, 2.0
_BELOW_FEET = 0.03
_SITE_ERROR_M = 0.18  # of each pair of cameras: calibration, stance, and clocks 0.1 s apart at a walker's pace
_TAIL_SHARE, _TAIL_TIMES = 0.1, 3.0  # of places that are off by so many times that error

# Feet that nobody sees: the box ends higher, so the place is farther away. A box that shows the head and the shoulders
# only ends 1.3 of its heights above the feet (lab4cam, the person at the desk).
_HIDDEN_HEIGHTS, _HIDDEN_MOST_M = 1.5, 6.0
_PLACES_ON_WAY = 5  # tried where the feet are hidden from both cameras
_BELOW_PICTURE = 1.25  # lens models mean nothing far outside the picture
_WHOLE_ASPECT, _CUT_ASPECT = 2.2, 1.5  # height over width of a standing person, and of the upper half of one
_HIDDEN_WHOLE, _HIDDEN_CUT, _HIDDEN_EDGE = 0.03, 0.3, 0.97  # how probable hidden feet are: so; so; at the lower edge

_ROOM_M2 = 60.0  # people who have nothing to do with each other are spread over so much ground, or more
# A companion is 0.7 m away, most likely, and hardly nearer than 0.3 m (personal distance is 0.45 to 1.2 m: Hall 1966):
# density of the place r² exp(-r² / 2 s²) / 4 π s⁴
_COMPANY_M = 0.5  # s
_COMPANY_SHARE = 0.05  # of the pairs of two people that are seen at once: companions all the time
_ASTRAY = 0.01  # places that mean nothing: a track that jumps to somebody else, a box around two
# Independent comparisons in T seconds: r T / (1 + r T / most). Errors are alike for 1 s (correlation 0.2 at 1 s, 0 at
# 2 s, lab4cam), and half of their variance never changes (stance, calibration): against companions that counts
_INDEPENDENT_HZ, _MOST_INDEPENDENT, _MOST_BESIDE = 1.0, 8.0, 3.0
_LEAST_RATIO, _MOST_RATIO = -15.0, 10.0


@dataclass(frozen=True, slots=True)
class PlaceEvidence:
    """What the places of two tracks say.

    Attributes:
        common_s: how long both had a place.
        median_m: distance of the two places. near_share: of the time, with at most `NEAR_M`.
        log_ratio: natural log of P(places | one person) / P(places | two people).
    """

    common_s: float
    median_m: float
    near_share: float
    log_ratio: float


def ground_rows(boxes: Table, ground: GroundPlane, size_px: tuple[int, int]) -> Table:
    """What boxes (T, 5), rows of time and xyxy px, say of the ground: (U, 9), U <= T.

    Columns: time; place x, y, m; its covariance xx, xy, yy, m²; the way x, y to where the feet could be if the box does
    not show them, m; how probable that is. Boxes that are cut off at the sides, and beyond the horizon, are left out.
    """
    at_s, x1, y1, x2, y2 = boxes.T
    width, height = np.maximum(x2 - x1, 1.0), np.maximum(y2 - y1, 1.0)
    cut = y2 >= size_px[1] - _EDGE_PX
    feet_y = np.where(cut, y2, y2 - _BELOW_FEET * height)
    feet = np.stack([(x1 + x2) / 2, feet_y], axis=1)
    place = ground.ground_m(feet, size_px)
    moved = ground.metres_per_px(feet, size_px)
    errors_px = np.maximum(np.outer(height, [_SIDE_ERROR, _DOWN_ERROR]), _LEAST_ERROR_PX)
    spread = np.einsum("nij,nj,nkj->nik", moved, errors_px**2, moved)
    lower = np.stack([feet[:, 0], np.minimum(feet_y + _HIDDEN_HEIGHTS * height, _BELOW_PICTURE * size_px[1])], axis=1)
    way = ground.ground_m(lower, size_px) - place
    length = np.linalg.norm(way, axis=1)
    known = np.isfinite(length) & (length > 0)
    way = np.where(known[:, None], way * np.minimum(1.0, _HIDDEN_MOST_M / np.where(known, length, 1.0))[:, None], 0.0)
    hidden = np.where(known, np.where(cut, _HIDDEN_EDGE, _hidden_share(height / width)), 0.0)
    rows = np.concatenate([at_s[:, None], place, spread[:, [0, 0, 1], [0, 1, 1]], way, hidden[:, None]], axis=1)
    inside = (x1 > _EDGE_PX) & (x2 < size_px[0] - _EDGE_PX)
    return np.asarray(rows[inside & np.isfinite(rows).all(axis=1) & (known | ~cut)], np.float64)


def _hidden_share(aspect: Table) -> Table:
    """(N,) how probable it is that the feet of boxes of such height over width are hidden."""
    known = np.log([_CUT_ASPECT, _WHOLE_ASPECT])
    shares = np.log([_HIDDEN_CUT, _HIDDEN_WHOLE])
    return np.asarray(np.exp(np.interp(np.log(aspect), known, shares)), np.float64)


def compare_places(a: Table, b: Table) -> PlaceEvidence | None:
    """What two tracks' rows of `ground_rows` say; None where they have no time in common."""
    here, there = _common(a, b)
    if not len(here):
        return None
    common_s = len(here) * _STEP_S
    few = np.unique(np.linspace(0, len(here) - 1, min(len(here), _MOST_MOMENTS)).round().astype(int))
    here, there = here[few], there[few]
    offset = there[:, 1:3] - here[:, 1:3]
    spread = here[:, 3:6] + there[:, 3:6] + _SITE_ERROR_M**2 * np.array([1.0, 0.0, 1.0])
    one, strangers, companions = _densities(offset, spread, here, there)
    rarer, nearer = float(np.log(strangers / one).mean()), float(np.log(companions / one).mean())
    apart = np.log(1 - _COMPANY_SHARE) + _independent(common_s, _MOST_INDEPENDENT) * rarer
    beside = np.log(_COMPANY_SHARE) + _independent(common_s, _MOST_BESIDE) * nearer
    ratio = float(np.clip(-np.logaddexp(apart, beside), _LEAST_RATIO, _MOST_RATIO))
    away_m = _distance(offset, here, there)
    return PlaceEvidence(common_s, float(np.median(away_m)), float((away_m <= NEAR_M).mean()), ratio)


def _independent(common_s: float, most: float) -> float:
    return _INDEPENDENT_HZ * common_s / (1 + _INDEPENDENT_HZ * common_s / most)


def _common(a: Table, b: Table) -> tuple[Table, Table]:
    """Rows of both at the times of the grid at which both have a place."""
    if not (len(a) and len(b)):
        return a[:0], b[:0]
    start_s, end_s = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
    steps = np.arange(np.ceil(start_s / _STEP_S - 1e-6), np.floor(end_s / _STEP_S + 1e-6) + 1)
    (here, seen_here), (there, seen_there) = (_at(rows, steps * _STEP_S) for rows in (a, b))
    seen = seen_here & seen_there
    return here[seen], there[seen]


def _at(rows: Table, at_s: Table) -> tuple[Table, npt.NDArray[np.bool_]]:
    """(G, 9) rows at other times, between the two that are next, and (G,) whether those are near enough."""
    if len(rows) < 2:
        return np.repeat(rows, len(at_s), axis=0), np.abs(at_s - rows[0, 0]) <= _STEP_S / 2
    after = np.searchsorted(rows[:, 0], at_s).clip(1, len(rows) - 1)
    first, second = rows[after - 1], rows[after]
    gap_s = second[:, 0] - first[:, 0]
    share = ((at_s - first[:, 0]) / gap_s).clip(0, 1)[:, None]
    return (1 - share) * first + share * second, gap_s <= _LARGEST_GAP_S


def _densities(offset: Table, spread: Table, here: Table, there: Table) -> tuple[Table, Table, Table]:
    """(G,) per m², of the offset of two places: of one person, of strangers, of companions."""
    seen = (1 - _TAIL_SHARE) * _normal(offset, spread) + _TAIL_SHARE * _normal(offset, _TAIL_TIMES**2 * spread)
    here_hidden, there_hidden = here[:, 8], there[:, 8]
    one = (1 - here_hidden) * (1 - there_hidden) * seen
    one += here_hidden * (1 - there_hidden) * _along(offset, spread, here[:, 6:8])
    one += there_hidden * (1 - here_hidden) * _along(-offset, spread, there[:, 6:8])
    both = here_hidden * there_hidden > _HIDDEN_WHOLE**2  # else it adds nothing
    if both.any():
        ways = _both_along(offset[both], spread[both], here[both, 6:8], there[both, 6:8])
        one[both] += (here_hidden * there_hidden)[both] * ways
    one = (1 - _ASTRAY) * one + _ASTRAY / _ROOM_M2
    companions = (1 - _ASTRAY) * _beside(offset, spread) + _ASTRAY / _ROOM_M2
    return one, np.full(len(one), 1 / _ROOM_M2), companions


def _beside(offset: Table, spread: Table) -> Table:
    """(G,) density of a companion's place, blurred by the spread (as if it were round)."""
    own, blur = _COMPANY_M**2, (spread[:, 0] + spread[:, 2]) / 2
    true = own / (own + blur)  # of the offset that was seen
    square = (offset**2).sum(axis=1)
    likely = square * true**2 + 2 * true * blur  # expected square of the true offset
    near = np.exp(-square / 2 / (own + blur)) / (2 * np.pi * (own + blur))
    return np.asarray(near * likely / (2 * own))


def _normal(offset: Table, spread: Table) -> Table:
    """(G,) density of a normal distribution in two dimensions; spread (G, 3) is xx, xy, yy."""
    x, y = offset.T
    xx, xy, yy = spread.T
    size = np.maximum(xx * yy - xy * xy, 1e-12)
    return np.asarray(np.exp(-0.5 * (yy * x * x - 2 * xy * x * y + xx * y * y) / size) / (2 * np.pi * np.sqrt(size)))


def _along(offset: Table, spread: Table, way: Table) -> Table:
    """(G,) density where the place is anywhere on a way that begins at the other one, blurred by the spread."""
    length = np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    along = way / length[:, None]
    x, y = along.T
    xx, xy, yy = spread.T
    far = np.sqrt(np.maximum(xx * x * x + 2 * xy * x * y + yy * y * y, 1e-9))
    wide = np.sqrt(np.maximum(xx * y * y - 2 * xy * x * y + yy * x * x, 1e-9))
    ahead, aside = (offset * along).sum(axis=1), offset[:, 1] * x - offset[:, 0] * y
    share = (ndtr(ahead / far) - ndtr((ahead - length) / far)) / length
    return np.asarray(share * np.exp(-0.5 * (aside / wide) ** 2) / (np.sqrt(2 * np.pi) * wide))


def _both_along(offset: Table, spread: Table, way: Table, other: Table) -> Table:
    """(G,) density where both places are anywhere on their ways."""
    shares = (np.arange(_PLACES_ON_WAY) + 0.5) / _PLACES_ON_WAY
    blur = ((other**2).sum(axis=1) / _PLACES_ON_WAY**2 / 12)[:, None] * np.array([1.0, 0.0, 1.0])
    found = [_along(offset + share * other, spread + blur, way) for share in shares.tolist()]
    return np.asarray(np.mean(found, axis=0), np.float64)


def _distance(offset: Table, here: Table, there: Table) -> Table:
    """(G,) metres between two places; between a place and a way where the feet are most likely not in the picture."""
    moved = offset.copy()
    for rows, sign in ((here, 1.0), (there, -1.0)):
        cut = rows[:, 8] > 0.5
        way = rows[:, 6:8]
        share = ((sign * moved * way).sum(axis=1) / np.maximum((way**2).sum(axis=1), 1e-9)).clip(0, 1)
        moved = np.where(cut[:, None], moved - sign * share[:, None] * way, moved)
    return np.asarray(np.linalg.norm(moved, axis=1))
