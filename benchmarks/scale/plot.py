"""Draws cost against gallery size; the only module here that imports matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours (2008), told apart by people with any of the common colour blindnesses.
_BLUE, _ORANGE, _VERMILION, _GREY = "#0072b2", "#e69f00", "#d55e00", "#9aa3b2"
_INCHES = (9.0, 3.6)


@dataclass(frozen=True, slots=True)
class Point:
    """One site: identities known at its end, CPU seconds per second of message time, and a clip's share."""

    identities: int
    load: float
    p50_ms: float
    p99_ms: float


def draw(path: Path, points: Sequence[Point], within: Sequence[tuple[int, float]], goal_ms: float) -> None:
    """A PNG: left load, right time per clip, both over identities.

    Args:
        points: sites of growing size and equal density, rising; none draw empty axes.
        within: (identities known, mean ms per clip) minute by minute of the largest site.
        goal_ms: drawn as a line.
    """
    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    known = [p.identities for p in points]
    left.plot(known, [p.load for p in points], "o-", color=_BLUE, label="sites of equal density")
    left.axhline(1.0, color=_GREY, linestyle="--", label="one core, real time")
    left.set_ylabel("CPU seconds per second of message time")
    right.plot(known, [p.p99_ms for p in points], "o-", color=_VERMILION, label="p99")
    right.plot(known, [p.p50_ms for p in points], "o-", color=_BLUE, label="p50")
    if within:
        right.plot(*zip(*within, strict=True), ".", color=_ORANGE, markersize=4, label="largest site, mean of a minute")
    right.axhline(goal_ms, color=_GREY, linestyle="--", label=f"goal for p99: {goal_ms:g} ms")
    right.set_ylabel("decision time per clip (ms)")
    for axes in (left, right):
        axes.set_xlabel("identities")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yscale("log")
        axes.grid(color="#e3e7ee")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
