"""What is scored: results beside ground truth, frame by frame, after ignore regions, classes and annotated frames."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.scoring.rows import Float64Array, Rows
from pipeline.types import IntArray


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
