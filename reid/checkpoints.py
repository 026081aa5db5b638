"""Reads weights from files into PyTorch modules: tensors only, never code."""

from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises when weights_only refuses a file

import torch
from torch import Tensor, nn

from pipeline.errors import WeightsError
from reid.onnx_cut import take_apart
from reid.onnx_file import load_onnx_model, read_convolutions
from reid.osnet import OSNet

# What training programs put in front of the backbone's names: DataParallel, bag of tricks, FastReID.
PREFIXES = ("module.", "model.", "base.", "backbone.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt` or `.safetensors` file by their names in the backbone.

    Wrappers (`state_dict`, `model`) and the prefixes of `PREFIXES` are taken off.

    Raises:
        WeightsError: not readable, or not plain tensors.
    """
    if path.suffix == ".safetensors":
        return _strip(_read_safetensors(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise WeightsError(
            f"{path}: holds more than tensors and is not loaded; save its state_dict() as .pth or .safetensors"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read these weights ({_first_line(error)}); fetch them again") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a state dict, got {type(content).__name__}")
    return _strip({name: value for name, value in content.items() if isinstance(value, Tensor)})


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot read these weights ({_first_line(error)}); fetch them again") from None


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without leading prefixes; they are taken off only when something remains of the backbone under them."""
    stripped: dict[str, Tensor] = {}
    for full_name, tensor in state.items():
        name = full_name
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        stripped[name] = tensor
    return stripped


def load_state(module: nn.Module, state: dict[str, Tensor], path: Path, optional: tuple[str, ...] = ()) -> None:
    """Copy tensors into a module; names that the module lacks (a classifier) are left out.

    Args:
        optional: beginnings of names that the file may lack.

    Raises:
        WeightsError: a tensor is missing or has another shape: the file belongs to another network.
    """
    own = module.state_dict()
    needed = [n for n in own if not n.endswith("num_batches_tracked") and not n.startswith(optional)]
    missing = [name for name in needed if name not in state]
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or wrong:
        what = f"{missing[0]} is missing" if missing else f"{wrong[0]} has shape {tuple(state[wrong[0]].shape)}"
        count = len(missing) + len(wrong)
        raise WeightsError(f"{path}: not weights of {type(module).__name__}: {what} ({count} of {len(own)} names)")
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def load_osnet(name: str, path: Path) -> OSNet:
    """OSNet of that width with the weights of a torchreid checkpoint, a `.safetensors` file or an ONNX export.

    Raises:
        WeightsError: the file does not hold this network.
    """
    model = OSNet(name)
    if path.suffix == ".onnx":
        load_osnet_onnx(model, path)
    else:
        load_state(model, read_state(path), path)
    return model


def load_osnet_onnx(model: OSNet, path: Path) -> None:
    """Copy the weights of an ONNX export of OSNet, whose batch norms are folded into the convolutions.

    Convolutions are matched in the order in which they run; the batch norm behind each becomes the identity plus the
    folded bias, so that the module computes the same map. So does the fully connected layer's.

    Raises:
        WeightsError: not an export of this network, or `onnx` or `onnxruntime` is not installed.
    """
    onnx_model = load_onnx_model(path)
    convolutions, targets = read_convolutions(onnx_model, path), list(model.convolutions())
    if len(convolutions) != len(targets):
        raise WeightsError(f"{path}: expected {len(targets)} convolutions of OSNet, found {len(convolutions)}")
    for (conv, norm), (weight, bias) in zip(targets, convolutions, strict=True):
        if conv.weight.shape != weight.shape:
            shapes = f"{tuple(conv.weight.shape)}, found {weight.shape}"
            raise WeightsError(f"{path}: not an export of this OSNet: expected a convolution {shapes}")
        conv.weight.data.copy_(torch.from_numpy(weight))
        if norm is not None:
            _set_identity(norm, torch.from_numpy(bias))
        elif conv.bias is not None:
            conv.bias.data.copy_(torch.from_numpy(bias))
    projection = take_apart(path, onnx_model).projection
    if projection is None or projection.weight.shape != model.fc[0].weight.shape or not projection.relu:
        raise WeightsError(f"{path}: not an export of OSNet: its fully connected layer is missing")
    model.fc[0].weight.data.copy_(torch.from_numpy(projection.weight))
    model.fc[0].bias.data.zero_()
    _set_identity(model.fc[1], torch.from_numpy(projection.bias))


def _set_identity(norm: nn.BatchNorm1d | nn.BatchNorm2d, bias: Tensor) -> None:
    """Make a batch norm in inference mode add `bias` and nothing else."""
    norm.running_mean = torch.zeros_like(bias)
    norm.running_var = torch.full_like(bias, 1.0 - norm.eps)  # the square root of var + eps is then 1
    norm.weight.data.fill_(1.0)
    norm.bias.data.copy_(bias)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:160] or type(error).__name__
