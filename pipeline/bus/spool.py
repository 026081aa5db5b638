"""Messages on disk while Redis is away: a SQLite file that exists only as long as it holds something.

Biometric data: only the file's owner can read it, deleted rows are overwritten, and an empty file is removed.
"""

import logging
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutputError

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    row INTEGER PRIMARY KEY AUTOINCREMENT, producer TEXT NOT NULL, number INTEGER NOT NULL,
    stream TEXT NOT NULL, at_s REAL NOT NULL, bytes INTEGER NOT NULL, packed BLOB NOT NULL)
"""
_FILE = "spool.sqlite3"
_DAMAGED = "spool.damaged"  # the last file that could not be read; an older one is overwritten
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA)
_ROW_BYTES = 64  # what a row costs besides its message


@dataclass(frozen=True, slots=True)
class Spooled:
    """One message as it waits: `number` counts the messages of its `producer`, rising."""

    producer: str
    number: int
    stream: str
    fields: Mapping[bytes, bytes]
    row: int = 0


@dataclass
class SpoolCounters:
    """Drops by cause, and files that were set aside because they could not be read."""

    dropped_size: int = 0
    dropped_age: int = 0
    dropped_disk: int = 0
    dropped_damaged: int = 0
    damaged_files: int = 0


class Spool:
    """A queue on disk, in order, with a limit on size and age; the oldest message is dropped first, and counted.

    One process and thread at a time. Methods raise sqlite3.Error or OSError only where the disk itself fails; `add`
    never does.

    Args:
        folder: only for this spool; made when something has to be written.
        max_bytes: of messages. max_age_s: by `clock`, Unix seconds, which outlives a restart.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age_s: float, clock: Callable[[], float]) -> None:
        self.counters = SpoolCounters()
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._count = 0
        self._bytes = 0
        if (folder / _FILE).exists():
            try:
                with self._damage_handled():
                    self._open()
                    self._trim()
                    self._remove_if_empty()
            except (sqlite3.Error, OSError) as error:
                raise OutputError(f"the spool {folder / _FILE} cannot be opened: {error}") from None

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Collection[Spooled]) -> None:
        """Append messages; what finds no room on the disk is dropped and counted."""
        if not messages:
            return
        try:
            with self._damage_handled():
                self._insert(messages)
            if self._count == 0:  # the old file was damaged and set aside: once more, into a fresh one
                self._insert(messages)
        except (sqlite3.Error, OSError) as error:
            self.counters.dropped_disk += len(messages)
            _log.error("the spool cannot be written (%s): %d messages dropped", error, len(messages))
            return
        with suppress(sqlite3.Error, OSError), self._damage_handled():
            self._trim()  # may fail on a full disk; the next one tries again

    def first(self, count: int, max_bytes: int) -> list[Spooled]:
        """The oldest messages, all of one producer: at most `count`, about `max_bytes`, and one at least."""
        taken: list[Spooled] = []
        with self._damage_handled():
            self._trim()
            if self._database is None:
                return []
            rows = self._database.execute(
                "SELECT row, producer, number, stream, packed FROM message ORDER BY row LIMIT ?", (count,)
            ).fetchall()
            size = 0
            for row, producer, number, stream, packed in rows:
                size += len(packed)
                if taken and (size > max_bytes or producer != taken[0].producer):
                    break
                fields = _unpack(packed)
                if fields is None:
                    self._delete("row = ?", (row,))
                    self.counters.dropped_damaged += 1
                else:
                    taken.append(Spooled(producer, number, stream, fields, row))
        return taken

    def remove(self, messages: Collection[Spooled]) -> None:
        """These were published."""
        if messages:
            with self._damage_handled():
                self._delete("row <= ?", (max(m.row for m in messages),))
                self._remove_if_empty()

    def producers(self) -> list[str]:
        """Who has messages waiting: this run, and runs that ended before they could publish."""
        with self._damage_handled():
            if self._database is not None:
                return [p for (p,) in self._database.execute("SELECT DISTINCT producer FROM message")]
        return []

    def remove_up_to(self, producer: str, number: int) -> int:
        """Drop a producer's messages that turned out to be published already; returns how many."""
        before = self._count
        with self._damage_handled():
            self._delete("producer = ? AND number <= ?", (producer, number))
            self._remove_if_empty()
        return before - self._count

    def close(self) -> None:
        """Let go of the file; what is in it waits for the next run."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / _FILE
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database = database
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA secure_delete=ON")
            database.execute(_SCHEMA)
            self._recount()
        return self._database

    def _recount(self) -> None:
        if self._database is not None:
            query = "SELECT count(*), coalesce(sum(bytes), 0) FROM message"
            self._count, self._bytes = self._database.execute(query).fetchone()

    def _insert(self, messages: Collection[Spooled]) -> None:
        database = self._open()
        now_s = self._clock()
        rows = []
        for message in messages:
            packed = _pack(message.fields)
            rows.append((message.producer, message.number, message.stream, now_s, len(packed) + _ROW_BYTES, packed))
        database.execute("BEGIN")
        try:
            database.executemany(
                "INSERT INTO message (producer, number, stream, at_s, bytes, packed) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            database.execute("COMMIT")
        except sqlite3.Error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._count += len(rows)
        self._bytes += sum(row[4] for row in rows)

    def _trim(self) -> None:
        """Drop what is too old, then the oldest until the rest fits."""
        if self._database is None:
            return
        self.counters.dropped_age += self._delete("at_s < ?", (self._clock() - self._max_age_s,))
        while self._bytes > self._max_bytes and self._count:
            tenth = max(1, self._count // 10)  # many at once, so that a full spool does not delete at every message
            self.counters.dropped_size += self._delete(
                "row IN (SELECT row FROM message ORDER BY row LIMIT ?)", (tenth,)
            )

    def _delete(self, condition: str, parameters: tuple[object, ...]) -> int:
        if self._database is None:
            return 0
        deleted = self._database.execute(f"DELETE FROM message WHERE {condition}", parameters).rowcount
        if deleted:
            self._recount()
        return deleted

    def _remove_if_empty(self) -> None:
        if self._count == 0:
            self.close()
            self._unlink()

    def _unlink(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            (self._folder / (_FILE + suffix)).unlink(missing_ok=True)

    @contextmanager
    def _damage_handled(self) -> Iterator[None]:
        """Set a file aside that SQLite cannot read any more, and go on with an empty spool.

        Raises:
            sqlite3.Error: something else, such as a full disk.
        """
        try:
            yield
        except sqlite3.DatabaseError as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in _CORRUPT:
                raise
            _log.error("the spool %s cannot be read (%s); it is set aside", self._folder / _FILE, error)
            self.counters.damaged_files += 1
            self.close()
            (self._folder / _FILE).replace(self._folder / _DAMAGED)
            self._unlink()
            self._count = self._bytes = 0


def _pack(fields: Mapping[bytes, bytes]) -> bytes:
    """Fields as lengths and bytes, behind a CRC-32 that shows a torn or flipped row."""
    parts = [part for key, value in fields.items() for part in (struct.pack("<II", len(key), len(value)), key, value)]
    body = b"".join(parts)
    return struct.pack("<I", zlib.crc32(body)) + body


def _unpack(packed: bytes) -> dict[bytes, bytes] | None:
    """The fields, or None when the row is damaged."""
    body = packed[4:]
    if len(packed) < 4 or struct.unpack("<I", packed[:4])[0] != zlib.crc32(body):
        return None
    fields: dict[bytes, bytes] = {}
    at = 0
    while at < len(body):
        key_bytes, value_bytes = struct.unpack_from("<II", body, at)
        start = at + 8 + key_bytes
        fields[body[at + 8 : start]] = body[start : start + value_bytes]
        at = start + value_bytes
    return fields
