"""Starts a live run: checks everything first, then the processes of this host under one supervisor."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.config import Config
from pipeline.entry import roles
from pipeline.entry.closing import Outcome, close_run
from pipeline.entry.preparing import check_bus, check_new_file, make_plan, prepare
from pipeline.entry.watching import Watcher
from pipeline.errors import BusRefused, ConfigError, PipelineError, WeightsError
from pipeline.runtime.children import FAILED, FATAL, ChildContext, ChildSpec, run_target, standalone_context
from pipeline.runtime.logs import redact, setup_logging
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.supervisor import Supervisor

_log = logging.getLogger(__name__)

Display = Literal["web", "window", "none"]
Echo = Callable[[str], None]

# Libraries that start a thread per core in every process; the cores belong to the inference process.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run_site(
    config: Config,
    out_dir: Path | None,
    *,
    display: Display,
    duration_s: float | None,
    overlay: bool,
    log_level: str,
    echo: Echo,
    record_bus: Path | None = None,
) -> int:
    """Run all cameras of a site on this host until their files end, `duration_s` is over, or Ctrl-C.

    Args:
        out_dir: an empty folder, or one that can be made; None writes nothing.
        duration_s: from the moment when all cameras run.
        overlay: write overlay videos; so does any display, when there is a folder.
        record_bus: a new file for what the matcher receives; see docs/recordings.md.

    Returns:
        0 done, 1 failed, 2 a mistake in the configuration or a password that Redis refuses.
    """
    with setup("main", log_level):
        how = _How(display, duration_s, overlay, record_bus)
        return guarded(lambda: _run_site(config, out_dir, how, log_level, echo))


def run_worker(config: Config, out_dir: Path | None, *, log_level: str) -> int:
    """Run the cameras of this host: their workers, the inference process, and the recorder when there is a folder."""
    with setup("main", log_level):
        return guarded(lambda: _run_worker(config, out_dir, log_level))


def run_matcher(config: Config, *, log_level: str, record_bus: Path | None = None) -> int:
    """Run the matcher of the site, in this process, until SIGTERM or Ctrl-C.

    Args:
        record_bus: a file for what it receives; an earlier recording of the site is gone on with.
    """
    with setup("matcher", log_level):
        return guarded(lambda: _run_alone(config, "matcher", roles.match, record_bus))


def run_dashboard(config: Config, *, log_level: str, echo: Echo) -> int:
    """Serve the web page of the site, in this process, until SIGTERM or Ctrl-C."""

    def serve(context: ChildContext, plan: RunPlan) -> None:
        roles.serve_page(context, plan, (), on_address=lambda url: echo(f"web page:         {url}"))

    with setup("dashboard", log_level):
        return guarded(lambda: _run_alone(config, "dashboard", serve))


@contextmanager
def setup(role: str, log_level: str) -> Iterator[None]:
    """Logging, as long as the block runs."""
    logs = setup_logging(log_level, role)
    try:
        yield
    finally:
        logs.close()


def guarded(run: Callable[[], int]) -> int:
    """The exit code of `run`; an error becomes a line each on stderr."""
    try:
        return run()
    except PipelineError as error:
        for line in redact(str(error)).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return FATAL if isinstance(error, ConfigError | WeightsError | BusRefused) else FAILED


@dataclass(frozen=True, slots=True)
class _How:
    """What a run shows and writes besides its folder, and for how long it lasts."""

    display: Display
    duration_s: float | None
    overlay: bool
    record_bus: Path | None


def _run_site(config: Config, out_dir: Path | None, how: _How, log_level: str, echo: Echo) -> int:
    overlay = out_dir is not None and (how.overlay or how.display != "none")
    with ExitStack() as stack:
        check_new_file(how.record_bus)
        plan, warnings = prepare(config, out_dir, stack, echo)
        plan = replace(plan, overlay=overlay, record_bus=how.record_bus)
        specs = [
            *_recorder(plan),
            *_matcher(plan),
            *_inference(plan),
            *_display(plan, how.display, warnings),
            *_workers(plan),
        ]
        return _supervise(plan, specs, warnings, how.duration_s, log_level, echo)


def _run_worker(config: Config, out_dir: Path | None, log_level: str) -> int:
    if config.bus.url is None:
        raise ConfigError("bus.url is missing: the roles of a site meet in one Redis; use `run` on a single host")
    with ExitStack() as stack:
        plan, warnings = prepare(config, out_dir, stack, _log.warning)
        specs = [*_recorder(plan), *_inference(plan), *_workers(plan)]
        return _supervise(plan, specs, warnings, None, log_level, _log.info)


def _run_alone(
    config: Config,
    role: str,
    target: Callable[[ChildContext, RunPlan], int | None],
    record_bus: Path | None = None,
) -> int:
    if config.bus.url is None:
        raise ConfigError("bus.url is missing: the roles of a site meet in one Redis; use `run` on a single host")
    with ExitStack() as stack:
        plan = replace(make_plan(config, None, stack), record_bus=record_bus)
        check_bus(plan)
        return run_target(standalone_context(role, role), target, (plan,))


# -- the processes, in the order of starting; they are stopped backwards ----------------------------------------------


def _recorder(plan: RunPlan) -> list[ChildSpec]:
    return [ChildSpec("recorder", roles.record, (plan,), "recorder", service=True)] if plan.out_dir is not None else []


def _matcher(plan: RunPlan) -> list[ChildSpec]:
    return [ChildSpec("matcher", roles.match, (plan,), "matcher", service=True)]


def _inference(plan: RunPlan) -> list[ChildSpec]:
    return [ChildSpec("inference", roles.serve_inference, (plan,), "inference", service=True, wait_ready=True)]


def _display(plan: RunPlan, display: Display, warnings: tuple[str, ...]) -> list[ChildSpec]:
    if display == "web":
        return [ChildSpec("dashboard", roles.serve_page, (plan, warnings), "dashboard", service=True, wait_ready=True)]
    if display == "window":
        return [ChildSpec("window", roles.show_window, (plan,), "window", service=True, wait_ready=True)]
    return []


def _workers(plan: RunPlan) -> list[ChildSpec]:
    ids = [camera.id for camera in plan.config.cameras]
    size = plan.config.runtime.cameras_per_worker
    groups = [tuple(ids[i : i + size]) for i in range(0, len(ids), size)]
    return [ChildSpec("+".join(group)[:100], roles.work_cameras, (plan, group), "worker") for group in groups]


def _supervise(
    plan: RunPlan,
    specs: list[ChildSpec],
    warnings: tuple[str, ...],
    duration_s: float | None,
    log_level: str,
    echo: Echo,
) -> int:
    """Run the processes, then complete the output folder and say what came of it."""
    started_s, began_s = time.time(), time.monotonic()
    watcher = Watcher(plan, duration_s, echo)
    supervisor = Supervisor(
        specs,
        config=plan.config.runtime,
        on_exit=watcher.on_exit,
        on_status=watcher.on_status,
        log_level=log_level,
    )
    watcher.stop = supervisor.request_stop
    with _one_thread_each(), watcher:
        code = supervisor.run()
    outcome = Outcome(started_s, time.monotonic() - began_s, warnings, supervisor.status())
    close_run(plan, outcome, echo)
    for status in supervisor.status():
        if status.state in ("fatal", "gave_up"):
            sys.stderr.write(f"error: {status.name}: {redact(status.reason)}\n")
    return code


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children inherit the environment: numeric libraries in them use one thread."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
