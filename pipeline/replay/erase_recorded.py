"""Takes one person out of what a replay kept: clips, tracks and boxes in `recorded/`, and exported pictures."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from pipeline.background.files import write_bytes
from pipeline.boxes import box_iou, xywh_to_xyxy
from pipeline.bus.codec import decode
from pipeline.bus.message_log import MESSAGE, LogReader, LogWriter
from pipeline.errors import DecodeError
from pipeline.replay.export_tracklets import tracklet_folder
from pipeline.replay.recording import DETECTIONS, ENDING, FEATURES, RECORDED
from pipeline.types import ClipFeature, FloatArray, TrackKey, Tracklet

_log = logging.getLogger(__name__)

_SAME_BOX_IOU = 0.7  # a track's box follows its detections, smoothed


def erase_recorded(out_dir: Path, keys: Collection[TrackKey]) -> dict[str, int]:
    """Remove the person who was these tracks from an output folder's recordings; how many messages and rows went.

    A recording that cannot be read is removed as a whole: nobody knows who is in it. Detections go first, because the
    features tell where the person was.

    Raises:
        OutputError: a file cannot be replaced; run it again.
    """
    counts: Counter[str] = Counter()
    folder = out_dir / RECORDED
    for path in sorted((folder / FEATURES).glob(f"*{ENDING}")) if keys else []:
        try:
            boxes = _boxes(path, keys)
            counts["recorded_detections"] += _erase_boxes(folder / DETECTIONS / f"{path.stem}.txt", boxes)
            counts["recorded_messages"] += _rewrite(path, keys)
        except DecodeError as error:
            _log.warning("removed, because nobody knows who is in it: %s", error)
            path.unlink()
            counts["recordings_removed"] += 1
    return {name: n for name, n in sorted(counts.items()) if n}


def erase_exported(out_dir: Path, keys: Collection[TrackKey]) -> int:
    """Remove the pictures of these tracks from data sets that were exported into the folder; how many there were."""
    count = 0
    for key in sorted(keys):
        for folder in sorted(out_dir.rglob(tracklet_folder(key))):
            pictures = sorted(folder.glob("*.jpg"))
            for picture in pictures:
                picture.unlink()
            count += len(pictures)
            if not any(folder.iterdir()):
                folder.rmdir()
    return count


def _is_about(fields: Mapping[bytes, bytes], keys: Collection[TrackKey]) -> Tracklet | ClipFeature | None:
    message = decode(fields)
    return message if isinstance(message, ClipFeature | Tracklet) and message.key in keys else None


def _boxes(path: Path, keys: Collection[TrackKey]) -> dict[int, FloatArray]:
    """Frame number from 1 → the person's boxes (N, 4) xyxy px."""
    found: dict[int, list[FloatArray]] = {}
    for record in LogReader(path).records():
        message = _is_about(record.fields, keys) if record.kind == MESSAGE else None
        if isinstance(message, Tracklet):
            for index, box in zip(message.frame_index.tolist(), message.xyxy, strict=True):
                found.setdefault(index + 1, []).append(box)
    return {number: np.array(boxes, np.float32) for number, boxes in found.items()}


def _erase_boxes(path: Path, boxes: Mapping[int, FloatArray]) -> int:
    if not boxes or not path.exists():
        return 0
    before = path.read_bytes().splitlines(keepends=True)
    left = [line for line in before if not _shows(line, boxes)]
    if len(left) < len(before):
        write_bytes(path, b"".join(left))
    return len(before) - len(left)


def _shows(line: bytes, boxes: Mapping[int, FloatArray]) -> bool:
    try:
        number, _, *xywh = (float(cell) for cell in line.split(b",")[:6])
        box = xywh_to_xyxy(np.array(xywh, np.float32).reshape(1, 4))
    except ValueError:
        return False
    mine = boxes.get(int(number))
    return mine is not None and bool(box_iou(box, mine).max() >= _SAME_BOX_IOU)


def _rewrite(path: Path, keys: Collection[TrackKey]) -> int:
    """Write the log again without the person's messages, all other records as they are; how many went."""
    log = LogReader(path)
    if not any(r.kind == MESSAGE and _is_about(r.fields, keys) for r in log.records()):
        return 0
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.unlink(missing_ok=True)
    gone = 0
    writer = LogWriter(fresh, log.header)
    try:
        for record in log.records():
            if record.kind == MESSAGE and _is_about(record.fields, keys):
                gone += 1
            else:
                writer.add(record.kind, record.fields)
    finally:
        writer.close()
    fresh.replace(path)
    return gone
