"""Reads re-ID networks that OpenVINO can load: their operations, and any part of them as a model. No PyTorch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import WeightsError
from reid.crop_input import PIXEL_RANGES, CropInput
from reid.exported import METADATA_KEY, read_notes
from reid.graph_cut import Cut, Operation, Role, find_cut

ROLES: dict[str, Role] = {
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Convert"), "moves"),
    **dict.fromkeys(("MatMul", "Add", "Subtract", "Multiply", "Convolution", "GroupConvolution"), "linear"),
    **dict.fromkeys(("BatchNormInference", "Negative", "Transpose", "Gather", "Slice"), "linear"),
    **dict.fromkeys(("AvgPool", "ReduceMean"), "pool"),
    **dict.fromkeys(("MaxPool", "ReduceMax"), "max pool"),
    **dict.fromkeys(("Softmax", "SoftMax", "LogSoftmax"), "softmax"),
    "Relu": "relu",
    "NormalizeL2": "norm",
}
PICTURE_FREE = ("Constant", "ShapeOf")


@dataclass(frozen=True, eq=False)
class OpenVinoGraph:
    """A re-ID network of OpenVINO, as far as the pipeline must understand it.

    Tensors are named by their node and the number of its output.

    Attributes:
        stated_batch: None where it is free.
    """

    path: Path
    model: Any
    crop_input: CropInput
    stated_batch: int | None
    outputs: tuple[str, ...]
    operations: Mapping[str, Operation] = field(repr=False)

    def find_cut(self) -> Cut:
        """See `reid.graph_cut.find_cut`."""
        return find_cut(self.operations, self.outputs, str(self.path))

    def body(self, outputs: Sequence[str], batch: int | None = None) -> Any:
        """A model from the crops to `outputs`, for a batch of any size (None) or the stated one."""
        import openvino

        copy = self.model.clone()
        ends = _tensors(copy)
        part = openvino.Model([ends[name] for name in outputs], copy.get_parameters(), "body")
        if batch is None:
            if self.stated_batch is not None:
                _free_reshapes(copy, self.stated_batch)
            part.reshape([-1, 3, self.crop_input.height_px, self.crop_input.width_px])
        return part

    def tail(self, cut: Cut, channels: int) -> tuple[Any, tuple[int, ...]]:
        """A model from one pooled vector to `cut.linear` and `cut.feature`, and the shape of that vector."""
        import openvino
        from openvino import opset13

        copy = self.model.clone()
        ends = _tensors(copy)
        pooled = ends[cut.pooled]
        keeps_axes = pooled.get_partial_shape().rank.get_length() == 4
        places = (1, channels, 1, 1) if keeps_axes else (1, channels)
        parameter = opset13.parameter(places, pooled.get_element_type())
        for target in pooled.get_target_inputs():
            target.replace_source_output(parameter.output(0))
        ends[cut.pooled] = parameter.output(0)
        _ask_near(copy, parameter)
        return openvino.Model([ends[cut.linear], ends[cut.feature]], [parameter], "tail"), places


def read_openvino_graph(path: Path, model: Any) -> OpenVinoGraph:
    """The network in a loaded model.

    Raises:
        WeightsError: not a network with one picture as input.
    """
    if len(model.inputs) != 1:
        raise WeightsError(f"{path}: expected one input (the crops), found {len(model.inputs)}")
    shape = model.inputs[0].get_partial_shape()
    sizes = [d.get_length() if d.is_static else 0 for d in shape] if shape.rank.is_static else []
    kind = model.inputs[0].get_element_type().get_type_name()
    if len(sizes) != 4 or sizes[1] != 3 or not (sizes[2] and sizes[3]) or kind != "f32":
        raise WeightsError(f"{path}: expected crops (batch, 3, height, width) of f32, got {shape} of {kind}")
    crop_input = _read_pixels(model, sizes[2], sizes[3], path)
    outputs = tuple(_tensor(result.input_value(0)) for result in model.get_results())
    return OpenVinoGraph(path, model, crop_input, sizes[0] or None, outputs, dict(_operations(model)))


def _read_pixels(model: Any, height_px: int, width_px: int, path: Path) -> CropInput:
    """What our export or OpenVINO's old model optimizer noted; ImageNet's normalisation of RGB otherwise.

    The optimizer builds means, deviations and a swap of colours into the network: it then wants plain bytes.
    """
    if model.has_rt_info([METADATA_KEY]):
        notes = read_notes(model.get_rt_info([METADATA_KEY]).astype(str), path)
        return replace(notes.crop_input, height_px=height_px, width_px=width_px)
    built_in = any(_converted(model, name) for name in ("mean_values", "scale_values", "reverse_input_channels"))
    if not built_in:
        return CropInput(height_px, width_px)
    mean, std = PIXEL_RANGES["0..255"]
    swapped = _converted(model, "reverse_input_channels").lower() == "true"
    return CropInput(height_px, width_px, mean, std, "bgr" if swapped else "rgb")


def _converted(model: Any, name: str) -> str:
    """A parameter of the conversion; empty where it was not set."""
    place = ["conversion_parameters", name]
    value = model.get_rt_info(place).astype(str) if model.has_rt_info(place) else ""
    return "" if value in ("False", "NOT SET", "()", "[]", "{}") else value


def _tensor(output: Any) -> str:
    return f"{output.get_node().get_friendly_name()}:{output.get_index()}"


def _tensors(model: Any) -> dict[str, Any]:
    return {_tensor(output): output for node in model.get_ordered_ops() for output in node.outputs()}


def _operations(model: Any) -> Iterator[tuple[str, Operation]]:
    """Every operation that depends on the picture, once for each of its outputs."""
    fixed: set[str] = set()
    for node in model.get_ordered_ops():
        kind, sources = node.get_type_name(), [_tensor(value) for value in node.input_values()]
        outputs = [_tensor(output) for output in node.outputs()]
        computed = tuple(dict.fromkeys(source for source in sources if source not in fixed))
        if kind in PICTURE_FREE or (kind != "Parameter" and not computed):
            fixed.update(outputs)
        elif kind != "Parameter":
            name = node.get_friendly_name()
            classifier = any("classifier" in s.lower() for s in sources if s in fixed)
            role = _role(kind, computed, sources)
            yield from ((o, Operation(kind, name, role, computed, o, classifier)) for o in outputs)


def _role(kind: str, computed: tuple[str, ...], sources: list[str]) -> Role:
    if kind in ("Divide", "Multiply") and len(computed) == 2:
        return "divide"
    if kind == "Divide" and sources[0] in computed:
        return "linear"
    return ROLES.get(kind, "other")


def _ask_near(model: Any, parameter: Any) -> None:
    """Let what asks for the shape of something before `parameter` ask it instead: they want the batch."""
    behind = {_tensor(parameter.output(0))}
    for node in model.get_ordered_ops():
        sources = {_tensor(value) for value in node.input_values()}
        if sources & behind:
            behind.update(_tensor(output) for output in node.outputs())
        elif node.get_type_name() == "ShapeOf":
            node.input(0).replace_source_output(parameter.output(0))


def _free_reshapes(model: Any, batch: int) -> None:
    """Let reshapes take any batch where they began with the built-in one; the other sides are known by then."""
    from openvino import opset13

    for node in model.get_ordered_ops():
        shape = node.output(0).get_partial_shape() if node.get_type_name() == "Reshape" else None
        if shape is None or not shape.is_static or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        sizes = list(shape.to_shape())
        if sizes and sizes[0] == batch and node.input_value(0).get_node().get_type_name() != "Constant":
            free = opset13.constant(np.array([-1, *sizes[1:]], np.int64))
            node.input(1).replace_source_output(free.output(0))
