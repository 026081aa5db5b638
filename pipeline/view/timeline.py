"""Places visits on a drawing surface: rows, bars and the marks of the time axis, in SVG units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.view.colours import hex_colour, identity_colour
from pipeline.view.visits import Visit
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label

WIDTH = 1000.0
_LABEL = 110.0  # column of the names
_ROW = 17.0
_HEAD = 26.0  # a camera's heading
_AXIS = 24.0
_MIN_BAR = 3.0  # a visit of one frame must still be seen
MAX_ROWS = 60  # of one camera; more than a screenful helps nobody
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MARKS = 8  # on the time axis, at most


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    colour: str
    returned: bool
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """A drawing of WIDTH × `height`; `left_out` rows did not fit."""

    height: float
    plot_x: float
    row_height: float
    heads: tuple[Label, ...]
    names: tuple[Label, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Label, ...]
    left_out: int


def timeline_of(visits: Sequence[Visit], names: Mapping[int, str], max_rows: int = MAX_ROWS) -> Timeline | None:
    """A lane per camera with a row per identity, in order of first appearance; None without visits."""
    if not visits:
        return None
    start_s = min(v.start_s for v in visits)
    end_s = max(v.end_s if v.end_s is not None else v.start_s for v in visits)
    scale = (WIDTH - _LABEL - 10.0) / max(end_s - start_s, 1.0)
    heads: list[Label] = []
    labels: list[Label] = []
    bars: list[Bar] = []
    left_out = 0
    y = _AXIS
    for camera_id in sorted({v.camera_id for v in visits}):
        heads.append(Label(0.0, y + 0.7 * _HEAD, camera_id))
        y += _HEAD
        rows: dict[int, list[Visit]] = {}
        for visit in visits:
            if visit.camera_id == camera_id:
                rows.setdefault(visit.identity_id, []).append(visit)
        left_out += max(0, len(rows) - max_rows)
        for identity_id, row in list(rows.items())[:max_rows]:
            label = identity_label(identity_id, names.get(identity_id))
            labels.append(Label(_LABEL - 8.0, y + 0.72 * _ROW, label if len(label) <= 14 else label[:13] + "…"))
            bars += [_bar(visit, label, _LABEL + (visit.start_s - start_s) * scale, y, scale) for visit in row]
            y += _ROW
    marks = tuple(
        Label(_LABEL + (at_s - start_s) * scale, _AXIS - 8.0, _mark_text(at_s)) for at_s in _mark_times(start_s, end_s)
    )
    return Timeline(y + 6.0, _LABEL, _ROW, tuple(heads), tuple(labels), tuple(bars), marks, left_out)


def _bar(visit: Visit, label: str, x: float, y: float, scale: float) -> Bar:
    stay_s = (visit.end_s if visit.end_s is not None else visit.start_s) - visit.start_s
    what = event_text(visit.kind, visit.camera_id)
    title = f"{label} {what} at {clock_text(visit.start_s)}, stayed {duration_text(stay_s)}"
    colour = hex_colour(identity_colour(visit.identity_id))
    return Bar(x, y, max(stay_s * scale, _MIN_BAR), colour, visit.kind == "reentered", title)


def _mark_times(start_s: float, end_s: float) -> list[float]:
    """Round times inside the span, at most _MARKS of them; day-long steps once the span is longer than the table."""
    span_s = max(end_s - start_s, 1.0)
    step_s = next((s for s in _STEPS_S if span_s / s <= _MARKS), math.ceil(span_s / _MARKS / 86400) * 86400)
    first = math.ceil(start_s / step_s)
    return [i * float(step_s) for i in range(first, math.floor((start_s + span_s) / step_s) + 1)]


def _mark_text(at_s: float) -> str:
    """The time without the date, which would not fit between two marks."""
    parts = clock_text(at_s, digits=0).split(" ")
    return parts[1] if len(parts) > 1 else parts[0]
