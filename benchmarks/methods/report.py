"""Tables with intervals over seeds, and the plot of accuracy against crops per second."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

Results = Mapping[str, Mapping[str, list[Mapping[str, float]]]]  # table -> row -> figures of each seed


def read_results(path: Path) -> Results:
    """What the runs so far have left; none is none."""
    found: dict[str, dict[str, list[Mapping[str, float]]]] = defaultdict(lambda: defaultdict(list))
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            found[entry["table"]][entry["row"]].append(entry["figures"])
    return found


def done(path: Path) -> set[tuple[str, str, int]]:
    """(table, row, seed) of the runs so far."""
    if not path.is_file():
        return set()
    entries = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {(entry["table"], entry["row"], entry["seed"]) for entry in entries}


def add_result(path: Path, table: str, row: str, seed: int, figures: Mapping[str, Any]) -> None:
    """Append one run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"table": table, "row": row, "seed": seed, "figures": dict(figures)}) + "\n")


def interval(values: Iterable[float]) -> str:
    """Mean and half of the 95 % interval of the mean (Student's t over seeds); the value alone where there is one."""
    found = np.array(list(values), float)
    if len(found) < 2:
        return _share(float(found[0]))
    half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return f"{_share(float(found.mean()))} ± {_share(float(half))}"


def table_lines(results: Results, table: str) -> list[str]:
    """A Markdown table, in the order in which rows were first run."""
    rows = results.get(table, {})
    if not rows:
        return []
    columns = list(next(iter(rows.values()))[0])
    lines = [f"| {table} | seeds | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for row, runs in rows.items():
        cells = [interval(run[column] for run in runs if column in run) for column in columns]
        lines.append(f"| {row} | {len(runs)} | {' | '.join(cells)} |")
    return lines


def paired(results: Results, table: str, better: str, worse: str, figure: str) -> str:
    """The difference of two rows, seed by seed."""
    pairs = zip(results[table][better], results[table][worse], strict=False)
    return interval(a[figure] - b[figure] for a, b in pairs)


def plot(results: Results, path: Path) -> None:
    """mAP against crops per second: discs for whole bodies, rings for cut ones, squares for heads at 256 x 128 px."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5.5))
    rates = {row: runs[-1]["crops/s"] for row, runs in results["rates"].items()}
    colours = pyplot.get_cmap("tab20").colors
    shown = [(table, row) for table in ("local", "heads") for row in results.get(table, {}) if row in rates]
    for (table, row), colour in zip(shown, colours, strict=False):
        runs = results[table][row]
        if table == "heads":
            axes.scatter(rates[row], _mean(runs, "mAP"), s=50, marker="s", color=colour, label=row, zorder=3)
            continue
        whole, cut = _mean(runs, "whole mAP"), _mean(runs, "cut mAP")
        axes.plot([rates[row]] * 2, [cut, whole], color=colour, lw=0.8)
        axes.scatter(rates[row], whole, s=60, color=colour, label=row, zorder=3)
        axes.scatter(rates[row], cut, s=60, facecolor="white", edgecolor=colour, zorder=3)
    axes.set_xscale("log")
    axes.set_xlabel("crops per second, one core")
    axes.set_ylabel("mAP; discs, squares: whole bodies, rings: cut ones")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)


def _mean(runs: list[Mapping[str, float]], column: str) -> float:
    return float(np.mean([run[column] for run in runs]))


def _share(value: float) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
