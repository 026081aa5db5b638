"""One clip as every tracker gets it: detections as MOTChallenge rows, with or without its pictures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.boxes import xywh_to_xyxy, xyxy_to_xywh
from pipeline.scoring.ground_truth import CameraTruth
from pipeline.types import Detections, FloatArray


@dataclass(frozen=True, eq=False)
class Clip:
    """What the trackers get, and what they are scored with.

    Attributes:
        detections: MOTChallenge det.txt. video: None for association alone.
        size_px: (width, height).
    """

    name: str
    detections: Path
    frame_count: int
    fps: float
    size_px: tuple[int, int]
    truth: CameraTruth
    video: Path | None = None


def read_mot_clip(folder: Path, truth: CameraTruth) -> Clip:
    """A MOTChallenge folder (seqinfo.ini, det/det.txt); its pictures are not used.

    Raises:
        RuntimeError: its seqinfo.ini leaves something out.
    """
    if truth.frame_count is None or truth.fps is None or truth.size_px is None:
        raise RuntimeError(f"{folder.name}: seqinfo.ini must give seqLength, frameRate, imWidth and imHeight")
    detections = folder / "det" / "det.txt"
    return Clip(folder.name, detections, truth.frame_count, truth.fps, truth.size_px, truth)


def read_detections(path: Path) -> Mapping[int, Detections]:
    """Detections by frame number, from 1; confidences are cut to [0, 1]."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines:
        return {}
    rows = np.loadtxt(lines, delimiter=",", ndmin=2)
    xyxy = xywh_to_xyxy(rows[:, 2:6].astype(np.float32))
    confidence = np.clip(rows[:, 6], 0, 1)
    frames = rows[:, 0].astype(int)
    return {int(f): Detections(xyxy[frames == f], confidence[frames == f]) for f in np.unique(frames)}


def mot_rows(frames: Iterable[int], ids: Iterable[int], xyxy: FloatArray, confidence: Iterable[float]) -> list[str]:
    """MOTChallenge result rows; of detections, with id -1."""
    return [
        f"{f},{i},{x:.3f},{y:.3f},{w:.3f},{h:.3f},{c:.4f},-1,-1,-1"
        for f, i, (x, y, w, h), c in zip(frames, ids, xyxy_to_xywh(xyxy), confidence, strict=True)
    ]


def write_rows(path: Path, rows: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
