"""Scores a finished replay: metrics.json, the worst mistakes as pictures, and the figures on ground-truth boxes."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.background.files import write_bytes
from pipeline.commands.score import read_results, score_lines, write_metrics
from pipeline.config import CameraConfig, Config
from pipeline.replay.from_features import open_features
from pipeline.replay.mistake_pictures import draw_mistakes
from pipeline.scoring.clips import histogram, label_clips, pair_distances, retrieval_figures
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.scoring.rows import rows_text
from pipeline.scoring.score import Score, score_results
from pipeline.scoring.truth_boxes import truth_boxes
from pipeline.types import ClipFeature, Frame, Tracklet

FramesOf = Callable[[str], Iterator[Frame]]
Again = Callable[[Config, Path], None]

_FOLDER = ".gt_boxes"  # of the run on ground-truth boxes, while it lasts
_KEPT = ("per_camera", "combined", "cross_camera", "links", "reentry", "ceiling")


def score_run(out_dir: Path, truth: GroundTruth, absence_s: float) -> Score:
    """Score what lies in an output folder of ours.

    Raises:
        DecodeError: a file of the folder cannot be read.
    """
    return score_results(truth, read_results(out_dir, truth), absence_s=absence_s)


def on_truth_boxes(config: Config, out_dir: Path, truth: GroundTruth, again: Again) -> dict[str, Any]:
    """`gt_boxes`, `retrieval` and `distances`: the pipeline with the ground truth's boxes in the detector's place.

    Only the cameras that have ground truth take part. Where it is too sparse to be joined, there are fewer boxes than
    people, and the figures say so.

    Args:
        config: settled.
        again: replays a configuration into a folder, and records features there.
    """
    folder = out_dir / _FOLDER
    try:
        cameras = tuple(
            _with_truth_boxes(camera, truth, out_dir, folder) for camera in config.cameras if camera.id in truth.cameras
        )
        on_boxes = replace(
            config,
            cameras=cameras,
            detector=replace(config.detector, kind="recorded"),
            background=replace(config.background, references=False),
            retention=replace(config.retention, crops_per_identity=0),
        )
        again(on_boxes, folder / "run")
        score = score_run(folder / "run", truth, config.matcher.absence_s)
        clips, tracklets = _published(folder / "run", on_boxes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    labelled, left_out = label_clips(clips, tracklets, truth, absence_s=config.matcher.absence_s)
    return {
        "gt_boxes": {name: score.metrics[name] for name in _KEPT},
        "retrieval": {**retrieval_figures(labelled), "clips": len(labelled), "left_out": left_out},
        "distances": histogram(pair_distances(labelled)),
    }


def complete_scores(
    out_dir: Path,
    score: Score,
    more: dict[str, Any],
    frames_of: FramesOf | None,
    echo: Callable[[str], None],
) -> None:
    """Write metrics.json and the mistakes, and say the main figures.

    Args:
        frames_of: a camera's frames, for the pictures; None where there are none.

    Raises:
        OutputError: a file cannot be written.
    """
    metrics = {**score.metrics, **more}
    metrics["warnings"] = metrics.pop("warnings")  # last, as a reader expects
    write_metrics(out_dir / "metrics.json", metrics)
    draw_mistakes(score.mistakes if frames_of else (), frames_of or _no_frames, out_dir)
    for warning in metrics["warnings"]:
        echo(f"warning: {warning}")
    for line in score_lines(metrics):
        echo(line)


def _no_frames(camera_id: str) -> Iterator[Frame]:
    return iter(())


def _with_truth_boxes(camera: CameraConfig, truth: GroundTruth, out_dir: Path, folder: Path) -> CameraConfig:
    file = folder / "boxes" / f"{camera.id}.txt"
    write_bytes(file, rows_text(truth_boxes(truth.cameras[camera.id], _fps(out_dir, camera.id))).encode())
    return replace(camera, detections=str(file), detect_every_s=0.0)


def _fps(out_dir: Path, camera_id: str) -> float:
    """Frames per second of the footage, from the times of its frames."""
    times = [float(line) for line in (out_dir / "frame_times" / f"{camera_id}.txt").read_text().split()]
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 1.0


def _published(folder: Path, config: Config) -> tuple[Sequence[ClipFeature], Sequence[Tracklet]]:
    """Every clip and tracklet that the recorded run published."""
    clips: list[ClipFeature] = []
    tracklets: list[Tracklet] = []
    for camera in open_features(folder, config).cameras:
        messages = [message for _, group in camera.groups() for message in group] + camera.closing
        clips += [message for message in messages if isinstance(message, ClipFeature)]
        tracklets += [message for message in messages if isinstance(message, Tracklet)]
    return clips, tracklets
