"""What a person looks like place by place: tells people apart where they overlap, also in stripes and checks."""

import cv2
import numpy as np

from pipeline.background.removal.view import FloatMap, View
from pipeline.types import ImageArray

_SIZE = (40, 96)  # (width, height) of the portrait, px: a person of 200 px at a half
_REACH = 0.12  # of the box's sides that the portrait shows around it
_TOLERANCE_PX = 5  # side of the window in which a colour may lie: boxes shake, arms swing
_SPREAD = 14.0  # levels outside what the window holds: cloth folds, light
_LEARN = 0.35  # share of the new picture per lesson
_KNOWN = 0.15  # least weight of a place that was seen
_STRANGE = -4.0  # log: as unlike as a place can be; limbs move
_UNKNOWN = -1.2  # log: of a place nobody has seen


class Portrait:
    """One person's picture in box coordinates, from pixels that were surely theirs."""

    def __init__(self) -> None:
        self._colour = np.zeros((_SIZE[1], _SIZE[0], 3), np.float32)
        self._weight = np.zeros((_SIZE[1], _SIZE[0]), np.float32)

    def learn(self, image: ImageArray, sure: FloatMap, view: View) -> None:
        """Take in a view's pixels by their weight (h, w) in [0, 1]."""
        matrix = _to_portrait(view)
        seen = cv2.warpAffine(sure, matrix, _SIZE, flags=cv2.INTER_LINEAR)
        picture = cv2.warpAffine(image, matrix, _SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        share = np.where(self._weight > _KNOWN, _LEARN, 1.0).astype(np.float32) * (seen > 0.5)
        self._colour += share[..., None] * (picture - self._colour)
        self._weight = np.maximum(self._weight, seen * (seen > 0.5))

    def likeness(self, image: ImageArray, view: View) -> FloatMap:
        """(h, w) log, 0 for a pixel that looks as it did there, down to -4."""
        known = self._weight > _KNOWN
        if not known.any():
            return np.full((view.size[1], view.size[0]), _UNKNOWN, np.float32)
        window = np.ones((_TOLERANCE_PX, _TOLERANCE_PX), np.uint8)
        low = cv2.erode(np.where(known[..., None], self._colour, 999.0).astype(np.float32), window)
        high = cv2.dilate(np.where(known[..., None], self._colour, -999.0).astype(np.float32), window)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        matrix = _to_portrait(view)
        placed = [  # by nearest neighbour, because of the marks for unknown places
            cv2.warpAffine(
                side, matrix, view.size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(mark,) * 3
            )
            for side, mark in ((low, 999.0), (high, -999.0))
        ]
        levels = image.astype(np.float32)
        off = np.maximum(np.maximum(placed[0] - levels, levels - placed[1]), 0)
        squares = cv2.transform(cv2.multiply(off, off), np.full((1, 3), 1 / _SPREAD**2, np.float32))
        likeness = np.maximum(-0.5 * squares, _STRANGE)
        return np.where(placed[0][..., 0] > 900, _UNKNOWN, likeness).astype(np.float32)


def _to_portrait(view: View) -> FloatMap:
    """(2, 3) from view pixels to the portrait's."""
    x1, y1, x2, y2 = view.box
    sx = _SIZE[0] / ((x2 - x1) * (1 + 2 * _REACH))
    sy = _SIZE[1] / ((y2 - y1) * (1 + 2 * _REACH))
    left, top = x1 - _REACH * (x2 - x1), y1 - _REACH * (y2 - y1)
    return np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5]], np.float32)
