"""What can be checked and made ready before any process of a run is started."""

import os
import re
import secrets
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pipeline.build import is_live, settle
from pipeline.bus.server import EmbeddedServer
from pipeline.capture.probe import SourceInfo, probe
from pipeline.config import CameraConfig, Config
from pipeline.entry.shared import open_bus
from pipeline.errors import ConfigError, OutputError, SourceError
from pipeline.inference.shared_frames import sweep as sweep_frames
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.recording import begin_recording


def prepare(
    config: Config, out_dir: Path | None, stack: ExitStack, echo: Callable[[str], None]
) -> tuple[RunPlan, tuple[str, ...]]:
    """Check everything that can be checked, and start Redis if it is ours.

    Raises:
        PipelineError: nothing was started.
    """
    if not config.cameras:
        raise ConfigError("the config names no cameras; `run_pipeline.py init` writes one for your sources")
    settled = settle(config)
    plan = make_plan(settled.config, out_dir, stack)
    if config.bus.url is not None:
        check_bus(plan)
    infos, unreachable = _look_at_sources(settled.config)
    warnings = (*settled.warnings, *unreachable)
    for warning in warnings:
        echo(f"warning: {warning}")
    if config.bus.url is None:
        server = stack.enter_context(EmbeddedServer())
        plan = replace(plan, config=replace(plan.config, bus=replace(plan.config.bus, url=server.url)))
    sweep_frames()
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        bus = open_bus(plan, "supervisor")
        begin_recording(bus, plan.group)
        bus.close()
    fps = {camera_id: info.fps for camera_id, info in infos.items() if info.fps}
    return replace(plan, fps=fps), warnings


def make_plan(config: Config, out_dir: Path | None, stack: ExitStack) -> RunPlan:
    folder = Path(tempfile.mkdtemp(prefix="mcp-run-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    keeps_spool = config.bus.url is not None and out_dir is not None
    return RunPlan(
        run_id=uuid.uuid4().hex[:8],
        host=re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "host",
        config=config,
        out_dir=out_dir,
        folder=folder,
        spool_dir=out_dir / ".spool" if keeps_spool and out_dir is not None else folder / "spool",
        threads=_threads(config),
        token=secrets.token_urlsafe(24),
    )


def _threads(config: Config) -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    usual = int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))
    return config.runtime.inference_threads or usual


def check_new_file(path: Path | None) -> None:
    """Make sure that a file which will be written later can be: None is no file.

    Raises:
        OutputError: it exists, or its folder cannot be written.
    """
    if path is None:
        return
    if path.exists():
        raise OutputError(f"{path} exists; choose another file, or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; check the folder") from None
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: its folder is not yours to write to")


def check_bus(plan: RunPlan) -> None:
    bus = open_bus(plan, "supervisor")
    try:
        bus.ping()
    finally:
        bus.close()


def _look_at_sources(config: Config) -> tuple[dict[str, SourceInfo], list[str]]:
    """What the sources say about themselves, and warnings about cameras that cannot be reached now.

    Raises:
        SourceError: a file or folder that cannot be read; one line for each.
    """
    with ThreadPoolExecutor(max_workers=min(16, len(config.cameras))) as pool:
        answers = list(pool.map(lambda camera: _look_at(camera, config), config.cameras))
    infos: dict[str, SourceInfo] = {}
    warnings: list[str] = []
    errors: list[str] = []
    for camera, answer in zip(config.cameras, answers, strict=True):
        if isinstance(answer, SourceInfo):
            infos[camera.id] = answer
        elif is_live(camera):
            warnings.append(f"camera {camera.id} cannot be reached and will be tried again: {answer}")
        else:
            errors.append(f"camera {camera.id}: {answer}")
    if errors:
        raise SourceError("\n".join(errors))
    return infos, warnings


def _look_at(camera: CameraConfig, config: Config) -> SourceInfo | SourceError:
    try:
        is_live(camera)
    except SourceError as error:
        raise ConfigError(f"camera {camera.id}: {error}") from None
    try:
        return probe(camera.source, config.capture)
    except SourceError as error:
        return error
