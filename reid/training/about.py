"""What a file of trained weights says of itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pipeline.errors import WeightsError
from reid.training.reading import parse_recipe
from reid.training.recipe import Recipe

FORMAT = 1
KEY = "training"  # of the metadata; one key, because safetensors writes several in any order


@dataclass(frozen=True, slots=True)
class Trained:
    """What a file of trained weights says of itself.

    Attributes:
        people: of the training part. step: that the weights are of. data_set: its name.
    """

    recipe: Recipe
    people: int
    seed: int
    step: int
    data_set: str


def read_trained(path: Path) -> Trained | None:
    """What the file says of itself; None: it was not written by `save_trained`.

    Raises:
        WeightsError: it was, and cannot be read.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read these weights ({error})") from None
    if not about:
        return None
    if about.pop("format", None) != FORMAT:
        raise WeightsError(f"{path}: was trained by another version of this program")
    recipe = parse_recipe(about.pop("recipe"), f"{path}: recipe")
    return Trained(recipe, **about)
