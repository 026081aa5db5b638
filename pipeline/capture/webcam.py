"""Webcams by number, through OpenCV."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2

from pipeline.capture.decoding import grid_hash
from pipeline.capture.live import Arrival, LiveSource
from pipeline.capture.watchdog import CameraCondition
from pipeline.config import CaptureConfig
from pipeline.errors import SourceUnavailable
from pipeline.types import ImageArray


class BgrPicture:
    """A picture that is BGR already: (H, W, 3) uint8."""

    def __init__(self, image: ImageArray) -> None:
        self._image = image

    @property
    def width_px(self) -> int:
        return int(self._image.shape[1])

    @property
    def height_px(self) -> int:
        return int(self._image.shape[0])

    def fingerprint(self) -> int:
        return grid_hash(self._image[:, :, 1])

    def to_bgr(self) -> ImageArray:
        return self._image


class WebcamConnection:
    """An opened webcam. Its pictures carry no time stamps: they are stamped on arrival."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture

    def arrivals(self) -> Iterator[Arrival]:
        """One arrival per picture; ends when the camera is unplugged."""
        while True:
            read, image = self._capture.read()
            if not read:
                return
            yield Arrival(BgrPicture(image))

    def close(self) -> None:
        self._capture.release()


def open_webcam(number: int, open_capture: Callable[[int], Any] = cv2.VideoCapture) -> Any:
    """An opened `cv2.VideoCapture`.

    Raises:
        SourceUnavailable: there is no such webcam, or another program holds it.
    """
    capture = open_capture(number)
    if not capture.isOpened():
        capture.release()
        raise SourceUnavailable(f"webcam {number}: cannot be opened; is it plugged in, and not in use elsewhere?")
    return capture


class WebcamSource(LiveSource):
    """A webcam as an endless source of frames; see `LiveSource` for the arguments."""

    def __init__(
        self,
        camera_id: str,
        number: int,
        *,
        config: CaptureConfig,
        new_epoch: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_state: Callable[[CameraCondition], None] = lambda condition: None,
        jitter: random.Random | None = None,
        open_capture: Callable[[int], Any] = cv2.VideoCapture,
    ) -> None:
        super().__init__(
            camera_id,
            lambda: WebcamConnection(open_webcam(number, open_capture)),
            config=config,
            new_epoch=new_epoch,
            clock=clock,
            monotonic=monotonic,
            on_state=on_state,
            jitter=jitter,
        )
