"""Lets a replay take its detections from a recording, or from anybody's det.txt files, instead of computing them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.bus.plain import parse_json
from pipeline.config import Config
from pipeline.errors import ConfigError, DecodeError
from pipeline.replay.recording import DETECTIONS, recorded_files


def use_recorded_detections(config: Config, folder: Path) -> tuple[Config, tuple[str, ...]]:
    """The configuration with recorded detections, and what the user must be told about them.

    Boxes below `detector.confidence` are left out, so that the threshold can be raised; what the detector left out
    when it was recorded does not come back.

    Args:
        folder: the output folder of the replay that recorded, its `recorded/`, or any folder of <camera>.txt.

    Raises:
        ConfigError: no recording there, a camera that was not recorded, or was recorded with another `detect_every_s`.
        DecodeError: recording.json cannot be read.
    """
    files = recorded_files(folder, DETECTIONS, ".txt", [camera.id for camera in config.cameras])
    settings = _settings(next(iter(files.values())).parent.parent / "recording.json") if files else {}
    recorded = settings.get("cameras", {})
    mistakes, warnings = [], []
    for camera in config.cameras:
        then = recorded.get(camera.id, {}).get("detect_every_s", camera.detect_every_s)
        if then not in (0, camera.detect_every_s):
            mistakes.append(
                f"camera {camera.id}: the detector was run every {then:g} s when it was recorded; with detect_every_s "
                f"{camera.detect_every_s:g} frames on which it was not run would be taken for empty"
            )
    if mistakes:
        raise ConfigError(*mistakes)
    confidence = settings.get("detector", {}).get("confidence", 0.0)
    if config.detector.confidence < confidence:
        warnings.append(
            f"detections below confidence {confidence:g} were not recorded; "
            f"detector.confidence {config.detector.confidence:g} does not bring them back"
        )
    cameras = tuple(replace(camera, detections=str(files[camera.id])) for camera in config.cameras)
    return replace(config, cameras=cameras, detector=replace(config.detector, kind="recorded")), tuple(warnings)


def _settings(path: Path) -> Mapping[str, Any]:
    """What the detections were recorded with; nothing for other people's files."""
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise DecodeError(f"cannot read {path}: {error.strerror}") from None
    settings = found.get("settings", {}) if isinstance(found, dict) else None
    if not isinstance(settings, dict):
        raise DecodeError(f"{path} does not say what was recorded")
    return settings
