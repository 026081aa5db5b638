"""Who is where when: walks through cameras, the demo's timetable, and random timetables of any size.

The demo's cameras form a ring: who leaves one to the right enters the next from the left, and the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.scenes.cameras import DEMO_CAMERAS, SyntheticCamera, make_cameras
from pipeline.scenes.crowds import Crowd
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.harden import harden
from pipeline.scenes.paths import Pose, Side, Walk, Waypoint
from pipeline.scenes.people import Person, Wardrobe, make_people

Metres = TypeVar("Metres", np.float64, npt.NDArray[np.float64])

FPS = 10.0
DEMO_SEED = 7
DEMO_DURATION_S = 38.0
_OUTSIDE = 0.16  # picture widths beyond the edge where a walk begins and ends: wider than half a person
_EDGE_X: dict[Side, float] = {"left": -_OUTSIDE, "right": 1 + _OUTSIDE}
_CYCLE_M = 1.5  # metres that two steps cover


@dataclass(frozen=True, eq=False)
class Scenario:
    """A whole scene: people, cameras, walks; everything else follows from `seed`.

    Attributes:
        difficulty: for the record: what people, cameras and walks were made with; None: nothing.
    """

    people: tuple[Person, ...]
    cameras: tuple[SyntheticCamera, ...]
    walks: tuple[Walk, ...]
    duration_s: float
    seed: int
    fps: float = FPS
    difficulty: Difficulty | None = None

    def __post_init__(self) -> None:
        known_people = {person.person_id for person in self.people}
        known_cameras = {camera.id for camera in self.cameras}
        for walk in self.walks:
            if walk.person_id not in known_people or walk.camera_id not in known_cameras:
                raise ValueError(f"expected walks of known people and cameras, got {walk.person_id}, {walk.camera_id}")

    @property
    def frame_count(self) -> int:
        return round(self.duration_s * self.fps)

    def camera(self, camera_id: str) -> SyntheticCamera:
        """The camera of this id.

        Raises:
            ValueError: there is none.
        """
        for camera in self.cameras:
            if camera.id == camera_id:
                return camera
        raise ValueError(f"expected one of {[c.id for c in self.cameras]}, got {camera_id!r}")


@dataclass(frozen=True, slots=True)
class Leg:
    """One entry of a timetable: through a camera from one side to another, after a pause out of sight.

    Attributes:
        gap_s: seconds out of sight before it.
        depth: at the entry and at the exit.
        turn_x: where somebody who leaves by the side of entry turns round, picture widths.
        speed_m_s: walking speed.
    """

    camera: int
    enter: Side
    leave: Side
    gap_s: float
    depth: tuple[float, float]
    turn_x: float = 0.55
    speed_m_s: float = 0.95


_TURN_S = 0.7  # seconds that somebody stands who turns round


def make_walk(leg: Leg, camera: SyntheticCamera, person_id: int, start_s: float) -> Walk:
    """The walk of one leg, starting at `start_s` out of the picture."""
    metres_wide = camera.width_px / camera.px_per_m(sum(leg.depth) / 2)
    per_s = leg.speed_m_s / metres_wide  # picture widths
    start, end = _EDGE_X[leg.enter], _EDGE_X[leg.leave]
    points = [Waypoint(start_s, start, leg.depth[0])]
    if leg.enter == leg.leave:
        there_s = start_s + abs(leg.turn_x - start) / per_s
        points.append(Waypoint(there_s, leg.turn_x, leg.depth[0]))
        points.append(Waypoint(there_s + _TURN_S, leg.turn_x, leg.depth[1]))
        points.append(Waypoint(there_s + _TURN_S + abs(end - leg.turn_x) / per_s, end, leg.depth[1]))
    else:
        points.append(Waypoint(start_s + abs(end - start) / per_s, end, leg.depth[1]))
    return Walk(person_id, camera.id, tuple(points), metres_wide)


def _walk_all(legs: Sequence[Leg], cameras: Sequence[SyntheticCamera], person_id: int) -> list[Walk]:
    walks: list[Walk] = []
    now_s = 0.0
    for leg in legs:
        walk = make_walk(leg, cameras[leg.camera], person_id, now_s + leg.gap_s)
        walks.append(walk)
        now_s = walk.end_s
    return walks


_LOBBY, _STREET, _HALL = 0, 1, 2

# Each row is one person's day. Gaps between different cameras are transit times of 2 to 4 s; gaps of more than 6 s
# before the camera just left are re-entries into it.
_DEMO_LEGS: tuple[tuple[Leg, ...], ...] = (
    (
        Leg(_LOBBY, "left", "right", 0.2, (0.2, 0.2)),
        Leg(_STREET, "left", "right", 1.5, (0.7, 0.5)),
        Leg(_HALL, "left", "right", 2.0, (0.1, 0.1)),
        Leg(_LOBBY, "left", "right", 2.5, (0.6, 0.6)),
    ),
    (
        Leg(_STREET, "right", "left", 0.6, (0.1, 0.1)),
        Leg(_LOBBY, "right", "left", 1.5, (0.8, 0.8)),
        Leg(_HALL, "right", "left", 2.5, (0.9, 0.9)),
        Leg(_STREET, "right", "left", 2.2, (0.1, 0.3)),
    ),
    (
        Leg(_HALL, "left", "right", 0.4, (0.8, 0.8)),
        Leg(_HALL, "right", "left", 6.5, (0.2, 0.2)),
        Leg(_STREET, "right", "left", 2.2, (0.9, 0.9)),
        Leg(_LOBBY, "right", "left", 1.4, (0.1, 0.1)),
    ),
    (
        Leg(_STREET, "left", "left", 3.5, (0.9, 0.6)),
        Leg(_STREET, "left", "right", 6.3, (0.1, 0.1)),
        Leg(_HALL, "left", "right", 2.2, (0.6, 0.6)),
    ),
    (
        Leg(_LOBBY, "right", "left", 8.5, (0.2, 0.2)),
        Leg(_HALL, "right", "right", 2.6, (0.5, 0.5), turn_x=0.4),
        Leg(_LOBBY, "left", "right", 3.5, (0.3, 0.3)),
    ),
    (
        Leg(_HALL, "left", "right", 7.0, (0.2, 0.4)),
        Leg(_LOBBY, "left", "left", 2.6, (0.9, 0.9), turn_x=0.45),
        Leg(_HALL, "right", "left", 2.6, (0.7, 0.7)),
    ),
)


def demo_scenario() -> Scenario:
    """Six people, three cameras, 38 s: hand-overs both ways round, re-entries, crossings.

    Raises:
        SourceUnavailable: the picture the people are cut from is absent.
    """
    people = make_people(len(_DEMO_LEGS), DEMO_SEED)
    walks = [
        walk
        for person, legs in zip(people, _DEMO_LEGS, strict=True)
        for walk in _walk_all(legs, DEMO_CAMERAS, person.person_id)
    ]
    return Scenario(tuple(people), DEMO_CAMERAS, tuple(walks), DEMO_DURATION_S, DEMO_SEED)


def random_scenario(
    people: int,
    cameras: int,
    duration_s: float,
    seed: int,
    *,
    difficulty: Difficulty | None = None,
    wardrobe: Wardrobe | None = None,
) -> Scenario:
    """Any number of people wandering through a ring of any number of cameras.

    Nobody is in two cameras at once; transits take 1.5 to 6 s; one exit in four is followed by a return through the
    same door after 5.5 to 12 s.

    Args:
        difficulty: what makes people hard to know again; None: nothing.
        wardrobe: see `make_people`; None: rich with a difficulty (`Difficulty()` included), else plain.

    Raises:
        ValueError: a negative count, people without a camera, or look-alikes in plain clothes.
    """
    if people > 0 and cameras == 0:
        raise ValueError("expected at least one camera for people to walk through, got 0")
    hard = difficulty or Difficulty()
    clothes: Wardrobe = wardrobe or ("plain" if difficulty is None else "rich")
    made = make_people(people, seed, clothes, lookalikes=hard.lookalikes)
    ring = make_cameras(cameras, seed)
    if difficulty is not None:
        ring = harden(ring, difficulty, seed)
    walks: list[Walk] = []
    for person in made:
        rng = np.random.default_rng([seed, 3, person.person_id])
        crowd = Crowd(walks, hard.crowding, np.random.default_rng([seed, 12, person.person_id]))
        walks += _wander(person.person_id, ring, duration_s, rng, crowd)
    return Scenario(tuple(made), ring, tuple(walks), duration_s, seed, difficulty=difficulty)


def _wander(
    person_id: int, cameras: Sequence[SyntheticCamera], duration_s: float, rng: np.random.Generator, crowd: Crowd
) -> list[Walk]:
    walks: list[Walk] = []
    camera = int(rng.integers(len(cameras)))
    enter: Side = "left" if rng.random() < 0.5 else "right"
    now_s = float(rng.uniform(0, min(8.0, duration_s)))
    while now_s < duration_s:
        turns = rng.random() < 0.2
        leave: Side = enter if turns else _opposite(enter)
        depths = rng.random(2)
        leg = Leg(camera, enter, leave, 0.0, (float(depths[0]), float(depths[1])), speed_m_s=rng.uniform(0.8, 1.3))
        walk = crowd.join(make_walk(leg, cameras[camera], person_id, now_s))
        walks.append(walk)
        leave = "left" if walk.waypoints[-1].x < 0.5 else "right"
        if rng.random() < 0.25:
            now_s, enter = walk.end_s + float(rng.uniform(5.5, 12)), leave
        else:
            camera = (camera + (1 if leave == "right" else -1)) % len(cameras)
            now_s, enter = walk.end_s + float(rng.uniform(1.5, 6)), _opposite(leave)
    return walks


def _opposite(side: Side) -> Side:
    return "right" if side == "left" else "left"


def steps(pose: Pose, person: Person) -> float:
    """Phase of the person's legs, 0 to 1 over two steps."""
    return float(phases(np.float64(pose.walked_m), person))


def phases(walked_m: Metres, person: Person) -> Metres:
    """The same for somebody who has walked so many metres."""
    return (person.step + walked_m / (_CYCLE_M * person.height)) % 1.0
