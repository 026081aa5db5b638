"""Every message of the bus ⇄ the fields of one stream entry. Never pickle: a foreign entry can only be refused.

    v   schema number, decimal
    k   kind of message
    h   head: JSON object, keys sorted, with the dtype and shape of each array under "arrays"
    a:<name>   raw little-endian bytes of one array, C order

Vectors travel as float16: half the bytes, and live and replay see exactly the same numbers (`quantise`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.bus.lines import event_from_json, event_to_json, reference_from_json, reference_to_json
from pipeline.bus.plain import MAX_HEAD_BYTES, hints_of, parse_json, read_fields, write_plain
from pipeline.errors import DecodeError
from pipeline.ports import BusMessage
from pipeline.types import (
    CameraState,
    ClipFeature,
    Forget,
    Health,
    IdentityEvent,
    Merge,
    ReferenceFrame,
    Rename,
    Split,
    Tick,
    TrackedFrame,
    Tracklet,
    Tracks,
)

__all__ = [
    "KINDS",
    "MAX_ARRAY_BYTES",
    "SCHEMA",
    "decode",
    "encode",
    "event_from_json",
    "event_to_json",
    "message_kind",
    "quantise",
    "reference_from_json",
    "reference_to_json",
]

SCHEMA = 3
MAX_ARRAY_BYTES = 64 << 20  # 64 MiB: a track of 20 hours at 25 boxes a second

KINDS: dict[str, type] = {
    "clip": ClipFeature,
    "tracklet": Tracklet,
    "tick": Tick,
    "camera": CameraState,
    "forget": Forget,
    "rename": Rename,
    "merge": Merge,
    "split": Split,
    "identity": IdentityEvent,
    "reference": ReferenceFrame,
    "tracks": TrackedFrame,
    "health": Health,
}
_KIND_OF = {kind: name for name, kind in KINDS.items()}

# Arrays of each message: name -> (dtype on the wire, number of dimensions)
ARRAYS: dict[type, dict[str, tuple[str, int]]] = {
    ClipFeature: {
        "embedding": ("float16", 1),
        "parts": ("float16", 2),
        "visibility": ("float32", 1),
        "attention": ("float32", 2),
        "seen_s": ("float64", 1),
        "seen_xyxy": ("float32", 2),
    },
    Tracklet: {
        "frame_index": ("int64", 1),
        "captured_at_s": ("float64", 1),
        "xyxy": ("float32", 2),
        "confidence": ("float32", 1),
    },
    TrackedFrame: {"ids": ("int64", 1), "xyxy": ("float32", 2), "confidence": ("float32", 1)},
}


def message_kind(message: BusMessage) -> str:
    """The kind of a message as field `k` names it.

    Raises:
        ValueError: it is no message of the bus.
    """
    try:
        return _KIND_OF[type(message)]
    except KeyError:
        raise ValueError(f"message: expected one of {', '.join(KINDS)}, got {type(message).__name__}") from None


def head_hints(kind: type) -> dict[str, Any]:
    """The fields of a message that stand in its head, with their annotations."""
    arrays = ARRAYS.get(kind, {})
    return {name: hint for name, hint in hints_of(kind).items() if name not in arrays and hint is not Tracks}


def quantise(clip: ClipFeature) -> ClipFeature:
    """The clip as a receiver sees it: vectors rounded to float16, still stored as float32.

    Raises:
        ValueError: a value does not fit into float16.
    """
    embedding = _wire_array(clip.embedding, "float16", "embedding").astype(np.float32)
    parts = _wire_array(clip.parts, "float16", "parts").astype(np.float32)
    return replace(clip, embedding=embedding, parts=parts)


def encode(message: BusMessage) -> dict[bytes, bytes]:
    """The fields of a stream entry.

    Raises:
        ValueError: the message holds what no receiver would take: NaN, an unsafe path or id, too many bytes.
    """
    name = message_kind(message)
    kind = type(message)
    hints = head_hints(kind)
    head: dict[str, Any] = {n: write_plain(hint, getattr(message, n), f"{name}.{n}") for n, hint in hints.items()}
    try:
        read_fields(hints, head, name)  # the receiver's own check: nothing is sent that would be refused
    except DecodeError as error:
        raise ValueError(str(error)) from None
    source = message.tracks if isinstance(message, TrackedFrame) else message
    arrays = {n: _wire_array(getattr(source, n), dtype, f"{name}.{n}") for n, (dtype, _) in _arrays_of(kind)}
    if sum(a.nbytes for a in arrays.values()) > MAX_ARRAY_BYTES:
        raise ValueError(f"{name}: arrays of more than {MAX_ARRAY_BYTES} bytes")
    head["arrays"] = {n: {"dtype": str(a.dtype), "shape": list(a.shape)} for n, a in arrays.items()}
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if len(text) > MAX_HEAD_BYTES:
        raise ValueError(f"{name}: a head of more than {MAX_HEAD_BYTES} bytes")
    fields = {b"v": str(SCHEMA).encode(), b"k": name.encode(), b"h": text}
    fields.update((b"a:" + n.encode(), a.astype(a.dtype.newbyteorder("<")).tobytes()) for n, a in arrays.items())
    return fields


def decode(fields: Mapping[bytes, bytes]) -> BusMessage:
    """The message in the fields of a stream entry.

    Raises:
        DecodeError: it cannot be read; one line says why.
    """
    version = _field(fields, b"v")
    if version != str(SCHEMA).encode():
        raise DecodeError(f"schema {ascii(version)[1:40]} is not known here; this program reads schema {SCHEMA}")
    name = _field(fields, b"k").decode("ascii", "replace")
    kind = KINDS.get(name)
    if kind is None:
        raise DecodeError(f"message kind {ascii(name)[:40]} is not known in schema {SCHEMA}")
    head = parse_json(_field(fields, b"h"), name)
    if not isinstance(head, dict):
        raise DecodeError(f"{name}: expected an object as head")
    shapes = head.pop("arrays", None)
    values = read_fields(head_hints(kind), head, name)
    arrays = _read_arrays(kind, shapes, fields, name)
    try:
        if kind is TrackedFrame:
            return TrackedFrame(**values, tracks=Tracks(**arrays))
        message: BusMessage = kind(**values, **arrays)
    except (ValueError, TypeError) as error:
        raise DecodeError(f"{name}: {error}") from None
    return message


def _arrays_of(kind: type) -> list[tuple[str, tuple[str, int]]]:
    return list(ARRAYS.get(kind, {}).items())


def _field(fields: Mapping[bytes, bytes], key: bytes) -> bytes:
    value = fields.get(key)
    if value is None:
        raise DecodeError(f"field {key.decode()!r} is missing")
    return value


def _wire_array(value: npt.NDArray[Any], dtype: str, name: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # an overflow shows as inf, below
        array = np.ascontiguousarray(value, dtype=dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: not finite, or too large for {dtype}")
    return array


def _read_arrays(kind: type, shapes: Any, fields: Mapping[bytes, bytes], name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a message, checked against the head's shapes and the bytes that came."""
    expected = _arrays_of(kind)
    names = [n for n, _ in expected]
    if not isinstance(shapes, dict) or sorted(shapes) != sorted(names):
        raise DecodeError(f"{name}.arrays: expected {', '.join(names) or 'none'}")
    unknown = set(fields) - {b"v", b"k", b"h", *(b"a:" + n.encode() for n in names)}
    if unknown:
        raise DecodeError(f"{name}: unknown field {ascii(min(unknown))[:40]}")
    return {
        n: _read_array(_field(fields, b"a:" + n.encode()), shapes[n], dtype, ndim, f"{name}.{n}")
        for n, (dtype, ndim) in expected
    }


def _read_array(raw: bytes, described: Any, dtype: str, ndim: int, name: str) -> npt.NDArray[Any]:
    if not isinstance(described, dict) or set(described) != {"dtype", "shape"} or described["dtype"] != dtype:
        raise DecodeError(f"{name}: expected dtype {dtype} and a shape")
    shape = described["shape"]
    if not isinstance(shape, list) or len(shape) != ndim or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise DecodeError(f"{name}: expected a shape of {ndim} lengths")
    wire = np.dtype(dtype).newbyteorder("<")
    wanted = math.prod(shape) * wire.itemsize
    if wanted > MAX_ARRAY_BYTES or wanted != len(raw):
        raise DecodeError(f"{name}: shape {shape} needs {wanted} bytes (at most {MAX_ARRAY_BYTES}), got {len(raw)}")
    array = np.frombuffer(raw, wire).reshape(shape)
    if wire.kind == "f" and not np.isfinite(array).all():
        raise DecodeError(f"{name}: not finite")
    return array
