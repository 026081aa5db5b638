"""What is made of a frame and its masks: people on green, with alpha, or removed onto the clean plate."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.background.removal.tracks import CutFrame, Cutout
from pipeline.background.removal.view import BoolMask, FloatMap
from pipeline.types import ImageArray

GREEN = (64, 177, 0)  # BGR: the chroma-key green of television (RGB 0, 177, 64)
_SOFT_PX = 3  # side of the blur that softens outlines by about a pixel
_GROW = 0.045  # of a person's height around a mask that is removed: a rim of the person and its shadow go, too
_LEAST_GROW_PX = 3
_SHADOW = (0.24, 0.06)  # half axes of the ground that goes with a removed person, shares of the height


def alpha(mask: BoolMask) -> FloatMap:
    """(H, W) share in [0, 1] of a mask, soft along its outline."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (_SOFT_PX, _SOFT_PX), 0), np.float32)


def on_green(cut: CutFrame, track_ids: set[int] | None = None) -> ImageArray:
    """(H, W, 3) the people before an even green."""
    mask = cut.mask(track_ids)
    picture = np.empty_like(cut.frame.image)
    picture[:] = GREEN
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width:
        around = (
            slice(max(0, y - _SOFT_PX), y + height + _SOFT_PX),
            slice(max(0, x - _SOFT_PX), x + width + _SOFT_PX),
        )
        picture[around] = _mixed(cut.frame.image[around], np.array(GREEN, np.float32), alpha(mask[around])[..., None])
    return picture


def with_alpha(cut: CutFrame, track_ids: set[int] | None = None) -> ImageArray:
    """(H, W, 4) BGR and alpha, 0 transparent; hidden pixels are black."""
    mask = cut.mask(track_ids)
    share = np.rint(255 * alpha(mask)).astype(np.uint8)
    colours = cv2.copyTo(cut.frame.image, (share > 0).astype(np.uint8))
    return np.dstack([colours, share])


def removed(cut: CutFrame, track_ids: set[int] | None = None) -> ImageArray:
    """(H, W, 3) the people replaced by the clean plate in this frame's light; others stay in front."""
    if cut.lit is None:
        return cut.frame.image
    hole = np.zeros(cut.frame.image.shape[:2], np.uint8)
    kept = np.zeros(hole.shape, bool)
    for track_id, cutout in cut.cutouts.items():
        x1, y1, x2, y2 = cutout.place
        if track_ids is None or track_id in track_ids:
            grow = max(_LEAST_GROW_PX, round(_GROW * (y2 - y1)))
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
            hole[y1:y2, x1:x2] |= cv2.dilate(cutout.mask.astype(np.uint8), kernel)
            _add_shadow(hole, cutout)
        else:
            kept[y1:y2, x1:x2] |= cutout.mask
    share = cv2.GaussianBlur(((hole > 0) & ~kept).astype(np.float32), (2 * _SOFT_PX + 1,) * 2, 0)
    return _mixed(cut.lit.whole(), cut.frame.image.astype(np.float32), share[..., None])


def _add_shadow(hole: npt.NDArray[np.uint8], cutout: Cutout) -> None:
    """Mark the ground around the feet, where the person's soft shadow lies, in place."""
    if cutout.mask.any():
        x1, _, x2, y2 = (round(float(v)) for v in cutout.xyxy)
        height = y2 - round(float(cutout.xyxy[1]))
        half = max(1, (x2 - x1) // 2, round(_SHADOW[0] * height)), max(1, round(_SHADOW[1] * height))
        cv2.ellipse(hole, ((x1 + x2) // 2, y2), half, 0, 0, 360, 1, -1)


def _mixed(front: np.ndarray, behind: np.ndarray, share: FloatMap) -> ImageArray:
    return np.clip(np.rint(behind + share * (front.astype(np.float32) - behind)), 0, 255).astype(np.uint8)
