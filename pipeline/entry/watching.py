"""What the supervisor's process does while a run goes on: progress, the end by time, and word of cameras that died."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from pipeline.capture.probe import source_kind
from pipeline.entry.shared import lease_owner, open_bus
from pipeline.errors import BusUnavailable
from pipeline.runtime.figures import read_figures
from pipeline.runtime.matching import free_lease
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.restarts import ChildExit, ChildStatus
from pipeline.types import CameraState


class Watcher:
    """Callbacks for the supervisor. `stop` is to be set before it runs.

    Args:
        duration_s: ends the run so long after all workers have begun; None never.
    """

    def __init__(self, plan: RunPlan, duration_s: float | None, echo: Callable[[str], None]) -> None:
        self.stop: Callable[[], None] = lambda: None
        self._plan = plan
        self._duration_s = float("inf") if duration_s is None else duration_s
        self._ends_s = float("inf")
        self._echo = echo
        self._bus = open_bus(plan, "supervisor")
        self._numbers: dict[str, int] = {}
        self._running_since_s: float | None = None
        self._began_s = time.monotonic()
        self._page = ""
        self._shows = sys.stderr.isatty()
        self._width = 0

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
        self._bus.close()

    def on_exit(self, ended: ChildExit) -> None:
        """A process has ended: its cameras no longer hold up the site, and a dead matcher's successor need not wait.

        Raises:
            BusUnavailable: Redis is away; the matcher then waits for the cameras until they are back.
        """
        if ended.spec.role == "window" and ended.state == "done":
            self.stop()
        if ended.state not in ("backoff", "gave_up"):
            return
        if ended.spec.role == "matcher":
            free_lease(self._bus, lease_owner(self._plan.host, ended.pid))
        elif ended.spec.role == "worker":
            for camera_id in ended.spec.args[1]:
                self._say_offline(camera_id, ended.at_s)

    def on_status(self, statuses: tuple[ChildStatus, ...]) -> None:
        """About once a second."""
        self._show_address()
        workers = [s for s in statuses if s.role == "worker"]
        started = all(s.state not in ("waiting", "starting") for s in workers)
        if self._running_since_s is None and started and self._has_begun():
            self._running_since_s = time.monotonic()
            self._ends_s = self._running_since_s + self._duration_s
        if time.monotonic() >= self._ends_s:
            self.stop()
        if self._shows:
            self._show_progress()

    def _has_begun(self) -> bool:
        """Whether recorded cameras play; live ones need no common start."""
        recorded = any(source_kind(c.source) in ("file", "folder") for c in self._plan.config.cameras)
        return not recorded or self._plan.started_s() > 0

    def _say_offline(self, camera_id: str, at_s: float) -> None:
        number = self._numbers[camera_id] = self._numbers.get(camera_id, 0) + 1
        camera = self._plan.config.camera(camera_id)
        message_s = at_s + self._plan.shift_s(camera)
        epoch = f"supervisor-{self._plan.run_id}"
        try:
            self._bus.publish("clips", CameraState(camera_id, epoch, number, message_s, "offline"))
        except BusUnavailable:
            self._bus.publish("clips", CameraState(camera_id, epoch, number, message_s, "offline"))

    def _show_address(self) -> None:
        if not self._page and (self._plan.folder / "page").exists():
            self._page = (self._plan.folder / "page").read_text()
            self._echo(f"web page:         {self._page}")

    def _show_progress(self) -> None:
        figures = read_figures(self._plan.folder)
        cameras = {f.camera_id: f for f in figures if f.camera_id}  # the newest of each
        parts = [f"{time.monotonic() - self._began_s:5.0f} s"]
        parts += [f"{name} {f.state} {f.fps:.1f} fps" for name, f in sorted(cameras.items())] or ["starting"]
        identities = [f.counts.get("identities", 0) for f in figures if f.role == "recorder"]
        if identities:
            parts.append(f"{identities[-1]:.0f} identities")
        line = "  ".join(parts)[:160]
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)
