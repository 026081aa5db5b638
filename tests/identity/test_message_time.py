import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_site import Camera

from pipeline.identity.order import Grid, Waiting, Watermark, is_past


@given(st.integers(-(10**6), 10**10), st.sampled_from([0.04, 0.1, 0.2, 0.25, 1 / 3]))
def test_every_edge_of_the_grid_belongs_to_the_cell_after_it(n, step_s):
    grid = Grid(step_s)
    assert grid.cell_of(grid.start_s(n)) == n
    assert grid.end_s(n) == grid.start_s(n + 1)


def test_sums_of_floats_fall_where_they_should():
    grid = Grid(0.2)
    assert [grid.cell_of(t) for t in (0.6, 0.1 + 0.2 + 0.3, 0.7 - 0.1, 0.5999999)] == [3, 3, 3, 3]
    assert grid.cell_of(0.59999) == 2
    assert not is_past(0.1 + 0.2, 0.3) and not is_past(0.3, 0.1 + 0.2) and is_past(0.3, 0.31)


def test_a_cell_is_complete_once_its_last_moment_is_processed():
    grid = Grid(0.2)
    assert grid.last_complete(-math.inf) is None
    assert [grid.last_complete(t) for t in (0.0, 0.19, 0.2, 0.399, 0.4)] == [-1, -1, 0, 0, 1]


def test_the_watermark_is_the_least_tick_and_waits_for_every_camera():
    mark = Watermark(["a", "b"], [], 2.0)
    mark.tick("a", 5.0)
    assert mark.value == -math.inf
    mark.tick("b", 3.0)
    assert mark.value == 3.0
    mark.tick("b", 1.0)  # an older one changes nothing
    assert mark.value == 3.0


def test_a_live_camera_is_waited_for_lateness_s_and_a_recorded_one_for_ever():
    live, recorded = Watermark(["a", "b"], ["a", "b"], 2.0), Watermark(["a", "b"], ["a"], 2.0)
    for mark in (live, recorded):
        mark.tick("b", 1.0)
        mark.tick("a", 10.0)
    assert (live.value, recorded.value) == (8.0, 1.0)


def test_a_camera_that_is_away_counts_again_from_its_next_tick():
    mark = Watermark(["a", "b"], [], 2.0)
    mark.tick("a", 10.0)
    mark.away("b")
    assert mark.value == 10.0 and not mark.all_away
    mark.tick("b", 4.0)
    assert mark.value == 10.0  # never falls
    mark.tick("a", 12.0)
    assert mark.value == 10.0
    mark.tick("b", 11.0)
    assert mark.value == 11.0


def test_with_all_away_the_newest_tick_counts():
    mark = Watermark(["a", "b"], [], 2.0)
    assert not Watermark([], [], 2.0).all_away
    mark.tick("a", 7.0)
    mark.away("a")
    mark.away("b")
    assert mark.all_away and mark.value == 7.0


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 40))), max_size=40)


@given(STEPS)
def test_the_watermark_is_what_all_cameras_together_say(steps):
    """Written out: the least over the cameras that are not away, where a live one counts with what lateness allows."""
    mark, until, away, newest, value = (
        Watermark("abc", "bd", 3.0),
        dict.fromkeys("abc", -math.inf),
        set(),
        -math.inf,
        -math.inf,
    )
    for camera, at_s in steps:
        if at_s is None:
            mark.away(camera)
            away.add(camera)
        else:
            mark.tick(camera, at_s)
            until[camera] = max(at_s, until.get(camera, -math.inf))
            newest = max(newest, at_s)
            away.discard(camera)
        times = [max(t, newest - 3.0) if c in "bd" else t for c, t in until.items() if c not in away]
        value = max(value, min(times, default=-math.inf) if times else newest)
        assert mark.value == value and mark.all_away == (not times)


def test_a_camera_that_never_speaks_costs_no_memory():
    cameras = [f"camera{n}" for n in range(10)]
    mark = Watermark(cameras, cameras, 2.0)
    tracemalloc.start()
    try:
        for second in range(3000):
            for camera in cameras[1:]:
                mark.tick(camera, second)
            assert mark.value == second - 2.0
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_messages_come_out_by_time_camera_epoch_and_number():
    a, b = Camera("a"), Camera("b")
    waiting = Waiting()
    messages = [b.tick(1.0), a.tick(1.0), a.tick(1.0), b.tick(0.5), a.tick(1.2)]
    for n, message in enumerate(messages):
        waiting.push(str(n), message, False)
    assert waiting.first_s() == 0.5 and len(waiting) == 5
    assert [x.delivery_id for x in waiting.pop_until(Grid(0.2), 5)] == ["3", "1", "2", "0"]
    assert waiting.first_s() == pytest.approx(1.2)
