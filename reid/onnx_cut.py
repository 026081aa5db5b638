"""Takes a re-ID network in ONNX apart by running it: its map's size, the batches it takes, its projection."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import WeightsError
from pipeline.ports import Projection
from pipeline.types import FloatArray
from reid.graph_cut import Cut
from reid.graph_probe import Body, Tail, check_projection, first_line, fit_projection, measure_body, one_by_one
from reid.onnx_graph import OnnxGraph, read_onnx_graph
from reid.onnx_session import open_session, session_errors

AXES_AS_INPUT = {"ReduceMean": 18, "ReduceSumSquare": 18, "ReduceSum": 13}  # first opset with axes as an input


@dataclass(frozen=True, eq=False, slots=True)
class OnnxParts:
    """A network that has proved to run.

    Attributes:
        batch: None when it takes batches of any size, else 1.
        channels, map_height: of the last map.
    """

    graph: OnnxGraph
    cut: Cut
    batch: int | None
    channels: int
    map_height: int
    projection: Projection | None

    def pooled_model(self, stripes: int) -> Any:
        """The network up to stripe means and energies; see `append_pooling`."""
        part = self.graph.body([self.cut.last_map], self.batch)
        return append_pooling(part, self.cut.last_map, self.channels, stripes, self.graph.opset())


def take_apart(path: Path, model: Any = None) -> OnnxParts:
    """Cut the network of a file at its last map and measure both sides.

    Args:
        model: the parsed file, where it is at hand.

    Raises:
        WeightsError: not a network that can be cut, or it is built for one batch of several crops.
    """
    graph = read_onnx_graph(path, model)
    cut = graph.find_cut()
    crop_shape = (3, graph.crop_input.height_px, graph.crop_input.width_px)
    body = _body(graph, cut.last_map, cut.pooled)
    batch, maps = measure_body(body, crop_shape, graph.stated_batch, session_errors(), str(path))
    channels = int(maps.shape[1])
    projection = None
    if cut.feature != cut.pooled:
        projection = _projection(graph, cut, channels)
        whole = _body(graph, cut.pooled, cut.feature)
        try:
            check_projection(whole, crop_shape, 1 if graph.stated_batch == 1 else None, projection, cut, str(path))
        except session_errors() as error:
            raise WeightsError(f"{path}: cannot be run as a whole ({first_line(error)})") from None
    return OnnxParts(graph, cut, batch, channels, int(maps.shape[2]), projection)


def _body(graph: OnnxGraph, first: str, last: str) -> Body:
    """The network up to two tensors as a function; opened once for each kind of batch."""
    ends = [first, last]

    @cache
    def session_for(batch: int | None) -> Any:
        return open_session(graph.body(ends, batch), graph.path, optimise=False)

    def body(batch: int | None, crops: FloatArray) -> tuple[FloatArray, FloatArray]:
        session = session_for(batch)
        one, other = session.run(ends, {graph.picture: crops.astype(_kind(session))})
        return one.astype(np.float32), other.astype(np.float32)

    return body


def _projection(graph: OnnxGraph, cut: Cut, channels: int) -> Projection | None:
    """The layers behind the pooling; run vector by vector where a batch of 1 is built into them.

    Raises:
        WeightsError: they are not affine.
    """
    tried: tuple[type[Exception], ...] = (WeightsError, *session_errors())
    try:
        return fit_projection(_tail(graph, cut, channels, None), channels, cut, str(graph.path))
    except tried as error:
        if isinstance(error, WeightsError) and graph.stated_batch != 1:
            raise
    try:
        return fit_projection(one_by_one(_tail(graph, cut, channels, 1)), channels, cut, str(graph.path))
    except session_errors() as error:
        raise WeightsError(f"{graph.path}: cannot be run behind its pooling ({first_line(error)})") from None


def _tail(graph: OnnxGraph, cut: Cut, channels: int, batch: int | None) -> Tail:
    """The layers behind the pooling as a function."""
    node = next(n for n in graph.model.graph.node if cut.pooled in n.output)
    keeps_axes = all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")
    places = [channels, 1, 1] if keeps_axes else [channels]
    ends = [name for name in dict.fromkeys((cut.linear, cut.feature)) if name != cut.pooled]
    part = graph.extract({cut.pooled: [batch or "batch", *places]}, ends, free=batch is None)
    session = open_session(part, graph.path)
    kind = _kind(session)

    def tail(pooled: FloatArray) -> tuple[FloatArray, FloatArray]:
        given = pooled.astype(kind).reshape(-1, *places)
        got = dict(zip(ends, session.run(ends, {cut.pooled: given}), strict=True)) | {cut.pooled: given}
        linear, feature = (np.asarray(got[n], np.float32).reshape(len(pooled), -1) for n in (cut.linear, cut.feature))
        return linear, feature

    return tail


def _kind(session: Any) -> type[np.floating[Any]]:
    return np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32


def append_pooling(part: Any, last_map: str, channels: int, stripes: int, opset: int) -> Any:
    """Let the network end in stripe means (B, K, C) and energies (B, K) in single precision, instead of `last_map`.

    Maps then never leave the device; pooling them costs less than copying them.

    Args:
        channels: of the map, whose height `stripes` divides.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = part.graph
    shape = np.array([0, channels, stripes, -1], np.int64)  # (batch as it is, C, K, the cells of a stripe)
    graph.initializer.append(numpy_helper.from_array(shape, "stripe_shape"))
    nodes = [
        helper.make_node("Cast", [last_map], ["map_single"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["map_single", "stripe_shape"], ["cells"]),
        _reduce(graph, "ReduceMean", "cells", "cell_means", [3], opset),
        helper.make_node("Transpose", ["cell_means"], ["stripe_means"], perm=[0, 2, 1]),
        _reduce(graph, "ReduceSumSquare", "cells", "channel_energy", [3], opset),
        _reduce(graph, "ReduceSum", "channel_energy", "stripe_energy", [1], opset),
    ]
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("stripe_means", TensorProto.FLOAT, ["batch", stripes, channels]))
    graph.output.append(helper.make_tensor_value_info("stripe_energy", TensorProto.FLOAT, ["batch", stripes]))
    return part


def _reduce(graph: Any, kind: str, source: str, target: str, axes: list[int], opset: int) -> Any:
    from onnx import helper, numpy_helper

    if opset < AXES_AS_INPUT[kind]:
        return helper.make_node(kind, [source], [target], axes=axes, keepdims=0)
    graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{target}_axes"))
    return helper.make_node(kind, [source, f"{target}_axes"], [target], keepdims=0)
