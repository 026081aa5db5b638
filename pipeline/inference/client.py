"""The worker's side of the inference process: a detector and a crop encoder that ask over a local socket.

Imports no machine-learning library, so that a worker stays small.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DecodeError, InferenceUnavailable
from pipeline.inference.batching import frame_head, split_like
from pipeline.inference.shared_frames import FrameRing, SlotRef
from pipeline.inference.wire import Arrays, Head, receive_message, send_message
from pipeline.ports import EncoderDescription, Projection
from pipeline.types import CropFeature, CropQuality, Detections, FloatArray, Frame, ImageArray

REQUEST_TIMEOUT_S = 5.0  # many times what a queue of all cameras takes; the stall limit of a camera
INLINE_BYTES = 512 << 10  # pictures up to 400×400 px travel in the message: cheaper than a slot of shared memory each
MESSAGE_BYTES = 8 << 20  # inline pictures of one message; more are asked for in several
POLL_S = 0.1  # how often `wait_until_ready` asks

_UNMEASURED = CropQuality(height_px=0.0, sharpness=0.0, truncation=0.0, overlap=0.0, confidence=0.0)
_log = logging.getLogger(__name__)


class InferenceClient:
    """One connection to the inference process, for one camera. Threads may share it; they take turns.

    It connects at the first request and again after the inference process was restarted. `last_timing` holds
    `waited_s`, `compute_s` and `batch` of the newest answer.

    Args:
        ring: the camera's pictures in shared memory; stays the caller's, who closes it.
        timeout_s: the longest wait for one answer.
    """

    def __init__(
        self,
        socket_path: Path,
        ring: FrameRing,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = socket_path
        self._ring = ring
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._connection: socket.socket | None = None
        self._lock = threading.RLock()
        self._newest: tuple[ImageArray, SlotRef] | None = None
        self._description: EncoderDescription | None = None
        self.last_timing: dict[str, float] = {}

    def wait_until_ready(self, timeout_s: float, stop: threading.Event) -> EncoderDescription:
        """Ask until the inference process answers, or `stop` is set.

        Raises:
            InferenceUnavailable: it did not within `timeout_s`, or `stop` was set.
        """
        deadline_s = self._monotonic() + timeout_s
        while True:
            try:
                return self.describe()
            except InferenceUnavailable:
                if self._monotonic() > deadline_s or stop.wait(POLL_S):
                    raise

    def describe(self) -> EncoderDescription:
        """The served encoder; asked for once.

        Raises:
            InferenceUnavailable: no answer.
        """
        with self._lock:
            if self._description is None:
                self._description = _read_description(*self._ask({"kind": "describe"}, []))
            return self._description

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame; pictures go through shared memory.

        Raises:
            InferenceUnavailable: no answer in time. OutputError: shared memory is too small.
        """
        with self._lock:
            result: list[Detections] = []
            for start in range(0, len(frames), self._ring.slots):
                part = frames[start : start + self._ring.slots]
                self._ring.reserve(max(f.image.nbytes for f in part))
                heads = [frame_head(f, self._put(f.image)) for f in part]
                _, arrays = self._ask({"kind": "detect", "frames": heads}, [])
                result += _read_detections(arrays, len(part))
            return result

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """Crop features of `boxes[i]`, (N_i, 4) xyxy px, in `frames[i]`; frames without boxes are not sent.

        Small pictures (crops kept by the caller) travel in the message. A large one goes through shared memory; when
        it is the picture that `detect` was given last and still lies there, it is not copied again.

        Raises:
            InferenceUnavailable: no answer in time, or the encoder is not the one that was described.
        """
        if len(frames) != len(boxes):
            raise ValueError(f"encode: expected as many lists of boxes as frames, got {len(boxes)} and {len(frames)}")
        result: list[list[CropFeature]] = [[] for _ in frames]
        with self._lock:
            model_id = self.describe().model_id
            for part in self._parts([i for i, b in enumerate(boxes) if len(b)], frames):
                features = self._encode_part([frames[i] for i in part], [boxes[i] for i in part], model_id)
                for i, of_frame in zip(part, features, strict=True):
                    result[i] = of_frame
        return result

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._newest = None

    def _encode_part(self, frames: list[Frame], boxes: list[FloatArray], model_id: str) -> list[list[CropFeature]]:
        heads: list[dict[str, Any]] = []
        sent: Arrays = []
        large = [f.image.nbytes for f in frames if f.image.nbytes > INLINE_BYTES]
        if large:
            self._ring.reserve(max(large))
        for frame, of_frame in zip(frames, boxes, strict=True):
            sent.append(np.asarray(of_frame, np.float32))
            where = self._slot_of(frame.image)
            if where is None:
                sent.append(frame.image)
            head = frame_head(frame, where if where is not None else len(sent) - 1)
            heads.append({**head, "boxes": len(sent) - (1 if where is not None else 2)})
        head, arrays = self._ask({"kind": "encode", "frames": heads}, sent)
        if head.get("model_id") != model_id:
            raise InferenceUnavailable(
                f"the inference process now serves {head.get('model_id')} instead of {model_id}; restart this worker"
            )
        return _read_features(arrays, frames, [len(b) for b in boxes], model_id)

    def _parts(self, wanted: list[int], frames: Sequence[Frame]) -> Iterator[list[int]]:
        """`wanted` frames in groups that fit into one message and into the slots of the ring."""
        part: list[int] = []
        inline_bytes = 0
        slots = 0
        for i in wanted:
            size = frames[i].image.nbytes
            inline, slot = (size, 0) if size <= INLINE_BYTES else (0, 1)
            if part and (inline_bytes + inline > MESSAGE_BYTES or slots + slot > self._ring.slots):
                yield part
                part, inline_bytes, slots = [], 0, 0
            part.append(i)
            inline_bytes += inline
            slots += slot
        if part:
            yield part

    def _slot_of(self, image: ImageArray) -> SlotRef | None:
        """Where the picture lies in shared memory; None: it is small enough for the message."""
        if self._newest is not None and self._newest[0] is image and self._ring.is_current(self._newest[1]):
            return self._newest[1]
        return None if image.nbytes <= INLINE_BYTES else self._put(image)

    def _put(self, image: ImageArray) -> SlotRef:
        ref = self._ring.put(image)
        self._newest = (image, ref)
        return ref

    def _ask(self, head: Head, arrays: Arrays) -> tuple[Head, Arrays]:
        """Send a request and wait for its answer; once more when an idle connection turns out to be dead."""
        reused = self._connection is not None
        try:
            answer = self._exchange(head, arrays)
        except TimeoutError:
            self.close()
            raise InferenceUnavailable(f"the inference process did not answer within {self._timeout_s:g} s") from None
        except DecodeError as error:
            self.close()
            raise InferenceUnavailable(f"the inference process answered nonsense: {error}") from None
        except OSError as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if reused:  # it was restarted since the last request
                return self._ask(head, arrays)
            raise InferenceUnavailable(f"the inference process is away: {error.strerror or error}") from None
        if "error" in answer[0]:
            raise InferenceUnavailable(f"the inference process refused: {answer[0].get('text', '')}"[:500])
        self.last_timing = {k: float(answer[0].get(k, 0.0)) for k in ("waited_s", "compute_s", "batch")}
        return answer

    def _exchange(self, head: Head, arrays: Arrays) -> tuple[Head, Arrays]:
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout_s)
            try:
                connection.connect(str(self._path))
            except OSError:
                connection.close()
                raise
            self._connection = connection
        send_message(self._connection, head, arrays)
        answer = receive_message(self._connection)
        if answer is None:
            raise ConnectionResetError("it closed the connection")
        return answer


class RemoteDetector:
    """`ports.Detector` that asks the inference process."""

    def __init__(self, client: InferenceClient) -> None:
        self._client = client

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """See `InferenceClient.detect`."""
        return self._client.detect(frames)


class RemoteEncoder:
    """`ports.CropEncoder` that asks the inference process."""

    def __init__(self, client: InferenceClient) -> None:
        self._client = client

    def describe(self) -> EncoderDescription:
        """See `InferenceClient.describe`."""
        return self._client.describe()

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """See `InferenceClient.encode`."""
        return self._client.encode(frames, boxes)


def _read_description(head: Head, arrays: Arrays) -> EncoderDescription:
    try:
        relu = head["relu"]
        projection = None if relu is None else Projection(weight=arrays[0], bias=arrays[1], relu=bool(relu))
        return EncoderDescription(str(head["model_id"]), int(head["stripes"]), int(head["channels"]), projection)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InferenceUnavailable(f"the inference process described its encoder badly: {error!r}") from None


def _read_detections(arrays: Arrays, count: int) -> list[Detections]:
    try:
        pairs = split_like(arrays, [2] * count)
        return [Detections(xyxy, confidence) for xyxy, confidence in pairs]
    except ValueError as error:
        raise InferenceUnavailable(f"the inference process answered nonsense: {error}") from None


def _read_features(arrays: Arrays, frames: list[Frame], counts: list[int], model_id: str) -> list[list[CropFeature]]:
    try:
        stripes, energy = arrays
        times = np.repeat([f.captured_at_s for f in frames], counts)
        flat = [
            CropFeature(float(at_s), s, e, _UNMEASURED, model_id)
            for at_s, s, e in zip(times, stripes, energy, strict=True)
        ]
        return split_like(flat, counts)
    except ValueError as error:
        raise InferenceUnavailable(f"the inference process answered nonsense: {error}") from None
