"""A log of messages in one compressed file: what recorded features and bus recordings are written in.

    file    magic "MCPLOG", version 1 as two bytes "01", then chunks
    chunk   u8 begins | u32 size | u32 crc | size bytes
            the bytes are a piece of a raw deflate stream (RFC 1951) that ends with a sync flush; `begins` is 1 where a
            new deflate stream begins and 0 where the one before goes on; crc: CRC-32 of the `begins` byte and the bytes
    inside  whole records, one after the other
    record  u8 kind | u32 fields | per field: u32 length, name, u32 length, value

All numbers are little-endian. The first record is of kind "H" and has one field, `header`: a JSON object. A chunk is
one write, so a killed writer leaves whole chunks, and a file whose end is torn off is read up to there. What the other
kinds mean is the business of whoever writes the log; docs/recordings.md describes all of it.
"""

import fcntl
import io
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.bus.plain import parse_json
from pipeline.errors import DecodeError, OutputError

_log = logging.getLogger(__name__)

HEADER = "H"
MESSAGE = "M"  # the fields of a stream entry, as the codec makes them

_MAGIC = b"MCPLOG"
_VERSION = b"01"
_CHUNK = struct.Struct("<BII")
_COUNT = struct.Struct("<I")
_LEVEL = 6  # zlib's own default; vectors hardly shrink, heads shrink to a quarter at any level
_CHUNK_BYTES = 64 << 10  # collected before they are written: what a killed writer may lose
_MAX_CHUNK_BYTES = 1 << 30  # compressed or not; a site of 100,000 identities has a state of about 150 MB


@dataclass(frozen=True, eq=False, slots=True)
class LogRecord:
    """One record: its kind, a letter, and its fields."""

    kind: str
    fields: Mapping[bytes, bytes]


class LogWriter:
    """Appends records to a log.

    Only the file's owner may read it: it holds features of people.

    Args:
        header: what the first record says; `log` and `schema` name what kind of log it is.
        append: go on with a log that is there and has the same `log`, `schema` and `site`; a torn end is cut off.
        chunk_bytes: write a chunk as soon as so much has been collected; None: only on `flush`.

    Raises:
        OutputError: it cannot be written; it exists and `append` is not set; somebody else writes it.
        DecodeError: what is there cannot be appended to.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        *,
        append: bool = False,
        chunk_bytes: int | None = _CHUNK_BYTES,
    ) -> None:
        self.path = path
        self._chunk_bytes = chunk_bytes
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._begins = True
        self._parts: list[bytes] = []
        self._size = 0
        self._file = _open(path, append)
        try:
            self._begin(header)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, header: Mapping[str, Any]) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"{self.path} is being written by another process; stop it first") from None
        if os.fstat(self._file.fileno()).st_size > 0:
            _check_same(self.path, header)
            self._cut_torn_end()
            return
        self._write(_MAGIC + _VERSION)
        self.add(HEADER, {b"header": json.dumps(header, sort_keys=True, allow_nan=False).encode()})
        self.flush()

    def _cut_torn_end(self) -> None:
        with self.path.open("rb") as file:
            file.seek(len(_MAGIC + _VERSION))
            end = max((chunk_end for _, _, chunk_end in _chunks(file, self.path)), default=file.tell())
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, kind: str, fields: Mapping[bytes, bytes]) -> None:
        """Append a record.

        Raises:
            OutputError: the disk says no; the log is complete up to the last flush.
        """
        parts = [kind.encode("ascii"), _COUNT.pack(len(fields))]
        for name, value in fields.items():
            parts += [_COUNT.pack(len(name)), name, _COUNT.pack(len(value)), value]
        raw = b"".join(parts)
        self._parts.append(raw)
        self._size += len(raw)
        if self._chunk_bytes is not None and self._size >= self._chunk_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what was collected, as one chunk; nothing happens when there is nothing.

        Raises:
            OutputError: the disk says no.
        """
        if not self._parts:
            return
        data = self._deflate.compress(b"".join(self._parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        begins = bytes([self._begins])
        self._parts, self._size, self._begins = [], 0, False
        self._write(_CHUNK.pack(begins[0], len(data), zlib.crc32(begins + data)) + data)

    def _write(self, data: bytes) -> None:
        try:
            written = self._file.write(data)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; free some space") from None
        if written != len(data):
            raise OutputError(f"cannot write {self.path}: the disk is full; free some space")

    def close(self) -> None:
        """Write what was collected and let go of the file; may be called twice."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()


def _open(path: Path, append: bool) -> io.FileIO:
    if path.exists() and not append:
        raise OutputError(f"{path} exists; choose another file, or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | (0 if append else os.O_EXCL)
        return io.FileIO(os.open(path, flags, 0o600), "r+b")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; check the folder") from None


def _check_same(path: Path, header: Mapping[str, Any]) -> None:
    found = LogReader(path).header
    for name in ("log", "schema", "site"):
        if found.get(name) != header.get(name):
            shown = f"{name} {found.get(name)!r} and not {header.get(name)!r}"
            raise DecodeError(f"{path} is a recording of {shown}; choose another file, or remove it")


class LogReader:
    """Reads a log, up to a torn end.

    Raises:
        DecodeError: it is no log, or one of another version; it is damaged before its end; it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        first = next(self._all_records(), None)
        if first is None or first.kind != HEADER:
            raise DecodeError(f"{path} ends before its header; nothing was recorded")
        header = parse_json(first.fields.get(b"header", b""), str(path))
        if not isinstance(header, dict):
            raise DecodeError(f"{path}: the header is no object")
        self.header: dict[str, Any] = header

    def records(self) -> Iterator[LogRecord]:
        """Everything after the header; from the beginning each time. A torn end is one warning, and `truncated`.

        Raises:
            DecodeError: the file is damaged before its end.
        """
        records = self._all_records()
        next(records, None)
        yield from records

    def _all_records(self) -> Iterator[LogRecord]:
        try:
            with self.path.open("rb") as file:
                _check_magic(file, self.path)
                inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                end = file.tell()
                for begins, data, chunk_end in _chunks(file, self.path):
                    end = chunk_end
                    if begins:
                        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                    yield from _records(_inflated(inflate, data, self.path), self.path)
                self.truncated = end < os.fstat(file.fileno()).st_size
        except OSError as error:
            raise DecodeError(f"cannot read {self.path}: {error.strerror}") from None
        if self.truncated:
            _log.warning("%s is cut off at byte %d; it is read up to there", self.path, end)


def _check_magic(file: BinaryIO, path: Path) -> None:
    begin = file.read(len(_MAGIC + _VERSION))
    if not begin.startswith(_MAGIC):
        raise DecodeError(f"{path} is no recording of messages")
    if begin != _MAGIC + _VERSION:
        shown = ascii(begin[len(_MAGIC) :])[1:]
        raise DecodeError(f"{path} has version {shown}; this program reads version {ascii(_VERSION)[1:]}")


def _chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bool, bytes, int]]:
    """(begins, compressed bytes, where it ends) of every whole chunk from here on.

    Raises:
        DecodeError: one that is followed by more is damaged.
    """
    size = os.fstat(file.fileno()).st_size
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        begins, length, crc = _CHUNK.unpack(head)
        end = file.tell() + length
        if end > size:
            return
        data = file.read(length)
        if begins > 1 or zlib.crc32(head[:1] + data) != crc:
            if end == size:
                return
            raise DecodeError(f"{path} is damaged before byte {end}; nothing after that can be read")
        yield bool(begins), data, end


def _inflated(inflate: Any, data: bytes, path: Path) -> bytes:
    try:
        raw = bytes(inflate.decompress(data, _MAX_CHUNK_BYTES))
    except zlib.error as error:
        raise DecodeError(f"{path} is damaged: {error}") from None
    if inflate.unconsumed_tail:
        raise DecodeError(f"{path} is damaged: a chunk of more than {_MAX_CHUNK_BYTES} bytes")
    return raw


def _records(raw: bytes, path: Path) -> Iterator[LogRecord]:
    at = 0
    while at < len(raw):
        kind = raw[at : at + 1].decode("latin-1")
        count, at = _number(raw, at + 1, path)
        fields: dict[bytes, bytes] = {}
        for _ in range(count):
            name, at = _bytes(raw, at, path)
            fields[name], at = _bytes(raw, at, path)
        yield LogRecord(kind, fields)


def _number(raw: bytes, at: int, path: Path) -> tuple[int, int]:
    if at + _COUNT.size > len(raw):
        raise DecodeError(f"{path} is damaged: a record is longer than its chunk")
    return int(_COUNT.unpack_from(raw, at)[0]), at + _COUNT.size


def _bytes(raw: bytes, at: int, path: Path) -> tuple[bytes, int]:
    length, at = _number(raw, at, path)
    if at + length > len(raw):
        raise DecodeError(f"{path} is damaged: a record is longer than its chunk")
    return raw[at : at + length], at + length
