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
from pipeline.identity.matcher import Matcher
from pipeline.ports import Source
from pipeline.replay.delivery import Delivery, ReplayResult
from pipeline.replay.frame_times import FrameTimeLog
from pipeline.replay.recording import RunRecording
from pipeline.runtime.camera import CameraPipeline, FrameResult
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import ClipMessage, Frame, IdentityEvent, TrackKey
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

__all__ = ["Overlay", "Pace", "Replay", "ReplayCamera", "ReplayResult"]

_log = logging.getLogger(__name__)

_ADVANCE_EVERY_S = 0.2  # message time between two looks for reference frames that are owed


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
    times: FrameTimeLog = field(default_factory=FrameTimeLog)


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
        recording: is told of every frame and message; the cameras' pipelines have its detector.
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
        recording: RunRecording | None = None,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        self._cameras = cameras
        self._recorder = recorder
        self._latency = latency
        self._pace = pace or Pace(None)
        self._recording = recording
        self._on_frame = on_frame
        self._known: dict[TrackKey, int] = {}
        self._names: dict[int, str] = {}
        self._result = ReplayResult()
        self._delivery = Delivery(matcher, recorder, latency, self._result)
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
        result = camera.pipeline.process(frame)
        camera.times.add(frame.index, frame.captured_at_s)
        if self._recording:
            self._recording.frame(frame)
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
            fields = encode(message)
            if self._recording:
                self._recording.message(message.camera_id, fields)
            new = self._delivery.deliver(decode(fields))  # type: ignore[arg-type]
            self._remember(new)
            events += new

    def _remember(self, events: Sequence[IdentityEvent]) -> None:
        """What the overlays say of a track."""
        for event in events:
            if event.key is not None and event.identity_id > 0 and event.kind != "left":
                self._known[event.key] = event.identity_id
            if event.name:
                self._names[event.identity_id] = event.name

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
        if self._recording:
            self._recording.end()
        for camera in self._cameras:
            camera.source.close()
            self._publish(camera.pipeline.finish(None), [])
            if camera.overlay:
                camera.overlay.writer.close()
            self._result.frames[camera.camera_id] = len(camera.times)
            self._result.footage_s[camera.camera_id] = camera.times.footage_s
            camera.times.write(self._recorder.out_dir, camera.camera_id)
        if self._recording:
            self._recording.close()
        self._delivery.close()
