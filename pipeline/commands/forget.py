"""`run_pipeline.py forget`: erases one person from the matcher's memory, from Redis, and from an output folder."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.background.erase import erase_identity_files
from pipeline.background.erase_rows import one_person
from pipeline.background.files import append_line
from pipeline.background.retention import read_lines, read_object
from pipeline.bus.erase import erase_identity
from pipeline.bus.lines import event_to_json
from pipeline.commands.site_writer import Patience, SiteWriter
from pipeline.config import Config
from pipeline.errors import ConfigError, OutputError
from pipeline.replay.erase_bus_recording import erase_bus_recordings
from pipeline.replay.erase_recorded import erase_exported, erase_recorded
from pipeline.reporting.report import write_report
from pipeline.runtime.feature_store import erase_tracks
from pipeline.types import Forget, IdentityEvent, TrackKey

Echo = Callable[[str], None]


def forget(
    identity_id: int,
    *,
    config: Config | None,
    out_dir: Path | None,
    echo: Echo,
    patience: Patience | None = None,
) -> int:
    """Erase one identity wherever this command can reach it; running it again changes nothing more.

    With a configuration that names a Redis (`bus.url`): the running matcher is told and waited for, or, where none
    runs, its state is changed in its place; then the person's messages go from the streams. With an output folder: the
    person's rows, events, features, pictures and videos go, and the report is written anew.

    Raises:
        ConfigError: nothing to erase from. BusUnavailable: no Redis, or a matcher that does not answer.
        OutputError: the folder is missing or cannot be written.
    """
    if identity_id < 1:
        raise ConfigError(f"forget: identities are numbered from 1, got {identity_id}")
    url = config.bus.url if config is not None else None
    if url is None and out_dir is None:
        raise ConfigError("forget: give --out DIR, or a --config whose bus.url names the Redis of the site")
    if out_dir is not None and not out_dir.is_dir():
        raise OutputError(f"forget: there is no folder {out_dir}")
    found = False
    keys: frozenset[TrackKey] = frozenset()
    if config is not None and url is not None:
        found, keys = _forget_on_bus(identity_id, SiteWriter(config, url, "forget", patience), echo)
    if out_dir is not None:
        found |= _forget_files(identity_id, out_dir, keys, echo)
    if not found:
        echo(f"identity {identity_id} is not known here: never seen, expired, or forgotten before")
    return 0


def _forget_on_bus(identity_id: int, site: SiteWriter, echo: Echo) -> tuple[bool, frozenset[TrackKey]]:
    """Whether there was anything to erase, and the person's tracks."""
    view = site.look()
    ids = sorted(view.book.ids_of(identity_id))
    keys = view.tracks_of(ids)
    by_whom = site.give([Forget(known_id, 0) for known_id in ids])
    counts: Counter[str] = Counter()
    for known_id in ids:
        counts.update(erase_identity(site.bus.client, site.bus.site, known_id, keys))
    found = bool(counts) or bool(view.identities.intersection(ids))
    if found:
        removed = ", ".join(f"{count} of {stream}" for stream, count in sorted(counts.items())) or "none"
        echo(f"identity {identity_id}: gone from the matcher's memory ({by_whom}); messages removed: {removed}")
    return found, keys


# -- files ------------------------------------------------------------------------------------------------------------


def _forget_files(identity_id: int, out_dir: Path, known: frozenset[TrackKey], echo: Echo) -> bool:
    """Whether there was anything to erase; `known`: the person's tracks, as far as Redis told them."""
    log_file = out_dir / "identities.jsonl"
    before = _log_events(log_file)
    had_report = (out_dir / "report.html").exists()
    person, keys = one_person(out_dir, identity_id)
    keys |= known
    recorded = erase_recorded(out_dir, keys)  # first: it needs the identity log
    features = erase_tracks(out_dir, keys)
    bus_recordings, kept = erase_bus_recordings(out_dir, keys, person)
    pictures = erase_exported(out_dir, keys)
    report = erase_identity_files(out_dir, identity_id, _frames(out_dir), known)
    changed = {**recorded, **bus_recordings, "features": features, "exported_pictures": pictures, **report.counts}
    changed = {name: n for name, n in changed.items() if n and name != "reports"}
    forgotten = {e.get("identity_id") for e in before if e.get("kind") == "forgotten"}
    sequence = max((int(e.get("sequence") or 0) for e in before), default=0)
    if changed:
        now_s = max((float(e.get("decided_at_s") or 0.0) for e in before), default=0.0)
        for known_id in sorted(set(report.identity_ids) - forgotten):
            sequence += 1
            event = IdentityEvent(sequence, "forgotten", known_id, None, now_s, now_s, by="operator")
            append_line(log_file, event_to_json(event))
        listed = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in changed.items())
        echo(f"identity {identity_id}: removed from {out_dir}: {listed}")
    if changed or kept:
        for note in (*report.notes, *kept):
            echo(f"    {note}")
    if had_report or changed:
        write_report(out_dir)
    return bool(changed)


def _log_events(log_file: Path) -> list[dict[str, Any]]:
    return [event for event in map(read_object, read_lines(log_file)) if event]


def _frames(out_dir: Path) -> dict[str, int]:
    """Frames of each camera as `run.json` has them; none where it does not say."""
    try:
        run = json.loads((out_dir / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    frames = run.get("frames") if isinstance(run, dict) else None
    if not isinstance(frames, dict):
        return {}
    return {str(camera): count for camera, count in frames.items() if isinstance(count, int)}
