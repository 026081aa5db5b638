"""What an operator's order means for one identity log: whether it can be done, and the events that record it."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.errors import ConfigError
from pipeline.resolution import IdentityBook
from pipeline.types import EventKind, IdentityEvent, Merge, Rename, Split, TrackKey

FileOrder: TypeAlias = Rename | Merge | Split

MAX_NAME = 100  # characters; it has to fit on a label
_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # control characters, half surrogates, separators of lines and paragraphs
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they turn what stands beside the name around
_SHOWN_TRACKS = 5  # in an error text


def checked_name(name: str) -> str | None:
    """A name as it will be shown; None for an empty one, which takes the name away.

    Raises:
        ConfigError: too long, or characters that are none; the text does not hold the name.
    """
    name = name.strip()
    if len(name) > MAX_NAME:
        raise ConfigError(f"name: expected at most {MAX_NAME} characters, got {len(name)}")
    if any(c in _TURNING or unicodedata.category(c) in _NO_TEXT for c in name):
        raise ConfigError("name: expected one line of text without control characters")
    return name or None


def read_track(text: str) -> TrackKey:
    """`camera:epoch:track`, as `shown_track` writes it.

    Raises:
        ConfigError: it is something else.
    """
    camera_id, _, rest = text.partition(":")
    epoch, _, number = rest.rpartition(":")
    if not (camera_id and epoch and number.isascii() and number.isdigit()):
        raise ConfigError(f"track: expected camera:epoch:track, such as door:1:3, got {text!r}")
    return TrackKey(camera_id, epoch, int(number))


def shown_track(key: TrackKey) -> str:
    return f"{key.camera_id}:{key.epoch}:{key.track_id}"


def shown_tracks(keys: Iterable[TrackKey]) -> str:
    """A few of them, for a person to read."""
    names = [shown_track(key) for key in sorted(keys)]
    more = f" and {len(names) - _SHOWN_TRACKS} more" if len(names) > _SHOWN_TRACKS else ""
    return ", ".join(names[:_SHOWN_TRACKS]) + more


def check_order(order: FileOrder) -> None:
    """What can be said without looking anywhere.

    Raises:
        ConfigError: ids below 1, an identity with itself, no tracks.
    """
    other = order.into_id if isinstance(order, Merge) else order.to_id if isinstance(order, Split) else None
    for identity_id in (order.identity_id, other):
        if identity_id is not None and identity_id < 1:
            raise ConfigError(f"identities are numbered from 1, got {identity_id}")
    if isinstance(order, Merge) and order.identity_id == order.into_id:
        raise ConfigError(f"merge: identity {order.identity_id} is one with itself; name two")
    if isinstance(order, Split):
        if not order.keys:
            raise ConfigError("split: name at least one track, as camera:epoch:track")
        if order.to_id == order.identity_id:
            raise ConfigError(f"split: the tracks are identity {order.identity_id}'s already; name another one")


@dataclass(slots=True)
class _Log:
    """A log that events are added to, in message time: everything happens at its end."""

    now_s: float
    sequence: int
    events: list[IdentityEvent] = field(default_factory=list)

    def add(self, kind: EventKind, identity_id: int, at_s: float | None = None, **others: object) -> None:
        self.sequence += 1
        when_s = self.now_s if at_s is None else at_s
        self.events.append(
            IdentityEvent(
                sequence=self.sequence,
                kind=kind,
                identity_id=identity_id,
                key=others.pop("key", None),  # type: ignore[arg-type]
                at_s=when_s,
                decided_at_s=self.now_s,
                by="operator",
                **others,  # type: ignore[arg-type]
            )
        )


def events_for(order: FileOrder, log: Sequence[IdentityEvent]) -> list[IdentityEvent]:
    """The events that carry an order out at the end of a log; none where it is done already.

    Raises:
        ConfigError: somebody who is not in the log, or tracks that are not that identity's.
    """
    book = IdentityBook(log)
    now_s = max((event.decided_at_s for event in log), default=0.0)
    more = _Log(now_s, max((event.sequence for event in log), default=0))
    identity_id = _living(order.identity_id, book, log)
    if isinstance(order, Rename):
        if book.name_of(identity_id) != order.name:
            more.add("renamed", identity_id, name=order.name)
    elif isinstance(order, Merge):
        into = _living(order.into_id, book, log)
        if identity_id != into:
            at_s = min((book.first_s(key) or 0.0 for key in book.tracks_of(identity_id)), default=now_s)
            name = book.name_of(into) or book.name_of(identity_id)
            more.add("merged", identity_id, at_s, other_identity_id=into, name=name)
    else:
        _split(order, identity_id, book, log, more)
    return more.events


def _split(order: Split, identity_id: int, book: IdentityBook, log: Sequence[IdentityEvent], more: _Log) -> None:
    to_id = _living(order.to_id, book, log) if order.to_id is not None else None
    mine = [key for key in sorted(set(order.keys)) if book.final(key) == identity_id]
    others = [key for key in sorted(set(order.keys)) if book.final(key) != identity_id]
    if to_id == identity_id:
        raise ConfigError(f"split: identities {order.identity_id} and {order.to_id} are one since they were merged")
    if to_id is None and not mine and _are_split_off(others, identity_id, book):
        return
    wrong = [key for key in others if to_id is None or book.final(key) != to_id]
    if wrong:
        raise ConfigError(f"split: not tracks of identity {order.identity_id}: {shown_tracks(wrong)}")
    if to_id is None and not book.tracks_of(identity_id) - set(mine):
        raise ConfigError(f"split: these are all tracks of identity {order.identity_id}; nothing would be left of it")
    kind: EventKind = "split" if to_id is None else "reassigned"
    new_id = to_id if to_id is not None else 1 + max(_ids_in(log))
    for key in mine:
        about = {"key": key, "other_identity_id": identity_id, "name": book.name_of(new_id)}
        more.add(kind, new_id, book.first_s(key), **about)


def _are_split_off(keys: Sequence[TrackKey], identity_id: int, book: IdentityBook) -> bool:
    """Whether these tracks were this identity's and are now one other person's: the order was carried out before."""
    owners = {book.final(key) for key in keys}
    return len(owners) == 1 and 0 not in owners and all(book.was(key, identity_id) for key in keys)


def _living(identity_id: int, book: IdentityBook, log: Sequence[IdentityEvent]) -> int:
    """The id that lives on.

    Raises:
        ConfigError: nobody has it.
    """
    living = book.living(identity_id)
    if living not in book.identities():
        if any(e.kind == "forgotten" and e.identity_id == identity_id for e in log):
            raise ConfigError(f"identity {identity_id} was forgotten")
        raise ConfigError(f"identity {identity_id} is not known here: never seen, expired, or forgotten")
    return living


def _ids_in(log: Iterable[IdentityEvent]) -> set[int]:
    """Every id that the log mentions: none of them may be given to anybody else."""
    ids = {0}
    for event in log:
        ids |= {event.identity_id, event.other_identity_id or 0}
        if event.evidence is not None:
            ids |= {i for i, _ in event.evidence.excluded} | (
                {event.evidence.runner_up[0]} if event.evidence.runner_up else set()
            )
    return ids


def as_recorded(order: FileOrder, told: Sequence[IdentityEvent]) -> list[IdentityEvent]:
    """Those of a site's events that an order led to, now or when it was given before."""
    ids = IdentityBook(told).ids_of(order.identity_id)
    by_hand = [event for event in told if event.by == "operator"]
    if isinstance(order, Split):
        moved = {e.key: e for e in by_hand if e.kind in ("split", "reassigned") and e.key in order.keys}
        return [
            e for e in moved.values() if order.to_id is None or IdentityBook(told).living(order.to_id) == e.identity_id
        ]
    kind = "renamed" if isinstance(order, Rename) else "merged"
    found = [event for event in by_hand if event.kind == kind and event.identity_id in ids]
    return [e for e in found[-1:] if e.name == order.name] if isinstance(order, Rename) else found
