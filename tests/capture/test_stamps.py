import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.capture.stamps import LiveClock, PresentationClock

NOW_S = 1_700_000_000.0


def live_times(stamps: list[float | None], arrivals: list[float]) -> tuple[list[float], list[bool]]:
    clock = LiveClock()
    times, jumps = zip(*(clock.time_of(s, a) for s, a in zip(stamps, arrivals, strict=True)), strict=True)
    return list(times), list(jumps)


def test_jitter_of_the_network_does_not_reach_the_capture_times() -> None:
    stamps = [0.04 * i for i in range(250)]
    jitter = np.random.default_rng(1).exponential(0.02, 250)
    times, jumps = live_times(list(stamps), [NOW_S + s + j for s, j in zip(stamps, jitter, strict=True)])
    steps = np.diff(times[25:])
    assert not any(jumps)
    assert np.abs(steps - 0.04).max() < 0.005
    assert np.abs(np.diff(jitter)).max() > 0.05


def test_a_picture_that_arrives_late_keeps_the_time_of_its_stamp() -> None:
    stamps = [0.04 * i for i in range(100)]
    arrivals = [NOW_S + s for s in stamps]
    arrivals[50:60] = [arrivals[60]] * 10
    times, jumps = live_times(list(stamps), arrivals)
    assert not any(jumps)
    assert times[50] == pytest.approx(NOW_S + stamps[50], abs=0.02)


@pytest.mark.parametrize("jump_s", [60.0, -60.0, 1.5, -1.5])
def test_a_jump_of_the_stamps_is_reported_once_and_the_arrival_clock_goes_on(jump_s: float) -> None:
    stamps = [100 + 0.04 * i + (jump_s if i >= 50 else 0) for i in range(100)]
    times, jumps = live_times(list(stamps), [NOW_S + 0.04 * i for i in range(100)])
    assert [i for i, jumped in enumerate(jumps) if jumped] == [50]
    assert times == pytest.approx([NOW_S + 0.04 * i for i in range(100)], abs=0.01)


def test_constant_stamps_give_arrival_times_without_a_jump() -> None:
    arrivals = [NOW_S + 0.04 * i for i in range(500)]
    times, jumps = live_times([5.0] * 500, arrivals)
    assert times == pytest.approx(arrivals, abs=1e-6)
    assert not any(jumps)


def test_stamps_that_stood_still_and_go_on_do_not_lead_back_in_time() -> None:
    stamps = [0.04 * min(i, 50) if i < 150 else 0.04 * (i - 100) for i in range(300)]
    arrivals = [NOW_S + 0.04 * i for i in range(300)]
    times, jumps = live_times(list(stamps), arrivals)
    assert times == pytest.approx(arrivals, abs=0.01)
    assert not any(jumps)


def test_missing_stamps_give_arrival_times() -> None:
    times, jumps = live_times([None, None, None], [NOW_S, NOW_S + 1, NOW_S + 2])
    assert times == [NOW_S, NOW_S + 1, NOW_S + 2]
    assert not any(jumps)


def test_a_camera_clock_that_runs_slow_is_followed() -> None:
    stamps = [0.04 * i for i in range(5000)]
    arrivals = [NOW_S + 1.04 * s for s in stamps]
    times, jumps = live_times(list(stamps), arrivals)
    assert not any(jumps)
    assert max(a - t for t, a in zip(times, arrivals, strict=True)) < 0.25


@given(
    st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6, allow_nan=False), st.floats(0, 10)), min_size=1, max_size=50)
)
def test_live_times_rise_within_an_epoch_and_stay_near_arrival_whatever_the_stamps(
    steps: list[tuple[float | None, float]],
) -> None:
    clock, now_s, last_s = LiveClock(), NOW_S, float("-inf")
    for stamp_s, wait_s in steps:
        now_s += wait_s
        captured_s, jumped = clock.time_of(stamp_s, now_s)
        assert jumped or captured_s > last_s
        assert now_s - 2.1 <= captured_s <= now_s + 1.1
        last_s = captured_s


def test_file_times_are_start_plus_stamp_relative_to_the_first() -> None:
    clock = PresentationClock(1000.0, 25.0)
    assert [clock.time_of(s) for s in (7.0, 7.1, 7.5)] == pytest.approx([1000.0, 1000.1, 1000.5])
    assert clock.repaired == 0


def test_missing_and_falling_file_stamps_take_the_average_rate() -> None:
    clock = PresentationClock(0.0, 10.0)
    times = [clock.time_of(s) for s in (None, None, 3.0, 3.1, 3.1, 0.0, 3.5)]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7])
    assert clock.repaired == 4


@given(st.lists(st.none() | st.floats(-1e5, 1e5, allow_nan=False), min_size=1, max_size=50))
def test_file_times_always_rise(stamps: list[float | None]) -> None:
    clock = PresentationClock(0.0, 25.0)
    times = [clock.time_of(stamp) for stamp in stamps]
    assert (np.diff(times) > 0).all()
