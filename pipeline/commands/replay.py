"""`run_pipeline.py replay`: recorded cameras through the whole pipeline, as fast as the machine allows."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import write_bytes
from pipeline.background.retention import clear_kept
from pipeline.build import (
    Settled,
    build_crops,
    build_detector,
    build_encoder,
    build_head,
    build_matcher,
    build_recorded_source,
    build_references,
    is_live,
    limit_threads,
    matcher_threshold,
    settle,
)
from pipeline.capture.probe import SourceInfo, probe
from pipeline.config import CameraConfig, Config
from pipeline.errors import ConfigError
from pipeline.replay.replay import Overlay, Pace, Replay, ReplayCamera, ReplayResult
from pipeline.reporting.report import write_report
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.health import memory_peak_mb
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.runtime.summary import run_summary
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

_log = logging.getLogger(__name__)

HOST = "replay"  # in frame pointers: a replay's files are all in one folder, whatever the machine is called
_UNKNOWN_FPS = 25.0  # of a source that states no rate: only the overlay video needs one


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to run a replay: `speed` is a multiple of real time, None as fast as possible."""

    overlay: bool = False
    speed: float | None = None
    progress: bool = True


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What to tell the user at the end."""

    result: ReplayResult
    seconds: float
    identities: int
    events: dict[str, int]
    report: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """A replay of which everything was looked at that can be before a file is written."""

    settled: Settled
    infos: dict[str, SourceInfo]


def prepare(config: Config, ground_truth: Path | None = None) -> Prepared:
    """Look at weights, sources and ground truth.

    Raises:
        PipelineError: a source that cannot be replayed, weights that are missing, a ground truth that is not there.
    """
    if ground_truth is not None and not ground_truth.is_dir():
        raise ConfigError(f"--gt {ground_truth} is not a folder")
    if not config.cameras:
        raise ConfigError("the config names no cameras; `run_pipeline.py init` writes one for your sources")
    return Prepared(settle(config), {camera.id: _probe(camera, config) for camera in config.cameras})


def replay(prepared: Prepared, out_dir: Path, options: ReplayOptions, echo: Callable[[str], None]) -> ReplaySummary:
    """Replay all cameras into the empty folder `out_dir`.

    Raises:
        PipelineError: models that cannot be loaded; or the disk.
    """
    for warning in prepared.settled.warnings:
        echo(f"warning: {warning}")
    _fix_threads(prepared.settled.config)
    return _Run(prepared, out_dir, options).run(echo)


def _probe(camera: CameraConfig, config: Config) -> SourceInfo:
    if is_live(camera):
        raise ConfigError(f"camera {camera.id}: a live source cannot be replayed; use `run`, or record it to a file")
    return probe(camera.source, config.capture)


def _fix_threads(config: Config) -> None:
    """A fixed number of threads, so that sums are added in the same order on every replay of one machine."""
    cv2.setRNGSeed(config.runtime.seed)
    limit_threads(config)


class _Run:
    """One replay: builds the parts, runs them, writes the summary."""

    def __init__(self, prepared: Prepared, out_dir: Path, options: ReplayOptions) -> None:
        self._settled = prepared.settled
        self._config = prepared.settled.config
        self._out_dir = out_dir
        self._options = options
        self._infos = prepared.infos
        self._latency = LatencyRecorder()
        self._detector = build_detector(self._config)
        self._encoder = build_encoder(self._config)
        self._head = build_head(self._config, self._encoder.describe())
        self._matcher = build_matcher(self._config, matcher_threshold(self._config, self._head.clip_model_id))

    def run(self, echo: Callable[[str], None]) -> ReplaySummary:
        config = self._config
        recorder = RunRecorder(
            self._out_dir,
            [camera.id for camera in config.cameras],
            crops=build_crops(config, self._out_dir, HOST),
            references=build_references(config, self._out_dir, HOST),
        )
        started_s, began_s = time.time(), time.monotonic()
        with self._progress() as bar, logging_redirect_tqdm():
            run = Replay(
                [self._camera(camera) for camera in config.cameras],
                self._matcher,
                recorder,
                latency=self._latency,
                pace=Pace(self._options.speed),
                on_frame=lambda: _step(bar),
            )
            result = run.run()
        seconds = time.monotonic() - began_s
        clear_kept(self._out_dir)
        self._write_summary(result, started_s, seconds)
        report = write_report(self._out_dir)
        kinds = dict(recorder.event_kinds)
        return ReplaySummary(result, seconds, len(recorder.book.identities()), kinds, report)

    def _camera(self, camera: CameraConfig) -> ReplayCamera:
        keeping = PictureKeeping(self._out_dir, camera.id, HOST) if self._config.background.references else None
        pipeline = CameraPipeline(
            camera,
            self._config,
            detector=self._detector,
            encoder=self._encoder,
            head=self._head,
            keeping=keeping,
            latency=self._latency,
        )
        overlay = None
        if self._options.overlay:
            path = self._out_dir / "overlay" / f"{camera.id}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            drawer = OverlayDrawer(camera.id, self._config.view.trail_s)
            overlay = Overlay(drawer, VideoWriter(path, self._infos[camera.id].fps or _UNKNOWN_FPS))
        return ReplayCamera(camera.id, build_recorded_source(camera, 0.0), pipeline, overlay)

    def _progress(self) -> Any:
        counts = [info.frame_count for info in self._infos.values()]
        total = None if None in counts else sum(n for n in counts if n)
        return tqdm(total=total, unit=" frames", desc="replay", disable=not self._options.progress, mininterval=1.0)

    def _write_summary(self, result: ReplayResult, started_s: float, seconds: float) -> None:
        summary = run_summary(
            self._config,
            started_s=started_s,
            duration_s=seconds,
            frames=result.frames,
            latency=self._latency,
            losses=result.losses,
            models={"detector": _detector_name(self._config), "clips": self._head.clip_model_id},
            warnings=self._settled.warnings,
            seconds_of_footage=result.footage_s,
            memory_peak_mb=memory_peak_mb(),
        )
        write_bytes(self._out_dir / "run.json", (json.dumps(summary, indent=2) + "\n").encode())


def _step(bar: Any) -> None:
    bar.update(1)


def _detector_name(config: Config) -> str:
    return Path(config.detector.weights).name if config.detector.kind == "yolo" else config.detector.kind


def print_summary(summary: ReplaySummary, out_dir: Path, echo: Callable[[str], None]) -> None:
    """Where everything is, and what was found."""
    frames = sum(summary.result.frames.values())
    events = summary.events
    echo(f"{frames} frames of {len(summary.result.frames)} cameras in {summary.seconds:.1f} s")
    echo(
        f"{summary.identities} identities, {events.get('handed_over', 0)} hand-overs, "
        f"{events.get('reentered', 0)} re-entries, {len(summary.result.references)} reference frames"
    )
    for name, what in (
        ("overlay", "overlay videos"),
        ("identities.jsonl", "identity log"),
        ("tracks", "tracks"),
        ("references", "reference frames"),
        ("report.html", "report"),
    ):
        if (out_dir / name).exists():
            echo(f"{what + ':':18}{out_dir / name}")
