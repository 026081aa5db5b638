"""What all processes of one run on one host must agree on; crosses to spawned children."""

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import CameraConfig, Config
from pipeline.errors import ConfigError

_START_DELAY_S = 0.2  # between the moment when all workers are ready and the first frame of recorded sources
_START_WAIT_S = 20.0  # a worker that does not come must not hold up the others for longer


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run on one host.

    Attributes:
        config: settled, with `bus.url`.
        out_dir: None writes nothing.
        folder: private to the run (mode 0700): the inference socket, marks of progress, figures of every process.
        threads: for the inference process.
        overlay: write `overlay/<camera>.mp4`.
        fps: of cameras that state their rate.
        spool_dir: where messages wait while Redis is away.
        token: of the web page.
        record_bus: file in which the matcher writes down what it receives; None does not.
    """

    run_id: str
    host: str
    config: Config
    out_dir: Path | None
    folder: Path
    spool_dir: Path
    threads: int
    overlay: bool = False
    fps: Mapping[str, float] = field(default_factory=dict)
    token: str = ""
    record_bus: Path | None = None

    @property
    def url(self) -> str:
        """Of Redis.

        Raises:
            ConfigError: none is configured.
        """
        if self.config.bus.url is None:
            raise ConfigError("bus.url is missing: processes on several hosts meet in one Redis")
        return self.config.bus.url

    @property
    def socket_path(self) -> Path:
        return self.folder / "inference.sock"

    @property
    def group(self) -> str:
        """The consumer group of this host's recorder."""
        return f"recorder:{self.host}"

    def shift_s(self, camera: CameraConfig) -> float:
        """Frame time of a recorded camera minus its age on the run's own clock.

        Cameras with a `start_time` keep their distance to each other: the earliest begins when the run does.
        """
        if camera.start_time is None:
            return camera.clock_offset_s
        first_s = min(c.start_time for c in self.config.cameras if c.start_time is not None)
        return first_s - self.started_s() + camera.clock_offset_s

    def mark(self, name: str) -> bool:
        """Leave a mark in the run's folder; False when it was there already."""
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def arrive(self, camera_id: str) -> float:
        """Say that a camera's worker is ready, wait for the others, and give the Unix time at which recordings start.

        The first who sees everybody there (or has waited too long) sets the time, once for all.
        """
        self.mark(f"ready-{camera_id}")
        wanted = len(self.config.cameras)
        until_s = time.monotonic() + _START_WAIT_S
        start = self.folder / "start"
        while not start.exists() and time.monotonic() < until_s:
            if len(list(self.folder.glob("ready-*"))) >= wanted:
                break
            time.sleep(0.02)
        proposal = self.folder / f".start-{camera_id}-{uuid.uuid4().hex}"
        proposal.write_text(json.dumps(time.time() + _START_DELAY_S))
        try:
            os.link(proposal, start)
        except FileExistsError:
            pass
        finally:
            proposal.unlink()
        return self.started_s()

    def started_s(self) -> float:
        """When recordings began to play, Unix seconds; 0 before."""
        try:
            return float(json.loads((self.folder / "start").read_text()))
        except FileNotFoundError:
            return 0.0
