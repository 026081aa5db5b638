"""The calibrations that a configuration names, for pictures whose size is known (`pipeline.ground` reads one file)."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config import Config
from pipeline.ground import GroundPlane, read_calibration


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
