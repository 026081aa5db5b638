"""Writes a configuration's values anew, in a layout of our own: for files that cannot be edited in place."""

import copy
from collections.abc import Mapping

import yaml

from pipeline.fitting.site_changes import (
    COMMENT_WIDTH,
    SECTIONS,
    Change,
    MovedPaths,
    SiteChanges,
    camera_nodes,
    comment_block,
    entry_text,
    path_nodes,
    value_of,
)


def rewritten(text: str, changes: SiteChanges, paths: MovedPaths) -> str:
    """The same values in a layout of our own; the evidence stands at the head of each section."""
    root = _copied(yaml.compose(text, Loader=yaml.SafeLoader))
    if not isinstance(root, yaml.MappingNode):
        return text
    for value in path_nodes(root, changes):
        if moved := paths.moved(value.value):
            value.value, value.style = moved, '"'
    for camera_id, camera in camera_nodes(root):
        if camera_id in changes.offsets:
            _put(camera, "clock_offset_s", changes.offsets[camera_id].value)
    for name in SECTIONS:
        _put_all(root, name, changes.of(name))
    if changes.topology:
        topology = value_of(root, "topology")
        if not isinstance(topology, yaml.SequenceNode):
            topology = yaml.SequenceNode("tag:yaml.org,2002:seq", [], flow_style=False)
            _put_node(root, "topology", topology)
        topology.value += [yaml.compose(entry_text(entry), Loader=yaml.SafeLoader) for entry, _ in changes.topology]
    changed = [*changes.reid.values(), *changes.matcher.values(), *changes.offsets.values()]
    told = [line for change in changed for line in change.evidence]
    told += [line for _, evidence in changes.topology for line in evidence]
    written: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=COMMENT_WIDTH)
    return comment_block(told, 0) + written


def _put_all(root: yaml.MappingNode, name: str, changed: Mapping[str, Change]) -> None:
    section = value_of(root, name)
    if changed and not isinstance(section, yaml.MappingNode):
        section = yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
        _put_node(root, name, section)
    if isinstance(section, yaml.MappingNode):
        for key, change in changed.items():
            _put(section, key, change.value)


def _copied(node: yaml.Node | None) -> yaml.Node | None:
    """A tree of its own: what an alias shares becomes two nodes."""
    if isinstance(node, yaml.MappingNode):
        pairs = [(_copied(key), _copied(value)) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs, flow_style=node.flow_style)
    if isinstance(node, yaml.SequenceNode):
        return yaml.SequenceNode(node.tag, [_copied(child) for child in node.value], flow_style=node.flow_style)
    return copy.copy(node)


def _put(node: yaml.MappingNode, key: str, value: str) -> None:
    _put_node(node, key, yaml.compose(value, Loader=yaml.SafeLoader))


def _put_node(node: yaml.MappingNode, key: str, value: yaml.Node | None) -> None:
    kept = [(name, old) for name, old in node.value if getattr(name, "value", None) != key]
    node.value = [*kept, (yaml.ScalarNode("tag:yaml.org,2002:str", key), value)]
