"""The vectorised Kalman model against filterpy's own filter."""

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import block_diag

from pipeline.tracking.kalman import BoxKalman, MotionNoise, centre_and_size, state_corners

NOISE = MotionNoise(
    measured=(0.04, 0.05, 0.06, 0.07),
    acceleration=(0.5, 0.4, 0.2, 0.1),
    jitter=(0.1, 0.2, 0.05, 0.02),
    first_velocity=(0.5, 0.6, 0.2, 0.3),
    doubt=1.5,
)


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """Corners (4, count)."""
    low = rng.uniform(0, 500, (2, count))
    return np.concatenate([low, low + rng.uniform(10, 200, (2, count))]).astype(np.float32)


def corners(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4).T


def covariance_of(states: np.ndarray, track: int) -> np.ndarray:
    """8 x 8, as the eight-state filter has it."""
    pp, pv, vv = states[2:, :, track]
    return block_diag(*np.array([[pp, pv], [pv, vv]]).transpose(2, 0, 1))


def eight_state_filter(box: np.ndarray, noise: MotionNoise) -> KalmanFilter:
    """filterpy's filter with interleaved states cx, vx, cy, vy, w, vw, h, vh and full 8 x 8 matrices."""
    full = KalmanFilter(dim_x=8, dim_z=4)
    measured = centre_and_size(box)
    full.x = np.stack([measured, np.zeros(4)], axis=1).reshape(8, 1)
    height = measured[3]
    position = (2 * np.array(noise.measured) * height) ** 2
    velocity = (np.array(noise.first_velocity) * height) ** 2
    full.P = np.diag(np.stack([position, velocity], axis=1).reshape(8))
    full.H = np.kron(np.eye(4), [[1.0, 0.0]])
    return full


def predict_with_filterpy(full: KalmanFilter, noise: MotionNoise, dt: float) -> None:
    height = max(full.x[6, 0], 1.0)
    drift = Q_continuous_white_noise(dim=2, dt=dt)
    blocks = [
        (a * height) ** 2 * drift + np.diag([(j * height) ** 2 * dt, 0.0])
        for a, j in zip(noise.acceleration, noise.jitter, strict=True)
    ]
    full.predict(F=np.kron(np.eye(4), [[1.0, dt], [0.0, 1.0]]), Q=block_diag(*blocks))


def update_with_filterpy(full: KalmanFilter, noise: MotionNoise, box: np.ndarray, confidence: float) -> None:
    scale = np.array(noise.measured) * max(full.x[6, 0], 1.0) * (1 + noise.doubt * (1 - confidence))
    full.update(centre_and_size(box).reshape(4, 1), R=np.diag(scale**2))


@pytest.mark.parametrize("seed", range(5))
def test_every_track_equals_filterpys_filter_over_uneven_steps(seed):
    rng = np.random.default_rng(seed)
    count = 6
    kalman = BoxKalman(NOISE)
    first = boxes_of(rng, count)
    states = kalman.start(first)
    references = [eight_state_filter(box, NOISE) for box in first.T]
    for _ in range(40):
        dt = float(rng.choice([0.0, 0.033, 0.04, 0.2, 1.7]))
        states = kalman.predict(states, dt)
        seen = np.flatnonzero(rng.random(count) < 0.7)
        boxes = (first[:, seen] + rng.normal(0, 5, (4, len(seen)))).astype(np.float32)
        confidence = rng.random(len(seen)).astype(np.float32)
        states[..., seen] = kalman.correct(states[..., seen], boxes, confidence)
        for reference in references:
            predict_with_filterpy(reference, NOISE, dt)
        for i, track in enumerate(seen):
            update_with_filterpy(references[track], NOISE, boxes[:, i], float(confidence[i]))
    for track, reference in enumerate(references):
        np.testing.assert_allclose(states[:2, :, track].T.reshape(8), reference.x[:, 0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(covariance_of(states, track), reference.P, rtol=1e-9, atol=1e-9)


def test_no_tracks_give_no_states():
    kalman = BoxKalman()
    states = kalman.predict(kalman.start(corners()), 0.1)
    states = kalman.correct(states, corners(), np.zeros(0, np.float32))
    assert states.shape == (5, 4, 0)
    assert state_corners(states[0]).shape == (4, 0)


def test_no_time_changes_nothing():
    kalman = BoxKalman()
    states = kalman.start(corners((10, 20, 50, 140)))
    np.testing.assert_array_equal(kalman.predict(states, 0.0), states)


def test_prediction_and_correction_leave_their_input_alone():
    kalman = BoxKalman()
    states = kalman.start(corners((10, 20, 50, 140)))
    before = states.copy()
    kalman.predict(states, 0.1)
    kalman.correct(states, corners((12, 20, 52, 140)), np.ones(1, np.float32))
    np.testing.assert_array_equal(states, before)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1), st.floats(-500, 500)), max_size=30))
def test_the_covariance_stays_positive(steps):
    kalman = BoxKalman()
    states = kalman.start(corners((100, 100, 140, 220)))
    for dt_s, confidence, shift_px in steps:
        states = kalman.predict(states, dt_s)
        box = corners((100 + shift_px, 100, 140 + shift_px, 220))
        states = kalman.correct(states, box, np.full(1, confidence, np.float32))
    pp, pv, vv = states[2:]
    assert (pp > 0).all()
    assert (vv > 0).all()
    assert (pp * vv > pv * pv).all()


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (4, 3), elements=st.floats(-2000, 2000, width=32)))
def test_corners_survive_the_way_to_centre_and_size_and_back(box):
    box[2:] = np.maximum(box[2:], box[:2] + 1)
    np.testing.assert_allclose(state_corners(centre_and_size(box)), box, atol=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 2.0), st.floats(0.001, 2.0))
def test_two_steps_are_as_uncertain_as_one_of_the_same_length(first_s, second_s):
    kalman = BoxKalman(NOISE)
    height_px = np.array([100.0, 30.0])
    pp, pv, vv = kalman.process_noise(height_px, first_s)
    moved = np.stack([pp + 2 * second_s * pv + second_s**2 * vv, pv + second_s * vv, vv])  # F Q F'
    both = moved + kalman.process_noise(height_px, second_s)
    np.testing.assert_allclose(both, kalman.process_noise(height_px, first_s + second_s), rtol=1e-9)


@pytest.mark.parametrize("frames_per_s", [5, 10, 25])
def test_velocity_is_found_in_pixels_per_second_at_any_frame_rate(frames_per_s):
    kalman = BoxKalman()
    box = corners((100, 100, 140, 220))
    states = kalman.start(box)
    for i in range(1, 3 * frames_per_s + 1):
        moved = box + np.array([[60], [0], [60], [0]], np.float32) * np.float32(i / frames_per_s)
        states = kalman.correct(kalman.predict(states, 1 / frames_per_s), moved, np.ones(1, np.float32))
    velocity = states[1, :, 0]
    assert velocity[0] == pytest.approx(60, abs=3)
    assert velocity[1] == pytest.approx(0, abs=1)


def test_a_doubtful_detection_moves_the_state_less():
    kalman = BoxKalman()
    states = kalman.predict(kalman.start(corners((100, 100, 140, 220))), 0.1)
    beside = corners((110, 100, 150, 220))
    sure = kalman.correct(states, beside, np.ones(1, np.float32))
    unsure = kalman.correct(states, beside, np.full(1, 0.1, np.float32))
    assert states[0, 0, 0] < unsure[0, 0, 0] < sure[0, 0, 0] < 130


def test_a_predicted_box_never_turns_inside_out():
    x1, y1, x2, y2 = state_corners(np.array([[100.0], [100.0], [-5.0], [-7.0]]))[:, 0]
    assert x2 > x1
    assert y2 > y1
