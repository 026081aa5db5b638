"""The run for people: one HTML file without any other file, made from what lies in the output folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeGuard

import yaml
from jinja2 import Environment, StrictUndefined

from pipeline.errors import OutputError
from pipeline.reporting.report_inputs import Event, Inputs, Reference, natural_key, number, read_inputs, redacted
from pipeline.view.colours import UNIDENTIFIED_FROM, hex_colour, identity_colour, text_colour
from pipeline.view.thumbnails import data_uri, draw_masks, read_image
from pipeline.view.timeline import timeline_of
from pipeline.view.visits import Visit, visits_of
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label

MAX_EVENTS = 500  # rows; a browser stays quick and the page below a megabyte
MAX_IDENTITIES = 120
MAX_CROPS = 8  # of one identity
MAX_REFERENCES = 48
_CROP_PX = (96, 160)
_REFERENCE_PX = (480, 360)


def write_report(out_dir: Path) -> Path:
    """Write `report.html` into a run's output folder and give its path; an older one is replaced whole.

    Missing or damaged inputs leave their part of the page out, with a word about it.

    Raises:
        OutputError: the folder is missing, or the file cannot be written.
    """
    if not out_dir.is_dir():
        raise OutputError(f"no report: {out_dir} is no folder")
    page = render_report(read_inputs(out_dir))
    target = out_dir / "report.html"
    partial = out_dir / ".report.html.partial"
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error.strerror}; free some space or check the folder") from None
    return target


def render_report(inputs: Inputs) -> str:
    """The page as text. Every value is escaped; the page runs no script and loads nothing."""
    names = {e.identity_id: e.name for e in inputs.events if e.kind == "renamed" and e.name}
    visits = visits_of(inputs.events)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(clock=clock_text, duration=duration_text, figure=_figure)
    template = environment.from_string(
        (files("pipeline.reporting") / "templates" / "report.html").read_text(encoding="utf-8")
    )
    return template.render(
        site=str(inputs.run.get("site") or "Run"),
        facts=_facts(inputs, visits),
        warnings=inputs.warnings,
        cameras=_cameras(inputs, visits),
        timeline=timeline_of(visits, names),
        returns=[_event_row(e, names) for e in inputs.events if e.kind == "reentered"][:MAX_EVENTS],
        events=[_event_row(e, names) for e in inputs.events[:MAX_EVENTS]],
        event_count=len(inputs.events),
        identities=_identities(inputs, visits, names),
        identity_limit=MAX_IDENTITIES,
        references=[_reference(r, names) for r in inputs.references[-MAX_REFERENCES:]],
        reference_count=len(inputs.references),
        latency=_latency(inputs.run),
        losses=_pairs(inputs.run.get("losses")),
        metrics=_metric_tables(inputs.metrics),
        details=_details(inputs.run),
    )


def _figure(value: Any, digits: int = 3) -> str:
    """A number for a table: counts whole, measures with so many digits; a dash where there is none."""
    if isinstance(value, str):
        return value
    found = number(value)
    if found is None:
        return "–"
    return f"{found:,.0f}" if isinstance(value, int) or abs(found) >= 1000 else f"{found:,.{digits}f}"


def _facts(inputs: Inputs, visits: Sequence[Visit]) -> list[tuple[str, str]]:
    run = inputs.run
    started, duration = run.get("started"), number(run.get("duration_s"))
    kinds = Counter(e.kind for e in inputs.events)
    frames = sum(int(number(n) or 0) for _, n in _pairs(run.get("frames")))
    facts = [
        ("identities", _figure(len({v.identity_id for v in visits}))),
        ("re-entries", _figure(kinds["reentered"])),
        ("hand-overs", _figure(kinds["handed_over"])),
        ("frames", _figure(frames)),
        ("duration", "–" if duration is None else duration_text(duration)),
    ]
    if started is not None:
        at_s = number(started)
        facts.append(("started", str(started) if at_s is None else clock_text(at_s, 0)))
    return facts


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """A mapping's items in natural order; nothing else has any."""
    if not _is_map(value):
        return []
    return sorted(((str(k), v) for k, v in value.items()), key=lambda pair: natural_key(pair[0]))


def _is_map(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _cameras(inputs: Inputs, visits: Sequence[Visit]) -> list[dict[str, Any]]:
    frames, fps = dict(_pairs(inputs.run.get("frames"))), dict(_pairs(inputs.run.get("fps")))
    ids = {*frames, *fps, *(v.camera_id for v in visits), *(camera for camera, _ in inputs.boxes)}
    stays = Counter(v.camera_id for v in visits)
    returns = Counter(v.camera_id for v in visits if v.kind == "reentered")
    boxes: Counter[str] = Counter()
    for (camera, _), count in inputs.boxes.items():
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
            "seen_s": sum((v.end_s or v.start_s) - v.start_s for v in own.get(identity_id, [])),
        }
        for identity_id in ids
    ]


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


def _latency(run: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    stages = run.get("latency_ms")
    if not _is_map(stages):
        return []
    columns = ("count", "p50", "p95", "p99")
    return [(str(stage), [v.get(c) for c in columns]) for stage, v in stages.items() if _is_map(v)]


def _metric_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """metrics.json as tables: a group of groups gets a row per inner group, the plain numbers of one share a row."""
    tables = []
    for name, group in metrics.items():
        if not _is_map(group):
            group = {"value": group}
        inner = {str(k): v for k, v in group.items() if _is_map(v)}
        plain = {str(k): v for k, v in group.items() if not _is_map(v)}
        rows = {**inner, **({"": plain} if plain else {})}
        columns = list(dict.fromkeys(str(c) for row in rows.values() for c in row))
        cells = [(row_name, [row.get(c) for c in columns]) for row_name, row in rows.items()]
        tables.append({"name": str(name).replace("_", " "), "columns": columns, "rows": cells, "named": bool(inner)})
    return tables


def _details(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Models, versions and config as YAML text, without passwords."""
    parts = [(title, run.get(title)) for title in ("models", "versions", "config")]
    return [(t, redacted(yaml.safe_dump(v, allow_unicode=True, sort_keys=False))) for t, v in parts if v]
