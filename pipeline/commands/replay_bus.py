"""`run_pipeline.py replay --bus`: what a live matcher received, matched once more: the same identity log."""

from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from pipeline.build import is_live, matcher_threshold
from pipeline.commands.scoring import complete_scores, score_run
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.replay.from_bus import BusRecording, replay_bus
from pipeline.reporting.report import write_report
from pipeline.runtime.bus_recording import MatcherSettings
from pipeline.runtime.recorder import RunRecorder
from pipeline.scoring.ground_truth import GroundTruth, read_ground_truth


class PreparedBus:
    """A bus recording of which everything was looked at that can be before a file is written.

    Args:
        config: match as configured there, not as the live matcher did; None: exactly as it did.

    Raises:
        DecodeError: the recording cannot be read. ConfigError: another site's configuration, or no ground truth.
    """

    def __init__(self, file: Path, config: Config | None, ground_truth: Path | None) -> None:
        if not file.is_file():
            raise ConfigError(f"--bus {file} is not there; `run --record-bus FILE` writes one")
        self.recording = BusRecording(file)
        self.settings = None if config is None else _settings(self.recording, config)
        self.truth: GroundTruth | None = None
        if ground_truth is not None:
            self.truth = read_ground_truth(ground_truth, self.recording.settings.cameras)

    @property
    def used(self) -> MatcherSettings:
        return self.settings or self.recording.settings


def _settings(recording: BusRecording, config: Config) -> MatcherSettings:
    cameras = [camera.id for camera in config.cameras]
    missing = [camera for camera in recording.settings.cameras if camera not in cameras]
    if missing:
        raise ConfigError(f"{recording.path} has camera {', '.join(missing)}, which the config does not name")
    model = recording.settings.model_id
    live = [camera.id for camera in config.cameras if is_live(camera)]
    return MatcherSettings.of(config, matcher_threshold(config, model), live, model)


def replay_recorded_bus(
    prepared: PreparedBus, out_dir: Path, echo: Callable[[str], None], *, progress: bool = True
) -> None:
    """Match the recording into the empty folder `out_dir`, and score it when there is ground truth.

    Raises:
        DecodeError: the recording is damaged before its end. OutputError: the disk says no.
    """
    cameras = list(prepared.used.cameras)
    recorder = RunRecorder(out_dir, cameras, crops=None, references=None)
    with tqdm(unit=" messages", desc="bus", disable=not progress, mininterval=1.0) as bar:
        result = replay_bus(
            prepared.recording, recorder, settings=prepared.settings, on_messages=lambda n: _step(bar, n)
        )
    for warning in result.warnings:
        echo(f"warning: {warning}")
    if prepared.truth is not None:
        absence_s = prepared.used.matcher.absence_s
        complete_scores(out_dir, score_run(out_dir, prepared.truth, absence_s), {}, None, echo)
    write_report(out_dir)
    echo(f"{result.messages} messages in {result.steps} steps, {result.late} late; {result.starts - 1} restarts")
    echo(f"{len(recorder.book.identities())} identities, {result.events} events")
    echo(f"identity log:     {out_dir / 'identities.jsonl'}")


def _step(bar: tqdm, count: int) -> None:
    bar.update(count)
