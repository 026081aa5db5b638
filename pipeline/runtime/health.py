"""Counters and states of one process, as the `Health` messages that it publishes."""

import os
import resource
import threading
import time
from collections.abc import Callable, Mapping

import psutil

from pipeline.types import Health


class HealthBoard:
    """What one process says about itself; any thread may write on it.

    Args:
        role: worker, matcher, inference, … name: the camera or the process.
        clock: Unix seconds.
        measure: read anew for every snapshot, for instance `process_measures`.
    """

    def __init__(
        self,
        role: str,
        name: str,
        *,
        pid: int | None = None,
        clock: Callable[[], float] = time.time,
        measure: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.role = role
        self.name = name
        self._pid = os.getpid() if pid is None else pid
        self._clock = clock
        self._measure = measure
        self._lock = threading.Lock()
        self._state = "starting"
        self._detail = ""
        self._epoch = ""
        self._counters: dict[str, float] = {}

    def count(self, name: str, by: float = 1.0) -> None:
        """Raise a counter."""
        with self._lock:
            self._counters[name] = self._counters.get(name, 0.0) + by

    def gauge(self, name: str, value: float) -> None:
        """Set a figure that can go both ways."""
        with self._lock:
            self._counters[name] = float(value)

    def set_state(self, state: str, detail: str = "", *, epoch: str | None = None) -> bool:
        """Say what the process is doing; `epoch` stays as it is when None. Returns whether anything changed."""
        with self._lock:
            wanted = (state, detail, self._epoch if epoch is None else epoch)
            changed = wanted != (self._state, self._detail, self._epoch)
            self._state, self._detail, self._epoch = wanted
            return changed

    def snapshot(self) -> Health:
        """The board as a message, stamped now."""
        measured = {name: float(value) for name, value in self._measure().items()}
        with self._lock:
            return Health(
                role=self.role,
                name=self.name,
                pid=self._pid,
                at_s=self._clock(),
                state=self._state,
                epoch=self._epoch,
                detail=self._detail,
                counters={**self._counters, **measured},
            )


def process_measures(pid: int | None = None) -> dict[str, float]:
    """Memory (rss_mb; of our own also peak_mb), CPU time (cpu_s), threads and open files; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return {
                **({"peak_mb": memory_peak_mb()} if pid is None else {}),
                "rss_mb": process.memory_info().rss / 2**20,
                "cpu_s": times.user + times.system,
                "threads": float(process.num_threads()),
                "open_files": float(process.num_fds()),
            }
    except psutil.Error:
        return {}


def memory_peak_mb() -> float:
    """The most memory that this process ever held (resident, shared pages included), MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts KiB
