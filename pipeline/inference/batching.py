"""What workers ask of the inference process, and the queue in which the questions wait."""

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.errors import DecodeError
from pipeline.inference.shared_frames import FrameReader, SlotRef
from pipeline.inference.wire import Arrays, Head
from pipeline.types import FloatArray, Frame

RequestKind = Literal["detect", "encode"]


@dataclass(eq=False, slots=True)
class Request:
    """One question of one worker; the compute thread fills in the answer and sets `done`.

    Attributes:
        frames: pictures, either views into shared memory or taken from the message.
        refs: the slots in which pictures of `frames` lie.
        boxes: for encode, (N_i, 4) xyxy px for each frame.
        received_s: monotonic.
        answer: head and arrays of the reply.
    """

    kind: RequestKind
    connection: socket.socket
    reader: FrameReader
    frames: list[Frame]
    refs: list[SlotRef]
    boxes: list[FloatArray]
    received_s: float
    answer: tuple[Head, Arrays] = field(default_factory=lambda: ({"error": "failed", "text": "no answer"}, []))
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def weight(self) -> int:
        """How much of a batch it takes: pictures for detect, crops for encode."""
        return len(self.frames) if self.kind == "detect" else sum(map(len, self.boxes))

    def is_stale(self) -> bool:
        """Whether a picture was overwritten while it was used, so that the result may be nonsense."""
        return not all(self.reader.is_current(ref) for ref in self.refs)

    def is_abandoned(self) -> bool:
        """Whether the worker has closed its connection (it died, or its time-out passed)."""
        if self.connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def fail(self, error: str, text: str) -> None:
        self.answer = ({"error": error, "text": text}, [])
        self.done.set()


class RequestQueue:
    """First come, first served; requests of one kind that wait at the same moment leave together."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> None:
        """Append; after `close` the request fails at once."""
        with self._changed:
            if not self._closed:
                self._waiting.append(request)
                self._changed.notify()
                return
        request.fail("stopping", "the inference process is stopping")

    def take(self, limit_of: Callable[[RequestKind], int], timeout_s: float) -> list[Request]:
        """The oldest request and those of its kind that wait behind it, up to its kind's weight limit.

        Waits at most `timeout_s` for the first; then the list is empty. A request over the limit comes alone.
        """
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            if not self._waiting:
                return []
            first = self._waiting.popleft()
            batch, weight = [first], first.weight
            for request in [r for r in self._waiting if r.kind == first.kind]:
                if weight + request.weight <= limit_of(first.kind):
                    self._waiting.remove(request)
                    batch.append(request)
                    weight += request.weight
            return batch

    def close(self) -> None:
        """Fail everything that waits, and everything that comes later."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for request in waiting:
            request.fail("stopping", "the inference process is stopping")


def frame_head(frame: Frame, picture: SlotRef | int) -> dict[str, Any]:
    """A frame as JSON; its picture is a slot, or the number of an array of the message."""
    where = {"slot": picture.to_json()} if isinstance(picture, SlotRef) else {"array": picture}
    return {
        "camera_id": frame.camera_id,
        "epoch": frame.epoch,
        "index": frame.index,
        "captured_at_s": frame.captured_at_s,
        "damaged": frame.damaged,
        **where,
    }


def read_request(
    head: Head, arrays: Arrays, connection: socket.socket, reader: FrameReader, received_s: float
) -> Request:
    """A received message as a request.

    Raises:
        DecodeError: it does not make sense. StaleFrame: a picture is gone already.
    """
    kind = head.get("kind")
    if kind not in ("detect", "encode"):
        raise DecodeError(f"unknown request {kind!r:.40}")
    frames, refs, boxes = [], [], []
    try:
        for item in head["frames"]:
            frame, ref = _read_frame(item, arrays, reader)
            frames.append(frame)
            refs.extend([ref] if ref else [])
            if kind == "encode":
                boxes.append(_read_boxes(arrays[item["boxes"]]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DecodeError(f"bad {kind} request: {type(error).__name__}: {error}") from None
    return Request(kind, connection, reader, frames, refs, boxes, received_s)


def _read_frame(item: dict[str, Any], arrays: Arrays, reader: FrameReader) -> tuple[Frame, SlotRef | None]:
    ref = SlotRef.from_json(item["slot"]) if "slot" in item else None
    image = arrays[item["array"]] if ref is None else reader.view(ref)
    frame = Frame(
        camera_id=str(item["camera_id"]),
        epoch=str(item["epoch"]),
        index=int(item["index"]),
        captured_at_s=float(item["captured_at_s"]),
        image=image,
        damaged=bool(item["damaged"]),
    )
    return frame, ref


def _read_boxes(array: Any) -> FloatArray:
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes: expected (N, 4) float32, got {array.shape} {array.dtype}")
    return array


def split_like(values: Sequence[Any], counts: Sequence[int]) -> list[list[Any]]:
    """`values` cut into consecutive lists of `counts` items; the counts must add up."""
    if sum(counts) != len(values):
        raise ValueError(f"expected {sum(counts)} results, got {len(values)}")
    result, at = [], 0
    for count in counts:
        result.append(list(values[at : at + count]))
        at += count
    return result
