"""The camera worker: source → `CameraPipeline` → bus, for one camera in one thread, and what keeps its time."""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.bus.streams import CLIPS, HEALTH, tracks
from pipeline.capture.watchdog import CameraCondition
from pipeline.errors import InferenceUnavailable
from pipeline.ports import BusMessage, Source
from pipeline.runtime.camera import CameraPipeline
from pipeline.runtime.figures import Figures
from pipeline.runtime.health import HealthBoard
from pipeline.runtime.latency import LatencyRecorder
from pipeline.types import CameraState, CameraStatus, ClipMessage, Frame, TrackedFrame

_log = logging.getLogger(__name__)

AWAY = (CameraCondition.STALLED, CameraCondition.FROZEN, CameraCondition.OFFLINE, CameraCondition.REFUSED)
IDLE_MARGIN_S = 0.5  # a picture needs this at most from its arrival to the pipeline; an idle tick must not overtake it
_POLL_S = 0.1

# what a source counts → the cause under which run.json lists it
_SOURCE_LOSSES = {
    "skipped": "frames_skipped",
    "stale": "frames_stale",
    "frozen": "frames_frozen",
    "damaged": "frames_damaged",
    "corrupt": "packets_corrupt",
    "losses": "connections_lost",
    "jumps": "clock_jumps",
}


class Outlet(Protocol):
    """Where messages go; `SpoolingPublisher` is one."""

    def publish(self, stream: str, message: BusMessage) -> None: ...


class Viewer(Protocol):
    """Who draws what was found."""

    def offer(self, frame: Frame, tracked: TrackedFrame) -> None: ...

    def set_state(self, state: str | None) -> None: ...


class PacedSource:
    """A recorded source in real time: each frame is released when the wall clock has reached its time; none is lost.

    Args:
        shift_s: frame time minus wall-clock time at which it is due.
        epoch: put before the file's own epochs, which begin at 1 in every run.
        from_s: wall clock; frames that were due before are left out (a worker that was restarted goes on at now).
    """

    def __init__(
        self,
        source: Source,
        *,
        shift_s: float,
        epoch: str,
        from_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._shift_s = shift_s
        self._epoch = epoch
        self._from_s = from_s
        self._clock = clock
        self._closed = threading.Event()
        self.left_out = 0

    @property
    def counters(self) -> Mapping[str, int]:
        counters: Mapping[str, int] = getattr(self._source, "counters", {})
        return counters

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            due_s = frame.captured_at_s - self._shift_s
            if due_s < self._from_s:
                self.left_out += 1
                continue
            if self._closed.wait(max(0.0, due_s - self._clock())):
                return
            yield replace(frame, epoch=f"{self._epoch}-{frame.epoch}")

    def close(self) -> None:
        self._closed.set()
        self._source.close()


@dataclass(slots=True)
class _Pace:
    """Frames and the time they cover."""

    frames: int = 0
    intervals: int = 0
    covered_s: float = 0.0
    epoch: str = ""
    last_s: float = 0.0

    def add(self, frame: Frame) -> None:
        if frame.epoch == self.epoch:
            self.covered_s += max(0.0, frame.captured_at_s - self.last_s)
            self.intervals += 1
        self.frames += 1
        self.epoch, self.last_s = frame.epoch, frame.captured_at_s

    @property
    def footage_s(self) -> float:
        """n frames at an even rate cover n intervals, of which n - 1 were seen."""
        return self.covered_s * self.frames / self.intervals if self.intervals else 0.0


@dataclass(slots=True)
class _Rate:
    """Frames per second of the last second or two."""

    frames: int = 0
    since_s: float = 0.0
    fps: float = 0.0

    def update(self, frames: int, now_s: float) -> float:
        if now_s - self.since_s >= 1.0:
            if self.since_s:
                self.fps = (frames - self.frames) / (now_s - self.since_s)
            self.frames, self.since_s = frames, now_s
        return self.fps


@dataclass(eq=False, slots=True)
class CameraParts:
    """What `CameraWork` is made of.

    Attributes:
        live: delivers in its own time; its conditions are followed and it ticks while nothing comes.
        shift_s: frame time minus wall clock, for the age of a frame.
    """

    camera_id: str
    live: bool
    pipeline: CameraPipeline
    outlet: Outlet
    latency: LatencyRecorder
    viewer: Viewer | None = None
    shift_s: float = 0.0
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    losses: Counter[str] = field(default_factory=Counter)


class CameraWork:
    """One camera from its source to the bus. `run` is for a thread of its own, the rest for the worker's main one."""

    def __init__(self, parts: CameraParts) -> None:
        self._parts = parts
        self.camera_id = parts.camera_id
        self.board = HealthBoard("worker", parts.camera_id, clock=parts.clock)
        self._source: Source | None = None
        self._lock = threading.Lock()  # over the pipeline: frames and idle ticks come from two threads
        self._pace = _Pace()
        self._rate = _Rate()
        self._away = False
        self._live = not parts.live
        self._people = 0
        self._age_s = 0.0
        self._busy_since_s: float | None = None
        self._last_frame_s = parts.monotonic()
        self._inference_away = False
        self._stopping = False
        self.failure: BaseException | None = None
        self.done = threading.Event()

    def run(self, source: Source) -> None:
        """Work until the source ends or is closed; says `end` then. An error is kept in `failure`."""
        self._source = source
        try:
            if self._stopping:
                source.close()
            if not self._parts.live:
                self.board.set_state("LIVE")
            for frame in source.frames():
                self._take(frame)
            self._finish("end")
            self.board.set_state("ENDED")
        except BaseException as error:  # the edge of a thread: the main thread raises it
            self.failure = error
        finally:
            self.done.set()

    def stop(self) -> None:
        """Close the source; `run` says `end` and returns soon, also when the camera is silent."""
        self._stopping = True
        if self._source is not None:
            self._source.close()

    @property
    def busy_s(self) -> float:
        """How long it has been at the present frame; 0 while it waits for one."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else self._parts.monotonic() - since_s

    def on_state(self, condition: CameraCondition) -> None:
        """For `LiveSource`: the camera's condition changed; called in the thread of `run`."""
        self.board.set_state(condition.name)
        self._live = condition is CameraCondition.LIVE
        if self._parts.viewer is not None:
            shown = None if self._live or condition is CameraCondition.CLOSED else condition.name
            self._parts.viewer.set_state(shown)
        if self._live:
            self._away = False
        elif condition in AWAY and not self._away:
            self._away = True
            self._finish("offline")

    def idle(self) -> None:
        """A tick, when the camera lives and shows nothing new. Never waits for a frame that is being worked on."""
        parts = self._parts
        quiet_s = parts.monotonic() - self._last_frame_s
        if not (parts.live and self._live) or quiet_s < IDLE_MARGIN_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._publish(parts.pipeline.idle(parts.clock() + parts.shift_s - IDLE_MARGIN_S))
        finally:
            self._lock.release()

    def beat(self) -> None:
        """Publish the camera's health."""
        fps = self._rate.update(self._pace.frames, self._parts.monotonic())
        self.board.gauge("frames", self._pace.frames)
        self.board.gauge("fps", fps)
        self.board.gauge("people", self._people)
        self.board.gauge("frame_age_s", self._age_s)
        for cause, n in self.losses().items():
            self.board.gauge(cause, n)
        self._parts.outlet.publish(HEALTH, self.board.snapshot())

    def losses(self) -> dict[str, float]:
        counters: Mapping[str, int] = getattr(self._source, "counters", {})
        causes = {cause: float(counters[name]) for name, cause in _SOURCE_LOSSES.items() if counters.get(name)}
        left_out = getattr(self._source, "left_out", 0)
        if left_out:
            causes["frames_left_out_after_restart"] = float(left_out)
        if self._parts.pipeline.lost_crops:
            causes["crops_without_inference"] = float(self._parts.pipeline.lost_crops)
        return {**causes, **{cause: float(n) for cause, n in self._parts.losses.items()}}

    def figures(self) -> Figures:
        return Figures(
            role="worker",
            name=self.camera_id,
            camera_id=self.camera_id,
            state=self.board.snapshot().state,
            frames=self._pace.frames,
            footage_s=self._pace.footage_s,
            fps=self._rate.fps,
            losses=self.losses(),
            latency=self._parts.latency.to_json(),
            at_s=self._parts.clock(),
        )

    def _take(self, frame: Frame) -> None:
        parts = self._parts
        with self._lock:
            self._busy_since_s = self._last_frame_s = parts.monotonic()
            try:
                result = parts.pipeline.process(frame)
            except InferenceUnavailable as error:
                self._lose(error)
                return
            finally:
                self._busy_since_s = None
            self._publish(result.messages)
        parts.outlet.publish(tracks(self.camera_id), result.tracked)
        self._age_s = parts.clock() + parts.shift_s - frame.captured_at_s
        parts.latency.record("frame_age", self._age_s)
        self._inference_away = False
        self._pace.add(frame)
        self._people = len(result.tracked.tracks)
        if self.board.set_state("LIVE", epoch=frame.epoch):
            _log.info("camera %s: epoch %s", self.camera_id, frame.epoch)
        if parts.viewer is not None:
            parts.viewer.offer(frame, result.tracked)

    def _lose(self, error: InferenceUnavailable) -> None:
        self._parts.losses["frames_without_inference"] += 1
        if not self._inference_away:
            _log.warning("camera %s: %s; frames are dropped until it is back", self.camera_id, error)
        self._inference_away = True

    def _finish(self, status: CameraStatus) -> None:
        """End the tracks and say how the stream ended."""
        parts = self._parts
        at_s = parts.clock() + parts.shift_s if parts.live else None
        with self._lock:
            self._publish(parts.pipeline.finish(status, at_s))

    def _publish(self, messages: Iterable[ClipMessage]) -> None:
        for message in messages:
            if isinstance(message, CameraState) and message.epoch == "none":  # no stream: still a name of its own
                message = replace(message, epoch=f"away-{uuid.uuid4().hex}")
            self._parts.outlet.publish(CLIPS, message)


def run_cameras(
    works: Mapping[CameraWork, Callable[[], Source]],
    *,
    stop: threading.Event,
    on_pass: Callable[[], None],
    beat: Callable[[], None],
    hang_s: float,
) -> None:
    """Run every camera in a thread until all have ended, one fails, or `stop` is set; then stop the others.

    Args:
        works: with the function that makes its source, called in the camera's thread.
        on_pass: called ten times a second.
        beat: the process's heartbeat; left out while a camera has been at one frame for `hang_s`.

    Raises:
        PipelineError: whatever a camera failed with.
    """
    threads = [
        threading.Thread(target=_run_one, args=(work, make), name=f"camera-{work.camera_id}", daemon=True)
        for work, make in works.items()
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(_POLL_S):
        for work in works:
            work.idle()
        if all(work.busy_s < hang_s for work in works):
            beat()
        on_pass()
        if all(w.done.is_set() for w in works) or any(w.failure for w in works):
            break
    for work in works:
        work.stop()
    for thread in threads:
        thread.join(hang_s)
    for work in works:
        if work.failure is not None:
            raise work.failure


def _run_one(work: CameraWork, make: Callable[[], Source]) -> None:
    try:
        source = make()
    except Exception as error:  # the edge of a thread
        work.failure = error
        work.done.set()
        return
    work.run(source)
