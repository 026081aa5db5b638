"""Boxes go in frame by frame and come out track by track."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking.history import SORT_EVERY, TrackHistory


def box_at(frame: int, track: int) -> np.ndarray:
    return np.array([frame + 100 * track, 10, frame + 100 * track + 40, 110], np.float32)


def add(history: TrackHistory, frame: int, tracks: list[int], confidence: float = 0.5) -> None:
    boxes = np.array([box_at(frame, track) for track in tracks], np.float32).reshape(-1, 4)
    history.add(np.array(tracks, np.int64), boxes, np.full(len(tracks), confidence, np.float32))


def serials(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_a_track_of_one_box_is_that_box():
    history = TrackHistory()
    history.start(serials(7))
    history.add_frame(3, 12.5)
    add(history, 3, [7])
    (path,) = history.take(serials(7))
    assert path.frame_index.tolist() == [3]
    assert path.captured_at_s.tolist() == [12.5]
    np.testing.assert_array_equal(path.xyxy, [box_at(3, 7)])
    assert path.confidence.tolist() == [0.5]


def test_no_track_gives_no_path():
    assert TrackHistory().take(serials()) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 3 * SORT_EVERY))
def test_every_track_gets_its_own_boxes_back_in_order_of_time(seed, frames):
    rng = np.random.default_rng(seed)
    history = TrackHistory()
    seen: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for frame in range(frames):
        history.add_frame(frame, frame * 0.04)
        present = [track for track in seen if rng.random() < 0.8]
        history.start(serials(*(track for track in present if not seen[track])))
        rng.shuffle(present)
        add(history, frame, present)
        for track in present:
            seen[track].append(frame)
    opened = [track for track in seen if seen[track]]
    for track, path in zip(opened, history.take(serials(*opened)), strict=True):
        assert path.frame_index.tolist() == list(range(seen[track][0], seen[track][-1] + 1))
        assert path.frame_index[path.confidence > 0].tolist() == seen[track]
        np.testing.assert_allclose(path.xyxy, [box_at(frame, track) for frame in path.frame_index], rtol=1e-6)


def test_a_gap_is_filled_on_a_straight_line_in_time_not_in_frames():
    history = TrackHistory()
    history.start(serials(1))
    for frame, time_s in enumerate([0.0, 0.1, 0.4, 1.0]):
        history.add_frame(frame, time_s)
        if frame in (0, 3):
            box = np.array([[100 * time_s, 0, 100 * time_s + 10, 20]], np.float32)
            history.add(serials(1), box, np.ones(1, np.float32))
    (path,) = history.take(serials(1))
    np.testing.assert_allclose(path.xyxy[:, 0], [0, 10, 40, 100])
    assert path.confidence.tolist() == [1, 0, 0, 1]


def test_a_dropped_track_leaves_nothing_and_the_others_stay():
    history = TrackHistory()
    history.start(serials(1, 2))
    history.add_frame(0, 0.0)
    add(history, 0, [1, 2])
    history.drop(serials(1))
    history.add_frame(1, 0.1)
    add(history, 1, [2])
    (path,) = history.take(serials(2))
    assert path.frame_index.tolist() == [0, 1]
    with pytest.raises(KeyError):
        history.take(serials(1))


def test_a_path_outlives_the_end_of_another_track():
    history = TrackHistory()
    history.start(serials(1, 2))
    for frame in range(3 * SORT_EVERY):
        history.add_frame(frame, frame * 0.1)
        add(history, frame, [1, 2] if frame < SORT_EVERY + 5 else [2])
        if frame == SORT_EVERY + 5:
            assert len(history.take(serials(1))[0].frame_index) == SORT_EVERY + 5
    assert len(history.take(serials(2))[0].frame_index) == 3 * SORT_EVERY


def test_frames_that_no_open_track_needs_are_forgotten():
    history = TrackHistory()
    for frame in range(10 * SORT_EVERY):
        history.add_frame(frame, frame * 0.1)
    assert len(history._times_s) <= SORT_EVERY
    history.start(serials(1))
    add(history, frame, [1])
    for frame in range(10 * SORT_EVERY, 12 * SORT_EVERY):
        history.add_frame(frame, frame * 0.1)
    assert 2 * SORT_EVERY <= len(history._times_s) <= 3 * SORT_EVERY
    add(history, frame, [1])
    assert len(history.take(serials(1))[0].frame_index) == 2 * SORT_EVERY + 1


def opened(frames: int, missing: tuple[int, ...] = ()) -> TrackHistory:
    """A track with serial 7 and a box in every frame, ten a second, but the missing ones."""
    history = TrackHistory()
    history.start(serials(7))
    for frame in range(frames):
        history.add_frame(frame, frame * 0.1)
        if frame not in missing:
            add(history, frame, [7])
    return history


def test_a_split_path_ends_at_the_moment_and_its_rest_is_another_tracks():
    history = opened(2 * SORT_EVERY, missing=(31, 32))
    path, first_s = history.split(7, 8, after_s=3.05)
    assert path.frame_index.tolist() == list(range(31))
    assert first_s == pytest.approx(3.3)
    history.add_frame(2 * SORT_EVERY, 12.8)
    add(history, 2 * SORT_EVERY, [8])
    (rest,) = history.take(serials(8))
    assert rest.frame_index.tolist() == list(range(33, 2 * SORT_EVERY + 1))
    np.testing.assert_array_equal(rest.xyxy[0], box_at(33, 7))


@pytest.mark.parametrize("after_s", [-1.0, 0.9, 5.0])
def test_nothing_is_split_where_there_is_no_box_before_or_none_after(after_s):
    history = opened(10)
    assert history.split(7, 8, after_s) is None
    (path,) = history.take(serials(7))
    assert path.frame_index.tolist() == list(range(10))
