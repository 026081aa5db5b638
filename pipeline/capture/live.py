"""What all live sources share: a reader thread that keeps only the newest picture, the watchdog, and reconnecting."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.capture.decoding import NobodyListens
from pipeline.capture.latest import LatestSlot
from pipeline.capture.stamps import LiveClock
from pipeline.capture.watchdog import CameraCondition, Verdict, Watchdog
from pipeline.config import CaptureConfig
from pipeline.errors import SourceError, SourceLost, SourceRefused
from pipeline.types import Frame, ImageArray

log = logging.getLogger(__name__)

POLL_S = 0.1  # how often a waiting consumer looks at the packet age; a tenth of the 1 s in which OFFLINE must be said
KNOCK_EVERY_S = 1.5  # how often a camera that is away is asked for a sign of life: leaves half of the 3 s to open it
JOIN_S = 1.0  # how long `close` waits for the reader, which may sit in a read; it ends by itself afterwards


class Picture(Protocol):
    """A picture that is converted only if somebody takes it."""

    @property
    def width_px(self) -> int: ...

    @property
    def height_px(self) -> int: ...

    def fingerprint(self) -> int: ...

    def to_bgr(self) -> ImageArray: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came from a camera at once: packets without a picture count as a sign of life.

    Attributes:
        stamp_s: the camera's own time stamp on a scale of its own, seconds.
        errors: how many packets or pictures of this arrival were corrupt.
    """

    picture: Picture | None
    stamp_s: float | None = None
    damaged: bool = False
    errors: int = 0


class Connection(Protocol):
    """One connection to a camera; opened, read and closed by the reader thread alone."""

    def arrivals(self) -> Iterator[Arrival]:
        """What comes, until the stream ends.

        Raises:
            SourceLost: it broke.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A picture on its way to the consumer."""

    epoch: str
    index: int
    captured_at_s: float
    picture: Picture
    damaged: bool


class LiveSource:
    """A camera that is read for ever: gaps are reported and bridged, never raised.

    `frames` runs in the consumer's thread and is where `on_state` is called, so states and frames come in order and
    need no lock. A daemon thread opens, reads, decodes and closes the camera.

    Args:
        connect: makes one connection; raises SourceError when the camera cannot be opened.
        new_epoch: a fresh epoch for the first frame after every gap (start, loss, stall, freeze, jump, new size).
        clock: wall clock, Unix seconds. monotonic: for durations, seconds.
        on_state: told of every new condition.
        knock: a cheap look whether the camera could be there, without credentials. A wait between two attempts is cut
            short when the camera was not there and is again, so that long waits do not delay its return.
    """

    def __init__(
        self,
        camera_id: str,
        connect: Callable[[], Connection],
        *,
        config: CaptureConfig,
        new_epoch: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_state: Callable[[CameraCondition], None] = lambda condition: None,
        jitter: random.Random | None = None,
        knock: Callable[[], bool] = lambda: True,
    ) -> None:
        self._camera_id = camera_id
        self._connect = connect
        self._new_epoch = new_epoch
        self._clock = clock
        self._monotonic = monotonic
        self._on_state = on_state
        self._knock = knock
        self._watchdog = Watchdog(config, jitter or random.Random())
        self._lock = threading.Lock()  # over the watchdog, the counters and the detail
        self._counts: Counter[str] = Counter()
        self._detail = ""
        self._nobody_listened = False
        self._slot: LatestSlot[_Waiting] = LatestSlot()
        self._closing = threading.Event()
        self._live_clock = LiveClock()
        self._epoch = ""
        self._index = 0
        self._size_px = (0, 0)
        self._failure: Exception | None = None

    @property
    def condition(self) -> CameraCondition:
        """The camera's state now, stall included, whoever asks and whenever."""
        with self._lock:
            self._watchdog.tick(self._monotonic())
            return self._watchdog.condition

    @property
    def detail(self) -> str:
        """Why the camera was last lost or refused, one line without credentials; empty when it never was."""
        with self._lock:
            return self._detail

    @property
    def counters(self) -> Mapping[str, int]:
        """Since the start: frames received, delivered, skipped (a newer one came), stale (came after a gap), frozen and
        damaged; corrupt packets and pictures; connections, losses, and jumps of the time stamps.
        """
        names = ("received", "delivered", "frozen", "stale", "corrupt", "damaged", "connections", "losses", "jumps")
        with self._lock:
            return {name: self._counts[name] for name in names} | {"skipped": self._slot.skipped}

    def close(self) -> None:
        """End `frames`, at once also when the camera is silent. May be called from any thread, and twice."""
        self._closing.set()
        self._slot.close()

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame whenever there is one, until `close`; to be iterated once."""
        reader = threading.Thread(target=self._read, name=f"capture-{self._camera_id}", daemon=True)
        reader.start()
        try:
            while not self._slot.closed:
                waiting = self._slot.take(POLL_S)
                self._report()
                if waiting is not None and self._is_current():
                    yield self._frame(waiting)
        finally:
            self.close()
            reader.join(JOIN_S)
            with self._lock:
                self._watchdog.close()
            self._report()
        if self._failure is not None:
            raise self._failure

    def _is_current(self) -> bool:
        """Whether the frame that was just taken may still be shown: the camera may have gone in between."""
        with self._lock:
            live = self._watchdog.condition is CameraCondition.LIVE
            self._counts["delivered" if live else "stale"] += 1
            return live

    def _frame(self, waiting: _Waiting) -> Frame:
        return Frame(
            camera_id=self._camera_id,
            epoch=waiting.epoch,
            index=waiting.index,
            captured_at_s=waiting.captured_at_s,
            image=waiting.picture.to_bgr(),
            damaged=waiting.damaged,
        )

    def _report(self) -> None:
        with self._lock:
            self._watchdog.tick(self._monotonic())
            changes = self._watchdog.take_changes()
        for condition in changes:
            log.info("camera %s: %s", self._camera_id, condition.value)
            self._on_state(condition)

    def _read(self) -> None:
        """The reader thread: connect, read, wait, again."""
        try:
            while not self._closing.is_set():
                self._wait(self._connect_once())
        except Exception as error:  # the edge of a thread: the consumer raises it
            self._failure = error
        finally:
            self._slot.close()

    def _wait(self, wait_s: float) -> None:
        """Wait for the next attempt, for `close`, or until a camera that was away is back."""
        patient = self._watchdog.condition is CameraCondition.REFUSED or wait_s <= KNOCK_EVERY_S
        was_there = patient or (not self._nobody_listened and self._knock())
        while wait_s > 0 and not self._closing.wait(wait_s if patient else min(wait_s, KNOCK_EVERY_S)):
            wait_s -= wait_s if patient else KNOCK_EVERY_S
            is_there = patient or self._knock()
            if is_there and not was_there:
                return
            was_there = is_there

    def _connect_once(self) -> float:
        """Read one connection until it ends; seconds to wait before the next."""
        try:
            connection = self._connect()
            try:
                self._drain(connection)
            finally:
                connection.close()
        except SourceRefused as error:
            return self._lost(error, self._watchdog.refused)
        except SourceError as error:
            return self._lost(error, lambda: self._watchdog.lost(self._monotonic()))
        return 0.0  # closed

    def _lost(self, error: SourceError, wait_s: Callable[[], float]) -> float:
        self._slot.clear()
        with self._lock:
            self._counts["losses"] += 1
            self._nobody_listened = isinstance(error, NobodyListens)
            news = self._detail != str(error)
            self._detail = str(error)
            wait = wait_s()
        if not self._closing.is_set():
            log.log(logging.WARNING if news else logging.DEBUG, "camera %s: %s", self._camera_id, error)
        return wait

    def _drain(self, connection: Connection) -> None:
        with self._lock:
            self._counts["connections"] += 1
            self._watchdog.opened(self._monotonic())
        for arrival in connection.arrivals():
            if self._closing.is_set():
                return
            self._arrived(arrival)
        if not self._closing.is_set():
            raise SourceLost("the camera ended the stream")

    def _arrived(self, arrival: Arrival) -> None:
        now_s, arrival_s = self._monotonic(), self._clock()
        fingerprint = arrival.picture.fingerprint() if arrival.picture else 0
        verdict = Verdict.DROP
        with self._lock:
            self._counts["corrupt"] += arrival.errors
            fresh = self._watchdog.packet(now_s)
            if arrival.picture:
                self._counts["received"] += 1
                verdict = self._watchdog.picture(now_s, fingerprint)
                self._counts["damaged"] += arrival.damaged
                self._counts["stale"] += not fresh
                self._counts["frozen"] += self._watchdog.condition is CameraCondition.FROZEN
        if not fresh:
            raise SourceLost("no packet for too long; what came after the gap is old")
        if verdict is Verdict.DROP:
            self._slot.clear()
        elif arrival.picture:
            self._hand_over(arrival, arrival.picture, verdict, arrival_s)

    def _hand_over(self, arrival: Arrival, picture: Picture, verdict: Verdict, arrival_s: float) -> None:
        size_px = (picture.width_px, picture.height_px)
        if verdict is Verdict.NEW_EPOCH:
            self._live_clock.restart()
        captured_at_s, jumped = self._live_clock.time_of(arrival.stamp_s, arrival_s)
        if jumped or verdict is Verdict.NEW_EPOCH or size_px != self._size_px:
            self._epoch, self._index, self._size_px = self._new_epoch(), 0, size_px
        with self._lock:
            self._counts["jumps"] += jumped
        self._slot.put(_Waiting(self._epoch, self._index, captured_at_s, picture, arrival.damaged))
        self._index += 1
