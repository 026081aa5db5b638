"""How much each box of a frame can be trusted as a crop."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.boxes import clip_boxes, covered_share, outside_share, touches_edge
from pipeline.tracking.departure import edge_margin_px
from pipeline.types import CropQuality, Frame, ImageArray, Tracks

SHARPNESS_WIDTH_PX = 64  # so that the figure does not depend on how near the person is
EDGE_TRUNCATION = 0.3  # a detector clips its boxes to the picture: how much of a body is cut off at the edge is a guess


def sharpness(crop: ImageArray) -> float:
    """Variance of the Laplacian of the grey crop (H, W, 3) BGR at 64 px width; 0 for a crop without pixels."""
    height, width = crop.shape[:2]
    if height == 0 or width == 0:
        return 0.0
    size = (SHARPNESS_WIDTH_PX, max(1, round(height * SHARPNESS_WIDTH_PX / width)))
    small = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def pixel_window(xyxy: npt.NDArray[np.float32], width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """The whole pixels (x1, y1, x2, y2), ends exclusive, that hold the part of a box (4,) inside the picture."""
    x1, y1, x2, y2 = clip_boxes(xyxy[None], width_px, height_px)[0]
    return int(np.floor(x1)), int(np.floor(y1)), int(np.ceil(x2)), int(np.ceil(y2))


def frame_qualities(frame: Frame, tracks: Tracks) -> list[CropQuality]:
    """The quality of every track's box, with sharpness 0: `with_sharpness` adds that, it is the only costly part."""
    height_px, width_px = frame.image.shape[:2]
    inside = clip_boxes(tracks.xyxy, width_px, height_px)
    outside = outside_share(tracks.xyxy, width_px, height_px)
    margin_px = edge_margin_px((width_px, height_px))
    edge = np.where(touches_edge(tracks.xyxy, width_px, height_px, margin_px), EDGE_TRUNCATION, 0.0)
    columns = (inside[:, 3] - inside[:, 1], np.maximum(outside, edge), covered_share(tracks.xyxy), tracks.confidence)
    return [
        CropQuality(float(height), 0.0, float(truncation), float(overlap), float(confidence))
        for height, truncation, overlap, confidence in zip(*columns, strict=True)
    ]
