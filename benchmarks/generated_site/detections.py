"""How good a detector's boxes are against ground truth: what it finds, what it makes up, how it shakes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.scoring.alignment import ScoredCamera, align_camera
from pipeline.scoring.appearances import match_boxes
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.scoring.rows import Rows, read_table, rows_of_table

WELL_PLACED_IOU = 0.7
MOST_APART = 10  # frames between two annotated ones whose errors are compared


@dataclass(frozen=True, slots=True)
class DetectionQuality:
    """Figures over all frames of all cameras; NaN where there is nothing to measure.

    Attributes:
        people: boxes to be found. recall, precision: at IoU 0.5, one to one. recall_70: at IoU 0.7.
        shake: standard deviation of a found box around the true one, from one annotated frame to the next, in shares
            of the true box's height: middle across, lower edge, height.
        offset: mean of the same three.
    """

    people: int
    recall: float
    recall_70: float
    precision: float
    shake: tuple[float, float, float]
    offset: tuple[float, float, float]


def read_recorded(folder: Path, cameras: Iterable[str], least_confidence: float) -> dict[str, Rows]:
    """Camera → recorded detections of at least this confidence; each row has an id of its own.

    Raises:
        DecodeError: a row that cannot be read.
    """
    found = {}
    for camera_id in cameras:
        table = read_table(folder / "recorded" / "detections" / f"{camera_id}.txt", 7)
        table.values[:, 1] = np.arange(1, len(table.values) + 1)  # a detection has no id
        rows = rows_of_table(table)
        sure = rows.confidence >= least_confidence
        found[camera_id] = Rows(rows.frames[sure], rows.ids[sure], rows.xywh[sure], rows.confidence[sure])
    return found


def judge_detections(
    truth: GroundTruth, found: Mapping[str, Rows], frame_counts: Mapping[str, int] | None = None
) -> DetectionQuality:
    """Compare detections with people to be found; distractors and ignored regions do not count."""
    people = boxes = matched = well = 0
    errors: list[npt.NDArray[np.float64]] = []
    steps: list[npt.NDArray[np.float64]] = []
    for camera_id, rows in found.items():
        camera = align_camera(camera_id, truth.cameras[camera_id], rows, (frame_counts or {}).get(camera_id))
        people, boxes = people + len(camera.truth), boxes + len(camera.result)
        own, iou, of_truth = _errors(camera)
        matched, well = matched + len(iou), well + int((iou >= WELL_PLACED_IOU).sum())
        errors.append(own)
        steps.append(_steps(own, camera.truth.frames[of_truth], camera.truth.ids[of_truth]))
    every, step = np.concatenate([np.zeros((0, 3)), *errors]), np.concatenate([np.zeros((0, 3)), *steps])
    return DetectionQuality(
        people, _share(matched, people), _share(well, people), _share(matched, boxes), _deviation(step), _mean(every)
    )


def _errors(camera: ScoredCamera) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """(M, 3) errors of the M matched boxes over the true height, (M,) their IoU, (M,) places of the true rows."""
    truth_of = match_boxes(camera).truth_of
    of_result = np.flatnonzero(truth_of >= 0)
    of_truth = truth_of[of_result]
    true, seen = camera.truth.xywh[of_truth], camera.result.xywh[of_result]
    height = true[:, 3:]
    middle = (seen[:, :1] + seen[:, 2:3] / 2) - (true[:, :1] + true[:, 2:3] / 2)
    foot = (seen[:, 1:2] + seen[:, 3:]) - (true[:, 1:2] + true[:, 3:])
    errors = np.concatenate([middle, foot, seen[:, 3:] - height], axis=1) / height
    return errors, _paired_iou(true, seen), of_truth


def _paired_iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(M,) overlap of each box with its partner; both (M, 4) xywh with an area."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    return np.asarray(shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared))


def _steps(
    errors: npt.NDArray[np.float64], frames: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(S, 3) changes of one person's error from one annotated frame to the next, over √2: the shake of a single box."""
    order = np.lexsort((frames, ids))
    next_to = (np.diff(ids[order]) == 0) & (np.diff(frames[order]) <= MOST_APART)
    return np.asarray(np.diff(errors[order], axis=0)[next_to] / np.sqrt(2))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _deviation(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Robust: 1.4826 times the median absolute deviation."""
    if not len(values):
        return (float("nan"),) * 3
    spread = 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)
    return float(spread[0]), float(spread[1]), float(spread[2])


def _mean(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    if not len(values):
        return (float("nan"),) * 3
    mean = values.mean(axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])
