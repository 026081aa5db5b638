"""YOLO on a real picture, against ultralytics' own predictor, and its refusals."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors.yolo import YoloDetector, check_weights, suppress
from pipeline.errors import WeightsError
from pipeline.scenes.cutouts import picture_path
from pipeline.types import Frame

MODELS = ["yolo11n_int8_openvino_model", "yolo11n.pt", "yolov8n_int8.onnx"]


def model_path(name: str) -> Path:
    folder = os.environ.get("MODELS_DIR")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"MODELS_DIR has no {name}")
    return Path(folder) / name


@pytest.fixture(scope="module")
def bus() -> Frame:
    return Frame("a", "1", 0, 0.0, cv2.imread(str(picture_path())))


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> YoloDetector:
    return YoloDetector(model_path(request.param), device="cpu")


def test_the_people_of_the_bus_picture_are_found_where_they_stand(model: YoloDetector, bus: Frame) -> None:
    (found,) = model.detect([bus])
    sure = found.xyxy[found.confidence > 0.7]
    for middle in ((130, 650), (285, 630), (755, 640)):  # fleece, coat, and the one at the right edge
        inside = (sure[:, :2] < middle).all(axis=1) & (sure[:, 2:] > middle).all(axis=1)
        assert inside.sum() == 1
    assert (np.diff(found.confidence) <= 0).all()


def test_boxes_equal_those_of_ultralytics_own_predictor(bus: Frame) -> None:
    weights = model_path("yolo11n.pt")
    (found,) = YoloDetector(weights, confidence=0.1, device="cpu").detect([bus])
    from ultralytics import YOLO

    options = {"conf": 0.1, "classes": [0], "imgsz": 640, "device": "cpu", "verbose": False}
    boxes = YOLO(str(weights), task="detect").predict(bus.image, **options)[0].boxes
    assert np.allclose(found.xyxy, boxes.xyxy.numpy(), atol=0.1)
    assert np.allclose(found.confidence, boxes.conf.numpy(), atol=1e-3)


def test_pictures_of_different_sizes_in_one_call_keep_their_places(model: YoloDetector, bus: Frame) -> None:
    wide = Frame("b", "1", 0, 0.0, cv2.resize(bus.image, (640, 360)))
    blank = Frame("c", "1", 0, 0.0, np.full((360, 640, 3), 114, np.uint8))
    one, two, three, four = model.detect([bus, wide, blank, bus])
    assert np.allclose(one.xyxy, four.xyxy, atol=0.05) and len(one) >= 3
    assert len(three) == 0
    assert len(two) and (two.xyxy[:, 2] <= 640).all() and (two.xyxy[:, 3] <= 360).all()


def test_weak_boxes_are_passed_on_down_to_the_given_confidence(bus: Frame) -> None:
    weights = model_path("yolo11n_int8_openvino_model")
    weak = YoloDetector(weights, confidence=0.02, device="cpu").detect([bus])[0]
    strong = YoloDetector(weights, confidence=0.8, device="cpu").detect([bus])[0]
    assert len(weak) > len(strong) > 0
    assert weak.confidence.min() < 0.1 and strong.confidence.min() >= 0.8


def test_a_hash_is_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    check_weights(weights, right.upper())
    with pytest.raises(WeightsError, match=f"its SHA-256 is {right}"):
        YoloDetector(weights, sha256="0" * 64)
    folder = tmp_path / "a_openvino_model"
    folder.mkdir()
    (folder / "a.xml").write_bytes(b"wei")
    (folder / "a.bin").write_bytes(b"ghts")
    check_weights(folder, right)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a checkpoint")
    onnx = tmp_path / "broken.onnx"
    onnx.write_bytes(b"not a graph")
    text = tmp_path / "model.txt"
    text.write_text("hello")
    empty = tmp_path / "x_openvino_model"
    empty.mkdir()
    for weights in (broken, onnx, text, empty, tmp_path / "absent.pt", Path("https://example.org/yolo11n.pt")):
        with pytest.raises(WeightsError) as caught:
            YoloDetector(weights, device="cpu")
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "broken.onnx", "broken.pt", "model.txt", "x_openvino_model",
    ]  # fmt: skip


def test_suppression_keeps_the_first_of_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [5, 0, 15, 10]], np.float32)
    assert suppress(boxes, 0.7) == [0, 2, 3]
    assert suppress(np.zeros((0, 4), np.float32), 0.7) == []


def test_loading_a_model_talks_to_nobody_and_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    weights = model_path("yolo11n.pt")
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import socket
def refuse(*args, **kwargs): raise SystemExit("network")
socket.getaddrinfo = socket.create_connection = refuse
import numpy as np
from pathlib import Path
from detectors.yolo import YoloDetector
from pipeline.types import Frame
YoloDetector(Path({str(weights)!r}), device="cpu").detect([Frame("a", "1", 0, 0.0, np.zeros((64, 64, 3), np.uint8))])
import os
print("OMP_NUM_THREADS" in os.environ)
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "YOLO_CONFIG_DIR")}
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"] and done.stderr == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
