"""The seams of the pipeline: one Protocol each, with one or two methods; `pipeline/build.py` fills them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.types import (
    ClipMessage,
    CropFeature,
    Detections,
    FloatArray,
    Frame,
    FusedClip,
    Health,
    IdentityEvent,
    ReferenceFrame,
    TrackedFrame,
    Tracklet,
    Tracks,
)

BusMessage: TypeAlias = ClipMessage | IdentityEvent | ReferenceFrame | TrackedFrame | Health


class Source(Protocol):
    """Pictures of one camera, in order of time."""

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the source ends.

        Raises:
            SourceUnavailable: it could not be opened. SourceLost: it stopped. SourceRefused: wrong credentials.
        """
        ...

    def close(self) -> None:
        """Let go of the source; `frames` ends soon after. May be called from another thread, and twice."""
        ...


class Detector(Protocol):
    """Finds persons."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order; no frames give an empty list."""
        ...


class Tracker(Protocol):
    """Follows persons in one camera and one epoch, driven by the frames' time stamps."""

    def update(self, frame: Frame, detections: Detections) -> tuple[Tracks, list[Tracklet]]:
        """The tracks visible in this frame, and the tracklets that ended with it (their `sequence` is 0)."""
        ...

    def finish(self) -> list[Tracklet]:
        """End everything that is open: the stream is over."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """The backbone's last layer, applied to a pooled map vector: `relu(weight @ x + bias)` (ReLU if it has one).

    Attributes:
        weight: (D, C) float32; bias: (D,) float32.
    """

    weight: FloatArray
    bias: FloatArray
    relu: bool


@dataclass(frozen=True, slots=True)
class EncoderDescription:
    """What a clip head must know of the encoder whose crop features it fuses.

    Attributes:
        model_id: name + hash of the weights; features with different ids are never compared.
        stripes: K. channels: C.
        projection: None when the map vector itself is the feature.
    """

    model_id: str
    stripes: int
    channels: int
    projection: Projection | None = None


class CropEncoder(Protocol):
    """Turns boxes of frames into crop features: each crop passes the backbone once."""

    def describe(self) -> EncoderDescription:
        """What the heads need to know; the same for the encoder's whole life."""
        ...

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """Crop features for `boxes[i]`, (N_i, 4) xyxy px, of `frames[i]`; the result has the same nesting.

        `quality` is the caller's business: encoders fill in zeros and callers replace it.
        """
        ...


class ClipHead(Protocol):
    """Fuses the crop features of one track into one vector. NumPy only, so that it runs anywhere."""

    @property
    def clip_model_id(self) -> str:
        """`model_id` of the clip features: the encoder's, and how the head fuses."""
        ...

    def fuse(self, crops: Sequence[CropFeature]) -> FusedClip:
        """Vectors for N >= 1 crops of one model.

        Raises:
            ValueError: no crops, or crops of different models.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message: `id` is what `acknowledge` wants; `message` is decoded."""

    id: str
    message: BusMessage


class Bus(Protocol):
    """Named streams with consumer groups: at-least-once, in order. Stream names are those of `pipeline.bus.streams`."""

    def publish(self, stream: str, message: BusMessage) -> None:
        """Append one message.

        Raises:
            BusUnavailable: not now. BusRefused: not ever.
        """
        ...

    def receive(self, stream: str, group: str, timeout_s: float, count: int = 256) -> list[Delivery]:
        """Up to `count` messages new to the group, waiting at most `timeout_s` for the first; may be empty."""
        ...

    def acknowledge(self, stream: str, group: str, ids: Sequence[str]) -> None:
        """These deliveries are done and are not delivered again."""
        ...


class Segmenter(Protocol):
    """Cuts persons out of one frame."""

    def segment(self, frame: Frame, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """(N, H, W) bool masks for boxes (N, 4) xyxy px."""
        ...


class Sink(Protocol):
    """Takes identity events."""

    def write(self, event: IdentityEvent) -> None:
        """Take one event."""
        ...
