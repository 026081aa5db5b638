"""The matcher over recorded messages: the real one, through its messages."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from matching.tracks import SiteTracks
from pipeline.build import build_matcher, matcher_threshold
from pipeline.bus.lines import event_from_json
from pipeline.config import Config
from pipeline.identity.matcher import Matcher
from pipeline.replay.from_features import open_features, replay_features
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import ClipMessage, IdentityEvent


def matcher_of(config: Config, model_id: str, threshold: float | None) -> Matcher:
    """The site's matcher; None: with the stored threshold."""
    if threshold is not None:
        config = replace(config, matcher=replace(config.matcher, threshold=threshold))
    return build_matcher(config, matcher_threshold(config, model_id))


def stored_threshold(tracks: SiteTracks) -> float:
    """What the site's configuration says: with `auto` the figure stored for the features' model."""
    return matcher_threshold(tracks.site.config, tracks.model_id)


def say(matcher: Matcher, messages: Iterable[ClipMessage], first: int = 1) -> list[IdentityEvent]:
    """Hand messages to a matcher one by one, as a replay does; what it said."""
    events: list[IdentityEvent] = []
    for number, message in enumerate(messages, start=first):
        matcher.receive(str(number), message)
        events += matcher.advance().events
    return events


def match_quickly(tracks: SiteTracks, threshold: float | None) -> list[IdentityEvent]:
    """What the matcher says of a site, without a file being written; the same as `match` says."""
    return say(matcher_of(tracks.site.config, tracks.model_id, threshold), tracks.messages)


def match(tracks: SiteTracks, threshold: float | None) -> list[IdentityEvent]:
    """What a replay from features writes into its identity log."""
    config = tracks.site.config
    with tempfile.TemporaryDirectory() as name:
        recorder = RunRecorder(Path(name), [c.id for c in config.cameras], crops=None, references=None)
        matcher = matcher_of(config, tracks.model_id, threshold)
        replay_features(open_features(tracks.site.recording, config), matcher, recorder)
        lines = (Path(name) / "identities.jsonl").read_text(encoding="utf-8").splitlines()
    return [event_from_json(line) for line in lines]
