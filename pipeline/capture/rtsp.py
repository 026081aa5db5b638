"""RTSP cameras: PyAV over TCP, the newest frame wins, reconnecting for ever."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from pipeline.capture.decoding import DecodedPicture, Video, open_stream
from pipeline.capture.live import Arrival, LiveSource
from pipeline.capture.watchdog import CameraCondition
from pipeline.config import CaptureConfig

RTSP_PORT = 554  # RFC 2326
KNOCK_TIMEOUT_S = 0.5  # a camera in the same building answers within milliseconds


class RtspConnection:
    """One RTSP session. A fault stays in the picture until the next key frame, and so does the mark `damaged`."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._damaged = False

    def arrivals(self) -> Iterator[Arrival]:
        """One arrival for each picture, or for a packet without one.

        Raises:
            SourceLost: the connection broke. The end of the stream just ends the iteration.
        """
        for packet in self._video.packets():
            if packet.size == 0:  # the library's mark of the end, not something that came
                continue
            decoded = self._video.decode(packet)
            errors = int(decoded.failed or decoded.flagged)
            self._damaged = self._damaged or errors > 0
            for picture in decoded.pictures:
                yield self._arrival(picture, errors)
                errors = 0
            if not decoded.pictures:
                yield Arrival(None, errors=errors)

    def _arrival(self, picture: DecodedPicture, errors: int) -> Arrival:
        clean_key = picture.is_key and not picture.is_corrupt and errors == 0
        self._damaged = not clean_key and (self._damaged or picture.is_corrupt)
        return Arrival(picture, picture.stamp_s, self._damaged, errors + picture.is_corrupt)

    def close(self) -> None:
        self._video.close()


class RtspSource(LiveSource):
    """One RTSP camera as an endless source of frames; see `LiveSource` for the arguments."""

    def __init__(
        self,
        camera_id: str,
        url: str,
        *,
        config: CaptureConfig,
        new_epoch: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_state: Callable[[CameraCondition], None] = lambda condition: None,
        jitter: random.Random | None = None,
    ) -> None:
        super().__init__(
            camera_id,
            lambda: RtspConnection(open_stream(url, config)),
            config=config,
            new_epoch=new_epoch,
            clock=clock,
            monotonic=monotonic,
            on_state=on_state,
            jitter=jitter,
            knock=lambda: listens(url),
        )


def listens(url: str) -> bool:
    """Whether somebody accepts TCP connections at the URL's address; nothing is sent."""
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or RTSP_PORT)
        socket.create_connection(address, KNOCK_TIMEOUT_S).close()
    except (OSError, ValueError):  # ValueError: not an address at all
        return False
    return True
