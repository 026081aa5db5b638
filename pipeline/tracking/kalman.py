"""A constant-velocity Kalman model of boxes in real seconds, for all tracks at once.

The state of a box is centre, width and height with their velocities. The four axes do not interact (F, Q, H and R are
block-diagonal), so a track is four independent filters of two states, and every matrix product of the textbook is
written out for 2 x 2: no products, no inverse, one array operation for all tracks and axes. It equals
`filterpy.kalman.KalmanFilter` with the eight-state matrices, as a test shows.

Layout: states (5, 4, N) float64. First index: position px, velocity px/s, and the covariance's three different entries
pp px², pv px²/s, vv px²/s²; second: the axes cx, cy, w, h; last: the tracks, side by side in memory.

Noise is stated per second and in shares of the box's height, so that it neither depends on the frame rate nor on how
far away the person is.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from filterpy.common import Q_continuous_white_noise

from pipeline.types import FloatArray

StateArray: TypeAlias = npt.NDArray[np.float64]
PerAxis: TypeAlias = tuple[float, float, float, float]

SMALLEST_PX = 1.0  # a predicted box never shrinks below this
_LEAST = np.array([[-np.inf], [-np.inf], [SMALLEST_PX], [SMALLEST_PX]])
# Corners to centre and size, and back. The factors are powers of two, so that each result is rounded once.
_CENTRE_OF = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]])
_CORNERS_OF = np.array([[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]])


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


class BoxKalman:
    """Starts, predicts and corrects states; holds no state of its own. N may be 0 everywhere."""

    def __init__(self, noise: MotionNoise | None = None) -> None:
        noise = noise or MotionNoise()
        self._doubt = noise.doubt
        self._measured = np.array(noise.measured)[:, None] ** 2  # (4, 1)
        self._first_velocity = np.array(noise.first_velocity)[:, None] ** 2
        # Q of one unit of height² is a polynomial of dt: (entry pp, pv, vv; axis; power 1, 2, 3)
        drift = Q_continuous_white_noise(dim=2, dt=1.0)
        acceleration = np.array(noise.acceleration) ** 2
        self._noise = np.zeros((3, 4, 3))
        self._noise[0, :, 2] = acceleration * drift[0, 0]
        self._noise[1, :, 1] = acceleration * drift[0, 1]
        self._noise[2, :, 0] = acceleration * drift[1, 1]
        self._noise[0, :, 0] = np.array(noise.jitter) ** 2

    def start(self, corners: FloatArray) -> StateArray:
        """States of boxes (4, N) px seen for the first time."""
        states = np.zeros((5, 4, corners.shape[1]))
        states[0] = centre_and_size(corners)
        height2 = np.maximum(states[0, 3], SMALLEST_PX) ** 2
        states[2] = 4 * self._measured * height2
        states[4] = self._first_velocity * height2
        return states

    def predict(self, states: StateArray, dt_s: float) -> StateArray:
        """The states `dt_s` >= 0 seconds later: x = F x, P = F P F' + Q with F = [[1, dt], [0, 1]]."""
        later = states.copy()
        position, velocity, pp, pv, vv = later
        position += dt_s * velocity
        pp += dt_s * pv
        pv += dt_s * vv
        pp += dt_s * pv  # the second half, with the new pv: dt (2 pv + dt vv) in all
        later[2:] += self.process_noise(np.maximum(states[0, 3], SMALLEST_PX), dt_s)
        return later

    def process_noise(self, height_px: StateArray, dt_s: float) -> StateArray:
        """Q (3, 4, N), entries pp, pv, vv, for heights (N,) px. Two steps of dt/2 add up to one of dt."""
        unit = np.dot(self._noise, (dt_s, dt_s**2, dt_s**3))  # (3, 4)
        return unit[:, :, None] * (height_px * height_px)

    def correct(self, states: StateArray, corners: FloatArray, confidence: FloatArray) -> StateArray:
        """The states after boxes (4, N) px with confidences (N,) were seen, one each.

        With one measured value an axis, K = (pp, pv) / (pp + R) and P = (I - K H) P: `pp` and `pv` shrink by
        R / (pp + R), which cannot turn negative as a difference could.
        """
        after = states.copy()
        position, velocity, pp, pv, vv = after
        distrust = 1.0 + self._doubt * (1.0 - confidence.astype(np.float64))
        deviation = np.maximum(position[3], SMALLEST_PX) * distrust
        variance = self._measured * (deviation * deviation)  # R, (4, N)
        total = pp + variance
        innovation = centre_and_size(corners) - position
        innovation /= total
        position += pp * innovation
        velocity += pv * innovation
        vv -= pv * pv / total
        after[2:4] *= variance / total
        return after


def centre_and_size(corners: FloatArray) -> StateArray:
    """Corners (4, N) to centre and size (4, N), as float64."""
    return np.dot(_CENTRE_OF, corners)


def state_corners(position: StateArray) -> FloatArray:
    """The corners (4, N) px, float32, of centres and sizes (4, N): the first of the states."""
    return np.dot(_CORNERS_OF, np.maximum(position, _LEAST)).astype(np.float32)
