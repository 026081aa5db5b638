"""The matcher's state on the bus: changes, events and acknowledgements as one transaction, by one writer per site."""

import hashlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from redis.exceptions import WatchError

from pipeline.bus.codec import encode
from pipeline.bus.connection import bus_errors
from pipeline.bus.memory import MemoryBus
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, IDENTITIES, MATCHER_GROUP, state_key, stream_key
from pipeline.errors import BusRefused
from pipeline.types import IdentityEvent

_log = logging.getLogger(__name__)

_COMMIT_FIELD = b"#commit"  # "<number> <writer>" of the last commit in the hash
LEASE_TTL_S = 10.0  # a matcher that died is replaced after at most this
_LEASE_POLL_S = 0.2
_RECENT_COMMITS = 256  # kept to be repeated: at ten commits a second far more than the 2 s a killed server may lose
_HASH_CHUNK = 500  # fields per HSET when everything is written again


class StateConflict(BusRefused):
    """Somebody else wrote this site's state: this writer must stop."""


class LeaseHeld(BusRefused):
    """Another process is the site's writer."""


class StateStore(Protocol):
    """What a matcher that restarts carries on from."""

    def load(self) -> dict[str, bytes]:
        """The whole state; empty at the first start.

        Raises:
            BusUnavailable, BusRefused.
        """
        ...

    def commit(
        self, changes: Mapping[str, bytes | None], events: Sequence[IdentityEvent], acknowledge: Sequence[str]
    ) -> None:
        """Write changed fields (None removes), append events, acknowledge clip deliveries: all or nothing.

        Raises:
            BusUnavailable: call again with the same arguments until it succeeds; nothing is done twice.
            StateConflict: another writer. ValueError: other arguments than those of a commit that is still open.
        """
        ...


class RedisState:
    """`StateStore` in the hash `mcp:{<site>}:state:matcher`.

    Every commit has a number, kept in the hash: a commit whose answer was lost is recognised when it is repeated. When
    the server lost the hash, or its last seconds, they are written again from a copy kept here, with the events of the
    missing commits.

    Args:
        bus: the bus that the clips come from.
        writer: a name never used before; None makes one.
    """

    def __init__(self, bus: RedisBus, writer: str | None = None) -> None:
        self._bus = bus
        self._key = state_key(bus.site, "matcher")
        self._writer = writer or uuid.uuid4().hex
        self._copy: dict[bytes, bytes] = {}
        self._number = 0
        self._last_mark: bytes | None = None  # what the hash's commit field must hold
        self._recent: deque[tuple[int, list[dict[bytes, bytes]]]] = deque(maxlen=_RECENT_COMMITS)  # number, events
        self._open: bytes | None = None  # digest of a commit of which nobody knows whether it was applied
        self.restored = 0  # how often the server had lost the state

    def load(self) -> dict[str, bytes]:
        """The whole state; empty at the first start.

        Raises:
            BusUnavailable, BusRefused.
        """
        with bus_errors(self._bus.address):
            stored: dict[bytes, bytes] = self._bus.client.hgetall(self._key)
        self._last_mark = stored.pop(_COMMIT_FIELD, None)
        self._number = _number_of(self._last_mark)
        self._copy = stored
        self._recent.clear()
        self._open = None
        return {name.decode(): value for name, value in stored.items()}

    def commit(
        self, changes: Mapping[str, bytes | None], events: Sequence[IdentityEvent], acknowledge: Sequence[str]
    ) -> None:
        """See `StateStore.commit`."""
        encoded = [encode(event) for event in events]
        digest = _digest(changes, encoded, acknowledge)
        if self._open is not None and self._open != digest:
            raise ValueError("commit: the commit before this one is undecided; repeat it first")
        mark = f"{self._number + 1} {self._writer}".encode()
        self._open = digest
        with bus_errors(self._bus.address):
            while not self._try_commit(mark, changes, encoded, acknowledge):
                pass
        self._open = None
        self._number += 1
        self._last_mark = mark
        self._recent.append((self._number, encoded))
        _apply(self._copy, changes)
        self._bus.settled(CLIPS, MATCHER_GROUP, acknowledge)

    def _try_commit(
        self,
        mark: bytes,
        changes: Mapping[str, bytes | None],
        encoded: Sequence[Mapping[bytes, bytes]],
        acknowledge: Sequence[str],
    ) -> bool:
        """One attempt; False when the hash changed under our hands, so that it has to be looked at again."""
        with self._bus.client.pipeline(transaction=True) as pipe:
            pipe.watch(self._key)
            found = pipe.hget(self._key, _COMMIT_FIELD)
            if found == mark:
                return True  # applied before; only the answer was lost
            pipe.multi()
            if found != self._last_mark:
                self._restore(pipe, found)
            _write(pipe, self._key, changes)
            pipe.hset(self._key, _COMMIT_FIELD, mark)
            for fields in encoded:
                self._bus.append(pipe, IDENTITIES, fields)
            if acknowledge:
                pipe.xack(stream_key(self._bus.site, CLIPS), MATCHER_GROUP, *acknowledge)
            try:
                pipe.execute()
            except WatchError:
                return False
        return True

    def _restore(self, pipe: Any, found: bytes | None) -> None:
        """Write everything again: the server lost the hash, or went back to an earlier commit.

        Raises:
            StateConflict: it holds a commit that is not from before ours.
        """
        writer = found.partition(b" ")[2] if found is not None else b""
        ours = {self._writer.encode(), (self._last_mark or b"").partition(b" ")[2]}
        if found is not None and (writer not in ours or _number_of(found) > self._number):
            raise StateConflict(f"another matcher writes the state of site {self._bus.site!r}; stop one of them")
        self.restored += 1
        _log.warning("Redis lost the matcher's state; it is written again")
        pipe.delete(self._key)
        items = list(self._copy.items())
        for start in range(0, len(items), _HASH_CHUNK):
            pipe.hset(self._key, mapping=dict(items[start : start + _HASH_CHUNK]))
        for number, encoded in self._recent:
            if number > _number_of(found):  # the stream is as old as the hash: both change in one transaction
                for fields in encoded:
                    self._bus.append(pipe, IDENTITIES, fields)


class MemoryState:
    """`StateStore` beside a `MemoryBus`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def load(self) -> dict[str, bytes]:
        """The whole state; empty at the first start."""
        return dict(self._bus.store.state)

    def commit(
        self, changes: Mapping[str, bytes | None], events: Sequence[IdentityEvent], acknowledge: Sequence[str]
    ) -> None:
        """See `StateStore.commit`; never fails."""
        encoded = [(IDENTITIES, encode(event)) for event in events]
        for name, value in changes.items():
            if value is None:
                self._bus.store.state.pop(name, None)
            else:
                self._bus.store.state[name] = value
        self._bus.publish_batch(encoded, None)
        self._bus.acknowledge(CLIPS, MATCHER_GROUP, acknowledge)


class Lease:
    """The right to be the one writer of a site; it lapses when it is not renewed.

    Args:
        bus: whose site it is about.
        owner: shown to whoever comes second, such as "host 4711".
        ttl_s: renew at least three times in this time.
        clock: Unix seconds, only for the text that says since when.
    """

    def __init__(
        self, bus: RedisBus, owner: str, ttl_s: float = LEASE_TTL_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._bus = bus
        self._key = state_key(bus.site, "lease")
        self._ttl_ms = int(ttl_s * 1000)
        self._value = f"{uuid.uuid4().hex} {clock():.3f} {owner}".encode()

    def acquire(self, wait_s: float = 0.0) -> None:
        """Become the writer, waiting up to `wait_s` for a dead one's lease to lapse.

        Raises:
            LeaseHeld: there is another; names who and since when. BusUnavailable, BusRefused.
        """
        deadline = time.monotonic() + wait_s
        while True:
            with bus_errors(self._bus.address):
                if self._bus.client.set(self._key, self._value, nx=True, px=self._ttl_ms):
                    return
                holder = self._bus.client.get(self._key)
                if holder == self._value:  # the answer to an earlier attempt was lost
                    self._bus.client.pexpire(self._key, self._ttl_ms)
                    return
            if holder is not None and time.monotonic() >= deadline:
                raise LeaseHeld(_held_by(holder, self._bus.site))
            time.sleep(_LEASE_POLL_S if holder is not None else 0.0)

    def renew(self) -> None:
        """Hold on to it; takes it again when it lapsed and nobody else took it.

        Raises:
            LeaseHeld: somebody else did: stop writing. BusUnavailable, BusRefused.
        """
        with bus_errors(self._bus.address):
            if self._if_ours(lambda pipe: pipe.pexpire(self._key, self._ttl_ms)):
                return
        self.acquire()

    def release(self) -> None:
        """Give it up; nothing happens when it is not ours.

        Raises:
            BusUnavailable, BusRefused.
        """
        with bus_errors(self._bus.address):
            self._if_ours(lambda pipe: pipe.delete(self._key))

    def _if_ours(self, command: Callable[[Any], object]) -> bool:
        """Run a command only if the lease is still ours when it takes effect."""
        with self._bus.client.pipeline(transaction=True) as pipe:
            pipe.watch(self._key)
            if pipe.get(self._key) != self._value:
                return False
            pipe.multi()
            command(pipe)
            try:
                pipe.execute()
            except WatchError:
                return False
        return True


def _write(pipe: Any, key: str, changes: Mapping[str, bytes | None]) -> None:
    kept = {name: value for name, value in changes.items() if value is not None}
    removed = [name for name, value in changes.items() if value is None]
    if kept:
        pipe.hset(key, mapping=kept)
    if removed:
        pipe.hdel(key, *removed)


def _apply(copy: dict[bytes, bytes], changes: Mapping[str, bytes | None]) -> None:
    for name, value in changes.items():
        if value is None:
            copy.pop(name.encode(), None)
        else:
            copy[name.encode()] = value


def _digest(
    changes: Mapping[str, bytes | None], encoded: Iterable[Mapping[bytes, bytes]], acknowledge: Iterable[str]
) -> bytes:
    digest = hashlib.sha256()
    parts: list[object] = [sorted(changes.items()), [sorted(fields.items()) for fields in encoded], list(acknowledge)]
    for part in parts:
        digest.update(repr(part).encode())
    return digest.digest()


def _number_of(mark: bytes | None) -> int:
    return int(mark.partition(b" ")[0]) if mark else 0


def _held_by(holder: bytes, site: str) -> str:
    _token, _, rest = holder.decode("utf-8", "replace").partition(" ")
    since, _, owner = rest.partition(" ")
    try:
        when = datetime.fromtimestamp(float(since), UTC).strftime("since %Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        when = "at an unknown time"
    return f"site {site!r} already has a matcher ({owner or 'unknown'}), {when}; a site has one: stop it first"
