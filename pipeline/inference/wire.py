"""Messages between workers and the inference process: a JSON head and raw arrays over a local stream socket.

    4 bytes "MCP1" | uint32 head bytes | uint32 body bytes | head (UTF-8 JSON) | body (the arrays, one after another)

`head["arrays"]` lists dtype and shape of each array. Nothing is pickled: whatever arrives can at worst be refused.
"""

import json
import os
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError, OutputError

Head: TypeAlias = dict[str, Any]
Arrays: TypeAlias = list[npt.NDArray[Any]]

_PREFIX = struct.Struct("!4sII")
_MAGIC = b"MCP1"
MAX_HEAD_BYTES = 1 << 20  # a thousand slot references are 100 KB
MAX_BODY_BYTES = 256 << 20  # more than a thousand crops of 400×200 px
_DTYPES = {"uint8", "float32", "float64", "int64"}
_MAX_PATH_BYTES = 107  # sockaddr_un of Linux


def send_message(connection: socket.socket, head: Mapping[str, Any], arrays: Sequence[npt.NDArray[Any]] = ()) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone, or does not read for as long as the socket's time-out.
    """
    packed = [np.ascontiguousarray(a) for a in arrays]
    shapes = [[a.dtype.name, list(a.shape)] for a in packed]
    encoded = json.dumps({**head, "arrays": shapes}, separators=(",", ":")).encode()
    body_bytes = sum(a.nbytes for a in packed)
    if len(encoded) > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(f"message too large: head {len(encoded)} bytes, arrays {body_bytes} bytes")
    connection.sendall(_PREFIX.pack(_MAGIC, len(encoded), body_bytes) + encoded)
    for array in packed:
        if array.size:
            connection.sendall(array.reshape(-1).view(np.uint8).data)


def receive_message(connection: socket.socket) -> tuple[Head, Arrays] | None:
    """The next message with its arrays (read-only), or None when the other side has closed between two messages.

    Raises:
        DecodeError: not a message of this protocol. OSError: connection lost or timed out.
    """
    prefix = _receive_exactly(connection, _PREFIX.size, may_end=True)
    if prefix is None:
        return None
    magic, head_bytes, body_bytes = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
        raise DecodeError("inference socket: not a message of this version, or too large")
    head = _decode_head(_receive_exactly(connection, head_bytes) or b"")
    body = _receive_exactly(connection, body_bytes) or b""
    return head, _split(memoryview(body).toreadonly(), head.pop("arrays", None))


def check_socket_path(path: Path) -> None:
    """Refuse a socket that others could reach: its folder must be ours and closed to everybody else.

    Raises:
        OutputError: says what is wrong with the path.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise OutputError(f"the path of the inference socket is longer than {_MAX_PATH_BYTES} bytes: {path}")
    try:
        folder = path.parent.stat()
    except OSError as error:
        raise OutputError(f"no folder for the inference socket: {path.parent}: {error.strerror}") from None
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid() or folder.st_mode & 0o077:
        raise OutputError(f"the folder of the inference socket must be yours with mode 0700: {path.parent}")


def _receive_exactly(connection: socket.socket, count: int, *, may_end: bool = False) -> bytearray | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    done = 0
    while done < count:
        got = connection.recv_into(view[done:])
        if got == 0:
            if may_end and done == 0:
                return None
            raise ConnectionResetError("the other side closed in the middle of a message")
        done += got
    return buffer


def _decode_head(encoded: bytes | bytearray) -> Head:
    try:
        head = json.loads(encoded)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DecodeError(f"inference socket: the head is not JSON: {error}") from None
    if not isinstance(head, dict):
        raise DecodeError("inference socket: the head is not a JSON object")
    return head


def _split(body: memoryview, shapes: Any) -> Arrays:
    arrays: Arrays = []
    at = 0
    try:
        for dtype_name, shape in shapes:
            if dtype_name not in _DTYPES or not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError(f"array of {dtype_name!r:.20} {shape!r:.40}")
            count = int(np.prod(shape, dtype=object)) if shape else 1
            array = np.frombuffer(body, np.dtype(dtype_name), count, at) if count else np.zeros(0, dtype_name)
            arrays.append(array.reshape(shape))
            at += array.nbytes
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"inference socket: bad list of arrays: {error}") from None
    if at != len(body):
        raise DecodeError(f"inference socket: {len(body)} bytes of arrays, but {at} are described")
    return arrays
