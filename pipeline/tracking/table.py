"""All open tracks of one camera as one set of parallel arrays, and the boxes they have passed."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pipeline.tracking.kalman import StateArray
from pipeline.types import FloatArray, IntArray, TimeArray

NO_ID = 0  # tentative tracks have no id yet

_ROW = 7  # index, time, x1, y1, x2, y2, confidence


@dataclass(frozen=True, eq=False, slots=True)
class TrackTable:
    """T tracks, oldest first.

    Attributes:
        mean, covariance: (T, 4, 2) and (T, 4, 2, 2) of the Kalman model, px and px/s.
        serial: (T,) names a track inside the tracker from its birth on.
        ids: (T,) the public id; `NO_ID` (0) until the track is confirmed.
        first_s, last_s: (T,) times of the first and the last detection.
    """

    mean: StateArray
    covariance: StateArray
    serial: IntArray
    ids: IntArray
    first_s: TimeArray
    last_s: TimeArray

    def __len__(self) -> int:
        return len(self.serial)

    @staticmethod
    def empty() -> "TrackTable":
        none = np.zeros(0, np.int64)
        return TrackTable(np.zeros((0, 4, 2)), np.zeros((0, 4, 2, 2)), none, none, np.zeros(0), np.zeros(0))

    @property
    def confirmed(self) -> npt.NDArray[np.bool_]:
        return self.ids != NO_ID

    def where(self, mask: npt.NDArray[np.bool_]) -> "TrackTable":
        """The tracks that `mask` (T,) selects."""
        return TrackTable(*(getattr(self, f.name)[mask] for f in fields(self)))

    def joined(self, other: "TrackTable") -> "TrackTable":
        """These tracks, then the others."""
        return TrackTable(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


class TrackPath:
    """The growing list of one track's boxes: 56 bytes a box, so that an hour at 25 frames a second takes 5 MB."""

    def __init__(self) -> None:
        self._rows = array("d")

    def add(self, index: int, captured_at_s: float, xyxy: FloatArray, confidence: float) -> None:
        """Append the box (4,) px of a frame."""
        self._rows.extend((float(index), captured_at_s, *map(float, xyxy), float(confidence)))

    def fill_to(self, frames: Iterable[tuple[int, float]], captured_at_s: float, xyxy: FloatArray) -> None:
        """Append boxes between the last one and the coming one (4,) px, on a straight line, with confidence 0.

        Args:
            frames: (index, time) of processed frames, rising; only those strictly between the two boxes count.
        """
        start_s = self._rows[-_ROW + 1]
        before = np.array(self._rows[-_ROW + 2 : -1])
        for index, at_s in frames:
            if start_s < at_s < captured_at_s:
                share = (at_s - start_s) / (captured_at_s - start_s)
                self.add(index, at_s, (1 - share) * before + share * xyxy, 0.0)

    def rows(self) -> npt.NDArray[np.float64]:
        """(T, 7): frame index, time, x1, y1, x2, y2, confidence."""
        return np.array(self._rows).reshape(-1, _ROW)
