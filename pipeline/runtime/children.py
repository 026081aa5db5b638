"""Child processes: spawned, never forked; they die with their parent, stop on a signal, and say why they ended.

The parent is the *thread* that started the child (that is how Linux counts), so start children from the thread that
lives as long as they may. A child of a parent that was killed gets SIGTERM from the kernel, has `ORPHAN_S` to finish,
and is then ended by the kernel's alarm clock, whatever its Python code is doing.
"""

import ctypes
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawValue
from typing import Any

from pipeline.errors import BusRefused, ConfigError, PipelineError, WeightsError
from pipeline.runtime.logs import redact, setup_logging

DONE = 0  # exit codes of DESIGN: done, failed, bad arguments or config
FAILED = 1
FATAL = 2
ORPHAN_S = 1.0  # what a child may still do after its parent was killed; nobody is left after 2 s
LINGER_S = 3.0  # a child whose work is over but whose threads will not end is ended then
READY_S = 120.0  # until a child is ready; loading and warming up a model takes up to a minute on a slow disk
_REASON_BYTES = 400
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_log = logging.getLogger(__name__)


class ChildBoard(ctypes.Structure):
    """What a child writes and its parent reads, in shared memory; no lock, so that a killed child cannot hold one."""

    _fields_ = (
        ("beat_s", ctypes.c_double),  # monotonic (the same clock in all processes of a host); 0: no beat yet
        ("ready", ctypes.c_int),
        ("reason", ctypes.c_char * _REASON_BYTES),
    )


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What a child gets from `_run_child`, as the first argument of its target.

    Attributes:
        stop: set when the child shall end; wait on it instead of sleeping.
    """

    name: str
    role: str
    stop: threading.Event
    board: ChildBoard

    def beat(self) -> None:
        """Say that the work goes on. Call it from the thread that does the work, several times per `hang_s`."""
        self.board.beat_s = time.monotonic()

    def ready(self) -> None:
        """Say that everything is loaded: children that wait for this one are started, and beats are expected."""
        self.beat()
        self.board.ready = 1


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to run one child.

    Attributes:
        name: unique in a supervisor; for a worker its camera or cameras.
        target: a function at the top level of a module, called with a `ChildContext` and `args`; returns the exit
            code (None: 0). Its module is imported in the child only.
        args: anything that can be sent to a spawned process.
        role: worker, matcher, …; neighbours with the same role are stopped at the same moment.
        service: runs until it is told to stop; when all children that are none have ended, so does the run.
        wait_ready: the children after it are started when it is ready.
        ready_s: longest time until it is ready.
    """

    name: str
    target: Callable[..., int | None]
    args: tuple[Any, ...] = ()
    role: str = "worker"
    service: bool = False
    wait_ready: bool = False
    ready_s: float = READY_S


@dataclass(eq=False, slots=True)
class Child:
    """One running child process."""

    spec: ChildSpec
    process: SpawnProcess
    board: ChildBoard
    started_s: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def is_ready(self) -> bool:
        return bool(self.board.ready)

    @property
    def last_beat_s(self) -> float:
        """Monotonic; the start when it has not beaten yet."""
        return max(self.started_s, float(self.board.beat_s))

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 for SIGKILL and so on."""
        return self.process.exitcode

    @property
    def reason(self) -> str:
        """Why it ended, in words; for an ended child."""
        said = bytes(self.board.reason).decode(errors="replace")
        code = self.exit_code
        if code is not None and code < 0:
            return f"killed by {_signal_name(-code)}"
        return said or f"exit code {code}"

    def send_stop(self) -> None:
        if self.exit_code is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.exit_code is None:
            self.process.kill()


def start_child(spec: ChildSpec, log_level: str = "INFO") -> Child:
    """Spawn a child; it dies with the calling thread.

    Raises:
        ValueError: the target is not a function at the top level of a module.
    """
    module, name = spec.target.__module__, spec.target.__qualname__
    if "." in name or "<" in name:
        raise ValueError(f"child {spec.name}: expected a function at the top level of a module, got {name}")
    context = multiprocessing.get_context("spawn")
    board = RawValue(ChildBoard)
    # The target goes by name: unpickling it would import its module before the child is tied to its parent.
    process = context.Process(
        target=_run_child,
        name=f"{spec.role}/{spec.name}",
        args=(module, name, spec.args, spec.name, spec.role, board, os.getpid(), log_level),
    )
    child = Child(spec, process, board)
    process.start()
    return child


def stop_children(
    children: Iterable[Child], timeout_s: float, *, hurry: threading.Event | None = None, kill_s: float = 1.0
) -> list[str]:
    """Stop children together: SIGTERM, up to `timeout_s` of patience (none once `hurry` is set), then SIGKILL.

    Returns:
        Names of those that had to be killed.
    """
    running = [c for c in children if c.exit_code is None]
    for child in running:
        child.send_stop()
    deadline_s = time.monotonic() + timeout_s
    while any(c.exit_code is None for c in running) and time.monotonic() < deadline_s:
        if hurry is not None and hurry.is_set():
            break
        _wait_for_exit(running, min(0.1, max(0.0, deadline_s - time.monotonic())))
    late = [c for c in running if c.exit_code is None]
    for child in late:
        child.kill()
    for child in late:
        child.process.join(kill_s)
        _log.warning("%s did not stop within %.1f s and was killed", child.spec.name, timeout_s)
    return [c.spec.name for c in late]


def stop_on_signals(signals: Sequence[signal.Signals], on_stop: Callable[[], None] = lambda: None) -> threading.Event:
    """An event that any of these signals sets, even while the main thread sits in a call that does not return.

    Python runs its handlers in the main thread between two instructions; the byte that the interpreter writes to the
    wake-up descriptor comes at once, and a thread reads it. For the main thread of a process, once.

    Args:
        on_stop: called in that thread for every signal.
    """
    stop = threading.Event()
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while True:
            if any(number in signals for number in os.read(read_fd, 16)):
                stop.set()
                on_stop()

    threading.Thread(target=watch, name="signals", daemon=True).start()
    return stop


def standalone_context(role: str, name: str) -> ChildContext:
    """The context for a role that runs as a process of its own, stopped by SIGTERM or Ctrl-C."""
    return ChildContext(name, role, stop_on_signals((signal.SIGTERM, signal.SIGINT)), ChildBoard())


def run_target(context: ChildContext, target: Callable[..., int | None], args: Sequence[Any] = ()) -> int:
    """Call a target and make an exit code of whatever happens: 2 when a restart cannot help, 1 when it may."""
    try:
        code = target(context, *args)
    except (ConfigError, WeightsError, BusRefused) as error:
        _note(context.board, str(error))
        _log.error("%s", error)
        return FATAL
    except PipelineError as error:
        _note(context.board, str(error))
        _log.error("%s", error)
        return FAILED
    except Exception as error:  # the edge of the process
        _note(context.board, f"{type(error).__name__}: {error}")
        _log.exception("unexpected error")
        return FAILED
    return DONE if code is None else code


def _run_child(
    module: str,
    function: str,
    args: tuple[Any, ...],
    name: str,
    role: str,
    board: ChildBoard,
    parent_pid: int,
    log_level: str,
) -> None:
    """The child's main function."""
    for number in (signal.SIGINT, signal.SIGHUP):  # these go to the whole group; the parent stops us in its order
        signal.signal(number, signal.SIG_IGN)
    stop = stop_on_signals((signal.SIGTERM,), lambda: _end_if_orphan(parent_pid))
    _die_with_parent(parent_pid)
    logs = setup_logging(log_level, role, name)
    context = ChildContext(name, role, stop, board)
    try:
        target = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        _note(board, f"cannot import {module}.{function}: {error}")
        _log.exception("cannot import %s.%s", module, function)
        code = FAILED
    else:
        code = run_target(context, target, args)
    logs.close()
    _end_within(LINGER_S, code)
    sys.exit(code)


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        _log.warning("cannot tie this process to its parent: %s", os.strerror(ctypes.get_errno()))
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(FAILED)


def _end_if_orphan(parent_pid: int) -> None:
    if os.getppid() != parent_pid:
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_S)  # SIGALRM's default action is the kernel's own


def _end_within(seconds: float, code: int) -> None:
    def end() -> None:
        time.sleep(seconds)
        os._exit(code)

    threading.Thread(target=end, name="end", daemon=True).start()


def _note(board: ChildBoard, reason: str) -> None:
    text = redact(" | ".join(reason.splitlines()))
    board.reason = text.encode()[: _REASON_BYTES - 1]


def _wait_for_exit(children: Sequence[Child], timeout_s: float) -> None:
    wait([c.process.sentinel for c in children if c.exit_code is None], timeout_s)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
