"""The calibrations that a configuration names."""

import json

import pytest

from pipeline.config import CameraConfig, Config
from pipeline.errors import DecodeError
from pipeline.fitting.calibration import read_calibrations

HOMOGRAPHY = [[0.01, 0.0, -3.2], [0.0, 0.02, -4.0], [0.0, 0.001, 1.0]]


def test_cameras_without_a_calibration_or_with_pictures_of_another_shape_have_no_ground(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"homography": HOMOGRAPHY, "resolution": {"width": 1280, "height": 720}}))
    config = Config(cameras=(CameraConfig("a", "a.mp4", calibration=str(path)), CameraConfig("b", "b.mp4")))
    grounds, warnings = read_calibrations(config, {"a": (640, 360), "b": (1, 1)})
    assert list(grounds) == ["a"] and not warnings
    grounds, (warning,) = read_calibrations(config, {"a": (640, 480), "b": (1, 1)})
    assert not grounds and "640 by 480" in warning and "1280 by 720" in warning


def test_no_camera_has_no_ground():
    assert read_calibrations(Config(), {}) == ({}, [])


def test_a_calibration_that_cannot_be_read_is_an_error():
    config = Config(cameras=(CameraConfig("a", "a.mp4", calibration="nowhere.json"),))
    with pytest.raises(DecodeError, match=r"nowhere\.json"):
        read_calibrations(config, {"a": (640, 360)})
