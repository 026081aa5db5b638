"""The plain web page: a tile per camera, the identities and the newest events, on loopback and behind a token.

    GET /                            the page (`?token=…` once; afterwards a cookie)
    GET /api/status                  {run, site, cameras: [...], identities: [...], warnings: [...], figures: {...}}
    GET /api/events?after=<number>   {run, newest, erasures, events: [...]}, oldest first
    GET /api/preview/<camera>.mjpg   multipart JPEG stream; /api/preview/<camera>.jpg one picture (204: none yet)

Nothing can be changed through it: sources and settings come from the config file only.
"""

import asyncio
import ipaddress
import logging
import math
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.errors import ConfigError, OutputError
from pipeline.types import IdentityEvent
from pipeline.view.guard import Guard
from pipeline.view.mjpeg import MjpegResponse
from pipeline.view.previews import PreviewHub
from pipeline.view.roster import Roster

_log = logging.getLogger(__name__)

MAX_VIEWERS = 32  # streams at once; each costs a copy of every preview on the network
STUCK_S = 10.0  # a browser on a bad network recovers sooner; one that was suspended does not
MIN_TOKEN = 16  # characters; shorter ones can be tried out
_SEND_BUFFER_BYTES = 256 * 1024  # some ten previews: what a slow viewer can be behind, besides its own side's buffer
_LINGER_NOT = struct.pack("ii", 1, 0)  # (on, 0 s): closing discards unsent bytes instead of keeping them for ever
_START_S = 10.0
_STOP_S = 5.0
_LAST_PICTURE_S = 0.5  # what viewers have for their last picture when the server stops
_STATIC = Path(__file__).parent / "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/app.css": ("app.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

StatusFunction = Callable[[], Mapping[str, Any]]


class Dashboard:
    """Serves the page from a thread of its own. It is a `Sink`: `write` takes the identity events that the page lists.

    Args:
        host: address to listen on; only loopback, unless `insecure`. port: 0 takes a free one.
        token: at least 16 characters; None makes one. `url` holds it.
        cameras: ids; nothing else can be asked for.
        status: called from a thread, about once a second per page; may give `site`, `cameras`
            ({id: {state, fps, people, detail}}, all optional), `warnings` (texts) and `figures` ({label: value}).
        insecure: allow an address that others can reach, without encryption.
        hosts: further names under which browsers reach the page (behind a proxy).

    Raises:
        ConfigError: an address beyond loopback without `insecure`. ValueError: a short token, no previews for a camera.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        cameras: Iterable[str],
        previews: PreviewHub,
        status: StatusFunction,
        insecure: bool = False,
        hosts: Iterable[str] = (),
        max_viewers: int = MAX_VIEWERS,
        stuck_s: float = STUCK_S,
    ) -> None:
        if not (insecure or _is_loopback(host)):
            raise ConfigError(
                f"view.host {host}: others could reach the page, unencrypted; keep 127.0.0.1 and use an SSH tunnel or "
                "a proxy with TLS, or set view.insecure"
            )
        self.token = secrets.token_urlsafe(24) if token is None else token
        if len(self.token) < MIN_TOKEN:
            raise ValueError(f"the page's token: expected at least {MIN_TOKEN} characters, got {len(self.token)}")
        self.cameras = tuple(cameras)
        missing = [camera for camera in self.cameras if camera not in previews.camera_ids]
        if missing:
            raise ValueError(f"no previews for {', '.join(missing)}")
        self.host = host
        self.port = port
        self.roster = Roster()
        self._previews = previews
        self._status = status
        self._hosts = tuple(hosts)
        self._max_viewers = max_viewers
        self._stuck_s = stuck_s
        self._run_id = secrets.token_hex(8)
        self._viewers: list[Any] = []  # (host, port) of every stream; touched by the server's thread only
        self._loop: asyncio.AbstractEventLoop | None = None  # the server's, as soon as there was a stream
        self._stopping = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What to open in a browser, with the token: for the terminal, not for a log."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::", "") else self.host
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{self.port}/?token={quote(self.token, safe='')}"

    def write(self, event: IdentityEvent) -> None:
        """Show one event. Thread-safe."""
        self.roster.write(event)

    def start(self) -> None:
        """Begin to serve; `port` and `url` are final afterwards.

        Raises:
            OutputError: the address is taken or is not this computer's.
        """
        if self._thread is not None:
            raise ValueError("the dashboard was started already")
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._application(),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,  # it would write the token
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="dashboard", daemon=True)
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                listener.close()
                raise OutputError(f"the web page on {self.host}:{self.port} did not start; the log says why")
            time.sleep(0.005)

    def stop(self) -> None:
        """End every stream and the server; stopping twice, or before the start, does no harm."""
        if self._thread is None or self._server is None:
            return
        self._stopping.set()
        self._server.should_exit = True
        self._previews.wake_all()
        self._thread.join(_LAST_PICTURE_S)
        if self._thread.is_alive() and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._drop_all)
            except RuntimeError:  # the server ended in between
                _log.debug("the web page ended by itself")
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            _log.warning("the web page did not end within %g s", _STOP_S)

    def __enter__(self) -> "Dashboard":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _application(self) -> Guard:
        routes = [Route(path, self._file) for path in _FILES]
        routes += [
            Route("/api/status", self._status_json),
            Route("/api/events", self._events_json),
            Route("/api/preview/{name}", self._preview),
        ]
        names = {self.host, socket.gethostname(), *self._hosts}
        return Guard(Starlette(routes=routes), self.token, names, f"page_{self.port}")

    async def _file(self, request: Request) -> Response:
        name, media_type = _FILES[request.url.path]
        return Response(await run_in_threadpool((_STATIC / name).read_bytes), media_type=media_type)

    async def _status_json(self, request: Request) -> Response:
        given = dict(await run_in_threadpool(self._status))
        states = given.get("cameras", {})
        cameras = [{"state": "UNKNOWN", **states.get(camera, {}), "id": camera} for camera in self.cameras]
        answer = {
            "run": self._run_id,
            "site": given.get("site", ""),
            "cameras": cameras,
            "identities": self.roster.identities(),
            "warnings": list(given.get("warnings", ())),
            "figures": dict(given.get("figures", {})),
        }
        return JSONResponse(_json_value(answer))

    async def _events_json(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            raise HTTPException(400, "after: expected a whole number\n")
        return JSONResponse(_json_value({"run": self._run_id, **self.roster.events(int(after))}))

    async def _preview(self, request: Request) -> Response:
        camera_id, _, ending = request.path_params["name"].rpartition(".")
        if camera_id not in self.cameras or ending not in ("jpg", "mjpg"):
            raise HTTPException(404, "no such camera\n")
        if ending == "jpg":
            preview = self._previews.snapshot(camera_id)
            return Response(status_code=204) if preview is None else Response(preview.jpeg, media_type="image/jpeg")
        if request.method == "HEAD":
            return Response(media_type="multipart/x-mixed-replace; boundary=frame")
        if len(self._viewers) >= self._max_viewers:
            raise HTTPException(503, "too many viewers\n", {"Retry-After": "5"})
        return _Counted(self, camera_id)

    def _drop_all(self) -> None:
        for client in self._viewers:
            self._drop(client)

    def _drop(self, client: Any) -> None:
        """Cut the connection of a client, given as (host, port), and let go of what it has not read."""
        connections = list(self._server.server_state.connections) if self._server else []
        for connection in connections:
            transport = getattr(connection, "transport", None)
            if transport is not None and getattr(connection, "client", None) == client:
                peer = transport.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                transport.abort()


class _Counted(MjpegResponse):
    """A stream that counts among the viewers of its dashboard."""

    def __init__(self, dashboard: Dashboard, camera_id: str) -> None:
        super().__init__(
            dashboard._previews, camera_id, dashboard._stopping.is_set, dashboard._stuck_s, dashboard._drop
        )
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        self._dashboard._loop = asyncio.get_running_loop()
        self._dashboard._viewers.append(client)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._dashboard._viewers.remove(client)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OutputError(f"view.host {host!r} is no address of this computer: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OutputError(
            f"the web page cannot listen on {host}:{port}: {error.strerror}; choose another view.port"
        ) from None
    return listener


def _json_value(value: Any) -> Any:
    """`value` as JSON can hold it: numbers that are not finite become null, unknown kinds their text."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
