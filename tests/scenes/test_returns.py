"""The scene of people who leave and come back."""

from collections import Counter
from itertools import pairwise

import pytest

from pipeline.scenes.returns import returning_scenario
from pipeline.scenes.scene import SceneCamera


@pytest.fixture(scope="module")
def scenario():
    return returning_scenario(3)


def stays(scenario):
    walks = {}
    for walk in scenario.walks:
        walks.setdefault(walk.person_id, []).append(walk)
    return walks


def test_by_default_there_are_more_than_a_hundred_returns_and_strangers_come_once(scenario):
    counts = Counter(walk.person_id for walk in scenario.walks)
    assert sum(count - 1 for person_id, count in counts.items() if person_id <= 8) >= 100
    assert all(counts[person_id] == 1 for person_id in range(9, 21))


def test_nobody_is_back_before_the_least_absence_is_over(scenario):
    for person_id, walks in stays(scenario).items():
        gaps = [b.start_s - a.end_s for a, b in pairwise(walks)]
        assert all(7.0 <= gap <= 34.0 for gap in gaps), person_id  # who joins somebody waits up to 8 s


def test_the_same_seed_gives_the_same_walks_and_another_one_others(scenario):
    again, other = returning_scenario(3, duration_s=340.0), returning_scenario(4)
    assert [w.waypoints for w in again.walks] == [w.waypoints for w in scenario.walks]
    assert [w.waypoints for w in other.walks] != [w.waypoints for w in scenario.walks]


@pytest.mark.parametrize(("people", "strangers"), [(0, 0), (1, 0), (0, 1)])
def test_few_people_or_none_make_a_scene_as_well(people, strangers):
    small = returning_scenario(1, people=people, strangers=strangers, duration_s=12.0)
    assert len(small.people) == people + strangers
    frame, truth = SceneCamera(small, small.cameras[0].id).render(0)
    assert frame.image.shape == (360, 640, 3) and len(truth.person_ids) <= 1


@pytest.mark.parametrize("counts", [(-1, 0), (0, -1)])
def test_negative_counts_are_refused(counts):
    with pytest.raises(ValueError, match="at least 0"):
        returning_scenario(1, people=counts[0], strangers=counts[1])
