"""Did a track that vanished leave the picture, or is it hidden somewhere inside?"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.boxes import inside_polygon, outside_share, touches_edge
from pipeline.tracking.kalman import StateArray, state_corners
from pipeline.types import FloatArray, TimeArray

Polygon: TypeAlias = Sequence[tuple[float, float]]

EDGE_SHARE = (
    0.005  # of the longer side: detectors stop a box about three of their own pixels (of 640) short of the edge
)
LEAVE_WITHIN_S = 1.0  # a person at 1 m/s crosses its own half width in a quarter of this, also at five frames a second
GONE_SHARE = 0.5  # more of the predicted box outside than inside


def edge_margin_px(size_px: tuple[int, int]) -> float:
    """How near to the edge of a picture (width, height) a box touches it."""
    return max(2.0, EDGE_SHARE * max(size_px))


def left_picture(
    last_xyxy: FloatArray,
    mean: StateArray,
    seen_s: TimeArray,
    size_px: tuple[int, int],
    exits: Sequence[Polygon],
) -> npt.NDArray[np.bool_]:
    """(N,) True where the last box touched the picture's edge, its path leaves the picture, or it stood in an exit.

    Args:
        last_xyxy: (N, 4) px, the last box that was detected.
        mean: (N, 4, 2) the Kalman states, px and px/s, at time 0.
        seen_s: (N,) time of the last box on the clock of `mean`: 0 or negative.
        size_px: width and height of the picture.
        exits: polygons; the foot point, the middle of the lower edge, decides.
    """
    width_px, height_px = size_px
    left = touches_edge(last_xyxy, width_px, height_px, max(2.0, EDGE_SHARE * max(size_px)))
    ahead = mean.copy()
    ahead[..., 0] += mean[..., 1] * (seen_s + LEAVE_WITHIN_S)[:, None]
    left |= outside_share(state_corners(ahead[..., 0].T).T, width_px, height_px) > GONE_SHARE
    feet = np.stack([(last_xyxy[:, 0] + last_xyxy[:, 2]) / 2, last_xyxy[:, 3]], axis=1)
    for polygon in exits:
        left |= inside_polygon(feet, polygon)
    return left
