import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.capture.watchdog import BackOff, CameraCondition, Verdict, Watchdog
from pipeline.config import CaptureConfig

CONFIG = CaptureConfig()  # stalled 5 s, frozen 10 s, healthy 30 s
CONNECTING, LIVE, STALLED = CameraCondition.CONNECTING, CameraCondition.LIVE, CameraCondition.STALLED
FROZEN, OFFLINE, REFUSED = CameraCondition.FROZEN, CameraCondition.OFFLINE, CameraCondition.REFUSED


class Stream:
    """Feeds a watchdog with a picture every 40 ms."""

    def __init__(self, config: CaptureConfig = CONFIG) -> None:
        self.dog = Watchdog(config, random.Random(1))
        self.now_s = 100.0
        self.number = 0

    def play(self, seconds: float, frozen: bool = False) -> list[Verdict]:
        verdicts = []
        for _ in range(round(seconds / 0.04)):
            self.now_s += 0.04
            self.number += not frozen
            assert self.dog.packet(self.now_s)
            verdicts.append(self.dog.picture(self.now_s, self.number))
        return verdicts

    def live(self) -> "Stream":
        self.dog.opened(self.now_s)
        self.play(1.0)
        assert self.dog.condition is LIVE
        return self


def test_a_camera_is_connecting_until_its_first_picture() -> None:
    stream = Stream()
    stream.dog.opened(100.0)
    assert stream.dog.condition is CONNECTING
    assert stream.dog.packet(100.1)
    assert stream.dog.condition is CONNECTING
    assert stream.dog.picture(100.1, 1) is Verdict.NEW_EPOCH
    assert stream.dog.take_changes() == [CONNECTING, LIVE]


def test_only_the_first_picture_begins_an_epoch() -> None:
    stream = Stream()
    stream.dog.opened(100.0)
    assert stream.play(0.2) == [Verdict.NEW_EPOCH] + [Verdict.DELIVER] * 4


def test_a_silent_camera_is_stalled_when_its_last_packet_is_old_enough() -> None:
    stream = Stream().live()
    stream.dog.tick(stream.now_s + 4.9)
    assert stream.dog.condition is LIVE
    stream.dog.tick(stream.now_s + 5.0)
    assert stream.dog.condition is STALLED


def test_a_connection_that_never_sends_a_packet_stalls_too() -> None:
    dog = Watchdog(CONFIG, random.Random(1))
    dog.opened(100.0)
    dog.tick(105.1)
    assert dog.condition is STALLED


def test_what_arrives_after_a_gap_is_dropped_even_if_nobody_looked_in_between() -> None:
    stream = Stream().live()
    assert not stream.dog.packet(stream.now_s + 6.0)
    assert stream.dog.picture(stream.now_s + 6.0, 999) is Verdict.DROP
    assert not stream.dog.packet(stream.now_s + 6.1)
    assert stream.dog.condition is STALLED


def test_a_stalled_camera_goes_offline_only_when_it_cannot_be_opened_again() -> None:
    stream = Stream().live()
    stream.dog.tick(stream.now_s + 5.0)
    stream.dog.lost(stream.now_s + 6.0)
    assert stream.dog.condition is STALLED
    stream.dog.lost(stream.now_s + 12.0)
    assert stream.dog.condition is OFFLINE


def test_a_camera_that_is_back_after_a_stall_begins_an_epoch() -> None:
    stream = Stream().live()
    stream.now_s += 7.0
    stream.dog.lost(stream.now_s)
    stream.dog.opened(stream.now_s)
    assert stream.play(0.08) == [Verdict.NEW_EPOCH, Verdict.DELIVER]


def test_a_lost_connection_is_offline_at_once() -> None:
    stream = Stream().live()
    assert 0.4 <= stream.dog.lost(stream.now_s) <= 0.6
    assert stream.dog.condition is OFFLINE


def test_a_packet_after_the_loss_is_not_used() -> None:
    stream = Stream().live()
    stream.dog.lost(stream.now_s)
    assert not stream.dog.packet(stream.now_s + 0.01)


def test_a_picture_that_does_not_change_is_frozen_after_ten_seconds() -> None:
    stream = Stream().live()
    assert set(stream.play(9.9, frozen=True)) == {Verdict.DELIVER}
    assert stream.play(1.0, frozen=True)[-1] is Verdict.DROP
    assert stream.dog.condition is FROZEN


def test_a_picture_that_thaws_begins_an_epoch() -> None:
    stream = Stream().live()
    stream.play(12.0, frozen=True)
    assert stream.play(0.08) == [Verdict.NEW_EPOCH, Verdict.DELIVER]
    assert stream.dog.condition is LIVE


def test_a_camera_that_reconnects_with_the_same_frozen_picture_is_not_live_again() -> None:
    stream = Stream().live()
    stream.play(12.0, frozen=True)
    stream.dog.lost(stream.now_s)
    stream.dog.opened(stream.now_s)
    assert set(stream.play(1.0, frozen=True)) == {Verdict.DROP}
    assert stream.dog.condition is FROZEN


def test_waits_grow_from_loss_to_loss_and_start_again_after_health() -> None:
    stream = Stream()
    waits = [stream.dog.lost(stream.now_s) for _ in range(9)]
    for wait, nominal in zip(waits, (0.5, 1, 2, 4, 8, 15, 30, 30, 30), strict=True):
        assert 0.8 * nominal <= wait <= 1.2 * nominal
    stream.live().play(20.0)
    assert stream.dog.lost(stream.now_s) > 20
    stream.live().play(31.0)
    assert stream.dog.lost(stream.now_s) < 1


def test_seconds_of_silence_do_not_count_as_health() -> None:
    stream = Stream(replace(CONFIG, stalled_s=40.0))
    for _ in range(7):
        stream.dog.lost(stream.now_s)
    stream.live()
    stream.dog.tick(stream.now_s + 41)
    assert stream.dog.lost(stream.now_s + 41) > 20


def test_refused_credentials_wait_for_minutes_and_longer_every_time() -> None:
    stream = Stream()
    waits = [stream.dog.refused() for _ in range(5)]
    assert stream.dog.condition is REFUSED
    for wait, nominal in zip(waits, (60, 120, 300, 900, 900), strict=True):
        assert 0.8 * nominal <= wait <= 1.2 * nominal
    stream.live()
    assert stream.dog.refused() <= 72


def test_a_closed_camera_stays_closed() -> None:
    stream = Stream().live()
    stream.dog.close()
    stream.dog.lost(stream.now_s)
    stream.dog.tick(stream.now_s + 100)
    assert stream.dog.condition is CameraCondition.CLOSED
    assert stream.dog.take_changes()[-1] is CameraCondition.CLOSED
    assert stream.dog.take_changes() == []


def test_a_back_off_without_waits_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BackOff((), random.Random(1))


@given(
    st.lists(st.sampled_from(["packet", "picture", "same", "tick", "lost", "refused", "opened"]), max_size=60),
    st.data(),
)
def test_pictures_are_delivered_only_while_live_and_first_after_a_gap_as_a_new_epoch(
    steps: list[str], data: st.DataObject
) -> None:
    dog = Watchdog(CONFIG, random.Random(1))
    now_s, number, gap = 0.0, 0, True
    for step in steps:
        now_s += data.draw(st.floats(0, 6))
        verdict = None
        if step in ("picture", "same"):
            number += step == "picture"
            dog.packet(now_s)
            verdict = dog.picture(now_s, number)
            assert (verdict is Verdict.DROP) == (dog.condition is not LIVE)
        elif step == "refused":
            dog.refused()
        else:
            {"packet": dog.packet, "tick": dog.tick, "lost": dog.lost, "opened": dog.opened}[step](now_s)
        gap = any(condition is not LIVE for condition in dog.take_changes()) or gap
        if verdict in (Verdict.DELIVER, Verdict.NEW_EPOCH):
            assert (verdict is Verdict.NEW_EPOCH) == gap
            gap = False
