"""OSNet's structure, the checkpoints it loads, and parity with onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import WeightsError
from reid.catalogue import MAP_CHANNELS
from reid.checkpoints import load_osnet, load_osnet_onnx, read_state
from reid.osnet import WIDTHS, OSNet

# Names and shapes in torchreid's own checkpoints, one or two per kind of layer.
TORCHREID_NAMES = {
    "conv1.conv.weight": (16, 3, 7, 7),
    "conv1.bn.running_var": (16,),
    "conv2.0.conv1.conv.weight": (16, 16, 1, 1),
    "conv2.0.conv2a.conv1.weight": (16, 16, 1, 1),
    "conv2.0.conv2a.conv2.weight": (16, 1, 3, 3),
    "conv2.0.conv2a.bn.weight": (16,),
    "conv2.0.conv2d.3.conv2.weight": (16, 1, 3, 3),
    "conv2.0.gate.fc1.bias": (1,),
    "conv2.0.gate.fc2.weight": (16, 1, 1, 1),
    "conv2.0.conv3.conv.weight": (64, 16, 1, 1),
    "conv2.0.downsample.conv.weight": (64, 16, 1, 1),
    "conv2.2.0.conv.weight": (64, 64, 1, 1),
    "conv3.1.conv2c.2.bn.bias": (24,),
    "conv4.1.conv3.bn.running_mean": (128,),
    "conv5.conv.weight": (128, 128, 1, 1),
    "fc.0.weight": (512, 128),
    "fc.1.running_mean": (512,),
}


@pytest.fixture
def trained() -> OSNet:
    """OSNet x0.25 with weights and statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(3)
    model = OSNet().eval()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.1, generator=generator)
    return model


def test_parameters_bear_the_names_of_torchreid():
    state = OSNet().state_dict()
    assert {name: tuple(state[name].shape) for name in TORCHREID_NAMES} == TORCHREID_NAMES


@pytest.mark.parametrize(
    ("name", "channels", "millions"),
    [("osnet_x0_25", 128, 0.2), ("osnet_x0_5", 256, 0.6), ("osnet_x0_75", 384, 1.3), ("osnet_x1_0", 512, 2.2)],
)
def test_maps_and_size_are_those_of_the_paper(name, channels, millions):
    model = OSNet(name).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 256, 128)).shape == (2, channels, 16, 8)
    assert model.channels == channels
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_catalogue_knows_the_channels_of_every_width():
    assert {name: widths[-1] for name, widths in WIDTHS.items()} == {
        name: channels for name, channels in MAP_CHANNELS.items() if name.startswith("osnet")
    }


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match="osnet_x0_25, osnet_x0_5, osnet_x0_75, osnet_x1_0"):
        OSNet("osnet_x9")


def test_the_projection_equals_the_layers_it_folds(trained):
    pooled = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = trained.fc(pooled).numpy()
    projection = trained.projection()
    got = np.maximum(pooled.numpy() @ projection.weight.T + projection.bias, 0)
    assert projection.relu
    np.testing.assert_allclose(got, expected, atol=1e-5)


def save_torchreid(model: OSNet, path: Path, prefix: str = "module.") -> None:
    """As torchreid's trainer saves it: wrapped, with DataParallel's prefix and a classifier."""
    state = {prefix + name: value for name, value in model.state_dict().items()}
    state[prefix + "classifier.weight"] = torch.zeros(4101, 512)
    torch.save({"state_dict": state, "epoch": 150, "rank1": 0.6}, path)


@pytest.mark.parametrize("prefix", ["module.", "", "base."])
def test_a_checkpoint_of_the_trainer_loads_without_its_classifier(trained, tmp_path, prefix):
    save_torchreid(trained, tmp_path / "osnet.pth", prefix)
    loaded = load_osnet("osnet_x0_25", tmp_path / "osnet.pth").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.state_dict().items())


def test_safetensors_load_as_well(trained, tmp_path):
    save_file(trained.state_dict(), tmp_path / "osnet.safetensors")
    loaded = load_osnet("osnet_x0_25", tmp_path / "osnet.safetensors").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.state_dict().items())


def test_weights_of_another_width_are_refused_with_the_name_that_differs(trained, tmp_path):
    save_torchreid(trained, tmp_path / "osnet.pth")
    with pytest.raises(WeightsError, match=r"osnet.pth: not weights of OSNet: conv1.conv.weight has shape \(16"):
        load_osnet("osnet_x1_0", tmp_path / "osnet.pth")


def test_a_checkpoint_with_a_missing_layer_is_refused(trained, tmp_path):
    state = trained.state_dict()
    del state["conv5.conv.weight"]
    torch.save(state, tmp_path / "osnet.pth")
    with pytest.raises(WeightsError, match=r"conv5.conv.weight is missing \(1 of"):
        load_osnet("osnet_x0_25", tmp_path / "osnet.pth")


class Intruder:
    """Anything but a tensor: its unpickling could run code."""


def test_a_file_with_more_than_tensors_is_not_loaded(tmp_path):
    torch.save({"state_dict": {}, "trainer": Intruder()}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        read_state(tmp_path / "model.pth")


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>please log in</html>" * 20])
def test_a_damaged_file_is_one_clear_error(tmp_path, ending, content):
    path = tmp_path / f"osnet{ending}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_osnet("osnet_x0_25", path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.pth"):
        load_osnet("osnet_x0_25", tmp_path / "gone.pth")


def test_the_onnx_export_loaded_into_the_module_agrees_with_onnxruntime(osnet_onnx):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(osnet_onnx), providers=["CPUExecutionProvider"])
    model = load_osnet("osnet_x0_25", osnet_onnx).eval()
    projection = model.projection()
    for seed in range(3):
        batch = np.random.default_rng(seed).standard_normal((1, 3, 256, 128)).astype(np.float32)
        expected = session.run(None, {session.get_inputs()[0].name: batch})[0][0]
        with torch.inference_mode():
            pooled = model(torch.from_numpy(batch)).mean((2, 3)).numpy()[0]
        got = np.maximum(projection.weight @ pooled + projection.bias, 0)
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("folded", [True, False])
def test_an_export_with_loose_batch_norms_or_weights_in_constant_nodes_loads_as_well(trained, tmp_path, folded, once):
    """As PyTorch's exporter writes it in training mode, and as others do that store shared weights several times."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from reid.crop_input import CropInput
    from reid.exported import ExportNotes
    from reid.onnx_writer import write_onnx

    model = write_onnx(trained, trained.projection(), ExportNotes("own@1", CropInput()))
    if not folded:
        _loosen(onnx, model)
    if not once:
        _scatter(onnx, model)
    onnx.save(model, tmp_path / "osnet.onnx")
    loaded = load_osnet("osnet_x0_25", tmp_path / "osnet.onnx").eval()
    pictures = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, got = (m.fc(m(pictures).mean((2, 3))) for m in (trained, loaded))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def _loosen(onnx, model) -> None:
    """Put a batch norm behind the first convolution that undoes a change of its weights."""
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    values = onnx.numpy_helper.to_array(weight)
    gain, count = np.float32(4), len(values)
    weight.CopyFrom(onnx.numpy_helper.from_array(values / gain, weight.name))
    arrays = {"bn.gain": gain, "bn.shift": 0.0, "bn.mean": 0.0, "bn.variance": 1 - 1e-5}
    for name, value in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(count, value, np.float32), name))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[2])
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) / gain, bias.name))
    output = first.output[0]
    first.output[0] = "before_norm"
    place = list(model.graph.node).index(first) + 1
    norm = onnx.helper.make_node("BatchNormalization", ["before_norm", *arrays], [output], epsilon=1e-5)
    model.graph.node.insert(place, norm)


def _scatter(onnx, model) -> None:
    """Move every initialiser into a Constant node, one for each that reads it."""
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for i, node in enumerate(model.graph.node):
        for k, name in enumerate(node.input):
            if name in arrays:
                nodes.append(onnx.helper.make_node("Constant", [], [f"constant_{i}_{k}"], value=arrays[name]))
                node.input[k] = f"constant_{i}_{k}"
        nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)


def test_an_export_of_another_width_is_refused(osnet_onnx):
    with pytest.raises(WeightsError, match="not an export of this OSNet"):
        load_osnet_onnx(OSNet("osnet_x1_0"), osnet_onnx)
