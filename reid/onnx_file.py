"""Reads ONNX files and the weights in them. No PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import WeightsError
from pipeline.types import FloatArray

BATCH_NORM_EPSILON = 1e-5  # ONNX's default


def load_onnx_model(path: Path) -> Any:
    """The parsed ONNX model, with the weights of a `.onnx.data` file beside it.

    Raises:
        WeightsError: not an ONNX file, or the `onnx` package is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise WeightsError(f"{path}: reading .onnx needs the onnx package: pip install '.[cpu]'") from None
    try:
        model = onnx.load(path, load_external_data=False)
        _load_external(model, path)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise WeightsError(f"{path}: not an ONNX file ({type(error).__name__}); fetch it again") from None
    if not model.graph.node:
        raise WeightsError(f"{path}: an ONNX file without a network; fetch it again")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _load_external(model: Any, path: Path) -> None:
    """Weights in a second file: only the one that `reid.weights.model_id` hashes as well."""
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    external = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    if not external:
        return
    places = {entry.value for tensor in external for entry in tensor.external_data if entry.key == "location"}
    if places != {f"{path.name}.data"}:
        raise WeightsError(f"{path}: keeps its weights in {', '.join(sorted(places))}; save it as one file")
    load_external_data_for_model(model, str(path.parent))


def read_arrays(model: Any) -> dict[str, npt.NDArray[Any]]:
    """The weights in the graph by name, initialisers and Constant nodes alike."""
    from onnx import helper, numpy_helper

    arrays = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute:
            value = helper.get_attribute_value(node.attribute[0])
            arrays[node.output[0]] = np.array(numpy_helper.to_array(value) if hasattr(value, "raw_data") else value)
    return arrays


def read_convolutions(model: Any, path: Path) -> list[tuple[FloatArray, FloatArray]]:
    """Weight and bias of each convolution in the order in which they first run, once each.

    A batch norm right behind a convolution is folded into it. What runs several times (a block's gate, once for each
    scale) is listed once, whether the file stores its weights once or several times.

    Raises:
        WeightsError: weights that are computed in the graph.
    """
    arrays = read_arrays(model)
    norms = {node.input[0]: node for node in model.graph.node if node.op_type == "BatchNormalization"}
    found: dict[tuple[bytes, ...], tuple[FloatArray, FloatArray]] = {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        norm = norms.get(node.output[0])
        names = [*node.input[1:], *(norm.input[1:] if norm is not None else ())]
        if any(name not in arrays for name in names):
            raise WeightsError(f"{path}: a convolution's weights are computed in the graph; export it again")
        values = [arrays[name].astype(np.float64) for name in names]
        weight, rest = values[0], values[1:]
        bias = rest.pop(0) if len(node.input) > 2 else np.zeros(len(weight))
        if norm is not None:
            gain, shift, mean, variance = rest
            epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), BATCH_NORM_EPSILON)
            scale = gain / np.sqrt(variance + epsilon)
            weight, bias = weight * scale[:, None, None, None], (bias - mean) * scale + shift
        key = tuple(value.tobytes() for value in values)
        found.setdefault(key, (weight.astype(np.float32), bias.astype(np.float32)))
    return list(found.values())
