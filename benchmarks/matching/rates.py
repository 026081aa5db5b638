"""How often the matcher's decisions are wrong: links as they were decided, and strangers before a known gallery.

Everything goes through the real matcher, as messages.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np

from matching.judging import SiteJudge, book_of
from matching.ours import matcher_of, say
from matching.quick import Links
from matching.tracks import SiteTracks
from pipeline.types import CameraState, ClipFeature, ClipMessage, IdentityEvent, Tick, TrackKey, Tracklet

REMOVED_SHARE = 1 / 3  # of the people, who are strangers to the gallery
DRAWS = 5  # choices of the strangers
PAUSE_S = 15.0  # between the gallery's people and the strangers: everybody has left by then (matcher.occlusion_s is 10)
_LINKS = ("handed_over", "reentered", "continued")
_OTHERS = ("entered", "split", "reassigned")  # that say whose a track is without being a link
_SECOND = "2"  # epoch of the strangers' tracks; a replay's first is "1"


def decided_links(events: Iterable[IdentityEvent], people: Mapping[TrackKey, int | None]) -> Links:
    """Links as they were decided, corrections left aside: each to the track that its identity was given last.

    Args:
        people: whom each track lies on; tracks that are not listed are nobody's business.

    Returns:
        `missed`: true links (a track of somebody who had one before) that were not found by a correct decision.
    """
    last: dict[int, tuple[int, TrackKey]] = {}  # living identity -> place of the decision, track
    into: dict[int, int] = {}
    correct = false = 0
    for place, event in enumerate(events):
        if event.kind == "merged" and event.other_identity_id is not None:
            _merge(last, into, event.identity_id, event.other_identity_id)
        if event.key is None or event.key not in people or event.kind not in (*_LINKS, *_OTHERS):
            continue
        identity_id = _living(into, event.identity_id)
        if event.kind in _LINKS and identity_id in last:
            earlier, now = people[last[identity_id][1]], people[event.key]
            correct += earlier == now and now is not None
            false += earlier != now
        last[identity_id] = place, event.key
    return Links(correct, false, max(0, true_links(people) - correct))


def _living(into: Mapping[int, int], identity_id: int) -> int:
    while identity_id in into:
        identity_id = into[identity_id]
    return identity_id


def _merge(last: dict[int, tuple[int, TrackKey]], into: dict[int, int], identity_id: int, other_id: int) -> None:
    old, new = _living(into, identity_id), _living(into, other_id)
    if old == new:
        return
    into[old] = new
    both = [last[i] for i in (old, new) if i in last]
    if both:
        last[new] = max(both)


def true_links(people: Mapping[TrackKey, int | None]) -> int:
    """How many tracks are of somebody who had one before."""
    shown = [person for person in people.values() if person is not None]
    return len(shown) - len(set(shown))


@dataclass(frozen=True)
class Strangers:
    """Tracks of people who are not in the gallery, over all draws.

    Attributes:
        tracks: how many there were.
        taken: as how many the matcher took somebody of the gallery, at first. taken_finally: after corrections.
    """

    tracks: int = 0
    taken: int = 0
    taken_finally: int = 0

    def __add__(self, other: "Strangers") -> "Strangers":
        return Strangers(self.tracks + other.tracks, self.taken + other.taken, self.taken_finally + other.taken_finally)

    @property
    def taken_share(self) -> float:
        return self.taken / max(1, self.tracks)

    @property
    def taken_finally_share(self) -> float:
        return self.taken_finally / max(1, self.tracks)


def meet_strangers(tracks: SiteTracks, judge: SiteJudge, threshold: float | None, draws: int = DRAWS) -> Strangers:
    """Show the matcher all tracks of two thirds of the people, and after a pause those of the others.

    The others come in their own order and at their own distances in time, into a site where nobody else is. A track
    that changed over from somebody to a stranger is left out: who was seen is no stranger.
    """
    people = {
        key: person for key, person in judge.people_of_tracks.items() if person is not None and key in tracks.clips
    }
    return sum(
        (
            _meet(tracks, people, judge.people_shown, strangers, threshold)
            for strangers in choices(set(people.values()), draws)
        ),
        Strangers(),
    )


def choices(people: Set[int], draws: int) -> Iterator[frozenset[int]]:
    """A third of the people, as often as wanted: every choice where there are not more, else random ones."""
    names = sorted(people)
    count = max(1, round(REMOVED_SHARE * len(names)))
    if len(names) < 2:
        return
    if comb(len(names), count) <= draws:
        yield from (frozenset(chosen) for chosen in combinations(names, count))
        return
    for seed in range(draws):
        drawn = np.random.default_rng(seed).choice(names, size=count, replace=False)
        yield frozenset(drawn.tolist())


def _meet(
    tracks: SiteTracks,
    people: Mapping[TrackKey, int],
    shown: Mapping[TrackKey, frozenset[int]],
    strangers: frozenset[int],
    threshold: float | None,
) -> Strangers:
    gallery = {key for key, person in people.items() if person not in strangers and not shown[key] & strangers}
    probes = {key for key, person in people.items() if person in strangers}
    matcher = matcher_of(tracks.site.config, tracks.model_id, threshold)
    first = list(only(tracks.messages, gallery, ends=False))
    begin_s, end_s = span_of(tracks.messages)
    second = list(only(tracks.messages, probes, ends=True, epoch=_SECOND, later_s=end_s - begin_s + PAUSE_S))
    before = say(matcher, first)
    after = say(matcher, second, first=len(first) + 1)
    book = book_of([*before, *after])
    known = {event.identity_id for event in before if event.identity_id > 0}
    living = {book.final(key) for key in gallery} - {0}
    keys = {key._replace(epoch=_SECOND) for key in probes}
    at_first = {e.key: e.identity_id for e in reversed(after) if e.key in keys and e.kind in (*_LINKS, *_OTHERS)}
    taken = sum(identity_id in known for identity_id in at_first.values())
    return Strangers(len(keys), taken, sum(book.final(key) in living for key in keys))


def span_of(messages: Sequence[ClipMessage]) -> tuple[float, float]:
    """First and last time that the messages speak of."""
    times = [message.at_s for message in messages]
    return min(times, default=0.0), max(times, default=0.0)


def only(
    messages: Iterable[ClipMessage], keys: Set[TrackKey], *, ends: bool, epoch: str | None = None, later_s: float = 0.0
) -> Iterator[ClipMessage]:
    """The messages of some tracks alone, numbered anew; ticks see nobody else.

    Args:
        ends: whether the cameras end.
        epoch: instead of the messages' own. later_s: added to every time.
    """
    numbers: dict[tuple[str, str], int] = {}
    for message in messages:
        if isinstance(message, ClipFeature | Tracklet) and message.key not in keys:
            continue
        if isinstance(message, CameraState) and not ends:
            continue
        own = epoch or message.epoch
        number = numbers[message.camera_id, own] = numbers.get((message.camera_id, own), 0) + 1
        yield _moved(message, keys, own, number, later_s)


def _moved(message: ClipMessage, keys: Set[TrackKey], epoch: str, sequence: int, later_s: float) -> ClipMessage:
    if isinstance(message, ClipFeature):
        return replace(
            message,
            key=message.key._replace(epoch=epoch),
            sequence=sequence,
            first_visible_s=message.first_visible_s + later_s,
            start_s=message.start_s + later_s,
            end_s=message.end_s + later_s,
            made_at_s=message.made_at_s + later_s,
            seen_s=message.seen_s + later_s,
        )
    if isinstance(message, Tracklet):
        return replace(
            message,
            key=message.key._replace(epoch=epoch),
            sequence=sequence,
            ended_at_s=message.ended_at_s + later_s,
            captured_at_s=message.captured_at_s + later_s,
        )
    if isinstance(message, Tick):
        visible = message.visible
        if visible is not None:
            visible = tuple(n for n in visible if TrackKey(message.camera_id, message.epoch, n) in keys)
        until_s = message.processed_until_s + later_s
        return replace(message, epoch=epoch, sequence=sequence, processed_until_s=until_s, visible=visible)
    return replace(message, epoch=epoch, sequence=sequence, at_s=message.at_s + later_s)
