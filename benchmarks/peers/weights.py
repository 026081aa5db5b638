"""The re-ID weights as each library takes them: the same network and numbers, for batches, normalised where needed."""

from pathlib import Path
from typing import Any

from peers.catalogue import Library

# ImageNet's mean and deviation, RGB, for values 0 to 1: what the weights were trained with
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def write_weights(source: Path, folder: Path) -> dict[Library, Path]:
    """Copies of an OSNet .onnx export with a free batch size.

    boxmot resizes, normalises and wants the network's name in the file's; ultralytics gives crops with values 0 to 1
    and leaves the normalisation to the network, so its copy begins with it.

    Raises:
        RuntimeError: the `onnx` package is not installed, or the file is no such export.
    """
    try:
        import onnx
    except ImportError:
        raise RuntimeError("the weights need the onnx package: pip install '.[cpu]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[Library, Path] = {}
    for library in ("boxmot", "ultralytics"):
        model = onnx.load(str(source))
        free_batch(model, source.name)
        if library == "ultralytics":
            normalise_first(model)
        onnx.checker.check_model(model)
        written[library] = folder / library / source.name
        written[library].parent.mkdir(exist_ok=True)
        written[library].write_bytes(model.SerializeToString())
    return written


def free_batch(model: Any, name: str) -> None:
    """Let the batch be of any size: in the input and output, and where the export flattens to a fixed shape.

    Raises:
        RuntimeError: no reshape behind the global average pool.
    """
    from onnx import helper

    graph = model.graph
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]  # shapes of the fixed batch
    pooled = [node.output[0] for node in graph.node if node.op_type == "GlobalAveragePool"][-1:]
    reshapes = [node for node in graph.node if node.op_type in ("Reshape", "Flatten") and node.input[0] in pooled]
    if not reshapes:
        raise RuntimeError(f"{name}: not an export of OSNet: nothing flattens its last pool")
    for node in reshapes:
        node.CopyFrom(helper.make_node("Flatten", [node.input[0]], list(node.output), name=node.name, axis=1))


def normalise_first(model: Any) -> None:
    """Put (x - mean) / deviation in front of the network, for RGB values 0 to 1."""
    from onnx import TensorProto, helper

    graph = model.graph
    entry = graph.input[0].name
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == entry:
                node.input[place] = "normalised"
    for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
        graph.initializer.append(helper.make_tensor(f"normalise_{name}", TensorProto.FLOAT, (1, 3, 1, 1), values))
    graph.node.insert(0, helper.make_node("Div", ["centred", "normalise_deviation"], ["normalised"]))
    graph.node.insert(0, helper.make_node("Sub", [entry, "normalise_mean"], ["centred"]))
