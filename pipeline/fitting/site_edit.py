"""Edits a configuration's text in place: everything but the changed settings stays as it is, comments too."""

from collections.abc import Mapping, Sequence

import yaml

from pipeline.config import TopologyConfig
from pipeline.fitting.site_changes import (
    SECTIONS,
    Change,
    MovedPaths,
    SiteChanges,
    camera_nodes,
    comment_block,
    comment_lines,
    entry_text,
    path_nodes,
    quoted,
    value_of,
)

_Edit = tuple[int, int, str]  # from, to (exclusive), instead


def edited(text: str, changes: SiteChanges, paths: MovedPaths) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return text
    edits: list[_Edit] = []
    for value in path_nodes(root, changes):
        if moved := paths.moved(value.value):
            edits.append((value.start_mark.index, value.end_mark.index, quoted(moved)))
    for camera_id, camera in camera_nodes(root):
        if camera_id in changes.offsets:
            edits += _set(text, camera, "clock_offset_s", changes.offsets[camera_id])
    for section in SECTIONS:
        edits += _section_edits(text, root, section, changes.of(section))
    edits += _topology_edits(text, root, changes.topology)
    for start, end, instead in reversed(sorted(edits, key=lambda e: (e[0], e[1]))):  # equal places keep their order
        text = text[:start] + instead + text[end:]
    return text


def _section_edits(text: str, root: yaml.MappingNode, name: str, changed: Mapping[str, Change]) -> list[_Edit]:
    if not changed:
        return []
    section = value_of(root, name)
    if isinstance(section, yaml.MappingNode):
        return [edit for key, change in changed.items() for edit in _set(text, section, key, change)]
    lines = [
        line
        for key, change in changed.items()
        for line in (*comment_lines(change.evidence, 2), f"  {key}: {change.value}")
    ]
    return _section(text, root, name, section, lines)


def _topology_edits(
    text: str, root: yaml.MappingNode, entries: Sequence[tuple[TopologyConfig, tuple[str, ...]]]
) -> list[_Edit]:
    if not entries:
        return []
    section = value_of(root, "topology")
    if isinstance(section, yaml.SequenceNode) and section.value:
        if section.flow_style:
            at = _end(section.value[-1])
            return [(at, at, "".join(f", {entry_text(entry)}" for entry, _ in entries))]
        at = _end_of_line(text, _end(section.value[-1]))
        indent = section.start_mark.column
        return [(at, at, "".join(f"\n{line}" for line in _listed(entries, indent)))]
    return _section(text, root, "topology", section, _listed(entries, 2))


def _listed(entries: Sequence[tuple[TopologyConfig, tuple[str, ...]]], indent: int) -> list[str]:
    lines = []
    for entry, evidence in entries:
        lines += [*comment_lines(evidence, indent), f"{' ' * indent}- {entry_text(entry)}"]
    return lines


def _section(text: str, root: yaml.MappingNode, key: str, old: yaml.Node | None, lines: Sequence[str]) -> list[_Edit]:
    """A whole section in the place of an empty one, or at the end."""
    block = "".join(f"\n{line}" for line in lines)
    if old is not None:
        return [(old.start_mark.index, _end(old), block)]
    at = _end_of_line(text, _end(root))
    return [(at, at, f"\n\n{key}:{block}")]


def _set(text: str, node: yaml.MappingNode, key: str, change: Change) -> list[_Edit]:
    """One key of a mapping, with its evidence in the lines above it."""
    old = value_of(node, key)
    if old is not None:
        line = text.rfind("\n", 0, old.start_mark.index) + 1
        comment = comment_block(change.evidence, _indent(text, line))
        return [(line, line, comment), (old.start_mark.index, _end(old), change.value)]
    if not node.value:
        at = node.start_mark.index + 1
        return [(at, at, f"{key}: {change.value}")]
    last = _end(node.value[-1][1])
    if node.flow_style:
        line = text.rfind("\n", 0, node.start_mark.index) + 1
        comment = comment_block(change.evidence, _indent(text, line))
        return [(line, line, comment), (last, last, f", {key}: {change.value}")]
    indent = node.value[0][0].start_mark.column
    at = _end_of_line(text, last)
    added = [*comment_lines(change.evidence, indent), f"{' ' * indent}{key}: {change.value}"]
    return [(at, at, "".join(f"\n{line}" for line in added))]


def _end(node: yaml.Node) -> int:
    """Where a node's last character is, without the blank lines and comments that follow a block."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _indent(text: str, line: int) -> int:
    return len(text[line:]) - len(text[line:].lstrip(" "))
