"""Runs recorded cameras through the whole pipeline in one process, in order of time, and deterministically.

The stages are those of the live run; between worker and matcher the messages pass the bus's codec, so that a vector is
quantised here as it is there. Nothing reads the clock to decide anything.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.bus.codec import decode, encode
from pipeline.errors import SourceError
from pipeline.identity.matcher import Matcher, Step
from pipeline.ports import Source
from pipeline.runtime.camera import CameraPipeline, FrameResult
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import ClipMessage, Frame, IdentityEvent, ReferenceFrame, TrackKey, Tracklet
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

_log = logging.getLogger(__name__)

_ADVANCE_EVERY_S = 1.0  # message time between two looks for reference frames that are owed


@dataclass(slots=True)
class Overlay:
    """One camera's overlay video."""

    drawer: OverlayDrawer
    writer: VideoWriter


@dataclass(slots=True)
class ReplayCamera:
    """One camera of a replay."""

    camera_id: str
    source: Source
    pipeline: CameraPipeline
    overlay: Overlay | None = None
    frames: int = 0
    first_s: float | None = None
    last_s: float = 0.0


@dataclass(slots=True)
class ReplayResult:
    """What a replay did: frames and footage by camera, causes of loss, and the references taken."""

    frames: dict[str, int] = field(default_factory=dict)
    footage_s: dict[str, float] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    references: list[ReferenceFrame] = field(default_factory=list)


class Pace:
    """Holds a replay back to `speed` times real time; None lets it run as fast as it can. Decides nothing."""

    def __init__(
        self,
        speed: float | None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self._sleep = sleep
        self._origin: tuple[float, float] | None = None

    def wait(self, at_s: float) -> None:
        if self._speed is None:
            return
        if self._origin is None:
            self._origin = (self._monotonic(), at_s)
        due_s = self._origin[0] + (at_s - self._origin[1]) / self._speed
        self._sleep(max(0.0, due_s - self._monotonic()))


class Replay:
    """All cameras of a site through one matcher.

    Args:
        cameras: in the order of the configuration, which decides between frames of the same time.
        on_frame: called after each frame, for the progress bar.
    """

    def __init__(
        self,
        cameras: Sequence[ReplayCamera],
        matcher: Matcher,
        recorder: RunRecorder,
        *,
        latency: LatencyRecorder,
        pace: Pace | None = None,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        self._cameras = cameras
        self._matcher = matcher
        self._recorder = recorder
        self._latency = latency
        self._pace = pace or Pace(None)
        self._on_frame = on_frame
        self._known: dict[TrackKey, int] = {}
        self._names: dict[int, str] = {}
        self._result = ReplayResult()
        self._delivery = 0
        self._advanced_s = float("-inf")

    def run(self) -> ReplayResult:
        """Process every frame; what was begun is complete on disk also when this is interrupted."""
        try:
            for camera, frame in self._in_order_of_time():
                self._pace.wait(frame.captured_at_s)
                self._frame(camera, frame)
                self._on_frame()
        finally:
            self._close()
        return self._result

    def _in_order_of_time(self) -> Iterator[tuple[ReplayCamera, Frame]]:
        """The frames of all cameras by (time, place of the camera in the config); says `end` for one that is done."""
        streams = [self._frames(camera) for camera in self._cameras]
        waiting: dict[int, Frame] = {}
        for place, stream in enumerate(streams):
            self._pull(place, stream, waiting)
        while waiting:
            place = min(waiting, key=lambda p: (waiting[p].captured_at_s, p))
            yield self._cameras[place], waiting.pop(place)
            self._pull(place, streams[place], waiting)

    def _pull(self, place: int, stream: Iterator[Frame], waiting: dict[int, Frame]) -> None:
        with self._latency.measure("capture"):
            frame = next(stream, None)
        if frame is None:
            self._publish(self._cameras[place].pipeline.finish("end"), [])
        else:
            waiting[place] = frame

    def _frames(self, camera: ReplayCamera) -> Iterator[Frame]:
        try:
            yield from camera.source.frames()
        except SourceError as error:
            _log.warning("camera %s: %s", camera.camera_id, error)
            self._result.losses["source broke off"] = self._result.losses.get("source broke off", 0) + 1

    def _frame(self, camera: ReplayCamera, frame: Frame) -> None:
        camera.frames += 1
        camera.first_s = frame.captured_at_s if camera.first_s is None else camera.first_s
        camera.last_s = frame.captured_at_s
        result = camera.pipeline.process(frame)
        events: list[IdentityEvent] = []
        self._publish(result.messages, events)
        if camera.overlay:
            with self._latency.measure("overlay"):
                self._draw(camera.overlay, frame, result, events)
        if frame.captured_at_s >= self._advanced_s + _ADVANCE_EVERY_S:
            self._advanced_s = frame.captured_at_s
            self._result.references += self._recorder.advance(frame.captured_at_s)

    def _publish(self, messages: Sequence[ClipMessage], events: list[IdentityEvent]) -> None:
        """Hand messages to matcher and recorder as the bus would; new events are appended to `events`."""
        for message in messages:
            received = decode(encode(message))
            self._delivery += 1
            with self._latency.measure("match"):
                self._matcher.receive(str(self._delivery), received)  # type: ignore[arg-type]
                step = self._matcher.advance()
            if isinstance(received, Tracklet):
                self._recorder.tracklet(received)
            events += self._record(step)

    def _record(self, step: Step) -> list[IdentityEvent]:
        for event in step.events:
            if event.key is not None and event.identity_id > 0 and event.kind != "left":
                self._known[event.key] = event.identity_id
            if event.name:
                self._names[event.identity_id] = event.name
            with self._latency.measure("record"):
                self._result.references += self._recorder.event(event)
        return list(step.events)

    def _draw(self, overlay: Overlay, frame: Frame, result: FrameResult, events: Sequence[IdentityEvent]) -> None:
        tracks = result.tracked.tracks
        known: Mapping[int, int] = {
            int(i): self._known.get(TrackKey(frame.camera_id, frame.epoch, int(i)), 0) for i in tracks.ids
        }
        picture = overlay.drawer.draw(
            frame.image, frame.captured_at_s, tracks, known, names=self._names, events=events, epoch=frame.epoch
        )
        overlay.writer.write(picture, frame.captured_at_s)

    def _close(self) -> None:
        for camera in self._cameras:
            camera.source.close()
            self._publish(camera.pipeline.finish(None), [])
            if camera.overlay:
                camera.overlay.writer.close()
            self._result.frames[camera.camera_id] = camera.frames
            self._result.footage_s[camera.camera_id] = camera.last_s - (camera.first_s or 0.0) if camera.frames else 0.0
        self._result.references += self._recorder.close()
        late = {"late messages": self._matcher.late, "duplicate messages": self._matcher.duplicates}
        self._result.losses.update({cause: n for cause, n in late.items() if n})
