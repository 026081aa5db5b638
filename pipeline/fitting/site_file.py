"""A fitted configuration as an edit of the user's own file: its order, comments and `${NAME}`s stay as they are.

What cannot be edited in place (anchors, unusual layouts) is written anew from the same values, without its comments;
either way the result is read back and must be exactly the configuration that was meant.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Config, is_url, load_config, parse_config
from pipeline.config.reading import is_head_file
from pipeline.errors import ConfigError
from pipeline.fitting.site_changes import (
    HEAD_KEY,
    PATH_KEYS,
    WEIGHTS_KEYS,
    MovedPaths,
    SiteChanges,
    comment_block,
)
from pipeline.fitting.site_edit import edited
from pipeline.fitting.site_rewrite import rewritten


def fitted_text(config_file: Path, out_dir: Path, changes: SiteChanges, environment: Mapping[str, str]) -> str:
    """The text of the fitted configuration, to be written into `out_dir`.

    Raises:
        ConfigError: the file cannot be read, or is not the one that was fitted.
    """
    config_file, out_dir = config_file.resolve(), out_dir.resolve()  # so that read paths are whole
    config = load_config(config_file, environment)
    files = {HEAD_KEY, *(set(WEIGHTS_KEYS) & set(changes.reid))}
    wanted = _comparable(_wanted(config, changes, out_dir), config_file.parent, files)
    text = config_file.read_text(encoding="utf-8")
    paths = MovedPaths(config_file.parent, out_dir, environment)
    for make in (edited, rewritten):
        result = comment_block(changes.notes, 0) + make(text, changes, paths)
        if _comparable(_read(result, out_dir, environment), out_dir, files) == wanted:
            return result
    raise ConfigError(f"{config_file}: the fitted settings could not be written into it; is it one YAML document?")


def _wanted(config: Config, changes: SiteChanges, out_dir: Path) -> Config:
    numbers: dict[str, Any] = {key: float(change.value) for key, change in changes.matcher.items()}
    matcher = replace(config.matcher, **numbers)
    cameras = tuple(
        replace(c, clock_offset_s=float(changes.offsets[c.id].value)) if c.id in changes.offsets else c
        for c in config.cameras
    )
    topology = config.topology + tuple(entry for entry, _ in changes.topology)
    texts = {key: yaml.safe_load(change.value) for key, change in changes.reid.items()}
    texts |= {key: os.path.realpath(out_dir / texts[key]) for key in WEIGHTS_KEYS if key in texts}
    reid = replace(config.reid, **texts)
    return replace(config, reid=reid, matcher=matcher, cameras=cameras, topology=topology)


def _read(text: str, out_dir: Path, environment: Mapping[str, str]) -> Config | None:
    try:
        return parse_config(text, "site.yaml", out_dir, environment)
    except ConfigError:
        return None


def _comparable(config: Config | None, folder: Path, files: Iterable[str]) -> Config | None:
    """Paths as they are found, however they are written; `folder` is the configuration's.

    Args:
        files: keys of `reid` that name a file.
    """
    if config is None:
        return None
    cameras = []
    for camera in config.cameras:
        found = {
            key: value if is_url(value) or value.isdigit() else os.path.realpath(value)
            for key in PATH_KEYS
            if (value := getattr(camera, key))
        }
        cameras.append(replace(camera, **found))
    named = {key: value for key in files if (value := getattr(config.reid, key)) and is_head_file(value)}
    found = {key: os.path.realpath(folder / value) for key, value in named.items()}
    return replace(config, cameras=tuple(cameras), reid=replace(config.reid, **found))
