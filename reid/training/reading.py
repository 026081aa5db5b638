"""From YAML to a recipe: checks everything, names the line of every mistake, and reports all of them at once."""

import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.reading import Place, read_value  # the same reader as for configurations
from pipeline.errors import ConfigError
from reid.training.recipe import HeadRecipe, LossRecipe, Recipe

_OWN_KEYS = {
    HeadRecipe: {f.name for f in fields(HeadRecipe)} - {"options"},
    LossRecipe: {f.name for f in fields(LossRecipe)} - {"options"},
}

# setting -> smallest, largest
_RANGES: dict[str, tuple[float, float]] = {
    "pictures.height_px": (32, 1024),
    "pictures.width_px": (16, 512),
    "pictures.cache_mb": (0, 1_000_000),
    "pictures.readers": (0, 64),
    "batch.people": (2, 4096),
    "batch.tracklets": (1, 4096),
    "batch.frames": (1, 256),
    "batch.unlabelled": (0, 4096),
    "batch.stride": (1, 1000),
    "batch.accumulate": (1, 1000),
    "augment.flip": (0, 1),
    "augment.crop": (0, 1),
    "augment.crop_px": (0, 128),
    "augment.erase": (0, 1),
    "augment.camera_style": (0, 1),
    "augment.jitter": (0, 1),
    "model.head.stripes": (1, 32),
    "schedule.rate": (0, 10),
    "schedule.weight_decay": (0, 1),
    "schedule.epochs": (1, 100_000),
    "schedule.factor": (0, 1),
    "schedule.warm_up_epochs": (0, 100_000),
    "run.save_every_steps": (1, 10_000_000),
    "run.evaluate_every_epochs": (0, 100_000),
}


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe; `model.weights` and a loss's `file` may be paths relative to the recipe's folder.

    Raises:
        ConfigError: with one line per mistake and its place in the file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}") from None
    recipe = parse_recipe(text, str(path))
    weights = recipe.model.weights
    if weights is not None and (path.parent / weights).is_file():
        recipe = replace(recipe, model=replace(recipe.model, weights=str(path.parent / weights)))
    losses = tuple(_with_file(loss, path.parent) for loss in recipe.losses)
    return replace(recipe, losses=losses)


def _with_file(loss: LossRecipe, folder: Path) -> LossRecipe:
    file = loss.options.get("file")
    if not isinstance(file, str) or not (folder / file).is_file():
        return loss
    return replace(loss, options={**loss.options, "file": str(folder / file)})


def parse_recipe(text: str, file: str = "recipe") -> Recipe:
    """`load_recipe` for a text; `file` is how mistakes name it."""
    mistakes: list[str] = []
    place = Place(file, mistakes)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return Recipe()
    options = _take_options(root, place)
    recipe = read_value(Recipe, root, place, os.environ, "")
    if not mistakes:
        _check_ranges(recipe, root, place)
    if mistakes:
        raise ConfigError(*mistakes)
    return _with_options(recipe, options)


def recipe_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that `parse_recipe` reads: what a checkpoint carries."""
    values = asdict(recipe)
    values["losses"] = [_flat(loss) for loss in values["losses"]]
    values["model"]["head"] = _flat(values["model"]["head"])
    return yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)


def _flat(section: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in section.items() if k != "options"}, **section["options"]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _take_options(root: yaml.Node, place: Place) -> dict[str, dict[str, Any]]:
    """The settings that belong to a loss or a head itself, by their section; they are taken out of the tree."""
    found = {}
    head = node_at(root, "model.head")
    if isinstance(head, yaml.MappingNode):
        found["model.head"] = _split(head, _OWN_KEYS[HeadRecipe], place, "model.head")
    losses = node_at(root, "losses")
    if isinstance(losses, yaml.SequenceNode):
        for number, node in enumerate(losses.value):
            if isinstance(node, yaml.MappingNode):
                name = f"losses[{number}]"
                found[name] = _split(node, _OWN_KEYS[LossRecipe], place, name)
    return found


def _split(node: yaml.MappingNode, own: set[str], place: Place, name: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    kept = []
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in own or not isinstance(key_node, yaml.ScalarNode) or not key.isidentifier():
            kept.append((key_node, value_node))
        elif key in options:
            place.mistake(key_node, f"'{name}.{key}' is given twice")
        else:
            options[key] = _option(value_node, place, f"{name}.{key}")
    node.value = kept
    return options


def _option(node: yaml.Node, place: Place, name: str) -> Any:
    """A plain value: a number, a text, true, false, null, or a list of such."""
    if isinstance(node, yaml.SequenceNode):
        return tuple(_option(child, place, f"{name}[{i}]") for i, child in enumerate(node.value))
    try:
        if isinstance(node, yaml.ScalarNode):
            return yaml.SafeLoader("").construct_object(node)
    except yaml.YAMLError:
        pass
    place.mistake(node, f"{name}: expected a plain value")
    return None


def _with_options(recipe: Recipe, options: Mapping[str, Mapping[str, Any]]) -> Recipe:
    losses = tuple(
        replace(loss, options=options.get(f"losses[{i}]", loss.options)) for i, loss in enumerate(recipe.losses)
    )
    head = replace(recipe.model.head, options=options.get("model.head", {}))
    return replace(recipe, losses=losses, model=replace(recipe.model, head=head))


def _check_ranges(recipe: Recipe, root: yaml.Node, place: Place) -> None:
    for name, (low, high) in _RANGES.items():
        value: Any = recipe
        for part in name.split("."):
            value = getattr(value, part)
        if not low <= value <= high:
            place.mistake(node_at(root, name) or root, f"{name}: expected {low:g} to {high:g}, got {value:g}")
    least, most = recipe.augment.erase_area
    if not 0 < least <= most < 1:
        place.mistake(
            node_at(root, "augment.erase_area") or root,
            f"augment.erase_area: expected two rising shares above 0 and below 1, got {[least, most]}",
        )
    if not recipe.losses:
        place.mistake(node_at(root, "losses") or root, "losses: expected at least one")
    height, width = recipe.pictures.height_px, recipe.pictures.width_px
    if height % 32 or width % 16:
        where = node_at(root, "pictures.height_px") or node_at(root, "pictures.width_px") or root
        place.mistake(where, f"pictures: expected multiples of 32 and 16 px, got {height} and {width}")


def node_at(root: yaml.Node, name: str) -> yaml.Node | None:
    """The value of a setting in the tree, by its dotted name; None: it is not given."""
    node: yaml.Node | None = root
    for part in name.split("."):
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == part), None)
    return node
