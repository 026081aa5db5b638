"""One person's way through one camera's picture."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Side = Literal["left", "right"]

_SPEED_S = 0.1  # seconds over which a speed is taken


class Waypoint(NamedTuple):
    """x in picture widths (0 left edge, 1 right edge), depth 0 near to 1 far."""

    at_s: float
    x: float
    depth: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a person stands at one time.

    Attributes:
        faces_left: walks, or last walked, to the left.
        walked_m: metres since the walk began; drives the legs.
    """

    x: float
    depth: float
    faces_left: bool
    walked_m: float


@dataclass(frozen=True, eq=False, slots=True)
class Poses:
    """Where a person stands at several times, (N,) each; fields as of `Pose`."""

    x: npt.NDArray[np.float64]
    depth: npt.NDArray[np.float64]
    faces_left: npt.NDArray[np.bool_]
    walked_m: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Walk:
    """One person's way through one camera's picture, between waypoints in order of time."""

    person_id: int
    camera_id: str
    waypoints: tuple[Waypoint, ...]
    metres_wide: float  # width of the picture at the walk's depth

    @property
    def start_s(self) -> float:
        return self.waypoints[0].at_s

    @property
    def end_s(self) -> float:
        return self.waypoints[-1].at_s

    @cached_property
    def _table(self) -> tuple[list[float], list[float], list[float], list[float]]:
        times, xs, depths = (list(column) for column in zip(*self.waypoints, strict=True))
        walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(xs)))]) * self.metres_wide
        return times, xs, depths, walked.tolist()

    def pose(self, at_s: float) -> Pose | None:
        """Where the person is at this time; None before and after the walk."""
        if not self.start_s <= at_s < self.end_s:
            return None
        times, xs, depths, walked = self._table
        return Pose(
            x=float(np.interp(at_s, times, xs)),
            depth=float(np.interp(at_s, times, depths)),
            faces_left=self._faces_left(at_s),
            walked_m=float(np.interp(at_s, times, walked)),
        )

    def speed(self, at_s: float) -> float:
        """Picture widths per second around a time, whatever the direction; 0 before and after the walk."""
        times, _, _, walked = self._table
        metres = np.interp([at_s - _SPEED_S / 2, at_s + _SPEED_S / 2], times, walked)
        return float(metres[1] - metres[0]) / self.metres_wide / _SPEED_S

    def poses(self, times_s: npt.NDArray[np.float64]) -> Poses:
        """Where the person is at times (N,), all of them within the walk."""
        times, xs, depths, walked = self._table
        starts_s, left = self._moves
        place = np.clip(np.searchsorted(starts_s, times_s, side="right") - 1, 0, None)
        return Poses(
            np.interp(times_s, times, xs),
            np.interp(times_s, times, depths),
            np.array(left, bool)[place],
            np.interp(times_s, times, walked),
        )

    @cached_property
    def _moves(self) -> tuple[list[float], list[bool]]:
        """When each movement begins, and whether it goes to the left."""
        moves = [(a.at_s, b.x < a.x) for a, b in pairwise(self.waypoints) if b.x != a.x]
        return [start_s for start_s, _ in moves], [left for _, left in moves]

    def _faces_left(self, at_s: float) -> bool:
        starts_s, left = self._moves
        return left[max(bisect_right(starts_s, at_s) - 1, 0)]
