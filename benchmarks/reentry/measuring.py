"""One clip through the whole pipeline under one policy, and what came of its returns."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.build import (
    build_detector,
    build_encoder,
    build_head,
    build_matcher,
    build_recorded_source,
    build_references,
    matcher_threshold,
)
from pipeline.commands.recorded import fix_threads
from pipeline.commands.replay import HOST, Prepared, prepare
from pipeline.commands.scoring import score_run
from pipeline.config import Config
from pipeline.ports import ClipHead, CropEncoder
from pipeline.replay.replay import Replay, ReplayCamera
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.runtime.summary import run_summary, write_summary
from pipeline.tracking.encoding_policy import EncodingPolicy
from reentry.footage import Clip


@dataclass(frozen=True, slots=True)
class Models:
    """What is loaded once."""

    encoder: CropEncoder
    head: ClipHead


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy did on one clip; `reentry`, `idf1` and `links` are those of metrics.json."""

    clip: str
    policy: str
    minutes: float
    encodings: int
    reentry: dict[str, Any]
    idf1: float
    links: dict[str, Any]
    references: int

    @property
    def encodings_per_minute(self) -> float:
        return self.encodings / self.minutes


def load_models(prepared: Prepared) -> Models:
    fix_threads(prepared.settled.config)
    encoder = build_encoder(prepared.settled.config)
    return Models(encoder, build_head(prepared.settled.config, encoder.describe()))


def prepared_clip(clip: Clip) -> Prepared:
    config = replace(clip.config, retention=replace(clip.config.retention, crops_per_identity=0))
    return prepare(config, clip.truth, detections=clip.detections)


def measure(
    clip: Clip, prepared: Prepared, models: Models, name: str, policy: EncodingPolicy, out_dir: Path
) -> Outcome:
    """Replay a clip into `out_dir`, which is emptied before, and score it."""
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    config, truth = prepared.settled.config, prepared.truth
    if truth is None:
        raise ValueError("expected a clip with ground truth")
    (camera,) = config.cameras
    latency = LatencyRecorder()
    pipeline = CameraPipeline(
        camera,
        config,
        detector=build_detector(config),
        encoder=models.encoder,
        head=models.head,
        keeping=PictureKeeping(out_dir, camera.id, HOST),
        latency=latency,
        policy=policy,
    )
    recorder = RunRecorder(out_dir, [camera.id], crops=None, references=build_references(config, out_dir, HOST))
    matcher = build_matcher(config, matcher_threshold(config, models.head.clip_model_id))
    replayed = ReplayCamera(camera.id, build_recorded_source(camera, 0.0), pipeline)
    result = Replay([replayed], matcher, recorder, latency=latency).run()
    _summarise(config, out_dir, latency, result.frames, result.footage_s)
    metrics = score_run(out_dir, truth, config.matcher.absence_s).metrics
    return Outcome(
        clip.name,
        name,
        result.footage_s[camera.id] / 60,
        pipeline.encoded_crops,
        metrics["reentry"],
        metrics["cross_camera"]["IDF1"],
        metrics["links"],
        len(result.references),
    )


def _summarise(
    config: Config, out_dir: Path, latency: LatencyRecorder, frames: dict[str, int], footage_s: dict[str, float]
) -> None:
    """The run.json that a score reads the frame counts from."""
    summary = run_summary(
        config,
        started_s=0.0,
        duration_s=1.0,
        frames=frames,
        latency=latency,
        losses={},
        models={},
        warnings=(),
        seconds_of_footage=footage_s,
        memory_peak_mb=0.0,
    )
    write_summary(out_dir, summary)
