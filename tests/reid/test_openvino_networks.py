"""Networks on OpenVINO: the same features as on ONNX Runtime, and the same refusals."""

import os
from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_examples import (  # noqa: E402
    ANY,
    CHANNELS,
    GEMM,
    HEIGHT_PX,
    POOLINGS,
    WIDTH_PX,
    Network,
    int64,
    mean_features,
    own_features,
    save_network,
    tiny_network,
    weights,
)

from pipeline.config import ReidConfig  # noqa: E402
from pipeline.errors import ConfigError, WeightsError  # noqa: E402
from reid.crop_input import PIXEL_RANGES, CropInput  # noqa: E402
from reid.load import load_encoder  # noqa: E402
from reid.openvino_encoder import OpenVinoCropEncoder  # noqa: E402

SMALL = CropInput(HEIGHT_PX, WIDTH_PX)
# Each compiles for a second: those whose operators differ in OpenVINO.
ENDS = ("nothing", "matmul and add", "gemm, batch norm, relu", "batch norm and 1x1 convolution", "norm and division")


def convert(path: Path, folder: Path) -> Path:
    """The .xml file of the network, as OpenVINO's own converter writes it."""
    target = folder / f"{path.stem}.xml"
    openvino.save_model(openvino.convert_model(path), target, compress_to_fp16=False)
    return target


def assert_same_features(path: Path, onnx_path: Path) -> OpenVinoCropEncoder:
    encoder = load_encoder(ANY, path, runtime="openvino")
    assert isinstance(encoder, OpenVinoCropEncoder)
    np.testing.assert_allclose(mean_features(encoder), own_features(onnx_path, SMALL), atol=2e-6)
    return encoder


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if "attribute" not in name])
def test_every_way_of_pooling_is_found_in_a_converted_network(tmp_path, pooling):
    path = save_network(tiny_network(pooling), tmp_path / "net.onnx", 1 if "average" in pooling else "batch")
    assert assert_same_features(convert(path, tmp_path), path).max_batch > 1


@pytest.mark.parametrize("tail", ENDS)
def test_every_kind_of_linear_end_becomes_the_projection_in_a_converted_network(tmp_path, tail):
    path = save_network(tiny_network(tail=tail), tmp_path / "net.onnx")
    projection = assert_same_features(convert(path, tmp_path), path).describe().projection
    assert (projection is None) == (tail == "nothing")


def test_an_onnx_file_runs_on_openvino_as_it_is(tmp_path):
    path = save_network(tiny_network(), tmp_path / "net.onnx")
    assert_same_features(path, path)


def test_a_built_in_batch_before_the_map_is_freed(tmp_path):
    network = Network()
    network.add("Conv", [weights(CHANNELS, 3, 4, 4)], {"strides": [4, 4]})
    network.steps([("Reshape", [int64(1, 2, CHANNELS // 2, -1)], {}), ("Sigmoid", [], {})])
    network.steps([("Reshape", [int64(1, CHANNELS, 16, 8)], {}), ("GlobalAveragePool", [], {})])
    path = save_network(network, tmp_path / "net.onnx")
    assert assert_same_features(convert(path, tmp_path), path).max_batch > 1


def test_a_network_that_cannot_be_freed_of_its_batch_runs_crop_by_crop(tmp_path, caplog):
    network = Network()
    network.body()
    maps = network.last
    network.add("ReduceMean", [], {"axes": [0], "keepdims": 1})  # over the batch
    network.by_kind["maps"] = maps
    network.steps([("Add", ["<maps>"], {}), ("GlobalAveragePool", [], {}), ("Flatten", [], {})])
    path = save_network(network, tmp_path / "net.onnx")
    model = openvino.convert_model(path)
    openvino.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    encoder = load_encoder(ANY, tmp_path / "net.xml")
    assert encoder.max_batch == 1 and "one crop a pass" in caplog.text
    np.testing.assert_allclose(mean_features(encoder), own_features(path, SMALL), atol=2e-6)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([("GlobalMaxPool", [], {}), ("Flatten", [], {}), GEMM], "by its maximum"),
        ([("GlobalAveragePool", [], {}), ("Flatten", [], {}), ("Tanh", [], {}), GEMM], "cannot follow Tanh"),
        ([("Flatten", [], {}), ("Gemm", [weights(CHANNELS * 128, 5)], {})], "global average pooling"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(tmp_path, steps, reason):
    network = Network()
    network.body()
    network.steps(steps)
    path = convert(save_network(network, tmp_path / "net.onnx"), tmp_path)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_encoder(ANY, path)
    assert "net.xml" in str(caught.value) and "\n" not in str(caught.value)


def test_normalisation_that_the_old_model_optimizer_built_in_is_not_done_twice(tmp_path):
    model = openvino.convert_model(save_network(tiny_network(), tmp_path / "net.onnx"))
    for name, value in (("mean_values", "data[123.675,116.28,103.53]"), ("reverse_input_channels", "True")):
        model.set_rt_info(value, ["conversion_parameters", name])
    openvino.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    mean, std = PIXEL_RANGES["0..255"]
    found = load_encoder(ANY, tmp_path / "net.xml").crop_input
    assert found == CropInput(HEIGHT_PX, WIDTH_PX, mean, std, "bgr")


def test_a_folder_must_hold_one_network(tmp_path):
    folder = tmp_path / "net_openvino_model"
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"expected one \.xml file with its \.bin, found 0"):
        load_encoder(ANY, folder)


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "net.xml").write_bytes(content)
    with pytest.raises(WeightsError, match="cannot read it") as caught:
        load_encoder(ANY, tmp_path / "net.xml")
    assert "\n" not in str(caught.value)


def test_a_missing_second_file_is_one_clear_error(tmp_path):
    path = convert(save_network(tiny_network(), tmp_path / "net.onnx"), tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"net\.xml"):
        load_encoder(ANY, path)


def test_a_device_that_it_does_not_serve_is_refused(tmp_path):
    path = convert(save_network(tiny_network(), tmp_path / "net.onnx"), tmp_path)
    with pytest.raises(ConfigError, match=r"reid\.device: OpenVINO runs on the CPU"):
        load_encoder(ReidConfig(backbone="onnx", device="cuda"), path)


def test_a_network_with_a_slope_below_zero_is_refused_by_the_operators_name():
    for folder in os.environ.get("MODELS_DIR", "").split(os.pathsep):
        path = Path(folder) / "person-reidentification-retail-0287" / "person-reidentification-retail-0287.xml"
        if folder and path.exists():
            break
    else:
        pytest.skip("needs person-reidentification-retail-0287 in a folder of MODELS_DIR")
    with pytest.raises(WeightsError, match="cannot follow PRelu"):
        load_encoder(ANY, path)
