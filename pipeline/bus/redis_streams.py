"""The bus over Redis Streams with consumer groups: at-least-once, in order, one client per blocking reader."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from pipeline.bus.codec import decode, encode
from pipeline.bus.connection import (
    READ_BLOCK_S,
    READ_TIMEOUT_S,
    WRITE_TIMEOUT_S,
    ServerFull,
    StaleGroup,
    address_of,
    bus_errors,
    connect,
)
from pipeline.bus.streams import DEAD_LETTERS, group_stream_key, sent_key, stream_key, stream_limit
from pipeline.errors import BusUnavailable, DecodeError
from pipeline.ports import BusMessage, Delivery

_log = logging.getLogger(__name__)

CLAIM_IDLE_S = 30.0  # a message that a consumer has held for this long without a word goes to another one
CLAIM_EVERY_S = 10.0  # how often to look for such messages
SENT_TTL_S = 7 * 86400  # a spool that waits longer than this has long expired
_ACK_CHUNK = 1000  # ids per XACK
_LETTER_FIELD_BYTES = 64 << 10  # a dead letter keeps this much of each field

_Entry = tuple[bytes, Mapping[bytes, bytes] | None]


@dataclass
class BusCounters:
    """What went wrong so far: messages nobody could read, and messages trimmed before they were acknowledged."""

    poison: int = 0
    lost: int = 0
    claimed: int = 0


@dataclass
class _Reader:
    """One consumer of one group: its own client, because a blocking read holds a connection."""

    client: Any
    stream: str
    group: str
    key: str
    own_from: str | None = "0"  # where to go on in the consumer's own pending messages; None: they are done
    has_group: bool = False
    claim_at: float = 0.0  # when to look for abandoned messages next
    claim_from: bytes | str = "0-0"  # and where to go on
    held: set[str] = field(default_factory=set)  # handed out here and not yet acknowledged
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start_over(self) -> None:
        """After a fault nobody knows which answers were lost: everything pending comes again."""
        self.own_from = "0"
        self.has_group = False
        self.held.clear()


class RedisBus:
    """`ports.Bus` over one Redis server. May be used from several threads.

    A new group starts at the beginning of the stream. The first `receive` of a group, and the first after a fault,
    delivers again what this consumer has not acknowledged. A message that cannot be decoded goes to the dead letters.

    Args:
        url: redis://, rediss:// or unix://; never shown in logs or errors.
        max_messages: entries a stream keeps, about (`MAXLEN ~`).
        consumer: this process's name in its groups; keep it over a restart, and different from its neighbours'.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        site: str,
        *,
        max_messages: int = 20_000,
        consumer: str = "consumer",
        claim_idle_s: float = CLAIM_IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.site = site
        self.counters = BusCounters()
        self._url = url
        self._max_messages = max_messages
        self._consumer = consumer
        self._claim_idle_s = claim_idle_s
        self._clock = clock
        self._writer = connect(url, WRITE_TIMEOUT_S)
        self.address = address_of(self._writer)
        self._readers: dict[tuple[str, str], _Reader] = {}
        self._readers_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RedisBus({self.address}, site={self.site!r})"

    @property
    def client(self) -> Any:
        """The client for short commands (1 s time-out, no retries); wrap its use in `connection.bus_errors`."""
        return self._writer

    def ping(self) -> None:
        """Ask whether the server is there and lets us in.

        Raises:
            BusUnavailable: not now. BusRefused: wrong password.
        """
        with bus_errors(self.address):
            self._writer.ping()

    def publish(self, stream: str, message: BusMessage) -> None:
        """Append one message. When it fails the message may still have been appended: consumers drop duplicates.

        Raises:
            BusUnavailable: not now. BusRefused: not ever. ValueError: not a message that can be sent.
        """
        fields = encode(message)
        with bus_errors(self.address):
            self.append(self._writer, stream, fields)

    def append(self, client: Any, stream: str, fields: Mapping[bytes, bytes]) -> None:
        """XADD encoded fields with the stream's limit, on a client or in a pipeline."""
        limit = stream_limit(stream, self._max_messages)
        client.xadd(stream_key(self.site, stream), dict(fields), maxlen=limit, approximate=True)

    def publish_batch(self, batch: Sequence[tuple[str, Mapping[bytes, bytes]]], mark: tuple[str, int] | None) -> None:
        """Append encoded messages in one transaction, all or none, together with the producer's mark.

        Args:
            batch: stream name and fields, in order.
            mark: (producer, number of its last message in the batch), read back by `last_sent`; None leaves it.

        Raises:
            BusUnavailable: nobody knows whether it was applied; `last_sent` tells. BusRefused: not ever.
        """
        with bus_errors(self.address), self._writer.pipeline(transaction=True) as pipe:
            for stream, fields in batch:
                self.append(pipe, stream, fields)
            if mark is not None:
                pipe.set(sent_key(self.site, mark[0]), mark[1], ex=SENT_TTL_S)
            pipe.execute()

    def last_sent(self, producer: str) -> int:
        """The mark of the producer's last batch that was applied; 0 when there is none.

        Raises:
            BusUnavailable, BusRefused.
        """
        with bus_errors(self.address):
            value = self._writer.get(sent_key(self.site, producer))
        return int(value) if value is not None else 0

    def receive(self, stream: str, group: str, timeout_s: float, count: int = 256) -> list[Delivery]:
        """Up to `count` messages for the group, waiting at most `timeout_s` for the first; may be empty.

        Raises:
            BusUnavailable: at once; wait a little and call again. BusRefused: not ever.
        """
        reader = self._reader(stream, group)
        deadline = self._clock() + timeout_s
        with reader.lock:
            try:
                while True:
                    deliveries = self._receive_once(reader, deadline - self._clock(), count)
                    if deliveries or self._clock() >= deadline:
                        return deliveries
            except BusUnavailable:
                reader.start_over()
                raise

    def acknowledge(self, stream: str, group: str, ids: Sequence[str]) -> None:
        """These deliveries are done and are not delivered again.

        Raises:
            BusUnavailable: they may come again. BusRefused: not ever.
        """
        key = stream_key(self.site, stream)
        with bus_errors(self.address):
            for start in range(0, len(ids), _ACK_CHUNK):
                self._writer.xack(key, group, *ids[start : start + _ACK_CHUNK])
        self.settled(stream, group, ids)

    def settled(self, stream: str, group: str, ids: Sequence[str]) -> None:
        """Note that these deliveries were acknowledged by other means (a transaction of `RedisState`)."""
        reader = self._readers.get((stream, group))
        if reader is not None:
            reader.held.difference_update(ids)

    def read(self, stream: str, after: str, timeout_s: float, count: int = 256) -> list[Delivery]:
        """Messages after the id `after` ("0": all, "$": only new ones), without a group: for overlays.

        Unreadable entries are left out. Waits in one go, at most 2 s. Go on with the last delivery's id.

        Raises:
            BusUnavailable: not now. BusRefused: not ever.
        """
        reader = self._reader(stream, "")
        with bus_errors(self.address), reader.lock:
            answer = reader.client.xread({reader.key: after}, count=count, block=_block_ms(timeout_s))
        return [d for d in map(_try_decode, _entries(answer)) if d is not None]

    def close(self) -> None:
        """Drop all connections; not while another thread still reads."""
        self._writer.close()
        with self._readers_lock:
            for reader in self._readers.values():
                reader.client.close()
            self._readers.clear()

    def _reader(self, stream: str, group: str) -> _Reader:
        with self._readers_lock:
            reader = self._readers.get((stream, group))
            if reader is None:
                key = group_stream_key(self.site, stream)
                reader = _Reader(connect(self._url, READ_TIMEOUT_S), stream, group, key)
                self._readers[stream, group] = reader
        return reader

    def _receive_once(self, reader: _Reader, wait_s: float, count: int) -> list[Delivery]:
        """One question to the server: own pending messages, then abandoned ones, then new ones."""
        try:
            with bus_errors(self.address):
                if not reader.has_group:
                    _make_group(reader)
                entries = self._next_entries(reader, wait_s, count)
        except StaleGroup:
            reader.start_over()
            return []
        return self._decoded(reader, entries)

    def _next_entries(self, reader: _Reader, wait_s: float, count: int) -> list[_Entry]:
        if reader.own_from is not None:
            answer = self._read_group(reader, reader.own_from, None, count)
            reader.own_from = answer[-1][0].decode() if answer else None
            if answer:
                return answer
        if self._clock() >= reader.claim_at:
            reader.claim_at = self._clock() + min(CLAIM_EVERY_S, self._claim_idle_s)
            claimed = self._claim(reader, count)
            if claimed:
                return claimed
        return self._read_group(reader, ">", _block_ms(wait_s), count)

    def _read_group(self, reader: _Reader, start: str, block_ms: int | None, count: int) -> list[_Entry]:
        answer = reader.client.xreadgroup(
            reader.group, self._consumer, {reader.key: start}, count=count, block=block_ms
        )
        return list(_entries(answer))

    def _claim(self, reader: _Reader, count: int) -> list[_Entry]:
        """Take over what other consumers of the group have left lying."""
        idle_ms = int(self._claim_idle_s * 1000)
        answer = reader.client.xautoclaim(
            reader.key, reader.group, self._consumer, idle_ms, reader.claim_from, count=count
        )
        reader.claim_from = answer[0]
        entries = [entry for entry in answer[1] if entry[0] is not None and entry[0].decode() not in reader.held]
        gone = [i.decode() for i in (answer[2] if len(answer) > 2 else [])]
        self._count_lost([i for i in gone if i not in reader.held], reader)
        self.counters.claimed += len(entries)
        return entries

    def _decoded(self, reader: _Reader, entries: Sequence[_Entry]) -> list[Delivery]:
        deliveries, trimmed = [], []
        for raw_id, fields in entries:
            entry_id = raw_id.decode()
            if not fields:  # trimmed while it was pending: only its id is left
                trimmed.append(entry_id)
                continue
            try:
                deliveries.append(Delivery(entry_id, decode(fields)))
            except DecodeError as error:
                self._bury(reader, entry_id, fields, str(error))
        if trimmed:
            with bus_errors(self.address):
                self._writer.xack(reader.key, reader.group, *trimmed)
            self._count_lost(trimmed, reader)
        reader.held.update(d.id for d in deliveries)
        return deliveries

    def _count_lost(self, ids: Sequence[str], reader: _Reader) -> None:
        if ids:
            self.counters.lost += len(ids)
            _log.warning("%d messages of %s were trimmed before %s handled them", len(ids), reader.stream, reader.group)

    def _bury(self, reader: _Reader, entry_id: str, fields: Mapping[bytes, bytes], reason: str) -> None:
        """Move an unreadable message to the dead letters, so that the stream goes on."""
        self.counters.poison += 1
        _log.error("unreadable message %s in %s: %s", entry_id, reader.stream, reason)
        letter: dict[bytes, bytes] = {
            b"stream": reader.stream.encode(),
            b"group": reader.group.encode(),
            b"id": entry_id.encode(),
            b"reason": reason.encode("utf-8", "replace"),
            **{b"f:" + k: v[:_LETTER_FIELD_BYTES] for k, v in fields.items()},
        }
        try:
            with bus_errors(self.address), self._writer.pipeline(transaction=True) as pipe:
                self.append(pipe, DEAD_LETTERS, letter)
                pipe.xack(reader.key, reader.group, entry_id)
                pipe.execute()
        except ServerFull:  # no room for the letter, but the stream must go on
            with bus_errors(self.address):
                self._writer.xack(reader.key, reader.group, entry_id)


def _make_group(reader: _Reader) -> None:
    try:
        reader.client.xgroup_create(reader.key, reader.group, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # it exists
            raise
    reader.has_group = True


def _block_ms(wait_s: float) -> int | None:
    """BLOCK of at most READ_BLOCK_S; None does not wait (BLOCK 0 would wait for ever)."""
    return max(1, int(min(wait_s, READ_BLOCK_S) * 1000)) if wait_s > 0 else None


def _entries(answer: Any) -> Iterator[_Entry]:
    for _key, entries in answer or []:
        yield from entries


def _try_decode(entry: _Entry) -> Delivery | None:
    try:
        return Delivery(entry[0].decode(), decode(entry[1] or {}))
    except DecodeError as error:
        _log.warning("left out an unreadable message: %s", error)
        return None
