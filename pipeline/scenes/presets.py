"""Scenes of many people, easy and hard, under names that commands and benchmarks use."""

from pipeline.scenes.difficulty import EASY, HARD
from pipeline.scenes.walks import Scenario, random_scenario


def easy_scenario(people: int = 24, cameras: int = 3, duration_s: float = 60.0, seed: int = 1) -> Scenario:
    """Many people in rich clothes before ordinary cameras, nothing in the way."""
    return random_scenario(people, cameras, duration_s, seed, difficulty=EASY)


def hard_scenario(people: int = 24, cameras: int = 3, duration_s: float = 60.0, seed: int = 1) -> Scenario:
    """The same people's wardrobe with every difficulty at once."""
    return random_scenario(people, cameras, duration_s, seed, difficulty=HARD)
