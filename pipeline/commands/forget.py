"""`run_pipeline.py forget`: erases one person from the matcher's memory, from Redis, and from an output folder."""

import json
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.background.erase import erase_identity_files
from pipeline.background.erase_rows import one_person
from pipeline.background.files import append_line
from pipeline.background.retention import read_lines, read_object
from pipeline.build import build_matcher, matcher_threshold
from pipeline.bus.connection import bus_errors
from pipeline.bus.erase import erase_identity
from pipeline.bus.lines import event_to_json
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.state import LEASE_TTL_S, Lease, LeaseHeld, RedisState
from pipeline.bus.streams import CLIPS, IDENTITIES, state_key
from pipeline.config import Config
from pipeline.errors import BusUnavailable, ConfigError, OutputError
from pipeline.replay.erase_recorded import erase_recorded
from pipeline.replay.recording import ENDING
from pipeline.reporting.report import write_report
from pipeline.types import Forget, IdentityEvent, TrackKey

Echo = Callable[[str], None]

_POLL_S = 0.1
_PAGE = 500  # events read at a time


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long to wait for a running matcher, and what the time is (monotonic seconds)."""

    timeout_s: float
    clock: Callable[[], float]
    wait: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Person:
    """One person on the bus: the ids that were merged into one, their tracks, and whether the matcher knows them."""

    identity_ids: tuple[int, ...]
    keys: frozenset[TrackKey]
    known: bool


def forget(
    identity_id: int,
    *,
    config: Config | None,
    out_dir: Path | None,
    echo: Echo,
    timeout_s: float = LEASE_TTL_S + 5.0,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Erase one identity wherever this command can reach it; running it again changes nothing more.

    With a configuration that names a Redis (`bus.url`): the running matcher is told and waited for, or, where none
    runs, its state is changed in its place; then the person's messages go from the streams. With an output folder: the
    person's rows, events, pictures and videos go, and the report is written anew.

    Args:
        timeout_s: how long to wait for a running matcher; more than LEASE_TTL_S, so that a dead one is noticed.

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
    if config is not None and url is not None:
        found |= _forget_on_bus(identity_id, config, url, echo, _Patience(timeout_s, clock, wait))
    if out_dir is not None:
        found |= _forget_files(identity_id, out_dir, echo)
    if not found:
        echo(f"identity {identity_id} is not known here: never seen, expired, or forgotten before")
    return 0


# -- Redis ------------------------------------------------------------------------------------------------------------


def _forget_on_bus(identity_id: int, config: Config, url: str, echo: Echo, patience: _Patience) -> bool:
    """Whether there was anything to erase."""
    bus = RedisBus(url, config.site, max_messages=config.bus.max_messages, consumer="forget")
    bus.ping()
    person = _person_on(bus, identity_id)
    epoch = f"operator-{uuid.uuid4()}"
    orders = [Forget(known_id, n, epoch=epoch) for n, known_id in enumerate(person.identity_ids, start=1)]
    by_whom = _erase_memory(bus, config, orders, patience)
    counts: dict[str, int] = {}
    for known_id in person.identity_ids:
        for stream, count in erase_identity(bus.client, bus.site, known_id, person.keys).items():
            counts[stream] = counts.get(stream, 0) + count
    found = person.known or bool(counts)
    if found:
        removed = ", ".join(f"{count} of {stream}" for stream, count in sorted(counts.items())) or "none"
        echo(f"identity {identity_id}: gone from the matcher's memory ({by_whom}); messages removed: {removed}")
    return found


def _person_on(bus: RedisBus, identity_id: int) -> _Person:
    """The person's ids and tracks, from the events in the stream and from the matcher's state."""
    events = _events(bus)
    pairs = [{e.identity_id, e.other_identity_id} - {None} for e in events if e.kind == "merged"]
    ids: set[int] = {identity_id}
    while more := {i for pair in pairs if pair & ids for i in pair if i is not None} - ids:
        ids |= more
    keys = {e.key for e in events if e.key is not None and e.identity_id in ids}
    state = _state(bus)
    keys |= _tracks_in(state, ids)
    known = any(f"identity:{i}" in state for i in ids)
    return _Person(tuple(sorted(ids)), frozenset(keys), known)


def _events(bus: RedisBus) -> list[IdentityEvent]:
    events: list[IdentityEvent] = []
    after = "0"
    while deliveries := bus.read(IDENTITIES, after, timeout_s=0.0, count=_PAGE):
        after = deliveries[-1].id
        events += [d.message for d in deliveries if isinstance(d.message, IdentityEvent)]
    return events


def _state(bus: RedisBus) -> dict[str, bytes]:
    with bus_errors(bus.address):
        stored: dict[bytes, bytes] = bus.client.hgetall(state_key(bus.site, "matcher"))
    return {name.decode(): value for name, value in stored.items()}


def _tracks_in(state: Mapping[str, bytes], ids: Collection[int]) -> set[TrackKey]:
    """Tracks that the matcher's state links to these identities."""
    keys = set()
    for name, raw in state.items():
        value = _object(raw) if name.startswith(("track:", "identity:")) else {}
        if value.get("identity_id") not in ids:
            continue
        plain = [value["key"]] if "key" in value else [v.get("last_key") for v in value.get("visits", [])]
        plain += [key for visit in value.get("visits", []) for key in visit.get("open_tracks", [])]
        keys |= {TrackKey(str(k[0]), str(k[1]), int(k[2])) for k in plain if isinstance(k, list) and len(k) == 3}
    return keys


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _erase_memory(bus: RedisBus, config: Config, orders: list[Forget], patience: _Patience) -> str:
    """Let the site's one writer forget: a running matcher, or this process in its place. Says who did it."""
    lease = Lease(bus, "run_pipeline.py forget")
    deadline = patience.clock() + patience.timeout_s
    told = False
    while True:
        try:
            lease.acquire()
        except LeaseHeld:
            if not told:
                for order in orders:
                    bus.publish(CLIPS, order)
                told = True
            if _handled(bus, orders[-1]):
                return "by the running matcher"
            if patience.clock() >= deadline:
                raise BusUnavailable(
                    f"the matcher of site {bus.site!r} does not answer; the order waits for it, but no message was "
                    "removed from the streams: run forget again when it is well"
                ) from None
            patience.wait(_POLL_S)
            continue
        try:
            _forget_in_state(bus, config, orders)
        finally:
            lease.release()
        return "no matcher runs"


def _handled(bus: RedisBus, order: Forget) -> bool:
    """Whether a matcher has committed what the order led to: it notes how far each producer was handled."""
    with bus_errors(bus.address):
        raw = bus.client.hget(state_key(bus.site, "matcher"), f"producer:{order.camera_id}:{order.epoch}")
    return raw is not None and int(_object(raw).get("handled", 0)) >= order.sequence


def _forget_in_state(bus: RedisBus, config: Config, orders: list[Forget]) -> None:
    """The matcher's own step, taken here while no matcher runs."""
    store = RedisState(bus)
    state = store.load()
    if not state:
        return
    matcher = build_matcher(config, _threshold(config, state), state)
    for order in orders:
        matcher.receive("", order)
    step = matcher.emitted(matcher.advance(), time.time())
    store.commit(step.changes, step.events, ())


def _threshold(config: Config, state: Mapping[str, bytes]) -> float:
    """The threshold the site's matcher has: nothing new came, so nothing is decided, but nobody must depend on that."""
    models = {_object(raw).get("model_id") for name, raw in state.items() if name.startswith(("identity:", "track:"))}
    for model_id in sorted(str(m) for m in models if m):
        try:
            return matcher_threshold(config, model_id)
        except ConfigError:
            continue
    return 0.0


# -- files ------------------------------------------------------------------------------------------------------------


def _forget_files(identity_id: int, out_dir: Path, echo: Echo) -> bool:
    """Whether there was anything to erase."""
    log_file = out_dir / "identities.jsonl"
    before = _log_events(log_file)
    had_report = (out_dir / "report.html").exists()
    recorded = erase_recorded(out_dir, one_person(out_dir, identity_id)[1])  # first: it needs the identity log
    report = erase_identity_files(out_dir, identity_id, _frames(out_dir))
    changed = {**recorded, **{name: n for name, n in report.counts.items() if name != "reports"}}
    forgotten = {e.get("identity_id") for e in before if e.get("kind") == "forgotten"}
    sequence = max((int(e.get("sequence") or 0) for e in before), default=0)
    if changed:
        now_s = max((float(e.get("decided_at_s") or 0.0) for e in before), default=0.0)
        for known_id in sorted(set(report.identity_ids) - forgotten):
            sequence += 1
            append_line(log_file, event_to_json(IdentityEvent(sequence, "forgotten", known_id, None, now_s, now_s)))
        listed = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in changed.items())
        echo(f"identity {identity_id}: removed from {out_dir}: {listed}")
        for note in report.notes:
            echo(f"    {note}")
        for path in sorted(out_dir.glob(f"*{ENDING}")):
            echo(f"    {path.name} still holds the person: a bus recording cannot be changed; remove it")
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
