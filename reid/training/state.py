"""What a training is resumed from: tensors and JSON in one safetensors file. Never pickle.

Everything random in a training follows from its seed and the number of the step, so that no state of a generator has to
be kept; the rate follows from the step as well. What remains is the weights, the optimiser, the scaler of half
precision, and how far it has come.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import WeightsError
from reid.training.files import write_whole

FORMAT = 1
_KEY = "training_state"  # of the metadata; one key, because safetensors writes several in any order


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: optimiser steps made.
        seed: all randomness follows from it and the step.
        recipe: digest of recipe and training part; a state of another training is not resumed.
        scaler: of half precision; empty without.
    """

    step: int
    seed: int
    recipe: str
    scaler: Mapping[str, float]


def save_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    """Write the state in one step.

    Raises:
        OutputError: it cannot be written; the state before is still there.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    numbers: dict[str, dict[str, Any]] = {}
    for place, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{place}.{name}"] = value
            else:
                numbers.setdefault(str(place), {})[name] = value
    about = json.dumps({"format": FORMAT, "progress": asdict(progress), "numbers": numbers}, sort_keys=True)
    write_whole(path, save({name: _own(value) for name, value in tensors.items()}, {_KEY: about}))


def read_progress(path: Path) -> Progress:
    """How far the state in a file has come.

    Raises:
        WeightsError: not such a file.
    """
    return _read(path)[0]


def load_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Put what `save_state` wrote into model and optimiser.

    Raises:
        WeightsError: not such a file, or of another model.
    """
    progress, numbers, tensors = _read(path)
    own = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    states: dict[int, dict[str, Any]] = {int(place): dict(values) for place, values in numbers.items()}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, place, key = name.split(".", 2)
            states.setdefault(int(place), {})[key] = value
    try:
        model.load_state_dict(own)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise WeightsError(f"{path}: is the state of another model ({reason}); start again with --overwrite") from None
    return progress


def digest(*texts: str) -> str:
    """Hex digest of texts."""
    sha = hashlib.sha256()
    for text in texts:
        sha.update(f"{len(text)}:{text}".encode())
    return sha.hexdigest()[:16]


def _read(path: Path) -> tuple[Progress, dict[str, dict[str, Any]], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if about.get("format") != FORMAT:
                raise WeightsError(f"{path}: is not a state of this program's training")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Progress(**about["progress"]), about["numbers"], tensors
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be resumed from ({error}); start again with --overwrite") from None


def _own(value: Tensor) -> Tensor:
    """A copy that shares memory with nothing, which safetensors asks for."""
    return value.detach().to("cpu").contiguous().clone()
