import uuid

import pytest
from bus_examples import clip, tick

from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.streams import CLIPS, MATCHER_GROUP, stream_key
from pipeline.bus.waiting_orders import waiting_orders
from pipeline.types import Forget, Merge, Rename, Split, TrackKey

ORDERS = [Forget(1, 1), Rename(2, "Ann", 2), Merge(3, 2, 3), Split(2, (TrackKey("door", "1", 3),), 4)]


@pytest.fixture
def bus(shared_server: EmbeddedServer) -> RedisBus:
    return RedisBus(shared_server.url, f"test-{uuid.uuid4().hex[:12]}")


def publish(bus: RedisBus) -> None:
    for n, order in enumerate(ORDERS):
        bus.publish(CLIPS, clip(2 * n + 1))
        bus.publish(CLIPS, order)
        bus.publish(CLIPS, tick(2 * n + 2))


def test_nothing_waits_where_there_is_no_stream(bus: RedisBus) -> None:
    assert waiting_orders(bus) == []


def test_all_orders_wait_while_no_matcher_ever_read(bus: RedisBus) -> None:
    publish(bus)
    assert waiting_orders(bus) == ORDERS


def test_what_was_settled_waits_no_more_and_what_was_only_given_out_does(bus: RedisBus) -> None:
    publish(bus)
    given = bus.receive(CLIPS, MATCHER_GROUP, 0.0, count=8)  # up to and with the third order
    assert waiting_orders(bus) == ORDERS
    bus.acknowledge(CLIPS, MATCHER_GROUP, [d.id for d in given if d.message != ORDERS[1]])
    assert waiting_orders(bus) == [ORDERS[1], ORDERS[3]]
    bus.acknowledge(CLIPS, MATCHER_GROUP, [d.id for d in given])
    assert waiting_orders(bus) == [ORDERS[3]]
    rest = bus.receive(CLIPS, MATCHER_GROUP, 0.0)
    bus.acknowledge(CLIPS, MATCHER_GROUP, [d.id for d in rest])
    assert waiting_orders(bus) == []


def test_entries_that_nobody_can_read_are_no_orders(bus: RedisBus) -> None:
    bus.client.xadd(stream_key(bus.site, CLIPS), {b"k": b"merge", b"v": b"99"})
    bus.client.xadd(stream_key(bus.site, CLIPS), {b"garbage": b"1"})
    assert waiting_orders(bus) == []
