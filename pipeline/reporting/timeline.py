"""Prepares the timeline: which identity has a row, its stays and returns, and the marks of the time axis."""

import math
from collections.abc import Mapping, Sequence

from pipeline.reporting.plots import Lane, timeline
from pipeline.reporting.presence import Presence, joined
from pipeline.reporting.values import natural_key
from pipeline.view.colours import UNIDENTIFIED_FROM, UNKNOWN_BGR, hex_colour, identity_colour
from pipeline.view.visits import Visit
from pipeline.view.wording import clock_text, identity_label

MAX_ROWS = 60  # of one camera; more than a screenful helps nobody
_MAX_ALL_ROWS = 240  # of all cameras: four screenfuls
_SHORTEST_GAP_S = 0.4  # shorter is a miss of the detector, not an absence
_GAP_SHARE = 1 / 700  # of the whole time: about a pixel
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_LAST_S = 253402300799.0  # the end of the year 9999
_MARKS = 9  # on the time axis, at most

Rows = dict[int, list[tuple[float, float]]]  # identity → spans in seconds; 0 for nobody known


def timeline_of(presence: Presence, visits: Sequence[Visit], names: Mapping[int, str]) -> tuple[str, str] | None:
    """The drawing (a data URI) and a sentence on what it shows; None when nobody was seen.

    Stays come from the boxes of the tracks where the times of the frames are known, else from the events.
    """
    from_boxes = bool(presence.times) and bool(presence.spans)
    stays = _stays_of_boxes(presence) if from_boxes else _stays_of_visits(visits)
    stays = {camera: _possible(rows) for camera, rows in stays.items()}
    stays = {camera: stays[camera] for camera in sorted(stays, key=natural_key) if stays[camera]}
    if not stays:
        return None
    ends = [t for rows in stays.values() for spans in rows.values() for span in spans for t in span]
    low, high = min(ends), max(ends)
    gap = max(_SHORTEST_GAP_S if from_boxes else 0.0, _GAP_SHARE * (high - low))
    most = max(1, min(MAX_ROWS, _MAX_ALL_ROWS // len(stays)))
    lanes, left_out = {}, 0
    for camera, rows in stays.items():
        kept = _most_seen(rows, most)
        left_out += len(rows) - len(kept)
        lanes[camera] = [_lane(i, joined(rows[i], gap), camera, visits, names) for i in kept]
    picture = timeline(lanes, marks=[(t, _mark_text(t)) for t in time_marks(low, high)], x_label=_date(low))
    return picture, _words(from_boxes, left_out)


def time_marks(start_s: float, end_s: float, most: int = _MARKS) -> list[float]:
    """Round times inside the span, at most `most`; at least the start."""
    span_s = end_s - start_s
    step_s = next((float(s) for s in _STEPS_S if span_s / s < most), math.ceil(span_s / most / 86400) * 86400.0)
    marks = [i * step_s for i in range(math.ceil(start_s / step_s), math.floor(end_s / step_s) + 1)]
    return marks[:most] or [start_s]


def _stays_of_boxes(presence: Presence) -> dict[str, Rows]:
    stays: dict[str, Rows] = {}
    for (camera, identity_id), spans in presence.spans.items():
        known = identity_id if 0 < identity_id < UNIDENTIFIED_FROM else 0
        rows = stays.setdefault(camera, {})
        rows.setdefault(known, []).extend(presence.seconds(camera, spans))
    return {camera: {i: spans for i, spans in rows.items() if spans} for camera, rows in stays.items()}


def _stays_of_visits(visits: Sequence[Visit]) -> dict[str, Rows]:
    stays: dict[str, Rows] = {}
    for visit in visits:
        end_s = visit.start_s if visit.end_s is None else visit.end_s
        stays.setdefault(visit.camera_id, {}).setdefault(visit.identity_id, []).append((visit.start_s, end_s))
    return stays


def _possible(rows: Rows) -> Rows:
    """Without spans at times that no camera has, which would leave a dot of the others."""
    kept = {i: [s for s in spans if max(map(abs, s)) <= _LAST_S] for i, spans in rows.items()}
    return {i: spans for i, spans in kept.items() if spans}


def _most_seen(rows: Rows, most: int) -> list[int]:
    """The identities seen longest, in order of first appearance; those without identity last."""
    longest = sorted(rows, key=lambda i: (-sum(b - a for a, b in rows[i]), i))[:most]
    return sorted(longest, key=lambda i: (i == 0, min(rows[i]), i))


def _lane(
    identity_id: int,
    spans: Sequence[tuple[float, float]],
    camera_id: str,
    visits: Sequence[Visit],
    names: Mapping[int, str],
) -> Lane:
    own = [v for v in visits if v.camera_id == camera_id and v.identity_id == identity_id]
    returns = tuple(v.start_s for v in own if v.kind == "reentered") if identity_id else ()
    label = identity_label(identity_id, names.get(identity_id)) if identity_id else "no identity"
    colour = hex_colour(identity_colour(identity_id) if identity_id else UNKNOWN_BGR)
    return Lane(label, colour, tuple(spans), returns)


def _words(from_boxes: bool, left_out: int) -> str:
    text = "A row per identity in each camera, in its colour; a dark triangle marks a re-entry. "
    text += "Bars are where it has boxes." if from_boxes else "Bars run from arrival to leaving."
    if left_out:
        more = (
            f"{left_out} more rows, those seen shortest, are"
            if left_out > 1
            else "One more row, the one seen shortest, is"
        )
        text += f" {more} not drawn."
    return text


def _date(at_s: float) -> str:
    """The day that the first mark lies in; nothing for times that count from the start of the footage."""
    parts = clock_text(at_s, digits=0).split(" ")
    return f"{parts[0]}, UTC" if len(parts) > 1 else ""


def _mark_text(at_s: float) -> str:
    """The time without the date, which would not fit between two marks."""
    parts = clock_text(at_s, digits=0).split(" ")
    return parts[1] if len(parts) > 1 else parts[0]
