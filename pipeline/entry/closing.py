"""The end of a run: files are completed, figures added up, and the user is told where everything is."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.background.retention import clear_kept
from pipeline.runtime.figures import Figures, merged_latency, of_camera, read_figures, total
from pipeline.runtime.health import memory_peak_mb
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.recorder import IdentityBook
from pipeline.runtime.recording import complete_tracks, read_events
from pipeline.runtime.restarts import ChildStatus
from pipeline.runtime.summary import run_summary, write_summary

_FILES = (
    ("overlay", "overlay videos"),
    ("identities.jsonl", "identity log"),
    ("tracks", "tracks"),
    ("references", "reference frames"),
    ("report.html", "report"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went. `started_s` is Unix seconds, `duration_s` wall clock."""

    started_s: float
    duration_s: float
    warnings: tuple[str, ...]
    children: tuple[ChildStatus, ...]


def close_run(plan: RunPlan, outcome: Outcome, echo: Callable[[str], None]) -> None:
    """Complete the output folder, if there is one, and say what came of the run.

    Raises:
        OutputError: a file cannot be written.
    """
    figures = read_figures(plan.folder)
    losses = _losses(figures, outcome.children)
    book = None
    if plan.out_dir is not None:
        book = _complete(plan, plan.out_dir, outcome, figures, losses)
    _say_cameras(plan, figures, echo)
    if plan.out_dir is not None and book is not None:
        _say_identities(plan.out_dir, book, echo)
    if losses:
        echo("lost or skipped:  " + ", ".join(f"{int(n)} {cause.replace('_', ' ')}" for cause, n in losses.items()))
    if plan.out_dir is not None:
        _say_files(plan.out_dir, echo)
    if plan.record_bus is not None and plan.record_bus.exists():
        echo(f"{'bus recording:':18}{plan.record_bus}")


def _complete(
    plan: RunPlan, out_dir: Path, outcome: Outcome, figures: Sequence[Figures], losses: dict[str, float]
) -> IdentityBook:
    from pipeline.reporting.report import write_report

    cameras = [camera.id for camera in plan.config.cameras]
    book = complete_tracks(out_dir, cameras)
    clear_kept(out_dir)
    for left_over in (out_dir / "overlay").glob(".*.partial.mp4"):  # of a worker that was killed: it has no index
        left_over.unlink()
    workers = {camera_id: of_camera(figures, camera_id) for camera_id in cameras}
    summary = run_summary(
        plan.config,
        started_s=outcome.started_s,
        duration_s=outcome.duration_s,
        frames={camera_id: sum(f.frames for f in own) for camera_id, own in workers.items()},
        latency=merged_latency(figures),
        losses=losses,
        models=next((f.models for f in reversed(figures) if f.models), {}),
        warnings=outcome.warnings,
        seconds_of_footage={camera_id: sum(f.footage_s for f in own) for camera_id, own in workers.items()},
        memory_peak_mb=memory_peak_mb() + sum(_peaks_mb(figures).values()),
    )
    summary["frame_age_ms"] = {camera_id: _age_ms(own) for camera_id, own in workers.items()}
    summary["processes"] = _processes(figures, outcome.children)
    write_summary(out_dir, summary)
    write_report(out_dir)
    return book


def _peaks_mb(figures: Sequence[Figures]) -> dict[str, float]:
    """The most that each process held; a process that was restarted counts once."""
    peaks: dict[str, float] = {}
    for one in figures:
        name = f"{one.role}-{one.name}"
        peaks[name] = max(peaks.get(name, 0.0), one.counts.get("peak_mb", 0.0))
    return peaks


def _losses(figures: Sequence[Figures], children: Sequence[ChildStatus]) -> dict[str, float]:
    losses = total(f.losses for f in figures)
    for child in children:
        if child.restarts:
            losses[f"restarts_{child.role}"] = losses.get(f"restarts_{child.role}", 0) + child.restarts
    return {cause: n for cause, n in sorted(losses.items()) if n}


def _processes(figures: Sequence[Figures], children: Sequence[ChildStatus]) -> dict[str, dict[str, object]]:
    """How each process ended, and its counters."""
    counts = {f.name: f.counts for f in figures if f.counts}
    return {
        child.name: {
            "role": child.role,
            "state": child.state,
            "restarts": child.restarts,
            **{name: round(n, 3) for name, n in counts.get(child.name, {}).items()},
        }
        for child in children
    }


def _age_ms(figures: Sequence[Figures]) -> dict[str, float]:
    age = merged_latency(figures).summary().get("frame_age")
    if age is None:
        return {}
    return {name: round(1e3 * age[f"{name}_s"], 1) for name in ("p50", "p95", "p99", "max")}


def _say_cameras(plan: RunPlan, figures: Sequence[Figures], echo: Callable[[str], None]) -> None:
    for camera in plan.config.cameras:
        own = of_camera(figures, camera.id)
        frames, seconds = sum(f.frames for f in own), sum(f.footage_s for f in own)
        rate = f", {frames / seconds:.1f} fps" if seconds else ""
        skipped = sum(f.losses.get("frames_skipped", 0) for f in own)
        age = _age_ms(own)
        ages = f", frame age p50 {age['p50'] / 1e3:.2f} s p95 {age['p95'] / 1e3:.2f} s" if age else ""
        echo(f"{camera.id + ':':18}{frames} frames{rate}, {skipped:.0f} skipped{ages}")


def _say_identities(out_dir: Path, book: IdentityBook, echo: Callable[[str], None]) -> None:
    kinds = Counter(event.kind for event in read_events(out_dir))
    echo(
        f"{len(book.identities())} identities, {kinds['handed_over']} hand-overs, {kinds['reentered']} re-entries, "
        f"{kinds['unknown']} tracks too poor to tell"
    )


def _say_files(out_dir: Path, echo: Callable[[str], None]) -> None:
    for name, what in _FILES:
        if (out_dir / name).exists():
            echo(f"{what + ':':18}{out_dir / name}")
