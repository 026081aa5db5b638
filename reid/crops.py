"""From boxes in frames to crops of one size, and from maps to crop features. NumPy and OpenCV only."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.boxes import clip_boxes
from pipeline.errors import ConfigError
from pipeline.types import CropFeature, CropQuality, FloatArray, Frame, ImageArray

CROP_HEIGHT_PX, CROP_WIDTH_PX = 256, 128  # input of the re-ID backbones (FACTS: 256x128 -> a 16x8 map)

# ImageNet's mean and deviation, RGB, for values 0 to 1: what the backbones were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NO_QUALITY = CropQuality(height_px=0.0, sharpness=0.0, truncation=0.0, overlap=0.0, confidence=0.0)


def cut_crops(
    frames: Sequence[Frame],
    boxes: Sequence[FloatArray],
    height_px: int = CROP_HEIGHT_PX,
    width_px: int = CROP_WIDTH_PX,
) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
    """The part of every box that lies in its picture, resized.

    Args:
        frames: F of them. boxes: F arrays (N_i, 4) xyxy px; they may reach over the picture's edge.

    Returns:
        Crops (N, height_px, width_px, 3) uint8 BGR, N the sum of N_i, in order; and (N,) bool, False for a box without
        a whole pixel in the picture, whose crop is black.

    Raises:
        ValueError: another number of box arrays than of frames.
    """
    if len(frames) != len(boxes):
        raise ValueError(f"boxes: expected one array per frame ({len(frames)}), got {len(boxes)}")
    count = sum(len(b) for b in boxes)
    crops = np.zeros((count, height_px, width_px, 3), np.uint8)
    seen = np.zeros(count, bool)
    corners = [
        (frame.image, corner)
        for frame, of_frame in zip(frames, boxes, strict=True)
        for corner in _pixel_corners(of_frame, frame.image.shape[1], frame.image.shape[0])
    ]
    for i, (image, (x1, y1, x2, y2)) in enumerate(corners):  # a loop: every crop has another size
        if x2 > x1 and y2 > y1:
            shrinks = (x2 - x1) * (y2 - y1) > width_px * height_px
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR  # INTER_LINEAR would skip pixels of large crops
            cv2.resize(image[y1:y2, x1:x2], (width_px, height_px), dst=crops[i], interpolation=how)
            seen[i] = True
    return crops, seen


def _pixel_corners(boxes: FloatArray, width_px: int, height_px: int) -> list[list[int]]:
    """Boxes as whole pixels inside the picture, rounded to the nearest edge between pixels."""
    inside = clip_boxes(np.asarray(boxes, np.float32).reshape(-1, 4), width_px, height_px)
    corners: list[list[int]] = np.rint(inside).astype(int).tolist()
    return corners


def check_stripes(stripes: int, map_height: int) -> None:
    """Raise unless the map divides into that many stripes of equal height.

    Raises:
        ConfigError: it does not; STA's pooling would otherwise weigh rows unequally.
    """
    if stripes < 1 or map_height % stripes:
        fitting = ", ".join(str(k) for k in range(1, map_height + 1) if map_height % k == 0)
        raise ConfigError(f"reid.stripes: the backbone's map has {map_height} rows; use {fitting}, not {stripes}")


def pool_stripes(maps: FloatArray, stripes: int) -> tuple[FloatArray, FloatArray]:
    """Stripe means (N, K, C) and stripe energies (N, K) of maps (N, C, H, W); K divides H."""
    n, channels, height, width = maps.shape
    cells = maps.reshape(n, channels, stripes, height // stripes * width)  # (N, C, K, cells)
    means = cells.mean(axis=3).transpose(0, 2, 1)  # (N, K, C)
    energy = np.einsum("nckp,nckp->nk", cells, cells)
    return np.ascontiguousarray(means), energy


def to_features(
    frames: Sequence[Frame],
    boxes: Sequence[FloatArray],
    pooled: tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]],
    model_id: str,
) -> list[list[CropFeature]]:
    """Nest stripe means (N, K, C) and energies (N, K) like `boxes`; what was not `seen` (N,) carries zeros."""
    means, energy, seen = pooled
    means = np.where(seen[:, None, None], means, 0).astype(np.float32)
    energy = np.where(seen[:, None], energy, 0).astype(np.float32)
    features: list[list[CropFeature]] = []
    start = 0
    for frame, of_frame in zip(frames, boxes, strict=True):
        stop = start + len(of_frame)
        features.append(
            [CropFeature(frame.captured_at_s, means[i], energy[i], NO_QUALITY, model_id) for i in range(start, stop)]
        )
        start = stop
    return features
