"""MOTChallenge rows of one camera: reading and writing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.types import IntArray, frozen_array

NOBODY = 0  # id of a box in `tracks_online` whose identity was not known yet

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Boxes with ids of one camera; any order, float64 as in the file.

    Attributes:
        frames: (N,) int64, from 1. ids: (N,) int64.
        xywh: (N, 4) float64, left, top, width, height, px.
        confidence: (N,) float64; 1 where the file has none.
    """

    frames: IntArray
    ids: IntArray
    xywh: Float64Array
    confidence: Float64Array

    def __post_init__(self) -> None:
        n = len(self.frames)
        for name, dtype, shape in (
            ("frames", np.int64, (n,)),
            ("ids", np.int64, (n,)),
            ("xywh", np.float64, (n, 4)),
            ("confidence", np.float64, (n,)),
        ):
            value: Any = frozen_array(getattr(self, name), f"Rows.{name}", dtype, shape)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.frames)

    @staticmethod
    def empty() -> "Rows":
        return Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
