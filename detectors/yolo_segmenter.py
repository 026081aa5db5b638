"""Person masks by ultralytics' YOLO instance segmentation (`yolo11n-seg` and its like)."""

import logging
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from detectors.quiet import import_quietly
from pipeline.boxes import box_iou, clip_boxes
from pipeline.errors import WeightsError
from pipeline.types import FloatArray, Frame

logger = logging.getLogger(__name__)

MATCH_IOU = 0.5  # between a given box and an instance's box; two people side by side share less
_PERSON = 0  # COCO's class number, in all of ultralytics' own weights
_LOW_CONFIDENCE = 0.1  # the boxes are already believed: an instance only has to be there

# What ultralytics and PyTorch raise for files they cannot read
_LOAD_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
)

BoolMask = npt.NDArray[np.bool_]


class YoloSegmenter:
    """`pipeline.ports.Segmenter` on YOLO instance masks, matched one to one with the given boxes.

    Attributes:
        counters: `segmented` boxes; `without_instance`: boxes that no instance fits, which get an empty mask.

    Args:
        weights: a segmentation model's file (`.pt`, `.onnx`) or folder (OpenVINO).
        device: `auto` leaves the choice to ultralytics; else `cpu`, `cuda:0`, ….

    Raises:
        WeightsError: the weights are missing, damaged, or of another kind of model.
    """

    def __init__(
        self, weights: Path, *, device: str = "auto", image_size_px: int = 640, match_iou: float = MATCH_IOU
    ) -> None:
        if not Path(weights).exists():
            raise WeightsError(f"no segmentation weights at {weights}; put yolo11n-seg.pt there or use grabcut")
        self.counters: Counter[str] = Counter()
        self._model = _load(Path(weights))
        if Path(weights).suffix == ".pt" and self._model.model.task != "segment":
            raise WeightsError(f"{weights} is no segmentation model ({self._model.model.task}); its name ends in -seg")
        self._device = None if device == "auto" else device
        self._image_size_px = image_size_px
        self._match_iou = match_iou

    def segment(self, frame: Frame, boxes: FloatArray) -> BoolMask:
        """Disjoint (N, H, W) bool masks for boxes (N, 4) xyxy px.

        A box without an instance gets an empty mask, is counted and logged. Where instances overlap, the pixel goes to
        the person whose foot point is lower in the picture.
        """
        height_px, width_px = frame.image.shape[:2]
        boxes = clip_boxes(np.asarray(boxes, np.float32).reshape(-1, 4), width_px, height_px)
        masks = np.zeros((len(boxes), height_px, width_px), bool)
        if not len(boxes):
            return masks
        found_xyxy, found = self._instances(frame)
        for row, instance in matched(boxes, found_xyxy, self._match_iou):
            masks[row] = found[instance]
        missed = int(np.count_nonzero(~masks.any(axis=(1, 2))))
        self.counters["segmented"] += len(boxes) - missed
        self.counters["without_instance"] += missed
        if missed:
            logger.warning("camera %s: %d of %d boxes have no instance mask", frame.camera_id, missed, len(boxes))
        return disjoint(masks, boxes)

    def _instances(self, frame: Frame) -> tuple[FloatArray, BoolMask]:
        """Boxes (M, 4) xyxy px and masks (M, H, W) bool of the people the model finds."""
        height_px, width_px = frame.image.shape[:2]
        result = self._model.predict(
            frame.image,
            classes=[_PERSON],
            conf=_LOW_CONFIDENCE,
            imgsz=self._image_size_px,
            device=self._device,
            retina_masks=True,  # masks at the picture's size, not at the network's
            verbose=False,
        )[0]
        if result.masks is None or not len(result.boxes):
            return np.zeros((0, 4), np.float32), np.zeros((0, height_px, width_px), bool)
        masks = result.masks.data.cpu().numpy() > 0.5
        if masks.shape[1:] != (height_px, width_px):
            size = (width_px, height_px)
            masks = np.stack([cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for m in masks]) > 0
        return result.boxes.xyxy.cpu().numpy().astype(np.float32), masks


def _load(weights: Path) -> Any:
    ultralytics = import_quietly("ultralytics")  # a second and 200 MB: only where it is used
    try:
        return ultralytics.YOLO(str(weights), task="segment")
    except _LOAD_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(f"{weights}: cannot be loaded ({reason}); fetch the file again") from None


def matched(boxes: FloatArray, found: FloatArray, least_iou: float) -> list[tuple[int, int]]:
    """(row of `boxes`, row of `found`) pairs, one to one, of the greatest total IoU; none below `least_iou`."""
    iou = box_iou(boxes, found)
    usable = np.where(iou >= least_iou, iou, 0.0)
    pairs = zip(*linear_sum_assignment(-usable), strict=True)
    return [(int(i), int(j)) for i, j in pairs if usable[i, j] > 0]


def disjoint(masks: BoolMask, boxes: FloatArray) -> BoolMask:
    """The masks with every pixel in at most one of them: the nearest person's, by foot point."""
    result = np.zeros_like(masks)
    taken = np.zeros(masks.shape[1:], bool)
    for row in np.lexsort((boxes[:, 0], -boxes[:, 3])):
        result[row] = masks[row] & ~taken
        taken |= masks[row]
    return result
