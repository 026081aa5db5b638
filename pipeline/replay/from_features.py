"""Replays recorded features: the matcher and everything behind it, without a picture being looked at.

Messages go to the matcher in the order of the replay that recorded them, so that the identity log and the tracks are
the same to the byte with the same matcher settings. Crops, reference frames and overlays need pictures: there are none.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bus.codec import decode
from pipeline.bus.message_log import MESSAGE, LogReader, LogRecord
from pipeline.config import Config
from pipeline.errors import ConfigError, DecodeError
from pipeline.identity.matcher import Matcher
from pipeline.replay.delivery import Delivery, ReplayResult
from pipeline.replay.frame_times import FrameTimeLog
from pipeline.replay.recording import END, ENDING, FEATURES, FRAMES, SCHEMA, made_with, recorded_files
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import CameraState, ClipFeature, ClipMessage, Tick, Tracklet

_BEFORE_S = float("-inf")  # a camera without any frame ends before the first frame of the others
_OPEN = ("auto", None)  # settings that leave the choice to the machine: nothing against the one that was made


@dataclass(slots=True)
class CameraFeatures:
    """One camera's recorded features.

    Attributes:
        header: what the recording says about the camera: model_id, width_px, height_px, fps, settings.
        times: of the frames that were read so far.
        truncated: the file has no end: the replay that made it was killed.
        closing: what was published when the whole replay was over.
    """

    camera_id: str
    log: LogReader
    times: FrameTimeLog = field(default_factory=FrameTimeLog)
    truncated: bool = False
    closing: list[ClipMessage] = field(default_factory=list)

    @property
    def header(self) -> Mapping[str, Any]:
        return self.log.header

    def groups(self) -> Iterator[tuple[float, list[ClipMessage]]]:
        """The messages after each frame that has some: (the frame's time in seconds, messages).

        Raises:
            DecodeError: the file is damaged before its end, or holds another camera's or model's messages.
        """
        at_s, messages, ended = _BEFORE_S, list[ClipMessage](), False
        for record in self.log.records():
            if record.kind == FRAMES:
                if messages:
                    yield at_s, messages
                    messages = []
                at_s = self._frames(record)
            elif record.kind == MESSAGE:
                (self.closing if ended else messages).append(self._message(record))
            elif record.kind == END:
                ended = True
            else:
                raise DecodeError(f"{self.log.path}: a record of the unknown kind {record.kind!r}")
        self.truncated = not ended
        if messages:
            yield at_s, messages

    def _frames(self, record: LogRecord) -> float:
        try:
            times_s = np.frombuffer(record.fields[b"times_s"], "<f8")
            index = np.frombuffer(record.fields[b"index"], "<i8")
        except (KeyError, ValueError):
            raise DecodeError(f"{self.log.path}: frames without times_s and index") from None
        if not len(times_s) or len(index) != len(times_s):
            raise DecodeError(f"{self.log.path}: {len(times_s)} frame times for {len(index)} frames")
        for number, at_s in zip(index.tolist(), times_s.tolist(), strict=True):
            self.times.add(number, at_s)
        return float(times_s[-1])

    def _message(self, record: LogRecord) -> ClipMessage:
        try:
            message = decode(record.fields)
        except DecodeError as error:
            raise DecodeError(f"{self.log.path}: {error}") from None
        if not isinstance(message, ClipFeature | Tracklet | Tick | CameraState):
            raise DecodeError(f"{self.log.path}: a {type(message).__name__} is no message of a camera")
        if message.camera_id != self.camera_id:
            raise DecodeError(f"{self.log.path}: a message of camera {message.camera_id!r}")
        if isinstance(message, ClipFeature) and message.model_id != self.header["model_id"]:
            raise DecodeError(f"{self.log.path}: a clip of model {message.model_id!r}, not {self.header['model_id']!r}")
        return message


@dataclass(frozen=True, slots=True)
class RecordedFeatures:
    """The recorded features of a site, cameras in the order of the configuration."""

    model_id: str
    cameras: tuple[CameraFeatures, ...]
    warnings: tuple[str, ...]


def open_features(folder: Path, config: Config) -> RecordedFeatures:
    """Look at the recording of all cameras of `config`.

    Args:
        folder: the output folder of the replay that recorded, its `recorded/`, or its `recorded/features/`.

    Raises:
        ConfigError: no recording there, no cameras, or one that was not recorded. DecodeError: a file that cannot be
            read, of another schema or camera, or of another model than its neighbours.
    """
    if not config.cameras:
        raise ConfigError("the config names no cameras; give the one that the features were recorded with")
    files = recorded_files(folder, FEATURES, ENDING, [camera.id for camera in config.cameras])
    cameras = tuple(CameraFeatures(camera_id, _open(path, camera_id)) for camera_id, path in files.items())
    models = {camera.header["model_id"]: camera.camera_id for camera in cameras}
    if len(models) > 1:
        shown = ", ".join(f"{model} ({camera_id})" for model, camera_id in sorted(models.items()))
        raise DecodeError(f"{folder}: features of different models cannot be compared: {shown}")
    warnings = [line for camera in cameras for line in _differences(camera.header, config, camera.camera_id)]
    return RecordedFeatures(next(iter(models)), cameras, tuple(dict.fromkeys(warnings)))


def _open(path: Path, camera_id: str) -> LogReader:
    log = LogReader(path)
    found = (log.header.get("log"), log.header.get("schema"))
    if found != (FEATURES, SCHEMA):
        raise DecodeError(f"{path}: expected {FEATURES} of schema {SCHEMA}, got {found[0]} of schema {found[1]}")
    if log.header.get("camera_id") != camera_id:
        raise DecodeError(f"{path} is a recording of camera {log.header.get('camera_id')!r}; was it renamed?")
    if not isinstance(log.header.get("model_id"), str):
        raise DecodeError(f"{path}: the header does not say which model the features are from")
    return log


def _differences(header: Mapping[str, Any], config: Config, camera_id: str) -> Iterator[str]:
    """Settings that would have shaped the features and have no effect any more."""
    recorded = header.get("settings")
    given = made_with(config, config.camera(camera_id))
    if not isinstance(recorded, dict):
        return
    for section in ("tracker", "reid", "detector"):
        now, then = given[section], recorded.get(section, {})
        differ = sorted(k for k in now if now[k] != then.get(k, now[k]) and k != "weights" and now[k] not in _OPEN)
        if differ:
            names = ", ".join(f"{section}.{name}" for name in differ)
            yield f"the features were recorded with another {names}; a replay from features cannot change that"
    then = recorded.get("cameras", {}).get(camera_id, {})
    differ = sorted(k for k, v in given["cameras"][camera_id].items() if v != then.get(k, v))
    if differ:
        names = ", ".join(differ)
        yield f"camera {camera_id} was recorded with another {names}; a replay from features cannot change that"


def replay_features(
    features: RecordedFeatures,
    matcher: Matcher,
    recorder: RunRecorder,
    *,
    latency: LatencyRecorder | None = None,
    on_frames: Callable[[int], None] = lambda count: None,
) -> ReplayResult:
    """Run everything that was recorded through matcher and recorder; closes the recorder.

    Args:
        recorder: without crops and references, which need pictures.
        on_frames: called with the number of frames that were passed since it was last called, for a progress bar.

    Raises:
        DecodeError: a file is damaged before its end. OutputError: the disk says no.
    """
    result = ReplayResult()
    delivery = Delivery(matcher, recorder, latency or LatencyRecorder(), result)
    try:
        passed = 0
        for messages in _in_order_of_time(features.cameras):
            for message in messages:
                delivery.deliver(message)
            read = sum(len(camera.times) for camera in features.cameras)
            on_frames(read - passed)
            passed = read
        for camera in features.cameras:
            for message in camera.closing:
                delivery.deliver(message)
    finally:
        for camera in features.cameras:
            result.frames[camera.camera_id] = len(camera.times)
            result.footage_s[camera.camera_id] = camera.times.footage_s
            camera.times.write(recorder.out_dir, camera.camera_id)
        delivery.close()
    cut_off = sum(camera.truncated for camera in features.cameras)
    if cut_off:
        result.losses["recordings cut off"] = cut_off
    return result


def _in_order_of_time(cameras: Sequence[CameraFeatures]) -> Iterator[list[ClipMessage]]:
    """The messages of all cameras by (time of their frame, place of the camera in the config)."""

    def numbered(place: int) -> Iterator[tuple[float, int, list[ClipMessage]]]:
        for at_s, messages in cameras[place].groups():
            yield at_s, place, messages

    streams = [numbered(place) for place in range(len(cameras))]
    for _, _, messages in heapq.merge(*streams, key=lambda group: group[:2]):
        yield messages
