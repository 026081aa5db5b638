"""Records features once per footage: the ordinary replay, with the detector's boxes and with ground-truth boxes."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from matching.make_half_views import make_half_views
from matching.sites import BOXES, Boxes, Footage, recording_folder
from pipeline.capture.probe import probe
from pipeline.commands.replay import ReplayOptions, prepare, replay
from pipeline.config import CameraConfig, CaptureConfig, Config, DetectorConfig
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.scoring.rows import Rows, rows_text
from pipeline.scoring.truth_boxes import truth_boxes

DETECTOR = "yolo11n_int8_openvino_model"
_FPS = 25.0  # of footage that states no rate


def prepare_footage(footage: Footage, cache: Path, echo: Callable[[str], None], *, again: bool = False) -> None:
    """Record what is not recorded yet.

    Args:
        again: also what is.

    Raises:
        PipelineError: weights or footage that are not there.
    """
    for boxes in BOXES:
        folder = recording_folder(cache, footage, boxes)
        if folder.exists() and not again:
            echo(f"{footage.name}, {boxes} boxes: recorded already")
            continue
        partial = folder.with_name(f".{folder.name}.partial")
        for old in (partial, folder):
            shutil.rmtree(old, ignore_errors=True)
        options = ReplayOptions(progress=False, record=True, gt_boxes=False)
        summary = replay(prepare(_config(footage, boxes, partial)), partial, options, echo)
        partial.rename(folder)
        echo(f"{footage.name}, {boxes} boxes: {sum(summary.result.frames.values())} frames, {summary.seconds:.0f} s")


def make_pets_halves(media: Path, cache: Path) -> None:
    """The two half views of PETS, unless they are there."""
    out = cache / "pets_halves" / "footage"
    if not (out / "gt" / "right.txt").is_file():
        make_half_views(media / "pets_s2l1_view1" / "video.mp4", media / "pets_s2l1_view1" / "gt", out)


def _config(footage: Footage, boxes: Boxes, folder: Path) -> Config:
    config = footage.config
    if boxes == "detector":
        return replace(config, detector=DetectorConfig(kind="yolo", weights=DETECTOR))
    cameras = tuple(_on_truth(camera, footage, folder) for camera in config.cameras)
    return replace(config, cameras=cameras, detector=replace(config.detector, kind="recorded"))


def _on_truth(camera: CameraConfig, footage: Footage, folder: Path) -> CameraConfig:
    """The camera with detections made of its annotation.

    Frames between two annotated ones get the boxes between them (`truth_boxes`); ids are taken off.
    """
    truth = read_ground_truth(footage.truth, [camera.id]).cameras[camera.id]
    fps = probe(camera.source, CaptureConfig()).fps or _FPS
    rows = truth_boxes(truth, fps)
    nameless = Rows(rows.frames, np.full(len(rows), -1, np.int64), rows.xywh, rows.confidence)
    file = folder.with_name(f"{folder.name}_boxes") / f"{camera.id}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(rows_text(nameless), encoding="utf-8")
    return replace(camera, detections=str(file))
