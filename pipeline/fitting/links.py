"""Stays without ground truth: from the matcher's own links, the clear ones only."""

from collections import defaultdict
from collections.abc import Iterable

from pipeline.config import Config
from pipeline.fitting.footage import Footage
from pipeline.fitting.paths import Stay
from pipeline.identity.matcher import Matcher
from pipeline.resolution import LINKS, IdentityBook
from pipeline.types import IdentityEvent, TrackKey

_NEW = ("entered", "split")  # somebody nobody knew: there is nobody to be mistaken about


def stays_of_links(footage: Footage, config: Config, threshold: float) -> list[Stay]:
    """Where the matcher finally saw each identity, of tracks whose last decision was clear: its cost below the
    threshold by `matcher.margin`, and below the runner-up's by as much."""
    matcher = Matcher(config.matcher, threshold, footage.cameras, topology=config.topology)
    for number, message in enumerate(footage.messages):
        matcher.receive(str(number), message)
    links = clear_links(matcher.advance().events, threshold, config.matcher.margin)
    spans: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for track in footage.tracklets:
        if track.key in links:
            span = (float(track.captured_at_s[0]), float(track.captured_at_s[-1]))
            spans[track.camera_id, links[track.key]].append(span)
    return [
        Stay(camera_id, identity_id, start_s, end_s)
        for (camera_id, identity_id), own in sorted(spans.items())
        for start_s, end_s in _merged(sorted(own), config.matcher.absence_s)
    ]


def clear_links(events: Iterable[IdentityEvent], threshold: float, margin: float) -> dict[TrackKey, int]:
    """Track → identity as finally known, of tracks about which the last word was clear.

    A merge that is not clear leaves the tracks that it brings along in doubt, until something is said of them again.
    """
    book, clear = IdentityBook(), set[TrackKey]()
    for event in events:
        about = book.tracks_of(event.identity_id) if event.kind == "merged" else frozenset[TrackKey]()
        if event.kind in LINKS and event.key is not None:
            about = frozenset((event.key,))
        if not _is_clear(event, threshold, margin):
            clear -= about
        elif event.kind != "merged":
            clear |= about
        book.take(event)
    return {key: identity_id for key, identity_id in book.tracks().items() if key in clear}


def _is_clear(event: IdentityEvent, threshold: float, margin: float) -> bool:
    evidence = event.evidence
    if event.kind in _NEW:
        return True
    if evidence is None or evidence.cost is None:
        return False
    second = evidence.runner_up[1] if evidence.runner_up else float("inf")
    return evidence.cost <= threshold - margin and second - evidence.cost >= margin


def _merged(spans: list[tuple[float, float]], absence_s: float) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if merged and start_s - merged[-1][1] < absence_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((start_s, end_s))
    return merged
