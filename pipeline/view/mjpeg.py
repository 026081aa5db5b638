"""One camera's previews as a multipart stream to one browser; a viewer that does not read is dropped."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.view.previews import Preview, PreviewHub

_log = logging.getLogger(__name__)

_BOUNDARY = b"--frame\r\n"
_MEDIA_TYPE = "multipart/x-mixed-replace; boundary=frame"

Drop = Callable[[Any], None]  # cuts the connection of a client, given as (host, port)


class MjpegResponse(Response):
    """Sends the newest preview whenever there is one and the viewer has taken the one before; it skips the rest.

    Args:
        stopping: says that the server ends; `hub.wake_all()` makes every stream look at it.
        stuck_s: a viewer that takes nothing for this long is cut off.
        drop: how to cut it off; an orderly close would wait for the unread bytes for ever.
    """

    def __init__(
        self, hub: PreviewHub, camera_id: str, stopping: Callable[[], bool], stuck_s: float, drop: Drop
    ) -> None:
        super().__init__(media_type=_MEDIA_TYPE)
        del self.headers["content-length"]
        self._hub = hub
        self._camera_id = camera_id
        self._stopping = stopping
        self._stuck_s = stuck_s
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        woken = asyncio.Event()
        gone = asyncio.ensure_future(_until_disconnected(receive))
        gone.add_done_callback(lambda _: woken.set())
        viewer = self._hub.join(self._camera_id, _waker(woken))
        finished = False
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_pictures(send, woken, gone)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finished = True
        except TimeoutError:
            _log.info("camera %s: a viewer took nothing for %g s and was dropped", self._camera_id, self._stuck_s)
        finally:
            self._hub.leave(self._camera_id, viewer)
            if not finished:
                self._drop(scope.get("client"))
            else:
                gone.cancel()
        if not finished:
            await gone  # the server must see the cut before this returns, or it reports an unfinished answer

    async def _send_pictures(self, send: Send, woken: asyncio.Event, gone: "asyncio.Future[None]") -> None:
        number = 0
        body = _BOUNDARY
        while not (gone.done() or self._stopping()):
            woken.clear()
            preview = self._hub.newest(self._camera_id, number)
            if preview is None:
                await woken.wait()
                continue
            number = preview.number
            # the next boundary goes along with each picture: browsers show a part only when they see its end
            body += _part(preview)
            async with asyncio.timeout(self._stuck_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            body = b""


def _part(preview: Preview) -> bytes:
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(preview.jpeg)}\r\n\r\n".encode()
    return head + preview.jpeg + b"\r\n" + _BOUNDARY


def _waker(event: asyncio.Event) -> Callable[[], None]:
    """Sets the event of this loop from any thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop was closed between the publisher's look and its call
            _log.debug("a preview came after the page's end")

    return wake


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
