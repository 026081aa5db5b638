"""What every command over recorded footage begins with: sources, ground truth, threads, the progress bar."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from pipeline.build import is_live, limit_threads
from pipeline.capture.probe import SourceInfo, probe
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.scoring.ground_truth import GroundTruth, read_ground_truth


def probe_recorded(config: Config) -> dict[str, SourceInfo]:
    """Camera → what its file or folder says about itself.

    Raises:
        ConfigError: no cameras, or a live one. SourceUnavailable: it cannot be opened.
    """
    if not config.cameras:
        raise ConfigError("the config names no cameras; `run_pipeline.py init` writes one for your sources")
    live = [camera.id for camera in config.cameras if is_live(camera)]
    if live:
        raise ConfigError(
            f"camera {', '.join(live)}: a live source cannot be replayed; use `run`, or record it to a file"
        )
    return {camera.id: probe(camera.source, config.capture) for camera in config.cameras}


def read_truth(config: Config, ground_truth: Path | None) -> GroundTruth | None:
    """The ground truth of the site's cameras; None when none is given.

    Raises:
        ConfigError: there is nothing to be scored against. DecodeError: a row that cannot be read.
    """
    if ground_truth is None:
        return None
    return read_ground_truth(ground_truth, [camera.id for camera in config.cameras])


def fix_threads(config: Config) -> None:
    """A fixed number of threads, so that sums are added in the same order on every run on one machine."""
    cv2.setRNGSeed(config.runtime.seed)
    limit_threads(config)


def progress_bar(infos: Mapping[str, SourceInfo], name: str, show: bool) -> Any:
    """Frames done, of how many where the sources say so, and the time that is left."""
    counts = [info.frame_count for info in infos.values()]
    total = None if None in counts else sum(n for n in counts if n)
    return tqdm(total=total, unit=" frames", desc=name, disable=not show, mininterval=1.0)


def step(bar: Any) -> None:
    """One frame more."""
    bar.update(1)
