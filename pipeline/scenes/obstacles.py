"""Things that stand or roll in front of people: where, how large, and when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

ObstacleKind = Literal["desk", "counter", "planter", "cart", "pillar", "plant", "shelf", "sign", "trolley"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing in front of a camera.

    Attributes:
        x: its middle, picture widths; of a moving one at time 0.
        depth: of its foot, 0 near to 1 far as for people, below 0 in front of everybody.
        width_m, height_m: metres. lift_m: of its lower edge above the floor (a hanging sign).
        seed: of its picture.
        speed: picture widths per second, 0 for furniture; it rolls to and fro through the picture.
    """

    kind: ObstacleKind
    x: float
    depth: float
    width_m: float
    height_m: float
    seed: int
    lift_m: float = 0.0
    speed: float = 0.0

    def x_at(self, at_s: float) -> float:
        """Its middle at a time, picture widths; out of the picture while it turns round."""
        if self.speed == 0:
            return self.x
        travelled = (self.x - _TURN_X[0] + self.speed * at_s) % (2 * _SPAN)
        return _TURN_X[0] + min(travelled, 2 * _SPAN - travelled)


_TURN_X = (-0.4, 1.4)  # picture widths: further out than half of the widest trolley
_SPAN = _TURN_X[1] - _TURN_X[0]


class _Make(NamedTuple):
    """Ranges of one kind's width and height, metres."""

    kind: ObstacleKind
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    lift_m: float = 0.0


# Sizes as in shops and offices. Each row hides another part: legs, one side after the other, all but the head, head.
_LOW = (
    _Make("desk", (0.9, 1.4), (0.74, 0.95)),
    _Make("counter", (0.9, 1.4), (0.95, 1.15)),
    _Make("planter", (0.8, 1.2), (0.7, 1.0)),
    _Make("cart", (0.7, 1.0), (0.9, 1.2)),
)
_NARROW = (_Make("pillar", (0.32, 0.5), (5.0, 5.0)), _Make("plant", (0.7, 1.0), (1.4, 1.9)))
_TALL = (_Make("shelf", (0.6, 0.9), (1.35, 1.6)),)
_HIGH = (_Make("sign", (0.7, 1.0), (5.0, 5.0), 1.2),)  # up to the ceiling
_ORDER = (_LOW, _NARROW, _LOW, _HIGH, _TALL, _NARROW)
_TROLLEY = _Make("trolley", (0.7, 1.0), (0.9, 1.4))

_FULL_M = 5.0  # metres: what most of the cameras see across
_DEPTHS = (-0.25, 0.3)  # before most of the lanes, which lie between 0 and 1
_TROLLEY_SPEED_M_S = (0.3, 0.7)


def place_obstacles(count: int, trolleys: int, metres_wide: float, rng: np.random.Generator) -> tuple[Obstacle, ...]:
    """`count` pieces of furniture spread over the picture, and `trolleys` that roll through it.

    Where the picture shows less than `_FULL_M`, fewer and smaller ones.

    Args:
        metres_wide: width of the picture at the lanes' middle.
    """
    size = min(metres_wide / _FULL_M, 1.0)
    fitting = round(count * size)
    order = [_ORDER[i % len(_ORDER)] for i in range(fitting)]
    middles = 0.08 + 0.84 * (rng.permutation(fitting) + rng.uniform(0.25, 0.75, fitting)) / max(fitting, 1)
    still = [_draw(kinds, float(x), size, rng) for kinds, x in zip(order, middles, strict=True)]
    rolling = [_roll(_draw((_TROLLEY,), 0.0, size, rng), metres_wide, rng) for _ in range(trolleys)]
    return (*still, *rolling)


def _draw(kinds: Sequence[_Make], x: float, size: float, rng: np.random.Generator) -> Obstacle:
    make = kinds[int(rng.integers(len(kinds)))]
    return Obstacle(
        make.kind,
        x,
        depth=float(rng.uniform(*_DEPTHS)),
        width_m=size * float(rng.uniform(*make.width_m)),
        height_m=size * float(rng.uniform(*make.height_m)),
        seed=int(rng.integers(2**31)),
        lift_m=make.lift_m,
    )


def _roll(thing: Obstacle, metres_wide: float, rng: np.random.Generator) -> Obstacle:
    return replace(thing, x=float(rng.uniform(*_TURN_X)), speed=float(rng.uniform(*_TROLLEY_SPEED_M_S)) / metres_wide)
