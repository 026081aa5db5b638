"""What every bus does: run over memory and over a real server."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from bus_examples import clip, examples, tick

from pipeline.bus.codec import encode, message_kind
from pipeline.bus.memory import MemoryBus, MemoryStore
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, DEAD_LETTERS, IDENTITIES, stream_key, tracks
from pipeline.ports import Delivery
from pipeline.types import Tick

BusUnderTest = RedisBus | MemoryBus
MakeBus = Callable[..., BusUnderTest]


@pytest.fixture(params=["memory", "redis"])
def make_bus(request: pytest.FixtureRequest) -> Iterator[MakeBus]:
    """Makes clients of one site; each call is a fresh client, as after a restart of its process."""
    made: list[BusUnderTest] = []
    site = f"test-{uuid.uuid4().hex[:12]}"
    store = MemoryStore()

    def make(**options: object) -> BusUnderTest:
        bus: BusUnderTest
        if request.param == "memory":
            bus = MemoryBus(store, site=site, **options)  # type: ignore[arg-type]
        else:
            bus = RedisBus(request.getfixturevalue("shared_server").url, site, **options)  # type: ignore[arg-type]
        made.append(bus)
        return bus

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def bus(make_bus: MakeBus) -> BusUnderTest:
    return make_bus()


def sequences(deliveries: list[Delivery]) -> list[int]:
    return [d.message.sequence for d in deliveries]  # type: ignore[union-attr]


def append_raw(bus: BusUnderTest, stream: str, fields: dict[bytes, bytes]) -> None:
    if isinstance(bus, MemoryBus):
        bus.append_raw(stream, fields)
    else:
        bus.client.xadd(stream_key(bus.site, stream), fields)


def trim(bus: BusUnderTest, stream: str, keep: int) -> None:
    if isinstance(bus, MemoryBus):
        bus.trim(stream, keep)
    else:
        bus.client.xtrim(stream_key(bus.site, stream), maxlen=keep, approximate=False)


def stream_length(bus: BusUnderTest, stream: str) -> int:
    if isinstance(bus, MemoryBus):
        return len(bus.store.entries.get(stream, {}))
    return int(bus.client.xlen(stream_key(bus.site, stream)))


def test_messages_come_in_the_order_they_were_published(bus: BusUnderTest) -> None:
    for n in range(1, 301):
        bus.publish(CLIPS, tick(n))
    received = bus.receive(CLIPS, "g", 1.0, count=200) + bus.receive(CLIPS, "g", 1.0, count=200)
    assert sequences(received) == list(range(1, 301))


def test_every_kind_of_message_is_carried(bus: BusUnderTest) -> None:
    for message in examples().values():
        bus.publish(CLIPS, message)
    assert [message_kind(d.message) for d in bus.receive(CLIPS, "g", 1.0)] == list(examples())


def test_groups_each_get_every_message(bus: BusUnderTest) -> None:
    bus.publish(CLIPS, tick(1))
    bus.publish(CLIPS, tick(2))
    assert sequences(bus.receive(CLIPS, "one", 1.0)) == [1, 2]
    assert sequences(bus.receive(CLIPS, "two", 1.0)) == [1, 2]


def test_a_group_that_comes_late_starts_at_the_beginning(bus: BusUnderTest) -> None:
    bus.publish(CLIPS, tick(1))
    ids = [d.id for d in bus.receive(CLIPS, "early", 1.0)]
    bus.acknowledge(CLIPS, "early", ids)
    assert sequences(bus.receive(CLIPS, "late", 1.0)) == [1]


def test_streams_do_not_mix(bus: BusUnderTest) -> None:
    bus.publish(CLIPS, tick(1))
    bus.publish(tracks("door"), tick(2))
    assert sequences(bus.receive(tracks("door"), "g", 1.0)) == [2]
    assert bus.receive(IDENTITIES, "g", 0.0) == []


def test_a_running_consumer_gets_each_message_once(bus: BusUnderTest) -> None:
    bus.publish(CLIPS, tick(1))
    assert sequences(bus.receive(CLIPS, "g", 1.0)) == [1]
    assert bus.receive(CLIPS, "g", 0.0) == []


def test_what_was_not_acknowledged_comes_again_to_the_consumer_that_restarts(make_bus: MakeBus) -> None:
    first = make_bus(consumer="a")
    for n in (1, 2, 3):
        first.publish(CLIPS, tick(n))
    deliveries = first.receive(CLIPS, "g", 1.0)
    first.acknowledge(CLIPS, "g", [deliveries[1].id])
    first.publish(CLIPS, tick(4))
    again = make_bus(consumer="a")
    assert sequences(again.receive(CLIPS, "g", 1.0, count=1)) == [1]
    assert sequences(again.receive(CLIPS, "g", 1.0)) == [3]
    assert sequences(again.receive(CLIPS, "g", 1.0)) == [4]


def test_another_consumer_of_the_group_does_not_get_what_is_held(make_bus: MakeBus) -> None:
    first = make_bus(consumer="a")
    first.publish(CLIPS, tick(1))
    first.receive(CLIPS, "g", 1.0)
    assert make_bus(consumer="b").receive(CLIPS, "g", 0.0) == []


def test_an_acknowledged_message_never_comes_again(make_bus: MakeBus) -> None:
    first = make_bus()
    first.publish(CLIPS, tick(1))
    first.acknowledge(CLIPS, "g", [d.id for d in first.receive(CLIPS, "g", 1.0)])
    assert make_bus().receive(CLIPS, "g", 0.0) == []


def test_acknowledging_nothing_or_something_unknown_is_harmless(bus: BusUnderTest) -> None:
    bus.receive(CLIPS, "g", 0.0)
    bus.acknowledge(CLIPS, "g", [])
    bus.acknowledge(CLIPS, "g", ["99999-0"])


def test_the_time_out_is_in_seconds(bus: BusUnderTest) -> None:
    began = time.monotonic()
    assert bus.receive(CLIPS, "g", 0.3) == []
    assert 0.25 < time.monotonic() - began < 1.5


def test_no_time_out_does_not_wait(bus: BusUnderTest) -> None:
    began = time.monotonic()
    assert bus.receive(CLIPS, "g", 0.0) == []
    assert time.monotonic() - began < 0.25


def test_a_waiting_receiver_gets_a_message_at_once(bus: BusUnderTest) -> None:
    timer = threading.Timer(0.1, bus.publish, (CLIPS, tick(1)))
    began = time.monotonic()
    timer.start()
    assert sequences(bus.receive(CLIPS, "g", 10.0)) == [1]
    assert time.monotonic() - began < 2.0
    timer.join()


def test_no_more_than_count_messages_come_at_once(bus: BusUnderTest) -> None:
    for n in range(5):
        bus.publish(CLIPS, tick(n))
    assert [len(bus.receive(CLIPS, "g", 0.0, count=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_an_unreadable_message_goes_to_the_dead_letters_and_the_stream_goes_on(make_bus: MakeBus) -> None:
    bus = make_bus()
    bus.publish(CLIPS, tick(1))
    append_raw(bus, CLIPS, {b"garbage": b"\xff"})
    append_raw(bus, CLIPS, {**encode(tick(2)), b"v": b"99"})
    bus.publish(CLIPS, tick(3))
    assert sequences(bus.receive(CLIPS, "g", 1.0)) == [1, 3]
    assert bus.counters.poison == 2
    assert stream_length(bus, DEAD_LETTERS) == 2
    assert sequences(make_bus().receive(CLIPS, "g", 0.0)) == [1, 3]


def test_messages_trimmed_before_they_were_acknowledged_are_counted_as_lost(make_bus: MakeBus) -> None:
    first = make_bus()
    for n in range(1, 6):
        first.publish(CLIPS, tick(n))
    first.receive(CLIPS, "g", 1.0)
    trim(first, CLIPS, 2)
    again = make_bus()
    assert sequences(again.receive(CLIPS, "g", 0.0)) == [4, 5]
    assert again.counters.lost == 3
    third = make_bus()
    assert sequences(third.receive(CLIPS, "g", 0.0)) == [4, 5]
    assert third.counters.lost == 0


def test_a_stream_keeps_about_as_many_messages_as_it_should(make_bus: MakeBus) -> None:
    bus = make_bus(max_messages=100)
    for n in range(1000):
        bus.publish(CLIPS, tick(n))
    assert 100 <= stream_length(bus, CLIPS) <= 300


def test_a_reader_without_a_group_follows_a_stream(bus: BusUnderTest) -> None:
    for n in (1, 2, 3):
        bus.publish(CLIPS, tick(n))
    first = bus.read(CLIPS, "0", 0.0, count=2)
    assert sequences(first) == [1, 2]
    assert sequences(bus.read(CLIPS, first[-1].id, 0.0)) == [3]
    assert bus.read(CLIPS, "$", 0.05) == []


def test_a_batch_carries_its_producers_mark(bus: BusUnderTest) -> None:
    assert bus.last_sent("p") == 0
    bus.publish_batch([(CLIPS, encode(tick(n))) for n in (1, 2)], ("p", 2))
    bus.publish_batch([(tracks("door"), encode(tick(3)))], None)
    assert bus.last_sent("p") == 2
    assert sequences(bus.receive(CLIPS, "g", 1.0)) == [1, 2]


@pytest.mark.parametrize("stream", ["", "clip", "tracks:", "tracks:a b", "state:matcher"])
def test_a_stream_that_does_not_exist_is_a_mistake(bus: BusUnderTest, stream: str) -> None:
    with pytest.raises(ValueError, match=r"stream|camera id"):
        bus.publish(stream, tick(1))
    with pytest.raises(ValueError, match=r"stream|camera id"):
        bus.receive(stream, "g", 0.0)


def test_several_threads_may_publish_and_receive_at_once(bus: BusUnderTest) -> None:
    def publish(camera: str) -> None:
        for n in range(50):
            bus.publish(CLIPS, tick(n, camera))

    threads = [threading.Thread(target=publish, args=(f"cam{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    received: list[Tick] = []
    deadline = time.monotonic() + 10
    while len(received) < 150 and time.monotonic() < deadline:
        received += [d.message for d in bus.receive(CLIPS, "g", 0.2) if isinstance(d.message, Tick)]
    for thread in threads:
        thread.join()
    received.sort(key=lambda t: t.camera_id)  # stable: keeps each camera's order
    for _, own in itertools.groupby(received, key=lambda t: t.camera_id):
        assert [t.sequence for t in own] == list(range(50))


def test_a_clip_is_quantised_by_the_bus(bus: BusUnderTest) -> None:
    bus.publish(CLIPS, clip())
    (delivery,) = bus.receive(CLIPS, "g", 1.0)
    assert encode(delivery.message) == encode(clip())


def test_dead_letters_are_not_read_as_messages(bus: BusUnderTest) -> None:
    with pytest.raises(ValueError, match="XRANGE"):
        bus.receive(DEAD_LETTERS, "g", 0.0)
