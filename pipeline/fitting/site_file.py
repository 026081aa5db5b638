"""A fitted configuration as an edit of the user's own file: its order, comments and `${NAME}`s stay as they are.

What cannot be edited in place (anchors, unusual layouts) is written anew from the same values, without its comments;
either way the result is read back and must be exactly the configuration that was meant.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, is_url, load_config, parse_config
from pipeline.errors import ConfigError
from pipeline.fitting.site_changes import PATH_KEYS, MovedPaths, SiteChanges, comment_block
from pipeline.fitting.site_edit import edited
from pipeline.fitting.site_rewrite import rewritten


def fitted_text(config_file: Path, out_dir: Path, changes: SiteChanges, environment: Mapping[str, str]) -> str:
    """The text of the fitted configuration, to be written into `out_dir`.

    Raises:
        ConfigError: the file cannot be read, or is not the one that was fitted.
    """
    config = load_config(config_file, environment)
    wanted = _wanted(config, changes)
    text = config_file.read_text(encoding="utf-8")
    paths = MovedPaths(config_file.parent, out_dir, environment)
    for make in (edited, rewritten):
        result = comment_block(changes.notes, 0) + make(text, changes, paths)
        if _means(result, wanted, out_dir, environment):
            return result
    raise ConfigError(f"{config_file}: the fitted settings could not be written into it; is it one YAML document?")


def _wanted(config: Config, changes: SiteChanges) -> Config:
    numbers: dict[str, Any] = {key: float(change.value) for key, change in changes.matcher.items()}
    matcher = replace(config.matcher, **numbers)
    cameras = tuple(
        replace(c, clock_offset_s=float(changes.offsets[c.id].value)) if c.id in changes.offsets else c
        for c in config.cameras
    )
    topology = config.topology + tuple(entry for entry, _ in changes.topology)
    return replace(config, matcher=matcher, cameras=cameras, topology=topology)


def _means(text: str, wanted: Config, out_dir: Path, environment: Mapping[str, str]) -> bool:
    try:
        read = parse_config(text, "site.yaml", out_dir, environment)
    except ConfigError:
        return False
    return _comparable(read) == _comparable(wanted)


def _comparable(config: Config) -> Config:
    """Paths as they are found, however they are written."""
    cameras = []
    for camera in config.cameras:
        found = {
            key: value if is_url(value) or value.isdigit() else os.path.realpath(value)
            for key in PATH_KEYS
            if (value := getattr(camera, key))
        }
        cameras.append(replace(camera, **found))
    return config.with_cameras(tuple(cameras))
