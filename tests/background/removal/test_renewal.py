import numpy as np
import pytest

from pipeline.background.removal.renewal import ByAppearance, ByPolling
from pipeline.background.removal.tracks import Seen

BOX = np.array([0, 0, 10, 20], np.float32)
NOBODY: frozenset[int] = frozenset()


def seen(*pairs: tuple[int, int]) -> list[Seen]:
    """(track, identity) pairs as people."""
    return [Seen(track_id, BOX, identity_id) for track_id, identity_id in pairs]


def test_whoever_appears_is_due_at_once_and_only_once() -> None:
    rule = ByAppearance()
    assert rule.due(0.0, seen((1, 0), (2, 5)), NOBODY) == {1, 2}
    assert rule.due(0.1, seen((1, 0), (2, 5), (3, 0)), frozenset({1, 2})) == {3}
    assert rule.due(0.2, [], frozenset({1})) == set()


def test_polling_takes_a_first_entry_at_once_and_a_return_at_the_next_look() -> None:
    rule = ByPolling(5.0)
    assert rule.due(0.0, seen((1, 11)), NOBODY) == {1}
    assert rule.due(1.0, seen((2, 12)), frozenset({1})) == {2}  # a first entry between two looks
    assert rule.due(2.0, seen((3, 11)), NOBODY) == set()  # a return
    assert rule.due(4.9, seen((3, 11)), NOBODY) == set()
    assert rule.due(5.0, seen((3, 11)), NOBODY) == {3}


def test_a_look_takes_everybody_afresh() -> None:
    rule = ByPolling(1.0)
    rule.due(0.0, seen((1, 11)), NOBODY)
    assert rule.due(1.0, seen((1, 11), (2, 12)), frozenset({1})) == {1, 2}


def test_looks_are_closer_together_while_somebody_known_is_missing() -> None:
    rule = ByPolling(5.0, 1.0)
    rule.due(0.0, seen((1, 11)), NOBODY)
    assert rule.due(1.5, seen((1, 11)), frozenset({1})) == set()  # nobody is missing: no look before 5 s
    assert rule.due(2.0, seen((2, 11)), NOBODY) == {2}  # missing, and the last look is 2 s old
    assert rule.due(2.5, seen((3, 11)), NOBODY) == set()
    assert rule.due(3.0, seen((3, 11)), NOBODY) == {3}


def test_whom_nobody_knows_waits_for_a_look() -> None:
    rule = ByPolling(5.0)
    rule.due(0.0, [], NOBODY)
    assert rule.due(1.0, seen((1, 0)), NOBODY) == set()


@pytest.mark.parametrize("times", [(0.0, None), (-1.0, None), (1.0, 0.0)])
def test_looks_need_time_between_them(times: tuple[float, float | None]) -> None:
    with pytest.raises(ValueError, match="expected times above 0"):
        ByPolling(*times)
