"""Stays of people as boxes and frames, for experiments without a tracker."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.scenes.clips import CameraViews, person_views, write_crops
from pipeline.scenes.difficulty import HARD
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario, random_scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return random_scenario(5, 2, 14, 4, difficulty=HARD)


def views_of(scenario: Scenario, every_s: float = 0.4, shake: float = 0.0, visible: float = 0.3) -> list[CameraViews]:
    return list(person_views(scenario, every_s, shake, np.random.default_rng(1), least_visible=visible))


@pytest.fixture(scope="module")
def views(scenario: Scenario) -> list[CameraViews]:
    return views_of(scenario)


def test_every_stay_is_one_walk_with_its_true_boxes(scenario: Scenario, views: list[CameraViews]) -> None:
    assert [one.camera_id for one in views] == [camera.id for camera in scenario.cameras]
    assert sum(len(one.stays) for one in views) > 6
    for one in views:
        scene = SceneCamera(scenario, one.camera_id)
        walks = [walk for walk in scenario.walks if walk.camera_id == one.camera_id]
        for stay in one.stays:
            own = [
                walk
                for walk in walks
                if walk.person_id == stay.person_id
                and (walk.start_s <= stay.captured_at_s).all()
                and (stay.captured_at_s < walk.end_s).all()
            ]
            assert len(own) == 1
            assert (np.diff(stay.frame_index) % 4 == 0).all() and stay.camera_id == one.camera_id
            truth = scene.render(int(stay.frame_index[0]))[1]
            place = truth.person_ids.tolist().index(stay.person_id)
            assert np.array_equal(stay.xyxy[0], truth.xyxy[place])
            assert stay.visibility[0] == truth.visibility[place] and (stay.visibility >= 0.3).all()


def test_visits_of_a_person_in_a_camera_are_numbered_in_time(views: list[CameraViews]) -> None:
    for one in views:
        for person_id in {stay.person_id for stay in one.stays}:
            own = [stay for stay in one.stays if stay.person_id == person_id]
            assert [stay.visit for stay in own] == list(range(1, len(own) + 1))
            assert all(a.frame_index[-1] < b.frame_index[0] for a, b in pairwise(own))


def test_frames_come_once_in_order_with_everybodys_box(scenario: Scenario, views: list[CameraViews]) -> None:
    for one in views:
        given: dict[int, list[int]] = {}
        for frame, places, boxes in one.frames():
            assert frame.camera_id == one.camera_id and boxes.shape == (len(places), 4) and len(places) >= 1
            for place, box in zip(places, boxes, strict=True):
                stay = one.stays[place]
                given.setdefault(place, []).append(frame.index)
                assert np.array_equal(stay.xyxy[stay.frame_index.tolist().index(frame.index)], box)
        assert {place: stay.frame_index.tolist() for place, stay in enumerate(one.stays)} == given
    frame = next(views[0].frames())[0]
    assert np.array_equal(frame.image, SceneCamera(scenario, frame.camera_id).render(frame.index)[0].image)


def test_shaken_boxes_stay_within_the_share_and_follow_the_generator(
    scenario: Scenario, views: list[CameraViews]
) -> None:
    shaken, again = views_of(scenario, shake=0.1), views_of(scenario, shake=0.1)
    moved = 0.0
    for exact, one, same in zip(views, shaken, again, strict=True):
        for true, stay, copy in zip(exact.stays, one.stays, same.stays, strict=True):
            sides = np.tile(true.xyxy[:, 2:] - true.xyxy[:, :2], 2)
            assert (np.abs(stay.xyxy - true.xyxy) <= 0.1 * sides + 1e-3).all()
            assert np.array_equal(stay.xyxy, copy.xyxy)
            moved = max(moved, float((np.abs(stay.xyxy - true.xyxy) / sides).max()))
    assert moved > 0.08


def test_people_of_whom_too_little_shows_are_left_out(scenario: Scenario) -> None:
    strict, lax = views_of(scenario, visible=0.9), views_of(scenario, visible=0.0)
    count = [sum(len(stay.frame_index) for one in some for stay in one.stays) for some in (strict, lax)]
    assert 0 < count[0] < count[1]


def test_a_scene_without_people_has_cameras_without_stays() -> None:
    views = views_of(random_scenario(0, 2, 1, 1))
    assert [one.stays for one in views] == [(), ()]
    assert list(views[0].frames()) == []


def test_impossible_steps_and_shakes_are_refused(scenario: Scenario) -> None:
    for every_s, shake in ((0.0, 0.1), (-1.0, 0.1), (0.4, -0.1)):
        with pytest.raises(ValueError, match="every_s above 0"):
            views_of(scenario, every_s, shake)


def test_crops_are_written_as_person_camera_visit_frame(scenario: Scenario, tmp_path: Path) -> None:
    root = tmp_path / "crops"
    written = write_crops(scenario, root, 1.0, 0.05, np.random.default_rng(1))
    files = sorted(root.rglob("*.jpg"))
    assert len(files) == written > 20
    stays = [stay for one in views_of(scenario, 1.0, 0.05) for stay in one.stays]
    for stay in stays:
        folder = root / f"{stay.person_id:04d}" / stay.camera_id / f"{stay.visit:02d}"
        assert sorted(int(file.stem) - 1 for file in folder.iterdir()) == stay.frame_index.tolist()
    crop = cv2.imread(str(files[0]))
    assert crop is not None and crop.shape[0] > crop.shape[1]
    with pytest.raises(OutputError, match="not empty"):
        write_crops(scenario, root, 1.0, 0.05, np.random.default_rng(1))
    with pytest.raises(OutputError, match="choose another folder"):
        write_crops(scenario, files[0], 1.0, 0.05, np.random.default_rng(1))
