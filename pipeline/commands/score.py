"""`run_pipeline.py score`: anybody's MOT rows, scored like a replay; several results side by side."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.background.files import write_bytes
from pipeline.bus.lines import event_from_json, reference_from_json
from pipeline.errors import ConfigError, DecodeError
from pipeline.reporting.comparison import compare, comparison_table, write_comparison
from pipeline.scoring.ground_truth import GroundTruth, read_ground_truth
from pipeline.scoring.rows import NOBODY, Float64Array, Rows, read_rows
from pipeline.scoring.score import Score, SiteResults, score_results

Echo = Callable[[str], None]

_DEFAULT_ABSENCE_S = 5.0  # the matcher's default, for rows of which nobody knows the configuration


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score.

    Attributes:
        absence_s: how long somebody must have been away for a re-entry; None: as the run was configured, else 5.
        fps: frames per second of all cameras, where neither a run nor a seqinfo.ini says so.
        independent: the sequences share no identities (MOTChallenge): nothing is scored over cameras.
    """

    absence_s: float | None = None
    fps: float | None = None
    independent: bool = False


def score(results: Sequence[Path], ground_truth: Path, out_file: Path | None, options: ScoreOptions, echo: Echo) -> int:
    """Score one folder of rows, or compare several.

    Args:
        out_file: metrics as JSON; with several results also a page of the same name with the ending `.html`.

    Raises:
        ConfigError: folders that are not there, or have no camera in common. DecodeError: rows that cannot be read.
    """
    names = _names(results)
    scored = {name: _score_one(folder, ground_truth, options) for name, folder in zip(names, results, strict=True)}
    for name, one in scored.items():
        for warning in one.metrics["warnings"]:
            echo(f"warning: {f'{name}: ' if len(scored) > 1 else ''}{warning}")
    metrics = {name: one.metrics for name, one in scored.items()}
    if len(metrics) == 1:
        (only,) = metrics.values()
        for line in score_lines(only):
            echo(line)
        if out_file is not None:
            write_metrics(out_file, only)
    else:
        comparison = compare(metrics)
        echo(comparison_table(comparison))
        if out_file is not None:
            write_metrics(out_file, {"results": metrics})
            page = write_comparison(out_file.with_suffix(".html"), comparison)
            echo(f"comparison: {page}")
    if out_file is not None:
        echo(f"metrics:    {out_file}")
    return 0


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON.

    Raises:
        OutputError: it cannot be written. ValueError: a figure is not finite.
    """
    write_bytes(path, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())


def _score_one(folder: Path, ground_truth: Path, options: ScoreOptions) -> Score:
    if not folder.is_dir():
        raise ConfigError(f"--results {folder} is not a folder")
    rows_folder = find_rows(folder)
    cameras = sorted(path.stem for path in rows_folder.glob("*.txt"))
    if not cameras:
        raise ConfigError(f"--results {folder} holds no <camera>.txt with MOT rows")
    truth = read_ground_truth(ground_truth, cameras)
    results = read_results(folder, truth, options.fps)
    absence_s = options.absence_s if options.absence_s is not None else _configured_absence_s(folder)
    return score_results(truth, results, absence_s=absence_s, independent=options.independent)


def find_rows(folder: Path) -> Path:
    """Where the rows lie: `tracks/` of a run, `data/` in TrackEval's layout, else the folder itself."""
    return next((folder / name for name in ("tracks", "data") if any((folder / name).glob("*.txt"))), folder)


def read_results(folder: Path, truth: GroundTruth, fps: float | None = None) -> SiteResults:
    """Rows, events and times of a run's output folder, or of a folder that holds rows only.

    Args:
        truth: only its cameras are read. fps: of every camera, where nothing else says so.

    Raises:
        DecodeError: a file that cannot be read, named with its line.
    """
    run = _run_of(folder)
    rates = {camera: rate for camera, rate in run.get("fps", {}).items() if rate}
    stated = {camera: one.fps for camera, one in truth.cameras.items() if one.fps}
    given = dict.fromkeys(truth.cameras, fps) if fps is not None else {}
    events, references = folder / "identities.jsonl", folder / "references" / "references.jsonl"
    return SiteResults(
        final=_rows_of(find_rows(folder), truth) or {},
        online=_rows_of(folder / "tracks_online", truth, nobody=NOBODY),
        local=_rows_of(folder / "tracks_local", truth),
        events=_lines_of(events, event_from_json),
        references=_lines_of(references, reference_from_json),
        times=_times_of(folder / "frame_times", truth),
        fps={**given, **rates, **stated},
        frame_counts=run.get("frames", {}),
    )


def _rows_of(folder: Path, truth: GroundTruth, nobody: int | None = None) -> dict[str, Rows] | None:
    """The rows of every camera of the ground truth that has some; None without the folder."""
    if not folder.is_dir():
        return None
    files = {camera: folder / f"{camera}.txt" for camera in truth.cameras}
    return {camera: read_rows(file, nobody) for camera, file in files.items() if file.is_file()}


def _lines_of(file: Path, read: Callable[[str], Any]) -> list[Any] | None:
    if not file.is_file():
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(read(line))
        except DecodeError as error:
            raise DecodeError(f"{file}:{number}: {error}") from None
    return found


def _times_of(folder: Path, truth: GroundTruth) -> dict[str, Float64Array]:
    files = {camera: folder / f"{camera}.txt" for camera in truth.cameras}
    try:
        return {camera: np.loadtxt(file, ndmin=1) for camera, file in files.items() if file.is_file()}
    except ValueError as error:
        raise DecodeError(f"{folder}: expected one time in seconds per line: {error}") from None


def _run_of(folder: Path) -> dict[str, Any]:
    """`run.json`; empty for rows that no run of ours wrote."""
    file = folder / "run.json"
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DecodeError(f"{file} is damaged ({error}); remove it to score the rows without it") from None
    return value if isinstance(value, dict) else {}


def _configured_absence_s(folder: Path) -> float:
    value = _run_of(folder).get("config", {}).get("matcher", {}).get("absence_s")
    return float(value) if isinstance(value, int | float) else _DEFAULT_ABSENCE_S


def _names(folders: Sequence[Path]) -> list[str]:
    """A short name for each result: the folder's, with as much of its path as tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError("--results names the same folder twice")


# -- for the terminal -------------------------------------------------------------------------------------------------

_COLUMNS = ("HOTA", "IDF1", "MOTA", "IDSW")


def score_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The main figures as a table, fit for a terminal."""
    rows = [(camera, figures) for camera, figures in metrics["per_camera"].items()]
    if len(rows) > 1:
        rows.append(("all, camera by camera", metrics["combined"]))
    width = max([len(name) for name, _ in rows] + [len("over cameras, online")])
    lines = [" " * width + "".join(f"{column:>9}" for column in _COLUMNS)]
    lines += [name.ljust(width) + "".join(_cell(figures.get(c)) for c in _COLUMNS) for name, figures in rows]
    lines += _site_lines(metrics, width)
    lines += _identity_lines(metrics)
    return lines


def _site_lines(metrics: Mapping[str, Any], width: int) -> list[str]:
    """Cross-camera figures with their ceilings."""
    boxes = metrics.get("gt_boxes") or {}
    rows = [
        ("over cameras", metrics),
        ("over cameras, online", metrics.get("online")),
        ("  ceiling: true ids", metrics.get("ceiling")),
        ("  true boxes", boxes),
        ("  true boxes and ids", boxes.get("ceiling")),
    ]
    found = [(name, (group or {}).get("cross_camera")) for name, group in rows]
    return [
        name.ljust(width) + "".join(_cell(figures.get(column)) for column in ("HOTA", "IDF1"))
        for name, figures in found
        if figures
    ]


def _identity_lines(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if links := metrics.get("links"):
        lines.append(f"links: {links['correct']} correct, {links['false']} false, {links['missed']} missed")
    if reentry := metrics.get("reentry"):
        found = f"{reentry['found']} of {reentry['true']} found, {reentry['false']} false"
        lines.append(f"re-entries: {found}, latency p95 {_seconds(reentry['latency_s_p95'])}")
    retrieval = (metrics.get("retrieval") or {}).get("cross_camera") or {}
    if retrieval.get("mAP") is not None:
        lines.append(f"clip retrieval over cameras: rank-1 {retrieval['rank1']:.3f}, mAP {retrieval['mAP']:.3f}")
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return f"{'–':>9}"
    return f"{value:>9d}" if isinstance(value, int) else f"{value:>9.4f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
