"""The clean plate in the light of one frame: what the background looks like now."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.background.background_model import Plate, without_people
from pipeline.background.light import enlarged_gain, gain_field
from pipeline.background.removal.view import BoolMask, FloatMap, View
from pipeline.types import FloatArray, ImageArray

_LEAST_NOISE = 3.0  # levels: sensor and coding noise of a good picture
_MOST_NOISE = 9.0


@dataclass(frozen=True, eq=False, slots=True)
class Lit:
    """A plate and how a frame's light differs from it.

    Attributes:
        plate: at frame size.
        gain: (h, w, 3) float32, coarse: factors on the plate.
        noise: standard deviation of a background pixel's channel around the plate in this light, levels.
    """

    plate: Plate
    gain: FloatMap
    noise: float

    def whole(self) -> FloatMap:
        """(H, W, 3) float32: the plate in this light."""
        height_px, width_px = self.plate.seen.shape
        return np.clip(self.plate.image * enlarged_gain(self.gain, width_px, height_px), 0, 255).astype(np.float32)

    def take(self, view: View) -> tuple[FloatMap, BoolMask]:
        """The background of a view: (h, w, 3) float32 levels, and (h, w) bool where it is known."""
        height_px, width_px = self.plate.seen.shape
        across, down = self.gain.shape[1] / width_px, self.gain.shape[0] / height_px
        x1, y1, x2, y2 = view.place
        size = view.size
        step = across * (x2 - x1) / size[0], down * (y2 - y1) / size[1]
        matrix = np.array(
            [[step[0], 0, x1 * across - 0.5 + step[0] / 2], [0, step[1], y1 * down - 0.5 + step[1] / 2]], np.float32
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gain = cv2.warpAffine(self.gain, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        background = np.multiply(view.take(self.plate.image), gain, dtype=np.float32)
        seen = view.take(self.plate.seen.view(np.uint8)) > 0
        return background, seen


def light_of(image: ImageArray, plate: Plate, boxes: FloatArray) -> Lit:
    """Compare a frame (H, W, 3) with the plate outside the people's boxes (N, 4) xyxy px."""
    height_px, width_px = image.shape[:2]
    plate = plate.scaled_to(width_px, height_px)
    free = plate.seen & without_people(plate.seen.shape, boxes)
    return Lit(plate, gain_field(image, plate.image, free), _noise(image, plate, free))


def _noise(image: ImageArray, plate: Plate, free: BoolMask) -> float:
    """Of the free pixels on a sparse grid, beside what light they have in common."""
    grid = (slice(2, None, 7), slice(1, None, 5))
    chosen = free[grid]
    if not chosen.any():
        return _LEAST_NOISE
    residual = (image[grid].astype(np.int16) - plate.image[grid])[chosen]
    spread = np.median(np.abs(residual - np.median(residual, axis=0)))
    return float(np.clip(1.4826 * spread, _LEAST_NOISE, _MOST_NOISE))  # 1.4826: median deviation to sigma
