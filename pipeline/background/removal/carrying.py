"""Carries what is known of a person from the frame before: along the box, and along the optical flow inside it."""

import cv2
import numpy as np

from pipeline.background.removal.view import FloatMap, View
from pipeline.types import ImageArray

_FLOW_SCALE = 0.5  # of the working size: motion of whole limbs, at a quarter of the time
_LEAST_FLOW_PX = 24  # of a view's side at that size: below, the flow has nothing to hold on to


class Carrier:
    """Moves maps from one frame to the next; holds OpenCV's flow and nothing about a frame."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def carry(self, values: FloatMap, before: tuple[ImageArray, View], now: tuple[ImageArray, View]) -> FloatMap:
        """`values` (h, w) of the view before, as they lie in the view now; 0 beyond what was seen.

        Args:
            before, now: grey frame (H, W) uint8 and the person's view in it.
        """
        (old_grey, old), (new_grey, new) = before, now
        sx, sy = (
            (old.box[2] - old.box[0]) / (new.box[2] - new.box[0]),
            (old.box[3] - old.box[1]) / (new.box[3] - new.box[1]),
        )
        # by the boxes first: (x, y) in the view now was at `matrix` of it in the view before
        matrix = np.array([[sx, 0, old.box[0] - sx * new.box[0]], [0, sy, old.box[1] - sy * new.box[1]]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(values, matrix, new.size, flags=flags)
        small = max(1, round(new.size[0] * _FLOW_SCALE)), max(1, round(new.size[1] * _FLOW_SCALE))
        if min(small) < _LEAST_FLOW_PX:
            return np.asarray(moved, np.float32)
        then = cv2.warpAffine(old.take(old_grey), matrix, new.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        flow = self._flow.calc(_small(new.take(new_grey), small), _small(then, small), None)
        flow = cv2.resize(flow, new.size, interpolation=cv2.INTER_LINEAR)
        y, x = np.mgrid[0 : new.size[1], 0 : new.size[0]].astype(np.float32)
        ratio = new.size[0] / small[0], new.size[1] / small[1]
        return np.asarray(
            cv2.remap(moved, x + flow[..., 0] * ratio[0], y + flow[..., 1] * ratio[1], cv2.INTER_LINEAR), np.float32
        )


def _small(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
