"""Removes what has been kept long enough: crops, reference frames with their lines, kept frames."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.background.crops import read_name
from pipeline.background.files import locked, remove, write_bytes
from pipeline.background.kept_frames import kept_time, remove_kept
from pipeline.config import RetentionConfig

logger = logging.getLogger(__name__)

KEPT_LEFT_OVER_S = 3600.0  # kept frames go with their track; what is this old was left by a worker that was killed


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """How many of each were removed."""

    crops: int = 0
    references: int = 0
    reference_lines: int = 0
    kept_frames: int = 0

    @property
    def total(self) -> int:
        return self.crops + self.references + self.reference_lines + self.kept_frames


def sweep(out_dir: Path, config: RetentionConfig, now_s: float) -> RetentionReport:
    """Remove what is older than its time in `config`.

    Args:
        now_s: on the clock of the frames' time stamps (a replay's, where it replays): age is counted from the time a
            picture was taken, which its file name says; files' own dates play no part.

    Raises:
        OutputError: `references.jsonl` cannot be rewritten; it is left as it was.
    """
    lines, pictures = _sweep_references(out_dir, now_s - config.references_s)
    report = RetentionReport(
        crops=_sweep_crops(out_dir, now_s - config.crops_s),
        references=pictures,
        reference_lines=lines,
        kept_frames=_sweep_kept(out_dir, now_s - KEPT_LEFT_OVER_S),
    )
    if report.total:
        logger.info("retention: removed %s", report)
    return report


def clear_kept(out_dir: Path) -> int:
    """Remove all kept frames, not the clean plates: for the end of a run, when no event can ask for them any more."""
    return _sweep_kept(out_dir, float("inf"))


def _sweep_crops(out_dir: Path, before_s: float) -> int:
    count = 0
    for path in sorted((out_dir / "crops").glob("*/*.jpg")):
        crop = read_name(path)
        if crop is not None and crop.captured_at_s < before_s:
            count += remove(path)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return count


def _sweep_kept(out_dir: Path, before_s: float) -> int:
    count = 0
    for path in sorted((out_dir / "kept").glob("*/*.jpg")):
        at_s = kept_time(path)
        if at_s is not None and at_s < before_s:
            remove_kept(path.with_suffix(".json"))
            count += 1
    return count


def _sweep_references(out_dir: Path, before_s: float) -> tuple[int, int]:
    """(lines, pictures) removed; pictures that no line names any more go as well, once they are old."""
    folder = out_dir / "references"
    if not folder.is_dir():
        return 0, 0
    path = folder / "references.jsonl"
    with locked(path):
        lines = read_lines(path)
        left = [line for line in lines if not _older(line, before_s)]
        if len(left) < len(lines):  # lines first: a line never names a picture that is gone
            write_bytes(path, b"".join(line + b"\n" for line in left))
        count = 0
        for image in sorted(folder.glob("*.png")):
            stem = image.stem.removesuffix("_mask")
            at_s = _time_in(stem)
            if at_s is not None and at_s < before_s:
                count += remove(image) and image.stem == stem
    return len(lines) - len(left), count


def read_lines(path: Path) -> list[bytes]:
    """Lines of a file without their ends; none when it is not there."""
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def read_object(line: bytes) -> dict[str, Any] | None:
    """One line of JSON as an object; None when it is anything else (a torn line of a killed process)."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _older(line: bytes, before_s: float) -> bool:
    value = read_object(line)
    at_s = value.get("captured_at_s") if value else None
    return isinstance(at_s, int | float) and at_s < before_s


def _time_in(stem: str) -> float | None:
    try:
        return float(stem.rpartition("_")[2])
    except ValueError:
        return None
