import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from answer_eater import AnswerEater
from bus_examples import event, tick

from pipeline.bus.memory import MemoryBus, MemoryStore
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.state import Lease, LeaseHeld, MemoryState, RedisState, StateConflict, StateStore
from pipeline.bus.streams import CLIPS, IDENTITIES, MATCHER_GROUP, state_key, stream_key
from pipeline.errors import BusUnavailable
from pipeline.types import IdentityEvent

Pair = tuple[RedisBus | MemoryBus, StateStore]


@pytest.fixture
def site() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["memory", "redis"])
def restart(request: pytest.FixtureRequest, site: str) -> Iterator[Callable[[], Pair]]:
    """Gives the bus and the state that a matcher has after a (re)start."""
    store = MemoryStore()
    buses: list[RedisBus | MemoryBus] = []

    def make() -> Pair:
        if request.param == "memory":
            memory = MemoryBus(store, site=site, consumer="matcher")
            buses.append(memory)
            return memory, MemoryState(memory)
        bus = RedisBus(request.getfixturevalue("shared_server").url, site, consumer="matcher")
        buses.append(bus)
        return bus, RedisState(bus)

    yield make
    for bus in buses:
        bus.close()


def event_sequences(bus: RedisBus | MemoryBus) -> list[int]:
    messages = [d.message for d in bus.read(IDENTITIES, "0", 0.0, count=10_000)]
    return [m.sequence for m in messages if isinstance(m, IdentityEvent)]


def test_the_first_start_finds_nothing(restart: Callable[[], Pair]) -> None:
    assert restart()[1].load() == {}


def test_a_commit_changes_state_events_and_acknowledgement(restart: Callable[[], Pair]) -> None:
    bus, state = restart()
    state.load()
    bus.publish(CLIPS, tick(1))
    bus.publish(CLIPS, tick(2))
    first, _second = bus.receive(CLIPS, MATCHER_GROUP, 1.0)
    state.commit({"gallery": b"\x00\xff", "identity:7": b"7"}, [event(1), event(2)], [first.id])
    again, state_again = restart()
    assert state_again.load() == {"gallery": b"\x00\xff", "identity:7": b"7"}
    assert event_sequences(again) == [1, 2]
    assert [d.message for d in again.receive(CLIPS, MATCHER_GROUP, 0.0)] == [tick(2)]


def test_none_removes_a_field_and_an_empty_commit_changes_nothing(restart: Callable[[], Pair]) -> None:
    bus, state = restart()
    state.load()
    state.commit({"a": b"1", "b": b"2"}, [], [])
    state.commit({"a": None, "absent": None}, [], [])
    state.commit({}, [], [])
    assert restart()[1].load() == {"b": b"2"}
    assert event_sequences(bus) == []


def test_an_event_that_cannot_be_sent_changes_nothing(restart: Callable[[], Pair]) -> None:
    bus, state = restart()
    state.load()
    with pytest.raises(ValueError, match="at_s"):
        state.commit({"a": b"1"}, [event(1), event(2, at_s=float("nan"))], [])
    state.commit({}, [event(1)], [])
    assert state.load() == {}
    assert event_sequences(bus) == [1]


def test_a_commit_whose_answer_was_lost_is_recognised_at_once(
    answer_eater: tuple[AnswerEater, str], shared_server: EmbeddedServer, site: str
) -> None:
    eater, url = answer_eater
    state = RedisState(RedisBus(url, site))
    state.load()
    state.commit({"n": b"1"}, [event(1)], [])
    eater.eat_after = b"EXEC"
    state.commit({"n": b"2"}, [event(2)], [])
    state.commit({"n": b"3"}, [event(3)], [])
    direct = RedisBus(shared_server.url, site)
    assert event_sequences(direct) == [1, 2, 3]
    assert RedisState(direct).load() == {"n": b"3"}
    assert (eater.eaten, state.restored) == (1, 0)


def test_a_commit_whose_answer_was_lost_before_an_outage_is_not_doubled(
    answer_eater: tuple[AnswerEater, str], shared_server: EmbeddedServer, site: str
) -> None:
    eater, url = answer_eater
    state = RedisState(RedisBus(url, site))
    state.load()
    eater.eat_after, eater.refuse_afterwards = b"EXEC", True
    with pytest.raises(BusUnavailable):
        state.commit({"n": b"1"}, [event(1)], [])
    direct = RedisBus(shared_server.url, site)
    assert event_sequences(direct) == [1]  # it was applied
    with pytest.raises(ValueError, match="undecided"):
        state.commit({"n": b"2"}, [event(2)], [])
    eater.refusing = False
    state.commit({"n": b"1"}, [event(1)], [])
    state.commit({"n": b"2"}, [event(2)], [])
    assert event_sequences(direct) == [1, 2]
    assert RedisState(direct).load() == {"n": b"2"}
    assert (eater.eaten, state.restored) == (1, 0)


def test_a_commit_that_did_not_arrive_is_applied_when_it_is_repeated(
    answer_eater: tuple[AnswerEater, str], shared_server: EmbeddedServer, site: str
) -> None:
    eater, url = answer_eater
    state = RedisState(RedisBus(url, site))
    state.load()
    eater.eat_after, eater.refuse_afterwards = b"WATCH", True
    with pytest.raises(BusUnavailable):
        state.commit({"n": b"1"}, [event(1)], [])
    direct = RedisBus(shared_server.url, site)
    assert event_sequences(direct) == []
    eater.refusing = False
    state.commit({"n": b"1"}, [event(1)], [])
    assert event_sequences(direct) == [1]


def test_a_server_killed_at_any_moment_has_all_of_a_commit_or_nothing(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site", consumer="matcher")
    state = RedisState(bus)
    state.load()
    rng = random.Random(4)
    number = 0
    for _ in range(4):
        assert own_server.pid is not None
        killer = threading.Timer(rng.uniform(0.02, 0.1), os.kill, (own_server.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(BusUnavailable):
            while True:
                number += 1
                state.commit({"n": str(number).encode()}, [event(2 * number - 1), event(2 * number)], [])
        killer.join()
        own_server.start()
        stored = int(RedisState(RedisBus(own_server.url, "site")).load()["n"])
        assert stored in (number - 1, number)
        assert event_sequences(bus) == list(range(1, 2 * stored + 1))
        state.commit({"n": str(number).encode()}, [event(2 * number - 1), event(2 * number)], [])
        assert event_sequences(bus) == list(range(1, 2 * number + 1))
    assert state.restored == 0


def test_a_server_that_lost_everything_gets_the_state_again(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    state = RedisState(bus)
    state.load()
    state.commit({f"field{i}": b"x" for i in range(1200)}, [], [])
    state.commit({"field0": None}, [], [])
    bus.client.flushall()
    state.commit({"new": b"y"}, [event(1)], [])
    assert event_sequences(bus) == [1]
    assert state.restored == 1
    stored = RedisState(bus).load()
    assert len(stored) == 1200
    assert ("field0" in stored, stored["new"]) == (False, b"y")


def test_a_server_that_lost_its_last_seconds_gets_them_again(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    state = RedisState(bus, writer="w")
    state.load()
    for n in range(1, 6):
        state.commit({"n": str(n).encode()}, [event(n)], [])
    bus.client.hset(state_key(site, "matcher"), mapping={"n": b"3", "#commit": b"3 w"})
    bus.client.xdel(stream_key(site, IDENTITIES), *[d.id for d in bus.read(IDENTITIES, "0", 0.0)[3:]])
    state.commit({"m": b"6"}, [event(6)], [])
    assert event_sequences(bus) == [1, 2, 3, 4, 5, 6]
    assert RedisState(bus).load() == {"n": b"5", "m": b"6"}
    state.commit({"n": b"7"}, [event(7)], [])
    assert (event_sequences(bus)[-2:], state.restored) == ([6, 7], 1)


def test_a_second_writer_is_found_out_and_changes_nothing(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    one, two = RedisState(bus), RedisState(bus)
    one.load()
    one.commit({"n": b"1"}, [], [])
    two.load()
    one.commit({"n": b"2"}, [], [])
    with pytest.raises(StateConflict, match="another matcher"):
        two.commit({"n": b"two"}, [event(1)], [])
    with pytest.raises(StateConflict):
        RedisState(bus).commit({"n": b"not loaded"}, [event(1)], [])
    assert event_sequences(bus) == []
    assert one.load() == {"n": b"2"}


def test_a_successor_carries_on_and_its_predecessor_is_found_out(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    old, new = RedisState(bus), RedisState(bus)
    old.load()
    old.commit({"n": b"1"}, [], [])
    new.load()
    new.commit({"n": b"2"}, [], [])
    new.commit({"n": b"3"}, [], [])
    with pytest.raises(StateConflict):
        old.commit({"n": b"old"}, [], [])
    assert new.load() == {"n": b"3"}


# The lease


def test_a_second_matcher_is_told_who_is_first_and_since_when(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    first = Lease(bus, "alpha 4711", clock=lambda: 1_700_000_000.0)
    first.acquire()
    with pytest.raises(LeaseHeld, match=r"alpha 4711.*since 2023-11-14 22:13:20 UTC"):
        Lease(bus, "beta 1").acquire()
    first.acquire()
    first.renew()
    first.release()
    first.release()
    Lease(bus, "beta 1").acquire()


def test_a_dead_matchers_lease_lapses_and_a_waiting_one_takes_over(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    dead, alive = Lease(bus, "dead", ttl_s=0.4), Lease(bus, "alive")
    dead.acquire()
    began = time.monotonic()
    alive.acquire(wait_s=5.0)
    assert 0.2 < time.monotonic() - began < 2.0
    with pytest.raises(LeaseHeld, match="alive"):
        dead.renew()
    dead.release()
    alive.renew()


def test_a_lease_renewed_in_time_stays_and_a_lapsed_one_is_taken_again(
    shared_server: EmbeddedServer, site: str
) -> None:
    bus = RedisBus(shared_server.url, site)
    lease = Lease(bus, "a", ttl_s=0.5)
    lease.acquire()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        lease.renew()
        time.sleep(0.05)
    with pytest.raises(LeaseHeld):
        Lease(bus, "b").acquire()
    bus.client.delete(state_key(site, "lease"))
    lease.renew()
    with pytest.raises(LeaseHeld):
        Lease(bus, "b").acquire()


def test_of_many_at_once_one_gets_the_lease(shared_server: EmbeddedServer, site: str) -> None:
    winners = []

    def run(name: str) -> None:
        with suppress(LeaseHeld):
            Lease(RedisBus(shared_server.url, site), name).acquire()
            winners.append(name)

    threads = [threading.Thread(target=run, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


def test_an_unreadable_lease_still_says_that_there_is_one(shared_server: EmbeddedServer, site: str) -> None:
    bus = RedisBus(shared_server.url, site)
    bus.client.set(state_key(site, "lease"), b"\xff garbage")
    with pytest.raises(LeaseHeld, match="unknown"):
        Lease(bus, "a").acquire()
