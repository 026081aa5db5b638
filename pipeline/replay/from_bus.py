"""Replays a bus recording: the same messages, in the same steps, into a matcher; the same identity log comes out.

What was late, and when a camera was no longer waited for, follows from the order of arrival and from the boundaries of
the steps: both are part of the recording. Wall clock times are those of the live run.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.bus.codec import decode
from pipeline.bus.message_log import MESSAGE, LogReader, LogRecord
from pipeline.errors import DecodeError
from pipeline.identity.matcher import Matcher
from pipeline.runtime.bus_recording import ADVANCE, BUS, END, ID_FIELD, SCHEMA, START, STATE_PREFIX, MatcherSettings
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import (
    CameraState,
    ClipFeature,
    ClipMessage,
    IdentityEvent,
    Order,
    Tick,
    TrackKey,
    Tracklet,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MatcherStart:
    """A matcher (re)started with this state."""

    settings: MatcherSettings
    state: Mapping[str, bytes]

    @property
    def next_sequence(self) -> int:
        """Number of the next event: all before it were committed.

        Raises:
            DecodeError: the state does not say.
        """
        if not self.state:
            return 1
        try:
            return int(json.loads(self.state["meta"])["next_sequence"])
        except (KeyError, ValueError, TypeError):
            raise DecodeError("the recorded state has no next_sequence") from None


@dataclass(frozen=True, eq=False, slots=True)
class RecordedStep:
    """Messages in order of arrival, (id in the stream, message), over which the matcher then advanced."""

    deliveries: tuple[tuple[str, ClipMessage], ...]
    emitted_at_s: float


@dataclass(frozen=True, slots=True)
class MatcherEnd:
    """The matcher stopped in order: everything before was committed."""


class BusRecording:
    """A bus recording on disk.

    Raises:
        DecodeError: it cannot be read, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._log = LogReader(path)
        self.path = path
        found = (self._log.header.get("log"), self._log.header.get("schema"))
        if found != (BUS, SCHEMA):
            raise DecodeError(f"{path}: expected {BUS} of schema {SCHEMA}, got {found[0]} of schema {found[1]}")
        self.site = str(self._log.header.get("site"))
        first = next(self.entries(), None)
        if not isinstance(first, MatcherStart):
            raise DecodeError(f"{path} does not begin with the start of a matcher; nothing was recorded")
        self.settings = first.settings  # of the first start

    def entries(self) -> Iterator[MatcherStart | RecordedStep | MatcherEnd]:
        """What happened, in order.

        Raises:
            DecodeError: the file is damaged before its end, or holds what does not belong there.
        """
        deliveries: list[tuple[str, ClipMessage]] = []
        for record in self._log.records():
            try:
                if record.kind == MESSAGE:
                    deliveries.append(_delivery(record))
                elif record.kind == ADVANCE:
                    yield RecordedStep(tuple(deliveries), float(record.fields[b"emitted_at_s"]))
                    deliveries = []
                elif record.kind == START:
                    yield _start(record)
                elif record.kind == END:
                    yield MatcherEnd()
                else:
                    raise DecodeError(f"a record of the unknown kind {record.kind!r}")
            except (DecodeError, KeyError, ValueError) as error:
                raise DecodeError(f"{self.path}: {error}") from None


def _delivery(record: LogRecord) -> tuple[str, ClipMessage]:
    fields = dict(record.fields)
    entry_id = fields.pop(ID_FIELD).decode("ascii")
    message = decode(fields)
    if not isinstance(message, ClipFeature | Tracklet | Tick | CameraState | Order):
        raise DecodeError(f"a {type(message).__name__} is no message for a matcher")
    return entry_id, message


def _start(record: LogRecord) -> MatcherStart:
    skip = len(STATE_PREFIX)
    state = {name[skip:].decode(): value for name, value in record.fields.items() if name.startswith(STATE_PREFIX)}
    return MatcherStart(MatcherSettings.from_json(record.fields[b"start"]), state)


@dataclass(slots=True)
class BusReplayResult:
    """What a replay of a bus recording did.

    Attributes:
        starts: of matchers; all but the first are restarts.
        undone: events that a killed matcher had not committed; they were decided again after its restart.
        warnings: what the recording cannot tell.
    """

    starts: int = 0
    steps: int = 0
    messages: int = 0
    events: int = 0
    late: int = 0
    duplicates: int = 0
    undone: int = 0
    warnings: tuple[str, ...] = ()


def replay_bus(
    recording: BusRecording,
    recorder: RunRecorder,
    *,
    settings: MatcherSettings | None = None,
    on_messages: Callable[[int], None] = lambda count: None,
) -> BusReplayResult:
    """Match everything once more and record events and tracks; closes the recorder.

    Args:
        recorder: for `recording.settings.cameras`, without crops and references.
        settings: of another matcher, to see what it would have made of it. It begins with the state of the first
            start, is not restarted where the live one was, and events keep the live run's wall clock. None: exactly
            what the live matcher had.
        on_messages: called after every step with its number of messages, for a progress bar.

    Raises:
        DecodeError: the file cannot be read. OutputError: the disk says no.
    """
    again = _Again(recorder, settings)
    try:
        for entry in recording.entries():
            if isinstance(entry, RecordedStep):
                again.step(entry)
                on_messages(len(entry.deliveries))
            elif isinstance(entry, MatcherStart):
                again.start(entry)
            else:
                again.end()
    finally:
        again.close()
        recorder.close()
    return again.result


class _Again:
    """The matcher's life once more.

    Events of the last step are held back until it is known whether the live matcher committed it.
    """

    def __init__(self, recorder: RunRecorder, settings: MatcherSettings | None) -> None:
        self._recorder = recorder
        self._settings = settings
        self._matcher: Matcher | None = None
        self._held: tuple[IdentityEvent, ...] = ()
        self._last_event = 0
        self._ended = False
        self._tracks: set[TrackKey] = set()
        self._warnings: list[str] = []
        self.result = BusReplayResult()

    def start(self, entry: MatcherStart) -> None:
        self.result.starts += 1
        if self._matcher is None:
            self._matcher = (self._settings or entry.settings).make(entry.state)
            self._last_event = entry.next_sequence - 1
        elif self._settings is None:
            self._count_losses()
            self._settle(entry.next_sequence)
            self._matcher = entry.settings.make(entry.state)

    def step(self, entry: RecordedStep) -> None:
        self.commit()
        if self._matcher is None:
            raise DecodeError("a bus recording begins with the start of a matcher")
        for entry_id, message in entry.deliveries:
            self._matcher.receive(entry_id, message)
            if isinstance(message, Tracklet) and message.key not in self._tracks:
                self._tracks.add(message.key)  # delivered again after a restart: its rows are there
                self._recorder.tracklet(message)
            elif isinstance(message, ClipFeature):
                self._recorder.clip(message)
        self._held = self._matcher.emitted(self._matcher.advance(), entry.emitted_at_s).events
        self.result.steps += 1
        self.result.messages += len(entry.deliveries)

    def commit(self) -> None:
        """Record what is held back: the live matcher went on, so it was committed."""
        for event in self._held:
            if event.sequence > self._last_event:  # else Redis had gone back; the live log keeps what was told first
                self._recorder.event(event)
                self._last_event = event.sequence
                self.result.events += 1
        self._held = ()

    def end(self) -> None:
        """The live matcher stopped in order."""
        self.commit()
        self._ended = True

    def close(self) -> None:
        if self._held:
            self._warnings.append(
                f"the matcher was killed in its last step: nobody knows whether its {len(self._held)} events were told"
            )
        self.commit()
        self._count_losses()
        self.result.warnings = tuple(self._warnings)

    def _settle(self, next_sequence: int) -> None:
        """What the restored state counts was committed, and nothing after it."""
        before = len(self._held)
        self._held = tuple(event for event in self._held if event.sequence < next_sequence)
        self.result.undone += before - len(self._held)
        self.commit()
        if self._ended and next_sequence <= self._last_event:
            self._warnings.append(
                "a later matcher found an empty Redis: identities and events are numbered from 1 again"
            )
            self._last_event = next_sequence - 1
        self._ended = False
        if next_sequence - 1 > self._last_event:
            self._warnings.append(
                f"events {self._last_event + 1} to {next_sequence - 1} are not in the recording: somebody else "
                "changed the matcher's state while no matcher ran (`forget` does)"
            )
            self._last_event = next_sequence - 1

    def _count_losses(self) -> None:
        if self._matcher is not None:
            self.result.late += self._matcher.late
            self.result.duplicates += self._matcher.duplicates
