"""Where to cut a re-ID network: behind its last map, and what of the rest becomes the projection. No file format here.

A reader of a format (`reid.onnx_graph`, `reid.openvino_graph`) lists the network's operations; `find_cut` follows its
output back to the pooling. `reid.graph_probe` then runs the parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import WeightsError

# moves: changes the shape only. divide: by, or times, another computed value (a norm?). norm: to L2 norm 1.
Role = Literal["moves", "linear", "relu", "pool", "max pool", "divide", "norm", "softmax", "other"]

MATRICES = ("Gemm", "MatMul", "Conv", "Convolution")  # kinds of a classifier's own operation


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a network.

    Attributes:
        kind: as the file calls it.
        inputs: the tensors that depend on the picture; weights and shapes are left out.
        classifier: its weights are called a classifier's.
    """

    kind: str
    name: str
    role: Role
    inputs: tuple[str, ...]
    output: str
    classifier: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Cut:
    """How a network ends, as names of tensors.

    Attributes:
        last_map: what the pooling reads. pooled: what it writes.
        linear: behind the last linear layer; the same as `pooled` when there is none.
        feature: behind the ReLU and the L2 normalisation, where there are such.
        relu: a ReLU ends the linear layers.
        normalised: the feature is L2-normalised (heads do that themselves).
    """

    last_map: str
    pooled: str
    linear: str
    feature: str
    relu: bool
    normalised: bool


def find_cut(operations: Mapping[str, Operation], outputs: Sequence[str], place: str) -> Cut:
    """The cut for the network's feature: of several outputs the one that the others are made from.

    Args:
        operations: by the tensor they write.
        place: begins the error's text.

    Raises:
        WeightsError: no output comes from a global average pooling through linear layers; names what is in between.
    """
    cuts: list[tuple[str, Cut]] = []
    errors: list[WeightsError] = []
    for output in outputs:
        try:
            cuts.append((output, _cut_for(operations, output, place)))
        except WeightsError as error:
            errors.append(error)
    if not cuts:
        raise errors[0] if errors else WeightsError(f"{place}: a network without an output")
    for output, cut in cuts:
        if not any(other != output and _depends(operations, output, other) for other, _ in cuts):
            return cut
    return cuts[0][1]


def _cut_for(operations: Mapping[str, Operation], output: str, place: str) -> Cut:
    """Follow `output` back: an L2 normalisation, a ReLU and linear layers, each only where it may stand."""
    feature = tensor = _without_classifier(operations, output)
    linear: str | None = None
    behind: Operation | None = None  # the operation that was last found, which runs after the next one found
    relu = normalised = False
    while True:
        operation = operations.get(tensor)
        if operation is None:
            raise WeightsError(f"{place}: no global average pooling between the pictures and the output {output!r}")
        if operation.role == "pool":
            return Cut(operation.inputs[0], tensor, linear or tensor, feature, relu, normalised)
        source = _source(operations, operation)
        fits = source is not None and {
            "norm": not (normalised or relu or linear),
            "divide": not (normalised or relu or linear),
            "relu": not (relu or linear),
            "linear": True,
            "moves": True,
        }.get(operation.role, False)
        if source is None or not fits:
            raise WeightsError(f"{place}: {_refusal(operation, behind)}")
        normalised |= operation.role in ("norm", "divide")
        relu |= operation.role == "relu"
        if operation.role == "linear" and linear is None:
            linear = tensor
        behind = operation if operation.role != "moves" else behind
        tensor = source


def _refusal(operation: Operation, behind: Operation | None) -> str:
    if operation.role == "max pool":
        return (
            f"{operation} pools the last map by its maximum; a clip's stripes are means, which its layers were not "
            "trained on: use a network with average pooling"
        )
    place = f"before {behind}" if behind is not None else "at the output"
    return (
        f"cannot follow {operation} {place}: between the global average pooling and the feature only linear layers, "
        "then a ReLU, then an L2 normalisation can stand; export the network with the feature before it as output"
    )


def _without_classifier(operations: Mapping[str, Operation], output: str) -> str:
    """The tensor that the classes are made from, if `output` are classes: by a softmax, or by their weights' name."""
    last = operations.get(output)
    classes = last is not None and last.role == "softmax"
    if last is not None and classes:
        last = operations.get(last.inputs[0])
    matrix = last
    if last is not None and last.kind == "Add" and len(last.inputs) == 1:  # the bias of a MatMul
        matrix = operations.get(last.inputs[0])
    if matrix is None or matrix.role != "linear" or matrix.kind not in MATRICES:
        return output
    return matrix.inputs[0] if classes or matrix.classifier or (last is not None and last.classifier) else output


def _source(operations: Mapping[str, Operation], operation: Operation) -> str | None:
    """The tensor that an operation continues; None when it joins several."""
    if len(operation.inputs) == 1:
        return operation.inputs[0]
    if operation.role == "divide" and len(operation.inputs) == 2:
        first, second = operation.inputs
        if _depends(operations, second, first):
            return first
        if _depends(operations, first, second):
            return second
    return None


def _depends(operations: Mapping[str, Operation], tensor: str, on: str) -> bool:
    """Whether `tensor` is computed from `on`."""
    seen, waiting = {tensor}, [tensor]
    while waiting:
        operation = operations.get(waiting.pop())
        for source in operation.inputs if operation is not None else ():
            if source == on:
                return True
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return False
