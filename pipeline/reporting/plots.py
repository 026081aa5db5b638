"""Draws the plots of report and comparison as SVG data URIs; the only module that imports matplotlib.

Nothing is kept between calls (no pyplot), and equal input gives equal bytes: fixed salt for ids, no date. Text stays
text, so that a browser shows names of every script in its own fonts.
"""

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Okabe and Ito's colours (2008), told apart by people with any of the common colour blindnesses.
BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE = "#0072b2", "#56b4e9", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
GREY, DARK, SOFT, EDGE = "#9aa3b2", "#1c2330", "#667085", "#e3e7ee"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, DARK, GREY)
MARKERS = "osD^vPX*"

WIDE_PX, HALF_PX = 1080, 528  # a whole and a half line of the page
_PX_PER_INCH = 96.0  # CSS
_ROW_PX = 17.0  # of a timeline
_TEXT_HEIGHT = 0.09  # of a value in a bar, as a share of the axis
_NOT_XML = bytes(set(range(32)) - set(b"\t\n\r"))  # a browser shows nothing of a picture that holds one of these
_STYLE = {
    "svg.hashsalt": "plots",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with $ is a name
    "font.family": ["sans-serif"],
    "font.size": 9.0,  # points: 12 px
    "axes.edgecolor": GREY,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.unicode_minus": False,
    "grid.color": EDGE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.color": DARK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": DARK,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a legend, with a value per place; None where there is none."""

    name: str
    values: tuple[float | None, ...]
    colour: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between `edges`, n + 1 rising numbers for n counts."""

    name: str
    counts: tuple[float, ...]
    colour: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of a timeline: (start, end) spans and the times of re-entries, in seconds."""

    label: str
    colour: str
    spans: tuple[tuple[float, float], ...]
    returns: tuple[float, ...] = ()


def bars(
    places: Sequence[str], series: Sequence[Series], *, ceilings: Mapping[str, Sequence[int]] | None = None
) -> str:
    """Grouped bars of fractions, values written into them; below 0 a bar has no height and the value says it.

    Args:
        ceilings: names of series that are drawn as a stroke, with the places of the other series that it is over.
    """
    ceilings = ceilings or {}
    shown = [one for one in series if one.name not in ceilings]
    with _figure(WIDE_PX, 260) as (figure, axes):
        x = np.arange(len(places), dtype=np.float64)
        width = 0.82 / max(len(shown), 1)
        lefts = [x - 0.41 + i * width for i in range(len(shown))]
        for left, one in zip(lefts, shown, strict=True):
            heights = [min(max(v, 0.0), 1.0) if v is not None else 0.0 for v in one.values]
            axes.bar(left + width / 2, heights, 0.92 * width, color=one.colour, label=one.name)
            for at, height, value in zip(left + width / 2, heights, one.values, strict=True):
                _write_value(axes, at, height, value, one.colour)
        for one in series:
            if over := ceilings.get(one.name):
                begin, end = lefts[min(over)], lefts[max(over)] + width
                given = [(a, b, v) for a, b, v in zip(begin, end, one.values, strict=True) if v is not None]
                dashes = "solid" if 0 in over else (0, (3, 1))
                axes.hlines(
                    [v for *_, v in given], [a for a, *_ in given], [b for _, b, _ in given],
                    colors=DARK, linestyles=dashes, linewidth=2.2, label=one.name,
                )  # fmt: skip
        axes.set_xticks(x, [_short(p, 18) for p in places])
        axes.tick_params(axis="x", length=0, labelcolor=DARK)
        axes.set_xlim(-0.55, len(places) - 0.45)
        axes.set_ylim(0, 1.03)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.grid(axis="y")
        _legend_above(figure, axes)
        return _data_uri(figure)


def _write_value(axes: Axes, x: float, height: float, value: float | None, colour: str) -> None:
    """The value at the foot of its bar, where no other bar or stroke is."""
    text = "–" if value is None else f"{value:.2f}"
    on_dark = colour in (BLUE, DARK) and height > _TEXT_HEIGHT
    axes.text(x, 0.02, text, ha="center", va="bottom", fontsize=8, color="white" if on_dark else DARK)


def histograms(
    edges: Sequence[float],
    shown: Sequence[Histogram],
    *,
    threshold: float | None = None,
    x_label: str = "distance",
    y_label: str = "share",
) -> str:
    """Histograms over each other, each with its own area 1, so that few same pairs show beside many different ones."""
    with _figure(HALF_PX, 270) as (figure, axes):
        for one in shown:
            total = sum(one.counts)
            shares = [n / total if total else 0.0 for n in one.counts]
            axes.stairs(shares, edges, fill=True, color=one.colour, alpha=0.35)
            axes.stairs(shares, edges, color=one.colour, linewidth=1.5, label=one.name)
        if threshold is not None:
            axes.axvline(
                threshold, color=DARK, linewidth=1.4, linestyle=(0, (4, 2)), label=f"threshold {threshold:.3g}"
            )
        filled = [i for i in range(len(edges) - 1) if any(one.counts[i] for one in shown)]
        low = min([edges[filled[0]] if filled else edges[0], *([threshold] if threshold is not None else [])])
        high = max([edges[filled[-1] + 1] if filled else edges[-1], *([threshold] if threshold is not None else [])])
        margin = 0.03 * (high - low or 1.0)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        _legend_above(figure, axes, columns=1)
        return _data_uri(figure)


def ranges(stages: Sequence[tuple[str, float, float, float]], *, x_label: str) -> str:
    """A row per stage with its p50, p95 and p99 on a logarithmic axis; values of 0 and below stand at its left end."""
    with _figure(HALF_PX, 84 + 21 * max(len(stages), 3)) as (figure, axes):
        y = np.arange(len(stages))[::-1]
        values = np.array([s[1:] for s in stages], np.float64).reshape(-1, 3)
        least = values[values > 0].min() if (values > 0).any() else 1e-3
        values = np.maximum(values, least)
        axes.hlines(y, values[:, 0], values[:, 2], colors=GREY, linewidth=2.2)
        for column, (name, marker, colour) in enumerate((("p50", "o", BLUE), ("p95", "D", ORANGE), ("p99", "|", DARK))):
            axes.plot(values[:, column], y, marker, color=colour, markersize=6.5 if marker != "|" else 11, label=name)
        axes.set_xscale("log")
        axes.set_xlim(least / 1.6, values.max(initial=least) * 1.6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
        axes.set_yticks(y, [_short(s[0], 20) for s in stages])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(stages) - 0.3)
        axes.set_xlabel(x_label)
        axes.grid(axis="x")
        _legend_above(figure, axes)
        return _data_uri(figure)


def dots(places: Sequence[str], series: Sequence[Series]) -> str:
    """A row per place with a mark per series on an axis of fractions, and a line between the least and the greatest.

    The axis begins where the values do, never below 0; values below 0 stand at its left end.
    """
    least = min((v for one in series for v in one.values if v is not None), default=0.0)
    lowest = max(0.0, math.floor(10 * least - 0.2) / 10)
    with _figure(WIDE_PX, 76 + 26 * max(len(places), 2)) as (figure, axes):
        y = np.arange(len(places))[::-1]
        for place, at in enumerate(y):
            given = [v for one in series if (v := one.values[place]) is not None]
            if len(given) > 1:
                axes.hlines([at], [max(min(given), lowest)], [max(given)], colors=EDGE, linewidth=4)
        for i, one in enumerate(series):
            apart = 0.22 * (i - (len(series) - 1) / 2) if len(series) <= 5 else 0.0  # equal values stay visible
            found = [(max(v, lowest), at - apart) for v, at in zip(one.values, y, strict=True) if v is not None]
            marker = MARKERS[i % len(MARKERS)]
            axes.plot(
                [v for v, _ in found], [at for _, at in found], marker, color=one.colour, markersize=6.5,
                markeredgecolor="white", markeredgewidth=0.8, label=_short(one.name, 30),
            )  # fmt: skip
        axes.set_yticks(y, [_short(p, 30) for p in places])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(places) - 0.3)
        axes.set_xlim(lowest - 0.02 * (1 - lowest), 1 + 0.02 * (1 - lowest))
        axes.grid(axis="x")
        _legend_above(figure, axes)
        return _data_uri(figure)


def timeline(lanes: Mapping[str, Sequence[Lane]], *, marks: Sequence[tuple[float, str]], x_label: str) -> str:
    """Who is where and when: a block per camera, a row per identity; triangles mark re-entries.

    Args:
        lanes: camera → its rows. marks: places of the time axis and their texts.
    """
    rows = sum(len(own) + 1.35 for own in lanes.values())
    with _figure(WIDE_PX, 62 + _ROW_PX * rows) as (figure, axes):
        y, labels = 0.0, []
        times = [t for own in lanes.values() for lane in own for span in lane.spans for t in span]
        low, high = (min(times), max(times)) if times else (0.0, 1.0)
        span_s = max(high - low, 1e-9)
        for camera, own in lanes.items():
            y += 1.35
            axes.text(0.0, y - 0.52, _short(camera, 60), transform=axes.get_yaxis_transform(), fontweight="bold",
                      va="bottom", fontsize=9.5)  # fmt: skip
            for lane in own:
                # a stay of one frame must still be seen: at least 2 px
                pieces = [(a, max(b - a, span_s / 500)) for a, b in lane.spans]
                axes.broken_barh(pieces, (y - 0.36, 0.72), facecolors=lane.colour)
                axes.plot(lane.returns, [y] * len(lane.returns), marker=">", color=DARK, markersize=5.5,
                          markeredgecolor="white", markeredgewidth=0.7, linestyle="none", zorder=3)  # fmt: skip
                labels.append((y, _short(lane.label, 14)))
                y += 1.0
        axes.set_yticks([at for at, _ in labels], [text for _, text in labels])
        axes.set_xticks([at for at, _ in marks], [text for _, text in marks])
        axes.tick_params(axis="both", length=0)
        axes.tick_params(axis="x", labeltop=True)
        axes.set_xlim(low - 0.005 * span_s, high + 0.01 * span_s)
        axes.set_ylim(y - 0.3, 0.0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlabel(x_label)
        axes.grid(axis="x")
        return _data_uri(figure)


@contextmanager
def _figure(width_px: float, height_px: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of its own in the house style, whatever matplotlib's settings of this process are."""
    default = {k: v for k, v in matplotlib.rcParamsDefault.items() if k != "backend"}
    with matplotlib.rc_context({**default, **_STYLE}), warnings.catch_warnings():
        # letters that matplotlib's font lacks are drawn by the browser; deprecations are no business of the reader
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _legend_above(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        bars_first = sorted(range(len(names)), key=lambda i: not isinstance(handles[i], BarContainer))
        handles, names = [handles[i] for i in bars_first], [names[i] for i in bars_first]
        figure.legend(handles, names, loc="outside upper left", ncols=columns or min(len(handles), 5), handlelength=1.6)


def _short(text: str, most: int) -> str:
    """One line of printable characters, cut with an ellipsis."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[attr-defined]
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue().translate(None, _NOT_XML)).decode()
