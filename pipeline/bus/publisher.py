"""Publishing that never holds up its caller: a thread of its own, and a spool on disk while Redis is away."""

import logging
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pipeline.bus.codec import encode
from pipeline.bus.spool import Spool, Spooled
from pipeline.bus.streams import is_ephemeral, stream_key
from pipeline.errors import BusRefused, BusUnavailable
from pipeline.ports import BusMessage

_log = logging.getLogger(__name__)

_BATCH_MESSAGES = 64  # per transaction: most of pipelining's gain comes by 32
_BATCH_BYTES = 1 << 20
_QUEUE_BYTES = 64 << 20  # waiting in memory: more than a minute of 8 KB messages at 100 a second
_RETRY_S = (0.2, 0.5, 1.0, 2.0)  # pauses between attempts while Redis is away
_RECENT_S = 5.0  # a server that is killed may lose 2 s of answered writes (appendfsync everysec): keep twice that
_IDLE_S = 0.5  # longest sleep of an idle thread


class BatchBus(Protocol):
    """What the publisher needs of a bus: `RedisBus` and `MemoryBus` have it."""

    def publish_batch(self, batch: Sequence[tuple[str, Mapping[bytes, bytes]]], mark: tuple[str, int] | None) -> None:
        """Append all or nothing, together with the producer's mark.

        Raises:
            BusUnavailable: nobody knows which. BusRefused: not ever.
        """
        ...

    def last_sent(self, producer: str) -> int:
        """The number in the last mark that was applied; 0 when there is none.

        Raises:
            BusUnavailable, BusRefused.
        """
        ...


@dataclass
class PublisherCounters:
    """What became of the messages; one that was `spooled` is counted again when it is published or dropped."""

    published: int = 0
    spooled: int = 0
    found_published: int = 0  # the answer was lost, the message was not
    published_again: int = 0  # answered, and then lost by a server that was killed
    dropped_ephemeral: int = 0  # overlay boxes and heartbeats while Redis was away
    dropped_queue: int = 0
    outages: int = 0


class SpoolingPublisher:
    """Publishes in order; while Redis is away messages wait on disk, and none is published twice.

    Every message has a number of this producer; a batch and its last number are written in one transaction. When an
    answer is lost, the number on the server tells whether the batch was applied; and when the server was killed and
    came back without its last seconds, what is missing is published again.

    Args:
        spool_dir: a folder for this publisher alone; what an earlier run left there is published first.
        max_bytes, max_age_s: limits of the spool; the oldest is dropped and counted.
        clock: Unix seconds, for the age of spooled messages.
        producer: a name never used before; None makes one.
    """

    def __init__(
        self,
        bus: BatchBus,
        spool_dir: Path,
        max_bytes: int = 256 << 20,
        max_age_s: float = 600.0,
        clock: Callable[[], float] = time.time,
        producer: str | None = None,
    ) -> None:
        self._bus = bus
        self._producer = producer or uuid.uuid4().hex
        self._spool = Spool(spool_dir, max_bytes, max_age_s, clock)
        self._counters = PublisherCounters()
        self._number = 0
        self._queue: deque[Spooled] = deque()
        self._queue_bytes = 0
        self._busy = False  # the thread holds messages that are neither published nor spooled
        self._recent: dict[int, tuple[float, Spooled]] = {}  # number -> when it was published (monotonic), and it
        self._again: deque[Spooled] = deque()  # of these, what the server turned out to have lost
        self._closing = False
        self._refused: BusRefused | None = None
        self._changed = threading.Condition()
        self._failures = 0  # in a row
        self._retry_at = 0.0  # monotonic seconds
        self._uncertain = len(self._spool) > 0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, stream: str, message: BusMessage) -> None:
        """Take a message; returns at once.

        Raises:
            ValueError: not a message that can be sent, no such stream, or closed.
            BusRefused: Redis refused an earlier one for good.
        """
        stream_key("site", stream)  # a wrong name is the caller's mistake, not the thread's
        fields = encode(message)
        with self._changed:
            if self._refused is not None:
                raise self._refused
            if self._closing:
                raise ValueError("publish: the publisher is closed")
            self._number += 1
            self._queue.append(Spooled(self._producer, self._number, stream, fields))
            self._queue_bytes += _size(fields)
            while self._queue_bytes > _QUEUE_BYTES and len(self._queue) > 1:
                self._queue_bytes -= _size(self._queue.popleft().fields)
                self._counters.dropped_queue += 1
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what makes going on pointless.

        Raises:
            BusRefused: wrong password or a refused command.
        """
        if self._refused is not None:
            raise self._refused

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is published, at most `timeout_s`; False when something still waits."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout_s) and self._refused is None

    def close(self, timeout_s: float = 2.0) -> None:
        """Publish what is left if that is quick; the rest goes to the spool and waits for the next run."""
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def connected(self) -> bool:
        """Whether the last attempt to publish succeeded."""
        return self._failures == 0 and self._refused is None

    def counters(self) -> dict[str, float]:
        """Figures for the health message; `spool_waiting` is how many wait on disk now."""
        figures = {**asdict(self._counters), **asdict(self._spool.counters), "spool_waiting": len(self._spool)}
        return {name: float(value) for name, value in figures.items()}

    def _is_idle(self) -> bool:
        waiting = self._queue or self._busy or self._again or self._uncertain or len(self._spool)
        return self._refused is not None or not waiting

    def _run(self) -> None:
        while True:
            batch = self._take()
            if self._closing and not batch:
                break
            try:
                self._handle(batch)
            except (sqlite3.Error, OSError) as error:  # the disk fails: what was published is settled later
                _log.error("the spool fails: %s", error)
                self._uncertain = True
                self._pause()
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self._spool.close()

    def _take(self) -> list[Spooled]:
        """The next messages of the queue; waits for some, or for the time to try the spool again."""
        batch: list[Spooled] = []
        size = 0
        with self._changed:
            if not self._queue and not self._closing:
                self._changed.wait(self._pause_s())
            while self._queue and len(batch) < _BATCH_MESSAGES and size < _BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += _size(batch[-1].fields)
            self._queue_bytes -= size
            self._busy = bool(batch)
        return batch

    def _pause_s(self) -> float:
        if self._refused is not None or not (self._failures or self._again or len(self._spool)):
            return _IDLE_S
        return max(0.0, self._retry_at - time.monotonic())

    def _pause(self) -> None:
        """Not again before a while, longer at each failure in a row."""
        self._failures += 1
        self._retry_at = time.monotonic() + _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]

    def _handle(self, batch: list[Spooled]) -> None:
        """Publish a batch; while Redis is away spool it, and try again when the pause is over."""
        durable = [m for m in batch if not is_ephemeral(m.stream)]
        fleeting = [m for m in batch if is_ephemeral(m.stream)]
        stopped = self._closing or self._refused is not None
        if not stopped and not (self._uncertain or self._again or len(self._spool)):
            if self._send(batch):
                return
            self._keep(durable)
        else:
            self._keep(durable)
            may_try = not stopped and time.monotonic() >= self._retry_at
            if may_try and self._drain() and self._send(fleeting):
                return
        self._counters.dropped_ephemeral += len(fleeting)

    def _keep(self, messages: list[Spooled]) -> None:
        self._spool.add(messages)
        self._counters.spooled += len(messages)

    def _drain(self) -> bool:
        """Publish one batch of what waits; False when Redis is away."""
        if self._uncertain and not self._settle():
            return False
        if self._again:
            lost = [self._again[i] for i in range(min(len(self._again), _BATCH_MESSAGES))]
            if not self._send(lost):
                return False
            for _ in lost:
                self._again.popleft()
            self._counters.published_again += len(lost)
            return True
        waiting = self._spool.first(_BATCH_MESSAGES, _BATCH_BYTES)
        if not self._send(waiting):
            return False
        self._spool.remove(waiting)
        return True

    def _settle(self) -> bool:
        """After a fault: ask the server how far each producer got, drop what it has, and note what it lost."""
        try:
            mark = self._bus.last_sent(self._producer)
            self._again = deque(m for number, (_, m) in sorted(self._recent.items()) if number > mark)
            for producer in self._spool.producers():
                found = self._spool.remove_up_to(producer, self._bus.last_sent(producer))
                self._counters.found_published += found
        except BusUnavailable as error:
            self._failed(error)
            return False
        self._uncertain = False
        return True

    def _send(self, messages: Sequence[Spooled]) -> bool:
        """Publish messages of one producer; True when they are known to be there."""
        if not messages:
            return True
        # Fleeting messages overtake the spool, so the mark must not speak of them.
        numbers = [m.number for m in messages if not is_ephemeral(m.stream)]
        mark = (messages[0].producer, numbers[-1]) if numbers else None
        try:
            self._bus.publish_batch([(m.stream, m.fields) for m in messages], mark)
        except BusUnavailable as error:
            self._uncertain = True
            self._failed(error)
            return False
        if self._failures:
            _log.info("publishing again; %d messages wait in the spool", len(self._spool))
        self._failures = 0
        self._counters.published += len(messages)
        self._remember(messages)
        return True

    def _remember(self, messages: Sequence[Spooled]) -> None:
        now_s = time.monotonic()
        own = [m for m in messages if m.producer == self._producer and not is_ephemeral(m.stream)]
        self._recent.update((m.number, (now_s, m)) for m in own)
        while self._recent:
            oldest = next(iter(self._recent))
            if self._recent[oldest][0] >= now_s - _RECENT_S:
                break
            del self._recent[oldest]

    def _failed(self, error: BusUnavailable) -> None:
        if isinstance(error, BusRefused):
            self._refused = error
        if self._failures == 0:
            self._counters.outages += 1
            _log.warning("%s; messages wait in the spool", error)
        self._pause()


def _size(fields: Mapping[bytes, bytes]) -> int:
    return sum(len(k) + len(v) for k, v in fields.items())
