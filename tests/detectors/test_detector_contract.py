"""What every detector promises, whatever stands behind it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detectors.hog import HogDetector
from detectors.recorded import RecordedDetector
from detectors.yolo import YoloDetector
from pipeline.ports import Detector
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import demo_scenario
from pipeline.types import Detections, Frame

Factory = Callable[[], Detector]


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Empty, one person, two people, and another camera."""
    scenario = demo_scenario()
    lobby, hall = SceneCamera(scenario, "lobby"), SceneCamera(scenario, "hall")
    return [lobby.render(0)[0], lobby.render(30)[0], lobby.render(110)[0], hall.render(60)[0]]


def yolo_factory(name: str) -> Factory:
    folder = os.environ.get("MODELS_DIR")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"MODELS_DIR has no {name}")
    model = YoloDetector(Path(folder) / name, device="cpu")
    return lambda: model  # it has no memory between calls


@pytest.fixture(scope="module", params=["hog", "recorded", "yolo11n_int8_openvino_model", "yolo11n.pt"])
def make_detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Factory:
    if request.param == "hog":
        return HogDetector
    if request.param == "recorded":
        files = {}
        for camera, rows in {
            "lobby": "31,-1,260,60,90,270,0.9\n111,-1,400,60,90,270,0.5\n",
            "hall": "61,-1,10,99,60,190,1",
        }.items():
            files[camera] = tmp_path_factory.mktemp("det") / f"{camera}.txt"
            files[camera].write_text(rows)
        return lambda: RecordedDetector(files)
    return yolo_factory(request.param)


def same(a: Detections, b: Detections) -> bool:
    return (
        len(a) == len(b)
        and np.allclose(a.xyxy, b.xyxy, atol=1e-2)
        and np.allclose(a.confidence, b.confidence, atol=1e-4)
    )


def test_no_frames_give_an_empty_list(make_detector: Factory) -> None:
    assert make_detector().detect([]) == []


def test_an_empty_room_gives_no_confident_person(make_detector: Factory, frames: list[Frame]) -> None:
    (found,) = make_detector().detect(frames[:1])
    assert isinstance(found, Detections)
    assert found.xyxy.shape == (len(found), 4)
    assert not (found.confidence >= 0.6).any()


def test_people_are_found_inside_the_picture_with_confidences(make_detector: Factory, frames: list[Frame]) -> None:
    found = make_detector().detect(frames[1:])
    assert all((one.confidence >= 0.4).any() for one in found)
    for one in found:
        assert (one.xyxy[:, :2] >= 0).all() and (one.xyxy[:, 2:] <= (640, 360)).all()
        assert (one.xyxy[:, 2:] > one.xyxy[:, :2]).all()


def test_a_batch_equals_its_frames_one_by_one_in_order(make_detector: Factory, frames: list[Frame]) -> None:
    batch, detector = make_detector().detect(frames), make_detector()
    single = [detector.detect([frame])[0] for frame in frames]
    assert len(batch) == len(frames)
    assert all(same(a, b) for a, b in zip(batch, single, strict=True))


def test_results_follow_the_order_of_the_frames(make_detector: Factory, frames: list[Frame]) -> None:
    pair = [frames[1], frames[3]]  # of two cameras: those of one come in order of time
    forward, backward = make_detector().detect(pair), make_detector().detect(pair[::-1])
    assert not same(forward[0], forward[1])
    assert all(same(a, b) for a, b in zip(forward, backward[::-1], strict=True))


def test_the_frames_are_not_written_to(make_detector: Factory, frames: list[Frame]) -> None:
    before = [frame.image.copy() for frame in frames]
    make_detector().detect(frames)
    assert all(np.array_equal(a, frame.image) for a, frame in zip(before, frames, strict=True))
