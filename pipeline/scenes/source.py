"""A scene's camera as a source: rendered while it is read, for load tests without files."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario
from pipeline.types import Frame


class GeneratedSource:
    """Implements `ports.Source` over one camera of a scenario.

    Args:
        start_s: Unix seconds of the first frame.
        live: deliver each frame when it is due, and skip those that are overdue, as a camera would.
        clock: monotonic seconds, used only when live.
    """

    def __init__(
        self,
        scenario: Scenario,
        camera_id: str,
        *,
        start_s: float = 0.0,
        epoch: str = "1",
        live: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._camera = SceneCamera(scenario, camera_id)
        self._period_s = 1 / scenario.fps
        self._start_s = start_s
        self._epoch = epoch
        self._live = live
        self._clock = clock
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Every frame of the scenario, until its end or `close`; live, those that can be rendered in time."""
        started_s = self._clock() if self._live else 0.0
        index = 0
        while index < len(self._camera) and not self._closed.is_set():
            if self._live and self._closed.wait(max(0.0, started_s + index * self._period_s - self._clock())):
                return
            frame, _ = self._camera.render(index)
            yield replace(frame, epoch=self._epoch, captured_at_s=self._start_s + index * self._period_s)
            overdue = int((self._clock() - started_s) / self._period_s) if self._live else 0
            index = max(index + 1, overdue)

    def close(self) -> None:
        """End `frames`, also while it waits for the next frame to be due; from any thread, any number of times."""
        self._closed.set()
