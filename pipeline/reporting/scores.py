"""metrics.json as tables for people: each with the ceilings beside it and a sentence on how to read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.reporting.values import NONE, figure_text, group, is_map, number, pairs, seconds_text

_KNOWN = (
    "per_camera", "combined", "cross_camera", "online", "links", "reentry", "ceiling", "gt_boxes", "retrieval",
    "distances", "scored", "warnings",
)  # fmt: skip
_SITE = ("HOTA", "DetA", "AssA", "IDF1", "IDP", "IDR")
_CAMERA = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW", "FN", "FP", "gt_ids", "ids")
_ONLINE = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW")
_LINKS = ("false", "missed", "correct", "precision", "recall")
_RANKS = ("rank1", "rank5", "rank10", "rank20", "mAP", "mAP_trapezoid", "queries", "gallery")
# What the true identities cannot change has no ceiling of its own.
_OF_IDENTITY = {"HOTA", "AssA", "IDF1", "IDP", "IDR", "IDSW", "precision", "recall", "false", "missed", "correct"}
_HEADS = {
    "IDSW": "id switches", "FN": "boxes missed", "FP": "false boxes", "gt_ids": "people",
    "ids": "ids given", "mAP_trapezoid": "mAP (trapezoid)", "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10",
    "rank20": "rank-20", "latency_s_p50": "said after, p50", "latency_s_p95": "p95",
    "reference_latency_s_p50": "reference after, p50", "reference_latency_s_p95": "p95",
}  # fmt: skip
_RESULTS = (  # name of the row, where its figures are, where their ceilings are
    ("final", (), ("ceiling",)),
    ("online", ("online",), ("ceiling",)),
    ("with ground-truth boxes", ("gt_boxes",), ("gt_boxes", "ceiling")),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as text, and its ceiling as text where it has one."""

    text: str
    ceiling: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: name and one cell per column. `reading`: how to read it."""

    title: str
    reading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """The section Scores. `facts`: the few figures to look at first; `other`: groups that nobody here knows."""

    facts: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()
    other: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def scores_of(metrics: Mapping[str, Any]) -> Scores:
    """Everything in `metrics`; groups that are absent have no table, figures that are undefined a dash."""
    makers = (_links, _site, _reentry, _cameras, _online, _retrieval, _scored)
    tables = (make(metrics) for make in makers)
    given = metrics.get("warnings")
    return Scores(
        facts=_facts(metrics),
        tables=tuple(table for table in tables if table is not None),
        other=tuple(_unknown(str(k), v) for k, v in metrics.items() if k not in _KNOWN),
        warnings=tuple(map(str, given)) if isinstance(given, list) else (),
    )


def _facts(metrics: Mapping[str, Any]) -> tuple[tuple[str, Cell], ...]:
    links, reentry, site = group(metrics, "links"), group(metrics, "reentry"), group(metrics, "cross_camera")
    ceiling = group(metrics, "ceiling", "cross_camera")
    facts = [("false links", _cell("false", links, {})), ("missed links", _cell("missed", links, {}))]
    facts += [(f"{name}, all cameras", _cell(name, site, ceiling)) for name in ("IDF1", "HOTA")]
    switches = group(metrics, "combined").get("IDSW")
    facts.append(("id switches in a camera", Cell(figure_text(switches))))
    found, true = number(reentry.get("found")), number(reentry.get("true"))
    if found is not None and true is not None:
        facts += [("re-entries found", Cell(f"{found:.0f} of {true:.0f}"))] if true else []
        facts.append(("false re-entries", _cell("false", reentry, {})))
    return tuple(fact for fact in facts if fact[1].text != NONE)


def _links(metrics: Mapping[str, Any]) -> Table | None:
    reading = (
        "A link says: this is somebody seen before. A false one makes two people one, and is what operators suffer "
        "from; a missed one gives a known person a new number. IDF1 hides both, so look here first."
    )
    return _results("Links", reading, metrics, "links", _LINKS)


def _site(metrics: Mapping[str, Any]) -> Table | None:
    reading = (
        "All cameras as one sequence, with one mapping from ids to people. IDF1 is the share of boxes under the right "
        "person; HOTA = √(DetA · AssA), averaged over how well boxes must fit."
    )
    return _results("The whole site", reading, metrics, "cross_camera", _SITE)


def _reentry(metrics: Mapping[str, Any]) -> Table | None:
    rows = []
    for name, path, _ in _RESULTS:
        found = group(metrics, *path, "reentry")
        if not found:
            continue
        likely = group(found, "likely")
        unsure = f"{figure_text(likely.get('found'))} of {figure_text(likely.get('true'))}" if likely else NONE
        plain = [Cell(figure_text(found.get(c))) for c in ("true", "found", "false", "precision", "recall")]
        kinds = ("latency_s_p50", "latency_s_p95", "reference_latency_s_p50", "reference_latency_s_p95")
        times = [Cell(seconds_text(found.get(c))) for c in kinds]
        rows.append((name, (*plain, *times, Cell(unsure))))
    columns = ("true", "found", "false", "precision", "recall", "said after, p50", "p95", "reference after, p50", "p95",
               "likely, found")  # fmt: skip
    reading = (
        "A return is found when camera and person agree and it lies within 1 s of the true first frame. Times run from "
        "that frame to the event, and to the new reference frame. Returns of which the annotator was not sure are "
        "counted apart."
    )
    return Table("Re-entries", reading, columns, tuple(rows)) if rows else None


def _cameras(metrics: Mapping[str, Any]) -> Table | None:
    reading = (
        "Every camera by itself, and all of them with identities counted per camera. MOTA counts boxes missed, false "
        "boxes and id switches; it may be negative."
    )
    return _per_camera("Cameras, final identities", reading, metrics, (), _CAMERA)


def _online(metrics: Mapping[str, Any]) -> Table | None:
    reading = (
        "The same with the identity that was known when the frame was published: what an operator saw. Boxes without "
        "an identity yet count as wrong, so these lie below the final ones."
    )
    return _per_camera("Cameras, as known online", reading, metrics, ("online",), _ONLINE)


def _per_camera(
    title: str, reading: str, metrics: Mapping[str, Any], path: tuple[str, ...], columns: Sequence[str]
) -> Table | None:
    cameras = group(metrics, *path, "per_camera")
    names = [name for name, _ in pairs(cameras)]
    entries = [(name, group(cameras, name), group(metrics, "ceiling", "per_camera", name)) for name in names]
    entries.append(("together", group(metrics, *path, "combined"), group(metrics, "ceiling", "combined")))
    return _table(title, reading, columns, [entry for entry in entries if entry[1]])


def _retrieval(metrics: Mapping[str, Any]) -> Table | None:
    names = {"cross_camera": "in other cameras", "other_visit": "in other visits"}
    found = group(metrics, "retrieval")
    none: Mapping[str, Any] = {}
    entries = [(names.get(name, str(name)), group(found, name), none) for name in found if group(found, name)]
    reading = (
        "Clips of the annotated tracks search for each other, so tracker and matcher have no part in it: rank-k is the "
        "share of queries with the right person among the k nearest. mAP averages the precision at each hit (rectangle "
        "rule); “trapezoid” is the rule of the Market-1501 and MARS evaluations, never greater. Compare only within "
        "one rule."
    )
    clips, left_out = number(found.get("clips")), number(found.get("left_out"))
    if clips is not None:
        reading += f" {clips:,.0f} clips took part."
    if left_out:
        reading += f" {left_out:,.0f} more show nobody, or more than one person, and were left out."
    return _table("Clip retrieval", reading, _RANKS, entries)


def _scored(metrics: Mapping[str, Any]) -> Table | None:
    scored = group(metrics, "scored")
    rows = []
    for camera, one in pairs(scored):
        if is_map(one):
            cells = [Cell(figure_text(one.get(c))) for c in ("frames", "gt_boxes", "boxes")]
            left_out = [f"{figure_text(n)} {reason}" for reason, n in pairs(one.get("left_out")) if number(n)]
            rows.append((camera, (*cells, Cell(", ".join(left_out) or "none"))))
    columns = ("frames scored", "annotated boxes", "result boxes", "result boxes left out")
    reading = "What the figures rest on. Result boxes that are left out count neither as right nor as wrong."
    return Table("What was scored", reading, columns, tuple(rows)) if rows else None


def _results(title: str, reading: str, metrics: Mapping[str, Any], name: str, columns: Sequence[str]) -> Table | None:
    entries = [(row, group(metrics, *path, name), group(metrics, *ceiling, name)) for row, path, ceiling in _RESULTS]
    return _table(title, reading, columns, [entry for entry in entries if entry[1]])


def _table(
    title: str,
    reading: str,
    columns: Sequence[str],
    entries: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
) -> Table | None:
    """A row per entry (name, figures, ceilings), without the columns that no entry has."""
    kept = [c for c in columns if any(c in figures for _, figures, _ in entries)]
    if not kept:
        return None
    rows = tuple((name, tuple(_cell(c, figures, ceiling) for c in kept)) for name, figures, ceiling in entries)
    return Table(title, reading, tuple(_HEADS.get(c, c) for c in kept), rows)


def _cell(column: str, figures: Mapping[str, Any], ceiling: Mapping[str, Any]) -> Cell:
    limit = figure_text(ceiling.get(column)) if column in _OF_IDENTITY and column in ceiling else NONE
    return Cell(figure_text(figures.get(column)), None if limit == NONE else limit)


def _unknown(name: str, value: Any) -> Table:
    """A group of groups gets a row per inner group, the plain values of one share a row."""
    value = value if is_map(value) else {"value": value}
    inner = {str(k): v for k, v in value.items() if is_map(v)}
    plain = {str(k): v for k, v in value.items() if not is_map(v)}
    rows = {**inner, **({"": plain} if plain else {})}
    columns = tuple(dict.fromkeys(str(c) for row in rows.values() for c in row))
    cells = tuple((row_name, tuple(Cell(figure_text(row.get(c))) for c in columns)) for row_name, row in rows.items())
    return Table(name.replace("_", " "), "", columns, cells)
