import socket
import struct

import numpy as np
import pytest

from pipeline.errors import DecodeError, OutputError
from pipeline.inference.wire import check_socket_path, receive_message, send_message


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.settimeout(5)
    b.settimeout(5)
    with a, b:
        yield a, b


def test_head_and_arrays_come_out_as_they_went_in(pair):
    arrays = [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.zeros((0, 4), np.float32),
        np.array(3, np.int64),
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::2],
    ]
    send_message(pair[0], {"kind": "x", "at_s": 1.1}, arrays)
    head, received = receive_message(pair[1])
    assert head == {"kind": "x", "at_s": 1.1}
    for sent, got in zip(arrays, received, strict=True):
        np.testing.assert_array_equal(got, sent)
        assert got.dtype == sent.dtype
    assert not received[0].flags.writeable


def test_a_closed_connection_between_messages_is_none_and_within_one_an_error(pair):
    send_message(pair[0], {"kind": "x"})
    pair[0].sendall(b"MCP1\x00")
    pair[0].close()
    assert receive_message(pair[1]) == ({"kind": "x"}, [])
    with pytest.raises(ConnectionResetError):
        receive_message(pair[1])


def test_a_connection_closed_before_anything_came_gives_none(pair):
    pair[0].close()
    assert receive_message(pair[1]) is None


def framed(head: bytes, body: bytes = b"", magic: bytes = b"MCP1") -> bytes:
    return struct.pack("!4sII", magic, len(head), len(body)) + head + body


@pytest.mark.parametrize(
    "data",
    [
        framed(b"{}", magic=b"HTTP"),
        struct.pack("!4sII", b"MCP1", 2**31, 0),
        struct.pack("!4sII", b"MCP1", 2, 2**31),
        framed(b"not json"),
        framed(b"\xff\xfe"),
        framed(b"[1, 2]"),
        framed(b"{}"),
        framed(b'{"arrays": 3}'),
        framed(b'{"arrays": [["object", [1]]]}', b"12345678"),
        framed(b'{"arrays": [["uint8", [-1]]]}', b""),
        framed(b'{"arrays": [["uint8", [5]]]}', b"1234"),
        framed(b'{"arrays": [["uint8", [3]]]}', b"1234"),
        framed(b'{"arrays": [["uint8", [4294967296, 4294967296]]]}', b"1234"),
    ],
)
def test_what_is_no_message_is_refused(pair, data):
    pair[0].sendall(data)
    with pytest.raises(DecodeError, match="inference socket"):
        receive_message(pair[1])


def test_an_array_of_a_foreign_kind_is_not_understood(pair):
    send_message(pair[0], {}, [np.array([1 + 2j])])
    with pytest.raises(DecodeError):
        receive_message(pair[1])


def test_a_head_too_large_is_not_sent(pair):
    with pytest.raises(ValueError, match="too large"):
        send_message(pair[0], {"text": "x" * (2 << 20)})


def test_a_socket_in_a_folder_open_to_others_is_refused(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    check_socket_path(private / "s")
    private.chmod(0o755)
    with pytest.raises(OutputError, match="0700"):
        check_socket_path(private / "s")
    with pytest.raises(OutputError, match="no folder"):
        check_socket_path(tmp_path / "none" / "s")
    with pytest.raises(OutputError, match="longer"):
        check_socket_path(private / ("s" * 120))
