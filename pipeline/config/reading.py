"""From YAML to settings: checks everything, names the line of every mistake, and reports all of them at once."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from pipeline.config.settings import (
    CameraConfig,
    CaptureConfig,
    Config,
    DetectorConfig,
    MatcherConfig,
    Moment,
    ReidConfig,
    RuntimeConfig,
    TopologyConfig,
    TrackerConfig,
    ViewConfig,
)
from pipeline.errors import ConfigError

_CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # goes into file names, Redis keys and URLs

# What YAML makes of plain values; every other tag asks for an object
_PLAIN_TAGS = frozenset({"null", "bool", "int", "float", "str", "timestamp", "seq", "map"})

# YAML's words for fields that Python cannot name so
_YAML_NAMES = {(TopologyConfig, "from"): "from_camera", (TopologyConfig, "to"): "to_camera"}

# (section class, key) -> (smallest, largest) allowed value
_RANGES: dict[tuple[type, str], tuple[float, float]] = {
    (DetectorConfig, "confidence"): (0.0, 1.0),
    (DetectorConfig, "image_size_px"): (32, 4096),
    (TrackerConfig, "high_confidence"): (0.0, 1.0),
    (TrackerConfig, "low_confidence"): (0.0, 1.0),
    (TrackerConfig, "birth_confidence"): (0.0, 1.0),
    (TrackerConfig, "match_iou"): (0.0, 1.0),
    (ReidConfig, "clip_frames"): (1, 64),
    (ReidConfig, "stripes"): (1, 16),
    (ReidConfig, "every_s"): (0.05, 3600),
    (ReidConfig, "first_clip_s"): (0, 60),
    (MatcherConfig, "threshold"): (0.0, 2.0),
    (MatcherConfig, "decide_every_s"): (0.001, 10),
    (MatcherConfig, "absence_s"): (0, 1e9),
    (MatcherConfig, "occlusion_s"): (0, 1e9),
    (MatcherConfig, "lateness_s"): (0, 3600),
    (ViewConfig, "port"): (0, 65535),
    (RuntimeConfig, "cameras_per_worker"): (1, 64),
    (CameraConfig, "detect_every_s"): (0, 60),
    (CaptureConfig, "open_timeout_s"): (0.1, 120),
    (CaptureConfig, "stalled_s"): (0.1, 3600),
    (CaptureConfig, "frozen_s"): (0.1, 3600),
}


class Place:
    """Where in the file a value stands; collects mistakes."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        self.file = file
        self.mistakes = mistakes

    def mistake(self, node: yaml.Node, text: str) -> None:
        self.mistakes.append(f"{self.file}:{node.start_mark.line + 1}: {text}")


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read a YAML configuration.

    Args:
        path: the file; relative `source`, `calibration`, `detections` and `head_weights` are relative to its folder.
        environment: where `${NAME}` comes from; the process's own when None.

    Raises:
        ConfigError: with one line per mistake and its place in the file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config {path}: {getattr(error, 'strerror', None) or error}") from None
    return parse_config(text, str(path), path.parent, environment)


def parse_config(
    text: str, file: str = "config", folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """`load_config` for a text; `file` is how mistakes name it."""
    mistakes: list[str] = []
    place = Place(file, mistakes)
    environment = os.environ if environment is None else environment
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return Config()
    value = read_value(Config, root, place, environment, "")
    if not mistakes:
        mistakes.extend(_check_whole(value, file))
    if mistakes:
        raise ConfigError(*mistakes)
    return _resolve_paths(value, folder)


def read_value(kind: Any, node: yaml.Node, place: Place, environment: Mapping[str, str], name: str) -> Any:
    """The value of one node as `kind`; a mistake is noted and gives None."""
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN_TAGS:
        place.mistake(node, f"{name or 'the config'}: only plain settings are read, no YAML tag !!{_tag(node)}")
        return None
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _read_union(get_args(kind), node, place, environment, name)
    if origin is Literal:
        return _read_choice(get_args(kind), node, place, name)
    if origin is tuple:
        return _read_tuple(get_args(kind), node, place, environment, name)
    if is_dataclass(kind):
        return _read_section(kind, node, place, environment, name)
    return _read_scalar(kind, node, place, environment, name)


def _read_section(kind: Any, node: yaml.Node, place: Place, environment: Mapping[str, str], name: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        place.mistake(node, f"{name or 'the config'}: expected settings as `key: value`")
        return None
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        given = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        key = _YAML_NAMES.get((kind, given), given)
        full = f"{name}.{given}" if name else given
        if key not in known or (kind is TopologyConfig and given.endswith("_camera")):
            shown = _text(key_node) if "://" in given or not given else repr(full)
            place.mistake(key_node, f"unknown key {shown}{_did_you_mean(given, known)}")
        elif key in values:
            place.mistake(key_node, f"{full!r} is given twice")
        else:
            values[key] = read_value(hints[key], value_node, place, environment, full)
            _check_range(kind, key, values[key], value_node, place, full)
    for missing in (
        f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ):
        place.mistake(node, f"{name or 'the config'}: {missing!r} is missing")
        values[missing] = None
    return kind(**values)


def _did_you_mean(key: str, known: Mapping[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(sorted(known))}"


def _check_range(kind: type, key: str, value: Any, node: yaml.Node, place: Place, name: str) -> None:
    low_high = _RANGES.get((kind, key))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        place.mistake(node, f"{name}: expected a finite number, got {value:g}")
    elif low_high and not low_high[0] <= value <= low_high[1]:
        place.mistake(node, f"{name}: expected {low_high[0]:g} to {low_high[1]:g}, got {value:g}")
    elif key.endswith("_s") and key != "clock_offset_s" and value < 0:
        place.mistake(node, f"{name}: seconds cannot be negative, got {value:g}")


def _read_union(
    kinds: tuple[Any, ...], node: yaml.Node, place: Place, environment: Mapping[str, str], name: str
) -> Any:
    if NoneType in kinds and node.tag == "tag:yaml.org,2002:null":
        return None
    kinds = tuple(k for k in kinds if k is not NoneType)
    for kind in kinds:
        attempt = Place(place.file, [])
        value = read_value(kind, node, attempt, environment, name)
        if not attempt.mistakes:
            return value
    if len(kinds) == 1:
        place.mistakes.extend(attempt.mistakes)
    else:
        names = " or ".join(_type_name(k) for k in kinds)
        place.mistake(node, f"{name}: expected {names}, got {_text(node)}")
    return None


def _read_choice(choices: tuple[Any, ...], node: yaml.Node, place: Place, name: str) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.value in choices:
        return node.value
    place.mistake(node, f"{name}: expected one of {', '.join(map(str, choices))}; got {_text(node)}")
    return None


def _read_tuple(
    kinds: tuple[Any, ...], node: yaml.Node, place: Place, environment: Mapping[str, str], name: str
) -> Any:
    if not isinstance(node, yaml.SequenceNode):
        place.mistake(node, f"{name}: expected a list, got {_text(node)}")
        return ()
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(node.value)
    elif len(kinds) != len(node.value):
        place.mistake(node, f"{name}: expected {len(kinds)} values, got {len(node.value)}")
        return ()
    return tuple(
        read_value(kind, child, place, environment, f"{name}[{i}]")
        for i, (kind, child) in enumerate(zip(kinds, node.value, strict=True))
    )


def _read_scalar(kind: Any, node: yaml.Node, place: Place, environment: Mapping[str, str], name: str) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        place.mistake(node, f"{name}: expected {_type_name(kind)}, got {_text(node)}")
        return None
    tag = node.tag.rpartition(":")[2]
    if kind is str:
        if tag not in ("str", "int", "float", "timestamp"):
            place.mistake(node, f"{name}: expected text, got {_text(node)}; put it in quotes")
            return None
        return _expand(node.value, node, place, environment, name)
    try:
        if kind is Moment:
            return _moment(node.value, tag)
        if kind is bool and tag == "bool":
            return yaml.SafeLoader("").construct_yaml_bool(node)
        if kind is int and tag == "int":
            return int(node.value.replace("_", ""), 0)
        if kind is float and tag in ("int", "float"):
            return float(node.value.replace("_", ""))
    except (ValueError, KeyError):  # an explicit tag over a text that is no such value
        pass
    place.mistake(node, f"{name}: expected {_type_name(kind)}, got {_text(node)}")
    return None


def _moment(text: str, tag: str) -> float:
    """Unix seconds of a number or of an ISO 8601 time.

    Raises:
        ValueError: it is neither, or its time zone is missing.
    """
    if tag in ("int", "float"):
        return float(text.replace("_", ""))
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("without a time zone")
    return at.timestamp()


def _expand(value: str, node: yaml.Node, place: Place, environment: Mapping[str, str], name: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in environment:
            place.mistake(node, f"{name}: the environment variable {match[1]} is not set")
            return ""
        return environment[match[1]]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", one, value)


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "/".join(map(str, get_args(kind)))
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Moment: "Unix seconds, or a time with its zone such as 2026-03-01T09:00:00Z",
    }
    return names.get(kind, "a section")


def _tag(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2][:40]


def _text(node: yaml.Node) -> str:
    """A value as a mistake may show it: never a URL, which may hold a password."""
    if isinstance(node, yaml.ScalarNode):
        if "://" in node.value:
            return "a URL"
        return "nothing" if node.value == "" else repr(node.value[:60])
    return "a list" if isinstance(node, yaml.SequenceNode) else "a section"


def _check_whole(config: Config, file: str) -> list[str]:
    """Mistakes that concern more than one value."""
    mistakes = []
    for key in ("reconnect_s", "refused_s"):
        waits = getattr(config.capture, key)
        if not waits or min(waits) <= 0:
            mistakes.append(f"{file}: capture.{key}: expected at least one wait, all above 0 s")
    if not 0 < config.background.poll_missing_s <= config.background.poll_s:
        mistakes.append(f"{file}: background: expected 0 < poll_missing_s <= poll_s")
    ids = [camera.id for camera in config.cameras]
    for name in [config.site, *ids]:
        if not _CAMERA_ID.fullmatch(name):
            shown = "a URL" if is_url(name) else repr(name[:60])
            mistakes.append(f"{file}: {shown}: site and camera ids are letters, digits, - and _ (at most 64)")
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        mistakes.append(f"{file}: camera id {twice!r} is used twice")
    for rule in config.topology:
        cameras = [c for c in (rule.from_camera, rule.to_camera, *(rule.pair or ())) if c is not None]
        mistakes.extend(f"{file}: topology names the unknown camera {c!r}" for c in cameras if c not in ids)
        if (rule.pair is None) == (rule.from_camera is None or rule.to_camera is None):
            mistakes.append(f"{file}: a topology entry is {{from, to, transit_s}} or {{pair, overlap}}")
        if rule.transit_s and rule.transit_s[0] > rule.transit_s[1]:
            mistakes.append(f"{file}: topology transit_s: expected [least, most], got {list(rule.transit_s)}")
    return mistakes


def is_url(source: str) -> bool:
    return "://" in source


def _resolve_paths(config: Config, folder: Path | None) -> Config:
    if folder is None:
        return config

    def resolve(value: str | None) -> str | None:
        if value is None or is_url(value) or value.isdigit() or Path(value).is_absolute():
            return value
        return str(folder / value)

    cameras = tuple(
        replace(
            camera,
            source=resolve(camera.source) or "",
            calibration=resolve(camera.calibration),
            detections=resolve(camera.detections),
        )
        for camera in config.cameras
    )
    reid = config.reid
    if reid.head_weights is not None and is_head_file(reid.head_weights):
        reid = replace(reid, head_weights=resolve(reid.head_weights))
    if reid.weights is not None and (folder / reid.weights).exists():  # else a name, or a path from where we stand
        reid = replace(reid, weights=resolve(reid.weights))
    return replace(config, cameras=cameras, reid=reid)


def is_head_file(value: str) -> bool:
    """Whether `reid.head_weights` is a path; otherwise it names a head that is stored with the program."""
    return "/" in value or value.endswith(".safetensors")
