"""A generated site: six cameras on one floor plan, two of which see one plaza from two sides, and blind ways between.

                    ┌──────── round the block ────────┐
                    ▼                                 │
    outside ⇄ gate ⇄ corridor ⇄ plaza (south, north) ⇄ arcade
                                  └────⇄ lift ⇄ upstairs   ⇅
                                           └───────────────┘

Places lie along the plan's x axis; left and right are those of the camera (of `plaza_south` for the plaza). Everything
follows from the seed: clothes, look-alikes, light, where cameras stand, who goes where when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.scenes.attire import Likeness, Part
from pipeline.scenes.backgrounds import Style
from pipeline.scenes.cameras import PERSON_M, SyntheticCamera
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.ground_plan import Placement, see_path
from pipeline.scenes.harden import harden
from pipeline.scenes.paths import Walk
from pipeline.scenes.people import Wardrobe, make_people
from pipeline.scenes.roaming import Crossing, Habits, Place, Port, Roamers, Way
from pipeline.scenes.walks import FPS, Scenario

SITE_DIFFICULTY = Difficulty(motion_blur=0.2, colour_cast=0.2)  # what people's look-alikes come on top of

_FOCAL_PX = (480.0, 560.0)  # lenses of about 60 degrees across 640 px
_NEAR_Y = (326.0, 348.0)  # rows of the nearest feet, px
_LANES_M = {"plaza": 2.4}  # metres from the nearest to the farthest feet
_OTHER_LANES_M = 2.0
_PORT_M = 0.9  # metres from the edge of the widest picture to a port: more than half a person with a bag
_TURNED_DEG = 8.0  # the plaza's cameras look past each other by up to twice this
_ASIDE_M = 0.6  # along the plaza, between its middle and that of a camera's picture, at most
_LAID_OUT_M = (30.0, 18.0)  # metres from place to place along the plan's two axes

_STYLES: dict[str, Style] = {
    "gate": "street", "corridor": "hall", "plaza_south": "lobby", "plaza_north": "street", "arcade": "lobby",
    "lift": "hall",
}  # fmt: skip
_CAMERAS_OF: dict[str, tuple[str, ...]] = {
    "gate": ("gate",), "corridor": ("corridor",), "plaza": ("plaza_south", "plaza_north"), "arcade": ("arcade",),
    "lift": ("lift",),
}  # fmt: skip
_BOTH_WAYS: tuple[tuple[Port, Port, tuple[float, float], float], ...] = (
    (Port("gate", "right"), Port("corridor", "left"), (5.0, 14.0), 1.0),
    (Port("corridor", "right"), Port("plaza", "left"), (4.0, 11.0), 1.0),
    (Port("plaza", "right"), Port("arcade", "left"), (14.0, 35.0), 0.6),
    (Port("plaza", "right"), Port("lift", "left"), (8.0, 20.0), 0.4),
    (Port("arcade", "right"), Port("gate", "left"), (25.0, 60.0), 0.4),
    (Port("arcade", "right"), Port("lift", "right"), (15.0, 35.0), 0.6),
)
_AWAY = (Port("gate", "left"), Port("lift", "right"), Port("arcade", "right"))  # whence people leave the site
_ALIKE: tuple[Part, ...] = ("trousers", "top", "bag", "body")  # of the pairs, in turn


@dataclass(frozen=True, eq=False)
class Site:
    """A scenario, and what a floor plan says about it.

    Attributes:
        placements: by camera id.
        crossings: what the scenario's walks are views of.
    """

    scenario: Scenario
    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    placements: Mapping[str, Placement]
    habits: Habits
    crossings: tuple[Crossing, ...]


def make_site(
    seed: int,
    *,
    people: int = 20,
    duration_s: float = 120.0,
    fps: float = FPS,
    difficulty: Difficulty = SITE_DIFFICULTY,
    habits: Habits | None = None,
    pairs: int | None = None,
    wardrobe: Wardrobe = "rich",
) -> Site:
    """A site of six cameras.

    Args:
        pairs: of look-alikes: they differ in trousers, top or bag, or wear the same on another body, in turn. None:
            four, or as many as there are people for.
        wardrobe: of everybody else; `plain` has no look-alikes.

    Raises:
        ValueError: fewer than four people a pair; a difficulty that moves cameras or draws look-alikes of its own.
        SourceUnavailable: the picture the people are cut from is absent.
    """
    if difficulty.truncation or difficulty.lookalikes or difficulty.crowding:
        raise ValueError("a site places its own cameras, look-alikes and company: leave those difficulties at 0")
    if pairs is None:
        pairs = min(len(_ALIKE), people // _PEOPLE_A_PAIR)
    rng = np.random.default_rng([seed, 20])
    made = make_people(people, seed, wardrobe, alike=_draw_alike(people, pairs, rng))
    places, cameras, placements = _draw_places(rng)
    lit = harden(cameras, difficulty, seed)
    ways = site_ways()
    habits = habits or Habits()
    roamers = Roamers(places, ways, habits, duration_s)
    for person in made:
        roamers.add(person.person_id, np.random.default_rng([seed, 21, person.person_id]))
    walks = _see(roamers.crossings, places, lit, placements)
    scenario = Scenario(tuple(made), lit, tuple(walks), duration_s, seed, fps, difficulty)
    return Site(scenario, places, ways, placements, habits, tuple(roamers.crossings))


def site_ways() -> tuple[Way, ...]:
    """All ways of a site."""
    ways = [Way(*ends, transit_s, weight) for a, b, transit_s, weight in _BOTH_WAYS for ends in ((a, b), (b, a))]
    return (*ways, *(Way(port, port, (0.0, 0.0), 0.5, away=True) for port in _AWAY))


def _see(
    crossings: Sequence[Crossing],
    places: Sequence[Place],
    cameras: Sequence[SyntheticCamera],
    placements: Mapping[str, Placement],
) -> list[Walk]:
    """Every crossing as the walks that the cameras of its place see."""
    seen_by = {place.id: [camera for camera in cameras if camera.id in place.cameras] for place in places}
    walks = [
        see_path(crossing.path, camera, placements[camera.id])
        for crossing in crossings
        for camera in seen_by[crossing.place]
    ]
    return [walk for walk in walks if walk is not None]


def _draw_alike(people: int, pairs: int, rng: np.random.Generator) -> dict[int, Likeness]:
    """`pairs` of people of the same body; nobody is in two of them."""
    if people < _PEOPLE_A_PAIR * pairs:
        raise ValueError(f"expected at least {_PEOPLE_A_PAIR} people for each of {pairs} pairs, got {people}")
    ids = [rng.permutation(np.arange(1 + body, people + 1, 2)).tolist() for body in (0, 1)]
    alike = {}
    for i in range(pairs):
        own = ids[i % 2]
        alike[own.pop()] = Likeness(own.pop(), _ALIKE[i % len(_ALIKE)])
    return alike


_PEOPLE_A_PAIR = 4  # two alike, and as many who are not: otherwise the bodies do not suffice


def _draw_places(
    rng: np.random.Generator,
) -> tuple[tuple[Place, ...], tuple[SyntheticCamera, ...], dict[str, Placement]]:
    places, cameras, placements = [], [], {}
    for i, (place_id, camera_ids) in enumerate(_CAMERAS_OF.items()):
        lanes_m = _LANES_M.get(place_id, _OTHER_LANES_M)
        x_m, y_m = i * _LAID_OUT_M[0], (i % 2) * _LAID_OUT_M[1]
        half_m = 0.0
        for number, camera_id in enumerate(camera_ids):
            camera, placement = _draw_camera(camera_id, lanes_m, number, len(camera_ids), rng)
            half_m = max(half_m, _reach_m(camera, placement, lanes_m))
            cameras.append(camera)
            placements[camera_id] = Placement(
                x_m + placement.x_m, y_m + placement.y_m, placement.heading_deg, placement.focal_px
            )
        places.append(Place(place_id, x_m, y_m, half_m + _PORT_M, lanes_m, camera_ids))
    return tuple(places), tuple(cameras), placements


def _draw_camera(
    camera_id: str, lanes_m: float, number: int, of: int, rng: np.random.Generator
) -> tuple[SyntheticCamera, Placement]:
    """A camera below a strip of floor along x from y = 0 to `lanes_m`, or above it (the second one) looking back."""
    wide = of > 1
    height_m = float(rng.uniform(4.6, 5.2) if wide else rng.uniform(3.8, 4.4))
    horizon_y = float(rng.uniform(-160, -120) if wide else rng.uniform(-100, -60))
    near_y, focal_px = float(rng.uniform(*_NEAR_Y)), float(rng.uniform(*_FOCAL_PX))
    near_m = focal_px * height_m / (near_y - horizon_y)
    far_y = horizon_y + focal_px * height_m / (near_m + lanes_m)
    aside_m = float(rng.uniform(-_ASIDE_M, _ASIDE_M)) if wide else 0.0
    turned = float(rng.uniform(-_TURNED_DEG, _TURNED_DEG)) if wide else 0.0
    camera = SyntheticCamera(
        camera_id,
        _STYLES[camera_id],
        horizon_y,
        PERSON_M / height_m,
        near_y,
        far_y,
        exposure=float(rng.uniform(0.8, 1.12)),
        cast=tuple(float(v) for v in rng.uniform(0.92, 1.08, 3)),  # type: ignore[arg-type]
        gamma=float(rng.uniform(0.92, 1.05)),
        noise=float(rng.uniform(1.5, 3.5)),
    )
    if number == 0:
        return camera, Placement(aside_m, -near_m, turned, focal_px)
    return camera, Placement(aside_m, lanes_m + near_m, 180.0 + turned, focal_px)


def _reach_m(camera: SyntheticCamera, placement: Placement, lanes_m: float) -> float:
    """How far from the place's middle along x the camera sees, at the farthest lane."""
    far_m = lanes_m + abs(placement.y_m - (lanes_m if placement.y_m > 0 else 0))
    half_view = np.arctan(camera.width_px / 2 / placement.focal_px)
    turned = np.radians((placement.heading_deg + 90) % 180 - 90)
    return float(abs(placement.x_m) + far_m * np.tan(half_view + abs(turned)))
