"""Who is in which picture when, from the rows of a run: spans of frames, and of time, per camera and identity."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.reporting.values import number
from pipeline.types import TimeArray

_SAME_STAY_FRAMES = 2  # a box every other frame is one stay
_MOST_FRAMES = 10_000_000  # four days at 30 frames a second; a greater number is a damaged row

Span = tuple[int, int]
_Number = TypeVar("_Number", int, float)


@dataclass(slots=True)
class Presence:
    """What `tracks/` and `frame_times/` say.

    Attributes:
        spans: (camera, id) → spans of frames (first, last), both from 1, rising.
        boxes: (camera, id) → rows.
        times: camera → time of each frame, seconds; only cameras that have some.
    """

    spans: dict[tuple[str, int], list[Span]] = field(default_factory=dict)
    boxes: Counter[tuple[str, int]] = field(default_factory=Counter)
    times: dict[str, TimeArray] = field(default_factory=dict)

    def seconds(self, camera_id: str, spans: Sequence[Span]) -> list[tuple[float, float]]:
        """Frame spans as times; none for a camera without times. Frames beyond the last time are at that time."""
        times = self.times.get(camera_id)
        if times is None or not len(times):
            return []
        return [(float(times[_place(a, times)]), float(times[_place(b, times)])) for a, b in spans]

    def assume_rates(self, fps: Mapping[str, Any]) -> None:
        """Give cameras without times those of a steady rate from 0, where it is known."""
        for camera_id in {camera for camera, _ in self.spans} - set(self.times):
            rate = number(fps.get(camera_id))
            if rate is not None and rate > 0:
                last = max(
                    span[1] for (camera, _), spans in self.spans.items() if camera == camera_id for span in spans
                )
                self.times[camera_id] = np.arange(min(last, _MOST_FRAMES)) / rate


def read_presence(out_dir: Path, warnings: list[str]) -> Presence:
    """Read what is there; rows that cannot be understood are skipped, files that cannot be read are a warning."""
    presence = Presence()
    for file in sorted((out_dir / "tracks").glob("*.txt")):
        try:
            with file.open(encoding="utf-8", errors="replace") as lines:
                _add_rows(presence, file.stem, _rows(lines))
        except OSError:
            warnings.append(f"tracks/{file.name} cannot be read; it was left out")
    for spans in presence.spans.values():
        spans[:] = joined(spans, _SAME_STAY_FRAMES)
    for file in sorted((out_dir / "frame_times").glob("*.txt")):
        try:
            times = np.array([float(line) for line in file.read_text(encoding="utf-8").split()], np.float64)
        except (OSError, ValueError):
            warnings.append(f"frame_times/{file.name} cannot be read; it was left out")
            continue
        if len(times) and np.isfinite(times).all():
            presence.times[file.stem] = times
    return presence


def joined(spans: Iterable[tuple[_Number, _Number]], gap: float) -> list[tuple[_Number, _Number]]:
    """Spans in order, with those that are at most `gap` apart made one."""
    merged: list[tuple[_Number, _Number]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(frame, id) of rows frame,id,x,y,w,h,…; what is none is skipped."""
    for line in lines:
        cells = line.split(",", 6)
        if len(cells) < 6:
            continue
        try:
            frame, identity_id = float(cells[0]), float(cells[1])
        except ValueError:
            continue
        if math.isfinite(frame) and math.isfinite(identity_id) and frame >= 1 and identity_id >= 0:
            yield int(frame), int(identity_id)


def _add_rows(presence: Presence, camera_id: str, rows: Iterable[tuple[int, int]]) -> None:
    """In one pass and in memory for the spans only: a day of rows is many millions."""
    for frame, identity_id in rows:
        key = (camera_id, identity_id)
        presence.boxes[key] += 1
        spans = presence.spans.setdefault(key, [])
        if spans and spans[-1][1] <= frame <= spans[-1][1] + _SAME_STAY_FRAMES:
            spans[-1] = (spans[-1][0], frame)
        else:
            spans.append((frame, frame))


def _place(frame: int, times: TimeArray) -> int:
    return min(frame, len(times)) - 1
