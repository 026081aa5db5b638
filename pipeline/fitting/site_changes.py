"""What is to be written into a configuration, and the small pieces of YAML that both ways of writing it need."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipeline.config import TopologyConfig, is_url
from pipeline.config.reading import is_head_file

COMMENT_WIDTH = 110  # characters of a comment line
PATH_KEYS = ("source", "calibration", "detections")  # of a camera; relative to the file
HEAD_KEY = "head_weights"  # of reid; relative to the file as well
WEIGHTS_KEYS = (HEAD_KEY, "weights")  # of reid; what fit-site writes there lies beside the file
SECTIONS = ("reid", "matcher")  # whose keys may change


@dataclass(frozen=True, slots=True)
class Change:
    """One setting and why.

    Attributes:
        value: as YAML. evidence: one line each, without `#`.
    """

    value: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SiteChanges:
    """Everything that is different in the fitted configuration.

    Attributes:
        matcher, reid: key -> change. offsets: camera -> change of its clock_offset_s.
        topology: entries to add, with the evidence of each.
        notes: lines for the head of the file.
    """

    matcher: Mapping[str, Change] = field(default_factory=dict)
    offsets: Mapping[str, Change] = field(default_factory=dict)
    topology: Sequence[tuple[TopologyConfig, tuple[str, ...]]] = ()
    notes: Sequence[str] = ()
    reid: Mapping[str, Change] = field(default_factory=dict)

    def of(self, section: str) -> Mapping[str, Change]:
        """The changes of one of `SECTIONS`."""
        return {"reid": self.reid, "matcher": self.matcher}[section]


@dataclass(frozen=True, slots=True)
class MovedPaths:
    """Relative paths, seen from another folder."""

    folder: Path
    out_dir: Path
    environment: Mapping[str, str]

    def moved(self, raw: str) -> str | None:
        """The path as the new file must name it; None when it may stay."""
        expanded = raw
        for name, value in self.environment.items():
            expanded = expanded.replace(f"${{{name}}}", value)
        if not raw or is_url(expanded) or expanded.isdigit() or Path(expanded).is_absolute():
            return None
        way = os.path.relpath(self.folder.resolve(), self.out_dir.resolve())
        moved = f"{way}/{raw}" if "${" in raw else os.path.normpath(Path(way) / raw)
        return None if moved == raw else moved


def path_nodes(root: yaml.MappingNode, changes: "SiteChanges") -> list[yaml.ScalarNode]:
    """The values that name a file or folder and stay: of every camera, and of the clip head."""
    owners = [(camera, key) for _, camera in camera_nodes(root) for key in PATH_KEYS]
    reid = value_of(root, "reid")
    if isinstance(reid, yaml.MappingNode) and HEAD_KEY not in changes.reid:
        owners.append((reid, HEAD_KEY))
    found = []
    for node, key in owners:
        value = value_of(node, key)
        if isinstance(value, yaml.ScalarNode) and is_text(value) and (key != HEAD_KEY or is_head_file(value.value)):
            found.append(value)
    return found


def camera_nodes(root: yaml.MappingNode) -> list[tuple[str, yaml.MappingNode]]:
    cameras = value_of(root, "cameras")
    found = []
    for node in cameras.value if isinstance(cameras, yaml.SequenceNode) else []:
        name = value_of(node, "id") if isinstance(node, yaml.MappingNode) else None
        if isinstance(name, yaml.ScalarNode):
            found.append((name.value, node))
    return found


def value_of(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in node.value if getattr(name, "value", None) == key), None)


def is_text(node: yaml.ScalarNode) -> bool:
    return node.tag.endswith(":str")


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def entry_text(entry: TopologyConfig) -> str:
    if entry.pair is not None:
        first, second = (quoted(camera) for camera in entry.pair)
        return f"{{pair: [{first}, {second}], overlap: {'true' if entry.overlap else 'false'}}}"
    start_s, end_s = entry.transit_s or (0.0, 0.0)
    ends = f"from: {quoted(entry.from_camera or '')}, to: {quoted(entry.to_camera or '')}"
    return f"{{{ends}, transit_s: [{start_s:g}, {end_s:g}]}}"


def comment_lines(evidence: Sequence[str], indent: int) -> list[str]:
    prefix = f"{' ' * indent}# "
    return [
        line
        for text in evidence
        for line in textwrap.wrap(text, COMMENT_WIDTH, initial_indent=prefix, subsequent_indent=prefix)
    ]


def comment_block(evidence: Sequence[str], indent: int) -> str:
    return "".join(f"{line}\n" for line in comment_lines(evidence, indent))
