import threading
import time

from pipeline.capture.latest import LatestSlot


def test_the_newest_value_wins_and_the_others_are_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for value in (1, 2, 3):
        slot.put(value)
    assert slot.take(0) == 3
    assert slot.skipped == 2


def test_a_value_is_taken_once() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    assert [slot.take(0), slot.take(0)] == [1, None]
    assert slot.skipped == 0


def test_an_empty_slot_gives_nothing_after_the_time_out() -> None:
    started_s = time.monotonic()
    assert LatestSlot[int]().take(0.05) is None
    assert time.monotonic() - started_s >= 0.04


def test_a_cleared_value_counts_as_skipped() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    slot.clear()
    slot.clear()
    assert slot.take(0) is None
    assert slot.skipped == 1


def test_a_waiting_consumer_gets_the_value_at_once() -> None:
    slot: LatestSlot[str] = LatestSlot()
    got: list[str | None] = []
    consumer = threading.Thread(target=lambda: got.append(slot.take(10)))
    consumer.start()
    slot.put("now")
    consumer.join(5)
    assert got == ["now"]


def test_closing_wakes_the_consumer_and_ends_the_hand_over() -> None:
    slot: LatestSlot[int] = LatestSlot()
    got: list[int | None] = []
    consumer = threading.Thread(target=lambda: got.append(slot.take(30)))
    consumer.start()
    slot.close()
    slot.close()
    consumer.join(5)
    slot.put(1)
    assert got == [None]
    assert slot.take(0) is None
    assert slot.closed
