"""A room of 12 m that two calibrated cameras, door and hall, see from both ends."""

import numpy as np

from pipeline.ground import GroundPlane, homography_of_points

PICTURE_PX = (1280, 720)
_FOCAL_PX, _HEIGHT_M, _TILT = 900.0, 3.0, np.deg2rad(25.0)


def _pixels(places, top_m=0.0):
    """(N, 2) px of places (x to the right, y away) of a camera 3 m above the origin that looks along y, 25° down."""
    x, y = np.asarray(places, float).reshape(-1, 2).T
    down = _HEIGHT_M - top_m
    depth = y * np.cos(_TILT) + down * np.sin(_TILT)
    lower = down * np.cos(_TILT) - y * np.sin(_TILT)
    return np.stack([640 + _FOCAL_PX * x / depth, 360 + _FOCAL_PX * lower / depth], axis=1)


def _plane(turn=1.0, away_m=0.0):
    corners = np.array([[-2.0, 4.0], [2.0, 4.0], [2.0, 9.0], [-2.0, 9.0]])
    return GroundPlane(homography_of_points(_pixels(corners), turn * corners + [0.0, away_m]), size_px=PICTURE_PX)


GROUNDS = {"door": _plane(), "hall": _plane(-1.0, 12.0)}


def path(camera_id, start, velocity=(0.0, 0.0)):
    """Box over time of somebody 1.75 m tall who walks straight from a place (x, y) m at time 0."""

    def box(at_s):
        place = np.array(start) + at_s * np.array(velocity)
        own = np.array([0.0, 12.0]) - place if camera_id == "hall" else place
        (feet,), (head,) = _pixels([own]), _pixels([own], 1.75)
        half = 0.19 * (feet[1] - head[1])
        return [feet[0] - half, head[1], feet[0] + half, feet[1]]

    return box
