"""Erase one person from the streams: features, tracks, events, references, overlay boxes, and what nobody can read."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pipeline.bus.codec import decode
from pipeline.bus.connection import address_of, bus_errors
from pipeline.bus.streams import CLIPS, DEAD_LETTERS, IDENTITIES, REFERENCES, stream_key
from pipeline.bus.streams import tracks as tracks_stream
from pipeline.errors import DecodeError
from pipeline.ports import BusMessage
from pipeline.types import (
    ClipFeature,
    IdentityEvent,
    Merge,
    ReferenceFrame,
    Rename,
    Split,
    TrackedFrame,
    TrackKey,
    Tracklet,
)

_log = logging.getLogger(__name__)

_PAGE = 50  # entries per XRANGE: a page of 8 KB messages is 0.4 MB, one of long tracklets 25 MB

_Entry = tuple[bytes, Mapping[bytes, bytes]]


def erase_identity(client: Any, site: str, identity_id: int, track_keys: Collection[TrackKey]) -> dict[str, int]:
    """Remove one person's messages from all streams of a site, consumed or not.

    Removed are clips and tracklets of the tracks, events of the identity or its tracks (except `forgotten`, which says
    nothing but the number), orders about it (except `forget`), references that show it, overlay frames with its boxes,
    and all dead letters and unreadable entries, since nobody can tell whom they are about. Call it again after
    consumers have caught up: what arrives later is not removed. An append-only file is rewritten in the background.

    Returns:
        Stream name -> number of entries removed; streams without any are left out.

    Raises:
        BusUnavailable, BusRefused.
    """
    keys = frozenset(track_keys)
    cameras = sorted({key.camera_id for key in keys})
    streams = [CLIPS, IDENTITIES, REFERENCES, *map(tracks_stream, cameras)]
    counts: dict[str, int] = {}
    with bus_errors(address_of(client)):
        for stream in streams:
            counts[stream] = _erase(client, stream_key(site, stream), lambda m: _is_about(m, identity_id, keys))
        counts[DEAD_LETTERS] = _erase(client, stream_key(site, DEAD_LETTERS), lambda _: True)
        if client.info("persistence").get("aof_enabled"):
            client.bgrewriteaof()
    _log.info("erased identity %d of site %s: %d messages", identity_id, site, sum(counts.values()))
    return {stream: count for stream, count in counts.items() if count}


def _erase(client: Any, key: str, is_doomed: Callable[[BusMessage], bool]) -> int:
    groups = [group["name"] for group in client.xinfo_groups(key)] if client.exists(key) else []
    erased = 0
    for page in _pages(client, key):
        doomed = [entry_id for entry_id, fields in page if _doomed(fields, is_doomed)]
        if not doomed:
            continue
        with client.pipeline(transaction=True) as pipe:
            pipe.xdel(key, *doomed)
            for group in groups:  # else they would be counted as lost
                pipe.xack(key, group, *doomed)
            erased += pipe.execute()[0]
    return erased


def _doomed(fields: Mapping[bytes, bytes], is_doomed: Callable[[BusMessage], bool]) -> bool:
    try:
        return is_doomed(decode(fields))
    except DecodeError:
        return True


def _pages(client: Any, key: str) -> Iterator[list[_Entry]]:
    start = "-"
    while page := client.xrange(key, min=start, max="+", count=_PAGE):
        yield page
        start = b"(" + page[-1][0]


def _is_about(message: BusMessage, identity_id: int, keys: frozenset[TrackKey]) -> bool:
    if isinstance(message, ClipFeature | Tracklet):
        return message.key in keys
    if isinstance(message, IdentityEvent):
        return _tells_of(message, identity_id, keys)
    if isinstance(message, Rename | Merge | Split):
        others = {message.into_id} if isinstance(message, Merge) else set()
        moved = isinstance(message, Split) and not keys.isdisjoint(message.keys)
        return moved or identity_id in {message.identity_id, *others}
    if isinstance(message, ReferenceFrame):
        return identity_id in {message.identity_id, *(s.identity_id for s in message.subjects)}
    if isinstance(message, TrackedFrame):
        ours = {k.track_id for k in keys if (k.camera_id, k.epoch) == (message.camera_id, message.epoch)}
        return bool(ours.intersection(message.tracks.ids.tolist()))
    return False


def _tells_of(event: IdentityEvent, identity_id: int, keys: frozenset[TrackKey]) -> bool:
    """Whether an event is about the person; that another's track was once taken for theirs says nothing of them."""
    if event.kind == "forgotten":
        return False
    ids = {event.identity_id} if event.kind in ("split", "reassigned") else {event.identity_id, event.other_identity_id}
    return identity_id in ids or bool({event.key, event.previous_key} & keys)
