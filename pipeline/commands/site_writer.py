"""Orders to a site: told to the running matcher and waited for, or carried out in its place where none runs."""

import json
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.build import build_matcher, matcher_threshold
from pipeline.bus.connection import bus_errors
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.state import LEASE_TTL_S, Lease, LeaseHeld, RedisState
from pipeline.bus.streams import CLIPS, IDENTITIES, state_key
from pipeline.bus.waiting_orders import waiting_orders
from pipeline.config import Config
from pipeline.errors import BusUnavailable, ConfigError
from pipeline.resolution import IdentityBook
from pipeline.types import IdentityEvent, Order, TrackKey

_POLL_S = 0.1
_PAGE = 500  # events read at a time


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a running matcher: more than its lease lasts, so that a dead one is noticed.

    Attributes:
        clock: monotonic seconds.
    """

    timeout_s: float = LEASE_TTL_S + 5.0
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


class SiteView:
    """What the streams and the matcher's state say at one moment."""

    def __init__(self, events: Sequence[IdentityEvent], state: Mapping[str, bytes]) -> None:
        self.events = events
        self.state = state
        self.book = IdentityBook(events)

    @cached_property
    def identities(self) -> frozenset[int]:
        """The ids that the matcher knows now."""
        return frozenset(int(name.partition(":")[2]) for name in self.state if name.startswith("identity:"))

    @cached_property
    def _owners(self) -> dict[TrackKey, int]:
        pieces = [first_object(raw) for name, raw in self.state.items() if name.startswith("track:")]
        found = [(_key_of(piece.get("key")), piece.get("identity_id")) for piece in pieces]
        return {key: int(owner) for key, owner in found if key is not None and isinstance(owner, int)}

    def owner(self, key: TrackKey) -> int:
        """Whose a track is: as the matcher has it, else as the events tell; 0: nobody's."""
        return self._owners.get(key) or self.book.final(key)

    def name_of(self, identity_id: int) -> str | None:
        """The name that the matcher has for an identity."""
        name = first_object(self.state.get(f"identity:{identity_id}", b"{}")).get("name")
        return name if isinstance(name, str) else None

    def tracks_of(self, ids: Collection[int]) -> frozenset[TrackKey]:
        """The tracks of one person, who has these ids."""
        told = {key for identity_id in ids for key in self.book.tracks_of(identity_id)}
        for identity_id in ids:
            told.update(_keys_in(first_object(self.state.get(f"identity:{identity_id}", b"{}"))))
        others = {key for key, owner in self._owners.items() if owner not in ids}
        return frozenset((told - others) | (self._owners.keys() - others))


class SiteWriter:
    """Speaks to the one writer of a site's identities.

    Args:
        url: of the Redis; `command` names this program to others, such as "forget".
    """

    def __init__(self, config: Config, url: str, command: str, patience: Patience | None = None) -> None:
        self.bus = RedisBus(url, config.site, max_messages=config.bus.max_messages, consumer=command)
        self._config = config
        self._command = command
        self._patience = patience or Patience()
        self._epoch = f"operator-{uuid.uuid4()}"
        self._given = 0
        self.bus.ping()

    def look(self) -> SiteView:
        """What is known of the site now.

        Raises:
            BusUnavailable, BusRefused.
        """
        return SiteView(self._events(), self._state())

    def give(self, orders: Sequence[Order]) -> str:
        """Have orders carried out; says by whom. They survive a matcher that dies at any moment, and are done once.

        Raises:
            BusUnavailable: no Redis, or a matcher that does not answer; the orders wait for it in the stream.
        """
        numbered = [replace(o, sequence=self._given + n, epoch=self._epoch) for n, o in enumerate(orders, start=1)]
        self._given += len(numbered)
        if not numbered:
            return "nothing to do"
        lease = Lease(self.bus, f"run_pipeline.py {self._command}")
        deadline = self._patience.clock() + self._patience.timeout_s
        told = False
        while True:
            try:
                lease.acquire()
            except LeaseHeld:
                if not told:
                    for order in numbered:
                        self.bus.publish(CLIPS, order)
                    told = True
                if self._handled(numbered[-1]):
                    return "by the running matcher"
                if self._patience.clock() >= deadline:
                    raise self._no_answer() from None
                self._patience.wait(_POLL_S)
                continue
            try:
                self._in_its_place(numbered)
            finally:
                lease.release()
            return "no matcher runs"

    def _no_answer(self) -> BusUnavailable:
        return BusUnavailable(
            f"the matcher of site {self.bus.site!r} does not answer; the order waits for it, and nothing else was "
            f"changed: run {self._command} again when it is well"
        )

    def _events(self) -> list[IdentityEvent]:
        events: list[IdentityEvent] = []
        after = "0"
        while deliveries := self.bus.read(IDENTITIES, after, timeout_s=0.0, count=_PAGE):
            after = deliveries[-1].id
            events += [d.message for d in deliveries if isinstance(d.message, IdentityEvent)]
        return events

    def _state(self) -> dict[str, bytes]:
        with bus_errors(self.bus.address):
            stored: dict[bytes, bytes] = self.bus.client.hgetall(state_key(self.bus.site, "matcher"))
        return {name.decode(): value for name, value in stored.items()}

    def _handled(self, order: Order) -> bool:
        """Whether a matcher has committed what the order led to: it notes how far each producer was handled."""
        with bus_errors(self.bus.address):
            raw = self.bus.client.hget(state_key(self.bus.site, "matcher"), f"producer:{order.camera_id}:{order.epoch}")
        return raw is not None and int(first_object(raw).get("handled", 0)) >= order.sequence

    def _in_its_place(self, orders: Sequence[Order]) -> None:
        """The matcher's own step, taken here while no matcher runs: orders that wait for one came before these."""
        store = RedisState(self.bus)
        state = store.load()
        if not state:
            return
        matcher = build_matcher(self._config, _threshold(self._config, state), state)
        for order in (*waiting_orders(self.bus), *orders):  # each is done once: it will know the waiting ones again
            matcher.receive("", order)
        step = matcher.emitted(matcher.advance(), time.time())
        store.commit(step.changes, step.events, ())


def _threshold(config: Config, state: Mapping[str, bytes]) -> float:
    """The threshold the site's matcher has: nothing new came, so nothing is decided, but nobody must depend on that."""
    pieces = (first_object(raw) for name, raw in state.items() if name.startswith(("identity:", "track:")))
    for model_id in sorted({str(piece["model_id"]) for piece in pieces if piece.get("model_id")}):
        try:
            return matcher_threshold(config, model_id)
        except ConfigError:
            continue
    return 0.0


def first_object(raw: bytes) -> dict[str, Any]:
    """The JSON of a stored piece, which may be followed by raw numbers; empty where it cannot be read."""
    try:
        value = json.loads(raw.partition(b"\n")[0])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _keys_in(value: Any) -> list[TrackKey]:
    """Every track key in a stored piece, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    key = _key_of(value)
    if key is not None:
        return [key]
    return [found for item in value for found in _keys_in(item)] if isinstance(value, list) else []


def _key_of(value: Any) -> TrackKey | None:
    if isinstance(value, list) and len(value) == 3 and [type(v) for v in value] == [str, str, int]:
        return TrackKey(*value)
    return None
