"""Writes our PyTorch backbones as ONNX: the backbone, global average pooling and the projection; batches of any size.

PyTorch's own exporter needs one more package (onnxscript) or is on its way out (TorchScript); the backbones use a dozen
operators, so their traced graph is written directly, and says clearly when it meets another one.
"""

import copy
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from pipeline.errors import WeightsError
from pipeline.ports import Projection
from reid.exported import METADATA_KEY, ExportNotes
from reid.folding import fold_batch_norms

OPSET = 17  # read by ONNX Runtime since 1.12, OpenVINO since 2022.3, TensorRT since 8.6
IR_VERSION = 8

_FUNCTIONS: dict[Callable[..., Any], str] = {
    operator.add: "Add",
    operator.iadd: "Add",
    operator.mul: "Mul",
    torch.add: "Add",
    torch.mul: "Mul",
    torch.relu: "Relu",
    torch.sigmoid: "Sigmoid",
    nn.functional.relu: "Relu",
}


def write_onnx(backbone: nn.Module, projection: Projection | None, notes: ExportNotes) -> Any:
    """An ONNX model of (batch, 3, H, W) -> feature (batch, D), with `notes` among its metadata.

    Args:
        backbone: not changed; its batch norms are folded in a copy.
        notes: with `half` the backbone's weights and arithmetic are half precision; input, last map and projection are
            single precision.

    Raises:
        WeightsError: a layer that this writer does not know.
    """
    from onnx import TensorProto, helper

    network = fx.symbolic_trace(fold_batch_norms(copy.deepcopy(backbone).cpu().float()))
    writer = _Writer(np.float16 if notes.half else np.float32)
    last_map = writer.write_backbone(network)
    writer.write_tail(last_map, projection)
    size = notes.crop_input
    picture = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["batch", 3, size.height_px, size.width_px])
    feature = helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["batch", None])
    graph = helper.make_graph(writer.nodes, type(backbone).__name__, [picture], [feature], writer.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "multicam-person-reid"
    helper.set_model_props(model, {METADATA_KEY: notes.to_json()})
    return model


class _Writer:
    """Collects the nodes and weights of one graph."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._dtype = dtype
        self._names: dict[str, str | None] = {}  # traced node -> tensor; None is a zero that adds nothing

    def write_backbone(self, network: fx.GraphModule) -> str:
        """Write the traced network; returns the tensor of its last map."""
        last_map: str | None = None
        for node in network.graph.nodes:
            if node.op == "placeholder":
                self._names[node.name] = self._cast("crops", self._dtype, "crops_cast")
            elif node.op == "output":
                last_map = self._names[node.args[0].name]
            elif node.op == "call_module":
                self._names[node.name] = self._module(network, str(node.target), self._inputs(node)[0], node.name)
            else:
                self._names[node.name] = self._call(node)
        if last_map is None:
            raise WeightsError("export: the backbone has no output")
        return last_map

    def write_tail(self, last_map: str, projection: Projection | None) -> None:
        """Pooling and projection in single precision."""
        single = self._cast(last_map, np.float32, "last_map")
        pooled = self._add("GlobalAveragePool", [single], "pooled")
        if projection is None:
            self._add("Flatten", [pooled], "feature", axis=1)
            return
        flat = self._add("Flatten", [pooled], "pooled_flat", axis=1)
        weight = self._weight("projection.weight", projection.weight)
        bias = self._weight("projection.bias", projection.bias)
        name = "projected" if projection.relu else "feature"
        self._add("Gemm", [flat, weight, bias], name, transB=1)
        if projection.relu:
            self._add("Relu", [name], "feature")

    def _inputs(self, node: fx.Node) -> list[str | None]:
        return [self._names[value.name] for value in node.args if isinstance(value, fx.Node)]

    def _call(self, node: fx.Node) -> str | None:
        inputs = self._inputs(node)
        if node.target is torch.zeros_like:
            return None
        if node.target == "mean" and tuple(node.args[1]) == (2, 3) and node.kwargs.get("keepdim"):  # type: ignore[arg-type]
            return self._add("GlobalAveragePool", inputs, node.name)
        kind = None if isinstance(node.target, str) else _FUNCTIONS.get(node.target)
        if kind is None or len(inputs) != sum(value is not None for value in node.args):
            raise WeightsError(f"export: the backbone calls {node.target}, which cannot be written as ONNX yet")
        present = [name for name in inputs if name is not None]
        if kind == "Add" and len(present) == 1:
            return present[0]
        return self._add(kind, inputs, node.name)

    def _module(self, network: fx.GraphModule, target: str, source: str | None, name: str) -> str | None:
        module = network.get_submodule(target)
        match module:
            case nn.Conv2d() if module.padding_mode == "zeros" and not isinstance(module.padding, str):
                return self._convolution(module, target, source, name)
            case nn.ReLU():
                return self._add("Relu", [source], name)
            case nn.MaxPool2d() if _pair(module.dilation) == [1, 1]:
                window = _window(module.kernel_size, module.stride, module.padding)
                return self._add("MaxPool", [source], name, ceil_mode=int(module.ceil_mode), **window)
            case nn.AvgPool2d() if not module.ceil_mode and _pair(module.padding) == [0, 0]:
                window = _window(module.kernel_size, module.stride, module.padding)
                return self._add("AveragePool", [source], name, **window)
            case nn.Identity() | nn.Dropout():
                return source
        raise WeightsError(f"export: the backbone has a {type(module).__name__}, which cannot be written as ONNX yet")

    def _convolution(self, conv: nn.Conv2d, target: str, source: str | None, name: str) -> str:
        """`target` names the weights: a gate that runs once for each scale has them once."""
        inputs = [source, self._weight(f"{target}.weight", _numpy(conv.weight).astype(self._dtype))]
        if conv.bias is not None:
            inputs.append(self._weight(f"{target}.bias", _numpy(conv.bias).astype(self._dtype)))
        window = _window(conv.kernel_size, conv.stride, conv.padding)
        return self._add("Conv", inputs, name, dilations=_pair(conv.dilation), group=conv.groups, **window)

    def _cast(self, source: str, dtype: type[np.floating[Any]], name: str) -> str:
        from onnx import TensorProto

        if self._dtype is np.float32:
            return source
        to = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.FLOAT
        return self._add("Cast", [source], name, to=to)

    def _weight(self, name: str, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        if all(tensor.name != name for tensor in self.weights):
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _add(self, kind: str, inputs: list[Any], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def _numpy(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().numpy()
    return array


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [int(x) for x in value]


def _window(kernel: Any, stride: Any, padding: Any) -> dict[str, list[int]]:
    return {"kernel_shape": _pair(kernel), "strides": _pair(stride), "pads": _pair(padding) * 2}
