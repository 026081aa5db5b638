"""Calibration: where on the ground a point of a camera's picture lies.

A calibration is a JSON object, one of three kinds. The ground is the plane z = 0 of one coordinate system that all
calibrated cameras of a site share, in metres unless `metres_per_unit` says otherwise.

- `homography`: 3 by 3, from picture (x right, y down, px) to ground (x, y), up to scale.
- `points_px` and `points_m`: four or more places, as [x, y] in the picture and as [x, y] on the ground; of four, no
  three on a line. More than four are fitted by least squares.
- `intrinsic` (3 by 3, px), `extrinsic` (4 by 4 or 3 by 4, from the ground's system to the camera's: x right, y down,
  z forward) and, where the lens is not straight, `distortion` (4, 5, 8, 12 or 14 values k1, k2, p1, p2, k3, … of
  OpenCV's pinhole model). Matrices are nested lists, or `{"shape": …, "doubles": [...]}`; `extrinsic` may be a list of
  one `{"tf": matrix}`.

`resolution: {width, height}` is the size of the picture that was calibrated; pictures of the same shape and another
size are scaled to it. OpenCV's documentation of `projectPoints` has the model; `undistortPoints` inverts it by
iteration.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError

_DISTORTIONS = (4, 5, 8, 12, 14)  # lengths that OpenCV knows
_SAME_SHAPE = 0.01  # relative; another shape of picture is another crop of the sensor
# Second-smallest singular value of the equations of point pairs over the largest, in coordinates of unit spread. A
# square has 0.4 (0.01 seen at a very low angle); three of four points on a line leave the map undetermined: 0
_LEAST_SPREAD = 2e-3
_MOST_OFF = 0.1  # root mean square error of a fit, over the points' own spread: a point was mistyped

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class GroundPlane:
    """One camera's way from picture to ground.

    Attributes:
        homography: (3, 3) from undistorted points to ground: of pixels, or of the lens's plane where there is a `lens`.
        lens: (3, 3) intrinsic matrix; None for a plain homography. distortion: (n,) of its straight lines.
        size_px: (width, height) that was calibrated; None: any.
        forward: (3,) depth in front of the camera of a point (x, y, 1) on the ground; None: not known, then the
            ground is taken to be on that side of the horizon on which the middle of the picture's lower edge is.
        metres_per_unit: of the ground's coordinates.
    """

    homography: Matrix
    lens: Matrix | None = None
    distortion: Matrix | None = None
    size_px: tuple[int, int] | None = None
    forward: Matrix | None = None
    metres_per_unit: float = 1.0

    def ground_m(self, points_px: npt.NDArray[np.floating], size_px: tuple[int, int] | None = None) -> Matrix:
        """(N, 2) metres on the ground of points (N, 2) px; NaN at and above the horizon.

        Args:
            size_px: (width, height) of the picture that the points are in; None: as calibrated.
        """
        rows = self._rows(points_px, size_px)
        with np.errstate(divide="ignore", invalid="ignore"):
            ground = rows[:, :2] / rows[:, 2:]
        visible: npt.NDArray[np.bool_] = np.asarray(np.isfinite(ground).all(axis=1))
        if self.forward is not None:
            whole = np.concatenate([np.where(visible[:, None], ground, 0), np.ones((len(ground), 1))], axis=1)
            visible &= whole @ self.forward > 0
        elif size := size_px or self.size_px:
            below = self._rows(np.array([[size[0] / 2, size[1]]]), size_px)
            visible &= rows[:, 2] * below[0, 2] > 0
        return np.where(visible[:, None], ground * self.metres_per_unit, np.nan)

    def metres_per_px(self, points_px: npt.NDArray[np.floating], size_px: tuple[int, int] | None = None) -> Matrix:
        """(N, 2, 2) by how far (x, y) on the ground moves with one px to the right and one px down; NaN as `ground_m`.

        What an error of the point in the picture means on the ground: far from the camera, a pixel is half a metre.
        """
        points = np.asarray(points_px, np.float64).reshape(-1, 2)
        steps = [self.ground_m(points + 0.5 * s, size_px) - self.ground_m(points - 0.5 * s, size_px) for s in np.eye(2)]
        return np.stack(steps, axis=2)

    def fits(self, size_px: tuple[int, int]) -> bool:
        """Whether pictures of this size are of the shape that was calibrated."""
        if self.size_px is None:
            return True
        ratios = np.array(size_px) / np.array(self.size_px)
        return bool(abs(ratios[0] / ratios[1] - 1) <= _SAME_SHAPE)

    def _rows(self, points_px: npt.NDArray[np.floating], size_px: tuple[int, int] | None) -> Matrix:
        """(N, 3) homogeneous places on the ground."""
        points = np.asarray(points_px, np.float64).reshape(-1, 2)
        if size_px and self.size_px:
            points = points * (np.array(self.size_px) / np.array(size_px))
        if self.lens is not None and len(points):
            points = cv2.undistortPoints(points[:, None], self.lens, self.distortion)[:, 0]
        return np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.homography.T


def read_calibration(path: Path) -> GroundPlane:
    """The calibration in a JSON file.

    Raises:
        DecodeError: it cannot be read, or is not a calibration; says what is wrong.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DecodeError(f"{path}: cannot read this calibration ({error}); docs/fit-site.md shows one") from None
    if not isinstance(value, dict):
        raise DecodeError(f"{path}: a calibration is a JSON object; docs/fit-site.md shows one")
    try:
        return _ground_plane(value)
    except (ValueError, TypeError, KeyError) as error:
        raise DecodeError(f"{path}: not a calibration: {error}; docs/fit-site.md shows one") from None


def homography_of_points(points_px: Matrix, points_m: Matrix) -> Matrix:
    """(3, 3) the map that takes points (N, 2) of the picture to places (N, 2) on the ground, N >= 4, by least squares.

    The normalised direct linear transformation: Hartley and Zisserman, Multiple View Geometry, algorithm 4.2. Its sign
    is such that the third coordinate of the given points is positive: they are before the camera.

    Raises:
        ValueError: too few points, or on a line, or they contradict each other.
    """
    if len(points_px) != len(points_m) or len(points_px) < 4:
        raise ValueError(
            f"points_px and points_m: expected 4 or more pairs, got {len(points_px)} and {len(points_m)} points"
        )
    (here, to_here), (there, to_there) = _unit_spread(points_px), _unit_spread(points_m)
    ones, none = np.ones((len(here), 1)), np.zeros((len(here), 3))
    whole = np.concatenate([here, ones], axis=1)
    equations = np.concatenate(
        [
            np.concatenate([whole, none, -there[:, :1] * whole], axis=1),
            np.concatenate([none, whole, -there[:, 1:] * whole], axis=1),
        ]
    )
    _, strength, rows = np.linalg.svd(equations)
    if strength[7] < _LEAST_SPREAD * strength[0]:
        raise ValueError(
            "points_px, points_m: no map can be told from points on a line; no three of four may be on one"
        )
    unit = rows[8].reshape(3, 3)
    depth = whole @ unit[2]
    if not (np.all(depth > 0) or np.all(depth < 0)):
        raise ValueError("points_px, points_m: no picture shows points in this order; are two of them swapped?")
    off = np.linalg.norm((whole @ unit[:2].T) / depth[:, None] - there, axis=1)
    if np.sqrt((off**2).mean()) > _MOST_OFF:
        raise ValueError(f"points_px, points_m: the points contradict each other, number {off.argmax() + 1} the most")
    homography = np.linalg.inv(to_there) @ (unit * np.sign(depth[0])) @ to_here
    return np.asarray(homography, np.float64)


def _unit_spread(points: Matrix) -> tuple[Matrix, Matrix]:
    """(N, 2) the points moved to their middle and scaled to a mean distance of √2, and the (3, 3) map that does it."""
    middle = points.mean(axis=0)
    spread = float(np.linalg.norm(points - middle, axis=1).mean()) / np.sqrt(2)
    if spread <= 0:
        raise ValueError("points_px, points_m: all points are one place")
    return (points - middle) / spread, np.array(
        [[1 / spread, 0, -middle[0] / spread], [0, 1 / spread, -middle[1] / spread], [0, 0, 1]]
    )


def _ground_plane(value: Mapping[str, Any]) -> GroundPlane:
    scale = float(value.get("metres_per_unit", 1.0))
    if not scale > 0:
        raise ValueError(f"metres_per_unit: expected more than 0, got {scale}")
    size_px = _size(value.get("resolution"))
    if "homography" in value:
        homography = _matrix(value["homography"], "homography", (3, 3))
        _check_turned(homography)
        return GroundPlane(homography, size_px=size_px, metres_per_unit=scale)
    if "points_px" in value or "points_m" in value:
        points_px, points_m = (_points(value.get(name), name) for name in ("points_px", "points_m"))
        homography = homography_of_points(points_px, points_m)
        _check_turned(homography)
        # third row of the way back: 1 / depth of the way there, of the given points' sign
        forward = np.asarray(np.linalg.inv(homography)[2], np.float64)
        return GroundPlane(homography, size_px=size_px, forward=forward, metres_per_unit=scale)
    return _pinhole(value, size_px, scale)


def _pinhole(value: Mapping[str, Any], size_px: tuple[int, int] | None, scale: float) -> GroundPlane:
    missing = [key for key in ("intrinsic", "extrinsic") if key not in value]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing, and there is neither a homography nor points_px")
    lens = _matrix(value["intrinsic"], "intrinsic", (3, 3))
    from_ground = _extrinsic(value["extrinsic"])
    # a point (x, y, 0, 1) of the ground in the camera's system: columns x, y and the shift
    plane = from_ground[:, [0, 1, 3]]
    _check_turned(plane)
    homography = np.asarray(np.linalg.inv(plane), np.float64)
    return GroundPlane(homography, lens, _distortion(value.get("distortion")), size_px, plane[2], scale)


def _extrinsic(value: Any) -> Matrix:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if len(value) != 1:
            raise ValueError(f"extrinsic: expected one, got {len(value)}")
        value = value[0]["tf"]
    rows = _plain(value, "extrinsic")
    if rows.size not in (12, 16):
        raise ValueError(f"extrinsic: expected 4 by 4 or 3 by 4 values, got {rows.size}")
    return rows.reshape(-1, 4)[:3]


def _distortion(value: Any) -> Matrix | None:
    if value is None:
        return None
    values = _plain(value, "distortion").reshape(-1)
    if len(values) not in _DISTORTIONS:
        raise ValueError(f"distortion: expected {_DISTORTIONS} values, got {len(values)}")
    return values


def _points(value: Any, name: str) -> Matrix:
    if value is None:
        raise ValueError(f"{name} missing: points are given in the picture (points_px) and on the ground (points_m)")
    points = _plain(value, name)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name}: expected a list of [x, y], got shape {points.shape}")
    return points


def _matrix(value: Any, name: str, shape: tuple[int, int]) -> Matrix:
    values = _plain(value, name)
    if values.size != shape[0] * shape[1]:
        raise ValueError(f"{name}: expected {shape[0]} by {shape[1]} values, got {values.size}")
    return values.reshape(shape)


def _plain(value: Any, name: str) -> Matrix:
    """Nested lists, or an object that holds them flat."""
    values = np.array(value["doubles"] if isinstance(value, dict) else value, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers")
    return values


def _check_turned(matrix: Matrix) -> None:
    if abs(np.linalg.det(matrix)) < 1e-12 * max(float(np.abs(matrix).max()), 1e-12) ** 3:
        raise ValueError("the matrix cannot be inverted: it maps the ground onto a line")


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    width, height = int(value["width"]), int(value["height"])
    if min(width, height) <= 0:
        raise ValueError(f"resolution: expected a size in px, got {width} by {height}")
    return width, height
