"""Reads re-ID networks from ONNX files: their operations, and any part of them as a model. No PyTorch.

Knows graphs of any exporter: weights as initialisers or in Constant nodes, pooling by any operator, batches of any size
or one that is built in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import WeightsError
from reid.crop_input import PIXEL_RANGES, Colours, CropInput
from reid.crops import CROP_HEIGHT_PX, CROP_WIDTH_PX
from reid.exported import METADATA_KEY, read_notes
from reid.graph_cut import Cut, Operation, Role, find_cut
from reid.onnx_file import load_onnx_model, read_arrays

LEAST_IR_VERSION = 4  # the first in which weights need not be listed as inputs

_MOVES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast")
_LINEAR: tuple[str, ...] = (
    "Gemm",
    "MatMul",
    "Add",
    "Sub",
    "Mul",
    "Conv",
    "BatchNormalization",
    "Neg",
    "Transpose",
    "Gather",
    "Slice",
)
_LINEAR += ("Sum", "Expand")
_POOLS = ("GlobalAveragePool", "AveragePool")
_MAX_POOLS = ("GlobalMaxPool", "MaxPool", "ReduceMax")
_SOFTMAXES = ("Softmax", "LogSoftmax")
_ROLES: dict[str, Role] = {
    **dict.fromkeys(_MOVES, "moves"),
    **dict.fromkeys(_LINEAR, "linear"),
    **dict.fromkeys(_POOLS, "pool"),
    **dict.fromkeys(_MAX_POOLS, "max pool"),
    **dict.fromkeys(_SOFTMAXES, "softmax"),
    "Relu": "relu",
}

# ONNX's own metadata of image inputs (docs/MetadataProps.md of onnx), as ranges of `PIXEL_RANGES`.
_NOMINAL_RANGES = {"Normalized_0_1": "0..1", "Normalized_1_1": "-1..1", "NominalRange_0_255": "0..255"}


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A re-ID network in ONNX, as far as the pipeline must understand it.

    Attributes:
        model: as it is in the file. freed: with reshapes that take any batch.
        picture: name of the input.
        stated_batch: the batch that the file states; None where it is free.
        operations: by the tensor they write.
        types: ONNX element types of tensors, where they are known.
    """

    path: Path
    model: Any
    freed: Any
    picture: str
    crop_input: CropInput
    stated_batch: int | None
    outputs: tuple[str, ...]
    operations: Mapping[str, Operation] = field(repr=False)
    types: Mapping[str, int] = field(repr=False)

    def find_cut(self) -> Cut:
        """See `reid.graph_cut.find_cut`."""
        return find_cut(self.operations, self.outputs, str(self.path))

    def body(self, outputs: Sequence[str], batch: int | None = None) -> Any:
        """A model from the crops to `outputs`, for a batch of any size (None) or the stated one."""
        size = [3, self.crop_input.height_px, self.crop_input.width_px]
        return self.extract({self.picture: [batch or "batch", *size]}, outputs, free=batch is None)

    def extract(self, inputs: Mapping[str, list[Any]], outputs: Sequence[str], *, free: bool = True) -> Any:
        """A model with the nodes between `inputs` (with their shapes) and `outputs` only."""
        from onnx import TensorProto, helper

        model = self.freed if free else self.model
        kept = _needed_nodes(_with_near_shapes(model.graph.node, inputs), inputs, outputs)
        read = {name for node in kept for name in _inputs_of(node)} | set(outputs)
        weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
        shapes: dict[str, Any] = {**dict.fromkeys(outputs), **inputs}
        values = {
            name: helper.make_tensor_value_info(name, self.types.get(name, TensorProto.FLOAT), shape)
            for name, shape in shapes.items()
        }
        graph = helper.make_graph(kept, "part", [values[n] for n in inputs], [values[n] for n in outputs], weights)
        version = max(int(model.ir_version), LEAST_IR_VERSION)
        return helper.make_model(graph, opset_imports=model.opset_import, ir_version=version)

    def opset(self) -> int:
        """Of ONNX's own operators."""
        return next(int(o.version) for o in self.model.opset_import if o.domain in ("", "ai.onnx"))


def read_onnx_graph(path: Path, model: Any = None) -> OnnxGraph:
    """The network of a file.

    Args:
        model: the parsed file, where it is at hand.

    Raises:
        WeightsError: not a network with one picture as input.
    """
    import onnx

    model = load_onnx_model(path) if model is None else model
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise WeightsError(f"{path}: expected one input (the crops), found {len(inputs)}")
    batch, crop_input = _read_input(inputs[0], model, path)
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:  # only a help for element types
        inferred = model
    values = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
    types = {value.name: value.type.tensor_type.elem_type for value in values if value.type.tensor_type.elem_type}
    fixed = _fixed_tensors(graph)
    operations = {out: op for node in graph.node if node.output[0] not in fixed for out, op in _operation(node, fixed)}
    freed = _free_reshapes(model, fixed, batch) if batch is not None else model
    outputs = tuple(value.name for value in graph.output)
    return OnnxGraph(path, model, freed, inputs[0].name, crop_input, batch, outputs, operations, types)


def _read_input(value: Any, model: Any, path: Path) -> tuple[int | None, CropInput]:
    """The built-in batch, and the crops that the network wants."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    sizes = [int(d.dim_value) for d in tensor.shape.dim]  # 0: free
    if len(sizes) != 4 or sizes[1] not in (0, 3) or tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise WeightsError(f"{path}: expected crops (batch, 3, height, width) of floats, got {sizes} of {kind}")
    try:
        crop_input = _read_pixels(model, sizes[2] or CROP_HEIGHT_PX, sizes[3] or CROP_WIDTH_PX, path)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None
    return sizes[0] or None, crop_input


def _read_pixels(model: Any, height_px: int, width_px: int, path: Path) -> CropInput:
    """The crop input that the file's metadata state; ImageNet's normalisation of RGB where they state nothing."""
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY in notes:
        return replace(read_notes(notes[METADATA_KEY], path).crop_input, height_px=height_px, width_px=width_px)
    nominal = notes.get("Image.NominalPixelRange")
    if nominal is not None and nominal not in _NOMINAL_RANGES:
        raise ValueError(f"Image.NominalPixelRange {nominal!r} is not known; expected {', '.join(_NOMINAL_RANGES)}")
    mean, std = PIXEL_RANGES[_NOMINAL_RANGES[nominal] if nominal else "imagenet"]
    colours: Colours = "bgr" if notes.get("Image.BitmapPixelFormat", "").lower().startswith("bgr") else "rgb"
    return CropInput(height_px, width_px, mean, std, colours)


def _inputs_of(node: Any) -> Iterator[str]:
    """Tensors that a node reads, those inside its branches included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _inputs_of(inner)


def _needed_nodes(nodes: Iterable[Any], inputs: Iterable[str], outputs: Sequence[str]) -> list[Any]:
    needed, given = set(outputs), set(inputs)
    kept = []
    for node in reversed(list(nodes)):  # an ONNX graph lists its nodes in an order in which they can run
        if (needed - given).intersection(node.output):
            kept.append(node)
            needed.update(_inputs_of(node))
    return kept[::-1]


def _with_near_shapes(nodes: Sequence[Any], inputs: Iterable[str]) -> Iterator[Any]:
    """The nodes, those that ask for the shape of something before `inputs` asking the first input instead.

    What exporters want to know there is the batch, which is the same everywhere.
    """
    behind = set(inputs)
    (first, *_) = inputs
    for node in nodes:
        if node.op_type == "Shape" and node.input[0] not in behind:
            moved = type(node)()
            moved.CopyFrom(node)
            moved.input[0] = first
            yield moved
            continue
        if behind.intersection(_inputs_of(node)):
            behind.update(node.output)
        yield node


def _fixed_tensors(graph: Any) -> set[str]:
    """Tensors that do not depend on the picture's content: weights, what is computed from them, and shapes."""
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or all(name in fixed for name in _inputs_of(node)):
            fixed.update(node.output)
    return fixed


def _operation(node: Any, fixed: set[str]) -> Iterator[tuple[str, Operation]]:
    """The node as an operation, once for each of its outputs."""
    computed = tuple(dict.fromkeys(name for name in _inputs_of(node) if name not in fixed))
    role: Role = _ROLES.get(node.op_type, "other")
    if node.op_type in ("Div", "Mul") and len(computed) == 2:
        role = "divide"
    elif node.op_type == "Div" and node.input[0] in computed:
        role = "linear"
    elif node.op_type == "ReduceMean":
        role = "pool"  # over which axes is seen when it runs
    elif node.op_type == "LpNormalization":
        role = "norm"
    classifier = any("classifier" in name.lower() for name in node.input if name in fixed)
    for output in node.output:
        yield output, Operation(node.op_type, node.name or output, role, computed, output, classifier)


def _free_reshapes(model: Any, fixed: set[str], batch: int) -> Any:
    """A copy whose reshapes of pictures take any batch where they began with the built-in one."""
    import onnx
    from onnx import numpy_helper

    arrays = read_arrays(model)
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    for i, node in enumerate(freed.graph.node):
        if node.op_type != "Reshape" or node.input[0] in fixed or node.input[1] not in arrays:
            continue
        shape = arrays[node.input[1]].astype(np.int64).ravel().copy()
        if len(shape) and shape[0] == batch:
            shape[0] = 0 if (shape == -1).any() else -1  # 0: the same as the input's
            name = f"free_shape_{i}"
            freed.graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name
    return freed
