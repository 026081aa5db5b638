"""The matcher's process: deliveries in, one transaction per step out; one writer per site."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.bus.connection import bus_errors
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.state import Lease, RedisState
from pipeline.bus.streams import CLIPS, MATCHER_GROUP, state_key
from pipeline.errors import BusRefused, BusUnavailable
from pipeline.identity.matcher import Matcher, Step
from pipeline.ports import Delivery
from pipeline.runtime.bus_recording import BusRecorder
from pipeline.runtime.latency import LatencyRecorder
from pipeline.types import CameraState, ClipFeature, Order, Tick, Tracklet

_log = logging.getLogger(__name__)
T = TypeVar("T")

RENEW_S = 2.5  # a quarter of the lease
RETRY_S = 0.2
WAIT_S = 0.1  # longest wait for messages, so that stop and lease are looked at
QUIET_S = 1.0  # at the end: nothing for so long means that the workers are done
DRAIN_S = 3.0  # of the 4 s that a role has to stop


class Gaps:
    """Counts messages that never came, by the holes in each producer's numbers."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self.lost = 0

    def note(self, camera_id: str, epoch: str, sequence: int) -> None:
        """Take one message; the first of a producer may have any number (an earlier matcher saw those before)."""
        last = self._last.get((camera_id, epoch))
        if last is not None and sequence > last + 1:
            self.lost += sequence - last - 1
        self._last[camera_id, epoch] = max(sequence, last or 0)


class Matching:
    """Runs one matcher on the bus.

    Args:
        beat: called while the work goes on.
        recording: is told of every step before it is committed, and of the end.
        clock: Unix seconds, for `emitted_at_s` only.
    """

    def __init__(
        self,
        bus: RedisBus,
        state: RedisState,
        lease: Lease,
        matcher: Matcher,
        *,
        beat: Callable[[], None],
        latency: LatencyRecorder | None = None,
        recording: BusRecorder | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_pass: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._state = state
        self._lease = lease
        self._matcher = matcher
        self._beat = beat
        self._latency = latency or LatencyRecorder()
        self._recording = recording
        self._clock = clock
        self._monotonic = monotonic
        self._on_pass = on_pass
        self._renewed_s = monotonic()
        self._gaps = Gaps()
        self._events = 0

    def run(self, stop: threading.Event) -> None:
        """Match until `stop`; then what is in the stream, until nothing has come for a second.

        Raises:
            BusRefused: another matcher, or Redis refuses us.
        """
        in_order = False
        try:
            self._match_until(stop)
            in_order = True
        finally:
            if self._recording:
                self._recording.close(in_order)

    def _match_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._pass()
        ends_s = self._monotonic() + DRAIN_S
        quiet_since_s = self._monotonic()
        while self._monotonic() < ends_s and self._monotonic() - quiet_since_s < QUIET_S:
            if self._pass():
                quiet_since_s = self._monotonic()

    def losses(self) -> dict[str, float]:
        counters = self._bus.counters
        broke_off = self._recording is not None and self._recording.broke_off
        return {
            **({"bus_recordings_broken_off": 1.0} if broke_off else {}),
            "messages_lost": float(self._gaps.lost),
            "messages_unreadable": float(counters.poison),
            "messages_late": float(self._matcher.late),
        }

    def counts(self) -> dict[str, float]:
        return {
            "events": float(self._events),
            "duplicates": float(self._matcher.duplicates),
            "state_restored": float(self._state.restored),
        }

    def _pass(self) -> bool:
        """Whether messages came."""
        self._beat()
        self._on_pass()
        try:
            deliveries = self._bus.receive(CLIPS, MATCHER_GROUP, WAIT_S)
            self._renew()
        except BusRefused:
            raise
        except BusUnavailable as error:
            _log.debug("waiting for Redis: %s", error)
            time.sleep(RETRY_S)
            return False
        if deliveries:
            with self._latency.measure("match"):
                self._handle(deliveries)
        return bool(deliveries)

    def _renew(self) -> None:
        if self._monotonic() - self._renewed_s >= RENEW_S:
            self._lease.renew()
            self._renewed_s = self._monotonic()

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        taken = []
        for delivery in deliveries:
            message = delivery.message
            if not isinstance(message, ClipFeature | Tracklet | Tick | CameraState | Order):
                _log.warning("a message of another kind in %s: %s", CLIPS, type(message).__name__)
                continue
            if not isinstance(message, Order):
                self._gaps.note(message.camera_id, message.epoch, message.sequence)
            self._matcher.receive(delivery.id, message)
            taken.append(delivery)
        step = self._matcher.advance()
        now_s = self._clock()
        if self._recording:
            self._recording.step(taken, now_s)
        if step:
            self._commit(self._matcher.emitted(step, now_s))

    def _commit(self, step: Step) -> None:
        self._events += len(step.events)
        insist(lambda: self._state.commit(step.changes, step.events, step.done), self._beat)


def insist(call: Callable[[], T], beat: Callable[[], None], stop: threading.Event | None = None) -> T:
    """Call again with the same arguments until Redis answers.

    Raises:
        BusRefused: it said no. BusUnavailable: `stop` was set meanwhile.
    """
    while True:
        beat()
        try:
            return call()
        except BusRefused:
            raise
        except BusUnavailable as error:
            _log.warning("%s", error)
            if stop is not None and stop.is_set():
                raise
            time.sleep(RETRY_S)


def announce_model(bus: RedisBus, clip_model_id: str) -> None:
    """Say which model the clips of this site come from, for a matcher that starts before there are any.

    Raises:
        BusUnavailable, BusRefused.
    """
    with bus_errors(bus.address):
        bus.client.set(state_key(bus.site, "clip_model"), clip_model_id.encode())


def wait_for_model(bus: RedisBus, stop: threading.Event, beat: Callable[[], None]) -> str | None:
    """The clips' model id: what an inference process announced, or what the first clip says; None when stopped.

    Raises:
        BusRefused.
    """
    after = "0"
    while not stop.is_set():
        beat()
        try:
            with bus_errors(bus.address):
                announced = bus.client.get(state_key(bus.site, "clip_model"))
            if announced:
                return str(announced.decode())
            found = bus.read(CLIPS, after, 2 * RETRY_S)
        except BusRefused:
            raise
        except BusUnavailable as error:
            _log.debug("waiting for Redis: %s", error)
            time.sleep(RETRY_S)
            continue
        for delivery in found:
            after = delivery.id
            if isinstance(delivery.message, ClipFeature):
                return delivery.message.model_id
    return None


def free_lease(bus: RedisBus, owner: str) -> None:
    """Take the lease from a matcher of this host that is known to be dead, so that its successor need not wait.

    Raises:
        BusUnavailable, BusRefused.
    """
    key = state_key(bus.site, "lease")
    with bus_errors(bus.address):
        holder = bus.client.get(key)
        if holder is not None and holder.endswith(f" {owner}".encode()):
            bus.client.delete(key)
