"""Exports: what the pipeline reads from them is what it read from the source, or they are not kept."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_examples import (  # noqa: E402
    ANY,
    HEIGHT_PX,
    WIDTH_PX,
    Network,
    int64,
    mean_features,
    own_features,
    save_network,
    tiny_network,
    weights,
)
from reid_examples import noise_frame  # noqa: E402

from pipeline.config import ReidConfig  # noqa: E402
from pipeline.errors import ConfigError, OutputError, WeightsError  # noqa: E402
from reid import export as export_module  # noqa: E402
from reid.crop_input import PIXEL_RANGES, CropInput  # noqa: E402
from reid.export import Exported, ExportWish, export_network, guess_backbone  # noqa: E402
from reid.exported import ExportNotes, read_source  # noqa: E402
from reid.load import load_encoder  # noqa: E402
from reid.onnx_encoder import OnnxCropEncoder  # noqa: E402
from reid.onnx_writer import write_onnx  # noqa: E402
from reid.osnet import OSNet  # noqa: E402
from reid.resnet import ResNet50  # noqa: E402
from reid.weights import model_id  # noqa: E402

OSNET = ReidConfig(backbone="osnet_x0_25", device="cpu")
BOXES = np.array([[20, 10, 100, 220], [150, 30, 210, 200], [90, 0, 140, 120]], np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """OSNet x0.25 with batch norms that matter."""
    torch.manual_seed(4)
    model = OSNet()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save(model.state_dict(), path)
    return path


def assert_agree(one, other, tolerance=1e-4) -> None:
    for a, b in zip(one.encode([noise_frame()], [BOXES])[0], other.encode([noise_frame()], [BOXES])[0], strict=True):
        np.testing.assert_allclose(a.stripes, b.stripes, atol=tolerance * np.abs(b.stripes).max())
        np.testing.assert_allclose(a.energy, b.energy, rtol=tolerance)


@pytest.fixture(scope="module")
def exports(checkpoint, tmp_path_factory) -> dict[str, Exported]:
    """The checkpoint in both formats that run here."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("exports")
    return {target: export_network(checkpoint, ExportWish(target), folder) for target in ("onnx", "openvino")}


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_exported_checkpoint_gives_the_features_of_the_checkpoint(exports, checkpoint, target):
    exported = exports[target]
    assert exported.parity.within(1e-3) and exported.parity.crops > 8
    plain, fast = load_encoder(OSNET, checkpoint), load_encoder(OSNET, exported.path)
    assert type(plain) is not type(fast)
    assert_agree(fast, plain)
    np.testing.assert_allclose(fast.describe().projection.weight, plain.describe().projection.weight, atol=1e-5)


def test_nothing_but_the_exports_is_left_behind(exports):
    paths = [exported.path for exported in exports.values()]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    assert [path.name for path in paths] == ["own.onnx", "own_openvino_model"]


def test_an_exported_osnet_loads_into_pytorch_again(exports, checkpoint):
    assert_agree(load_encoder(OSNET, exports["onnx"].path, runtime="torch"), load_encoder(OSNET, checkpoint))


def test_an_exported_network_is_a_plain_one_for_other_programs(exports):
    path = exports["onnx"].path
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [value.name for value in model.graph.output] == ["feature"]
    np.testing.assert_allclose(mean_features(load_encoder(OSNET, path)), own_features(path, CropInput()), atol=2e-6)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_half_precision_makes_the_file_smaller_and_stays_close(exports, checkpoint, tmp_path, target):
    half = export_network(checkpoint, ExportWish(target, half=True), tmp_path)
    assert weights_bytes(half.path) < 0.75 * weights_bytes(exports[target].path)
    assert 0 < half.parity.stripes < 0.02 and half.parity.energy < 0.02
    assert half.model_id != exports[target].model_id


def weights_bytes(path: Path) -> int:
    files = path.rglob("*.bin") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_export_has_the_name_of_its_source_and_a_hash_of_its_own(exports, checkpoint, tmp_path, target):
    exported, source = exports[target], model_id(checkpoint)
    assert read_source(exported.path) == source
    name, _, digest = exported.model_id.partition("@")
    assert name == source.partition("@")[0] and digest != source.partition("@")[2]
    if target == "onnx":
        assert model_id(shutil.copy(exported.path, tmp_path / "another name.onnx")) == exported.model_id


def test_the_real_export_keeps_the_name_under_which_its_threshold_is_stored(tmp_path, osnet_onnx):
    exported = export_network(osnet_onnx, ExportWish("onnx", backbone="osnet_x0_25"), tmp_path)
    assert exported.model_id.startswith("osnet_x0_25_msmt17@")
    assert exported.model_id != model_id(osnet_onnx)
    assert_agree(load_encoder(OSNET, exported.path), load_encoder(OSNET, osnet_onnx))


def test_any_onnx_network_is_exported_with_a_free_batch_and_without_its_classes(tmp_path):
    network = tiny_network(flattening="reshape of a built-in batch")
    network.add("Gemm", [weights(5, 9)])
    network.add("Softmax")
    source = save_network(network, tmp_path / "net.onnx")
    exported = export_network(source, ExportWish("onnx"), tmp_path / "out")
    model = onnx.load(exported.path)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert all(node.op_type != "Softmax" for node in model.graph.node)
    np.testing.assert_array_equal(
        mean_features(load_encoder(ANY, exported.path)), mean_features(load_encoder(ANY, source))
    )


def test_any_onnx_network_is_exported_to_openvino(tmp_path):
    pytest.importorskip("openvino")
    source = save_network(tiny_network("reduce mean, axes as attribute", "relu and norm"), tmp_path / "net.onnx")
    exported = export_network(source, ExportWish("openvino"), tmp_path / "out")
    assert exported.path.name == "net_openvino_model"
    assert sorted(file.name for file in exported.path.iterdir()) == ["net.bin", "net.xml"]
    np.testing.assert_allclose(
        mean_features(load_encoder(ANY, exported.path)), mean_features(load_encoder(ANY, source)), atol=2e-6
    )


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_what_is_said_of_the_pixels_is_kept_in_the_export(tmp_path, target):
    if target == "openvino":
        pytest.importorskip("openvino")
    source = save_network(tiny_network(), tmp_path / "net.onnx")
    exported = export_network(source, ExportWish(target, pixels="0..1", bgr=True), tmp_path / "out")
    encoder = load_encoder(ANY, exported.path)
    mean, std = PIXEL_RANGES["0..1"]
    assert encoder.crop_input == CropInput(HEIGHT_PX, WIDTH_PX, mean, std, "bgr")
    np.testing.assert_allclose(mean_features(encoder), own_features(source, encoder.crop_input), atol=1e-5)
    again = export_network(source, ExportWish(target), tmp_path / "usual")
    assert load_encoder(ANY, again.path).crop_input == CropInput(HEIGHT_PX, WIDTH_PX)


def test_an_export_that_computes_something_else_is_not_kept(tmp_path, checkpoint, monkeypatch):
    def spoiled(backbone, projection, notes):
        with torch.no_grad():
            backbone.conv5.conv.weight[0] += 0.05
        return write_onnx(backbone, projection, notes)

    monkeypatch.setattr("reid.onnx_writer.write_onnx", spoiled)
    with pytest.raises(WeightsError, match="does not compute what its source does, and is not kept"):
        export_network(checkpoint, ExportWish("onnx"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_there_stays_unless_it_may_be_overwritten(tmp_path, checkpoint, monkeypatch):
    target = tmp_path / "own.onnx"
    target.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        export_network(checkpoint, ExportWish("onnx"), target)
    monkeypatch.setattr(export_module, "SINGLE_TOLERANCE", -1.0)
    with pytest.raises(WeightsError, match="not kept"):
        export_network(checkpoint, ExportWish("onnx"), target, overwrite=True)
    assert target.read_text() == "precious"
    monkeypatch.undo()
    assert export_network(checkpoint, ExportWish("onnx"), target, overwrite=True).path == target
    assert target.stat().st_size > 100_000


def test_the_source_is_never_overwritten(tmp_path):
    source = save_network(tiny_network(), tmp_path / "net.onnx")
    with pytest.raises(OutputError, match="is what would be read"):
        export_network(source, ExportWish("onnx"), tmp_path, overwrite=True)


def test_an_output_that_cannot_be_written_is_one_clear_error(tmp_path, checkpoint):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_network(checkpoint, ExportWish("onnx"), in_the_way / "own.onnx")


@pytest.mark.parametrize(
    ("wish", "out", "text"),
    [
        (ExportWish("onnx"), "own.engine", r"ends in \.onnx"),
        (ExportWish("tflite"), "own.tflite", "expected onnx, openvino, tensorrt"),
        (ExportWish("onnx", pixels="0..1"), "own.onnx", r"--pixels and --bgr are for \.onnx files"),
    ],
)
def test_wishes_that_cannot_be_met_are_clear_errors(tmp_path, checkpoint, wish, out, text):
    with pytest.raises(ConfigError, match=text):
        export_network(checkpoint, wish, tmp_path / out)


@pytest.mark.parametrize(
    ("wish", "text"), [(ExportWish("onnx", half=True), "--half"), (ExportWish("onnx", pixels="log"), "--pixels")]
)
def test_wishes_that_do_not_fit_an_onnx_file_are_clear_errors(tmp_path, wish, text):
    source = save_network(tiny_network(), tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match=text):
        export_network(source, wish, tmp_path / "out")


def test_an_export_is_not_exported_again(tmp_path):
    (tmp_path / "net_openvino_model").mkdir()
    with pytest.raises(ConfigError, match="is an export already"):
        export_network(tmp_path / "net_openvino_model", ExportWish("onnx"), tmp_path / "out")


def test_tensorrt_says_what_it_needs_before_anything_is_read(tmp_path):
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(WeightsError, match="pip install tensorrt"):
            export_network(tmp_path / "absent.pth", ExportWish("tensorrt"), tmp_path)
    else:
        pytest.skip("tensorrt is installed here")


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0"])
def test_the_width_of_a_checkpoint_is_found_by_its_tensors(tmp_path, name):
    torch.save({f"module.{k}": v for k, v in OSNet(name).state_dict().items()}, tmp_path / "w.pth")
    assert guess_backbone(tmp_path / "w.pth") == name


def test_a_catalogue_file_is_known_by_its_name(tmp_path):
    assert guess_backbone(tmp_path / "osnet_x1_0_msmt17.pth") == "osnet_x1_0"
    assert guess_backbone(tmp_path / "anything.onnx") == "onnx"


def test_a_checkpoint_of_another_network_asks_for_its_name(tmp_path):
    torch.save({"stem.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="name the network with --backbone"):
        guess_backbone(tmp_path / "w.pth")


def test_resnet_50_is_written_with_its_last_stride_of_one(tmp_path):
    torch.manual_seed(0)
    backbone = ResNet50().eval()
    notes = ExportNotes("resnet@1", CropInput(64, 32))
    onnx.save(write_onnx(backbone, None, notes), tmp_path / "resnet.onnx")
    assert backbone.bn1.running_mean is not None  # the module is as it was
    encoder = OnnxCropEncoder(tmp_path / "resnet.onnx", "resnet@1")
    assert encoder.describe().projection is None and encoder.describe().channels == 2048
    pixels = np.random.default_rng(0).standard_normal((2, 3, 64, 32)).astype(np.float32)
    means, energy = encoder._pool(pixels)
    with torch.inference_mode():
        maps = backbone(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(means.mean(axis=1), maps.mean(axis=(2, 3)), atol=1e-4 * np.abs(maps).max())
    np.testing.assert_allclose(energy.sum(axis=1), (maps**2).sum(axis=(1, 2, 3)), rtol=1e-4)


class Stranger(torch.nn.Module):
    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.mark.parametrize("layer", [torch.nn.GELU(), torch.nn.Conv2d(3, 4, 3, padding_mode="reflect", padding=1)])
def test_a_layer_that_cannot_be_written_is_named(layer):
    with pytest.raises(WeightsError, match=f"{type(layer).__name__}, which cannot be written"):
        write_onnx(Stranger(layer), None, ExportNotes("x@1", CropInput()))


def test_a_call_that_cannot_be_written_is_named():
    with pytest.raises(WeightsError, match="softmax"):
        write_onnx(Softmaxed(), None, ExportNotes("x@1", CropInput()))


class Softmaxed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, 1)


def test_a_damaged_or_newer_note_is_a_clear_error(tmp_path):
    notes = ExportNotes("own@1", CropInput()).to_json()
    for text, reason in (("{", "damaged"), ("{}", "damaged"), (newer(notes), "newer version")):
        path = save_network(tiny_network(), tmp_path / "net.onnx", multicam_person_reid=text)
        with pytest.raises(WeightsError, match=reason):
            model_id(path)


def newer(notes: str) -> str:
    return json.dumps(json.loads(notes) | {"format": 99})


def test_a_network_fixed_to_one_crop_stays_so(tmp_path):
    network = Network()
    network.body()
    maps = network.last
    network.add("ReduceMean", [], {"axes": [0], "keepdims": 1})
    network.by_kind["maps"] = maps
    network.steps([("Add", ["<maps>"], {}), ("GlobalAveragePool", [], {}), ("Reshape", [int64(1, -1)], {})])
    source = save_network(network, tmp_path / "net.onnx")
    exported = export_network(source, ExportWish("onnx"), tmp_path / "out")
    assert load_encoder(ANY, exported.path).max_batch == 1
