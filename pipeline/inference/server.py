"""The inference process: one detector and one crop encoder for all cameras of a host.

A thread per connection reads requests and sends answers; one compute thread takes what waits, joins requests of one
kind into a batch, and computes. A worker that is stopped or slow therefore holds up only its own thread.
"""

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.errors import DecodeError, OutputError
from pipeline.inference.batching import RequestQueue, read_request
from pipeline.inference.compute import IDLE_S, Computer, Counters, Limits, Observer
from pipeline.inference.shared_frames import FRAMES_FOLDER, FrameReader, StaleFrame
from pipeline.inference.wire import Arrays, Head, check_socket_path, receive_message, send_message
from pipeline.ports import CropEncoder, Detector, EncoderDescription

SEND_TIMEOUT_S = 5.0  # a worker that does not read its answer for so long is dropped
_BACKLOG = 64  # connections that wait to be accepted: as many cameras as one host will hardly have
_UCRED = struct.Struct("3i")  # pid, uid, gid of the process at the other end

_log = logging.getLogger(__name__)


class InferenceServer:
    """Serves `detect`, `encode` and `describe` on a local socket until `stop`.

    Args:
        socket_path: in a folder with mode 0700; removed by `stop`.
    """

    def __init__(
        self,
        detector: Detector,
        encoder: CropEncoder,
        socket_path: Path,
        *,
        limits: Limits | None = None,
        observer: Observer | None = None,
        frames_folder: Path = FRAMES_FOLDER,
    ) -> None:
        self._path = socket_path
        self._frames_folder = frames_folder
        self._observer = observer or Observer()
        self._description = _description_message(encoder.describe())
        self._queue = RequestQueue()
        self._counters = Counters()
        self._computer = Computer(detector, encoder, self._queue, self._counters, limits or Limits(), self._observer)
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards the connections
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Listen and serve, in threads of its own. A server that was stopped is not started again.

        Raises:
            OutputError: the socket cannot be made, or another process listens on it.
        """
        self._listener = _listen(self._path)
        self._threads = [
            threading.Thread(target=self._accept, args=(self._listener,), name="inference-accept", daemon=True),
            threading.Thread(target=self._computer.run, args=(self._stopping,), name="inference-compute", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def run_until(self, stop: threading.Event) -> int:
        """Start, wait for `stop`, stop. Returns 0, or 1 when computing fails again and again: a restart may help."""
        with self:
            while not stop.wait(IDLE_S / 2):
                if self._computer.is_broken or not all(t.is_alive() for t in self._threads):
                    _log.error("inference fails again and again; giving up so that the process is started afresh")
                    return 1
        return 0

    def stop(self, timeout_s: float = 3.0) -> None:
        """Finish what is being computed, refuse what waits, close all connections, remove the socket."""
        self._stopping.set()
        self._queue.close()
        _wake(self._path)
        deadline_s = time.monotonic() + timeout_s
        _join(self._threads, deadline_s)
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            _stop_reading(connection)
        _join(list(connections.values()), deadline_s)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def counters(self) -> dict[str, float]:
        """Requests, pictures, crops and losses so far, and how many connections are open and requests waiting."""
        with self._lock:
            connections = len(self._connections)
        return {**self._counters.snapshot(), "connections": float(connections), "waiting": float(len(self._queue))}

    def __enter__(self) -> "InferenceServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of descriptors: wait for some to come back
                _log.warning("cannot accept a connection: %s", error)
                self._stopping.wait(IDLE_S)
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="inference-client", daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        reader = FrameReader(folder=self._frames_folder)
        try:
            if _is_ours(connection):
                self._converse(connection, reader)
            else:
                self._counters.add("connections_refused")
        except (OSError, DecodeError) as error:
            self._counters.add("connections_lost")
            _log.info("lost a connection: %s", error)
        finally:
            reader.close()
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def _converse(self, connection: socket.socket, reader: FrameReader) -> None:
        while not self._stopping.is_set():
            connection.settimeout(None)
            message = receive_message(connection)
            if message is None:
                return
            connection.settimeout(SEND_TIMEOUT_S)
            send_message(connection, *self._reply(*message, connection, reader))

    def _reply(
        self, head: Head, arrays: Arrays, connection: socket.socket, reader: FrameReader
    ) -> tuple[Head, Sequence[Any]]:
        if head.get("kind") == "describe":
            return self._description
        try:
            request = read_request(head, arrays, connection, reader, self._observer.monotonic())
        except StaleFrame as error:
            self._counters.add("stale")
            return {"error": "stale", "text": str(error)}, []
        except DecodeError as error:
            self._counters.add("bad_requests")
            return {"error": "bad request", "text": str(error)}, []
        self._counters.add(f"requests_{request.kind}")
        self._queue.put(request)
        request.done.wait()
        request.frames.clear()  # views into shared memory must not outlive the request
        return request.answer


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`; what a killed predecessor left there is replaced."""
    check_socket_path(path)
    if _somebody_listens(path):
        raise OutputError(f"another inference process listens on {path}; stop it first")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.settimeout(IDLE_S)
    except OSError as error:
        listener.close()
        raise OutputError(f"cannot listen on {path}: {error.strerror or error}") from None
    return listener


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(IDLE_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise OutputError(f"cannot listen on {path}: {error.strerror or error}") from None
        return True


def _is_ours(connection: socket.socket) -> bool:
    """Whether the same user (or root) is at the other end: a second lock behind the folder's mode."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return uid in (0, os.getuid())


def _wake(path: Path) -> None:
    """A connection that makes the accepting thread look up; without it the thread does so a little later."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(IDLE_S)
        connection.connect_ex(str(path))


def _stop_reading(connection: socket.socket) -> None:
    """Wake the thread that reads from it; an answer under way still leaves."""
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # closed already


def _join(threads: Sequence[threading.Thread], deadline_s: float) -> None:
    for thread in threads:
        thread.join(max(0.1, deadline_s - time.monotonic()))


def _description_message(description: EncoderDescription) -> tuple[Head, Arrays]:
    projection = description.projection
    head: Head = {
        "model_id": description.model_id,
        "stripes": description.stripes,
        "channels": description.channels,
        "relu": None if projection is None else projection.relu,
    }
    return head, [] if projection is None else [projection.weight, projection.bias]
