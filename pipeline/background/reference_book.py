"""Who has a fresh reference frame, and which track is which identity, as the identity events tell it."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from pipeline.resolution import LINKS, IdentityBook
from pipeline.types import IdentityEvent, TrackKey

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_REMEMBERED = 16384  # entries, merges and ended tracks each; the oldest go first: months of a busy site, under 10 MB


@dataclass(slots=True)
class _Entry:
    fresh: bool
    key: TrackKey | None
    since_s: float


class ReferenceBook:
    """For each (camera, identity): whether its reference is fresh.

    A reference goes stale as soon as the identity's track ends or its mask is lost; the next appearance renews it,
    however short the absence. Identities that were merged answer under the id that lives on.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()
        self._merged: OrderedDict[int, int] = OrderedDict()
        self._ended: OrderedDict[TrackKey, None] = OrderedDict()

    def canonical(self, identity_id: int) -> int:
        """The id that lives on after all merges."""
        while identity_id in self._merged:
            identity_id = self._merged[identity_id]
        return identity_id

    def fresh(self, camera_id: str, identity_id: int) -> bool:
        entry = self._entries.get((camera_id, self.canonical(identity_id)))
        return entry is not None and entry.fresh

    def renew(self, key: TrackKey, identity_id: int, at_s: float) -> None:
        """A reference with this identity's mask was taken; it counts as fresh unless the track has ended meanwhile."""
        place = (key.camera_id, self.canonical(identity_id))
        if key not in self._ended:
            self._entries[place] = _Entry(True, key, at_s)
            _touch(self._entries, place)

    def stale(self, camera_id: str, identity_id: int) -> None:
        """The identity left the camera, or its mask was lost."""
        if entry := self._entries.get((camera_id, self.canonical(identity_id))):
            entry.fresh = False

    def track_ended(self, key: TrackKey) -> None:
        """Whoever was this track has no fresh reference in its camera any more."""
        self._ended[key] = None
        _touch(self._ended, key)
        for entry in self._entries.values():
            if entry.key == key:
                entry.fresh = False

    def merge(self, identity_id: int, into: int) -> None:
        """`identity_id` is `into` from now on; the newer of two references counts."""
        old, new = self.canonical(identity_id), self.canonical(into)
        if old == new:
            return
        self._merged[old] = new
        _touch(self._merged, old)
        for camera_id, identity in list(self._entries):
            if identity == old:
                entry = self._entries.pop((camera_id, old))
                other = self._entries.get((camera_id, new))
                if other is None or (entry.fresh, entry.since_s) > (other.fresh, other.since_s):
                    self._entries[camera_id, new] = entry

    def forget(self, identity_id: int) -> None:
        for place in [p for p in self._entries if p[1] == self.canonical(identity_id)]:
            del self._entries[place]


def _touch(remembered: OrderedDict[_Key, _Value], key: _Key) -> None:
    """Make `key` the newest, and drop the oldest beyond the limit."""
    remembered.move_to_end(key)
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)


class TrackIdentities:
    """Which identity each track is, built from identity events; tracks nobody named are 0."""

    def __init__(self, book: ReferenceBook) -> None:
        self._book = book
        self._known = IdentityBook(remember=_REMEMBERED)

    def of(self, key: TrackKey) -> int:
        """The identity that a track is known as now; 0: not known."""
        return self._known.final(key) if self._known.is_known(key) else 0

    def take(self, event: IdentityEvent) -> None:
        """Follow one event."""
        before = self.of(event.key) if event.key is not None else 0
        self._known.take(event)
        if event.kind == "merged" and event.other_identity_id is not None:
            self._book.merge(event.identity_id, event.other_identity_id)
        elif event.kind == "forgotten":
            self._book.forget(event.identity_id)
        elif event.key is not None and event.kind == "left":
            self._book.stale(event.key.camera_id, event.identity_id)
        elif event.key is not None and event.kind in LINKS:
            self._moved(event, event.key, before)

    def _moved(self, event: IdentityEvent, key: TrackKey, before: int) -> None:
        if before and before != self.of(key):
            self._book.stale(key.camera_id, before)  # that reference showed somebody else
        if event.kind in ("split", "reassigned"):
            return  # the person's track before is older than this one, but need not be over
        if event.previous_key is not None and event.previous_key != key:
            self._book.track_ended(event.previous_key)
