"""From the picture to the ground: calibration files and the maps in them."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DecodeError
from pipeline.ground import GroundPlane, read_calibration

HOMOGRAPHY = [[0.01, 0.0, -3.2], [0.0, 0.02, -4.0], [0.0, 0.001, 1.0]]
LENS = [[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]
DISTORTION = [-0.2, 0.1, 0.001, -0.002, 0.0]
PLACES = np.array([[0.0, 0.0], [1.5, 2.0], [-2.0, 4.0], [2.5, 6.0], [-1.0, 1.0], [0.5, 5.0]])


def camera_above(height_m=3.0, tilt_deg=30.0):
    """4 by 4, ground to camera: 5 m before the origin, looking along y and down."""
    tilt = np.deg2rad(tilt_deg)
    right, down, forward = (
        np.array([1.0, 0, 0]),
        np.array([0, -np.sin(tilt), -np.cos(tilt)]),
        np.array([0, np.cos(tilt), -np.sin(tilt)]),
    )
    turn = np.stack([right, down, forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, -turn @ np.array([0.0, -5.0, height_m])
    return matrix


def written(tmp_path, value):
    path = tmp_path / "camera.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def seen(ground, matrix, distortion=DISTORTION):
    """Pixels of places on the ground, by OpenCV's own projection."""
    points = np.concatenate([ground, np.zeros((len(ground), 1))], axis=1)
    turn, _ = cv2.Rodrigues(matrix[:3, :3])
    pixels, _ = cv2.projectPoints(points, turn, matrix[:3, 3], np.array(LENS), np.array(distortion))
    return pixels[:, 0]


def pairs(count, tilt_deg=30.0):
    pixels = seen(PLACES[:count], camera_above(tilt_deg=tilt_deg), [0.0] * 5)
    return {"points_px": pixels.tolist(), "points_m": PLACES[:count].tolist()}


def test_a_homography_takes_pixels_to_metres(tmp_path):
    plane = read_calibration(written(tmp_path, {"homography": HOMOGRAPHY, "metres_per_unit": 0.5}))
    expected = np.array([0.01 * 100 - 3.2, 0.02 * 300 - 4.0]) / 1.3 * 0.5
    assert plane.ground_m(np.array([[100.0, 300.0]])) == pytest.approx(expected[None])
    assert plane.ground_m(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("distortion", [None, DISTORTION])
def test_lens_and_place_of_a_camera_take_pixels_back_to_the_ground(tmp_path, distortion):
    matrix = camera_above()
    value = {"intrinsic": LENS, "extrinsic": matrix.tolist(), "distortion": distortion}
    plane = read_calibration(written(tmp_path, value))
    ground = PLACES[:3]
    assert plane.ground_m(seen(ground, matrix, distortion or [0.0] * 5)) == pytest.approx(ground, abs=1e-3)


@pytest.mark.parametrize("count", [4, 6])
def test_four_pairs_of_points_or_more_are_a_calibration(tmp_path, count):
    plane = read_calibration(written(tmp_path, pairs(count)))
    assert plane.ground_m(seen(PLACES, camera_above(), [0.0] * 5)) == pytest.approx(PLACES, abs=1e-6)
    assert plane.ground_m(np.zeros((0, 2))).shape == (0, 2)


def test_more_than_four_pairs_are_fitted_by_least_squares(tmp_path):
    value = pairs(6)
    value["points_m"] = (PLACES + np.array([[0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05], [0.05, 0], [0, 0]])).tolist()
    plane = read_calibration(written(tmp_path, value))
    off = np.linalg.norm(plane.ground_m(seen(PLACES, camera_above(), [0.0] * 5)) - PLACES, axis=1)
    assert 0.005 < off.max() < 0.1


def test_at_and_above_the_horizon_there_is_no_ground(tmp_path):
    horizon_px = 360 - 1000 * np.tan(np.deg2rad(10.0))
    points = np.array([[640.0, horizon_px - 50], [640.0, horizon_px + 50]])
    lens = {"intrinsic": LENS, "extrinsic": camera_above(tilt_deg=10.0).tolist()}
    for value in (lens, pairs(6, tilt_deg=10.0)):
        plane = read_calibration(written(tmp_path, value))
        found = plane.ground_m(points)
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
        assert np.isnan(plane.metres_per_px(points)[0]).all() and np.isfinite(plane.metres_per_px(points)[1]).all()
        plain = GroundPlane(-plane.homography, plane.lens, plane.distortion)  # of either sign, and nothing said
        found = plain.ground_m(points, (1280, 720))
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_a_pixel_far_from_the_camera_is_more_of_the_ground(tmp_path):
    plane = read_calibration(written(tmp_path, pairs(4)))
    pixels = seen(np.array([[0.0, 0.0], [0.0, 10.0]]), camera_above(), [0.0] * 5)
    near, far = plane.metres_per_px(pixels)
    step = np.array([[2.0, -1.0]])
    assert plane.ground_m(pixels[:1] + step) - plane.ground_m(pixels[:1]) == pytest.approx(step @ near.T, rel=0.02)
    assert abs(far[1, 1]) > 3 * abs(near[1, 1]) and far[1, 1] < 0
    assert plane.metres_per_px(np.zeros((0, 2))).shape == (0, 2, 2)
    small = read_calibration(written(tmp_path, pairs(4) | {"resolution": {"width": 1280, "height": 720}}))
    assert small.metres_per_px(pixels / 2, (640, 360)) == pytest.approx(2 * np.stack([near, far]), rel=1e-3)


def test_matrices_may_be_flat_with_their_shape_and_the_extrinsic_a_list_of_one(tmp_path):
    matrix = camera_above()

    def flat(values):
        return {"shape": {"dims": []}, "doubles": np.ravel(values).tolist()}

    value = {"intrinsic": flat(LENS), "extrinsic": [{"from": "1", "tf": flat(matrix)}], "distortion": flat(DISTORTION)}
    plane = read_calibration(written(tmp_path, value))
    ground = np.array([[0.5, 1.0]])
    assert plane.ground_m(seen(ground, matrix)) == pytest.approx(ground, abs=1e-3)


def test_pictures_of_another_size_are_scaled_and_those_of_another_shape_do_not_fit(tmp_path):
    value = {"homography": HOMOGRAPHY, "resolution": {"width": 1280, "height": 720}}
    plane = read_calibration(written(tmp_path, value))
    whole = plane.ground_m(np.array([[100.0, 300.0]]), (1280, 720))
    assert plane.ground_m(np.array([[50.0, 150.0]]), (640, 360)) == pytest.approx(whole)
    assert plane.fits((640, 360)) and not plane.fits((640, 480))
    assert read_calibration(written(tmp_path, {"homography": HOMOGRAPHY})).fits((640, 480))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("nonsense", "cannot read"),
        ([], "JSON object"),
        ({}, "intrinsic and extrinsic missing"),
        ({"intrinsic": LENS}, "extrinsic missing"),
        ({"homography": [1, 2]}, "3 by 3"),
        ({"homography": [[1, 2, 3]] * 3}, "inverted"),
        ({"homography": [[1, 0, 0], [0, 1, 0], [0, 0, "x"]]}, "not a calibration"),
        ({"homography": HOMOGRAPHY, "metres_per_unit": 0}, "more than 0"),
        ({"homography": HOMOGRAPHY, "resolution": {"width": 0, "height": 1}}, "size"),
        ({"intrinsic": LENS, "extrinsic": [], "distortion": []}, "extrinsic"),
        ({"intrinsic": LENS, "extrinsic": camera_above().tolist(), "distortion": [1.0]}, "distortion"),
        ({"intrinsic": LENS, "extrinsic": [{"tf": 1}, {"tf": 2}]}, "expected one"),
        (pairs(3), "4 or more"),
        (pairs(4) | {"points_m": PLACES.tolist()}, "4 or more pairs"),
        ({"points_px": pairs(4)["points_px"]}, "points_m missing"),
        (pairs(4) | {"points_px": [[1, 2, 3]] * 4}, r"\[x, y\]"),
        (pairs(4) | {"points_px": [[1, 2]] * 4}, "one place"),
        ({"points_px": [[0, 0], [10, 10], [20, 20], [30, 30]], "points_m": [[0, 0], [1, 1], [2, 2], [3, 3]]}, "line"),
        ({"points_px": [[0, 0], [10, 0], [20, 0], [5, 5]], "points_m": [[0, 0], [1, 0], [2, 0], [1, 1]]}, "line"),
        (pairs(4) | {"points_m": PLACES[[1, 0, 2, 3]].tolist()}, "swapped|inverted"),
        (pairs(6) | {"points_m": [*PLACES[:5].tolist(), [5.0, 0.5]]}, "contradict|swapped"),
    ],
)
def test_what_is_not_a_calibration_is_refused_with_the_files_name(tmp_path, value, told):
    with pytest.raises(DecodeError, match=told) as error:
        read_calibration(written(tmp_path, value))
    assert "camera.json" in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(DecodeError, match=r"nowhere\.json"):
        read_calibration(Path("nowhere.json"))


def test_a_real_sites_cameras_agree_on_where_people_stand():
    """lab4cam: foot points of the annotated boxes, of two cameras, in metres."""
    folder = Path(os.environ.get("MEDIA_DIR", "nowhere")) / "lab4cam"
    if not folder.exists():
        pytest.skip("needs MEDIA_DIR with lab4cam")
    places = []
    for camera in ("cam1", "cam2"):
        plane = read_calibration(folder / f"calib_{camera}.json")
        rows = np.loadtxt(folder / "gt" / f"{camera}.txt", delimiter=",")
        foot = np.stack([rows[:, 2] + rows[:, 4] / 2, rows[:, 3] + rows[:, 5]], axis=1)
        found = plane.ground_m(foot, (1288, 728))
        places.append({(f, i): place for f, i, place in zip(rows[:, 0], rows[:, 1], found, strict=True)})
    apart = [np.linalg.norm(places[0][key] - places[1][key]) for key in places[0] if key in places[1]]
    assert len(apart) > 300 and np.median(apart) < 0.4
