"""The newest JPEG of every camera, handed to whoever watches; nobody who is slow holds anybody up."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

SNAPSHOT_LEASE_S = 3.0  # asking for a single picture counts as watching for this long; pages ask again within a second


@dataclass(frozen=True, slots=True)
class Preview:
    """One JPEG; `number` rises from 1 with every picture of its camera."""

    number: int
    jpeg: bytes


@dataclass(slots=True)
class _Channel:
    newest: Preview | None = None
    wake: dict[int, Callable[[], None]] = field(default_factory=dict)  # viewer → what to call when a picture comes
    lease_until_s: float = float("-inf")


class PreviewHub:
    """Thread-safe: workers publish, viewers take the newest. Old pictures are never kept, so memory stays flat.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, camera_ids: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._channels = {camera_id: _Channel() for camera_id in camera_ids}
        self._viewers = count(1)

    @property
    def camera_ids(self) -> tuple[str, ...]:
        return tuple(self._channels)

    def publish(self, camera_id: str, jpeg: bytes) -> None:
        """Make this the newest picture of the camera and wake its viewers.

        Raises:
            KeyError: no such camera.
        """
        with self._lock:
            channel = self._channels[camera_id]
            number = channel.newest.number + 1 if channel.newest else 1
            channel.newest = Preview(number, jpeg)
            wake = list(channel.wake.values())
        for call in wake:
            call()

    def wanted(self, camera_id: str) -> bool:
        """Whether somebody watches the camera now; if not, a worker need not encode. An unknown camera: no."""
        with self._lock:
            channel = self._channels.get(camera_id)
            return channel is not None and (bool(channel.wake) or self._clock() < channel.lease_until_s)

    def newest(self, camera_id: str, after: int = 0) -> Preview | None:
        """The newest picture if its number is above `after`.

        Raises:
            KeyError: no such camera.
        """
        with self._lock:
            preview = self._channels[camera_id].newest
        return preview if preview is not None and preview.number > after else None

    def snapshot(self, camera_id: str) -> Preview | None:
        """The newest picture, if any; the camera counts as watched for a few seconds from now.

        Raises:
            KeyError: no such camera.
        """
        with self._lock:
            channel = self._channels[camera_id]
            now_s = self._clock()
            if not channel.wake and now_s >= channel.lease_until_s:
                channel.newest = None  # from the last time somebody watched: minutes old, perhaps
            channel.lease_until_s = now_s + SNAPSHOT_LEASE_S
            return channel.newest

    def join(self, camera_id: str, wake: Callable[[], None]) -> int:
        """Begin to watch, and give the viewer's number.

        `wake` is called from the publisher's thread and must return at once.

        Raises:
            KeyError: no such camera.
        """
        with self._lock:
            channel = self._channels[camera_id]
            if not channel.wake and self._clock() >= channel.lease_until_s:
                channel.newest = None
            viewer = next(self._viewers)
            channel.wake[viewer] = wake
            return viewer

    def leave(self, camera_id: str, viewer: int) -> None:
        """Stop watching; leaving twice does no harm."""
        with self._lock:
            self._channels[camera_id].wake.pop(viewer, None)

    def wake_all(self) -> None:
        """Wake every viewer without a new picture, so that it can see that the server ends."""
        with self._lock:
            wake = [call for channel in self._channels.values() for call in channel.wake.values()]
        for call in wake:
            call()
