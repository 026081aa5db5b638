"""The time of every frame of a camera, as `frame_times/<camera>.txt`: line n is frame n, in seconds."""

from array import array
from pathlib import Path

import numpy as np

from pipeline.background.files import write_bytes


class FrameTimeLog:
    """Collects the times of one camera's frames.

    Eight bytes a frame are kept in memory, twice; a day at 25 frames a second is 35 MB.
    """

    def __init__(self) -> None:
        self._index = array("q")
        self._times_s = array("d")

    def add(self, index: int, at_s: float) -> None:
        """Take the next frame; `index` is `Frame.index`, from 0."""
        self._index.append(index)
        self._times_s.append(at_s)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def footage_s(self) -> float:
        """From the first frame to the last; 0 without frames."""
        return self._times_s[-1] - self._times_s[0] if self._times_s else 0.0

    def write(self, out_dir: Path, camera_id: str) -> None:
        """Write the file; a frame that could not be decoded gets the time between its neighbours'.

        Raises:
            OutputError: the disk says no.
        """
        times_s: list[float] = []
        if self._index:
            index = np.asarray(self._index)
            filled = np.interp(np.arange(index[-1] + 1), index, np.asarray(self._times_s))
            filled[index] = np.asarray(self._times_s)
            times_s = filled.tolist()
        content = "".join(f"{at_s!r}\n" for at_s in times_s)
        write_bytes(out_dir / "frame_times" / f"{camera_id}.txt", content.encode())
