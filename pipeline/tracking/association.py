"""Which detection continues which track: two stages by confidence, as in ByteTrack (Zhang et al., ECCV 2022, Alg. 1).

Confident detections choose first, among all confirmed tracks, lost ones included. Weak ones may then continue a
confirmed track that was seen lately. What is left of the confident ones goes to the tentative tracks, and then gives
birth; weak ones never do. Departures: gated pairs do not take part in the assignment at all, and all times are seconds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.boxes import box_area, box_iou
from pipeline.config import TrackerConfig
from pipeline.types import Detections, FloatArray, IntArray, TimeArray

WEAK_IOU = 0.5  # a weak detection must lie well on the prediction; ByteTrack's value, .3 to .6 measured alike
TENTATIVE_IOU = 0.3  # ByteTrack's value for unconfirmed tracks; .1 to .5 measured alike
RECENT_S = 1.0  # weak detections continue tracks seen this lately; .2 to 2 s measured alike, shorter risks clutter less
TIME_SLACK_S = 1e-4  # Unix seconds in float64 are exact to 2e-7 s; frame times are rounded more coarsely than that

UNMATCHED = -1


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


def in_canonical_order(detections: Detections) -> Detections:
    """The detections with an area, most confident first, ties by corner: their order in the input decides nothing."""
    kept = np.flatnonzero(box_area(detections.xyxy) > 0)
    x1, y1, x2, y2 = detections.xyxy[kept].T
    order = kept[np.lexsort((y2, x2, y1, x1, -detections.confidence[kept]))]
    return Detections(detections.xyxy[order], detections.confidence[order])


def assign(similarity: FloatArray, least: float) -> tuple[IntArray, IntArray]:
    """Rows and columns of the one-to-one pairs with the largest total similarity, each at least `least` > 0.

    Pairs below `least` count nothing, so that they cannot push a good pair aside.
    """
    allowed = similarity >= least
    rows, columns = linear_sum_assignment(np.where(allowed, similarity, 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def associate(tracks: Candidates, detections: Detections, config: TrackerConfig) -> Matches:
    """Match detections, in canonical order, to tracks; either may be empty."""
    confidence = detections.confidence
    strong = np.flatnonzero(confidence >= config.high_confidence)
    weak = np.flatnonzero((confidence < config.high_confidence) & (confidence >= config.low_confidence))
    detection_of = np.full(len(tracks.confirmed), UNMATCHED, np.int64)

    def stage(rows: IntArray, columns: IntArray, least: float) -> None:
        similarity = box_iou(tracks.xyxy[rows], detections.xyxy[columns])
        a, b = assign(similarity, least)
        detection_of[rows[a]] = columns[b]

    stage(np.flatnonzero(tracks.confirmed), strong, config.match_iou)
    recent = tracks.unseen_s <= RECENT_S + TIME_SLACK_S
    stage(np.flatnonzero(tracks.confirmed & recent & (detection_of == UNMATCHED)), weak, WEAK_IOU)
    strong = np.setdiff1d(strong, detection_of)
    stage(np.flatnonzero(~tracks.confirmed), strong, TENTATIVE_IOU)
    strong = np.setdiff1d(strong, detection_of)
    return Matches(detection_of, strong[confidence[strong] >= config.birth_confidence])
