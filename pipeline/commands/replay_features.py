"""`run_pipeline.py replay --features`: the matcher alone over recorded features: seconds, and no video."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.build import build_matcher, matcher_threshold
from pipeline.commands.recorded import read_truth
from pipeline.commands.replay import ReplaySummary
from pipeline.commands.scoring import complete_scores, score_run
from pipeline.config import Config
from pipeline.replay.delivery import ReplayResult
from pipeline.replay.from_features import RecordedFeatures, open_features, replay_features
from pipeline.reporting.report import write_report
from pipeline.runtime.health import memory_peak_mb
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.runtime.summary import run_summary, write_summary
from pipeline.scoring.ground_truth import GroundTruth

_NO_PICTURES = "a replay from features has no pictures: no crops, no reference frames, no overlays"


@dataclass(frozen=True, eq=False, slots=True)
class PreparedFeatures:
    """A replay from features of which everything was looked at that can be before a file is written."""

    config: Config
    features: RecordedFeatures
    truth: GroundTruth | None


def prepare_features(config: Config, folder: Path, ground_truth: Path | None) -> PreparedFeatures:
    """Look at the recording and the ground truth.

    Raises:
        ConfigError: no recording of these cameras, no ground truth, no threshold for the recorded model.
        DecodeError: a file that cannot be read.
    """
    features = open_features(folder, config)
    matcher_threshold(config, features.model_id)
    return PreparedFeatures(config, features, read_truth(config, ground_truth))


def replay_recorded_features(
    prepared: PreparedFeatures, out_dir: Path, echo: Callable[[str], None], *, progress: bool = True
) -> ReplaySummary:
    """Match what was recorded, into the empty folder `out_dir`, and score it when there is ground truth.

    Raises:
        DecodeError: a file is damaged before its end. OutputError: the disk says no.
    """
    config, features = prepared.config, prepared.features
    warnings = (_NO_PICTURES, *features.warnings)
    for warning in warnings:
        echo(f"warning: {warning}")
    recorder = RunRecorder(out_dir, [camera.id for camera in config.cameras], crops=None, references=None)
    matcher = build_matcher(config, matcher_threshold(config, features.model_id))
    latency = LatencyRecorder()
    started_s, began_s = time.time(), time.monotonic()
    with tqdm(unit=" frames", desc="features", disable=not progress, mininterval=1.0) as bar:
        result = replay_features(features, matcher, recorder, latency=latency, on_frames=lambda n: _step(bar, n))
    seconds = time.monotonic() - began_s
    _write_summary(prepared, out_dir, result, latency, warnings, started_s, seconds)
    if prepared.truth is not None:
        score = score_run(out_dir, prepared.truth, config.matcher.absence_s)
        complete_scores(out_dir, score, {}, None, echo)
    report = write_report(out_dir)
    return ReplaySummary(result, seconds, len(recorder.book.identities()), dict(recorder.event_kinds), report)


def _step(bar: tqdm, count: int) -> None:
    bar.update(count)


def _write_summary(
    prepared: PreparedFeatures,
    out_dir: Path,
    result: ReplayResult,
    latency: LatencyRecorder,
    warnings: tuple[str, ...],
    started_s: float,
    seconds: float,
) -> None:
    summary = run_summary(
        prepared.config,
        started_s=started_s,
        duration_s=seconds,
        frames=result.frames,
        latency=latency,
        losses=result.losses,
        models={"clips": prepared.features.model_id},
        warnings=warnings,
        seconds_of_footage=result.footage_s,
        memory_peak_mb=memory_peak_mb(),
    )
    write_summary(out_dir, summary)
