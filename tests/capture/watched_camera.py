"""Consumes a live source on a thread and remembers what came when."""

import itertools
import random
import threading
import time
from collections.abc import Callable

from pipeline.capture.live import LiveSource
from pipeline.capture.rtsp import RtspSource
from pipeline.capture.watchdog import CameraCondition
from pipeline.config import CaptureConfig
from pipeline.types import Frame

# Seconds, short enough for a quick suite and long enough for a busy machine.
FAST = CaptureConfig(
    open_timeout_s=2.0,
    stalled_s=0.6,
    frozen_s=0.7,
    reconnect_s=(0.2, 0.4, 0.8),
    refused_s=(30.0,),
    healthy_s=2.0,
)


class WatchedCamera:
    """`frames` and `states` grow with the time at which each came (monotonic seconds)."""

    def __init__(self, url: str, config: CaptureConfig, consume_s: float, jitter: random.Random) -> None:
        epochs = itertools.count(1)
        self.frames: list[tuple[float, Frame]] = []
        self.states: list[tuple[float, CameraCondition]] = []
        self.ended = threading.Event()
        self.source: LiveSource = RtspSource(
            "door",
            url,
            config=config,
            new_epoch=lambda: f"e{next(epochs)}",
            on_state=lambda state: self.states.append((time.monotonic(), state)),
            jitter=jitter,
        )
        self._thread = threading.Thread(target=self._consume, args=(consume_s,), daemon=True)
        self._thread.start()

    def _consume(self, consume_s: float) -> None:
        for frame in self.source.frames():
            self.frames.append((time.monotonic(), frame))
            time.sleep(consume_s)
        self.ended.set()

    @property
    def epochs(self) -> list[str]:
        """In order, each once."""
        return list(dict.fromkeys(frame.epoch for _, frame in list(self.frames)))

    def conditions(self) -> list[CameraCondition]:
        return [state for _, state in list(self.states)]

    def wait_for(self, met: Callable[[], bool], limit_s: float, what: str) -> float:
        """Seconds until the condition was met; fails the test when it takes longer than the limit."""
        started_s = time.monotonic()
        while not met():
            waited_s = time.monotonic() - started_s
            if waited_s > limit_s:
                raise AssertionError(
                    f"{what}: not within {limit_s} s; states {self.conditions()}, epochs {self.epochs}, "
                    f"{self.source.counters}, {self.source.detail!r}"
                )
            time.sleep(0.01)
        return time.monotonic() - started_s

    def wait_for_state(self, state: CameraCondition, limit_s: float) -> float:
        return self.wait_for(lambda: self.source.condition is state and state in self.conditions()[-1:], limit_s, state)

    def wait_for_frames(self, count: int, limit_s: float = 8.0) -> float:
        """Until `count` more frames came."""
        wanted = len(self.frames) + count
        return self.wait_for(lambda: len(self.frames) >= wanted, limit_s, f"{count} more frames")

    def wait_for_epoch(self, name: str, limit_s: float = 8.0) -> float:
        return self.wait_for(lambda: name in self.epochs, limit_s, f"epoch {name}")

    def close(self) -> None:
        self.source.close()
        self.ended.wait(5)
