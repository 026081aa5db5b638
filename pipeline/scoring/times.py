"""Seconds of frames: from recorded time stamps where there are any, else from a frame rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.scoring.rows import Float64Array
from pipeline.types import IntArray

NOMINAL_FPS = 25.0  # frames/s where nothing is known: only for gaps and the order of appearances (PAL's frame rate)


@dataclass(frozen=True, eq=False, slots=True)
class FrameTimes:
    """When the frames of one camera were taken.

    Attributes:
        stamps_s: (F,) float64, time of frame n at index n - 1; None when only a rate, or nothing, is known.
        fps: frames/s; None when unknown.
        start_s: time of frame 1 where there are no stamps.
        doubt: why the times are unknown or guessed, for people; None when they are sure.
    """

    stamps_s: Float64Array | None = None
    fps: float | None = None
    start_s: float = 0.0
    doubt: str | None = None

    @property
    def is_known(self) -> bool:
        """False: `seconds` counts `NOMINAL_FPS`, good enough to order appearances and for nothing else."""
        return self.stamps_s is not None or self.fps is not None

    def seconds(self, frames: IntArray) -> Float64Array:
        """(N,) float64 times of frame numbers (N,) from 1; beyond the stamps the last step goes on."""
        frames = np.asarray(frames, np.int64)
        if self.stamps_s is None:
            return self.start_s + (frames - 1) / (self.fps or NOMINAL_FPS)
        at = np.clip(frames, 1, len(self.stamps_s)) - 1
        return np.asarray(self.stamps_s[at] + (frames - 1 - at) * self._step_s())

    def second(self, frame: int) -> float:
        """The time of one frame."""
        return float(self.seconds(np.array([frame], np.int64))[0])

    def frame_at(self, at_s: float) -> int:
        """The frame nearest to a time, from 1; of two as near the earlier one."""
        if self.stamps_s is None:
            return max(1, round((at_s - self.start_s) * (self.fps or NOMINAL_FPS)) + 1)
        if at_s > self.stamps_s.max():
            return len(self.stamps_s) + round((at_s - float(self.stamps_s[-1])) / self._step_s())
        return int(np.argmin(np.abs(self.stamps_s - at_s))) + 1

    def _step_s(self) -> float:
        """The last step between two stamps; the rate's where there is none, or time stands still or runs back."""
        stamps = self.stamps_s
        if stamps is not None and len(stamps) > 1 and stamps[-1] > stamps[-2]:
            return float(stamps[-1] - stamps[-2])
        return 1.0 / (self.fps or NOMINAL_FPS)


def site_times(
    cameras: Sequence[str], stamps_s: Mapping[str, Float64Array], fps: Mapping[str, float | None]
) -> dict[str, FrameTimes]:
    """What is known about the times of every camera.

    Args:
        stamps_s: camera → (F,) time of frame n at index n - 1; empty or with a value that is no number: not used.
        fps: camera → frames/s; not above 0: not used.

    Returns:
        One entry per camera. A camera with a rate only is taken to begin with the first stamp of the site (0 s when
        no camera has stamps), and says so in `doubt` when others have stamps.
    """
    usable = {camera: array for camera in cameras if (array := _usable(stamps_s.get(camera))) is not None}
    begin_s = min((float(array[0]) for array in usable.values()), default=0.0)
    return {camera: _times(camera, usable, fps.get(camera), begin_s) for camera in cameras}


def _usable(stamps_s: Float64Array | None) -> Float64Array | None:
    if stamps_s is None:
        return None
    array = np.asarray(stamps_s, np.float64).reshape(-1)
    return array if len(array) and np.isfinite(array).all() else None


def _times(camera: str, stamps: Mapping[str, Float64Array], fps: float | None, begin_s: float) -> FrameTimes:
    rate = fps if fps is not None and math.isfinite(fps) and fps > 0 else None
    if camera in stamps:
        return FrameTimes(stamps[camera], rate)
    if rate is None:
        doubt = (
            f"{camera}: neither frame times nor a frame rate are known: {NOMINAL_FPS:g} frames count as a second for "
            "gaps and the order of appearances, and re-entries are not scored"
        )
        return FrameTimes(start_s=begin_s, doubt=doubt)
    doubt = f"{camera}: only its frame rate is known; it is taken to begin with the site's first frame"
    return FrameTimes(fps=rate, start_s=begin_s, doubt=doubt if stamps else None)
