import numpy as np
import pytest

from pipeline.scoring.times import NOMINAL_FPS, FrameTimes, site_times


def seconds(times, *frames):
    return times.seconds(np.array(frames, np.int64)).tolist()


def test_frame_n_has_the_stamp_at_n_minus_one():
    assert seconds(FrameTimes(np.array([5.0, 5.1, 5.3])), 1, 2, 3) == [5.0, 5.1, 5.3]


def test_beyond_the_stamps_the_last_step_goes_on():
    # the last step is 0.2 s: frame 5 is two steps after 5.3 s
    assert seconds(FrameTimes(np.array([5.0, 5.1, 5.3])), 5) == pytest.approx([5.7])


def test_a_single_stamp_goes_on_at_the_rate():
    assert seconds(FrameTimes(np.array([5.0]), fps=10.0), 1, 3) == pytest.approx([5.0, 5.2])


def test_stamps_that_stand_still_at_the_end_go_on_at_the_rate():
    assert seconds(FrameTimes(np.array([5.0, 5.0]), fps=4.0), 3) == pytest.approx([5.25])


def test_a_rate_alone_counts_from_the_start():
    assert seconds(FrameTimes(fps=4.0, start_s=100.0), 1, 5) == [100.0, 101.0]


def test_no_frames_have_no_times():
    assert seconds(FrameTimes(fps=4.0)) == []
    assert seconds(FrameTimes(np.array([1.0]))) == []


def test_without_anything_frames_count_at_the_nominal_rate_and_are_not_known():
    times = site_times(["a"], {}, {})["a"]
    assert not times.is_known
    assert "neither" in times.doubt
    assert seconds(times, 1, 1 + int(NOMINAL_FPS)) == [0.0, 1.0]


@pytest.mark.parametrize("stamps", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf])])
def test_stamps_that_are_no_numbers_fall_back_to_the_rate(stamps):
    times = site_times(["a"], {"a": stamps}, {"a": 10.0})["a"]
    assert times.stamps_s is None
    assert times.is_known
    assert times.doubt is None


@pytest.mark.parametrize("fps", [0.0, -5.0, float("nan"), float("inf"), None])
def test_a_rate_not_above_zero_is_no_rate(fps):
    assert not site_times(["a"], {}, {"a": fps})["a"].is_known


def test_a_camera_with_a_rate_only_begins_with_the_site_and_says_so():
    times = site_times(["a", "b"], {"a": np.array([50.0, 50.1])}, {"b": 10.0})
    assert times["b"].second(1) == 50.0
    assert "only its frame rate" in times["b"].doubt
    assert times["a"].doubt is None


@pytest.mark.parametrize(
    "times",
    [FrameTimes(fps=7.0, start_s=3.0), FrameTimes(np.array([1.0, 1.1, 1.5, 1.6])), FrameTimes(np.array([2.0]))],
)
def test_the_frame_of_a_frames_time_is_that_frame(times):
    assert [times.frame_at(times.second(frame)) for frame in range(1, 9)] == list(range(1, 9))


def test_a_time_before_the_beginning_is_the_first_frame():
    assert FrameTimes(fps=7.0, start_s=3.0).frame_at(0.0) == 1
    assert FrameTimes(np.array([3.0, 4.0])).frame_at(0.0) == 1
