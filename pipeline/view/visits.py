"""Who was where and when, from identity events: the bars of the report's timeline."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_ARRIVALS = ("entered", "handed_over", "reentered", "continued")


class EventLike(Protocol):
    """The part of an event that matters here."""

    @property
    def kind(self) -> str: ...
    @property
    def identity_id(self) -> int: ...
    @property
    def camera_id(self) -> str: ...
    @property
    def epoch(self) -> str: ...
    @property
    def track_id(self) -> int | None: ...
    @property
    def at_s(self) -> float: ...
    @property
    def decided_at_s(self) -> float: ...
    @property
    def other_identity_id(self) -> int | None: ...


@dataclass(slots=True)
class Visit:
    """One identity in one camera without a break; `end_s` is None while nobody said that it left."""

    identity_id: int
    camera_id: str
    start_s: float
    end_s: float | None
    kind: str
    track: tuple[str, str, int | None]


def visits_of(events: Iterable[EventLike]) -> list[Visit]:
    """Visits in order of their start, with identities as finally known (merged, split and reassigned applied).

    A visit that is open at the end gets the time of the last event.
    """
    book = _Book()
    last_s = float("-inf")
    for event in events:
        last_s = max(last_s, event.at_s, event.decided_at_s)
        book.take(event)
    for visit in book.visits:
        if visit.end_s is None:
            visit.end_s = max(last_s, visit.start_s)
    return sorted(book.visits, key=lambda v: (v.start_s, v.camera_id, v.identity_id))


class _Book:
    """The visits so far; the open ones are indexed, so that thousands of events stay linear."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self._open: dict[tuple[int, str], Visit] = {}

    def take(self, event: EventLike) -> None:
        if event.kind in _ARRIVALS:
            self._arrive(event)
        elif event.kind == "left":
            self._close(event.identity_id, event.camera_id, event.at_s)
        elif event.kind == "merged" and event.other_identity_id is not None:
            into_id = event.other_identity_id
            self._rename([v for v in self.visits if v.identity_id == event.identity_id], into_id)
        elif event.kind in ("split", "reassigned"):
            track = (event.camera_id, event.epoch, event.track_id)
            self._rename([v for v in self.visits if v.track == track], event.identity_id)
        elif event.kind == "forgotten":
            self.visits = [v for v in self.visits if v.identity_id != event.identity_id]
            self._index()

    def _arrive(self, event: EventLike) -> None:
        track = (event.camera_id, event.epoch, event.track_id)
        here = (event.identity_id, event.camera_id)
        if event.kind == "continued" and here in self._open:
            self._open[here].track = track  # the same stay, in a new track
            return
        self._close(*here, event.at_s)
        self._open[here] = Visit(event.identity_id, event.camera_id, event.at_s, None, event.kind, track)
        self.visits.append(self._open[here])

    def _close(self, identity_id: int, camera_id: str, at_s: float) -> None:
        visit = self._open.pop((identity_id, camera_id), None)
        if visit is not None:
            visit.end_s = max(at_s, visit.start_s)

    def _rename(self, visits: list[Visit], identity_id: int) -> None:
        for visit in visits:
            visit.identity_id = identity_id
        self._index()

    def _index(self) -> None:
        self._open = {(v.identity_id, v.camera_id): v for v in self.visits if v.end_s is None}
