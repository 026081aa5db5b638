"""All open tracks of one camera as one set of parallel arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.tracking.kalman import StateArray
from pipeline.types import IntArray, TimeArray

NO_ID = 0  # tentative tracks have no id yet


@dataclass(eq=False, slots=True)
class TrackTable:
    """T tracks, oldest first. The tracker writes into the arrays; their length changes with births and deaths only.

    Attributes:
        states: (5, 4, T) of the Kalman model.
        serial: (T,) names a track inside the tracker from its birth on.
        ids: (T,) the public id; `NO_ID` (0) until the track is confirmed.
        first_s, last_s: (T,) times of the first and the last detection.
    """

    states: StateArray
    serial: IntArray
    ids: IntArray
    first_s: TimeArray
    last_s: TimeArray

    def __len__(self) -> int:
        return len(self.serial)

    @staticmethod
    def empty() -> "TrackTable":
        none = np.zeros(0, np.int64)
        return TrackTable(np.zeros((5, 4, 0)), none, none, np.zeros(0), np.zeros(0))

    @property
    def confirmed(self) -> npt.NDArray[np.bool_]:
        return self.ids != NO_ID

    @property
    def has_tentative(self) -> bool:
        return bool(np.count_nonzero(self.ids) < len(self.ids))

    def take(self, rows: IntArray) -> "TrackTable":
        """A copy of the tracks at `rows`."""
        return TrackTable(*(column.take(rows, axis=-1) for column in self._columns()))

    def joined(self, other: "TrackTable") -> "TrackTable":
        """A copy of these tracks, then the others."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return TrackTable(*(np.concatenate(pair, axis=-1) for pair in pairs))

    def _columns(self) -> tuple[npt.NDArray, ...]:
        return self.states, self.serial, self.ids, self.first_s, self.last_s
