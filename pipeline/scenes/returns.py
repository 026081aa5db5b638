"""A scene of one camera that people leave and come back to, again and again: what re-entries are measured on."""

import numpy as np

from pipeline.scenes.cameras import make_cameras
from pipeline.scenes.crowds import Crowd
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.harden import harden
from pipeline.scenes.paths import Side, Walk
from pipeline.scenes.people import make_people
from pipeline.scenes.walks import Leg, Scenario, make_walk

RETURNS_DIFFICULTY = Difficulty(motion_blur=0.2, crowding=0.1)  # a sharp camera in which some people walk side by side

_SAME_DOOR = 0.6  # share of the returns through the door by which the person left
_TURNS = 0.25  # share of the stays that end where they began
_SPEED_M_S = (0.8, 1.3)  # of walking
_START_WITHIN_S = 20.0  # the first stay of everybody who comes back begins within this


def returning_scenario(
    seed: int,
    *,
    people: int = 8,
    strangers: int = 12,
    duration_s: float = 340.0,
    absence_s: tuple[float, float] = (7.0, 25.0),
    difficulty: Difficulty = RETURNS_DIFFICULTY,
) -> Scenario:
    """People who come back until the scene ends, and strangers who pass once, whom nobody may take for them.

    With the defaults more than a hundred re-entries, two or three people in the picture at a time. Who leaves is out of
    the picture for `absence_s`, evenly drawn; the walk behind its edge makes it up to a second longer.

    Args:
        people: how many come back. strangers: how many come once.

    Raises:
        ValueError: a negative count.
        SourceUnavailable: the picture the people are cut from is absent.
    """
    if people < 0 or strangers < 0:
        raise ValueError(f"expected counts of at least 0, got {people} people and {strangers} strangers")
    made = make_people(people + strangers, seed, "rich", lookalikes=difficulty.lookalikes)
    cameras = harden(make_cameras(1, seed), difficulty, seed)
    walks: list[Walk] = []
    for number, person in enumerate(made):
        rng = np.random.default_rng([seed, 30, person.person_id])
        crowd = Crowd(walks, difficulty.crowding, np.random.default_rng([seed, 31, person.person_id]))
        now_s = float(rng.uniform(0, min(_START_WITHIN_S if number < people else 0.9 * duration_s, duration_s)))
        enter = _any_side(rng)
        while now_s < duration_s:
            leave = enter if rng.random() < _TURNS else _other(enter)
            depths = rng.random(2)
            leg = Leg(0, enter, leave, 0.0, (float(depths[0]), float(depths[1])), speed_m_s=rng.uniform(*_SPEED_M_S))
            walk = crowd.join(make_walk(leg, cameras[0], person.person_id, now_s))
            walks.append(walk)
            if number >= people:
                break
            left: Side = "left" if walk.waypoints[-1].x < 0.5 else "right"
            enter = left if rng.random() < _SAME_DOOR else _other(left)
            now_s = walk.end_s + float(rng.uniform(*absence_s))
    return Scenario(tuple(made), cameras, tuple(walks), duration_s, seed, difficulty=difficulty)


def _any_side(rng: np.random.Generator) -> Side:
    return "left" if rng.random() < 0.5 else "right"


def _other(side: Side) -> Side:
    return "right" if side == "left" else "left"
