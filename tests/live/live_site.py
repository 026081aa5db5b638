"""A small generated site and what the tests of the live run need around it."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from pipeline.config import BusConfig, CameraConfig, CaptureConfig, Config, DetectorConfig, MatcherConfig, ReidConfig
from pipeline.entry import run_site
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario

ROOT = Path(__file__).parent.parent.parent


def write_site(folder: Path, seconds: float = 8.0, seed: int = 19) -> Config:
    """Two cameras with one person each; seed 19: from 1 s to 8.9 s in `street`, from 4.1 s in `lobby`."""
    scene = write_scene(random_scenario(2, 2, seconds, seed), folder / "scene", mask_every=1000)
    cameras = tuple(CameraConfig(name, str(path)) for name, path in scene.sources.items())
    return Config(
        site="lobby",
        cameras=cameras,
        detector=DetectorConfig(kind="hog"),
        reid=ReidConfig(backbone="handcrafted"),
        matcher=MatcherConfig(absence_s=2.0, occlusion_s=3.0),
        capture=CaptureConfig(open_timeout_s=2.0, stalled_s=1.5, reconnect_s=(0.3, 0.5)),
    )


def with_sources(config: Config, **sources: str) -> Config:
    """The same site with other sources for some cameras."""
    cameras = tuple(replace(c, source=sources.get(c.id, c.source)) for c in config.cameras)
    return config.with_cameras(cameras)


def with_url(config: Config, url: str) -> Config:
    return replace(config, bus=BusConfig(url=url))


def run_quietly(config: Config, out_dir: Path | None, **options) -> tuple[int, list[str]]:
    """(exit code, lines that were echoed) of a whole run."""
    lines: list[str] = []
    how = {"display": "none", "duration_s": None, "overlay": False, "log_level": "WARNING", **options}
    return run_site(config, out_dir, echo=lines.append, **how), lines


class Started(logging.Handler):
    """Remembers which children the supervisor has started: name → process ids, in order."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.pids: dict[str, list[int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "started %s %s[%d]" and isinstance(record.args, tuple):
            self.pids.setdefault(str(record.args[1]), []).append(int(str(record.args[2])))


class RunThread:
    """A run in a thread of this process, so that a test can watch it and harm its children."""

    def __init__(self, config: Config, out_dir: Path, **options) -> None:
        self.out_dir = out_dir
        self.code: int | None = None
        self.lines: list[str] = []
        self.started = Started()
        self._logger = logging.getLogger("pipeline.runtime.supervisor")
        self._logger.addHandler(self.started)
        self._logger.setLevel(logging.INFO)
        self._thread = threading.Thread(target=self._run, args=(config, options))
        self._thread.start()

    def _run(self, config: Config, options: dict) -> None:
        self.code, self.lines = run_quietly(config, self.out_dir, **options)

    def pid(self, name: str) -> int:
        """Of the newest process of that name."""
        return self.started.pids[name][-1]

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def wait(self, limit_s: float) -> int:
        self._thread.join(limit_s)
        assert not self._thread.is_alive(), f"the run did not end within {limit_s} s"
        self._logger.removeHandler(self.started)
        self._logger.setLevel(logging.NOTSET)
        assert self.code is not None
        return self.code


def wait_until(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    until_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until_s, f"not within {limit_s} s: {what}"
        time.sleep(0.05)


def events_of(out_dir: Path) -> list[dict]:
    path = out_dir / "identities.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def python(code: str, *arguments: str) -> subprocess.Popen:
    """A Python of its own that can import the project."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
