"""Writes a configuration's values anew, in a layout of our own: for files that cannot be edited in place."""

import copy

import yaml

from pipeline.fitting.site_changes import (
    COMMENT_WIDTH,
    PATH_KEYS,
    MovedPaths,
    SiteChanges,
    camera_nodes,
    comment_block,
    entry_text,
    is_text,
    value_of,
)


def rewritten(text: str, changes: SiteChanges, paths: MovedPaths) -> str:
    """The same values in a layout of our own; the evidence stands at the head of each section."""
    root = _copied(yaml.compose(text, Loader=yaml.SafeLoader))
    if not isinstance(root, yaml.MappingNode):
        return text
    for camera_id, camera in camera_nodes(root):
        for key in PATH_KEYS:
            value = value_of(camera, key)
            if isinstance(value, yaml.ScalarNode) and is_text(value) and (moved := paths.moved(value.value)):
                value.value, value.style = moved, '"'
        if camera_id in changes.offsets:
            _put(camera, "clock_offset_s", changes.offsets[camera_id].value)
    for key, change in changes.matcher.items():
        section = value_of(root, "matcher")
        if not isinstance(section, yaml.MappingNode):
            section = yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
            _put_node(root, "matcher", section)
        _put(section, key, change.value)
    if changes.topology:
        topology = value_of(root, "topology")
        if not isinstance(topology, yaml.SequenceNode):
            topology = yaml.SequenceNode("tag:yaml.org,2002:seq", [], flow_style=False)
            _put_node(root, "topology", topology)
        topology.value += [yaml.compose(entry_text(entry), Loader=yaml.SafeLoader) for entry, _ in changes.topology]
    told = [line for change in [*changes.matcher.values(), *changes.offsets.values()] for line in change.evidence]
    told += [line for _, evidence in changes.topology for line in evidence]
    written: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=COMMENT_WIDTH)
    return comment_block(told, 0) + written


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
