"""Tiny re-ID networks in ONNX, with every way of pooling and of ending that exporters write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from pipeline.config import ReidConfig
from pipeline.types import Frame
from reid.crop_input import CropInput
from reid.crops import cut_crops
from reid.heads import MeanHead

CHANNELS, LENGTH = 6, 5  # of the last map; of the feature
HEIGHT_PX, WIDTH_PX = 64, 32
MAP = (16, 8)  # rows and columns of the last map

Step = tuple[str, Sequence[Any], dict[str, Any]]  # operator, its other inputs (arrays or tensor names), its attributes


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


POOLINGS: dict[str, list[Step]] = {
    "global average pool": [("GlobalAveragePool", [], {})],
    "reduce mean, axes as attribute": [("ReduceMean", [], {"axes": [2, 3], "keepdims": 1})],
    "reduce mean from the end, without axes kept": [("ReduceMean", [], {"axes": [-1, -2], "keepdims": 0})],
    "average pool over the whole map": [("AveragePool", [], {"kernel_shape": list(MAP)})],
    "padding of nothing, then average pool": [
        ("Pad", [int64(*[0] * 8)], {}),
        ("AveragePool", [], {"kernel_shape": list(MAP), "strides": [1, 1]}),
    ],
}
FLATTENINGS: dict[str, list[Step]] = {
    "flatten": [("Flatten", [], {"axis": 1})],
    "reshape": [("Reshape", [int64(-1, CHANNELS)], {})],
    "reshape of a built-in batch": [("Reshape", [int64(1, -1)], {})],
    "reshape of a built-in batch and length": [("Reshape", [int64(1, CHANNELS)], {})],
    "squeeze": [("Squeeze", [int64(2, 3)], {})],
    "nothing": [],
}
NORM = [np.ones(CHANNELS, np.float32) + weights(CHANNELS, seed=1) ** 2, *(weights(CHANNELS, seed=s) for s in (2, 3))]
NORM.append(1 + weights(CHANNELS, seed=4) ** 2)  # gain, shift, mean, variance
NORM_OUT = [values[:LENGTH] for values in NORM]
GEMM: Step = ("Gemm", [weights(LENGTH, CHANNELS, seed=5), weights(LENGTH, seed=6)], {"transB": 1, "alpha": 0.5})
CONV: Step = ("Conv", [weights(LENGTH, CHANNELS, 1, 1, seed=5), weights(LENGTH, seed=6)], {"kernel_shape": [1, 1]})
# name -> the flattening before it, and the steps
TAILS: dict[str, tuple[str, list[Step]]] = {
    "nothing": ("flatten", []),
    "gemm": ("flatten", [GEMM]),
    "matmul and add": ("reshape", [("MatMul", [weights(CHANNELS, LENGTH)], {}), ("Add", [weights(LENGTH)], {})]),
    "batch norm neck": ("squeeze", [("BatchNormalization", NORM, {})]),
    "gemm, batch norm, relu": ("flatten", [GEMM, ("BatchNormalization", NORM_OUT, {}), ("Relu", [], {})]),
    "1x1 convolution": ("nothing", [CONV, ("Flatten", [], {"axis": 1})]),
    "batch norm and 1x1 convolution": ("nothing", [("BatchNormalization", NORM, {}), CONV]),
    "dropout, identity, gemm": ("flatten", [("Dropout", [], {}), ("Identity", [], {}), GEMM, ("Identity", [], {})]),
    "scale and shift": (
        "reshape of a built-in batch and length",
        [("Mul", [weights(CHANNELS)], {}), ("Sub", [weights(CHANNELS)], {}), ("Div", [np.float32([4])], {})],
    ),
    "relu only": ("flatten", [("Relu", [], {})]),
    "lp normalisation": ("flatten", [GEMM, ("LpNormalization", [], {"axis": 1, "p": 2})]),
    "norm and division": (
        "flatten",
        [
            GEMM,
            ("ReduceL2", [], {"axes": [1], "keepdims": 1}),
            ("Clip", [np.float32(1e-12)], {}),
            ("Expand", ["<shape of Gemm>"], {}),
            ("Div", ["<Gemm first>"], {}),
        ],
    ),
    "relu and norm": ("flatten", [GEMM, ("Relu", [], {}), ("LpNormalization", [], {"axis": -1, "p": 2})]),
}


@dataclass
class Network:
    """A graph under construction: nodes are appended one by one, each reading the last one's output."""

    constants_as_nodes: bool = False
    dtype: type = np.float32
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    last: str = "images"
    by_kind: dict[str, str] = field(default_factory=dict)

    def constant(self, value: np.ndarray) -> str:
        name = f"weight_{len(self.initializers) + len(self.nodes)}"
        value = value.astype(self.dtype) if value.dtype == np.float32 else value
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        if self.constants_as_nodes:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def add(self, kind: str, others: Sequence[Any] = (), attributes: dict[str, Any] | None = None) -> str:
        inputs = [self.last, *(self._other(other) for other in others)]
        if others and isinstance(others[0], str) and others[0].endswith("first>"):
            inputs = [inputs[1], inputs[0]]
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=f"{kind}_{len(self.nodes)}", **attributes or {})
        )
        self.last = self.by_kind[kind] = output
        return output

    def _other(self, other: Any) -> str:
        if not isinstance(other, str):
            return self.constant(np.asarray(other))
        tensor = self.by_kind[other.strip("<>").removeprefix("shape of ").removesuffix(" first")]
        if not other.startswith("<shape"):
            return tensor
        self.nodes.append(helper.make_node("Shape", [tensor], [f"{tensor}_shape"]))
        return f"{tensor}_shape"

    def steps(self, steps: Sequence[Step]) -> None:
        for kind, others, attributes in steps:
            self.add(kind, others, attributes)

    def body(self) -> None:
        """Two convolutions with a squeeze-and-excitation gate between: its pooling is not the last one."""
        self.add("Conv", [weights(4, 3, 4, 4, seed=7)], {"strides": [2, 2], "pads": [1, 1, 1, 1]})
        shared = self.add("Relu")
        self.add("GlobalAveragePool")
        self.steps([("Conv", [weights(4, 4, 1, 1, seed=8)], {}), ("Sigmoid", [], {})])
        self.by_kind["shared"] = shared
        self.add("Mul", ["<shared>"])
        self.add(
            "Conv",
            [weights(CHANNELS, 4, 4, 4, seed=9), weights(CHANNELS, seed=10)],
            {"strides": [2, 2], "pads": [1] * 4},
        )
        self.add("Relu")

    def model(self, batch: int | str = 1, outputs: Sequence[str] = (), opset: int = 13, **metadata: str) -> Any:
        element = TensorProto.FLOAT if self.dtype is np.float32 else TensorProto.FLOAT16
        picture = helper.make_tensor_value_info("images", element, [batch, 3, HEIGHT_PX, WIDTH_PX])
        ends = [helper.make_tensor_value_info(name, element, None) for name in outputs or [self.last]]
        graph = helper.make_graph(self.nodes, "tiny", [picture], ends, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, metadata)
        return model


def tiny_network(
    pooling: str = "global average pool", tail: str = "gemm", flattening: str | None = None, **options: Any
) -> Network:
    network = Network(**options)
    network.body()
    network.steps(POOLINGS[pooling])
    usual, steps = TAILS[tail]
    kept = "without" not in pooling
    if kept or "Reshape" in str(FLATTENINGS[flattening or usual]):
        network.steps(FLATTENINGS[flattening or usual])
    network.steps(steps)
    return network


def save_network(network: Network, path: Path, batch: int | str = 1, **options: Any) -> Path:
    save(network.model(batch, **options), path)
    return path


def small_frame(seed: int = 0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (96, 80, 3), np.uint8)
    return Frame("door", "1", 0, 0.0, image)


SMALL_BOXES = np.array([[4, 2, 36, 66], [20, 10, 60, 90], [0, 0, 79, 95]], np.float32)


def own_features(path: Path, crop_input: CropInput, output: str | None = None) -> np.ndarray:
    """(N, D) norm 1: what the network itself makes of the small boxes, one crop at a time, on ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    crops, _ = cut_crops([small_frame()], [SMALL_BOXES], crop_input.height_px, crop_input.width_px)
    pixels = crop_input.normalise(crops)
    kind = np.float16 if "float16" in session.get_inputs()[0].type else np.float32
    name = session.get_inputs()[0].name
    rows = [session.run([output] if output else None, {name: p[None].astype(kind)})[0].ravel() for p in pixels]
    features = np.stack(rows).astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def mean_features(encoder: Any) -> np.ndarray:
    """(N, D): the same through crop features and the mean head."""
    head = MeanHead(encoder.describe())
    return np.stack([head.fuse([f]).embedding for f in encoder.encode([small_frame()], [SMALL_BOXES])[0]])


ANY = ReidConfig(backbone="onnx", device="cpu")
