"""Reads OSNet's ONNX exports: the part up to the last map, the convolutions' weights, the projection. No PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import WeightsError
from pipeline.ports import Projection

BATCH_NORM_EPSILON = 1e-5  # PyTorch's default, which the exports keep


def load_onnx_model(path: Path) -> Any:
    """The parsed ONNX model.

    Raises:
        WeightsError: not an ONNX file, or the `onnx` package is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise WeightsError(f"{path}: reading .onnx needs the onnx package: pip install '.[cpu]'") from None
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise WeightsError(f"{path}: not an ONNX file ({type(error).__name__}); fetch it again") from None
    if not model.graph.node:
        raise WeightsError(f"{path}: an ONNX file without a network; fetch it again")
    return model


def read_arrays(model: Any) -> dict[str, npt.NDArray[Any]]:
    """The weights in the graph by name."""
    from onnx import numpy_helper

    return {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}


def convolution_names(model: Any) -> list[list[str]]:
    """Weight (and bias) names of each convolution in the order in which they first run, once each."""
    convolutions: list[list[str]] = []
    for node in model.graph.node:
        names = list(node.input[1:])
        if node.op_type == "Conv" and names not in convolutions:  # a block's gate runs once per scale
            convolutions.append(names)
    return convolutions


def read_projection(model: Any, path: Path) -> Projection:
    """`fc` (linear, batch norm, ReLU) as one affine map; see `reid.osnet.OSNet.projection`.

    Raises:
        WeightsError: the graph has no such layers.
    """
    arrays = read_arrays(model)
    names = ("fc.0.weight", "fc.0.bias", "fc.1.weight", "fc.1.bias", "fc.1.running_mean", "fc.1.running_var")
    if any(name not in arrays for name in names):
        raise WeightsError(f"{path}: not an export of OSNet: its fully connected layer is missing")
    weight, bias, gain, shift, mean, variance = (arrays[name].astype(np.float64) for name in names)
    scale = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded_bias = (bias - mean) * scale + shift
    return Projection((weight * scale[:, None]).astype(np.float32), folded_bias.astype(np.float32), relu=True)


def cut_at_last_map(model: Any, path: Path) -> Any:
    """A copy of the model that ends at the input of its last global average pool, for batches of any size.

    Raises:
        WeightsError: the graph has no such pool.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    pools = [node for node in graph.node if node.op_type == "GlobalAveragePool"]
    if not pools or len(graph.input) != 1:
        raise WeightsError(f"{path}: expected one input and a global average pool behind the last map")
    last_map = pools[-1].input[0]
    needed = {last_map}
    kept = []
    for node in reversed(graph.node):  # an ONNX graph lists its nodes in an order in which they can run
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    picture = helper.make_tensor_value_info(graph.input[0].name, TensorProto.FLOAT, ["batch", 3, 256, 128])
    maps = helper.make_tensor_value_info(last_map, TensorProto.FLOAT, ["batch", None, None, None])
    cut = helper.make_graph(kept[::-1], "map", [picture], [maps], weights)
    return helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)
