"""What people of the rich wardrobe wear, how they are chosen to differ, and how look-alikes are made.

Colours are CIE L*a*b* as in `colours`; the additional palettes were picked for this project.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.scenes.colours import HAIR, SHOES, TOPS, TROUSERS, Lab, farthest_first

Pattern = Literal["plain", "stripes", "pinstripes", "checks", "halves", "print", "dots"]
BagKind = Literal["shoulder", "backpack", "tote"]
HatKind = Literal["beanie", "cap", "brim"]
Part = Literal["top", "trousers", "shoes", "hair", "bag", "body"]
T = TypeVar("T")

TOP_PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "pinstripes", "checks", "halves", "print", "dots")
TROUSER_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "pinstripes", "halves", "checks")
BAGS: tuple[BagKind, ...] = ("shoulder", "backpack", "tote")
HATS: tuple[HatKind, ...] = ("beanie", "cap", "brim")
PARTS: tuple[Part, ...] = ("top", "trousers", "shoes", "hair", "bag")
SKIN: tuple[Lab, ...] = (Lab(74, 12, 17), Lab(64, 14, 22), Lab(50, 15, 22), Lab(36, 11, 15))
QUIET_TOPS: tuple[Lab, ...] = (
    Lab(24, 2, -8),  # navy black
    Lab(24, 2, -8),  # worn twice as often as the others
    Lab(40, 0, 0),  # dark grey
    Lab(58, 0, 0),  # grey
    Lab(88, 0, 4),  # white
    Lab(34, 4, -20),  # dark blue
    Lab(34, 18, 18),  # brown
    Lab(42, -8, 18),  # dark olive
    Lab(70, 4, 18),  # beige
    Lab(28, 30, 8),  # wine red
)
QUIET_TROUSERS: tuple[Lab, ...] = (
    Lab(22, 0, -4),  # black
    Lab(22, 0, -4),  # worn twice as often as the others
    Lab(40, 0, -34),  # jeans
    Lab(62, -4, -22),  # washed jeans
    Lab(42, 0, 0),  # dark grey
    Lab(74, 4, 20),  # sand
)
QUIET_BAGS: tuple[Lab, ...] = (Lab(22, 0, 0), Lab(34, 18, 18), Lab(52, 0, -4))
HEMS = (-0.45, -0.25, 0.0, 0.0)  # jackets of two lengths, the coat as photographed
BUILDS = (0.9, 1.12)  # width over the cutout's
TWIN_DISTANCE = 30.0  # ΔE between look-alikes in the part that differs: clear in neutral light, not under any


class Cloth(NamedTuple):
    """A garment: its colour, and a second one where the pattern says so."""

    colour: Lab
    pattern: Pattern = "plain"
    second: Lab = Lab(50, 0, 0)


class Bag(NamedTuple):
    kind: BagKind
    colour: Lab


class Hat(NamedTuple):
    kind: HatKind
    colour: Lab


@dataclass(frozen=True, slots=True)
class Attire:
    """Everything that tells two people of one body apart.

    Attributes:
        hem: where the top ends: 0 as photographed, -0.25 a jacket without the lowest quarter.
        build: width over the cutout's.
        long_hair: down to the shoulders.
    """

    top: Cloth
    trousers: Cloth
    shoes: Lab
    hair: Lab
    skin: Lab
    hem: float = 0.0
    build: float = 1.0
    long_hair: bool = False
    bag: Bag | None = None
    hat: Hat | None = None


class Likeness(NamedTuple):
    """Whom somebody resembles, and the one part in which the two differ."""

    person_id: int
    part: Part


def choose_attires(count: int, bodies: int, rng: np.random.Generator) -> list[Attire]:
    """`count` attires, each as far as possible from those before it of the same body (person i has body i % bodies)."""
    chosen: list[Attire | None] = [None] * count
    for body in range(min(bodies, count)):
        places = range(body, count, bodies)
        drawn = [_draw_attire(rng) for _ in range(_CANDIDATES * len(places))]
        points = np.array([_look(attire) for attire in drawn])
        order = farthest_first(points, len(places), int(rng.integers(len(drawn))))
        for place, pick in zip(places, order, strict=True):
            chosen[place] = drawn[pick]
    return [attire for attire in chosen if attire is not None]


_CANDIDATES = 8  # drawn for each one chosen


def _draw_attire(rng: np.random.Generator) -> Attire:
    bag = Bag(_pick(BAGS, rng), _pick(TOPS, rng)) if rng.random() < 0.5 else None
    hat = Hat(_pick(HATS, rng), _pick(TOPS, rng)) if rng.random() < 0.3 else None
    return Attire(
        top=_draw_cloth(TOPS, TOP_PATTERNS, rng),
        trousers=_draw_cloth(TROUSERS, TROUSER_PATTERNS, rng),
        shoes=_pick(SHOES, rng),
        hair=_pick(HAIR, rng),
        skin=_pick(SKIN, rng),
        hem=_pick(HEMS, rng),
        build=float(rng.uniform(*BUILDS)),
        long_hair=bool(rng.random() < 0.35),
        bag=bag,
        hat=hat,
    )


def choose_quiet_attires(count: int, bodies: int, rng: np.random.Generator) -> list[Attire]:
    """`count` attires as in a street in autumn: dark and mostly plain, and no two of one body quite alike."""
    chosen: list[Attire] = []
    while len(chosen) < count:
        same_body = [_look(attire) for attire in chosen[len(chosen) % bodies :: bodies]]
        for _ in range(_TRIES):
            attire = _draw_quiet_attire(rng)
            look = _look(attire)
            if all(np.linalg.norm(look - other) >= QUIET_DISTANCE for other in same_body):
                break
        chosen.append(attire)
    return chosen


QUIET_DISTANCE = 12.0  # of `_look`: about a clear difference in one small thing, or a slight one in a large one
_TRIES = 100  # with more people than there are quiet clothes, two are alike


def _draw_quiet_attire(rng: np.random.Generator) -> Attire:
    patterned = rng.random() < 0.2
    bag = Bag(_pick(BAGS, rng), _pick(QUIET_BAGS, rng)) if rng.random() < 0.4 else None
    hat = Hat(_pick(HATS[:2], rng), _pick(QUIET_TOPS, rng)) if rng.random() < 0.15 else None
    return Attire(
        top=_draw_cloth(QUIET_TOPS, TOP_PATTERNS[1:4] if patterned else ("plain",), rng),
        trousers=Cloth(_pick(QUIET_TROUSERS, rng)),
        shoes=_pick(SHOES, rng),
        hair=_pick(HAIR, rng),
        skin=_pick(SKIN, rng),
        hem=_pick(HEMS, rng),
        build=float(rng.uniform(*BUILDS)),
        long_hair=bool(rng.random() < 0.35),
        bag=bag,
        hat=hat,
    )


def _draw_cloth(colours: Sequence[Lab], patterns: Sequence[Pattern], rng: np.random.Generator) -> Cloth:
    colour, pattern = _pick(colours, rng), _pick(patterns, rng)
    others = [other for other in colours if colour_distance(other, colour) > 35]
    return Cloth(colour, pattern, _pick(others or [farthest_from(colour, colours)], rng))


def _pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def colour_distance(first: Lab, second: Lab) -> float:
    """ΔE (CIE 1976)."""
    return float(np.linalg.norm(np.subtract(first, second)))


def farthest_from(colour: Lab, colours: Sequence[Lab]) -> Lab:
    """The one of the colours that differs most."""
    return max(colours, key=lambda other: colour_distance(other, colour))


def _look(attire: Attire) -> npt.NDArray[np.float64]:
    """A point whose distances say how different two attires look; garments count by about their area."""
    parts = [*_cloth_look(attire.top), *(0.8 * v for v in _cloth_look(attire.trousers))]
    bag = [0.0, 0.0, 0.0] if attire.bag is None else [0.35 * (20 + value) for value in attire.bag.colour]
    hat = [0.0, 0.0, 0.0] if attire.hat is None else [0.25 * (20 + value) for value in attire.hat.colour]
    hair = [0.15 * value for value in attire.hair]
    return np.array([*parts, *bag, *hat, *hair, 60 * attire.hem, 100 * (attire.build - 1)])


def _cloth_look(cloth: Cloth) -> list[float]:
    """Mean colour, and how strong a pattern of which kind."""
    share = _SECOND_SHARE[cloth.pattern]
    mean = (1 - share) * np.array(cloth.colour) + share * np.array(cloth.second)
    contrast = np.zeros(len(_SECOND_SHARE))
    strength = 0.4 * min(share, 1 - share) * colour_distance(cloth.colour, cloth.second)
    contrast[list(_SECOND_SHARE).index(cloth.pattern)] = strength
    return [*mean.tolist(), *contrast.tolist()]


_SECOND_SHARE: dict[Pattern, float] = {  # of the garment that has the second colour
    "plain": 0.0,
    "stripes": 0.5,
    "pinstripes": 0.3,
    "checks": 0.5,
    "halves": 0.5,
    "print": 0.2,
    "dots": 0.25,
}


def pair_lookalikes(count: int, bodies: int, share: float, rng: np.random.Generator) -> dict[int, int]:
    """Place of a copy -> place of its model, so that about `share` of `count` people are one or the other.

    Copies share their model's body; a model may have two copies. Fewer than two people of a body have no pair.
    """
    wanted = round(share * count)
    pairs: dict[int, int] = {}
    places = [rng.permutation(np.arange(body, count, bodies)).tolist() for body in range(bodies)]
    involved = 0
    while involved < wanted and any(len(own) > 1 for own in places):
        own = max(places, key=len)
        model, copy = own.pop(), own.pop()
        pairs[copy] = model
        involved += 2
        if involved < wanted and own and rng.random() < _THIRD:
            pairs[own.pop()] = model
            involved += 1
    return pairs


_THIRD = 0.25  # of the pairs become three


def differing_parts(attire: Attire) -> tuple[Part, ...]:
    """Parts in which a look-alike can visibly differ: not the hair under a hat."""
    return tuple(part for part in PARTS if part != "hair" or attire.hat is None)


def vary(attire: Attire, part: Part, rng: np.random.Generator) -> Attire:
    """The same attire with one part changed, by at least TWIN_DISTANCE in colour where the palette allows.

    `body` leaves all clothes as they are and changes who is inside: hair, skin and build.
    """
    if part == "bag":
        if attire.bag is None:
            return replace(attire, bag=Bag(_pick(BAGS, rng), _other_colour(TOPS, attire.top.colour, rng)))
        return replace(attire, bag=None)
    if part == "hair":
        return replace(attire, hair=_other_colour(HAIR, attire.hair, rng))
    if part == "shoes":
        return replace(attire, shoes=_other_colour(SHOES, attire.shoes, rng))
    if part == "body":
        return _other_body(attire, rng)
    if part == "top":
        return replace(attire, top=_redye(attire.top, TOPS, rng))
    return replace(attire, trousers=_redye(attire.trousers, TROUSERS, rng))


def _other_body(attire: Attire, rng: np.random.Generator) -> Attire:
    """The same clothes on somebody of other hair and skin, and as slim as the other one is broad."""
    return replace(
        attire,
        hair=_other_colour(HAIR, attire.hair, rng),
        skin=_other_colour(SKIN, attire.skin, rng),
        long_hair=not attire.long_hair,
        build=BUILDS[0] if attire.build > sum(BUILDS) / 2 else BUILDS[1],
    )


def _redye(cloth: Cloth, palette: Sequence[Lab], rng: np.random.Generator) -> Cloth:
    return cloth._replace(colour=_other_colour([c for c in palette if c != cloth.second], cloth.colour, rng))


def _other_colour(palette: Sequence[Lab], colour: Lab, rng: np.random.Generator) -> Lab:
    far = [other for other in palette if colour_distance(other, colour) >= TWIN_DISTANCE]
    return _pick(far or [farthest_from(colour, palette)], rng)
