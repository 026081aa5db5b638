"""Several results side by side: what changed against the first one, and whether for the better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.reporting.pages import write_page
from pipeline.reporting.plots import SERIES, Series, dots
from pipeline.reporting.values import NONE, figure_text, group, natural_key, number

Verdict = Literal["better", "worse", "same", ""]

_MAIN = (  # heading, where, figures
    ("links", ("links",), ("false", "missed", "correct", "precision", "recall")),
    ("the whole site", ("cross_camera",), ("HOTA", "AssA", "IDF1", "IDP", "IDR")),
    ("cameras together", ("combined",), ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW", "FN", "FP")),
    ("re-entries", ("reentry",), ("found", "false", "precision", "recall", "latency_s_p50", "latency_s_p95",
                                  "reference_latency_s_p50")),
    ("online, the whole site", ("online", "cross_camera"), ("HOTA", "IDF1")),
    ("online, cameras together", ("online", "combined"), ("HOTA", "IDF1", "IDSW")),
    ("online links", ("online", "links"), ("false", "missed")),
    ("ceiling, the whole site", ("ceiling", "cross_camera"), ("HOTA", "IDF1")),
    ("clip retrieval, other cameras", ("retrieval", "cross_camera"), ("rank1", "mAP")),
    ("clip retrieval, other visits", ("retrieval", "other_visit"), ("rank1", "mAP")),
)  # fmt: skip
_OF_CAMERA = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW")
_LOWER_IS_BETTER = {"IDSW", "FN", "FP", "false", "missed", "latency_s_p50", "latency_s_p95", "reference_latency_s_p50"}
_PLOTTED = {"HOTA", "IDF1", "MOTA", "precision", "recall"}  # fractions that people quote
_NAMES = {
    "IDSW": "id switches", "FN": "boxes missed", "FP": "false boxes", "latency_s_p50": "said after, p50, s",
    "latency_s_p95": "said after, p95, s", "reference_latency_s_p50": "reference after, p50, s", "rank1": "rank-1",
}  # fmt: skip
_ROUNDING = 5e-7  # below what metrics.json means: sums of floats
_MAX_PLOTTED_CAMERAS = 30
_TERMINAL_NAME = 22  # characters of a result's name in a column


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of every result: `values` in the order of the names; changes are against the first.

    Attributes:
        heading: the group that it belongs to. name: as shown.
        changes, verdicts: one per result, None and "" for the first and where one of the two is undefined.
    """

    heading: str
    name: str
    values: tuple[float | None, ...]
    changes: tuple[float | None, ...]
    verdicts: tuple[Verdict, ...]
    is_count: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Results side by side.

    Attributes:
        rows: the site's figures; those that no result has are left out. cameras: camera → its figures.
        warnings: why a difference may not mean what it seems to.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    cameras: Mapping[str, tuple[Row, ...]]
    warnings: tuple[str, ...]


def compare(results: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Name → the content of a metrics.json; the first is what the others are held against. None at all is fine."""
    found = list(results.values())
    rows = [row for heading, path, keys in _MAIN for key in keys if (row := _row(found, heading, path, key))]
    cameras: dict[str, tuple[Row, ...]] = {}
    for camera in sorted({str(c) for one in found for c in group(one, "per_camera")}, key=natural_key):
        own = [row for key in _OF_CAMERA if (row := _row(found, camera, ("per_camera", camera), key))]
        if own:
            cameras[camera] = tuple(own)
    return Comparison(tuple(map(str, results)), tuple(rows), cameras, _warnings(results))


def comparison_table(comparison: Comparison) -> str:
    """The comparison as lines for a terminal: each value with its change and whether that is better or worse."""
    if not comparison.names:
        return "nothing to compare"
    lines = [f"warning: {warning}" for warning in comparison.warnings]
    shown = [_short(name) for name in comparison.names]
    body: list[tuple[str, list[str]] | str] = []
    for rows in (comparison.rows, *comparison.cameras.values()):
        heading = ""
        for row in rows:
            if row.heading != heading:
                heading = row.heading
                body.append(heading)
            body.append((f"  {row.name}", [_cell(row, i) for i in range(len(shown))]))
    label = max([len(b[0]) for b in body if not isinstance(b, str)] + [8])
    widths = [max([len(shown[i])] + [len(b[1][i]) for b in body if not isinstance(b, str)]) for i in range(len(shown))]
    lines.append(" " * label + "".join(f"  {name:>{width}}" for name, width in zip(shown, widths, strict=True)))
    for entry in body:
        if isinstance(entry, str):
            lines.append(entry)
        else:
            lines.append(f"{entry[0]:<{label}}" + "".join(f"  {c:>{w}}" for c, w in zip(entry[1], widths, strict=True)))
    if len(shown) > 1:
        lines.append(f"in brackets the change against {shown[0]}")
    return "\n".join(line.rstrip() for line in lines)


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write the comparison as one HTML page that stands alone; an older one is replaced whole.

    Raises:
        OutputError: it cannot be written.
    """
    changed = [row for row in comparison.rows if any(v in ("better", "worse") for v in row.verdicts)]
    return write_page(
        path,
        "comparison.html",
        names=comparison.names,
        warnings=comparison.warnings,
        summary=_summary(comparison),
        unchanged=bool(comparison.rows) and len(comparison.names) > 1 and not changed,
        rows=comparison.rows,
        camera_rows=[row for own in comparison.cameras.values() for row in own],
        plots=_plots(comparison),
        value=lambda row, i: _value(row, row.values[i]),
        change=_change_text,
    )


def _row(results: Sequence[Mapping[str, Any]], heading: str, path: tuple[str, ...], key: str) -> Row | None:
    raw = [group(one, *path).get(key) for one in results]
    values = tuple(number(v) for v in raw)
    if all(v is None for v in values):
        return None
    first = values[0]
    changes = tuple(None if i == 0 or v is None or first is None else v - first for i, v in enumerate(values))
    verdicts = tuple(_verdict(change, key in _LOWER_IS_BETTER) for change in changes)
    is_count = all(isinstance(v, int) for v in raw if v is not None)
    return Row(heading, _NAMES.get(key, key), values, changes, verdicts, is_count)


def _verdict(change: float | None, lower_is_better: bool) -> Verdict:
    if change is None:
        return ""
    if abs(change) < _ROUNDING:
        return "same"
    return "better" if (change < 0) == lower_is_better else "worse"


def _warnings(results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Results that were not scored on the same annotation cannot be held against each other."""
    warnings: list[str] = []
    if not results:
        return ()
    first_name, first = next(iter(results.items()))
    for name, one in results.items():
        cameras, others = set(group(first, "scored")), set(group(one, "scored"))
        if cameras != others:
            lost = ", ".join(sorted(map(str, cameras ^ others), key=natural_key))
            warnings.append(f"{name} and {first_name} were not scored on the same cameras ({lost})")
        differ = [str(c) for c in cameras & others if _basis(first, c) != _basis(one, c)]
        if differ:
            where = ", ".join(sorted(differ, key=natural_key))
            warnings.append(f"{name} and {first_name} were not scored on the same annotated frames or boxes in {where}")
    return tuple(warnings)


def _basis(metrics: Mapping[str, Any], camera: str) -> tuple[Any, Any]:
    scored = group(metrics, "scored", camera)
    return scored.get("frames"), scored.get("gt_boxes")


def _summary(comparison: Comparison) -> list[tuple[str, int, int, int]]:
    """Per result but the first: how many of the site's figures are better, worse, and the same."""
    found = []
    for i, name in enumerate(comparison.names[1:], start=1):
        verdicts = [row.verdicts[i] for row in comparison.rows]
        found.append((name, verdicts.count("better"), verdicts.count("worse"), verdicts.count("same")))
    return found


def _plots(comparison: Comparison) -> list[tuple[str, str]]:
    """(title, data URI): the site's fractions, and HOTA and IDF1 of each camera."""
    drawn = [(f"{row.heading}: {row.name}", row) for row in comparison.rows if row.name in _PLOTTED]
    plots = [("The site's figures", drawn)]
    for name in ("HOTA", "IDF1"):
        of_cameras = [(camera, row) for camera, rows in comparison.cameras.items() for row in rows if row.name == name]
        plots.append((f"{name} of each camera", of_cameras[:_MAX_PLOTTED_CAMERAS]))
    return [(title, _dots(comparison.names, entries)) for title, entries in plots if entries]


def _dots(names: Sequence[str], entries: Sequence[tuple[str, Row]]) -> str:
    series = [
        Series(name, tuple(row.values[i] for _, row in entries), SERIES[i % len(SERIES)])
        for i, name in enumerate(names)
    ]
    return dots([label for label, _ in entries], series)


def _value(row: Row, value: float | None) -> str:
    return NONE if value is None else figure_text(round(value) if row.is_count else value, 4)


def _change_text(row: Row, place: int) -> str:
    """The change with its sign; nothing for the first result, and where there is no difference."""
    change = row.changes[place]
    if change is None or row.verdicts[place] == "same":
        return ""
    return f"{change:+,.0f}" if row.is_count else f"{change:+.4f}"


def _cell(row: Row, place: int) -> str:
    text = _value(row, row.values[place])
    if place == 0 or row.changes[place] is None:
        return text
    return f"{text} ({_change_text(row, place)} {row.verdicts[place]})".replace("( ", "(")


def _short(name: str) -> str:
    return name if len(name) <= _TERMINAL_NAME else "…" + name[-_TERMINAL_NAME + 1 :]
