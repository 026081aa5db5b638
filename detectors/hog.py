"""OpenCV's HOG people detector: needs no weights, finds upright people of about 150 to 330 px in a 640 px wide picture.

Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005, with the SVM that OpenCV
ships. The figures below were fitted on this project's generated scenes (docs/scenes.md); they are a fallback for a
machine without weights, not a rival of a trained detector.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.boxes import box_area, box_intersection, box_iou, clip_boxes
from pipeline.types import Detections, FloatArray, Frame, ImageArray

_WORK_WIDTH_PX = 640  # wider pictures are scaled down to this
_SCALES = tuple(1.45 * 1.08**k for k in range(11))  # a person is about 100 px tall in the 128 px window
_WINDOW_PX = (64, 128)  # of the SVM
_STRIDE_PX = 8
_PAD_PX = 24  # border around each scale, so that windows may reach past the picture's edge
_HIT_THRESHOLD = -0.5  # SVM score: weaker windows are not looked at
_PERSON_SHARE = (0.47, 0.77)  # of the window's sides: the box around the person in it
_PERSON_UP = 0.022  # of the window's height: the person's middle lies so much above the window's
_SAME_PERSON_IOU = 0.4  # windows that overlap more than this speak for one person
_PART_SHARE = 0.75  # a box of which so much lies in a larger one is a part of that person, most often the upper body
_PEAK = 1.0  # exponent: a window weighs exp(score) in the mean box, so the best ones lead without jumping

# A person gives many windows, a door few: the evidence is the sum of (score − hit threshold) over a person's windows.
# On the generated scenes 1.0 keeps 97 % of the people and half a false box a frame, 5.0 one false box in 50 frames.
_LEAST_EVIDENCE = 0.5  # becomes confidence 0.1, the tracker's low threshold: may only continue a track
_SURE_EVIDENCE = 5.0  # becomes the birth threshold
_MOST_CONFIDENCE = 0.95

_STILL_IOU = 0.6  # two weak boxes of one camera that overlap so are the same piece of background
_STILL_AFTER_S = 1.5  # a weak box that has stayed so long is background; walkers move on in less
_STILL_FORGOTTEN_S = 4.0  # background that gave no box for so long is forgotten
_BIRTH_CONFIDENCE = 0.5  # the tracker's birth threshold; boxes from here on are never taken for background


class HogDetector:
    """Implements `ports.Detector`.

    Weak boxes that stay in one place are dropped: the detector remembers, per camera, where they were. That memory
    goes by the frames' time stamps, so a camera's frames must come in order; cameras do not influence each other.
    """

    def __init__(self, *, confidence: float = 0.1) -> None:
        """`confidence`: weaker boxes are not passed on; the tracker's low threshold by default."""
        self._confidence = confidence
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
        self._still: dict[str, _StillBoxes] = {}

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame, most confident first."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Frame) -> Detections:
        height, width = frame.image.shape[:2]
        shrink = max(1.0, width / _WORK_WIDTH_PX)
        windows, scores = self._windows(frame.image, shrink)
        boxes, evidence = merge_windows(_person_boxes(windows), scores)
        whole = ~parts_of_others(boxes, evidence)
        boxes, evidence = boxes[whole], evidence[whole]
        confidence = evidence_to_confidence(evidence)
        boxes = clip_boxes(boxes, width, height)
        still = self._still.setdefault(frame.camera_id, _StillBoxes())
        weak = confidence < _BIRTH_CONFIDENCE
        keep = (confidence >= self._confidence) & (evidence >= _LEAST_EVIDENCE)
        keep[weak] &= ~still.seen(boxes[weak], frame.captured_at_s)
        return Detections(boxes[keep], confidence[keep])

    def _windows(self, image: ImageArray, shrink: float) -> tuple[FloatArray, FloatArray]:
        """Every window that scores: (N, 4) xyxy px in `image`, and its (N,) SVM score."""
        found, scores = [np.zeros((0, 2))], [np.zeros(0)]
        sizes = [np.zeros(0)]
        for scale in (shrink * s for s in _SCALES):
            size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
            if min(size) < 1:
                continue
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            small = cv2.copyMakeBorder(small, _PAD_PX, _PAD_PX, _PAD_PX, _PAD_PX, cv2.BORDER_REPLICATE)
            if small.shape[1] < _WINDOW_PX[0] or small.shape[0] < _WINDOW_PX[1]:
                continue
            points, weights = self._hog.detect(small, _HIT_THRESHOLD, (_STRIDE_PX, _STRIDE_PX), (0, 0))
            corners = np.asarray(points, np.float64).reshape(-1, 2)
            found.append((corners - _PAD_PX) * scale)
            scores.append(np.asarray(weights, np.float64).ravel())
            sizes.append(np.full(len(corners), scale))
        top_left = np.concatenate(found)
        sides = np.concatenate(sizes)[:, None] * np.array(_WINDOW_PX)
        windows = np.concatenate([top_left, top_left + sides], axis=1)
        return windows.astype(np.float32), np.concatenate(scores).astype(np.float32)


def evidence_to_confidence(evidence: FloatArray) -> FloatArray:
    """(N,) confidence: 0.1 at the least evidence, the birth threshold at sure evidence, linear, at most 0.95."""
    slope = (_BIRTH_CONFIDENCE - 0.1) / (_SURE_EVIDENCE - _LEAST_EVIDENCE)
    return np.clip(0.1 + slope * (evidence - _LEAST_EVIDENCE), 0.0, _MOST_CONFIDENCE).astype(np.float32)


def _person_boxes(windows: FloatArray) -> FloatArray:
    """(N, 4) the part of each window that the person fills."""
    middle = (windows[:, :2] + windows[:, 2:]) / 2
    middle = middle - np.array([0, _PERSON_UP], np.float32) * (windows[:, 2:] - windows[:, :2])
    half = (windows[:, 2:] - windows[:, :2]) / 2 * np.array(_PERSON_SHARE, np.float32)
    return np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def merge_windows(boxes: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One box per group of overlapping ones, the best-scored group first.

    Args:
        boxes: (N, 4) xyxy px. scores: (N,) SVM scores of at least the hit threshold.

    Returns:
        (M, 4) mean boxes and (M,) evidence, most evidence first.
    """
    alike = box_iou(boxes, boxes) > _SAME_PERSON_IOU
    free = np.ones(len(boxes), bool)
    merged, evidence = [], []
    for best in np.argsort(-scores, kind="stable"):
        if not free[best]:
            continue
        group = free & alike[best]
        group[best] = True  # a box without area overlaps nothing, not even itself
        free &= ~group
        weight = np.exp(_PEAK * (scores[group] - scores[best]))
        merged.append(weight @ boxes[group] / weight.sum())
        evidence.append(float((scores[group] - _HIT_THRESHOLD).sum()))
    order = np.argsort(-np.array(evidence), kind="stable")
    return (
        np.array(merged, np.float32).reshape(-1, 4)[order],
        np.array(evidence, np.float32)[order],
    )


def parts_of_others(boxes: FloatArray, evidence: FloatArray) -> npt.NDArray[np.bool_]:
    """(N,) which boxes are only a part of a person who has a box: mostly inside a larger one that is not much weaker.

    A trained detector is taught to answer once for a person; an SVM over windows of many scales is not.
    """
    area = box_area(boxes)
    share = box_intersection(boxes, boxes) / np.maximum(area[:, None], 1.0)
    inside = (share >= _PART_SHARE) & (area[None, :] > area[:, None]) & (evidence[None, :] >= 0.8 * evidence[:, None])
    np.fill_diagonal(inside, False)
    return np.asarray(inside.any(axis=1))


class _StillBoxes:
    """Where one camera's weak boxes have been, and since when."""

    def __init__(self) -> None:
        self._xyxy: FloatArray = np.zeros((0, 4), np.float32)
        self._first_s: npt.NDArray[np.float64] = np.zeros(0)
        self._last_s: npt.NDArray[np.float64] = np.zeros(0)

    def seen(self, boxes: FloatArray, at_s: float) -> npt.NDArray[np.bool_]:
        """(N,) whether each weak box has stayed long enough to be background; remembers all of them."""
        recent = np.abs(at_s - self._last_s) <= _STILL_FORGOTTEN_S  # a clock set back forgets all
        self._xyxy, self._first_s, self._last_s = self._xyxy[recent], self._first_s[recent], self._last_s[recent]
        overlap = box_iou(boxes, self._xyxy)
        known = overlap.max(axis=1, initial=0) >= _STILL_IOU
        place = overlap[known].argmax(axis=1) if known.any() else np.zeros(0, np.int64)
        self._last_s[place] = at_s
        still = np.zeros(len(boxes), bool)
        still[known] = at_s - self._first_s[place] >= _STILL_AFTER_S
        self._xyxy = np.concatenate([self._xyxy, boxes[~known]])
        self._first_s = np.concatenate([self._first_s, np.full((~known).sum(), at_s)])
        self._last_s = np.concatenate([self._last_s, np.full((~known).sum(), at_s)])
        return still
