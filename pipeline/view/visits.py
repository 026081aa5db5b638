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


@dataclass(slots=True)
class _Stay:
    """One track's part of a visit."""

    identity_id: int
    track: tuple[str, str, int | None]
    start_s: float
    kind: str
    end_s: float | None = None

    @property
    def place(self) -> tuple[int, str]:
        return self.identity_id, self.track[0]


def visits_of(events: Iterable[EventLike]) -> list[Visit]:
    """Visits in order of their start, with identities as finally known (merged, split and reassigned applied).

    A visit that is open at the end gets the time of the last event.
    """
    book = _Book()
    last_s = float("-inf")
    for event in events:
        last_s = max(last_s, event.at_s, event.decided_at_s)
        book.take(event)
    visits = _joined(book.stays, last_s)
    return sorted(visits, key=lambda v: (v.start_s, v.camera_id, v.identity_id))


def _joined(stays: Iterable[_Stay], last_s: float) -> list[Visit]:
    """Stays that go on in a new track are one visit."""
    visits: list[Visit] = []
    latest: dict[tuple[int, str], Visit] = {}
    for stay in sorted(stays, key=lambda s: s.start_s):
        end_s = max(last_s, stay.start_s) if stay.end_s is None else stay.end_s
        visit = latest.get(stay.place)
        if visit is not None and stay.kind == "continued":
            visit.end_s, visit.track = max(visit.end_s or end_s, end_s), stay.track
            continue
        visit = Visit(stay.identity_id, stay.track[0], stay.start_s, end_s, stay.kind, stay.track)
        latest[stay.place] = visit
        visits.append(visit)
    return visits


class _Book:
    """The stays so far, one per track; the open ones are indexed, so that thousands of events stay linear."""

    def __init__(self) -> None:
        self.stays: list[_Stay] = []
        self._open: dict[tuple[int, str], list[_Stay]] = {}
        self._merged: dict[int, int] = {}

    def take(self, event: EventLike) -> None:
        identity_id = self._living(event.identity_id)
        track = (event.camera_id, event.epoch, event.track_id)
        if event.kind in _ARRIVALS:
            if event.kind != "continued":
                self._close(identity_id, event.camera_id, event.at_s)
            stay = _Stay(identity_id, track, event.at_s, event.kind)
            self.stays.append(stay)
            self._open.setdefault(stay.place, []).append(stay)
        elif event.kind == "left":
            self._close(identity_id, event.camera_id, event.at_s)
        elif event.kind == "merged" and event.other_identity_id is not None:
            into_id = self._living(event.other_identity_id)
            if into_id != identity_id:
                self._merged[identity_id] = into_id
                self._rename([s for s in self.stays if s.identity_id == identity_id], into_id)
        elif event.kind in ("split", "reassigned"):
            moved = [s for s in self.stays if s.track == track]
            if not moved:  # it was unknown
                moved = [_Stay(identity_id, track, event.at_s, "entered")]
                self.stays += moved
            self._rename(moved, identity_id)
        elif event.kind == "forgotten":
            self.stays = [s for s in self.stays if s.identity_id != identity_id]
            self._rename([], identity_id)

    def _living(self, identity_id: int) -> int:
        while identity_id in self._merged:
            identity_id = self._merged[identity_id]
        return identity_id

    def _close(self, identity_id: int, camera_id: str, at_s: float) -> None:
        for stay in self._open.pop((identity_id, camera_id), []):
            stay.end_s = max(at_s, stay.start_s)

    def _rename(self, stays: Iterable[_Stay], identity_id: int) -> None:
        for stay in stays:
            stay.identity_id = identity_id
        self._open = {}
        for stay in self.stays:
            if stay.end_s is None:
                self._open.setdefault(stay.place, []).append(stay)
