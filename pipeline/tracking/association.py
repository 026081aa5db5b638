"""Which detection continues which track: two stages by confidence, as in ByteTrack (Zhang et al., ECCV 2022, Alg. 1).

Confident detections choose first, among all confirmed tracks, lost ones included. Weak ones may then continue a
confirmed track that was seen lately. What is left of the confident ones goes to the tentative tracks, and then gives
birth; weak ones never do. Departures: gated pairs do not take part in the assignment at all, and all times are seconds.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.config import TrackerConfig
from pipeline.types import Detections, FloatArray, IntArray, TimeArray

WEAK_IOU = 0.5  # a weak detection must lie well on the prediction; ByteTrack's value, .3 to .6 measured alike
TENTATIVE_IOU = 0.3  # ByteTrack's value for unconfirmed tracks; .1 to .5 measured alike
RECENT_S = 1.0  # weak detections continue tracks seen this lately; .2 to 2 s measured alike, shorter risks clutter less
TIME_SLACK_S = 1e-4  # Unix seconds in float64 are exact to 2e-7 s; frame times are rounded more coarsely than that

UNMATCHED = -1


class OrderedDetections(NamedTuple):
    """Rows of a `Detections`, which has checked them: xyxy (D, 4) px; confidence (D,), falling."""

    xyxy: FloatArray
    confidence: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """The tracks that look for a detection: predicted boxes (T, 4) px, confirmed (T,) bool, unseen_s (T,) seconds."""

    xyxy: FloatArray
    confirmed: npt.NDArray[np.bool_]
    unseen_s: TimeArray


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """What the stages found.

    Attributes:
        detection_of: (T,) index of the detection of each track, `UNMATCHED` (-1) where there is none.
        newborn: indices of the detections that start a track.
    """

    detection_of: IntArray
    newborn: IntArray


def in_canonical_order(detections: Detections) -> OrderedDetections:
    """The detections with an area, most confident first, ties by corner: their order in the input decides nothing."""
    xyxy, confidence = detections.xyxy, detections.confidence
    order = np.lexsort((xyxy[:, 3], xyxy[:, 2], xyxy[:, 1], xyxy[:, 0], -confidence))
    xyxy, confidence = xyxy.take(order, 0), confidence.take(order)
    with_area = np.logical_and.reduce(xyxy[:, 2:] > xyxy[:, :2], axis=1)
    if np.count_nonzero(with_area) < len(confidence):
        xyxy, confidence = xyxy[with_area], confidence[with_area]
    return OrderedDetections(xyxy, confidence)


def corner_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """`pipeline.boxes.box_iou` for corners (4, N) and (4, M), of boxes that have an area: (N, M)."""
    low = np.maximum(a[:2, :, None], b[:2, None, :])
    sides = np.minimum(a[2:, :, None], b[2:, None, :])
    sides -= low
    np.maximum(sides, 0, out=sides)
    shared = sides[0] * sides[1]
    union = (_area(a)[:, None] + _area(b)) - shared
    shared /= union
    return shared


def _area(corners: FloatArray) -> FloatArray:
    sides = corners[2:] - corners[:2]
    return sides[0] * sides[1]


def assign(similarity: FloatArray, least: float) -> tuple[IntArray, IntArray]:
    """Rows and columns of the one-to-one pairs with the largest total similarity, each at least `least` > 0.

    Pairs below `least` count nothing, so that they cannot push a good pair aside. No total is larger than the sum of
    the columns' best pairs: where these lie in different rows, as in 19 of 20 frames of a crowd, they are the answer.
    """
    if similarity.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = (similarity.max(axis=0) >= least).nonzero()[0]
    rows = similarity.argmax(axis=0).take(columns)
    if len(set(rows.tolist())) == len(rows):
        return rows, columns
    allowed = similarity >= least
    rows, columns = linear_sum_assignment(similarity * allowed, maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def associate(tracks: Candidates, detections: Detections | OrderedDetections, config: TrackerConfig) -> Matches:
    """Match detections, in canonical order, to tracks; either may be empty."""
    confidence = detections.confidence
    # In canonical order the confident detections come first, then the weak ones, then those that are nobody.
    strong = np.count_nonzero(confidence >= config.high_confidence)
    weak = np.count_nonzero(confidence >= config.low_confidence)
    detection_of = np.full(len(tracks.confirmed), UNMATCHED)
    iou = corner_iou(np.ascontiguousarray(tracks.xyxy.T), np.ascontiguousarray(detections.xyxy.T))

    def stage(rows: IntArray, columns: IntArray, least: float) -> None:
        a, b = assign(iou.take(rows, axis=0).take(columns, axis=1), least)
        detection_of[rows[a]] = columns[b]

    def unclaimed() -> IntArray:
        free = np.ones(len(confidence) + 1, bool)  # the last one stands for UNMATCHED
        free[detection_of] = False
        return free[:strong].nonzero()[0]

    stage(tracks.confirmed.nonzero()[0], np.arange(strong), config.match_iou)
    if weak > strong:
        recent = tracks.unseen_s <= RECENT_S + TIME_SLACK_S
        rows = (tracks.confirmed & recent & (detection_of == UNMATCHED)).nonzero()[0]
        stage(rows, np.arange(strong, weak), WEAK_IOU)
    left = unclaimed()
    if left.size and np.count_nonzero(tracks.confirmed) < len(tracks.confirmed):
        stage((~tracks.confirmed).nonzero()[0], left, TENTATIVE_IOU)
        left = unclaimed()
    return Matches(detection_of, left[confidence[left] >= config.birth_confidence])
