"""The recorder's process: identities and finished tracks from the bus into the output folder.

Events, crops and reference frames are written as they come. Rows of `tracks/` need the identities as finally known:
tracklets wait in a journal, and `complete_tracks` makes the files when the run is over. It runs in the supervisor, so
that a recorder that was killed, or a stop in a hurry, loses nothing.
"""

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.background.references import ReferenceKeeper
from pipeline.bus.codec import decode, encode
from pipeline.bus.connection import bus_errors
from pipeline.bus.lines import event_from_json
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, IDENTITIES, REFERENCES, stream_key
from pipeline.errors import BusRefused, BusUnavailable, DecodeError, OutputError
from pipeline.ports import BusMessage, Delivery
from pipeline.runtime.recorder import IdentityBook, RunRecorder, TrackWriter
from pipeline.types import CameraState, ClipFeature, IdentityEvent, ReferenceFrame, Tick, TrackKey, Tracklet

_log = logging.getLogger(__name__)

WAIT_S = 0.1
RETRY_S = 0.3
ADVANCE_S = 0.2  # message time
DRAIN_S = 2.0  # of the 4 s that a role has to stop; the rest is for the last reference frames
_SIZE = struct.Struct("<I")
_MAX_FIELD = 1 << 28  # bytes; a longer one is damage


class TrackJournal:
    """Finished tracks on disk, in order of arrival, each once; a torn end (a killed writer) is cut off.

    Raises:
        OutputError: it cannot be read or written.
    """

    def __init__(self, out_dir: Path) -> None:
        self.path = journal_path(out_dir)
        self._keys: set[TrackKey] = set()
        end = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            for tracklet, after in _records(self.path):
                self._keys.add(tracklet.key)
                end = after
            self._file = self.path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; check the folder") from None

    def add(self, tracklet: Tracklet) -> bool:
        """Append; False when this track is there already.

        Raises:
            OutputError: the disk says no.
        """
        if tracklet.key in self._keys:
            return False
        fields = encode(tracklet)
        parts = [_SIZE.pack(len(fields))]
        for name, value in fields.items():
            parts += [_SIZE.pack(len(name)), name, _SIZE.pack(len(value)), value]
        try:
            self._file.write(b"".join(parts))
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; free some space") from None
        self._keys.add(tracklet.key)
        return True

    def __len__(self) -> int:
        return len(self._keys)

    def close(self) -> None:
        self._file.close()


def journal_path(out_dir: Path) -> Path:
    return out_dir / "tracks" / ".journal"


def _records(path: Path) -> Iterator[tuple[Tracklet, int]]:
    """Each whole record and where it ends."""
    with path.open("rb") as file:
        while (count := _read_size(file.read(_SIZE.size))) is not None:
            fields = {}
            for _ in range(count):
                name, value = _read_field(file.read), _read_field(file.read)
                if name is None or value is None:
                    return
                fields[name] = value
            try:
                message = decode(fields)
            except DecodeError:
                return
            if isinstance(message, Tracklet):
                yield message, file.tell()


def _read_size(raw: bytes) -> int | None:
    if len(raw) < _SIZE.size:
        return None
    size = int(_SIZE.unpack(raw)[0])
    return size if size <= _MAX_FIELD else None


def _read_field(read: Callable[[int], bytes]) -> bytes | None:
    size = _read_size(read(_SIZE.size))
    if size is None:
        return None
    value = read(size)
    return value if len(value) == size else None


def read_events(out_dir: Path) -> list[IdentityEvent]:
    """The whole lines of `identities.jsonl`; none when there is no such file."""
    path = out_dir / "identities.jsonl"
    if not path.exists():
        return []
    events = []
    for line in path.read_bytes().splitlines():
        try:
            events.append(event_from_json(line))
        except DecodeError as error:
            _log.warning("identities.jsonl: left out a line: %s", error)
    return events


def complete_tracks(out_dir: Path, cameras: Iterable[str]) -> IdentityBook:
    """Write `tracks/` and `tracks_online/` from the journal and the identity log; the journal is removed.

    Raises:
        OutputError: a file cannot be written; the journal stays.
    """
    book = IdentityBook()
    for event in read_events(out_dir):
        book.take(event)
    for part in (out_dir / "tracks").glob(".*.part"):
        part.unlink()
    writer = TrackWriter(out_dir, cameras)
    journal = journal_path(out_dir)
    if journal.exists():
        for tracklet, _ in _records(journal):
            writer.add(tracklet)
    writer.close(book)
    journal.unlink(missing_ok=True)
    return book


def begin_recording(bus: RedisBus, group: str) -> None:
    """Let the group begin at now: what earlier runs left in the streams belongs to their folders.

    Raises:
        BusUnavailable, BusRefused.
    """
    with bus_errors(bus.address):
        for stream in (CLIPS, IDENTITIES):
            key = stream_key(bus.site, stream)
            if bus.client.exists(key):
                bus.client.xgroup_destroy(key, group)
            bus.client.xgroup_create(key, group, id="$", mkstream=True)


class Recording:
    """Takes what the bus brings until it is told to stop.

    Args:
        references: the one that `recorder` was given.
        sweep: called about once a minute of message time with that time.
        beat, on_pass: called several times a second.
    """

    def __init__(
        self,
        bus: RedisBus,
        group: str,
        recorder: RunRecorder,
        out_dir: Path,
        *,
        references: ReferenceKeeper | None,
        sweep: Callable[[float], None] = lambda now_s: None,
        beat: Callable[[], None] = lambda: None,
        on_pass: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._beat = beat
        self._group = group
        self._recorder = recorder
        self._references = references
        self._sweep = sweep
        self._on_pass = on_pass
        self._monotonic = monotonic
        self._journal = TrackJournal(out_dir)
        self._announcements: deque[ReferenceFrame] = deque()
        self._now_s = 0.0
        self._advanced_s = 0.0
        self._swept_s: float | None = None
        self.references_taken = 0
        self._lost = 0
        self._last_event = 0
        for event in read_events(out_dir):  # a recorder before this one wrote them
            recorder.book.take(event)
            self._last_event = event.sequence

    def run(self, stop: threading.Event) -> None:
        """Record until `stop`, then what is still in the streams, and the reference frames that are owed.

        Raises:
            OutputError: the disk says no. BusRefused.
        """
        while not stop.is_set():
            self._pass(WAIT_S)
        until_s = self._monotonic() + DRAIN_S
        while self._pass(0.0) and self._monotonic() < until_s:
            pass
        try:
            self._announce(self._recorder.advance(float("inf")))
        except BusUnavailable as error:
            _log.warning("%d reference frames were not announced: %s", len(self._announcements), error)
        self._journal.close()
        self._recorder.close_features()

    def counts(self) -> dict[str, float]:
        return {
            "identities": float(len(self._recorder.book.identities())),
            "references": float(self.references_taken),
            "tracks": float(len(self._journal)),
        }

    def losses(self) -> dict[str, float]:
        return {"events_lost": float(self._lost), "announcements_waiting": float(len(self._announcements))}

    def _pass(self, wait_s: float) -> bool:
        """Whether anything came."""
        self._beat()
        self._on_pass()
        try:
            clips = self._take(CLIPS, wait_s)
            events = self._take(IDENTITIES, 0.0)
            self._announce([])
        except BusRefused:
            raise
        except BusUnavailable as error:
            _log.debug("waiting for Redis: %s", error)
            time.sleep(RETRY_S)
            return False
        if self._now_s >= self._advanced_s + ADVANCE_S:
            self._advanced_s = self._now_s
            self._announce(self._recorder.advance(self._now_s))
        self._sweep_old()
        return clips or events

    def _take(self, stream: str, wait_s: float) -> bool:
        deliveries: Sequence[Delivery] = self._bus.receive(stream, self._group, wait_s)
        for delivery in deliveries:
            message = delivery.message
            if isinstance(message, IdentityEvent):
                self._event(message)
            elif isinstance(message, ClipFeature):
                self._recorder.clip(message)
            elif isinstance(message, Tracklet):
                self._tracklet(message)
            self._now_s = max(self._now_s, _message_time(message))
        if deliveries:
            self._bus.acknowledge(stream, self._group, [d.id for d in deliveries])
        return bool(deliveries)

    def _event(self, event: IdentityEvent) -> None:
        if event.sequence <= self._last_event:
            return  # delivered before, and written
        if self._last_event and event.sequence > self._last_event + 1:
            self._lost += event.sequence - self._last_event - 1
        self._announce_later(self._recorder.event(event))
        self._last_event = event.sequence

    def _tracklet(self, tracklet: Tracklet) -> None:
        if self._journal.add(tracklet) and self._references is not None:
            self._references.track_ended(tracklet.key)

    def _announce_later(self, references: Iterable[ReferenceFrame]) -> None:
        for reference in references:
            self.references_taken += 1
            self._announcements.append(reference)

    def _announce(self, references: Iterable[ReferenceFrame]) -> None:
        self._announce_later(references)
        while self._announcements:
            self._bus.publish(REFERENCES, self._announcements[0])
            self._announcements.popleft()

    def _sweep_old(self) -> None:
        if self._now_s and (self._swept_s is None or self._now_s >= self._swept_s + 60.0):
            self._swept_s = self._now_s
            self._sweep(self._now_s)


def _message_time(message: BusMessage) -> float:
    if isinstance(message, IdentityEvent):
        return message.decided_at_s
    return message.at_s if isinstance(message, ClipFeature | Tracklet | Tick | CameraState) else 0.0
