"""Where synthetic cameras stand on one floor plan: from ground to picture and back, exactly.

A camera of a scene looks straight ahead over a level floor, its sensor shifted so that the horizon lies at
`horizon_y`: a pinhole. A point of the floor `z` metres in front of it and `x` metres to its right is seen at column
`width / 2 + focal_px * x / z` and row `horizon_y + focal_px * h / z`, with `h` the camera's height above the floor.
That is a homography between picture and floor.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.scenes.cameras import PERSON_M, SyntheticCamera
from pipeline.scenes.paths import Walk, Waypoint

Points = npt.NDArray[np.float64]  # (N, 2)

_STEP_S = 0.25  # s between two waypoints of a walk: a walker's way bends by less than a pixel in between
_MARGIN = 0.16  # picture widths beyond the edge where a walk begins and ends, as of the demo's walks


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a camera stands on the floor plan, and where it looks.

    Attributes:
        x_m, y_m: metres. heading_deg: clockwise from the plan's y axis. focal_px: of the lens.
    """

    x_m: float
    y_m: float
    heading_deg: float
    focal_px: float

    @property
    def axes(self) -> tuple[Points, Points]:
        """(2,) to the camera's right and (2,) ahead of it, unit vectors of the plan."""
        sine, cosine = np.sin(np.radians(self.heading_deg)), np.cos(np.radians(self.heading_deg))
        return np.array([cosine, -sine]), np.array([sine, cosine])


class Stop(NamedTuple):
    """A place of somebody at a time, metres of the plan."""

    at_s: float
    x_m: float
    y_m: float


@dataclass(frozen=True, slots=True)
class GroundPath:
    """One person's way over the floor, in straight lines between stops in order of time."""

    person_id: int
    stops: tuple[Stop, ...]

    @property
    def start_s(self) -> float:
        return self.stops[0].at_s

    @property
    def end_s(self) -> float:
        return self.stops[-1].at_s

    def at(self, times_s: npt.NDArray[np.float64]) -> Points:
        """(N, 2) metres at times (N,)."""
        times, xs, ys = zip(*self.stops, strict=True)
        return np.stack([np.interp(times_s, times, xs), np.interp(times_s, times, ys)], axis=1)


def camera_height_m(camera: SyntheticCamera) -> float:
    """Metres above the floor."""
    return PERSON_M / camera.person_share


def picture_to_ground(camera: SyntheticCamera, placement: Placement) -> npt.NDArray[np.float64]:
    """(3, 3) homography from px to metres of the plan."""
    right, ahead = placement.axes
    height_m = camera_height_m(camera)
    rows = [
        [
            right[i] * height_m,
            origin_m,
            ahead[i] * placement.focal_px * height_m
            - origin_m * camera.horizon_y
            - right[i] * height_m * camera.width_px / 2,
        ]
        for i, origin_m in enumerate((placement.x_m, placement.y_m))
    ]
    return np.array([*rows, [0.0, 1.0, -camera.horizon_y]])


def ground_to_picture(camera: SyntheticCamera, placement: Placement, points_m: Points) -> Points:
    """(N, 2) px of points (N, 2) of the plan; NaN for those that are not in front of the camera."""
    right, ahead = placement.axes
    relative = points_m - np.array([placement.x_m, placement.y_m])
    x_m, z_m = relative @ right, relative @ ahead
    scale = placement.focal_px / np.where(z_m > 0, z_m, np.nan)
    return np.stack([camera.width_px / 2 + scale * x_m, camera.horizon_y + scale * camera_height_m(camera)], axis=1)


def see_path(path: GroundPath, camera: SyntheticCamera, placement: Placement) -> Walk | None:
    """The path as a walk through the camera's picture; None when it does not come near it."""
    stops_s = np.array([stop.at_s for stop in path.stops])
    grid_s = np.arange(path.start_s, path.end_s, _STEP_S)
    times_s = np.unique(np.concatenate([grid_s, stops_s]))
    seen = ground_to_picture(camera, placement, path.at(times_s))
    x = seen[:, 0] / camera.width_px
    near = np.flatnonzero((x > -_MARGIN) & (x < 1 + _MARGIN))
    if len(near) < 2 or np.ptp(x[near]) == 0:  # who only stands there, at the margin, is not seen
        return None
    kept = slice(near[0], near[-1] + 1)
    depth = (seen[kept, 1] - camera.near_y) / (camera.far_y - camera.near_y)
    points = tuple(Waypoint(*row) for row in zip(times_s[kept].tolist(), x[kept].tolist(), depth.tolist(), strict=True))
    metres_wide = camera.width_px / camera.px_per_m(float(depth.mean()))
    return Walk(path.person_id, camera.id, points, metres_wide)
