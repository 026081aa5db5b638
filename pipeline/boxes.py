"""Geometry of boxes: (N, 4) float32 xyxy in px, x2 and y2 exclusive. Empty arrays are fine everywhere."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray


def box_area(boxes: FloatArray) -> FloatArray:
    """(N,) area in px²; a box turned inside out has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N, M) area in px² shared by every box of `a` (N, 4) and every box of `b` (M, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every box in `a` with every box in `b`.

    Args:
        a: (N, 4) xyxy, px.
        b: (M, 4) xyxy, px.

    Returns:
        (N, M) in [0, 1]. Two boxes without area score 0, not NaN; N and M may be 0.
    """
    shared = box_intersection(a, b)
    union = box_area(a)[:, None] + box_area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def covered_share(boxes: FloatArray) -> FloatArray:
    """(N,) the largest share of each box that one other box of the same frame covers, 0 to 1."""
    shared = box_intersection(boxes, boxes)
    np.fill_diagonal(shared, 0)
    area = box_area(boxes)
    most = shared.max(axis=1, initial=0)
    return np.divide(most, area, out=np.zeros_like(area), where=area > 0)


def clip_boxes(boxes: FloatArray, width_px: int, height_px: int) -> FloatArray:
    """The parts of the boxes that lie in the picture; a box outside comes back without area."""
    limits = np.array([width_px, height_px, width_px, height_px], np.float32)
    return np.clip(boxes, 0, limits).astype(np.float32)


def outside_share(boxes: FloatArray, width_px: int, height_px: int) -> FloatArray:
    """(N,) share of each box that lies outside the picture, 0 to 1."""
    area = box_area(boxes)
    inside = box_area(clip_boxes(boxes, width_px, height_px))
    return np.clip(1 - np.divide(inside, area, out=np.zeros_like(area), where=area > 0), 0, 1)


def touches_edge(boxes: FloatArray, width_px: int, height_px: int, margin_px: float = 2.0) -> npt.NDArray[np.bool_]:
    """(N,) whether each box reaches within `margin_px` of the picture's edge."""
    low = (boxes[:, :2] <= margin_px).any(axis=1)
    high = (boxes[:, 2:] >= np.array([width_px, height_px], np.float32) - margin_px).any(axis=1)
    return np.logical_or(low, high)


def inside_polygon(points: FloatArray, polygon: Sequence[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    """(N,) whether each point (N, 2) px lies in the polygon (even-odd rule; fewer than 3 corners hold nothing)."""
    inside = np.zeros(len(points), bool)
    if len(polygon) < 3:
        return inside
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        crosses = (y1 > y) != (y2 > y)
        if y1 != y2:
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def xywh_to_xyxy(boxes: FloatArray) -> FloatArray:
    """MOTChallenge's left, top, width, height to corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32)


def xyxy_to_xywh(boxes: FloatArray) -> FloatArray:
    """Corners to MOTChallenge's left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float32)
