"""Detections read from MOTChallenge `det.txt` files instead of being computed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.boxes import xywh_to_xyxy
from pipeline.errors import DecodeError
from pipeline.types import Detections, Frame

_COLUMNS = 7  # frame,id,x,y,w,h,confidence; further columns are ignored


class RecordedDetector:
    """Implements `ports.Detector` by camera id and frame number; a frame without rows has no persons.

    Confidences within [0, 1] are taken as they are. A file with any other confidence (SVM scores, percentages) is
    scaled linearly so that its lowest becomes 0 and its highest 1.
    """

    def __init__(self, files: Mapping[str, Path], *, confidence: float = 0.0) -> None:
        """Read everything at once.

        Args:
            files: camera id → det.txt; frame numbers count from 1, rows may come in any order.
            confidence: weaker boxes are not passed on.

        Raises:
            DecodeError: a file or row that cannot be read, named with its line.
        """
        self._cameras = {camera_id: read_detections(Path(path), confidence) for camera_id, path in files.items()}

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The recorded persons of each frame, in the file's order.

        Raises:
            DecodeError: a frame of a camera without a file.
        """
        return [self._look_up(frame) for frame in frames]

    def _look_up(self, frame: Frame) -> Detections:
        if frame.camera_id not in self._cameras:
            known = ", ".join(sorted(self._cameras)) or "none"
            raise DecodeError(f"no recorded detections for camera {frame.camera_id!r}; there are some for: {known}")
        return self._cameras[frame.camera_id].get(frame.index + 1, Detections.empty())


def read_detections(path: Path, confidence: float = 0.0) -> dict[int, Detections]:
    """Detections by frame number, from 1, of one det.txt; frames without any are left out.

    Raises:
        DecodeError: a file or row that cannot be read, named with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DecodeError(f"cannot read the detections {path}: {getattr(error, 'strerror', None) or error}") from None
    rows = [_parse(line, path, number) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not rows:
        return {}
    table = np.array(rows)
    scores = _to_unit_range(table[:, 5])
    table, scores = table[scores >= confidence], scores[scores >= confidence]
    order = np.argsort(table[:, 0], kind="stable")
    table, scores = table[order], scores[order]
    frames, starts = np.unique(table[:, 0].astype(np.int64), return_index=True)
    ends = [*starts[1:].tolist(), len(table)]
    return {
        int(frame): Detections(xywh_to_xyxy(table[start:end, 1:5]), scores[start:end])
        for frame, start, end in zip(frames, starts.tolist(), ends, strict=True)
    }


def _parse(line: str, path: Path, number: int) -> tuple[float, ...]:
    """(frame, x, y, w, h, confidence) of one row."""
    cells = line.split(",")
    try:
        if len(cells) < _COLUMNS:
            raise ValueError(f"{len(cells)} columns")
        frame, _, *values = (float(cell) for cell in cells[:_COLUMNS])
        if not all(math.isfinite(value) for value in (frame, *values)):
            raise ValueError("a value that is not finite")
        if frame < 1 or frame != int(frame):
            raise ValueError(f"frame {cells[0].strip()}")
        if values[2] < 0 or values[3] < 0:
            raise ValueError("a negative width or height")
    except ValueError as error:
        wanted = "frame,id,x,y,w,h,confidence with frames from 1"
        raise DecodeError(f"{path}:{number}: expected {wanted}, got {error}: {line[:80]!r}") from None
    return (frame, *values)


def _to_unit_range(scores: np.ndarray) -> np.ndarray:
    """(N,) float32 in [0, 1]; as they are when they all lie there, else stretched linearly over it."""
    low, high = float(scores.min()), float(scores.max())
    if low >= 0 and high <= 1:
        return scores.astype(np.float32)
    if high == low:
        return np.ones(len(scores), np.float32)
    return np.clip((scores - low) / (high - low), 0, 1).astype(np.float32)
