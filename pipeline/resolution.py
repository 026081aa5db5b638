"""Which track is which identity, as a site's events tell it: one reading for recorder, overlay, search and report.

Corrections are events, too. A link (`entered`, `handed_over`, …, `split`, `reassigned`) says whose a track is from now
on; the last one counts. `merged` says that everything of one identity belongs to another, what came before and what
is still to come; ids are never used again, so links and merges commute: the order between them does not matter.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.types import IdentityEvent, TrackKey

LINKS = frozenset({"entered", "handed_over", "reentered", "continued", "split", "reassigned"})

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Assignment:
    """From this message time on, the track is known as this identity; 0: nobody knows any more."""

    decided_at_s: float
    identity_id: int


@dataclass(slots=True)
class _Track:
    """What the events say of one track; `last_s` is None while nobody said that it left."""

    first_s: float
    last_s: float | None = None
    pictures_s: set[float] = field(default_factory=set)
    links: list[Assignment] = field(default_factory=list)


class IdentityBook:
    """Which track is which identity, as it was known at any time, and as it is finally known.

    Takes every event of a site once, in order of `sequence`. Tracks that nobody named are identity 0.

    Args:
        events: taken at once.
        remember: how many tracks and merges are kept, the oldest go first; None: all.
    """

    def __init__(self, events: Iterable[IdentityEvent] = (), remember: int | None = None) -> None:
        self._remember = remember
        self._tracks: OrderedDict[TrackKey, _Track] = OrderedDict()
        self._merged: OrderedDict[int, Assignment] = OrderedDict()  # from when on which id is which
        self._forgotten: set[int] = set()
        self._names: dict[int, str] = {}
        for event in events:
            self.take(event)

    def take(self, event: IdentityEvent) -> None:
        """Follow one event."""
        if event.kind == "merged":
            if event.other_identity_id is not None:
                self._merge(event.identity_id, event.other_identity_id, event.decided_at_s)
                if event.name:
                    self._rename(event.other_identity_id, event.name)
        elif event.kind == "forgotten":
            self._forgotten.add(event.identity_id)
            self._names.pop(event.identity_id, None)
        elif event.kind == "renamed":
            self._rename(event.identity_id, event.name)
        else:
            if event.name:
                self._rename(event.identity_id, event.name)
            self._follow(event)

    # -- tracks

    def final(self, key: TrackKey) -> int:
        """The identity as finally known, corrections applied; 0 for none."""
        track = self._tracks.get(key)
        return self.living(track.links[-1].identity_id) if track is not None and track.links else 0

    def online(self, key: TrackKey, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """(T,) the identity that was known before each time, 0 where none was; ids of forgotten people are 0."""
        ids = np.zeros(len(times_s), np.int64)
        track = self._tracks.get(key)
        for link in track.links if track is not None else ():
            identity_id = link.identity_id
            ids[times_s > link.decided_at_s] = identity_id
            while (merge := self._merged.get(identity_id)) is not None:
                identity_id = merge.identity_id
                ids[times_s > max(merge.decided_at_s, link.decided_at_s)] = identity_id
        ids[np.isin(ids, sorted(self._forgotten))] = 0
        return ids

    def tracks(self) -> dict[TrackKey, int]:
        """Every track that is somebody, and its identity as finally known; those of forgotten people are left out."""
        final = {key: self.final(key) for key in self._tracks}
        gone = self._gone()
        return {key: identity_id for key, identity_id in final.items() if identity_id and identity_id not in gone}

    def tracks_of(self, identity_id: int) -> frozenset[TrackKey]:
        """The tracks that are this person, corrections applied: those of a merged id are those of the one it became."""
        living = self.living(identity_id)
        return frozenset(key for key in self._tracks if living and self.final(key) == living)

    def is_forgotten(self, key: TrackKey) -> bool:
        """Whether the track is finally somebody who was forgotten."""
        return self.final(key) in self._gone()

    def is_known(self, key: TrackKey) -> bool:
        """Whether the track is somebody who was not forgotten."""
        return self.final(key) > 0 and not self.is_forgotten(key)

    def track_at(self, camera_id: str, identity_id: int, at_s: float) -> TrackKey | None:
        """The track behind "this identity was in this camera at that time", said before corrections; None: unknown.

        Of several that fit the one that began last, first among those that had not left.
        """
        fitting = [
            (track.last_s is None or track.last_s >= at_s, track.first_s, key)
            for key, track in self._tracks.items()
            if key.camera_id == camera_id and track.first_s <= at_s and self.was(key, identity_id)
        ]
        return max(fitting)[2] if fitting else None

    def was(self, key: TrackKey, identity_id: int) -> bool:
        """Whether the track was ever known as this identity."""
        return identity_id in self.known_as(key)

    def known_as(self, key: TrackKey) -> frozenset[int]:
        """All ids that the track was ever known as, merges included; empty when it was never anybody."""
        ids = set()
        track = self._tracks.get(key)
        for link in track.links if track is not None else ():
            ids.add(link.identity_id)
            while link.identity_id in self._merged:
                link = self._merged[link.identity_id]
                ids.add(link.identity_id)
        return frozenset(ids - {0})

    def first_s(self, key: TrackKey) -> float | None:
        """When the track was seen first, as far as events say."""
        track = self._tracks.get(key)
        return track.first_s if track is not None else None

    def pictures(self) -> dict[tuple[str, float], list[TrackKey]]:
        """(camera, time in s) of every picture that events point to → the tracks that it was kept for."""
        found: dict[tuple[str, float], list[TrackKey]] = {}
        for key, track in self._tracks.items():
            for at_s in track.pictures_s:
                found.setdefault((key.camera_id, at_s), []).append(key)
        return found

    def pictures_of(self, key: TrackKey) -> frozenset[float]:
        """Times of the pictures that events point to for one track."""
        track = self._tracks.get(key)
        return frozenset(track.pictures_s) if track is not None else frozenset()

    # -- identities

    def living(self, identity_id: int) -> int:
        """The id that lives on after all merges."""
        while (merge := self._merged.get(identity_id)) is not None:
            identity_id = merge.identity_id
        return identity_id

    def ids_of(self, identity_id: int) -> frozenset[int]:
        """All ids of this person: the one that lives on, and those that were merged into it."""
        living = self.living(identity_id)
        return frozenset({living, identity_id, *(i for i in self._merged if self.living(i) == living)})

    def identities(self) -> set[int]:
        """Everybody who was seen, corrections and erasures applied."""
        return set(self.tracks().values())

    def name_of(self, identity_id: int) -> str | None:
        """The name of the person; a merged identity's goes to the one that lives on, where that has none."""
        return self._names.get(self.living(identity_id))

    def names(self) -> dict[int, str]:
        """Name of every identity that has one, under the id that lives on."""
        return dict(self._names)

    # -- inside

    def _follow(self, event: IdentityEvent) -> None:
        previous = self._tracks.get(event.previous_key) if event.previous_key is not None else None
        if previous is not None and previous.last_s is None and event.kind in ("continued", "reentered"):
            previous.last_s = event.at_s
        if event.key is None:
            return
        if event.kind == "left":
            if event.key in self._tracks:
                self._tracks[event.key].last_s = event.at_s
            return
        track = self._tracks.setdefault(event.key, _Track(event.at_s))
        track.first_s = min(track.first_s, event.at_s)
        if event.frame is not None:
            track.pictures_s.add(event.frame.captured_at_s)
        if event.kind in LINKS:
            track.links.append(Assignment(event.decided_at_s, event.identity_id))
        _touch(self._tracks, event.key, self._remember)

    def _merge(self, identity_id: int, into: int, decided_at_s: float) -> None:
        old, new = self.living(identity_id), self.living(into)
        if old == new:
            return  # told before
        self._merged[old] = Assignment(decided_at_s, new)
        _touch(self._merged, old, self._remember)
        name = self._names.pop(old, None)
        if name:
            self._names.setdefault(new, name)

    def _rename(self, identity_id: int, name: str | None) -> None:
        if name:
            self._names[self.living(identity_id)] = name
        else:
            self._names.pop(self.living(identity_id), None)

    def _gone(self) -> set[int]:
        return {self.living(identity_id) for identity_id in self._forgotten}


def final_identities(events: Iterable[IdentityEvent]) -> dict[TrackKey, int]:
    """Every track that is somebody, and its identity as finally known; those of forgotten people are left out."""
    return IdentityBook(events).tracks()


def _touch(remembered: OrderedDict[_Key, _Value], key: _Key, limit: int | None) -> None:
    """Make `key` the newest, and drop the oldest beyond the limit."""
    remembered.move_to_end(key)
    if limit is not None and len(remembered) > limit:
        remembered.popitem(last=False)
