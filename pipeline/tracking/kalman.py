"""A constant-velocity Kalman model of boxes in real seconds, for all tracks at once.

The state of a box is centre, width and height with their velocities. The four axes do not interact (F, Q, H and R are
block-diagonal), so a track is four independent filters of two states: mean (N, 4, 2) and covariance (N, 4, 2, 2)
instead of (N, 8) and (N, 8, 8). It equals `filterpy.kalman.KalmanFilter` with the eight-state matrices, as a test
shows.

Noise is stated per second and in shares of the box's height, so that it neither depends on the frame rate nor on how
far away the person is.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from filterpy.common import Q_continuous_white_noise

from pipeline.types import FloatArray

StateArray: TypeAlias = npt.NDArray[np.float64]
PerAxis: TypeAlias = tuple[float, float, float, float]

AXES = 4  # cx, cy, w, h
SMALLEST_PX = 1.0  # a predicted box never shrinks below this


@dataclass(frozen=True, slots=True)
class MotionNoise:
    """How freely boxes move, per axis (cx, cy, w, h), in shares of the height of the box.

    The defaults were measured on MOT17 (FRCNN, at 30 and 10 frames a second) and on YOLO11n's detections of three other
    clips; `docs/tracking.md` has the table. They are stiff: a track that is lost for a second keeps a usable direction.

    Attributes:
        measured: standard deviation of a measured centre and size.
        acceleration: square root of the spectral density of the acceleration, 1/s^1.5.
        jitter: square root of the spectral density of a random walk of the position itself, 1/s^0.5.
        first_velocity: standard deviation of the velocity of a new box, 1/s.
        doubt: a detection of confidence c has `measured` times 1 + doubt (1 - c): weak boxes are rough boxes.
    """

    measured: PerAxis = (0.05, 0.05, 0.05, 0.05)
    acceleration: PerAxis = (0.3, 0.3, 0.1, 0.1)
    jitter: PerAxis = (0.1, 0.1, 0.1, 0.1)
    first_velocity: PerAxis = (0.5, 0.5, 0.5, 0.5)
    doubt: float = 1.0


@dataclass(frozen=True, slots=True)
class BoxKalman:
    """Starts, predicts and corrects states; holds no state of its own. N may be 0 everywhere."""

    noise: MotionNoise = field(default_factory=MotionNoise)

    def start(self, xyxy: FloatArray) -> tuple[StateArray, StateArray]:
        """Mean (N, 4, 2) and covariance (N, 4, 2, 2) of boxes (N, 4) px seen for the first time."""
        boxes = xyxy_to_cxcywh(xyxy)
        height = np.maximum(boxes[:, 3:4], SMALLEST_PX)
        mean = np.stack([boxes, np.zeros_like(boxes)], axis=-1)
        covariance = np.zeros((len(boxes), AXES, 2, 2))
        covariance[..., 0, 0] = (2 * np.array(self.noise.measured) * height) ** 2
        covariance[..., 1, 1] = (np.array(self.noise.first_velocity) * height) ** 2
        return mean, covariance

    def predict(self, mean: StateArray, covariance: StateArray, dt_s: float) -> tuple[StateArray, StateArray]:
        """The states `dt_s` >= 0 seconds later: x = F x, P = F P F' + Q."""
        transition = np.array([[1.0, dt_s], [0.0, 1.0]])
        height = np.maximum(mean[:, 3:4, 0], SMALLEST_PX)
        return (
            mean @ transition.T,
            transition @ covariance @ transition.T + self.process_noise(height, dt_s),
        )

    def process_noise(self, height_px: StateArray, dt_s: float) -> StateArray:
        """Q (N, 4, 2, 2) for heights (N, 1) px. Two steps of dt/2 add up to one of dt."""
        drift = Q_continuous_white_noise(dim=2, dt=dt_s, spectral_density=1.0)
        walk = np.array([[dt_s, 0.0], [0.0, 0.0]])
        speed_up = (np.array(self.noise.acceleration) * height_px) ** 2  # (N, 4)
        jitter = (np.array(self.noise.jitter) * height_px) ** 2
        return speed_up[..., None, None] * drift + jitter[..., None, None] * walk

    def measurement_noise(self, height_px: StateArray, confidence: FloatArray) -> StateArray:
        """Variances (N, 4) of the measured centre and size for heights (N, 1) px."""
        distrust = 1.0 + self.noise.doubt * (1.0 - confidence.astype(np.float64))[:, None]
        return (np.array(self.noise.measured) * height_px * distrust) ** 2

    def correct(
        self, mean: StateArray, covariance: StateArray, xyxy: FloatArray, confidence: FloatArray
    ) -> tuple[StateArray, StateArray]:
        """The states after boxes (N, 4) px with confidences (N,) were seen, one each.

        Joseph's form P = (I - K H) P (I - K H)' + K R K', as filterpy has it: stays symmetric and positive.
        """
        height = np.maximum(mean[:, 3:4, 0], SMALLEST_PX)
        variance = self.measurement_noise(height, confidence)  # R, (N, 4)
        gain = covariance[..., 0] / (covariance[..., 0, 0] + variance)[..., None]  # K, (N, 4, 2)
        innovation = xyxy_to_cxcywh(xyxy) - mean[..., 0]  # y, (N, 4)
        keep = np.broadcast_to(np.eye(2), covariance.shape).copy()  # I - K H
        keep[..., 0] -= gain
        corrected = keep @ covariance @ np.swapaxes(keep, -1, -2)
        corrected += variance[..., None, None] * gain[..., :, None] * gain[..., None, :]
        return mean + gain * innovation[..., None], corrected


def xyxy_to_cxcywh(xyxy: FloatArray) -> StateArray:
    """Corners (N, 4) to centre and size (N, 4), as float64."""
    corners = xyxy.astype(np.float64)
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def state_boxes(mean: StateArray) -> FloatArray:
    """The boxes (N, 4) xyxy px of states (N, 4, 2)."""
    centre, size = mean[:, :2, 0], np.maximum(mean[:, 2:, 0], SMALLEST_PX)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
