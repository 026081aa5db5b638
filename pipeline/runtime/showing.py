"""Feeds those who look: the web page and the window take states, identities and previews from the bus."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import cv2
import numpy as np

from pipeline.bus.connection import bus_errors
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import HEALTH, IDENTITIES, preview_key
from pipeline.errors import BusRefused, BusUnavailable
from pipeline.ports import BusMessage, Sink
from pipeline.runtime.overlaying import WANTED_TTL_S, wanted_key
from pipeline.types import Health, IdentityEvent, ImageArray
from pipeline.view.previews import PreviewHub
from pipeline.view.window import Window

_log = logging.getLogger(__name__)

SILENT_S = 10.0  # a camera whose worker says nothing for so long is shown as UNKNOWN
_WAIT_S = 0.5
_RETRY_S = 0.5


class StreamFollower:
    """Hands every message of a stream to a function, in a thread, from the beginning of what the stream keeps."""

    def __init__(self, bus: RedisBus, stream: str, take: Callable[[BusMessage], None]) -> None:
        self._bus = bus
        self._stream = stream
        self._take = take
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{stream}", daemon=True)
        self.failure: BusRefused | None = None
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(3.0)

    def _follow(self) -> None:
        after = "0"
        while not self._stop.is_set():
            try:
                for delivery in self._bus.read(self._stream, after, _WAIT_S):
                    after = delivery.id
                    self._take(delivery.message)
            except BusRefused as error:
                self.failure = error
                return
            except BusUnavailable as error:
                _log.debug("waiting for Redis: %s", error)
                self._stop.wait(_RETRY_S)


class SiteStatus:
    """What the page's status shows, from the newest health message of every process."""

    def __init__(
        self,
        site: str,
        cameras: Iterable[str],
        warnings: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._cameras = tuple(cameras)
        self._warnings = tuple(warnings)
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[str, Health] = {}

    def take(self, message: BusMessage) -> None:
        """Note one message of the health stream."""
        if isinstance(message, Health) and message.role == "worker":
            with self._lock:
                self._newest[message.name] = message

    def status(self) -> Mapping[str, Any]:
        """For `Dashboard`."""
        with self._lock:
            newest = dict(self._newest)
        cameras = {c: self._camera(newest[c]) for c in self._cameras if c in newest}
        ages = [h.counters.get("frame_age_s", 0.0) for h in newest.values()]
        return {
            "site": self._site,
            "cameras": cameras,
            "warnings": self._warnings,
            "figures": {"frame age": f"{max(ages):.2f} s"} if ages else {},
        }

    def _camera(self, health: Health) -> dict[str, Any]:
        silent = self._clock() - health.at_s > SILENT_S and health.state != "ENDED"
        return {
            "state": "UNKNOWN" if silent else health.state,
            "fps": round(health.counters.get("fps", 0.0), 1),
            "people": int(health.counters.get("people", 0)),
            "detail": "no word from its worker" if silent else health.detail,
        }


class PreviewFetcher:
    """Asks for the previews of watched cameras and hands the new ones on; `fetch` is for a loop."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self._seen: dict[str, bytes] = {}

    def fetch(self, cameras: Iterable[str]) -> dict[str, bytes]:
        """The JPEGs of these cameras that are new, and a word to their workers that somebody watches.

        Raises:
            BusUnavailable, BusRefused.
        """
        wanted = list(cameras)
        if not wanted:
            return {}
        with bus_errors(self._bus.address), self._bus.client.pipeline(transaction=False) as pipe:
            for camera_id in wanted:
                pipe.set(wanted_key(self._bus.site, camera_id), b"1", ex=WANTED_TTL_S)
                pipe.get(preview_key(self._bus.site, camera_id))
            answers = pipe.execute()[1::2]
        found = {c: jpeg for c, jpeg in zip(wanted, answers, strict=True) if jpeg and jpeg != self._seen.get(c)}
        self._seen.update(found)
        return found


class Page(Sink, Protocol):
    """The dashboard, as far as it is fed here."""

    @property
    def cameras(self) -> tuple[str, ...]: ...


def feed_page(
    bus: RedisBus,
    page: Page,
    hub: PreviewHub,
    status: SiteStatus,
    *,
    stop: threading.Event,
    beat: Callable[[], None],
    fps: float,
) -> None:
    """Feed a dashboard until `stop`.

    Raises:
        BusRefused: Redis refuses us.
    """
    followers = [
        StreamFollower(bus, HEALTH, status.take),
        StreamFollower(bus, IDENTITIES, lambda m: page.write(m) if isinstance(m, IdentityEvent) else None),
    ]
    fetcher = PreviewFetcher(bus)
    try:
        while not stop.wait(1.0 / fps):
            beat()
            _raise_refusal(followers)
            try:
                for camera_id, jpeg in fetcher.fetch([c for c in page.cameras if hub.wanted(c)]).items():
                    hub.publish(camera_id, jpeg)
            except BusRefused:
                raise
            except BusUnavailable as error:
                _log.debug("no previews: %s", error)
                stop.wait(_RETRY_S)
    finally:
        for follower in followers:
            follower.close()


def feed_window(
    bus: RedisBus,
    window: Window,
    cameras: Iterable[str],
    *,
    stop: threading.Event,
    beat: Callable[[], None],
    fps: float,
) -> None:
    """Show the previews of all cameras until the user closes the window or `stop` is set.

    Raises:
        BusRefused: Redis refuses us.
    """
    pictures: dict[str, ImageArray] = {camera_id: np.zeros((360, 640, 3), np.uint8) for camera_id in cameras}
    fetcher = PreviewFetcher(bus)
    while not stop.wait(1.0 / fps):
        beat()
        try:
            new = fetcher.fetch(pictures)
        except BusRefused:
            raise
        except BusUnavailable as error:
            _log.debug("no previews: %s", error)
            new = {}
        for camera_id, jpeg in new.items():
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                pictures[camera_id] = picture.astype(np.uint8, copy=False)
        if not window.show(list(pictures.values())):
            return


def _raise_refusal(followers: Iterable[StreamFollower]) -> None:
    for follower in followers:
        if follower.failure is not None:
            raise follower.failure
