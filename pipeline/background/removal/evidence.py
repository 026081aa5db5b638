"""How well each pixel of a view fits the background: the plate in this light, or a shadow on it."""

import cv2
import numpy as np

from pipeline.background.removal.view import BoolMask, FloatMap, View
from pipeline.types import ImageArray

_EDGE = 0.15  # share of the difference to a neighbour that counts as noise: half a pixel of shake, or coding
_OUTLIER = -17.5  # log density of a background pixel that shows anything: a reflection, a leaf
_SHADOW_DEPTH = (0.58, 1.08)  # brightness in shadow relative to the plate
_SHADOW_LOSS = 2.0  # log: shadows are that much rarer than plain background, near the feet
_SHADOW_FAR = 3.5  # … and elsewhere
_DEEP, _MILD = 0.25, 0.4  # a change of light by this share counts in full; slighter ones are common: that much at least
_FEET = (0.90, 1.12)  # of the box's height: where a person's own shadow lies
_LOG_2PI = float(np.log(2 * np.pi))


def background_log_density(image: FloatMap, background: FloatMap, noise: float, view: View) -> FloatMap:
    """(h, w) log density of each pixel (h, w, 3) under the plate in this light, plain or shaded."""
    variance = noise**2 + (_EDGE * _edges(background)) ** 2
    scale = -1.5 * (_LOG_2PI + np.log(variance))
    plain = scale - 0.5 * _squares(image - background) / variance
    squares, depth = _shadow_squares(image, background)
    rarity = np.clip(np.abs(1 - depth) / _DEEP, _MILD, 1.0) * _shadow_loss(view)[:, None]
    shaded = scale - 0.5 * squares / variance - rarity
    return np.maximum(np.maximum(plain, shaded), np.float32(_OUTLIER))


def _sum_of_channels(values: FloatMap) -> FloatMap:
    """(h, w, 3) to (h, w)."""
    return np.asarray(cv2.transform(values, np.ones((1, 3), np.float32)), np.float32)


def _squares(difference: FloatMap) -> FloatMap:
    return _sum_of_channels(cv2.multiply(difference, difference))


def _edges(background: FloatMap) -> FloatMap:
    """(h, w) how much neighbours of the background differ, levels."""
    grey = _sum_of_channels(background) / 3
    return np.asarray(cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.float32)


def _shadow_squares(image: FloatMap, background: FloatMap) -> tuple[FloatMap, FloatMap]:
    """(h, w) each: squared distance to the plate darkened as it fits best, and how much that is."""
    shared, own = _sum_of_channels(cv2.multiply(image, background)), _squares(background)
    depth = np.clip(shared / (own + 1), *_SHADOW_DEPTH)
    return _squares(image) - 2 * depth * shared + depth * depth * own, depth


def _shadow_loss(view: View) -> FloatMap:
    top, bottom = view.box[1], view.box[3]
    rows = (np.arange(view.size[1]) + 0.5 - top) / max(bottom - top, 1.0)
    near = (rows > _FEET[0]) & (rows < _FEET[1])
    return np.where(near, _SHADOW_LOSS, _SHADOW_FAR).astype(np.float32)


def guided(values: FloatMap, guide: ImageArray, radius: int, softness: float) -> FloatMap:
    """The guided filter of He et al. 2010: `values` (h, w) smoothed, but not across edges of `guide` (h, w) grey.

    Args:
        softness: levels of the guide that count as an edge.
    """
    size = (2 * radius + 1, 2 * radius + 1)
    grey = guide.astype(np.float32)
    mean_guide, mean_values = cv2.blur(grey, size), cv2.blur(values, size)
    spread = cv2.blur(grey * grey, size) - mean_guide * mean_guide
    slope = (cv2.blur(grey * values, size) - mean_guide * mean_values) / (spread + softness**2)
    base = mean_values - slope * mean_guide
    return np.asarray(cv2.blur(slope, size) * grey + cv2.blur(base, size), np.float32)


def without_specks(mask: BoolMask, least_part: float) -> BoolMask:
    """The mask without pieces smaller than a share of its largest one, and without holes as small."""
    whole = mask.astype(np.uint8)
    for turn in (0, 1):  # pieces, then holes
        part = whole if turn == 0 else 1 - whole
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8 if turn == 0 else 4)
        if count <= 1:
            continue
        area = stats[:, cv2.CC_STAT_AREA]
        least = least_part * (area[1:].max() if turn == 0 else float(np.count_nonzero(whole)))
        small = area < max(4.0, least)
        small[0] = False
        whole = np.where(small[pieces], 1 - part if turn == 0 else 1, whole).astype(np.uint8)
    return whole > 0
