"""Takes one person out of bus recordings: clips and tracks, and what a (re)started matcher knew of them.

What is left can be replayed, and numbers identities anew from the first message that is missing. Orders by hand name
identities by number, so those that follow are left out, too, up to the next start of a matcher, which says it all.
"""

import fcntl
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.bus.codec import decode
from pipeline.bus.message_log import MESSAGE, LogReader, LogRecord, LogWriter
from pipeline.errors import DecodeError
from pipeline.replay.recording import ENDING
from pipeline.runtime.bus_recording import BUS, ID_FIELD, START, STATE_PREFIX, MatcherSettings
from pipeline.types import ClipFeature, Forget, Order, TrackKey, Tracklet

_log = logging.getLogger(__name__)


def erase_bus_recordings(
    out_dir: Path, keys: Collection[TrackKey], identity_ids: Collection[int]
) -> tuple[dict[str, int], list[str]]:
    """Rewrite every bus recording in an output folder without the person who was these tracks and had these ids.

    One that cannot be read is removed: nobody knows who is in it. One that is being written is left alone.

    Returns:
        How much went, by what; and sentences for people about recordings that still hold the person.

    Raises:
        OutputError: a file cannot be written; run it again.
    """
    counts: Counter[str] = Counter()
    notes = []
    for path in sorted(out_dir.glob(f"*{ENDING}")) if keys else []:
        with _locked(path) as free:
            if not free:
                notes.append(f"{path.name} is being written and still holds the person; run forget again after the run")
                continue
            try:
                if LogReader(path).header.get("log") == BUS:
                    counts.update(_Eraser(path, keys, identity_ids).erase())
            except DecodeError as error:
                _log.warning("removed, because nobody knows who is in it: %s", error)
                path.unlink()
                counts["recordings_removed"] += 1
    return {name: n for name, n in sorted(counts.items()) if n}, notes


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a recording's lock; False when its writer has it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


class _Eraser:
    """Rewrites one recording; `counts` says what went."""

    def __init__(self, path: Path, keys: Collection[TrackKey], identity_ids: Collection[int]) -> None:
        self._path = path
        self._keys = frozenset(keys)
        self._ids = sorted(set(identity_ids))
        self._renumbered = False
        self._counts: Counter[str] = Counter()

    def erase(self) -> Counter[str]:
        """Put the rewritten recording in the place of the old one, if that held the person."""
        fresh = self._path.with_name(f".{self._path.name}.tmp")
        fresh.unlink(missing_ok=True)
        log = LogReader(self._path)
        writer = LogWriter(fresh, log.header)
        try:
            for record in log.records():
                kept = self._without(record)
                if kept is not None:
                    writer.add(kept.kind, kept.fields)
            writer.close()
            if self._counts:
                fresh.replace(self._path)
        finally:
            writer.close()
            fresh.unlink(missing_ok=True)
        return self._counts

    def _without(self, record: LogRecord) -> LogRecord | None:
        """The record without the person; None when it is about them."""
        if record.kind == START:
            self._renumbered = False
            return self._start(record)
        if record.kind != MESSAGE:
            return record
        message = decode({name: value for name, value in record.fields.items() if name != ID_FIELD})
        if isinstance(message, ClipFeature | Tracklet) and message.key in self._keys:
            self._counts["bus_messages"] += 1
            self._renumbered = True
            return None
        if isinstance(message, Order) and (self._renumbered or self._is_theirs(message)):
            self._counts["bus_orders"] += 1
            return None
        return record

    def _is_theirs(self, order: Order) -> bool:
        """Whether an order says something of the person; `forget` says nothing but a number."""
        return not isinstance(order, Forget) and order.identity_id in self._ids

    def _start(self, record: LogRecord) -> LogRecord:
        """A matcher's start, with a state in which the matcher itself forgot the person."""
        skip = len(STATE_PREFIX)
        state = {n[skip:].decode(): v for n, v in record.fields.items() if n.startswith(STATE_PREFIX)}
        erased = self._forgotten(state, record.fields.get(b"start", b""))
        if erased == state:
            return record
        self._counts["bus_states"] += 1
        others = {n: v for n, v in record.fields.items() if not n.startswith(STATE_PREFIX)}
        return LogRecord(record.kind, {**others, **{STATE_PREFIX + n.encode(): v for n, v in erased.items()}})

    def _forgotten(self, state: Mapping[str, bytes], settings: bytes) -> dict[str, bytes]:
        known = [i for i in self._ids if f"identity:{i}" in state]
        left = dict(state)
        if known:
            matcher = MatcherSettings.from_json(settings).make(state)
            for number, identity_id in enumerate(known, start=1):
                matcher.receive("", Forget(identity_id, number, epoch="erased"))
            for name, value in matcher.advance().changes.items():
                if value is None:
                    left.pop(name, None)
                else:
                    left[name] = value
        for key in self._keys:  # tracks that were nobody's yet
            left.pop(f"track:{key.camera_id}:{key.epoch}:{key.track_id}", None)
        return left
