import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from bus_examples import clip, tick, tracked_frame

from pipeline.bus.memory import MemoryBus
from pipeline.bus.publisher import SpoolingPublisher
from pipeline.bus.spool import Spool, Spooled
from pipeline.bus.streams import CLIPS, HEALTH, tracks
from pipeline.errors import BusUnavailable, OutputError

WaitFor = Callable[..., None]


class MoodyBus(MemoryBus):
    """A memory bus that can be away, and can lose its answer after having done the work."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.lose_answers = 0
        self.stuck = threading.Event()
        self.stuck.set()

    def publish_batch(self, batch: Sequence[tuple[str, Mapping[bytes, bytes]]], mark: tuple[str, int] | None) -> None:
        self.stuck.wait(10)
        if self.away:
            raise BusUnavailable("away")
        super().publish_batch(batch, mark)
        if self.lose_answers:
            self.lose_answers -= 1
            raise BusUnavailable("the answer is lost")

    def go_back(self, keep: int) -> None:
        """As a server does that was killed before its last writes reached the disk."""
        with self.store.changed:
            entries = self.store.entries[CLIPS]
            for number in list(entries)[keep:]:
                del entries[number]
            for producer in self.store.sent:
                self.store.sent[producer] = keep

    def last_sent(self, producer: str) -> int:
        if self.away:
            raise BusUnavailable("away")
        return super().last_sent(producer)


@pytest.fixture
def bus() -> MoodyBus:
    return MoodyBus()


def received(bus: MemoryBus) -> list[int]:
    return [d.message.sequence for d in bus.read(CLIPS, "0", 0.0, count=100_000)]  # type: ignore[union-attr]


def test_messages_are_published_in_order_without_touching_the_disk(bus: MoodyBus, tmp_path: Path) -> None:
    publisher = SpoolingPublisher(bus, tmp_path / "spool")
    for n in range(1, 201):
        publisher.publish(CLIPS, tick(n))
    assert publisher.flush(5.0)
    publisher.close()
    assert received(bus) == list(range(1, 201))
    assert not (tmp_path / "spool").exists()
    assert publisher.counters()["published"] == 200


def test_nothing_published_is_nothing_to_wait_for(bus: MoodyBus, tmp_path: Path) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    assert publisher.flush(0.0)
    publisher.close()
    publisher.close()


def test_a_stuck_bus_does_not_hold_up_its_caller(bus: MoodyBus, tmp_path: Path) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    bus.stuck.clear()
    for n in range(1, 51):
        publisher.publish(CLIPS, tick(n))
    assert not publisher.flush(0.05)
    bus.stuck.set()
    assert publisher.flush(5.0)
    publisher.close()
    assert received(bus) == list(range(1, 51))


def test_while_the_bus_is_away_messages_wait_and_then_come_in_order(
    bus: MoodyBus, tmp_path: Path, wait_for: WaitFor
) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    publisher.publish(CLIPS, tick(1))
    assert publisher.flush(5.0)
    bus.away = True
    for n in range(2, 300):
        publisher.publish(CLIPS, tick(n))
    wait_for(lambda: publisher.counters()["spool_waiting"] == 298)
    assert not publisher.connected
    bus.away = False
    publisher.publish(CLIPS, tick(300))
    assert publisher.flush(10.0)
    assert publisher.connected
    publisher.close()
    assert received(bus) == list(range(1, 301))
    assert publisher.counters()["published"] == 300
    assert not list(tmp_path.iterdir())


def test_the_bus_is_tried_again_although_messages_keep_coming(bus: MoodyBus, tmp_path: Path, wait_for: WaitFor) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    bus.away = True
    publisher.publish(CLIPS, tick(1))
    wait_for(lambda: not publisher.connected)
    bus.away = False
    number = 1

    def one_more() -> bool:
        nonlocal number
        number += 1
        publisher.publish(CLIPS, tick(number))
        return publisher.connected

    wait_for(one_more, 5.0)
    assert publisher.flush(5.0)
    publisher.close()
    assert received(bus) == list(range(1, number + 1))


@pytest.mark.parametrize("losses", [1, 3])
def test_a_lost_answer_doubles_nothing(bus: MoodyBus, tmp_path: Path, losses: int) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    bus.lose_answers = losses
    for n in range(1, 151):
        publisher.publish(CLIPS, tick(n))
    assert publisher.flush(10.0)
    publisher.close()
    assert received(bus) == list(range(1, 151))


@pytest.mark.parametrize("kept", [0, 60, 99])
def test_what_a_killed_server_forgot_is_published_again_in_order(
    bus: MoodyBus, tmp_path: Path, wait_for: WaitFor, kept: int
) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    for n in range(1, 101):
        publisher.publish(CLIPS, tick(n))
    assert publisher.flush(5.0)
    bus.away = True
    for n in range(101, 111):
        publisher.publish(CLIPS, tick(n))
    wait_for(lambda: publisher.counters()["spool_waiting"] == 10)
    bus.go_back(kept)
    bus.away = False
    assert publisher.flush(5.0)
    publisher.close()
    assert received(bus) == list(range(1, 111))
    assert publisher.counters()["published_again"] == 100 - kept


def test_boxes_and_heartbeats_are_dropped_while_the_bus_is_away(
    bus: MoodyBus, tmp_path: Path, wait_for: WaitFor
) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    bus.away = True
    publisher.publish(tracks("door"), tracked_frame())
    publisher.publish(HEALTH, tick())
    publisher.publish(CLIPS, tick())
    wait_for(lambda: publisher.counters()["dropped_ephemeral"] == 2)
    bus.away = False
    assert publisher.flush(5.0)
    publisher.publish(tracks("door"), tracked_frame())
    assert publisher.flush(5.0)
    publisher.close()
    assert len(bus.read(tracks("door"), "0", 0.0)) == 1
    assert received(bus) == [1]


def test_a_run_that_ends_during_an_outage_leaves_its_messages_to_the_next(bus: MoodyBus, tmp_path: Path) -> None:
    bus.away = True
    first = SpoolingPublisher(bus, tmp_path)
    for n in (1, 2, 3):
        first.publish(CLIPS, tick(n))
    first.close(0.1)
    bus.away = False
    second = SpoolingPublisher(bus, tmp_path)
    second.publish(CLIPS, tick(4))
    assert second.flush(5.0)
    second.close()
    assert received(bus) == [1, 2, 3, 4]


def test_a_lost_answer_is_settled_by_the_next_run(bus: MoodyBus, tmp_path: Path, wait_for: WaitFor) -> None:
    first = SpoolingPublisher(bus, tmp_path)
    bus.lose_answers = 1
    first.publish(CLIPS, tick(1))
    wait_for(lambda: not first.connected)
    bus.away = True
    first.publish(CLIPS, tick(2))
    first.close(0.1)
    bus.away = False
    second = SpoolingPublisher(bus, tmp_path)
    assert second.flush(5.0)
    second.close()
    assert received(bus) == [1, 2]


def test_a_closed_publisher_and_a_wrong_message_are_the_callers_mistakes(bus: MoodyBus, tmp_path: Path) -> None:
    publisher = SpoolingPublisher(bus, tmp_path)
    with pytest.raises(ValueError, match="stream"):
        publisher.publish("nowhere", tick())
    with pytest.raises(ValueError, match="camera_id"):
        publisher.publish(CLIPS, tick(camera_id="a b"))
    publisher.close()
    with pytest.raises(ValueError, match="closed"):
        publisher.publish(CLIPS, tick())


# The spool alone


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def spooled(number: int, size: int = 100, producer: str = "p") -> Spooled:
    return Spooled(producer, number, CLIPS, {b"h": bytes(size)})


def numbers(spool: Spool) -> list[int]:
    return [m.number for m in spool.first(10_000, 1 << 30)]


def test_an_empty_spool_has_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000, 60, Clock())
    assert (len(spool), spool.first(10, 1000), spool.producers()) == (0, [], [])
    spool.add([])
    spool.remove([])
    assert spool.remove_up_to("p", 5) == 0
    assert not list(tmp_path.iterdir())


def test_the_spool_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10_000, 60, Clock())
    spool.add([spooled(1)])
    assert all(f.stat().st_mode & 0o077 == 0 for f in (tmp_path / "spool").iterdir())
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    spool.close()


def test_a_full_spool_drops_its_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 5_000, 60, Clock())
    for n in range(1, 101):
        spool.add([spooled(n)])
    kept = numbers(spool)
    assert kept[-1] == 100
    assert kept == list(range(101 - len(kept), 101))
    assert 20 <= len(kept) <= 30
    assert spool.counters.dropped_size == 100 - len(kept)
    spool.close()


def test_what_is_too_old_is_dropped_and_counted(tmp_path: Path) -> None:
    clock = Clock()
    spool = Spool(tmp_path, 10_000, 60, clock)
    spool.add([spooled(1)])
    clock.now_s += 59
    spool.add([spooled(2)])
    clock.now_s += 2
    assert numbers(spool) == [2]
    assert spool.counters.dropped_age == 1
    spool.close()


def test_messages_are_taken_in_order_within_the_limits_and_by_one_producer(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20, 60, Clock())
    spool.add([spooled(n) for n in (1, 2, 3)] + [spooled(1, producer="q")])
    assert [m.number for m in spool.first(2, 1 << 20)] == [1, 2]
    assert [m.number for m in spool.first(10, 1)] == [1]
    assert [m.number for m in spool.first(10, 1 << 20)] == [1, 2, 3]
    spool.remove(spool.first(10, 1 << 20))
    assert [m.producer for m in spool.first(10, 1 << 20)] == ["q"]
    assert spool.remove_up_to("q", 1) == 1
    assert not list(tmp_path.iterdir())


def test_a_spool_opened_again_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20, 60, Clock())
    spool.add([spooled(1), spooled(2)])
    spool.close()
    again = Spool(tmp_path, 1 << 20, 60, Clock())
    assert (len(again), numbers(again)) == (2, [1, 2])
    again.close()


def fill(folder: Path, count: int = 300) -> Path:
    spool = Spool(folder, 1 << 24, 1e9, Clock())
    spool.add([spooled(n) for n in range(1, count + 1)])
    spool.close()
    return folder / "spool.sqlite3"


@pytest.mark.parametrize("damage", ["garbage", "torn", "empty", "middle"])
def test_a_damaged_spool_is_survived_and_counted(tmp_path: Path, damage: str) -> None:
    file = fill(tmp_path)
    raw = bytearray(file.read_bytes())
    if damage == "garbage":
        raw = bytearray(os.urandom(5000))
    elif damage == "torn":
        raw = raw[: len(raw) // 2]
    elif damage == "empty":
        raw = bytearray()
    else:
        raw[4096:-4096] = os.urandom(len(raw) - 8192)
    file.write_bytes(raw)
    spool = Spool(tmp_path, 1 << 24, 1e9, Clock())
    waiting = spool.first(1000, 1 << 24)
    spool.remove(waiting)
    spool.add([spooled(1000)])
    assert [m.number for m in spool.first(1000, 1 << 24)][-1] == 1000
    lost = 300 - len(waiting)
    assert lost == 0 or spool.counters.damaged_files or spool.counters.dropped_damaged or damage == "empty"
    spool.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    fill(tmp_path).write_bytes(b"this is no data base" * 500)
    spool = Spool(tmp_path, 1 << 24, 1e9, Clock())
    assert (len(spool), spool.counters.damaged_files) == (0, 1)
    assert [f.name for f in tmp_path.iterdir()] == ["spool.damaged"]


def test_a_spool_that_is_damaged_while_it_is_open_takes_the_next_message(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 24, 1e9, Clock())
    spool.add([spooled(n, 5000) for n in range(100)])
    spool.close()
    with (tmp_path / "spool.sqlite3").open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(100_000))
    spool.add([spooled(7)])
    assert spool.counters.damaged_files == 1
    assert numbers(spool) == [7]
    spool.close()


def test_a_row_with_a_flipped_bit_is_dropped_and_counted(tmp_path: Path) -> None:
    file = fill(tmp_path, 3)
    database = sqlite3.connect(file)
    database.execute("UPDATE message SET packed = x'00112233445566' WHERE number = 2")
    database.commit()
    database.close()
    spool = Spool(tmp_path, 1 << 20, 1e9, Clock())
    assert numbers(spool) == [1, 3]
    assert spool.counters.dropped_damaged == 1
    spool.close()


def test_a_disk_that_takes_nothing_costs_messages_but_not_the_program(tmp_path: Path, bus: MoodyBus) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "file" / "spool", 1 << 20, 60, Clock())
    spool.add([spooled(1), spooled(2)])
    assert (len(spool), spool.counters.dropped_disk) == (0, 2)
    bus.away = True
    publisher = SpoolingPublisher(bus, tmp_path / "file" / "spool")
    publisher.publish(CLIPS, clip())
    publisher.close(1.0)
    assert publisher.counters()["dropped_disk"] == 1


def test_a_full_disk_costs_messages_but_not_the_program(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 24, 60, Clock())
    spool.add([spooled(1)])
    assert spool._database is not None
    spool._database.execute("PRAGMA max_page_count = 20")  # what SQLite sees of a disk of 80 KB
    for n in range(2, 40):
        spool.add([spooled(n, 10_000)])
    assert spool.counters.dropped_disk > 20
    assert numbers(spool)[0] == 1
    assert len(numbers(spool)) + spool.counters.dropped_disk == 39
    spool.close()


def test_a_spool_that_may_not_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite3").mkdir()
    with pytest.raises(OutputError, match=r"spool\.sqlite3 cannot be opened"):
        Spool(tmp_path, 1 << 20, 60, Clock())


def test_a_folder_removed_behind_its_back_does_not_end_the_publisher(
    bus: MoodyBus, tmp_path: Path, wait_for: WaitFor
) -> None:
    publisher = SpoolingPublisher(bus, tmp_path / "spool")
    bus.away = True
    publisher.publish(CLIPS, tick(1))
    wait_for(lambda: publisher.counters()["spool_waiting"] == 1)
    shutil.rmtree(tmp_path / "spool")
    bus.away = False
    publisher.publish(CLIPS, tick(2))
    assert publisher.flush(10.0)
    publisher.close()
    assert received(bus)[-1] == 2
