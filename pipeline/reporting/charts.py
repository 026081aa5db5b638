"""Chooses what to plot of a run's figures: scores against ceilings, distances, times per stage, delays of returns."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.reporting.plots import BLUE, DARK, ORANGE, SKY, Histogram, Series, bars, histograms, ranges
from pipeline.reporting.report_inputs import Event
from pipeline.reporting.values import group, is_map, number

_FIGURES = (  # label, where the figure is
    ("site HOTA", ("cross_camera", "HOTA")),
    ("site IDF1", ("cross_camera", "IDF1")),
    ("cameras HOTA", ("combined", "HOTA")),
    ("cameras IDF1", ("combined", "IDF1")),
    ("cameras MOTA", ("combined", "MOTA")),
    ("links precision", ("links", "precision")),
    ("links recall", ("links", "recall")),
    ("re-entry precision", ("reentry", "precision")),
    ("re-entry recall", ("reentry", "recall")),
)
_CEILING, _TRUTH_CEILING = "ceiling: same boxes, true identities", "ceiling with ground-truth boxes"
_SERIES = (
    ("online", ("online",), SKY),
    ("final", (), BLUE),
    ("with ground-truth boxes", ("gt_boxes",), ORANGE),
    (_CEILING, ("ceiling",), DARK),
    (_TRUTH_CEILING, ("gt_boxes", "ceiling"), DARK),
)
_LEAST_VALUES = 8  # fewer make no histogram
_GREATEST = 1e9  # of anything plotted; beyond it lies damage, and the end of what an axis can show
_BINS = (10, 30)  # for few and for many values


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing as data URI, what it shows in a title, and one sentence on how to read it; `is_wide`: takes a line."""

    title: str
    picture: str
    reading: str
    is_wide: bool = False


def score_plot(metrics: Mapping[str, Any]) -> Plot | None:
    """Fractions beside their ceilings; None when nothing of it is defined."""
    rows = [(label, path) for label, path in _FIGURES if _fraction(metrics, (), path) is not None]
    if not rows:
        return None
    series = [Series(name, tuple(_fraction(metrics, at, path) for _, path in rows), c) for name, at, c in _SERIES]
    series = [one for one in series if any(v is not None for v in one.values)]
    bar_names = [one.name for one in series if one.name not in (_CEILING, _TRUTH_CEILING)]
    truth = [i for i, name in enumerate(bar_names) if name == "with ground-truth boxes"]
    ceilings = {_CEILING: [i for i in range(len(bar_names)) if i not in truth]}
    if truth:
        ceilings[_TRUTH_CEILING] = truth
    reading = (
        "The stroke over a bar is its ceiling: the same boxes with every identity right. From the bar to the stroke is "
        "the matcher's to win, from the stroke to 1 the detector's and the tracker's."
    )
    picture = bars([label for label, _ in rows], series, ceilings=ceilings)
    return Plot("Figures and their ceilings", picture, reading, is_wide=True)


def distance_plot(metrics: Mapping[str, Any], threshold: float | None) -> Plot | None:
    """Distances of pairs of clips, same people and different, by the ground truth."""
    found = group(metrics, "distances")
    edges, same, different = (_numbers(found.get(name)) for name in ("edges", "same", "different"))
    if len(edges) < 2 or len(same) != len(edges) - 1 or len(different) != len(same) or not sum(same) + sum(different):
        return None
    if any(b <= a for a, b in pairwise(edges)) or min(same + different) < 0:
        return None
    shown = [
        _named("same person", same, edges, threshold, True),
        _named("different people", different, edges, threshold, False),
    ]
    reading = "The further apart the two hills, the easier the matching; the wrong side of the line is where it errs."
    if isinstance(found.get("basis"), str):
        reading += f" Who is who, by {found['basis']}."
    picture = histograms(edges, [h for h in shown if sum(h.counts)], threshold=threshold, y_label="share of its pairs")
    return Plot("Distances of same and different people", picture, reading)


def decision_plot(events: Sequence[Event], threshold: float | None) -> Plot | None:
    """Distances at which the matcher linked, and those of the next best; needs no ground truth."""
    linked, runner_up = [], []
    for event in events:
        distance = plottable(event.evidence.get("distance"))
        second = event.evidence.get("runner_up")
        if event.kind in ("handed_over", "reentered", "continued") and distance is not None:
            linked.append(distance)
            if isinstance(second, list | tuple) and len(second) == 2 and plottable(second[1]) is not None:
                runner_up.append(float(second[1]))
    if len(linked) < _LEAST_VALUES:
        return None
    edges = _edges([*linked, *runner_up, *([threshold] if threshold is not None else [])])
    shown = [Histogram(f"linked ({len(linked):,})", _counts(linked, edges), BLUE)]
    if runner_up:
        shown.append(Histogram(f"next best identity ({len(runner_up):,})", _counts(runner_up, edges), ORANGE))
    reading = "Links close to the line, or where the next best lies as near, are those to doubt first."
    picture = histograms(edges, shown, threshold=threshold, y_label="share of its links")
    return Plot("Distances of the links that were made", picture, reading)


def delay_plot(events: Sequence[Event]) -> Plot | None:
    """How long after a returning person became visible the return was said."""
    delays = [min(max(0.0, e.decided_at_s - e.at_s), _GREATEST) for e in events if e.kind == "reentered"]
    if len(delays) < _LEAST_VALUES:
        return None
    p50, p95 = (float(v) for v in np.percentile(delays, (50, 95)))
    edges = _edges([0.0, *delays])
    shown = [Histogram(f"{len(delays):,} re-entries; p50 {p50:.2f} s, p95 {p95:.2f} s", _counts(delays, edges), BLUE)]
    picture = histograms(edges, shown, x_label="first visible to event, s", y_label="share of re-entries")
    return Plot("How soon a return was said", picture, "Message time, from the first box of the return.")


def latency_plot(stages: Sequence[tuple[str, Mapping[str, Any]]]) -> Plot | None:
    """p50, p95 and p99 of every stage that has all three, milliseconds."""
    rows = []
    for name, figures in stages:
        values = [plottable(figures.get(p)) for p in ("p50", "p95", "p99")]
        if all(v is not None and v >= 0 for v in values):
            rows.append((name.replace("_", " "), *(v for v in values if v is not None)))
    if not rows:
        return None
    picture = ranges(rows, x_label="ms, logarithmic")  # type: ignore[arg-type]
    return Plot("Time per stage", picture, "Half of all calls took up to p50, all but one in a hundred up to p99.")


def threshold_of(events: Sequence[Event]) -> float | None:
    """The matcher's threshold: the one that most decisions name."""
    named = Counter(t for e in events if (t := plottable(e.evidence.get("threshold"))) is not None)
    return min(named, key=lambda t: (-named[t], t)) if named else None


def beyond_share(counts: Sequence[float], edges: Sequence[float], threshold: float) -> float | None:
    """The share of a histogram above the threshold; a bin that it divides counts in proportion. None without any."""
    total = sum(counts)
    if not total:
        return None
    above = 0.0
    for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        above += n * min(max((high - threshold) / (high - low), 0.0), 1.0)
    return above / total


def _named(
    name: str, counts: tuple[float, ...], edges: Sequence[float], threshold: float | None, is_same: bool
) -> Histogram:
    text = f"{name}: {sum(counts):,.0f} pairs"
    above = beyond_share(counts, edges, threshold) if threshold is not None else None
    if above is not None:
        text += f", {_percent(above)} above the threshold" if is_same else f", {_percent(1 - above)} below it"
    return Histogram(text, counts, BLUE if is_same else ORANGE)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 or share <= 0 else "<0.1 %"


def plottable(value: Any) -> float | None:
    """A number of a size that occurs, or None."""
    found = number(value)
    return found if found is not None and abs(found) <= _GREATEST else None


def _fraction(metrics: Mapping[str, Any], at: tuple[str, ...], path: tuple[str, str]) -> float | None:
    return plottable(group(metrics, *at, path[0]).get(path[1]))


def _numbers(value: Any) -> tuple[float, ...]:
    """A list of finite numbers; empty for anything else."""
    if not isinstance(value, list) or is_map(value):
        return ()
    found = tuple(n for v in value if (n := plottable(v)) is not None)
    return found if len(found) == len(value) else ()


def _edges(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    bins = min(max(math.isqrt(4 * len(values)), _BINS[0]), _BINS[1])
    step = (high - low) / bins or 1.0 / bins
    return [low + i * step for i in range(bins + 1)]


def _counts(values: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    """Counts between edges; the last bin holds its right end, rounding included."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), np.asarray(edges))
    return tuple(float(n) for n in counts)
