"""Which runtime serves which file on which device, and what is said when it cannot."""

import numpy as np
import pytest

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import Projection
from reid import load
from reid.load import choose_runtime, load_encoder
from reid.tensorrt_engine import MAGIC, EngineFile, read_engine


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(load, "_has_cuda", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(load, "_has_cuda", lambda: False)


@pytest.fixture
def network(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx_examples import save_network, tiny_network

    return save_network(tiny_network(), tmp_path / "net.onnx")


def chosen(name, tmp_path, backbone="osnet_x0_25", device="auto", runtime="auto"):
    return choose_runtime(ReidConfig(backbone=backbone, device=device), tmp_path / name, runtime)


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("w.pth", "torch"), ("w.safetensors", "torch"), ("w.xml", "openvino"), ("w.engine", "tensorrt")],
)
@pytest.mark.parametrize("backbone", ["osnet_x0_25", "osnet_x1_0", "resnet50"])
def test_the_ending_says_what_runs_a_file(tmp_path, name, runtime, backbone):
    assert chosen(name, tmp_path, backbone, "cpu") == runtime


def test_a_folder_is_openvinos(tmp_path):
    (tmp_path / "w_openvino_model").mkdir()
    assert chosen("w_openvino_model", tmp_path) == "openvino"


def test_an_onnx_file_runs_on_onnx_runtime_where_there_is_no_gpu(tmp_path, no_gpu):
    for backbone in ("osnet_x0_25", "resnet50", "onnx"):
        assert chosen("w.onnx", tmp_path, backbone) == "onnxruntime"


def test_on_a_gpu_pytorch_runs_an_osnet_and_onnx_runtime_the_rest(tmp_path, gpu):
    assert chosen("w.onnx", tmp_path, "osnet_x0_5") == "torch"
    assert chosen("w.onnx", tmp_path, "osnet_x0_5", "cpu") == "onnxruntime"
    assert chosen("w.onnx", tmp_path, "resnet50") == "onnxruntime"
    assert chosen("w.onnx", tmp_path, "onnx", "cuda") == "onnxruntime"


def test_without_onnx_runtime_pytorch_reads_an_osnet(tmp_path, no_gpu, monkeypatch):
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    assert chosen("w.onnx", tmp_path) == "torch"
    assert chosen("w.onnx", tmp_path, "onnx") == "onnxruntime"  # whose error says what to install


@pytest.mark.parametrize(
    ("name", "backbone", "runtime"),
    [("w.pth", "osnet_x0_25", "openvino"), ("w.xml", "onnx", "torch"), ("w.onnx", "resnet50", "torch")],
)
def test_a_runtime_that_cannot_run_the_file_is_refused(tmp_path, name, backbone, runtime):
    with pytest.raises(ConfigError, match=f"{runtime} cannot run {name}"):
        chosen(name, tmp_path, backbone, "cpu", runtime)


def test_a_checkpoint_is_no_network_of_any_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"reid\.backbone: onnx cannot be made of w\.pth"):
        chosen("w.pth", tmp_path, "onnx")


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_its_package_says_what_to_install(network, device):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed here")
    with pytest.raises(ConfigError, match=r"onnxruntime-gpu .*pip install '\.\[gpu\]'"):
        load_encoder(ReidConfig(backbone="onnx", device=device), network)


@pytest.mark.parametrize("device", ["tpu", "cuda:first", "cpu:1"])
def test_an_unknown_device_is_a_config_error(network, device):
    with pytest.raises(ConfigError, match=r"reid\.device: expected auto, cpu, cuda or cuda:N"):
        load_encoder(ReidConfig(backbone="onnx", device=device), network)


def test_an_engine_comes_back_from_its_file_with_what_belongs_to_it(tmp_path):
    projection = Projection(np.eye(3, 6, dtype=np.float32), np.arange(3, dtype=np.float32), True)
    path = tmp_path / "w.engine"
    path.write_bytes(EngineFile('{"a": "ü"}', 16, 6, projection, b"plan" * 100).to_bytes())
    found = read_engine(path)
    assert (found.notes, found.map_height, found.channels, found.plan) == ('{"a": "ü"}', 16, 6, b"plan" * 100)
    assert found.projection is not None and found.projection.relu
    np.testing.assert_array_equal(found.projection.weight, projection.weight)
    np.testing.assert_array_equal(found.projection.bias, projection.bias)


def test_an_engine_without_a_projection_comes_back_without_one(tmp_path):
    path = tmp_path / "w.engine"
    path.write_bytes(EngineFile("{}", 16, 6, None, b"").to_bytes())
    assert read_engine(path).projection is None


@pytest.mark.parametrize("content", [b"", b"another program's engine", MAGIC, MAGIC + b"\x10\0\0\0\0\0\0\0short"])
def test_a_foreign_or_damaged_engine_is_one_clear_error(tmp_path, content):
    path = tmp_path / "w.engine"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.engine.*export it"):
        read_engine(path)


def test_an_engine_without_tensorrt_says_what_to_install(tmp_path):
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        path = tmp_path / "w.engine"
        notes = '{"format": 1, "source": "own@1", "half": false, "crop_input": {"height_px": 256, "width_px": 128, '
        notes += '"mean": [0, 0, 0], "std": [1, 1, 1], "colours": "rgb"}}'
        path.write_bytes(EngineFile(notes, 16, 6, None, b"plan").to_bytes())
        with pytest.raises(WeightsError, match="pip install tensorrt"):
            load_encoder(ReidConfig(backbone="onnx"), path)
    else:
        pytest.skip("tensorrt is installed here")
