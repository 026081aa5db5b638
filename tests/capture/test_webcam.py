"""Webcams with a stand-in for the device: a test machine has none."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from capture_clips import picture
from watched_camera import FAST

from pipeline.capture.live import Connection, LiveSource
from pipeline.capture.watchdog import CameraCondition
from pipeline.capture.webcam import WebcamSource, open_webcam
from pipeline.errors import SourceUnavailable


class Device:
    """Shows its pictures as an opened webcam would, then is unplugged."""

    def __init__(self, pictures: Iterator[npt.NDArray[np.uint8]], opened: bool = True) -> None:
        self._pictures = pictures
        self._opened = opened
        self.released = 0

    def isOpened(self) -> bool:
        return self._opened

    def read(self) -> tuple[bool, Any]:
        image = next(self._pictures, None)
        return image is not None, image

    def release(self) -> None:
        self.released += 1


def test_a_webcam_that_is_plugged_in_again_goes_on_in_a_new_epoch() -> None:
    devices = [
        Device(iter([picture(i) for i in range(3)])),
        Device(iter(()), opened=False),
        Device(picture(i) for i in itertools.count()),
    ]
    opened: list[int] = []
    states: list[CameraCondition] = []
    epochs = itertools.count(1)

    def open_capture(number: int) -> Device:
        opened.append(number)
        return devices[min(len(opened), 3) - 1]

    source = WebcamSource(
        "desk",
        7,
        config=FAST,
        new_epoch=lambda: f"e{next(epochs)}",
        on_state=states.append,
        open_capture=open_capture,
    )
    for frame in source.frames():
        assert frame.image.shape == (120, 160, 3)
        if len(opened) == 3:
            source.close()
    assert opened == [7, 7, 7]
    assert [device.released for device in devices] == [1, 1, 1]
    assert CameraCondition.OFFLINE in states
    assert states[-1] is CameraCondition.CLOSED


def test_a_fault_of_the_program_in_the_reader_reaches_the_consumer() -> None:
    def open_capture(number: int) -> Device:
        raise ZeroDivisionError("a bug")

    source = WebcamSource("desk", 0, config=FAST, new_epoch=lambda: "e1", open_capture=open_capture)
    with pytest.raises(ZeroDivisionError):
        list(source.frames())


def test_a_webcam_that_is_not_there_is_one_clear_line() -> None:
    device = Device(iter(()), opened=False)
    with pytest.raises(SourceUnavailable, match="webcam 3: cannot be opened"):
        open_webcam(3, lambda number: device)
    assert device.released == 1


@pytest.mark.parametrize(("knocks", "attempts"), [([True] * 20, 1), ([False] * 20, 1), ([False, False, True], 2)])
def test_a_wait_is_cut_short_only_for_a_camera_that_was_away_and_is_back(
    monkeypatch: pytest.MonkeyPatch, knocks: list[bool], attempts: int
) -> None:
    monkeypatch.setattr("pipeline.capture.live.KNOCK_EVERY_S", 0.02)
    tried: list[int] = []
    answers = iter(knocks)
    asked_all = threading.Event()

    def connect() -> Connection:
        tried.append(1)
        raise SourceUnavailable("away")

    def knock() -> bool:
        answer = next(answers, None)
        if answer is None:
            asked_all.set()
        return bool(answer)

    source = LiveSource("desk", connect, config=replace(FAST, reconnect_s=(60.0,)), new_epoch=lambda: "e1", knock=knock)
    consumer = threading.Thread(target=lambda: list(source.frames()))
    consumer.start()
    assert asked_all.wait(10)
    source.close()
    consumer.join(5)
    assert len(tried) == attempts
