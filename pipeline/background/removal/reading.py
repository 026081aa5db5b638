"""Reads back the reference frames that a run left in its folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.background.files import inside, read_image
from pipeline.background.removal.tracks import Reference
from pipeline.background.retention import read_lines, read_object
from pipeline.errors import DecodeError


def read_references(out_dir: Path, camera_id: str) -> Iterator[Reference]:
    """The references of one camera in order of the file; those whose pictures are gone or damaged are passed over."""
    for line in read_lines(out_dir / "references" / "references.jsonl"):
        value = read_object(line)
        if value is not None and value.get("camera_id") == camera_id:
            reference = read_reference(out_dir, value)
            if reference is not None:
                yield reference


def read_reference(out_dir: Path, line: dict[str, Any]) -> Reference | None:
    """One line's reference with its pictures; None when they cannot be read, or do not fit."""
    try:
        people = tuple(
            (int(one["value"]), _box(one["xyxy"]), int(one["identity_id"]))
            for one in line["subjects"]
            if one["quality"] > 0
        )
        image = read_image(inside(out_dir, line["image"]))
        labels = read_image(inside(out_dir, line["mask"]), grey=True)
        at_s = float(line["captured_at_s"])
    except (KeyError, TypeError, ValueError, FileNotFoundError, DecodeError):
        return None
    return Reference(at_s, image, labels, people) if labels.shape == image.shape[:2] else None


def _box(values: list[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2
