"""Starts the processes of a run in order, watches them, restarts what dies or hangs, and stops all cleanly."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.connection import wait

from pipeline.config import RuntimeConfig
from pipeline.errors import PipelineError
from pipeline.runtime.children import DONE, FAILED, FATAL, Child, ChildSpec, start_child, stop_children
from pipeline.runtime.restarts import BACKOFF_S, ChildExit, ChildState, ChildStatus, RestartPolicy

POLL_S = 0.2  # between two looks at heartbeats
PAUSE_S = 2.0  # a wait that took so much too long means that this process itself (or the machine) stood still
STOP_S = 9.0  # for stopping everything; 10 s are promised
GROUP_STOP_S = 4.0  # the most that one role may take of it
RESERVE_S = 1.0  # kept for each role that is still to be stopped

_ENDED: frozenset[ChildState] = frozenset({"done", "gave_up", "fatal", "stopped"})
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Post:
    """The place of one spec, taken by one process after another."""

    spec: ChildSpec
    policy: RestartPolicy
    state: ChildState = "waiting"
    child: Child | None = None
    due_s: float = 0.0
    restarts: int = 0
    reason: str = ""
    killed_for: str = ""


class Supervisor:
    """Runs the processes of a host. Make it and call `run` in the main thread.

    Args:
        specs: in the order of starting; stopped in reverse.
        config: `hang_s`, `heartbeat_s` and `restarts_per_minute`.
        clock: Unix seconds, for `ChildExit.at_s`. monotonic: must be the clock of the children's heartbeats.
        on_exit: told of every end, in the thread of `run`; must not block for long. A `PipelineError` is logged.
        on_status: told how all stand, every `heartbeat_s`; same rules.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        config: RuntimeConfig,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_exit: Callable[[ChildExit], None] = lambda ended: None,
        on_status: Callable[[tuple[ChildStatus, ...]], None] = lambda status: None,
        log_level: str = "INFO",
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        names = [spec.name for spec in specs]
        if len(set(names)) != len(names):
            raise ValueError(f"supervisor: expected unique names, got {names}")
        self._posts = [_Post(spec, RestartPolicy(config.restarts_per_minute, backoff_s)) for spec in specs]
        self._config = config
        self._clock = clock
        self._monotonic = monotonic
        self._on_exit = on_exit
        self._on_status = on_status
        self._log_level = log_level
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._awake_since_s = monotonic()
        self._next_status_s = 0.0
        self._unclean = False

    def request_stop(self) -> None:
        """Ask `run` to stop everything and return; asked twice, it kills instead of waiting. Any thread, any time."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def status(self) -> tuple[ChildStatus, ...]:
        """How every child stands."""
        return tuple(
            ChildStatus(p.spec.name, p.spec.role, p.state, p.child.pid if p.child else None, p.restarts, p.reason)
            for p in self._posts
        )

    def run(self, duration_s: float | None = None) -> int:
        """Run until all children that are no services have ended, a signal comes, or `duration_s` is over.

        Returns:
            0 done; 1 a child gave up or had to be killed while stopping; 2 a child found a mistake that a restart
            cannot mend.
        """
        ends_s = None if duration_s is None else self._monotonic() + duration_s
        with self._signals():
            try:
                while not self._is_over(ends_s):
                    self._pass()
                    self._wait()
            finally:
                self._stop_all()
        return self._exit_code()

    def _is_over(self, ends_s: float | None) -> bool:
        if self._stop.is_set() or any(p.state == "fatal" for p in self._posts):
            return True
        if ends_s is not None and self._monotonic() >= ends_s:
            return True
        work = [p for p in self._posts if not p.spec.service] or self._posts
        return all(p.state in _ENDED for p in work)

    def _pass(self) -> None:
        now_s = self._monotonic()
        for post in self._posts:
            self._look_at(post, now_s)
        self._start_due(now_s)
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + self._config.heartbeat_s
            self._tell(lambda: self._on_status(self.status()))

    def _look_at(self, post: _Post, now_s: float) -> None:
        child = post.child
        if child is None:
            return
        if child.exit_code is None:
            if post.state == "starting" and child.is_ready:
                post.state = "running"
                _log.info("%s is ready after %.1f s", post.spec.name, now_s - child.started_s)
            self._kill_if_hung(post, child, now_s)
        if child.exit_code is not None:
            self._bury(post, child)

    def _kill_if_hung(self, post: _Post, child: Child, now_s: float) -> None:
        silent_s = now_s - max(child.last_beat_s, self._awake_since_s)
        limit_s = self._config.hang_s if child.is_ready else post.spec.ready_s
        if silent_s <= limit_s:
            return
        what = "no heartbeat" if child.is_ready else "not ready"
        post.killed_for = f"{what} for {silent_s:.1f} s"
        _log.error("%s[%d]: %s; killing it", post.spec.name, child.pid, post.killed_for)
        child.kill()
        child.process.join(RESERVE_S)

    def _bury(self, post: _Post, child: Child, *, stopping: bool = False) -> None:
        """Note the end of a process and decide what follows."""
        now_s = self._monotonic()
        code = FAILED if child.exit_code is None else child.exit_code
        post.reason = post.killed_for or child.reason
        post.killed_for = ""
        post.child = None
        delay_s = None
        if stopping:
            post.state = "stopped"
            # SIGTERM itself ends only a child that was just starting
            self._unclean = self._unclean or code not in (DONE, -signal.SIGTERM)
        elif code in (DONE, FATAL):
            post.state = "done" if code == DONE else "fatal"
        else:
            delay_s = post.policy.next_delay_s(now_s)
            post.state = "gave_up" if delay_s is None else "backoff"
            post.due_s = now_s + (delay_s or 0.0)
        self._log_end(post, child.pid, delay_s)
        ended = ChildExit(post.spec, child.pid, self._clock(), code, post.reason, post.state, delay_s)
        if child.exit_code is not None:
            child.process.close()
        self._tell(lambda: self._on_exit(ended))

    def _log_end(self, post: _Post, pid: int, delay_s: float | None) -> None:
        name = f"{post.spec.name}[{pid}]"
        if post.state in ("done", "stopped"):
            _log.info("%s has ended (%s)", name, post.reason)
        elif post.state == "backoff":
            _log.warning("%s has ended (%s); restart in %.1f s", name, post.reason, delay_s)
        elif post.state == "gave_up":
            limit = self._config.restarts_per_minute
            _log.error("%s has ended (%s) after %d restarts within a minute: gave up", name, post.reason, limit)
        else:
            _log.error("%s has ended (%s); a restart cannot help: stopping", name, post.reason)

    def _start_due(self, now_s: float) -> None:
        for post in self._posts:
            if post.state == "waiting" or (post.state == "backoff" and now_s >= post.due_s):
                self._start(post, now_s)
            if post.spec.wait_ready and post.state in ("starting", "backoff") and self._is_first_time(post):
                return  # what comes after it waits

    def _start(self, post: _Post, now_s: float) -> None:
        post.restarts += post.state == "backoff"
        try:
            post.child = start_child(post.spec, self._log_level)
        except OSError as error:  # no memory or no process slots: others may end
            delay_s = post.policy.next_delay_s(now_s)
            post.state, post.due_s = "gave_up" if delay_s is None else "backoff", now_s + (delay_s or 0.0)
            post.reason = f"cannot start a process: {error.strerror}"
            _log.error("%s: %s", post.spec.name, post.reason)
            return
        post.state = "starting"
        _log.info("started %s %s[%d]", post.spec.role, post.spec.name, post.child.pid)

    def _is_first_time(self, post: _Post) -> bool:
        """Whether something still waits for this child: later restarts hold up nobody."""
        after = self._posts[self._posts.index(post) + 1 :]
        return any(p.state == "waiting" for p in after)

    def _wait(self) -> None:
        if self._stop.is_set():
            return
        before_s = self._monotonic()
        sentinels = [p.child.process.sentinel for p in self._posts if p.child is not None]
        if sentinels:
            wait(sentinels, POLL_S)
        else:
            self._stop.wait(POLL_S)
        if self._monotonic() - before_s > POLL_S + PAUSE_S:
            self._awake_since_s = self._monotonic()  # the children stood still as well: give them time to beat

    def _stop_all(self) -> None:
        """Stop role by role, the last started first; whoever does not stop in time is killed."""
        deadline_s = self._monotonic() + STOP_S
        groups = [list(g) for _, g in groupby(reversed(self._posts), key=lambda p: p.spec.role)]
        for at, group in enumerate(groups):
            running = [p for p in group if p.child is not None]
            left_s = deadline_s - self._monotonic() - RESERVE_S * (len(groups) - at - 1)
            stop_children([p.child for p in running if p.child], min(GROUP_STOP_S, max(0.0, left_s)), hurry=self._hurry)
            for post in running:
                if post.child is not None:
                    self._bury(post, post.child, stopping=True)
            for post in group:
                if post.state not in _ENDED:
                    post.state = "stopped"

    def _exit_code(self) -> int:
        states = {p.state for p in self._posts}
        if "fatal" in states:
            return FATAL
        return FAILED if "gave_up" in states or self._unclean else DONE

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except PipelineError as error:
            _log.warning("could not report: %s", error)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask for a stop while the block runs; elsewhere than in the main thread nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
            numbers.append(signal.SIGHUP)
        previous = {number: signal.signal(number, lambda *_: self.request_stop()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
