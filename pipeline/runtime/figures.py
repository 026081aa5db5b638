"""Figures of every process, as small files in the run's private folder: what a killed worker had done still counts.

Each process rewrites its file about once a second; the supervisor adds them up for the progress line and `run.json`.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.background.files import write_bytes
from pipeline.runtime.latency import LatencyRecorder

_FOLDER = "figures"


@dataclass(slots=True)
class Figures:
    """What one process, or one camera in it, has done so far.

    Attributes:
        camera_id: empty for processes that are not about one camera.
        footage_s: time that the frames cover.
        fps: of the last second or so.
        losses: cause → how many.
        counts: anything else worth knowing.
        models: role → model id, of the inference process.
        latency: `LatencyRecorder.to_json`.
    """

    role: str
    name: str
    camera_id: str = ""
    state: str = ""
    frames: int = 0
    footage_s: float = 0.0
    fps: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)
    at_s: float = 0.0


def write_figures(folder: Path, figures: Figures) -> None:
    """Write, or write anew, the file of this process.

    Raises:
        OutputError: the folder cannot be written.
    """
    name = f"{figures.role}-{figures.name}-{os.getpid()}.json"
    write_bytes(folder / _FOLDER / name, json.dumps(asdict(figures)).encode())


def read_figures(folder: Path) -> list[Figures]:
    """Those of all processes, oldest first."""
    found = []
    for path in (folder / _FOLDER).glob("*.json"):
        try:
            found.append(Figures(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):  # being removed; never torn, because it is renamed into its place
            continue
    return sorted(found, key=lambda f: f.at_s)


def of_camera(figures: Iterable[Figures], camera_id: str) -> list[Figures]:
    return [f for f in figures if f.camera_id == camera_id]


def total(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums per name."""
    sums: Counter[str] = Counter()
    for counts in figures:
        for name, value in counts.items():
            sums[name] += value  # type: ignore[assignment]
    return dict(sums)


def merged_latency(figures: Iterable[Figures]) -> LatencyRecorder:
    recorder = LatencyRecorder()
    for one in figures:
        recorder.merge(one.latency)
    return recorder
