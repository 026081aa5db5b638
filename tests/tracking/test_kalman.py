"""The vectorised Kalman model against filterpy's own filter."""

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag

from pipeline.tracking.kalman import BoxKalman, MotionNoise, state_boxes, xyxy_to_cxcywh

NOISE = MotionNoise(
    measured=(0.04, 0.05, 0.06, 0.07),
    acceleration=(0.5, 0.4, 0.2, 0.1),
    jitter=(0.1, 0.2, 0.05, 0.02),
    first_velocity=(0.5, 0.6, 0.2, 0.3),
    doubt=1.5,
)


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 500, (count, 2))
    return np.concatenate([low, low + rng.uniform(10, 200, (count, 2))], axis=1).astype(np.float32)


def eight_state_filter(box: np.ndarray, noise: MotionNoise) -> KalmanFilter:
    """filterpy's filter with interleaved states cx, vx, cy, vy, w, vw, h, vh and full 8 x 8 matrices."""
    full = KalmanFilter(dim_x=8, dim_z=4)
    measured = xyxy_to_cxcywh(box[None])[0]
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
    full.update(xyxy_to_cxcywh(box[None])[0].reshape(4, 1), R=np.diag(scale**2))


@pytest.mark.parametrize("seed", range(5))
def test_every_track_equals_filterpys_filter_over_uneven_steps(seed):
    rng = np.random.default_rng(seed)
    count = 6
    kalman = BoxKalman(NOISE)
    first = boxes_of(rng, count)
    mean, covariance = kalman.start(first)
    references = [eight_state_filter(box, NOISE) for box in first]
    for _ in range(40):
        dt = float(rng.choice([0.0, 0.033, 0.04, 0.2, 1.7]))
        mean, covariance = kalman.predict(mean, covariance, dt)
        seen = np.flatnonzero(rng.random(count) < 0.7)
        boxes = (first[seen] + rng.normal(0, 5, (len(seen), 4))).astype(np.float32)
        confidence = rng.random(len(seen)).astype(np.float32)
        mean[seen], covariance[seen] = kalman.correct(mean[seen], covariance[seen], boxes, confidence)
        for reference in references:
            predict_with_filterpy(reference, NOISE, dt)
        for i, row in enumerate(seen):
            update_with_filterpy(references[row], NOISE, boxes[i], float(confidence[i]))
    for row, reference in enumerate(references):
        np.testing.assert_allclose(mean[row].reshape(8), reference.x[:, 0], rtol=1e-9, atol=1e-9)
        blocks = block_diag(*covariance[row])
        np.testing.assert_allclose(blocks, reference.P, rtol=1e-9, atol=1e-9)


def test_no_tracks_give_no_states():
    kalman = BoxKalman()
    mean, covariance = kalman.start(np.zeros((0, 4), np.float32))
    mean, covariance = kalman.predict(mean, covariance, 0.1)
    mean, covariance = kalman.correct(mean, covariance, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert mean.shape == (0, 4, 2)
    assert covariance.shape == (0, 4, 2, 2)
    assert state_boxes(mean).shape == (0, 4)


def test_no_time_changes_nothing():
    kalman = BoxKalman()
    mean, covariance = kalman.start(np.array([[10, 20, 50, 140]], np.float32))
    later, uncertainty = kalman.predict(mean, covariance, 0.0)
    np.testing.assert_array_equal(later, mean)
    np.testing.assert_array_equal(uncertainty, covariance)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 2.0), st.floats(0.001, 2.0))
def test_two_steps_are_as_uncertain_as_one_of_the_same_length(first_s, second_s):
    kalman = BoxKalman(NOISE)
    height = np.array([[100.0]])
    step = np.array([[1.0, second_s], [0.0, 1.0]])
    both = step @ kalman.process_noise(height, first_s) @ step.T + kalman.process_noise(height, second_s)
    np.testing.assert_allclose(both, kalman.process_noise(height, first_s + second_s), rtol=1e-9)


@pytest.mark.parametrize("frames_per_s", [5, 10, 25])
def test_velocity_is_found_in_pixels_per_second_at_any_frame_rate(frames_per_s):
    kalman = BoxKalman()
    box = np.array([[100, 100, 140, 220]], np.float32)
    mean, covariance = kalman.start(box)
    for i in range(1, 3 * frames_per_s + 1):
        mean, covariance = kalman.predict(mean, covariance, 1 / frames_per_s)
        moved = box + np.array([60, 0, 60, 0], np.float32) * np.float32(i / frames_per_s)
        mean, covariance = kalman.correct(mean, covariance, moved, np.ones(1, np.float32))
    assert mean[0, 0, 1] == pytest.approx(60, abs=3)
    assert mean[0, 1, 1] == pytest.approx(0, abs=1)


def test_a_doubtful_detection_moves_the_state_less():
    kalman = BoxKalman()
    mean, covariance = kalman.predict(*kalman.start(np.array([[100, 100, 140, 220]], np.float32)), 0.1)
    beside = np.array([[110, 100, 150, 220]], np.float32)
    sure, _ = kalman.correct(mean, covariance, beside, np.ones(1, np.float32))
    unsure, _ = kalman.correct(mean, covariance, beside, np.full(1, 0.1, np.float32))
    assert mean[0, 0, 0] < unsure[0, 0, 0] < sure[0, 0, 0] < 130


def test_a_predicted_box_never_turns_inside_out():
    mean = np.zeros((1, 4, 2))
    mean[0, :, 0] = [100, 100, -5, -7]
    x1, y1, x2, y2 = state_boxes(mean)[0]
    assert x2 > x1
    assert y2 > y1
