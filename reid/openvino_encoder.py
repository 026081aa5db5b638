"""Crop encoder on OpenVINO, for Intel and AMD processors; our own exports and other people's networks alike."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import EncoderDescription, Projection
from pipeline.types import FloatArray
from reid.crop_input import CropInput
from reid.crops import check_stripes
from reid.graph_cut import Cut
from reid.graph_probe import Body, Tail, check_projection, first_line, fit_projection, measure_body, one_by_one
from reid.openvino_graph import OpenVinoGraph, read_openvino_graph
from reid.pooled_encoder import PooledCropEncoder

# Crops a pass, compiled one by one: a network for any size takes a third longer (docs/export.md); with more than eight
# the maps leave the cache.
BATCHES = (8, 1)


class OpenVinoCropEncoder(PooledCropEncoder):
    """`pipeline.ports.CropEncoder` over a re-ID network that OpenVINO reads, with an average pooling.

    The network is cut at its last map, its batch made free, and stripes are pooled inside. One that cannot be freed of
    its batch of 1 runs crop by crop.
    """

    def __init__(
        self,
        path: Path,
        model_id: str,
        stripes: int = 4,
        threads: int = 1,
        device: str = "cpu",
        crop_input: CropInput | None = None,
    ) -> None:
        """
        Args:
            path: an `_openvino_model` folder, an .xml file, or an .onnx file.
            threads: of one pass; 0 lets OpenVINO take every core.
            device: `auto` or `cpu`.
            crop_input: None takes what the file states, or ImageNet's normalisation.

        Raises:
            WeightsError: not such a network, or `openvino` is not installed.
            ConfigError: stripes that do not divide the map, or another device.
        """
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"reid.device: OpenVINO runs on the CPU here, not on {device!r}; use cpu, or an .onnx file"
            )
        graph = load_openvino_graph(path)
        cut = graph.find_cut()
        self._compile = _Compiler(path, threads)
        crop_shape = (3, graph.crop_input.height_px, graph.crop_input.width_px)
        body = self._body(graph, cut.last_map, cut.pooled)
        batch, maps = measure_body(body, crop_shape, graph.stated_batch, (RuntimeError,), str(path))
        channels, height = int(maps.shape[1]), int(maps.shape[2])
        check_stripes(stripes, height)
        projection = None
        if cut.feature != cut.pooled:
            projection = self._projection(graph, cut, channels)
            whole = self._body(graph, cut.pooled, cut.feature)
            check_projection(whole, crop_shape, 1 if graph.stated_batch == 1 else None, projection, cut, str(path))
        self._requests = {
            size: self._pooled(graph.body([cut.last_map], batch), stripes, channels, size)
            for size in ((batch,) if batch else BATCHES)
        }
        description = EncoderDescription(model_id, stripes, channels, projection)
        super().__init__(description, crop_input or graph.crop_input, batch or BATCHES[0])

    def _pool(self, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        parts = []
        start = 0
        while start < len(pixels):
            size = next(size for size in self._requests if size <= len(pixels) - start)
            results = self._requests[size].infer([pixels[start : start + size]], share_inputs=True)
            parts.append([np.array(results[i]) for i in range(2)])  # the request overwrites its own
            start += size
        means, energy = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
        return means, energy

    def _pooled(self, body: Any, stripes: int, channels: int, batch: int) -> Any:
        """A request over the network up to stripe means and energies, for one batch."""
        part = _with_pooling(body, stripes, channels)
        part.reshape([batch, *(side.get_length() for side in list(part.inputs[0].get_partial_shape())[1:])])
        return self._compile(part).create_infer_request()

    def _body(self, graph: OpenVinoGraph, first: str, last: str) -> Body:
        """The network up to two tensors as a function; compiled once for each kind of batch."""

        @cache
        def compiled(batch: int | None) -> Any:
            return self._compile(graph.body([first, last], batch))

        def body(batch: int | None, crops: FloatArray) -> tuple[FloatArray, FloatArray]:
            results = compiled(batch)([crops])
            return np.array(results[0]), np.array(results[1])

        return body

    def _projection(self, graph: OpenVinoGraph, cut: Cut, channels: int) -> Projection | None:
        part, places = graph.tail(cut, channels)
        compiled = self._compile(part)

        def tail(pooled: FloatArray) -> tuple[FloatArray, FloatArray]:
            results = compiled([pooled.reshape(places)])
            linear, feature = (np.array(results[i], np.float32).reshape(1, -1) for i in range(2))
            return linear, feature

        run: Tail = one_by_one(tail)  # a batch of 1 is built into most networks of OpenVINO
        return fit_projection(run, channels, cut, str(graph.path))


class _Compiler:
    """Compiles models for the CPU in single precision."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        self._path = path
        self._options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}  # f32: the same on every processor
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, model: Any) -> Any:
        """
        Raises:
            WeightsError: OpenVINO cannot run the network.
        """
        try:
            return self._core.compile_model(model, "CPU", self._options)
        except RuntimeError as error:
            raise WeightsError(f"{self._path}: OpenVINO cannot run this network ({first_line(error)})") from None


def load_openvino_graph(path: Path) -> OpenVinoGraph:
    """The network of an `_openvino_model` folder, an .xml file or an .onnx file.

    Raises:
        WeightsError: not such a file, or `openvino` is not installed.
    """
    try:
        import openvino
    except ImportError:
        raise WeightsError(f"{path}: running it needs openvino: pip install '.[cpu]'") from None
    try:
        model = openvino.Core().read_model(network_file(path))
    except RuntimeError as error:
        raise WeightsError(f"{path}: OpenVINO cannot read it ({first_line(error)}); convert it again") from None
    return read_openvino_graph(path, model)


def network_file(path: Path) -> Path:
    """The .xml file of an `_openvino_model` folder; other paths as they are.

    Raises:
        WeightsError: the folder holds none, or several.
    """
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.xml"))
    if len(files) != 1:
        raise WeightsError(f"{path}: expected one .xml file with its .bin, found {len(files)}")
    return files[0]


def _with_pooling(part: Any, stripes: int, channels: int) -> Any:
    """A model that ends in stripe means (B, K, C) and energies (B, K) instead of its last map."""
    import openvino
    from openvino import opset13

    maps = part.outputs[0].get_node().input_value(0)
    shape = opset13.constant(np.array([0, channels, stripes, -1], np.int64))
    cells = opset13.reshape(maps, shape, special_zero=True)  # (B, C, K, cells of a stripe)
    means = opset13.transpose(
        opset13.reduce_mean(cells, opset13.constant(np.array([3])), keep_dims=False),
        opset13.constant(np.array([0, 2, 1])),
    )
    energy = opset13.reduce_sum(opset13.multiply(cells, cells), opset13.constant(np.array([1, 3])), keep_dims=False)
    return openvino.Model([means.output(0), energy.output(0)], part.get_parameters(), "stripes")
