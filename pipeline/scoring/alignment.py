"""What is scored: results beside ground truth, frame by frame, after ignore regions, classes and annotated frames."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Float64Array, Rows
from pipeline.types import IntArray

MATCH_IOU = 0.5  # least overlap of a match, MOTChallenge's
_INSIDE_SHARE = 0.5  # a box with more of its area in an ignore region is not scored (DESIGN)
_EPSILON = float(np.finfo(np.float64).eps)  # TrackEval's tolerance at thresholds

NOT_ANNOTATED = "frame not annotated"
ON_DISTRACTOR = "on a distractor"
IN_IGNORED = "in an ignore region"
AFTER_LAST = "after the last frame"


@dataclass(frozen=True, eq=False, slots=True)
class ScoredFrame:
    """One frame: places of its boxes in `ScoredCamera.truth` and `.result`, and how they overlap.

    Attributes:
        frame: number from 1. truth: (n,) int64. result: (m,) int64.
        iou: (n, m) float64.
    """

    frame: int
    truth: IntArray
    result: IntArray
    iou: Float64Array


@dataclass(frozen=True, eq=False, slots=True)
class ScoredCamera:
    """One camera ready for the metrics.

    Attributes:
        truth: rows of people to be found, in scored frames only.
        result: rows that count, in scored frames only.
        kept: (M,) int64, place of each row of `result` among the rows that came in.
        frames: every scored frame in order, also those without any box.
        left_out: how many result rows were not scored, by reason ("frame not annotated", "on a distractor",
            "in an ignore region", "after the last frame").
    """

    camera_id: str
    truth: Rows
    result: Rows
    kept: IntArray
    frames: tuple[ScoredFrame, ...]
    left_out: dict[str, int]

    def with_ids(self, ids: IntArray) -> "ScoredCamera":
        """The same boxes under other ids, (M,) in the order of `result`."""
        result = Rows(self.result.frames, np.asarray(ids), self.result.xywh, self.result.confidence)
        return replace(self, result=result)


def iou_xywh(a: Float64Array, b: Float64Array) -> Float64Array:
    """(N, M) float64 intersection over union of boxes (N, 4) and (M, 4), left, top, width, height, px.

    Boxes without area overlap with nothing. Sides are taken between corners, as TrackEval does, so that a pair
    on a threshold falls on the same side of it.
    """
    low_a, low_b = a[:, None, :2], b[None, :, :2]
    high_a, high_b = low_a + a[:, None, 2:], low_b + b[None, :, 2:]
    shared = np.maximum(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0).prod(axis=2)
    area_a, area_b = (high_a - low_a).prod(axis=2), (high_b - low_b).prod(axis=2)
    union = area_a + area_b - shared
    has_area = (area_a > _EPSILON) & (area_b > _EPSILON) & (union > _EPSILON)
    return np.divide(shared, union, out=np.zeros_like(shared), where=has_area)


def align_camera(camera_id: str, truth: CameraTruth, results: Rows, frame_count: int | None = None) -> ScoredCamera:
    """Results beside ground truth, frame by frame.

    Scored are the annotated frames, or every frame from 1 to the last. Of these are left out: boxes more than half
    in an ignore region (of both sides), and result boxes matched to a distractor (`distractor_matches`).

    Args:
        frame_count: frames of the recording; None: as seqinfo.ini says, else up to the last row of either side.
            Rows after it, of both sides, are left out.
    """
    last = truth.frame_count if frame_count is None else frame_count
    frames = scored_frames(truth, results, last)
    of_truth = np.flatnonzero(np.isin(truth.rows.frames, frames) & ~in_ignored(truth.rows, truth.ignored))
    late = np.zeros(len(results), bool) if last is None else results.frames > last
    unannotated = ~late & ~np.isin(results.frames, frames)
    ignored = ~late & ~unannotated & in_ignored(results, truth.ignored)
    of_result = np.flatnonzero(~(late | unannotated | ignored))
    places = zip(
        _by_frame(truth.rows.frames, of_truth, frames), _by_frame(results.frames, of_result, frames), strict=True
    )
    pairs = [_frame_pair(truth, results, in_truth, in_results) for in_truth, in_results in places]
    people, kept = _joined([pair.people for pair in pairs]), _joined([pair.boxes for pair in pairs])
    left_out = {
        AFTER_LAST: int(late.sum()),
        NOT_ANNOTATED: int(unannotated.sum()),
        IN_IGNORED: int(ignored.sum()),
        ON_DISTRACTOR: len(of_result) - len(kept),
    }
    scored = _numbered(frames, pairs)
    return ScoredCamera(camera_id, _take(truth.rows, people), _take(results, kept), kept, scored, left_out)


def scored_frames(truth: CameraTruth, results: Rows, last: int | None) -> IntArray:
    """(F,) numbers of the frames to score; `last`: the recording's last frame, None where it is not known."""
    if truth.annotated is not None:
        return truth.annotated if last is None else truth.annotated[truth.annotated <= last]
    if last is None:
        last = max(int(truth.rows.frames.max(initial=0)), int(results.frames.max(initial=0)))
    return np.arange(1, last + 1, dtype=np.int64)


def in_ignored(rows: Rows, regions: Float64Array) -> npt.NDArray[np.bool_]:
    """(N,) whether more than half of a box lies in one region (R, 6: frame_from, frame_to, x, y, w, h) of its frame."""
    inside = np.zeros(len(rows), bool)
    low, high = rows.xywh[:, :2], rows.xywh[:, :2] + rows.xywh[:, 2:]
    area = rows.xywh[:, 2:].prod(axis=1)
    for first, last, x, y, width, height in regions:
        sides = np.minimum(high, [x + width, y + height]) - np.maximum(low, [x, y])
        shared = np.maximum(sides, 0).prod(axis=1)
        inside |= (rows.frames >= first) & (rows.frames <= last) & (shared > _INSIDE_SHARE * area)
    return inside


def distractor_matches(iou: Float64Array, is_distractor: npt.NDArray[np.bool_]) -> IntArray:
    """Which of the M results lie on a distractor, when matched one to one with all N rows of ground truth.

    The rule of MOTChallenge's evaluation for MOT16, MOT17 and MOT20: the matching with the largest sum of IoU among
    pairs with IoU of at least 0.5.
    """
    if not (len(iou) and is_distractor.any()):
        return np.zeros(0, np.int64)
    scores = np.where(iou < MATCH_IOU - _EPSILON, 0.0, iou)
    rows, columns = linear_sum_assignment(-scores)
    on_distractor: IntArray = columns[(scores[rows, columns] > _EPSILON) & is_distractor[rows]]
    return on_distractor


def truth_after(truth: CameraTruth, frame_count: int) -> int:
    """How many people's boxes the ground truth has after the last frame of the recording: not scored."""
    return int(((truth.rows.frames > frame_count) & (truth.roles == Role.PERSON)).sum())


class _FramePair(NamedTuple):
    """Places of the people and of the result boxes of one frame that count, and their IoU."""

    people: IntArray
    boxes: IntArray
    iou: Float64Array


def _frame_pair(truth: CameraTruth, results: Rows, in_truth: IntArray, in_results: IntArray) -> _FramePair:
    roles = truth.roles[in_truth]
    is_person = roles == Role.PERSON
    people = in_truth[is_person]
    if not (len(in_truth) and len(in_results)):
        return _FramePair(people, in_results, np.zeros((len(people), len(in_results))))
    iou = iou_xywh(truth.rows.xywh[in_truth], results.xywh[in_results])
    counts = np.ones(len(in_results), bool)
    counts[distractor_matches(iou, roles == Role.DISTRACTOR)] = False
    return _FramePair(people, in_results[counts], iou[is_person][:, counts])


def _by_frame(frame_of_row: IntArray, places: IntArray, frames: IntArray) -> list[IntArray]:
    """For each frame (sorted) the places of its rows, in the order of the file."""
    order = places[np.argsort(frame_of_row[places], kind="stable")]
    sorted_frames = frame_of_row[order]
    starts = np.searchsorted(sorted_frames, frames, side="left")
    ends = np.searchsorted(sorted_frames, frames, side="right")
    return [order[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _numbered(frames: IntArray, pairs: list[_FramePair]) -> tuple[ScoredFrame, ...]:
    """The frames, with places counted in the rows that are scored."""
    scored = []
    person = box = 0
    for frame, (people, boxes, iou) in zip(frames.tolist(), pairs, strict=True):
        of_truth, of_result = np.arange(person, person + len(people)), np.arange(box, box + len(boxes))
        scored.append(ScoredFrame(frame, of_truth, of_result, iou))
        person, box = person + len(people), box + len(boxes)
    return tuple(scored)


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _take(rows: Rows, places: IntArray) -> Rows:
    return Rows(rows.frames[places], rows.ids[places], rows.xywh[places], rows.confidence[places])
