"""OpenCV's people detector on the generated scenes, and its memory of still boxes."""

import cv2
import numpy as np
import pytest

from detectors.hog import HogDetector, _StillBoxes, evidence_to_confidence, merge_windows
from pipeline.boxes import box_iou
from pipeline.config import TrackerConfig
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import demo_scenario
from pipeline.types import Frame


def grey_frame(width: int, height: int) -> Frame:
    return Frame("a", "1", 0, 0.0, np.full((height, width, 3), 120, np.uint8))


@pytest.mark.parametrize("camera_id", ["lobby", "street", "hall"])
def test_whole_people_of_the_demo_are_found_with_few_false_boxes(camera_id: str) -> None:
    scene, detector = SceneCamera(demo_scenario(), camera_id), HogDetector()
    people = found = close = false = 0
    indices = range(10, 370, 12)
    for index in indices:
        frame, truth = scene.render(index)
        (boxes,) = detector.detect([frame])
        overlap = box_iou(boxes.xyxy, truth.xyxy)
        whole = (truth.xyxy[:, 0] > 0) & (truth.xyxy[:, 2] < 640) & (truth.visibility >= 0.6)
        best = overlap.max(axis=0, initial=0)[whole]
        people, found, close = people + len(best), found + (best >= 0.5).sum(), close + (best >= 0.7).sum()
        false += int((overlap.max(axis=1, initial=0) < 0.4).sum())
    assert people > 18
    assert found / people >= 0.95
    assert close / people >= 0.75
    assert false / len(indices) <= 0.6


def test_bigger_pictures_are_scaled_down_and_boxes_come_back_in_their_pixels() -> None:
    frame, truth = SceneCamera(demo_scenario(), "lobby").render(30)
    large = cv2.resize(frame.image, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    (boxes,) = HogDetector().detect([Frame("a", "1", 0, 0.0, large)])
    assert box_iou(boxes.xyxy, truth.xyxy * 3).max() > 0.6


@pytest.mark.parametrize(("width", "height"), [(640, 360), (40, 30), (1, 1), (3000, 20)])
def test_a_blank_or_tiny_picture_holds_nobody(width: int, height: int) -> None:
    (boxes,) = HogDetector().detect([grey_frame(width, height)])
    assert len(boxes) == 0


def test_confidence_separates_the_trackers_thresholds() -> None:
    weak, sure, most = evidence_to_confidence(np.array([0.5, 5.0, 500.0], np.float32))
    assert weak == pytest.approx(TrackerConfig().low_confidence)
    assert sure == pytest.approx(TrackerConfig().birth_confidence)
    assert sure < most < 1
    assert evidence_to_confidence(np.zeros(0, np.float32)).shape == (0,)


def test_windows_of_one_person_become_one_box_with_their_evidence_together() -> None:
    windows = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [100, 0, 110, 20]], np.float32)
    boxes, evidence = merge_windows(windows, np.array([0.5, 0.5, 1.0], np.float32))
    assert np.allclose(boxes, [[0.5, 0, 10.5, 20], [100, 0, 110, 20]])
    assert evidence.tolist() == [2.0, 1.5]
    empty, none = merge_windows(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert empty.shape == (0, 4) and none.shape == (0,)


def test_a_weak_box_that_stays_becomes_background_and_is_forgotten_when_gone() -> None:
    memory, box = _StillBoxes(), np.array([[10, 10, 50, 120]], np.float32)
    none = np.zeros((0, 4), np.float32)
    seen = [bool(memory.seen(box, at_s)[0]) for at_s in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert seen == [False, False, False, True, True]
    assert not memory.seen(box + 200, 2.1)[0]
    assert memory.seen(none, 3.0).shape == (0,)
    assert memory.seen(box, 5.0)[0]
    assert not memory.seen(box, 30.0)[0]


def test_a_weak_box_that_walks_is_never_background() -> None:
    memory = _StillBoxes()
    steps = [np.array([[10 + 10 * i, 10, 50 + 10 * i, 120]], np.float32) for i in range(30)]
    assert not any(memory.seen(box, 0.1 * i)[0] for i, box in enumerate(steps))


def test_cameras_do_not_share_the_memory_of_still_boxes() -> None:
    frame, _ = SceneCamera(demo_scenario(), "lobby").render(0)
    shared, alone = HogDetector(), HogDetector()
    for step in range(30):
        shared.detect([Frame("other", "1", step, 0.1 * step, frame.image)])
    fresh = Frame("lobby", "1", 0, 0.0, frame.image)
    assert np.array_equal(shared.detect([fresh])[0].xyxy, alone.detect([fresh])[0].xyxy)
