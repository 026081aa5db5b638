"""What the web page knows of identities: the newest events, and who is where according to them."""

import threading
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.types import IdentityEvent
from pipeline.view.colours import hex_colour, identity_colour, text_colour
from pipeline.view.wording import clock_text, event_text, identity_label

MAX_EVENTS = 500  # kept for a page that opens; a page shows the newest hundred
MAX_IDENTITIES = 200  # the ones seen last
_ARRIVALS = ("entered", "handed_over", "reentered", "continued")


@dataclass(frozen=True, slots=True)
class _Known:
    identity_id: int
    name: str | None = None
    camera_id: str = ""
    present: bool = False
    first_seen_s: float = 0.0
    last_seen_s: float = 0.0
    returns: int = 0


class Roster:
    """Takes identity events (a `Sink`) and gives JSON values for the page. Thread-safe.

    `forgotten` erases every event and name of the identity from here as well.
    """

    def __init__(self, max_events: int = MAX_EVENTS, max_identities: int = MAX_IDENTITIES) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[int, IdentityEvent]] = deque(maxlen=max_events)
        self._number = 0
        self._erasures = 0
        self._known: dict[int, _Known] = {}
        self._max_identities = max_identities

    def write(self, event: IdentityEvent) -> None:
        """Take one event."""
        with self._lock:
            if event.kind == "forgotten":
                self._erase(event.identity_id)
            self._number += 1
            self._events.append((self._number, event))
            self._apply(event)

    def events(self, after: int = 0) -> dict[str, Any]:
        """Events numbered above `after`, oldest first.

        When `erasures` changes, a page must drop what it holds and ask anew.
        """
        with self._lock:
            new = [(number, event) for number, event in self._events if number > after]
            names = {i: known.name for i, known in self._known.items()}
            number, erasures = self._number, self._erasures
        return {
            "newest": number,
            "erasures": erasures,
            "events": [_event_json(n, e, names.get(e.identity_id)) for n, e in new],
        }

    def identities(self) -> list[dict[str, Any]]:
        """Who is known, the present ones first, then by when they were seen last."""
        with self._lock:
            known = sorted(self._known.values(), key=lambda k: (not k.present, -k.last_seen_s, k.identity_id))
        return [_identity_json(one) for one in known]

    def names(self) -> dict[int, str]:
        """Identity id → name, for those that have one."""
        with self._lock:
            return {i: known.name for i, known in self._known.items() if known.name}

    def _erase(self, identity_id: int) -> None:
        self._known.pop(identity_id, None)
        kept = [(n, e) for n, e in self._events if identity_id not in (e.identity_id, e.other_identity_id)]
        self._events.clear()
        self._events.extend(kept)
        self._erasures += 1

    def _apply(self, event: IdentityEvent) -> None:
        identity_id = event.identity_id
        known = self._known.get(identity_id)
        if event.kind == "merged":
            self._merge(known, event.other_identity_id)
        elif event.kind == "renamed":
            self._known[identity_id] = replace(known or _Known(identity_id), name=event.name)
        elif event.kind in _ARRIVALS or event.kind in ("split", "reassigned"):
            known = known or _Known(identity_id, first_seen_s=event.at_s)
            self._known[identity_id] = replace(
                known,
                name=event.name or known.name,
                camera_id=event.key.camera_id if event.key else known.camera_id,
                present=True,
                last_seen_s=max(known.last_seen_s, event.at_s),
                returns=known.returns + (event.kind == "reentered"),
            )
        elif event.kind == "left" and known is not None:
            elsewhere = event.key is not None and event.key.camera_id != known.camera_id
            present = known.present and elsewhere
            self._known[identity_id] = replace(known, present=present, last_seen_s=max(known.last_seen_s, event.at_s))
        while len(self._known) > self._max_identities:
            oldest = min(self._known.values(), key=lambda k: (k.present, k.last_seen_s))
            del self._known[oldest.identity_id]

    def _merge(self, gone: _Known | None, into_id: int | None) -> None:
        if gone is None or into_id is None:
            return
        del self._known[gone.identity_id]
        into = self._known.get(into_id, _Known(into_id, first_seen_s=gone.first_seen_s))
        later = gone if gone.last_seen_s > into.last_seen_s else into
        self._known[into_id] = replace(
            into,
            name=into.name or gone.name,
            camera_id=later.camera_id,
            present=into.present or gone.present,
            first_seen_s=min(into.first_seen_s, gone.first_seen_s),
            last_seen_s=later.last_seen_s,
            returns=into.returns + gone.returns,
        )


def _colours(identity_id: int) -> dict[str, str]:
    colour = identity_colour(identity_id)
    return {"colour": hex_colour(colour), "text_colour": hex_colour(text_colour(colour))}


def _identity_json(known: _Known) -> dict[str, Any]:
    label = identity_label(known.identity_id, known.name)
    return {
        **asdict(known),
        **_colours(known.identity_id),
        "label": label,
        "last_seen": clock_text(known.last_seen_s, 0),
    }


def _event_json(number: int, event: IdentityEvent, name: str | None) -> dict[str, Any]:
    camera_id = event.key.camera_id if event.key else ""
    return {
        "number": number,
        "sequence": event.sequence,
        "kind": event.kind,
        "identity_id": event.identity_id,
        "camera_id": camera_id,
        "at_s": event.at_s,
        "time": clock_text(event.at_s),
        "label": identity_label(event.identity_id, event.name or name),
        "text": event_text(event.kind, camera_id, event.absent_s, event.via, event.other_identity_id, event.name),
        **_colours(event.identity_id),
    }
