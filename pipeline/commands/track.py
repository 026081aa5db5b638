"""`run_pipeline.py track`: the tracker alone over the detections of a MOTChallenge folder, without pictures."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.background.files import write_bytes
from pipeline.boxes import xyxy_to_xywh
from pipeline.build import read_detections
from pipeline.capture.folders import DEFAULT_FPS
from pipeline.config import TrackerConfig
from pipeline.errors import ConfigError
from pipeline.scoring.rows import Rows, rows_text
from pipeline.seqinfo import read_seqinfo
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, Tracklet


@dataclass(frozen=True, eq=False, slots=True)
class _Sequence:
    """What is to be tracked: detections by frame number, from 1."""

    detections: Mapping[int, Detections]
    frame_count: int
    fps: float
    size_px: tuple[int, int]


def track(
    sequence: Path,
    out_file: Path,
    config: TrackerConfig,
    echo: Callable[[str], None],
    *,
    online: bool = False,
    progress: bool = True,
) -> int:
    """Track `sequence/det/det.txt` and write MOT rows.

    Args:
        online: rows as they are known frame by frame; otherwise those of the finished tracks, gaps filled, as the
            pipeline's `tracks/` holds them.

    Raises:
        ConfigError: no such sequence. DecodeError: rows that cannot be read. OutputError: the result cannot be written.
    """
    found = _read(sequence, echo)
    tracker = PersonTracker(sequence.name or "sequence", "1", config)
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    ended: list[Tracklet] = []
    began_s = time.monotonic()
    frames = range(1, found.frame_count + 1)
    for frame in tqdm(frames, unit=" frames", desc="track", disable=not progress, mininterval=1.0):
        detections = found.detections.get(frame, Detections.empty())
        tracks, gone = tracker.update_boxes(frame - 1, (frame - 1) / found.fps, *found.size_px, detections)
        ended += gone
        if online:
            rows.append((np.full(len(tracks), frame), tracks.ids, tracks.xyxy, tracks.confidence))
    ended += tracker.finish()
    seconds = time.monotonic() - began_s
    if not online:
        rows = [(t.frame_index + 1, np.full(len(t.frame_index), t.key.track_id), t.xyxy, t.confidence) for t in ended]
    result = _joined(rows)
    write_bytes(out_file, rows_text(result).encode())
    rate = f" ({found.frame_count / seconds:.0f} frames/s)" if seconds > 0 else ""
    echo(f"{found.frame_count} frames in {seconds:.1f} s{rate}, {len(set(result.ids.tolist()))} tracks: {out_file}")
    return 0


def _read(sequence: Path, echo: Callable[[str], None]) -> _Sequence:
    file = sequence / "det" / "det.txt"
    if not file.is_file():
        raise ConfigError(f"--sequence {sequence}: expected a MOTChallenge folder with det/det.txt and seqinfo.ini")
    info = read_seqinfo(sequence / "seqinfo.ini")
    detections = read_detections(file)
    if info.fps is None:
        echo(f"warning: {sequence / 'seqinfo.ini'} states no frameRate: {DEFAULT_FPS:g} frames per second are assumed")
    last = max(detections, default=0)
    if info.frame_count is not None and last > info.frame_count:
        echo(f"warning: detections after frame {info.frame_count}, the last by seqinfo.ini, are left out")
    size_px = info.size_px or _extent(detections)
    return _Sequence(detections, info.frame_count or last, info.fps or DEFAULT_FPS, size_px)


def _extent(detections: Mapping[int, Detections]) -> tuple[int, int]:
    """A picture that holds all boxes, where nobody says how large it is."""
    corners = [one.xyxy[:, 2:].max(axis=0) for one in detections.values() if len(one)]
    if not corners:
        return 1, 1
    width, height = np.max(corners, axis=0)
    return max(1, int(np.ceil(width))), max(1, int(np.ceil(height)))


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Rows:
    """All rows in order of (frame, id)."""
    if not parts:
        return Rows.empty()
    frames, ids, xyxy, confidence = (np.concatenate([part[i] for part in parts]) for i in range(4))
    order = np.lexsort((ids, frames))
    return Rows(frames[order], ids[order], xyxy_to_xywh(xyxy[order]).astype(np.float64), confidence[order])
