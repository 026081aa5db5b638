"""`run_pipeline.py replay`: recorded cameras through the whole pipeline, as fast as the machine allows."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

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
    matcher_threshold,
    settle,
)
from pipeline.capture.probe import SourceInfo
from pipeline.commands.recorded import fix_threads, probe_recorded, progress_bar, read_truth, step
from pipeline.commands.scoring import complete_scores, on_truth_boxes, score_run
from pipeline.config import CameraConfig, Config
from pipeline.errors import ConfigError
from pipeline.ports import ClipHead, CropEncoder
from pipeline.replay.export_tracklets import export_tracklets, require_empty
from pipeline.replay.from_detections import use_recorded_detections
from pipeline.replay.recording import RunRecording
from pipeline.replay.replay import Overlay, Pace, Replay, ReplayCamera, ReplayResult
from pipeline.reporting.report import write_report
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.health import memory_peak_mb
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.runtime.summary import run_summary, write_summary
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.types import Frame
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

HOST = "replay"  # in frame pointers: a replay's files are all in one folder, whatever the machine is called
_UNKNOWN_FPS = 25.0  # of a source that states no rate: only the overlay video needs one


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to run a replay.

    Attributes:
        speed: multiple of real time; None: as fast as possible.
        record: keep detections and features in `recorded/`.
        gt_boxes: with ground truth, run once more on its boxes.
        export_tracklets: with ground truth, an empty folder for the pictures of every track.
    """

    overlay: bool = False
    speed: float | None = None
    progress: bool = True
    record: bool = False
    gt_boxes: bool = True
    export_tracklets: Path | None = None


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
    truth: GroundTruth | None = None


def prepare(
    config: Config,
    ground_truth: Path | None = None,
    detections: Path | None = None,
    export_to: Path | None = None,
) -> Prepared:
    """Look at weights, sources and ground truth.

    Args:
        detections: what an earlier replay recorded, or a folder of <camera>.txt: nothing is detected.
        export_to: where tracklets will be exported to.

    Raises:
        PipelineError: a source that cannot be replayed, weights that are missing, a ground truth that is not there.
    """
    if export_to is not None:
        if ground_truth is None:
            raise ConfigError("--export-tracklets needs --gt DIR: the ground truth says who each track is")
        require_empty(export_to)
    infos = probe_recorded(config)
    truth = read_truth(config, ground_truth)
    warnings: tuple[str, ...] = ()
    if detections is not None:
        config, warnings = use_recorded_detections(config, detections)
    settled = settle(config)
    settled = Settled(settled.config, (*warnings, *settled.warnings))
    return Prepared(settled, infos, truth)


def replay(prepared: Prepared, out_dir: Path, options: ReplayOptions, echo: Callable[[str], None]) -> ReplaySummary:
    """Replay all cameras into the empty folder `out_dir`, and score them when there is ground truth.

    Raises:
        PipelineError: models that cannot be loaded; or the disk.
    """
    for warning in prepared.settled.warnings:
        echo(f"warning: {warning}")
    config = prepared.settled.config
    fix_threads(config)
    encoder = build_encoder(config)
    models = _Models(encoder, build_head(config, encoder.describe()))
    run = _Run(prepared.settled, prepared.infos, models, out_dir, options)
    summary = run.run()
    if prepared.truth is not None:
        _score(prepared, prepared.truth, models, out_dir, options, echo)
    write_report(out_dir)
    return summary


@dataclass(frozen=True, slots=True)
class _Models:
    """What is loaded once, whatever is run."""

    encoder: CropEncoder
    head: ClipHead


def _score(
    prepared: Prepared,
    truth: GroundTruth,
    models: _Models,
    out_dir: Path,
    options: ReplayOptions,
    echo: Callable[[str], None],
) -> None:
    """metrics.json and the mistakes; runs the pipeline once more on ground-truth boxes when that is wanted."""
    config = prepared.settled.config

    def again(on_boxes: Config, folder: Path) -> None:
        how = ReplayOptions(progress=options.progress, record=True)
        _Run(Settled(on_boxes, ()), prepared.infos, models, folder, how, "on true boxes").run()

    def frames_of(camera_id: str) -> Iterator[Frame]:
        source = build_recorded_source(config.camera(camera_id), 0.0)
        try:
            yield from source.frames()
        finally:
            source.close()

    score = score_run(out_dir, truth, config.matcher.absence_s)
    more = on_truth_boxes(config, out_dir, truth, again) if options.gt_boxes else {}
    complete_scores(out_dir, score, more, frames_of, echo)
    if options.export_tracklets is not None:
        with progress_bar(prepared.infos, "tracklets", options.progress) as bar:
            counts = export_tracklets(
                out_dir,
                truth,
                frames_of,
                options.export_tracklets,
                every_s=config.reid.crop_every_s,
                on_frame=lambda: step(bar),
            )
        echo(f"{options.export_tracklets}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))


class _Run:
    """One pass over the footage: builds the parts, runs them, writes run.json."""

    def __init__(
        self,
        settled: Settled,
        infos: Mapping[str, SourceInfo],
        models: _Models,
        out_dir: Path,
        options: ReplayOptions,
        name: str = "replay",
    ) -> None:
        self._settled = settled
        self._config = settled.config
        self._out_dir = out_dir
        self._options = options
        self._infos = {camera.id: infos[camera.id] for camera in self._config.cameras}
        self._models = models
        self._name = name
        self._latency = LatencyRecorder()
        self._recording = self._begin_recording() if options.record else None
        detector = build_detector(self._config)
        self._detector = self._recording.detector(detector) if self._recording else detector
        self._matcher = build_matcher(self._config, matcher_threshold(self._config, models.head.clip_model_id))

    def _begin_recording(self) -> RunRecording:
        return RunRecording(
            self._out_dir,
            self._config,
            self._infos,
            clip_model_id=self._models.head.clip_model_id,
            detector_name=detector_name(self._config),
        )

    def run(self) -> ReplaySummary:
        config = self._config
        recorder = RunRecorder(
            self._out_dir,
            [camera.id for camera in config.cameras],
            crops=build_crops(config, self._out_dir, HOST),
            references=build_references(config, self._out_dir, HOST),
            features_s=config.retention.features_s,
        )
        started_s, began_s = time.time(), time.monotonic()
        with progress_bar(self._infos, self._name, self._options.progress) as bar, logging_redirect_tqdm():
            run = Replay(
                [self._camera(camera) for camera in config.cameras],
                self._matcher,
                recorder,
                latency=self._latency,
                pace=Pace(self._options.speed),
                recording=self._recording,
                on_frame=lambda: step(bar),
            )
            result = run.run()
        seconds = time.monotonic() - began_s
        clear_kept(self._out_dir)
        self._write_summary(result, started_s, seconds)
        kinds = dict(recorder.event_kinds)
        report = self._out_dir / "report.html"
        return ReplaySummary(result, seconds, len(recorder.book.identities()), kinds, report)

    def _camera(self, camera: CameraConfig) -> ReplayCamera:
        keeping = PictureKeeping(self._out_dir, camera.id, HOST) if self._config.background.references else None
        pipeline = CameraPipeline(
            camera,
            self._config,
            detector=self._detector,
            encoder=self._models.encoder,
            head=self._models.head,
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

    def _write_summary(self, result: ReplayResult, started_s: float, seconds: float) -> None:
        summary = run_summary(
            self._config,
            started_s=started_s,
            duration_s=seconds,
            frames=result.frames,
            latency=self._latency,
            losses=result.losses,
            models={"detector": detector_name(self._config), "clips": self._models.head.clip_model_id},
            warnings=self._settled.warnings,
            seconds_of_footage=result.footage_s,
            memory_peak_mb=memory_peak_mb(),
        )
        write_summary(self._out_dir, summary)


def detector_name(config: Config) -> str:
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
        ("recorded", "recording"),
        ("metrics.json", "metrics"),
        ("report.html", "report"),
    ):
        if (out_dir / name).exists():
            echo(f"{what + ':':18}{out_dir / name}")
