"""Stays without ground truth: from the matcher's own links, the clear ones only."""

from collections import defaultdict

from pipeline.config import Config
from pipeline.fitting.footage import Footage
from pipeline.fitting.paths import Stay
from pipeline.identity.matcher import Matcher
from pipeline.types import IdentityEvent, TrackKey

_LINKS = ("entered", "handed_over", "reentered", "continued")


def stays_of_links(footage: Footage, config: Config, threshold: float) -> list[Stay]:
    """Where the matcher saw each identity, of links that are clear: nearer than the threshold by `matcher.margin`, and
    than the runner-up by as much."""
    matcher = Matcher(config.matcher, threshold, footage.cameras, topology=config.topology)
    for number, message in enumerate(footage.messages):
        matcher.receive(str(number), message)
    links: dict[TrackKey, int] = {}
    for event in matcher.advance().events:
        if event.kind in _LINKS and event.key is not None and _is_clear(event, threshold, config.matcher.margin):
            links[event.key] = event.identity_id
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


def _is_clear(event: IdentityEvent, threshold: float, margin: float) -> bool:
    evidence = event.evidence
    if event.kind == "entered" or evidence is None or evidence.distance is None:
        return event.kind == "entered"
    second = evidence.runner_up[1] if evidence.runner_up else float("inf")
    return evidence.distance <= threshold - margin and second - evidence.distance >= margin


def _merged(spans: list[tuple[float, float]], absence_s: float) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if merged and start_s - merged[-1][1] < absence_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((start_s, end_s))
    return merged
