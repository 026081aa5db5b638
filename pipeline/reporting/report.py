"""The run for people: one HTML file without any other file, made from what lies in the output folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import OutputError
from pipeline.reporting.charts import (
    Plot,
    decision_plot,
    delay_plot,
    distance_plot,
    latency_plot,
    score_plot,
    threshold_of,
)
from pipeline.reporting.mistake_cards import groups_of
from pipeline.reporting.names import names_of
from pipeline.reporting.pages import render_page, write_page
from pipeline.reporting.presence import Presence
from pipeline.reporting.report_inputs import Event, Inputs, Reference, read_inputs
from pipeline.reporting.scores import scores_of
from pipeline.reporting.timeline import timeline_of
from pipeline.reporting.values import figure_text, group, is_map, natural_key, number, pairs, redacted
from pipeline.view.colours import UNIDENTIFIED_FROM, hex_colour, identity_colour, text_colour
from pipeline.view.thumbnails import data_uri, draw_masks, read_image
from pipeline.view.visits import Visit, visits_of
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label

MAX_EVENTS = 500  # rows; a browser stays quick and the page below a megabyte
MAX_IDENTITIES = 120
MAX_CROPS = 8  # of one identity
MAX_REFERENCES = 48
_CROP_PX = (96, 160)
_REFERENCE_PX = (480, 360)
_TEMPLATE = "report.html"


def write_report(out_dir: Path) -> Path:
    """Write `report.html` into a run's output folder and give its path; an older one is replaced whole.

    Missing or damaged inputs leave their part of the page out, with a word about it.

    Raises:
        OutputError: the folder is missing, or the file cannot be written.
    """
    if not out_dir.is_dir():
        raise OutputError(f"no report: {out_dir} is no folder")
    return write_page(out_dir / "report.html", _TEMPLATE, **_values(read_inputs(out_dir)))


def render_report(inputs: Inputs) -> str:
    """The page as text. Every value is escaped; the page runs no script and loads nothing."""
    return render_page(_TEMPLATE, **_values(inputs))


def _values(inputs: Inputs) -> dict[str, Any]:
    """What the template shows."""
    names = names_of(inputs.events)
    visits = visits_of(inputs.events)
    if not inputs.presence.times and not visits:  # somebody's rows without times: a steady rate is the best guess
        inputs.presence.assume_rates(group(inputs.run, "fps"))
    stages = _stages(inputs.run)
    return {
        "site": str(inputs.run.get("site") or "Run"),
        "facts": _facts(inputs, visits),
        "warnings": inputs.warnings,
        "cameras": _cameras(inputs, visits),
        "timeline": timeline_of(inputs.presence, visits, names),
        "returns": [_event_row(e, names) for e in inputs.events if e.kind == "reentered"][:MAX_EVENTS],
        "events": [_event_row(e, names) for e in inputs.events[:MAX_EVENTS]],
        "event_count": len(inputs.events),
        "identities": _identities(inputs, visits, names),
        "identity_limit": MAX_IDENTITIES,
        "references": [_reference(r, names) for r in inputs.references[-MAX_REFERENCES:]],
        "reference_count": len(inputs.references),
        "scores": scores_of(inputs.metrics) if inputs.metrics else None,
        "score_plots": [p for p in (score_plot(inputs.metrics),) if p],
        "decision_plots": _decision_plots(inputs),
        "mistakes": groups_of(inputs.mistakes),
        "latency": stages,
        "latency_plot": latency_plot(stages),
        "speed": _speed(inputs.run),
        "losses": pairs(inputs.run.get("losses")),
        "ran": bool(inputs.run),
        "details": _details(inputs.run),
    }


def _decision_plots(inputs: Inputs) -> list[Plot]:
    threshold = threshold_of(inputs.events)
    plots = (
        distance_plot(inputs.metrics, threshold),
        decision_plot(inputs.events, threshold),
        delay_plot(inputs.events),
    )
    return [plot for plot in plots if plot is not None]


def _facts(inputs: Inputs, visits: Sequence[Visit]) -> list[tuple[str, str]]:
    run = inputs.run
    started, duration = run.get("started"), number(run.get("duration_s"))
    kinds = Counter(e.kind for e in inputs.events)
    frames = sum(int(number(n) or 0) for _, n in pairs(run.get("frames")))
    facts = [
        ("identities", figure_text(len({v.identity_id for v in visits}))),
        ("re-entries", figure_text(kinds["reentered"])),
        ("hand-overs", figure_text(kinds["handed_over"])),
        ("frames", figure_text(frames)),
        ("duration", "–" if duration is None else duration_text(duration)),
    ]
    if started is not None:
        at_s = number(started)
        facts.append(("started", str(started) if at_s is None else clock_text(at_s, 0)))
    return facts


def _cameras(inputs: Inputs, visits: Sequence[Visit]) -> list[dict[str, Any]]:
    frames, fps = dict(pairs(inputs.run.get("frames"))), dict(pairs(inputs.run.get("fps")))
    ids = {*frames, *fps, *(v.camera_id for v in visits), *(camera for camera, _ in inputs.presence.boxes)}
    stays = Counter(v.camera_id for v in visits)
    returns = Counter(v.camera_id for v in visits if v.kind == "reentered")
    boxes: Counter[str] = Counter()
    for (camera, _), count in inputs.presence.boxes.items():
        boxes[camera] += count
    return [
        {
            "id": camera,
            "frames": frames.get(camera),
            "fps": fps.get(camera),
            "boxes": boxes[camera],
            "identities": len({v.identity_id for v in visits if v.camera_id == camera}),
            "visits": stays[camera],
            "returns": returns[camera],
        }
        for camera in sorted(ids, key=natural_key)
    ]


def _chip(identity_id: int, names: Mapping[int, str]) -> dict[str, str]:
    colour = identity_colour(identity_id)
    return {
        "label": identity_label(identity_id, names.get(identity_id)),
        "colour": hex_colour(colour),
        "text_colour": hex_colour(text_colour(colour)),
    }


def _event_row(event: Event, names: Mapping[int, str]) -> dict[str, Any]:
    text = event_text(event.kind, event.camera_id, event.absent_s, event.via, event.other_identity_id, event.name)
    evidence = event.evidence
    return {
        "sequence": event.sequence,
        "kind": event.kind,
        "chip": _chip(event.identity_id, names),
        "text": text,
        "at_s": event.at_s,
        "delay_s": max(0.0, event.decided_at_s - event.at_s),
        "distance": evidence.get("distance"),
        "threshold": evidence.get("threshold"),
    }


def _identities(inputs: Inputs, visits: Sequence[Visit], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """One entry per identity that somebody saw or that has crops, with its contact sheet."""
    crops = {int(name): paths for name, paths in inputs.crops.items() if name.isascii() and name.isdigit()}
    own: dict[int, list[Visit]] = {}
    for visit in visits:
        own.setdefault(visit.identity_id, []).append(visit)
    ids = sorted(i for i in {*crops, *own} if 0 < i < UNIDENTIFIED_FROM)
    sheets = {i: _pictures(crops.get(i, [])) for i in ids[:MAX_IDENTITIES]}
    return [
        {
            "chip": _chip(identity_id, names),
            "pictures": sheets.get(identity_id),
            "cameras": sorted({v.camera_id for v in own.get(identity_id, [])}, key=natural_key),
            "returns": sum(v.kind == "reentered" for v in own.get(identity_id, [])),
            "seen_s": _seen_s(identity_id, inputs.presence, own.get(identity_id, [])),
        }
        for identity_id in ids
    ]


def _seen_s(identity_id: int, presence: Presence, visits: Sequence[Visit]) -> float:
    """Over all cameras, from boxes where the times of the frames are known, else from arrivals and leavings."""
    spans = [(c, own) for (c, i), own in presence.spans.items() if i == identity_id and c in presence.times]
    if spans:
        return sum(b - a for camera, own in spans for a, b in presence.seconds(camera, own))
    return sum((v.start_s if v.end_s is None else v.end_s) - v.start_s for v in visits)


def _pictures(paths: Iterable[Path]) -> list[str]:
    images = (read_image(path) for path in list(paths)[:MAX_CROPS])
    return [data_uri(image, *_CROP_PX) for image in images if image is not None]


def _reference(reference: Reference, names: Mapping[int, str]) -> dict[str, Any]:
    image = read_image(reference.image) if reference.image else None
    mask = read_image(reference.mask, grey=True) if reference.mask else None
    if image is not None and mask is not None:
        image = draw_masks(image, mask, [(s.identity_id, s.value) for s in reference.subjects])
    return {
        "picture": None if image is None else data_uri(image, *_REFERENCE_PX),
        "masked": mask is not None,
        "camera": reference.camera_id,
        "at_s": reference.captured_at_s,
        "chip": _chip(reference.identity_id, names),
        "reason": reference.reason.replace("_", " "),
        "people": [_chip(s.identity_id, names) for s in reference.subjects],
    }


def _stages(run: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Stage → count and percentiles in milliseconds; waits in queues are stages of their own."""
    found = [(str(stage), v) for stage, v in group(run, "latency_ms").items() if is_map(v)]
    waits = group(run, "queue_wait_ms")
    if any(is_map(v) for v in waits.values()):
        found += [(f"wait: {name}", v) for name, v in pairs(waits) if is_map(v)]
    elif waits and waits not in [v for _, v in found]:
        found.append(("wait in queue", waits))
    return found


def _speed(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    throughput, memory = number(run.get("throughput_fps")), number(run.get("memory_peak_mb"))
    speed = []
    if throughput is not None:
        speed.append(("frames a second, all cameras", figure_text(throughput, 1)))
    if memory is not None:
        speed.append(("memory at its peak", f"{memory:,.0f} MB"))
    return speed


def _details(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Models, versions and config as YAML text, without passwords."""
    parts = [(title, run.get(title)) for title in ("models", "versions", "config")]
    return [(t, redacted(yaml.safe_dump(v, allow_unicode=True, sort_keys=False))) for t, v in parts if v]
