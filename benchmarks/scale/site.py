"""A made-up site: cameras along streets, who is whose neighbour, and what a configuration declares of it."""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.config import TopologyConfig

STREET_M = (15.0, 60.0)  # between two neighbouring cameras: a corridor's end to end, a block's side
WALK_M_S = (0.7, 2.0)  # slowest and fastest walk that a declared window allows for; people walk at about 1.3 m/s
MISSING_STREETS = 0.15  # of a full grid's streets: three neighbours on average, not four
OVERLAPS = 0.1  # of the streets: their two cameras see the same ground


@dataclass(frozen=True, slots=True)
class Street:
    """A way between two cameras, walked in both directions; `overlap`: both see the same ground."""

    a: int
    b: int
    length_m: float
    overlap: bool

    @property
    def window_s(self) -> tuple[float, float]:
        """The transit time that a careful operator would declare."""
        return round(self.length_m / WALK_M_S[1], 1), round(self.length_m / WALK_M_S[0], 1)


@dataclass(frozen=True, slots=True)
class SiteMap:
    """Cameras by number, and the streets between them.

    Attributes:
        around: by camera: (neighbour, metres) of the streets whose ends do not overlap.
        partner: by camera: the one that sees the same ground; None for most.
    """

    streets: tuple[Street, ...]
    around: tuple[tuple[tuple[int, float], ...], ...]
    partner: tuple[int | None, ...]

    @property
    def camera_ids(self) -> tuple[str, ...]:
        return tuple(camera_name(i) for i in range(len(self.around)))

    def topology(self) -> tuple[TopologyConfig, ...]:
        """Every street as its operator declares it: a transit window each way, or an overlap. Nothing about others."""
        rules = []
        for street in self.streets:
            a, b = camera_name(street.a), camera_name(street.b)
            if street.overlap:
                rules.append(TopologyConfig(pair=(a, b), overlap=True))
            else:
                rules.append(TopologyConfig(from_camera=a, to_camera=b, transit_s=street.window_s))
                rules.append(TopologyConfig(from_camera=b, to_camera=a, transit_s=street.window_s))
        return tuple(rules)


def camera_name(number: int) -> str:
    return f"cam{number:04d}"


def make_site(cameras: int, seed: int) -> SiteMap:
    """A grid of crossings with a camera each, from which some streets are left out.

    A camera overlaps with one other at most, and has at least one street to walk on (a single camera has none).

    Raises:
        ValueError: fewer than one camera.
    """
    if cameras < 1:
        raise ValueError(f"cameras: expected at least 1, got {cameras}")
    rng = np.random.default_rng((seed, 1))
    partner: list[int | None] = [None] * cameras
    degree = [0] * cameras
    streets = []
    for a, b in _grid(cameras):
        length_m, missing, overlap = rng.uniform(*STREET_M), rng.random() < MISSING_STREETS, rng.random() < OVERLAPS
        if missing and degree[a] and degree[b]:
            continue
        overlap = overlap and partner[a] is None and partner[b] is None and bool(degree[a] and degree[b])
        if overlap:
            partner[a], partner[b] = b, a
        else:
            degree[a], degree[b] = degree[a] + 1, degree[b] + 1
        streets.append(Street(a, b, float(length_m), overlap))
    around: list[list[tuple[int, float]]] = [[] for _ in range(cameras)]
    for street in streets:
        if not street.overlap:
            around[street.a].append((street.b, street.length_m))
            around[street.b].append((street.a, street.length_m))
    return SiteMap(tuple(streets), tuple(map(tuple, around)), tuple(partner))


def _grid(cameras: int) -> list[tuple[int, int]]:
    """Pairs of neighbours of a grid that is as square as can be, row by row."""
    width = math.ceil(math.sqrt(cameras))
    pairs = []
    for number in range(cameras):
        if (number + 1) % width and number + 1 < cameras:
            pairs.append((number, number + 1))
        if number + width < cameras:
            pairs.append((number, number + width))
    return pairs
