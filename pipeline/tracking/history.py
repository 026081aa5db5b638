"""The boxes that the open tracks have passed, kept so that a frame costs one list entry, not one for each track."""

from array import array
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, IntArray, TimeArray

SORT_EVERY = 64  # frames that wait unsorted; the cost of sorting per frame no longer falls beyond about 50

_ROW = 6  # frame number, x1, y1, x2, y2, confidence


class Path(NamedTuple):
    """All boxes of one track, gaps filled: the arrays of a `Tracklet`."""

    frame_index: IntArray
    captured_at_s: TimeArray
    xyxy: FloatArray
    confidence: FloatArray


class TrackHistory:
    """Takes the boxes frame by frame and gives them back track by track.

    Boxes wait as they came. Every `SORT_EVERY` frames, and when a track ends, they are sorted to their tracks in one
    go. A track keeps 48 bytes a box. Frames are numbered here in the order of their processing, from 0.
    """

    def __init__(self) -> None:
        self._paths: dict[int, array[float]] = {}  # rows by serial
        self._waiting: list[tuple[int, IntArray, FloatArray, FloatArray]] = []
        self._first = 0  # number of the oldest frame that an open track may need
        self._index = array("q")  # of the frames from there on
        self._times_s = array("d")

    def add_frame(self, index: int, captured_at_s: float) -> None:
        """Begin a frame; times rise while any track is open."""
        if len(self._index) % SORT_EVERY == 0:
            self._sort()
            self._forget_frames()
        self._index.append(index)
        self._times_s.append(captured_at_s)

    def start(self, serials: IntArray) -> None:
        """Open an empty path for each serial (N,): boxes of others are not kept."""
        for serial in serials.tolist():
            self._paths[serial] = array("d")

    def add(self, serials: IntArray, xyxy: FloatArray, confidence: FloatArray) -> None:
        """Keep the boxes (N, 4) px of tracks (N,) in the frame begun last. The arrays must not change any more."""
        self._waiting.append((self._first + len(self._index) - 1, serials, xyxy, confidence))

    def drop(self, serials: IntArray) -> None:
        """Forget tracks that were never anybody."""
        for serial in serials.tolist():
            del self._paths[serial]

    def take(self, serials: IntArray) -> list[Path]:
        """The paths of tracks that ended; they are forgotten here."""
        self._sort()
        return [self._filled(np.array(self._paths.pop(serial)).reshape(-1, _ROW)) for serial in serials.tolist()]

    def split(self, serial: int, new_serial: int, after_s: float) -> tuple[Path, float] | None:
        """Give the boxes of an open track after a moment to another one, which is opened here.

        Returns:
            The path up to there, which is forgotten here, and the time of the first box after it; None, and no change,
            where there is no box before or none after.
        """
        self._sort()
        rows = np.array(self._paths[serial]).reshape(-1, _ROW)
        times_s = np.array(self._times_s)[rows[:, 0].astype(np.int64) - self._first]
        count = int(np.searchsorted(times_s, after_s, side="right"))
        if not 0 < count < len(rows):
            return None
        del self._paths[serial]
        self._paths[new_serial] = array("d", rows[count:].tobytes())
        return self._filled(rows[:count]), float(times_s[count])

    def _sort(self) -> None:
        """Move the waiting boxes to their tracks."""
        if not self._waiting:
            return
        numbers, serials, boxes, confidences = zip(*self._waiting, strict=True)
        self._waiting.clear()
        serial = np.concatenate(serials)
        rows = np.empty((len(serial), _ROW))
        rows[:, 0] = np.repeat(numbers, [len(s) for s in serials])
        rows[:, 1:5] = np.concatenate(boxes)
        rows[:, 5] = np.concatenate(confidences)
        order = serial.argsort(kind="stable")  # keeps each track's boxes in order of time
        rows, serial = rows[order], serial[order]
        starts = np.flatnonzero(np.diff(serial, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            path = self._paths.get(int(serial[start]))
            if path is not None:
                path.frombytes(rows[start:end].tobytes())

    def _forget_frames(self) -> None:
        """Let go of the frames before the first box of every open track."""
        end = self._first + len(self._index)
        needed = min((int(path[0]) for path in self._paths.values() if path), default=end)
        del self._index[: needed - self._first]
        del self._times_s[: needed - self._first]
        self._first = needed

    def _filled(self, rows: npt.NDArray[np.float64]) -> Path:
        """The path of rows (T, 6); frames without a box get one on a straight line, with confidence 0."""
        seen = rows[:, 0].astype(np.int64) - self._first  # places in the arrays of frames
        span = slice(int(seen[0]), int(seen[-1]) + 1)
        index, times_s = np.array(self._index[span]), np.array(self._times_s[span])
        seen -= seen[0]
        row_of = np.repeat(np.arange(len(seen)), np.diff(seen, append=len(index)))  # the last row up to each frame
        xyxy, confidence = rows[row_of, 1:5], rows[row_of, 5]
        gaps = np.flatnonzero(seen[row_of] != np.arange(len(index)))
        if gaps.size:
            before, after = seen[row_of[gaps]], seen[row_of[gaps] + 1]
            share = ((times_s[gaps] - times_s[before]) / (times_s[after] - times_s[before]))[:, None]
            xyxy[gaps] = (1 - share) * xyxy[before] + share * xyxy[after]
            confidence[gaps] = 0.0
        return Path(index, times_s, xyxy.astype(np.float32), confidence.astype(np.float32))
