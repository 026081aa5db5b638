"""Draws the overlay where the pixels are, in the worker, on threads of its own: previews on demand, and the video file.

A live camera is never held up: what the drawing thread cannot take is dropped and counted. A recorded camera whose
overlay is written to a file waits instead, so that the video has every frame.
"""

import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from pipeline.background.files import encode_jpeg
from pipeline.bus.connection import bus_errors
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import IDENTITIES, preview_key, stream_key
from pipeline.errors import BusRefused, BusUnavailable, OutputError
from pipeline.resolution import IdentityBook
from pipeline.types import Frame, IdentityEvent, ImageArray, TrackedFrame, TrackKey
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

_log = logging.getLogger(__name__)

MAX_TRACKS = 2_000  # of all cameras; older ones are on no picture any more
MAX_EVENTS = 64  # of the newest; badges last seconds
ASK_EVERY_S = 0.5  # how often a worker looks whether somebody watches
PREVIEW_TTL_S = 3
WANTED_TTL_S = 3
STATE_EVERY_S = 0.5  # a camera that is away shows its last picture with a banner, this often
JPEG_QUALITY = 80  # text stays sharp; about 40 KB at 640×360
_WAIT_S = 0.1
_RETRY_S = 0.5


def wanted_key(site: str, camera_id: str) -> str:
    """Key that exists while somebody watches a camera."""
    return preview_key(site, camera_id) + ":wanted"


class IdentityFollower:
    """Follows the identity events of the site from now on, in a thread: which track is who. Thread-safe."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._book = IdentityBook(remember=MAX_TRACKS)
        self._events: deque[IdentityEvent] = deque(maxlen=MAX_EVENTS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="identities", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(3.0)  # a blocking read takes up to 0.5 s

    def take(self, event: IdentityEvent) -> None:
        """Note one event."""
        with self._lock:
            self._events.append(event)
            self._book.take(event)

    def identities(self, camera_id: str, epoch: str, track_ids: Iterable[int]) -> dict[int, int]:
        """track id → identity id, for those that are known."""
        with self._lock:
            keys = {i: TrackKey(camera_id, epoch, i) for i in track_ids}
            return {i: self._book.final(key) for i, key in keys.items() if self._book.is_known(key)}

    def names(self) -> dict[int, str]:
        with self._lock:
            return self._book.names()

    def events(self) -> list[IdentityEvent]:
        with self._lock:
            return list(self._events)

    def _follow(self) -> None:
        after: str | None = None
        while not self._stop.is_set():
            try:
                after = after or newest_id(self._bus, IDENTITIES)
                for delivery in self._bus.read(IDENTITIES, after, _RETRY_S):
                    after = delivery.id
                    if isinstance(delivery.message, IdentityEvent):
                        self.take(delivery.message)
            except BusRefused as error:
                _log.error("%s; the overlay shows no identities", error)
                return
            except BusUnavailable:
                self._stop.wait(_RETRY_S)


def newest_id(bus: RedisBus, stream: str) -> str:
    """Where a reader has to go on to get what comes from now on; "0" for an empty stream.

    Raises:
        BusUnavailable, BusRefused.
    """
    with bus_errors(bus.address):
        newest = bus.client.xrevrange(stream_key(bus.site, stream), count=1)
    return str(newest[0][0].decode()) if newest else "0"


class Previews(Protocol):
    """Where small pictures go."""

    def wanted(self) -> bool: ...

    def publish(self, jpeg: bytes) -> None: ...


class BusPreviews:
    """A camera's preview in Redis, for as long as somebody asks for it; faults of Redis mean nobody does."""

    def __init__(self, bus: RedisBus, camera_id: str) -> None:
        self._bus = bus
        self._key = preview_key(bus.site, camera_id)
        self._wanted_key = wanted_key(bus.site, camera_id)

    def wanted(self) -> bool:
        try:
            with bus_errors(self._bus.address):
                return bool(self._bus.client.exists(self._wanted_key))
        except BusUnavailable as error:
            _log.debug("no previews: %s", error)
            return False

    def publish(self, jpeg: bytes) -> None:
        try:
            with bus_errors(self._bus.address):
                self._bus.client.set(self._key, jpeg, ex=PREVIEW_TTL_S)
        except BusUnavailable as error:
            _log.debug("no previews: %s", error)


@dataclass(eq=False, slots=True)
class OverlayParts:
    """What an `OverlayFeed` is made of; without `video` and `previews` it does nothing.

    Attributes:
        lossless: wait for the drawing thread instead of dropping frames (recorded cameras with a video).
    """

    camera_id: str
    follower: IdentityFollower
    drawer: OverlayDrawer
    video: VideoWriter | None = None
    previews: Previews | None = None
    preview_fps: float = 8.0
    preview_width_px: int = 640
    lossless: bool = False
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    losses: Counter[str] = field(default_factory=Counter)


class OverlayFeed:
    """Takes frames with their tracks and draws them in a thread."""

    def __init__(self, parts: OverlayParts) -> None:
        self._parts = parts
        self._queue: queue.Queue[tuple[Frame, TrackedFrame]] = queue.Queue(maxsize=8 if parts.lossless else 2)
        self._closing = threading.Event()
        self._state: str | None = None
        self._last: tuple[Frame, TrackedFrame] | None = None
        self._wanted = False
        self._asked_s = -ASK_EVERY_S
        self._previewed_s = -1.0
        self._banner_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"overlay-{parts.camera_id}", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame, tracked: TrackedFrame) -> None:
        """Take a frame; returns at once unless `lossless`."""
        while not self._closing.is_set():
            try:
                self._queue.put((frame, tracked), block=self._parts.lossless, timeout=_WAIT_S)
                return
            except queue.Full:
                if not self._parts.lossless:
                    self._parts.losses["overlay_frames_skipped"] += 1
                    return

    def set_state(self, state: str | None) -> None:
        """The camera's condition when it is away, else None."""
        self._state = state

    def close(self, timeout_s: float = 3.0) -> None:
        """Draw what waits and finish the video."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._queue.empty()):
                self._look_who_watches()
                try:
                    self._last = self._queue.get(timeout=_WAIT_S)
                except queue.Empty:
                    self._show_banner()
                    continue
                self._show(*self._last, self._last[0].captured_at_s)
        finally:
            self._close_video()

    def _look_who_watches(self) -> None:
        parts, now_s = self._parts, self._parts.monotonic()
        if parts.previews is not None and now_s >= self._asked_s + ASK_EVERY_S:
            self._asked_s = now_s
            self._wanted = parts.previews.wanted()

    def _show_banner(self) -> None:
        now_s = self._parts.monotonic()
        if self._state is not None and self._last is not None and now_s >= self._banner_s + STATE_EVERY_S:
            self._banner_s = now_s
            self._show(*self._last, self._parts.clock())

    def _show(self, frame: Frame, tracked: TrackedFrame, at_s: float) -> None:
        parts, now_s = self._parts, self._parts.monotonic()
        preview = self._wanted and now_s >= self._previewed_s + 1.0 / parts.preview_fps
        if parts.video is None and not preview:
            return
        picture = parts.drawer.draw(
            frame.image,
            at_s,
            tracked.tracks,
            parts.follower.identities(parts.camera_id, tracked.epoch, tracked.tracks.ids.tolist()),
            parts.follower.names(),
            parts.follower.events(),
            self._state,
            tracked.epoch,
        )
        if parts.video is not None:
            try:
                parts.video.write(picture, at_s)
            except OutputError as error:
                _log.error("%s; the video ends here", error)
                parts.video = None
        if preview and parts.previews is not None:
            self._previewed_s = now_s
            parts.previews.publish(_small_jpeg(picture, parts.preview_width_px))

    def _close_video(self) -> None:
        if self._parts.video is None:
            return
        try:
            self._parts.video.close()
        except OutputError as error:
            _log.error("%s", error)


def _small_jpeg(picture: ImageArray, width_px: int) -> bytes:
    height, width = picture.shape[:2]
    if width > width_px:
        size = (width_px, max(1, round(height * width_px / width)))
        return encode_jpeg(cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8), JPEG_QUALITY)
    return encode_jpeg(picture, JPEG_QUALITY)
