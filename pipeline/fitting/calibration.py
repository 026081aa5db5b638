"""Reads a camera's calibration: where on the ground a point of the picture lies.

A calibration is a JSON object, one of two kinds. The ground is the plane z = 0 of one coordinate system that all
calibrated cameras of a site share, in metres unless `metres_per_unit` says otherwise.

- `homography`: 3 by 3, from picture (x right, y down, px) to ground (x, y), up to scale.
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

from pipeline.config import Config
from pipeline.errors import DecodeError

_DISTORTIONS = (4, 5, 8, 12, 14)  # lengths that OpenCV knows
_SAME_SHAPE = 0.01  # relative; another shape of picture is another crop of the sensor

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class GroundPlane:
    """One camera's way from picture to ground.

    Attributes:
        homography: (3, 3) from undistorted points to ground: of pixels, or of the lens's plane where there is a `lens`.
        lens: (3, 3) intrinsic matrix; None for a plain homography. distortion: (n,) of its straight lines.
        size_px: (width, height) that was calibrated; None: any.
        forward: (3,) depth in front of the camera of a point (x, y, 1) on the ground; None: not known.
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
        points = np.asarray(points_px, np.float64).reshape(-1, 2)
        if size_px and self.size_px:
            points = points * (np.array(self.size_px) / np.array(size_px))
        if self.lens is not None and len(points):
            points = cv2.undistortPoints(points[:, None], self.lens, self.distortion)[:, 0]
        rows = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.homography.T
        with np.errstate(divide="ignore", invalid="ignore"):
            ground = rows[:, :2] / rows[:, 2:]
        visible: npt.NDArray[np.bool_] = np.asarray(np.isfinite(ground).all(axis=1))
        if self.forward is not None:
            whole = np.concatenate([np.where(visible[:, None], ground, 0), np.ones((len(ground), 1))], axis=1)
            visible &= whole @ self.forward > 0
        return np.where(visible[:, None], ground * self.metres_per_unit, np.nan)

    def fits(self, size_px: tuple[int, int]) -> bool:
        """Whether pictures of this size are of the shape that was calibrated."""
        if self.size_px is None:
            return True
        ratios = np.array(size_px) / np.array(self.size_px)
        return bool(abs(ratios[0] / ratios[1] - 1) <= _SAME_SHAPE)


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


def read_calibrations(
    config: Config, sizes_px: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, GroundPlane], list[str]]:
    """The calibrations that the configuration names, by camera, and what must be told about those that do not serve.

    Args:
        sizes_px: (width, height) of each camera's picture.

    Raises:
        DecodeError: a file that cannot be read.
    """
    grounds, warnings = {}, []
    for camera in config.cameras:
        if camera.calibration is None:
            continue
        ground = read_calibration(Path(camera.calibration))
        if ground.fits(sizes_px[camera.id]):
            grounds[camera.id] = ground
        else:
            warnings.append(
                f"camera {camera.id}: its picture of {_by(sizes_px[camera.id])} px is not of the shape that was "
                f"calibrated ({_by(ground.size_px)} px); the calibration is not used"
            )
    return grounds, warnings


def _by(size_px: tuple[int, int] | None) -> str:
    return " by ".join(map(str, size_px or ()))


def _ground_plane(value: Mapping[str, Any]) -> GroundPlane:
    scale = float(value.get("metres_per_unit", 1.0))
    if not scale > 0:
        raise ValueError(f"metres_per_unit: expected more than 0, got {scale}")
    size_px = _size(value.get("resolution"))
    if "homography" in value:
        homography = _matrix(value["homography"], "homography", (3, 3))
        _check_turned(homography)
        return GroundPlane(homography, size_px=size_px, metres_per_unit=scale)
    missing = [key for key in ("intrinsic", "extrinsic") if key not in value]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing, and there is no homography")
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
