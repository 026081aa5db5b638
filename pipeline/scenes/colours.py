"""Clothes and hair: a palette, the distance between two people's colours, and a choice that keeps them apart.

Colours are CIE L*a*b* (D65), distances CIE 1976 ΔE. The palette's values were picked for this project.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Lab(NamedTuple):
    """L* 0 to 100, a* green to red, b* blue to yellow."""

    lightness: float
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Outfit:
    top: Lab
    trousers: Lab


TOPS: tuple[Lab, ...] = (
    Lab(88, 0, 4),  # white
    Lab(24, 2, -8),  # navy black
    Lab(42, 52, 32),  # red
    Lab(78, 4, 58),  # yellow
    Lab(44, -32, 20),  # green
    Lab(42, 6, -44),  # blue
    Lab(60, 38, 48),  # orange
    Lab(36, 36, -30),  # purple
    Lab(68, -26, -12),  # turquoise
    Lab(70, 30, 2),  # pink
    Lab(56, -6, 36),  # olive
    Lab(70, -6, -26),  # light blue
    Lab(34, 18, 18),  # brown
    Lab(58, 0, 0),  # grey
    Lab(28, 30, 8),  # wine red
    Lab(78, -22, 36),  # light green
)
TROUSERS: tuple[Lab, ...] = (
    Lab(22, 0, -4),  # black
    Lab(74, 4, 20),  # sand
    Lab(40, 0, -34),  # jeans
    Lab(36, -14, 18),  # dark olive
    Lab(54, 0, 0),  # grey
    Lab(36, 26, 20),  # rust
    Lab(84, 0, 0),  # white
    Lab(62, -4, -22),  # washed jeans
)
HAIR: tuple[Lab, ...] = (
    Lab(14, 2, 3),  # black
    Lab(64, 8, 36),  # blond
    Lab(30, 14, 20),  # brown
    Lab(70, 0, 2),  # grey
    Lab(42, 32, 36),  # red
    Lab(24, 6, 10),  # dark brown
)
SHOES: tuple[Lab, ...] = (Lab(22, 0, 0), Lab(82, 0, 2), Lab(46, 12, 22), Lab(40, 4, -20))

# (people, ΔE): the least distance between any two of so many, which `choose_outfits` keeps with every seed (tested)
GUARANTEED_DISTANCE: tuple[tuple[int, float], ...] = ((6, 42.0), (12, 36.0), (24, 28.0), (48, 22.0), (128, 11.0))


def minimum_distance(count: int) -> float:
    """The distance that any two of `count` people keep: ΔE, see `outfit_distance`; 0 when outfits repeat (over 128)."""
    for people, distance in GUARANTEED_DISTANCE:
        if count <= people:
            return distance
    return 0.0


def outfit_distance(first: Outfit, second: Outfit) -> float:
    """Root mean square of the two ΔE of tops and trousers."""
    tops = np.subtract(first.top, second.top)
    trousers = np.subtract(first.trousers, second.trousers)
    return float(np.sqrt((tops @ tops + trousers @ trousers) / 2))


def choose_outfits(count: int, rng: np.random.Generator) -> list[Outfit]:
    """`count` outfits, each as far as possible from those before it (farthest-point choice); they repeat after 128."""
    outfits = [Outfit(top, trousers) for top, trousers in product(TOPS, TROUSERS)]
    points = np.array([[*outfit.top, *outfit.trousers] for outfit in outfits]) / np.sqrt(2)
    order = farthest_first(points, min(count, len(outfits)), int(rng.integers(len(outfits))))
    return [outfits[order[i % len(order)]] for i in range(count)]


def farthest_first(points: npt.NDArray[np.float64], count: int, first: int) -> list[int]:
    """Rows of `points` (N, D), beginning with `first`: each as far as possible from those before it; `count` <= N."""
    order: list[int] = []
    nearest = np.full(len(points), np.inf)
    chosen = first
    while len(order) < count:
        order.append(chosen)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen], axis=1))
        chosen = int(np.argmax(nearest))
    return order


def least_distance(outfits: Sequence[Outfit]) -> float:
    """The smallest distance of any two; infinite for fewer than two."""
    pairs = [(a, b) for i, a in enumerate(outfits) for b in outfits[:i]]
    return min((outfit_distance(a, b) for a, b in pairs), default=float("inf"))
