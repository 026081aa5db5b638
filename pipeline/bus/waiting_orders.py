"""Orders by hand that lie in the stream and that no matcher has handled yet."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.bus.codec import KINDS, decode
from pipeline.bus.connection import bus_errors
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, MATCHER_GROUP, stream_key
from pipeline.errors import DecodeError
from pipeline.types import Order

_PAGE = 500  # entries of about 8 KB
_MOST_PENDING = 100_000  # entries that a matcher had in hand when it died
_ORDERS = {name.encode() for name, kind in KINDS.items() if issubclass(kind, Order)}


def waiting_orders(bus: RedisBus) -> list[Order]:
    """Orders that the matcher was not given, or did not settle, in order of arrival.

    Raises:
        BusUnavailable, BusRefused.
    """
    with bus_errors(bus.address):
        key = stream_key(bus.site, CLIPS)
        if not bus.client.exists(key):
            return []
        groups = {group["name"]: group for group in bus.client.xinfo_groups(key)}
        given = groups.get(MATCHER_GROUP.encode())
        last = _place(given["last-delivered-id"]) if given else (0, 0)
        in_hand = bus.client.xpending_range(key, MATCHER_GROUP, "-", "+", _MOST_PENDING) if given else []
        pending = {_place(entry["message_id"]) for entry in in_hand}
        start = min(pending, default=last)
        return [
            order
            for entry_id, fields in _entries(bus.client, key, start)
            if (_place(entry_id) > last or _place(entry_id) in pending) and (order := _order(fields)) is not None
        ]


def _entries(client: Any, key: str, start: tuple[int, int]) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    first = f"{start[0]}-{start[1]}"
    while page := client.xrange(key, min=first, max="+", count=_PAGE):
        yield from page
        first = "(" + page[-1][0].decode()


def _order(fields: Mapping[bytes, bytes]) -> Order | None:
    """The order in an entry; None for other messages, and for one that cannot be read."""
    if fields.get(b"k") not in _ORDERS:
        return None
    try:
        message = decode(fields)
    except DecodeError:
        return None
    return message if isinstance(message, Order) else None


def _place(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
