"""What re-entries are measured on: two real clips and a generated scene, with their detections recorded once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from pipeline.commands.replay import ReplayOptions, prepare, replay
from pipeline.config import BackgroundConfig, CameraConfig, Config, DetectorConfig, MatcherConfig
from pipeline.scenes.export import write_scene
from pipeline.scenes.returns import returning_scenario

DETECTOR = "yolo11n_int8_openvino_model"
MATCHER = MatcherConfig(patience_s=0.3, decide_every_s=0.1)  # whatever the defaults are when this is run


@dataclass(frozen=True, eq=False)
class Clip:
    """One camera's footage.

    Attributes:
        config: how it is run, with the detector. truth: folder of its ground truth. detections: recorded ones.
    """

    name: str
    config: Config
    truth: Path
    detections: Path


def real_clips(media: Path, cache: Path) -> list[Clip]:
    """PETS, whose returns are short, and a clip in which nobody returns."""
    return [
        _clip(name, media / name / "video.mp4", media / name / "gt", cache, replace(MATCHER, absence_s=1.0))
        for name in ("pets_s2l1_view1", "one_by_one")
    ]


def generated_clip(seed: int, cache: Path, echo: Callable[[str], None]) -> Clip:
    """The scene of returns, made where the cache has none."""
    folder = cache / f"returns{seed}" / "scene"
    if not (folder / "gt" / "visits.csv").is_file():
        cv2.setNumThreads(1)
        echo(f"returns{seed}: rendering")
        write_scene(returning_scenario(seed), folder, mask_every=None)
    return _clip(f"returns{seed}", folder / "lobby.mp4", folder / "gt", cache, MATCHER)


def _clip(name: str, video: Path, truth: Path, cache: Path, matcher: MatcherConfig) -> Clip:
    camera = CameraConfig(next(truth.glob("*.txt")).stem, str(video))
    detector = DetectorConfig(kind="yolo", weights=DETECTOR)
    config = Config(site=name, cameras=(camera,), detector=detector, matcher=matcher)
    return Clip(name, config, truth, cache / name / "detections")


def record(clip: Clip, echo: Callable[[str], None]) -> None:
    """Detections of a clip, unless they are there."""
    if clip.detections.is_dir():
        return
    echo(f"{clip.name}: detecting")
    config = replace(clip.config, background=BackgroundConfig(references=False))
    partial = clip.detections.with_name(".detections.partial")
    replay(prepare(config), partial, ReplayOptions(progress=False, record=True, gt_boxes=False), echo)
    partial.rename(clip.detections)
