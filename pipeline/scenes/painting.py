"""Paints one thing into a picture: a person or an obstacle, sharp or blurred by its motion, with its shadow."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import ImageArray

LabelMap = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MASK_ALPHA = 128  # a pixel belongs to a person when at least half of it shows the person
_SHADOW = 0.4  # darkening of the floor between the feet
_SHADOW_SIZE = (0.21, 0.035)  # half axes, shares of the person's height


class Placed(NamedTuple):
    """A thing and where its picture lies.

    Attributes:
        label: the person's id; 0 for what is background to the truth.
        picture: (H, W, 4) uint8 BGR + alpha; its last row stands on the floor.
        left, top: px.
        blur_px: how far it moves while the picture is exposed.
        shadow: half axes of its shadow, px; None without.
    """

    label: int
    picture: ImageArray
    left: int
    top: int
    blur_px: int = 0
    shadow: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What drawing one person left behind; `xyxy` is None when nothing of it lies in the picture."""

    person_id: int
    xyxy: tuple[int, int, int, int] | None
    silhouette_px: int


def person_shadow(height_px: int) -> tuple[int, int]:
    """Half axes of the shadow between the feet of a person of this height, px."""
    return max(round(_SHADOW_SIZE[0] * height_px), 1), max(round(_SHADOW_SIZE[1] * height_px), 1)


def draw(image: ImageArray, labels: LabelMap, placed: Placed) -> Drawn:
    """Paint a thing over image and labels, both in place. Truth is where it is in the middle of the exposure."""
    silhouette = placed.picture[:, :, 3] >= MASK_ALPHA
    height, width = silhouette.shape
    left, top = placed.left, placed.top
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return Drawn(placed.label, None, int(silhouette.sum()))
    if placed.shadow is not None:
        cast_shadow(image, left + width / 2, top + height, placed.shadow)
    if placed.blur_px > 1:
        _blend_blurred(image, placed)
    else:
        inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
        target = image[y1:y2, x1:x2]
        alpha = cv2.merge([placed.picture[:, :, 3]] * 3)[inside].astype(np.uint16)
        blend = placed.picture[:, :, :3][inside] * alpha + target * (255 - alpha) + 127
        target[:] = (blend // 255).astype(np.uint8)
    mask = silhouette[y1 - top : y2 - top, x1 - left : x2 - left]
    labels[y1:y2, x1:x2][mask] = placed.label
    return Drawn(placed.label, _tight_box(mask, x1, y1), int(silhouette.sum()))


def _blend_blurred(image: ImageArray, placed: Placed) -> None:
    """Paint a thing smeared along its way, in place: colours weighed by alpha, so that no background is carried in."""
    reach = placed.blur_px // 2 + 1
    padded = cv2.copyMakeBorder(placed.picture, 0, 0, reach, reach, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    alpha = cv2.merge([padded[:, :, 3]] * 3)
    carried = cv2.multiply(padded[:, :, :3], alpha, scale=1 / 255)
    size = (placed.blur_px, 1)
    carried, alpha = cv2.blur(carried, size), cv2.blur(alpha, size)
    left, top = placed.left - reach, placed.top
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + padded.shape[1], image.shape[1]), min(top + padded.shape[0], image.shape[0])
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    target = image[y1:y2, x1:x2]
    target[:] = cv2.add(carried[inside], cv2.multiply(target, cv2.bitwise_not(alpha[inside]), scale=1 / 255))


def cast_shadow(image: ImageArray, x: float, foot_y: int, half: tuple[int, int]) -> None:
    """Darken the floor around the feet, in place."""
    half_w, half_h = half
    left, top = round(x) - half_w, foot_y - half_h - 2
    x1, x2 = max(left, 0), min(left + 2 * half_w + 1, image.shape[1])
    y1, y2 = max(top, 0), min(top + 2 * half_h + 1, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    u = (np.arange(x1, x2, dtype=np.float32) - left - half_w) / half_w
    v = (np.arange(y1, y2, dtype=np.float32) - top - half_h) / half_h
    dark = 1 - _SHADOW * np.clip(1 - u[None, :] ** 2 - v[:, None] ** 2, 0, 1)
    patch = image[y1:y2, x1:x2]
    patch[:] = (patch * dark[:, :, None]).astype(np.uint8)


def _tight_box(mask: npt.NDArray[np.bool_], left: int, top: int) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1
