"""The bus inside one process, through the same codec: for replays and unit tests."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.bus.codec import decode, encode
from pipeline.bus.redis_streams import BusCounters
from pipeline.bus.streams import DEAD_LETTERS, group_stream_key, stream_key, stream_limit
from pipeline.errors import DecodeError
from pipeline.ports import BusMessage, Delivery

_Fields = Mapping[bytes, bytes]


@dataclass
class _Group:
    read_up_to: int = 0  # number of the last entry handed out
    pending: dict[int, str] = field(default_factory=dict)  # entry number -> consumer that holds it


@dataclass
class MemoryStore:
    """What a Redis server would hold for one site; shared by the `MemoryBus`es that stand for its clients."""

    entries: dict[str, dict[int, _Fields]] = field(default_factory=dict)
    groups: dict[tuple[str, str], _Group] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    last_number: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)


class MemoryBus:
    """`ports.Bus` over a `MemoryStore`; a new one over the same store is a consumer that has been restarted.

    Args:
        store: None makes a fresh one.
        clock: monotonic seconds, for time-outs only.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        site: str = "site",
        max_messages: int = 20_000,
        consumer: str = "consumer",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = MemoryStore() if store is None else store
        self.site = site
        self.counters = BusCounters()
        self._max_messages = max_messages
        self._consumer = consumer
        self._clock = clock
        self._own_done: dict[tuple[str, str], int | None] = {}  # as `own_from` of the Redis reader

    def publish(self, stream: str, message: BusMessage) -> None:
        """Append one message.

        Raises:
            ValueError: not a message that can be sent, or no such stream.
        """
        self.publish_batch([(stream, encode(message))], None)

    def publish_batch(self, batch: Sequence[tuple[str, _Fields]], mark: tuple[str, int] | None) -> None:
        """Append encoded messages at once, and set the producer's mark."""
        with self.store.changed:
            for stream, fields in batch:
                self._append(stream, fields)
            if mark is not None:
                self.store.sent[mark[0]] = mark[1]
            self.store.changed.notify_all()

    def last_sent(self, producer: str) -> int:
        """The producer's mark; 0 when there is none."""
        return self.store.sent.get(producer, 0)

    def receive(self, stream: str, group: str, timeout_s: float, count: int = 256) -> list[Delivery]:
        """Up to `count` messages for the group, waiting at most `timeout_s` for the first; may be empty."""
        group_stream_key(self.site, stream)
        deadline = self._clock() + timeout_s
        with self.store.changed:
            while True:
                deliveries = self._take(stream, group, count)
                left_s = deadline - self._clock()
                if deliveries or left_s <= 0:
                    return deliveries
                self.store.changed.wait(left_s)

    def acknowledge(self, stream: str, group: str, ids: Sequence[str]) -> None:
        """These deliveries are done and are not delivered again."""
        with self.store.changed:
            pending = self._group(stream, group).pending
            for entry_id in ids:
                pending.pop(_number(entry_id), None)

    def read(self, stream: str, after: str, timeout_s: float, count: int = 256) -> list[Delivery]:
        """Messages after the id `after` ("0": all, "$": only new ones), without a group."""
        deadline = self._clock() + timeout_s
        with self.store.changed:
            start = self.store.last_number if after == "$" else _number(after)
            while True:
                entries = [(n, f) for n, f in self.store.entries.get(stream, {}).items() if n > start][:count]
                left_s = deadline - self._clock()
                if entries or left_s <= 0:
                    return [Delivery(f"{n}-0", decode(f)) for n, f in entries]
                self.store.changed.wait(left_s)

    def append_raw(self, stream: str, fields: _Fields) -> None:
        """Append fields as they are, as a foreign client could."""
        self.publish_batch([(stream, fields)], None)

    def trim(self, stream: str, keep: int) -> None:
        """Drop all but the newest `keep` entries, acknowledged or not."""
        with self.store.changed:
            entries = self.store.entries.get(stream, {})
            for number in list(entries)[: max(0, len(entries) - keep)]:
                del entries[number]

    def close(self) -> None:
        """Nothing is held."""

    def _append(self, stream: str, fields: _Fields) -> None:
        stream_key(self.site, stream)  # the same names as over Redis
        self.store.last_number += 1
        entries = self.store.entries.setdefault(stream, {})
        entries[self.store.last_number] = dict(fields)
        if len(entries) > stream_limit(stream, self._max_messages):
            del entries[next(iter(entries))]

    def _group(self, stream: str, group: str) -> _Group:
        return self.store.groups.setdefault((stream, group), _Group())

    def _take(self, stream: str, group: str, count: int) -> list[Delivery]:
        state = self._group(stream, group)
        own_from = self._own_done.get((stream, group), 0)
        numbers: list[int] = []
        if own_from is not None:
            numbers = [n for n, who in sorted(state.pending.items()) if who == self._consumer and n > own_from][:count]
            self._own_done[stream, group] = numbers[-1] if numbers else None
        if not numbers:
            numbers = [n for n in self.store.entries.get(stream, {}) if n > state.read_up_to][:count]
            state.read_up_to = numbers[-1] if numbers else state.read_up_to
            state.pending.update(dict.fromkeys(numbers, self._consumer))
        return [d for n in numbers if (d := self._delivery(stream, group, n)) is not None]

    def _delivery(self, stream: str, group: str, number: int) -> Delivery | None:
        fields = self.store.entries.get(stream, {}).get(number)
        pending = self._group(stream, group).pending
        if fields is None:
            pending.pop(number)
            self.counters.lost += 1
            return None
        try:
            return Delivery(f"{number}-0", decode(fields))
        except DecodeError as error:
            pending.pop(number)
            self.counters.poison += 1
            self._append(
                DEAD_LETTERS, {b"stream": stream.encode(), b"group": group.encode(), b"reason": str(error).encode()}
            )
            return None


def _number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
