"""When a child that ended is started again, and how the end of one is told."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.runtime.children import ChildSpec

ChildState = Literal[
    "waiting",  # for a child before it to be ready
    "starting",
    "running",
    "backoff",  # ended; restarted soon
    "done",  # ended on purpose
    "gave_up",  # ended too often: the red state
    "fatal",  # ended because of a mistake in the config or a refused password: the run stops
    "stopped",  # was told to
]
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # before the first, second, … restart within a minute
WINDOW_S = 60.0  # `restarts_per_minute`


@dataclass(frozen=True, slots=True)
class ChildExit:
    """One process has ended.

    Attributes:
        at_s: Unix seconds.
        code: exit code; negative: the signal that ended it.
        reason: in words, without passwords.
        state: what follows: backoff, done, gave_up, fatal, stopped.
        restart_in_s: for backoff.
    """

    spec: ChildSpec
    pid: int
    at_s: float
    code: int
    reason: str
    state: ChildState
    restart_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """How one child stands; `reason` is that of its last end."""

    name: str
    role: str
    state: ChildState
    pid: int | None
    restarts: int
    reason: str


class RestartPolicy:
    """When a child may be started again: with growing pauses, at most so often within a minute."""

    def __init__(self, per_minute: int, backoff_s: Sequence[float] = BACKOFF_S) -> None:
        self._per_minute = per_minute
        self._backoff_s = tuple(backoff_s)
        self._restarts_s: deque[float] = deque()

    def next_delay_s(self, now_s: float) -> float | None:
        """The pause before the restart that is now due, which is counted; None: too many within the last minute."""
        while self._restarts_s and self._restarts_s[0] <= now_s - WINDOW_S:
            self._restarts_s.popleft()
        used = len(self._restarts_s)
        if used >= self._per_minute:
            return None
        delay_s = self._backoff_s[min(used, len(self._backoff_s) - 1)]
        self._restarts_s.append(now_s)
        return delay_s
