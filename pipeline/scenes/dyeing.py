"""Cloth in a new colour: light and shade of the photograph stay, in CIE L*a*b*."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.colours import Lab
from pipeline.types import ImageArray

LabImage = npt.NDArray[np.float32]  # (H, W, 3)

_SHADING_GAIN = 0.75  # of the lightness around its median: folds stay visible without burning out
_TINT_GAIN = 0.25  # of the old colour around its median: keeps the cloth's small differences
_ROUNDING = 14.0  # L* by which a garment darkens towards its sides, for cloth too dark to show shading
_DARK_CLOTH = 15.0  # L*: below this median the picture shows no shading of its own


def to_lab(image: ImageArray) -> LabImage:
    """(H, W, 3) uint8 BGR as L*a*b*."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2Lab), np.float32)


def to_bgr(lab: LabImage) -> ImageArray:
    """(H, W, 3) L*a*b* as uint8 BGR."""
    bgr = cv2.cvtColor(lab, cv2.COLOR_Lab2BGR)
    return np.asarray(np.clip(np.round(bgr * 255), 0, 255), np.uint8)


def dye(lab: LabImage, seen: npt.NDArray[np.bool_], colour: Lab) -> LabImage:
    """`lab` as if all of it were the cloth under `seen`, dyed: its median becomes `colour`."""
    median = np.median(lab[seen], axis=0)
    offset = (lab - median) * np.array([_SHADING_GAIN, _TINT_GAIN, _TINT_GAIN], np.float32)
    if median[0] < _DARK_CLOTH:
        depth = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5)
        inner = depth / max(float(depth.max()), 1.0)
        rounding = inner - float(np.median(inner[seen]))
        offset[:, :, 0] += _ROUNDING * rounding
    dyed = offset + np.array(colour, np.float32)
    dyed[:, :, 0] = np.clip(dyed[:, :, 0], 2, 99)
    # colour fades towards black and white, where the screen has none
    room = np.minimum(dyed[:, :, 0], 100 - dyed[:, :, 0]) / max(min(colour.lightness, 100 - colour.lightness), 1.0)
    dyed[:, :, 1:] *= np.clip(room, 0, 1)[:, :, None] ** 0.5
    return np.asarray(dyed, np.float32)
