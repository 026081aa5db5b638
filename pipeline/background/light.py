"""How the light of a picture differs from another's: smooth factors, from what both show of the background."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import ImageArray

_COARSE_PX = 160  # width at which light is compared: it changes smoothly over the picture
_CELL_PX = 5  # light is taken as even within a cell of that many coarse pixels to a side …
_REACH = 9  # … and smoothed over this many cells
_STEADY_LEVELS = 20.0  # of 255: what differs more, in even light, shows something else than light
_GAINS = (0.4, 2.5)  # least and largest factor: beyond that the two are pictures of different things
_DOUBT = 2.0  # levels: in a cell that nobody saw, the picture's even light holds

Gain = npt.NDArray[np.float32]


def gain_field(now: ImageArray, before: npt.NDArray[np.generic], free: npt.NDArray[np.bool_]) -> Gain:
    """(h, w, 3) coarse factors that take `before` to `now`.

    Args:
        now, before: (H, W, 3) BGR levels. free: (H, W) where both show the background.
    """
    scale = min(1.0, _COARSE_PX / now.shape[1])
    size = max(1, round(now.shape[1] * scale)), max(1, round(now.shape[0] * scale))
    a, b = (cv2.resize(v, size, interpolation=cv2.INTER_AREA).astype(np.float32) for v in (now, before))
    both = cv2.resize(free.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    even = _even_light(a, b, both)
    steady = both & (np.abs(a - b * even).max(axis=2) < _STEADY_LEVELS)
    weight = steady.astype(np.float32)[..., None]
    cells = max(1, size[0] // _CELL_PX), max(1, size[1] // _CELL_PX)
    sums = [cv2.resize(v * weight, cells, interpolation=cv2.INTER_AREA) for v in (a, b)]
    smooth = [cv2.GaussianBlur(v, (_REACH, _REACH), 0).reshape(cells[1], cells[0], 3) for v in sums]
    gain = (smooth[0] + _DOUBT * even) / (smooth[1] + _DOUBT)
    return np.clip(gain, *_GAINS).astype(np.float32)


def enlarged_gain(gain: Gain, width_px: int, height_px: int) -> Gain:
    """The factors for every pixel of a picture of this size."""
    return np.asarray(cv2.resize(gain, (width_px, height_px), interpolation=cv2.INTER_LINEAR), np.float32)


def _even_light(a: Gain, b: Gain, both: npt.NDArray[np.bool_]) -> Gain:
    """(3,) the factor on each channel that most of the pixels agree on."""
    if not both.any():
        return np.ones(3, np.float32)
    return np.clip(np.median((a[both] + 1) / (b[both] + 1), axis=0), *_GAINS).astype(np.float32)
