"""What a site's events say of its tracks: whose they are, from when to when, and how that was decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.resolution import LINKS, IdentityBook
from pipeline.runtime.feature_files import FeatureRows
from pipeline.types import IdentityEvent, TrackKey

_CORRECTIONS = frozenset({"merged", "split", "reassigned"})
_SAME_VISIT_S = 2.0  # a tracker holds a lost track about so long: a shorter gap is no going away


@dataclass(frozen=True, slots=True)
class Span:
    """When a track was seen, message time."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One identity in one camera without a break.

    Attributes:
        how: the event that began it; None where no event tells.
    """

    camera_id: str
    span: Span
    how: IdentityEvent | None
    tracks: tuple[TrackKey, ...]


@dataclass(slots=True)
class History:
    """A site's events, read once; `spans` are those of the tracks that left features."""

    events: Sequence[IdentityEvent]
    book: IdentityBook
    spans: Mapping[TrackKey, Span] = field(default_factory=dict)
    _about: dict[TrackKey, list[IdentityEvent]] = field(default_factory=dict)
    _ends_s: dict[TrackKey, float] = field(default_factory=dict)  # as later events of the same person tell

    @staticmethod
    def of(events: Iterable[IdentityEvent], features: FeatureRows | None = None) -> "History":
        """Events in any order of arrival; their `sequence` counts."""
        ordered = sorted(events, key=lambda event: event.sequence)
        history = History(ordered, IdentityBook(ordered), spans_of(features) if features is not None else {})
        for event in ordered:
            if event.key is not None:
                history._about.setdefault(event.key, []).append(event)
            if event.previous_key is not None and event.absent_s is not None:
                history._ends_s[event.previous_key] = event.at_s - event.absent_s
        return history

    def about(self, key: TrackKey) -> list[IdentityEvent]:
        """The events of one track, in order."""
        return self._about.get(key, [])

    def links(self, key: TrackKey) -> list[IdentityEvent]:
        """The events that said whose a track is, in order; the last one counts."""
        return [event for event in self.about(key) if event.kind in LINKS]

    def is_known(self, identity_id: int) -> bool:
        """Whether anything was ever said of this id."""
        return any(identity_id in (event.identity_id, event.other_identity_id) for event in self.events)

    def is_forgotten(self, identity_id: int) -> bool:
        ids = self.book.ids_of(identity_id)
        return any(event.kind == "forgotten" and event.identity_id in ids for event in self.events)

    def corrections(self, identity_id: int) -> list[IdentityEvent]:
        """What was corrected about an identity, also tracks that were taken from it, in order."""
        ids = self.book.ids_of(identity_id)
        return [e for e in self.events if e.kind in _CORRECTIONS and ids & {e.identity_id, e.other_identity_id}]

    def span(self, key: TrackKey) -> Span:
        """From features and events; a track of which nobody said when it ended ends with its last clip."""
        known = self.spans.get(key)
        starts = [known.start_s] if known else []
        ends = [known.end_s] if known else []
        ends += [self._ends_s[key]] if key in self._ends_s else []
        for event in self.about(key):
            (ends if event.kind == "left" else starts).append(event.at_s)
        start_s = min(starts, default=0.0)
        return Span(start_s, max([start_s, *ends]))

    def tracks_of(self, identity_id: int) -> list[TrackKey]:
        """The tracks that are finally this identity, in order of time."""
        keys = self.book.tracks_of(identity_id)
        return sorted(keys, key=lambda key: (self.span(key).start_s, key))

    def visits_of(self, identity_id: int) -> list[Visit]:
        """In order of their start; tracks that follow each other without going away are one visit."""
        visits: dict[str, list[Visit]] = {}
        for key in self.tracks_of(identity_id):
            here, span = visits.setdefault(key.camera_id, []), self.span(key)
            links = self.links(key)
            how = links[-1] if links else None
            before = here[-1] if here else None
            goes_on = before is not None and (
                (how is not None and how.kind == "continued") or span.start_s <= before.span.end_s + _SAME_VISIT_S
            )
            if before is not None and goes_on:
                joined = Span(before.span.start_s, max(before.span.end_s, span.end_s))
                here[-1] = Visit(key.camera_id, joined, before.how, (*before.tracks, key))
            else:
                here.append(Visit(key.camera_id, span, how, (key,)))
        return sorted((v for own in visits.values() for v in own), key=lambda v: (v.span.start_s, v.camera_id))

    def together(self, a: int, b: int) -> str | None:
        """The camera that saw two identities at the same time, in different tracks: they are two people."""
        for key in self.tracks_of(a):
            span = self.span(key)
            for other in self.tracks_of(b):
                theirs = self.span(other)
                common_s = min(span.end_s, theirs.end_s) - max(span.start_s, theirs.start_s)
                if other.camera_id == key.camera_id and other.epoch == key.epoch and common_s > 0:
                    return key.camera_id
        return None


def spans_of(features: FeatureRows) -> dict[TrackKey, Span]:
    """First sight to end of the last clip of every track that has features."""
    rows = features.rows[features.rows["alive"] == 1]
    if not len(rows):
        return {}
    order = np.lexsort((rows["track_id"], rows["stream"]))
    rows = rows[order]
    first = np.ones(len(rows), bool)
    first[1:] = (rows["stream"][1:] != rows["stream"][:-1]) | (rows["track_id"][1:] != rows["track_id"][:-1])
    starts = np.flatnonzero(first)
    begun_s = np.minimum.reduceat(rows["first_visible_s"], starts)
    ended_s = np.maximum.reduceat(rows["end_s"], starts)
    keys = (features.key(rows[i]) for i in starts)
    return {key: Span(float(a), float(b)) for key, a, b in zip(keys, begun_s, ended_s, strict=True)}
