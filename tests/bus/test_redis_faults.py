"""What a real server's faults do to the bus and to the publisher."""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from answer_eater import AnswerEater
from bus_examples import clip, tick, tracked_frame

from pipeline.bus.connection import ServerFull
from pipeline.bus.publisher import SpoolingPublisher
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.streams import CLIPS, DEAD_LETTERS, stream_key, tracks
from pipeline.errors import BusRefused, BusUnavailable
from pipeline.types import ClipFeature, Tick

WaitFor = Callable[..., None]


def fresh_site() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def kill(server: EmbeddedServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def published_sequences(bus: RedisBus) -> list[int]:
    out = []
    after = "0"
    while deliveries := bus.read(CLIPS, after, 0.0, count=1000):
        after = deliveries[-1].id
        out += [d.message.sequence for d in deliveries if isinstance(d.message, Tick | ClipFeature)]
    return out


@pytest.mark.parametrize("password", ["wrong-password", ""])
def test_a_wrong_password_is_fatal_within_two_seconds_and_never_shown(
    shared_server: EmbeddedServer, password: str
) -> None:
    bus = RedisBus(f"redis://:{password}@{shared_server.address}", "site")
    began = time.monotonic()
    for attempt in (bus.ping, lambda: bus.publish(CLIPS, tick()), lambda: bus.receive(CLIPS, "g", 5.0)):
        with pytest.raises(BusRefused) as refused:
            attempt()
        assert "bus.url" in str(refused.value)
        assert "wrong-password" not in str(refused.value) + repr(bus)
    assert time.monotonic() - began < 2.0


def test_a_publisher_with_a_wrong_password_says_so_at_its_next_message(
    shared_server: EmbeddedServer, tmp_path: Path, wait_for: WaitFor
) -> None:
    publisher = SpoolingPublisher(RedisBus(f"redis://:no@{shared_server.address}", "site"), tmp_path)
    publisher.publish(CLIPS, tick())
    wait_for(lambda: not publisher.connected, 2.0)
    with pytest.raises(BusRefused, match="password"):
        publisher.publish(CLIPS, tick(2))
    with pytest.raises(BusRefused):
        publisher.check()
    assert not publisher.flush(0.1)
    publisher.close()
    assert publisher.counters()["spool_waiting"] == 1


@pytest.mark.parametrize("url", ["http://user:hunter2@host", "hunter2", "redis://u:hunter2@host:port", ""])
def test_an_unusable_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BusRefused) as refused:
        RedisBus(url, "site")
    assert "hunter2" not in str(refused.value)


def test_nobody_at_the_address_is_unavailable_and_hides_the_password(caplog: pytest.LogCaptureFixture) -> None:
    bus = RedisBus("redis://user:hunter2@127.0.0.1:1", "site")
    caplog.set_level(logging.DEBUG)
    for attempt in (bus.ping, lambda: bus.publish(CLIPS, tick()), lambda: bus.receive(CLIPS, "g", 1.0)):
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1 does not answer") as error:
            attempt()
        assert not isinstance(error.value, BusRefused)
        assert "hunter2" not in str(error.value)
        assert error.value.__suppress_context__
    assert "hunter2" not in caplog.text


def test_what_the_url_says_cannot_undo_the_time_outs() -> None:
    bus = RedisBus("redis://h:1/0?socket_timeout=99&protocol=3&decode_responses=yes", "site")
    options = bus.client.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["protocol"], options["decode_responses"]) == (1.0, 2, False)


def test_a_full_server_refuses_with_a_clear_error_and_the_spool_keeps_the_messages(
    own_server: EmbeddedServer, tmp_path: Path, wait_for: WaitFor
) -> None:
    bus = RedisBus(own_server.url, "site")
    bus.client.config_set("maxmemory", 1)
    with pytest.raises(ServerFull, match="out of memory; raise maxmemory"):
        bus.publish(CLIPS, tick())
    publisher = SpoolingPublisher(bus, tmp_path / "spool")
    for n in range(1, 11):
        publisher.publish(CLIPS, tick(n))
    wait_for(lambda: publisher.counters()["spool_waiting"] == 10)
    bus.client.config_set("maxmemory", 0)
    assert publisher.flush(10.0)
    assert published_sequences(bus) == list(range(1, 11))
    publisher.close()


def test_a_poison_message_does_not_stop_a_consumer_of_a_full_server(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    assert bus.receive(CLIPS, "g", 0.0) == []
    bus.client.xadd(stream_key("site", CLIPS), {b"garbage": b"1"})
    bus.publish(CLIPS, tick(2))
    bus.client.config_set("maxmemory", 1)
    assert [d.message for d in bus.receive(CLIPS, "g", 1.0)] == [tick(2)]
    assert bus.counters.poison == 1
    assert bus.client.xpending(stream_key("site", CLIPS), "g")["pending"] == 1  # the tick; the poison is settled
    assert not bus.client.exists(stream_key("site", DEAD_LETTERS))


def test_a_killed_server_loses_and_doubles_nothing(
    own_server: EmbeddedServer, tmp_path: Path, wait_for: WaitFor
) -> None:
    bus = RedisBus(own_server.url, "site")
    publisher = SpoolingPublisher(bus, tmp_path / "spool")
    slowest_s = 0.0
    for n in range(1, 601):
        if n == 200:
            kill(own_server)
        if n == 400:
            wait_for(lambda: publisher.counters()["spool_waiting"] > 0)
            own_server.start()
        began = time.monotonic()
        publisher.publish(CLIPS, clip(n))
        publisher.publish(tracks("door"), tracked_frame())
        slowest_s = max(slowest_s, time.monotonic() - began)
    assert publisher.flush(15.0)
    publisher.close()
    assert published_sequences(bus) == list(range(1, 601))
    figures = publisher.counters()
    assert figures["outages"] == 1
    assert figures["dropped_ephemeral"] > 0
    assert not list((tmp_path / "spool").iterdir())
    assert slowest_s < 0.2  # capture is never held up


def test_a_paused_server_holds_nobody_up_and_nothing_is_lost_or_doubled(
    own_server: EmbeddedServer, tmp_path: Path, wait_for: WaitFor
) -> None:
    bus = RedisBus(own_server.url, "site")
    publisher = SpoolingPublisher(bus, tmp_path / "spool")
    publisher.publish(CLIPS, tick(1))
    assert publisher.flush(5.0)
    assert own_server.pid is not None
    os.kill(own_server.pid, signal.SIGSTOP)
    awake = threading.Timer(3.0, os.kill, (own_server.pid, signal.SIGCONT))
    awake.start()
    began = time.monotonic()
    for n in range(2, 101):
        publisher.publish(CLIPS, tick(n))
    assert time.monotonic() - began < 0.5
    assert not publisher.flush(1.0)
    awake.join()
    assert publisher.flush(15.0)
    publisher.close()
    assert published_sequences(bus) == list(range(1, 101))
    assert publisher.counters()["found_published"] > 0  # applied when it woke up, though the answer came too late


def test_a_reader_sits_out_a_pause(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    assert bus.receive(CLIPS, "g", 0.0) == []
    assert own_server.pid is not None
    os.kill(own_server.pid, signal.SIGSTOP)
    awake = threading.Timer(1.5, os.kill, (own_server.pid, signal.SIGCONT))
    awake.start()
    assert bus.receive(CLIPS, "g", 0.3) == []
    awake.join()
    bus.publish(CLIPS, tick(1))
    assert [d.message for d in bus.receive(CLIPS, "g", 1.0)] == [tick(1)]


def test_after_flushall_the_group_is_made_again_and_messages_flow(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    bus.publish(CLIPS, tick(1))
    bus.receive(CLIPS, "g", 1.0)
    bus.client.flushall()
    assert bus.receive(CLIPS, "g", 0.1) == []
    bus.publish(CLIPS, tick(2))
    assert [d.message for d in bus.receive(CLIPS, "g", 1.0)] == [tick(2)]


def test_flushall_under_a_waiting_reader_does_not_end_it(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    bus.publish(CLIPS, tick(1))
    bus.receive(CLIPS, "g", 1.0)
    other = RedisBus(own_server.url, "site")

    def disturb() -> None:
        other.client.flushall()
        other.publish(CLIPS, tick(2))

    timer = threading.Timer(0.2, disturb)
    timer.start()
    assert [d.message for d in bus.receive(CLIPS, "g", 5.0)] == [tick(2)]
    timer.join()


def test_after_a_restart_the_consumer_gets_its_pending_messages_first(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    for n in (1, 2):
        bus.publish(CLIPS, tick(n))
    deliveries = bus.receive(CLIPS, "g", 1.0)
    bus.acknowledge(CLIPS, "g", [deliveries[0].id])
    kill(own_server)
    with pytest.raises(BusUnavailable):
        bus.receive(CLIPS, "g", 1.0)
    own_server.start()
    bus.publish(CLIPS, tick(3))
    assert [d.message for d in bus.receive(CLIPS, "g", 1.0)] == [tick(2)]
    assert [d.message for d in bus.receive(CLIPS, "g", 1.0)] == [tick(3)]


def test_a_dead_consumers_messages_go_to_another_one_of_its_group(shared_server: EmbeddedServer) -> None:
    site = fresh_site()
    dead = RedisBus(shared_server.url, site, consumer="dead")
    dead.publish(CLIPS, tick(1))
    dead.receive(CLIPS, "g", 1.0)
    alive = RedisBus(shared_server.url, site, consumer="alive", claim_idle_s=0.2)
    alive.publish(CLIPS, tick(2))
    assert [d.message for d in alive.receive(CLIPS, "g", 0.0)] == [tick(2)]
    received = alive.receive(CLIPS, "g", 0.0)
    deadline = time.monotonic() + 5
    while not received and time.monotonic() < deadline:
        received = alive.receive(CLIPS, "g", 0.1)
    assert [d.message for d in received] == [tick(1)]
    assert alive.counters.claimed == 1
    time.sleep(0.5)  # its own two are idle for longer than claim_idle_s now, and must not come again
    assert alive.receive(CLIPS, "g", 0.3) == []


def test_a_lost_answer_does_not_double_a_batch(
    answer_eater: tuple[AnswerEater, str], shared_server: EmbeddedServer, tmp_path: Path
) -> None:
    eater, url = answer_eater
    site = fresh_site()
    publisher = SpoolingPublisher(RedisBus(url, site), tmp_path)
    for n in range(1, 31):
        if n == 11:
            assert publisher.flush(5.0)
            eater.eat_after = b"XADD"
        publisher.publish(CLIPS, tick(n))
    assert publisher.flush(10.0)
    publisher.close()
    assert eater.eaten == 1
    assert published_sequences(RedisBus(shared_server.url, site)) == list(range(1, 31))
    assert publisher.counters()["found_published"] > 0
