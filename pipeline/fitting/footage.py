"""What fit-site learns from: the clips and tracks of all cameras, found without a matcher."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.bus.codec import decode, encode
from pipeline.errors import DecodeError, SourceError
from pipeline.ports import Source
from pipeline.runtime.camera import CameraPipeline
from pipeline.scoring.times import FrameTimes
from pipeline.types import CameraState, ClipFeature, ClipMessage, Tracklet

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FootageCamera:
    """One recorded camera, ready to run."""

    camera_id: str
    source: Source
    pipeline: CameraPipeline


@dataclass(frozen=True, eq=False, slots=True)
class Footage:
    """All that was found.

    Attributes:
        cameras: in the order of the configuration.
        messages: what the matcher would have received, without ticks; in order of each camera.
        times: when each camera's frames were taken.
        frames: how many of each camera. losses: by cause.
    """

    cameras: tuple[str, ...]
    messages: tuple[ClipMessage, ...]
    times: Mapping[str, FrameTimes] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)

    @property
    def clips(self) -> list[ClipFeature]:
        return [message for message in self.messages if isinstance(message, ClipFeature)]

    @property
    def tracklets(self) -> list[Tracklet]:
        return [message for message in self.messages if isinstance(message, Tracklet)]


def watch(cameras: Sequence[FootageCamera], on_frame: Callable[[], None] = lambda: None) -> Footage:
    """Run every camera to its end, one after the other; each source is closed, also when this is interrupted."""
    messages: list[ClipMessage] = []
    times: dict[str, FrameTimes] = {}
    frames: dict[str, int] = {}
    losses: dict[str, int] = {}
    for camera in cameras:
        stamps: dict[int, float] = {}
        try:
            for frame in camera.source.frames():
                messages += _kept(camera.pipeline.process(frame).messages)
                stamps[frame.index] = frame.captured_at_s
                on_frame()
        except SourceError as error:
            _log.warning("camera %s: %s", camera.camera_id, error)
            losses["source broke off"] = losses.get("source broke off", 0) + 1
        finally:
            camera.source.close()
        messages += _kept(camera.pipeline.finish("end"))
        frames[camera.camera_id] = len(stamps)
        times[camera.camera_id] = _frame_times(stamps)
    return Footage(tuple(camera.camera_id for camera in cameras), tuple(messages), times, frames, losses)


def _frame_times(stamps: Mapping[int, float]) -> FrameTimes:
    """Times by frame; a frame that could not be read lies between its neighbours."""
    if not stamps:
        return FrameTimes()
    index = np.array(sorted(stamps))
    filled = np.interp(np.arange(index[-1] + 1), index, [stamps[i] for i in index.tolist()])
    return FrameTimes(filled)


def _kept(messages: Iterable[ClipMessage]) -> list[ClipMessage]:
    """What `received` makes of all but ticks and orders."""
    return [received(message) for message in messages if isinstance(message, ClipFeature | Tracklet | CameraState)]


def received(message: ClipMessage) -> ClipMessage:
    """Through the bus's codec, as the matcher gets it; a clip's attention, which it does not read, is let go."""
    if isinstance(message, ClipFeature):
        message = replace(message, attention=np.zeros((0, len(message.parts)), np.float32))
    decoded: Any = decode(encode(message))
    if not isinstance(decoded, type(message)):
        raise DecodeError(f"the codec made {type(decoded).__name__} of a {type(message).__name__}")
    return decoded
