"""The matcher: messages of all cameras in, identity events out. Pure: no clock, no bus, no files.

`receive` takes deliveries in any order; `advance` handles what the watermark allows and returns a `Step`: changed
state, events, and the deliveries that are done. Whoever runs the matcher commits the step as one transaction, so that a
matcher killed at any moment carries on from its state without a lost or doubled identity.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config import MatcherConfig, TopologyConfig
from pipeline.errors import DecodeError
from pipeline.identity.constraints import Topology
from pipeline.identity.decide import Decider, Decision
from pipeline.identity.gallery import Feature, MatrixGallery
from pipeline.identity.order import Arrival, Grid, Waiting, Watermark, is_past
from pipeline.identity.rules import PresenceRules, record_end, record_link
from pipeline.identity.state import (
    MAX_EVIDENCE,
    CameraProgress,
    IdentityState,
    TrackState,
    Visit,
    dump,
    identity_from_json,
    identity_to_json,
    load,
    pack_array,
    track_field,
    track_from_json,
    track_to_json,
    unpack_array,
)
from pipeline.types import CameraState, ClipFeature, ClipMessage, Forget, IdentityEvent, Tick, TrackKey, Tracklet

_MIN_GAIN = 0.02  # a feature this near to one that is kept adds nothing to an identity
_EXPIRE_EVERY_S = 60.0  # message time between two looks for what has expired


@dataclass(frozen=True, slots=True)
class Step:
    """What one advance did; to be committed as a whole."""

    changes: Mapping[str, bytes | None] = field(default_factory=dict)
    events: tuple[IdentityEvent, ...] = ()
    done: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.events or self.done)


class Matcher:
    """Single writer of a site's identities.

    Args:
        threshold: largest distance at which a track may be an identity.
        cameras: ids of all cameras of the site.
        live_cameras: those that the watermark waits for at most `lateness_s`.
        features_s: how long a feature may serve (`retention.features_s`), message time.
        state: what `Step.changes` wrote before, to carry on from.

    Raises:
        DecodeError: a state that cannot be read.
    """

    def __init__(
        self,
        config: MatcherConfig,
        threshold: float,
        cameras: Iterable[str],
        *,
        live_cameras: Iterable[str] = (),
        topology: Iterable[TopologyConfig] = (),
        features_s: float = math.inf,
        state: Mapping[str, bytes] | None = None,
    ) -> None:
        self._config = config
        self._features_s = min(features_s, config.identity_ttl_s)
        self._grid = Grid(config.decide_every_s)
        self._watermark = Watermark(cameras, live_cameras, config.lateness_s)
        self._waiting = Waiting()
        self._rules = PresenceRules(config)
        self._gallery = MatrixGallery(config.features_per_identity)
        self._decider = Decider(config, threshold, Topology(tuple(topology)), self._gallery)
        self._tracks: dict[TrackKey, TrackState] = {}
        self._identities: dict[int, IdentityState] = {}
        self._progress: dict[tuple[str, str], CameraProgress] = {}
        self._epoch: dict[str, str] = {}  # camera -> epoch whose tracks are open
        self._accepted: dict[tuple[str, str], int] = {}
        self._next_id = 1
        self._next_sequence = 1
        self._cell: int | None = None  # last cell decided
        self._expired_s = -math.inf
        self._dirty: set[str] = set()
        self._events: list[IdentityEvent] = []
        self._done: list[str] = []
        self.late = 0
        self.duplicates = 0
        if state:
            self._restore(state)

    # -- messages in ------------------------------------------------------------------------------------------------

    def receive(self, delivery_id: str, message: ClipMessage) -> None:
        """Take one delivery; nothing is decided before `advance`."""
        producer = (message.camera_id, message.epoch)
        if message.sequence <= self._accepted.get(producer, 0):
            self.duplicates += 1
            self._done.append(delivery_id)
            return
        self._accepted[producer] = message.sequence
        if isinstance(message, Forget):
            self._forget(message, delivery_id)
            return
        late = self._cell is not None and self._grid.cell_of(message.at_s) <= self._cell
        if late and not isinstance(message, Tick):
            self.late += 1
        if isinstance(message, Tick):
            self._watermark.tick(message.camera_id, message.processed_until_s)
        elif isinstance(message, CameraState):
            self._watermark.away(message.camera_id)
        self._waiting.push(delivery_id, message, late)

    def advance(self) -> Step:
        """Handle everything that the watermark allows."""
        complete = self._grid.last_complete(self._watermark.value)
        while complete is not None and (cell := self._next_cell(complete)) is not None:
            self._handle_cell(cell, final=False)
        if self._watermark.all_away:
            self._finish()
        return self._take_step()

    def _next_cell(self, complete: int) -> int | None:
        """The next cell in which something happens; the last complete one when nothing does before."""
        after = self._cell + 1 if self._cell is not None else None
        if after is not None and after > complete and not self._has_late():
            return None
        first_s = self._waiting.first_s()
        wanted = [] if first_s is None else [self._grid.cell_of(first_s)]
        if after is None:
            return min([*wanted, complete]) if wanted else None
        wanted += [self._grid.cell_of(at_s) for at_s in self._deadlines()]
        return max(min([*wanted, complete]), min(after, complete))

    def _has_late(self) -> bool:
        first_s = self._waiting.first_s()
        return first_s is not None and self._cell is not None and self._grid.cell_of(first_s) <= self._cell

    def _deadlines(self) -> Iterable[float]:
        for track in self._pending():
            yield self._decider.deadline_s(track)
        for identity in self._identities.values():
            for visit in identity.visits.values():
                if (due_s := self._rules.due_s(visit)) is not None:
                    yield due_s

    def _handle_cell(self, cell: int, final: bool) -> None:
        self._expire(self._grid.start_s(cell))
        for arrival in self._waiting.pop_until(self._grid, cell):
            self._handle(arrival)
        self._cell = cell if self._cell is None else max(cell, self._cell)
        now_s = self._grid.end_s(self._cell)
        self._decide(now_s, final)
        self._say_left(now_s)

    def _finish(self) -> None:
        """Every camera ended or is offline: what waits is all there is, for now."""
        while (first_s := self._waiting.first_s()) is not None:
            self._handle_cell(self._grid.cell_of(first_s), final=False)
        if self._cell is not None and self._pending():
            self._decide(self._grid.end_s(self._cell), final=True)

    # -- handling in order ------------------------------------------------------------------------------------------

    def _handle(self, arrival: Arrival) -> None:
        message = arrival.message
        self._done.append(arrival.delivery_id)
        self._note_progress(message)
        if isinstance(message, CameraState):
            self._close_tracks(message.camera_id, keep_epoch=None)
            return
        if self._epoch.get(message.camera_id) != message.epoch:
            self._close_tracks(message.camera_id, keep_epoch=message.epoch)
            self._epoch[message.camera_id] = message.epoch
        if isinstance(message, ClipFeature):
            self._handle_clip(message, arrival.late)
        elif isinstance(message, Tracklet):
            self._handle_tracklet(message)

    def _note_progress(self, message: ClipMessage) -> None:
        producer = (message.camera_id, message.epoch)
        progress = self._progress.setdefault(producer, CameraProgress(*producer))
        progress.handled = max(progress.handled, message.sequence)
        if isinstance(message, Tick):
            progress.until_s = message.processed_until_s
        self._dirty.add(f"producer:{producer[0]}:{producer[1]}")

    def _close_tracks(self, camera_id: str, keep_epoch: str | None) -> None:
        """The camera's stream broke off: its open tracks were lost in mid-picture."""
        for track in list(self._tracks.values()):
            if track.key.camera_id == camera_id and track.open and track.key.epoch != keep_epoch:
                self._end_track(track, left_picture=False)

    def _handle_clip(self, clip: ClipFeature, late: bool) -> None:
        track = self._tracks.get(clip.key)
        if track is None:
            track = TrackState(clip.key, clip.first_visible_s, clip.first_visible_s, clip.model_id)
            self._tracks[clip.key] = track
        track.last_s = max(track.last_s, clip.end_s)
        track.clips += 1
        track.late = track.late or late
        track.first_clip_s = clip.made_at_s if track.first_clip_s is None else track.first_clip_s
        if clip.frame and (track.frame is None or clip.quality >= track.quality):
            track.frame = clip.frame
        track.quality = max(track.quality, clip.quality)
        self._touch_track(track)
        if track.muted:
            return
        if track.identity_id is None:
            track.evidence = [*track.evidence, clip.embedding][-MAX_EVIDENCE:]
            track.qualities = [*track.qualities, clip.quality][-MAX_EVIDENCE:]
            return
        identity = self._identities[track.identity_id]
        identity.visits[clip.camera_id].last_s = max(identity.visits[clip.camera_id].last_s, clip.end_s)
        self._learn(identity, Feature(clip.embedding, clip.quality, clip.end_s))

    def _handle_tracklet(self, tracklet: Tracklet) -> None:
        track = self._tracks.get(tracklet.key)
        if track is None:  # too short for a clip: nothing to say about it
            return
        track.first_s = float(tracklet.captured_at_s[0])
        track.last_s = float(tracklet.captured_at_s[-1])
        self._end_track(track, tracklet.left_picture)

    def _end_track(self, track: TrackState, left_picture: bool) -> None:
        track.open = False
        track.left_picture = left_picture
        self._touch_track(track)
        if track.identity_id is not None:
            record_end(track, self._identities[track.identity_id])
            self._touch_identity(track.identity_id)
        if track.identity_id is not None or track.muted:
            del self._tracks[track.key]

    # -- decisions --------------------------------------------------------------------------------------------------

    def _pending(self) -> list[TrackState]:
        return [
            self._tracks[key]
            for key in sorted(self._tracks)
            if self._tracks[key].identity_id is None and not self._tracks[key].muted
        ]

    def _decide(self, now_s: float, final: bool) -> None:
        pending = self._pending()
        while pending:
            decisions = self._decider.next_decision(pending, self._identities, now_s, final)
            if not decisions:
                return
            for decision in decisions:
                self._apply(decision, now_s)
            decided = {d.track.key for d in decisions}
            pending = [track for track in pending if track.key not in decided]

    def _apply(self, decision: Decision, now_s: float) -> None:
        track = decision.track
        if decision.unknown:
            self._emit("unknown", 0, track, now_s, evidence=decision.evidence)
            track.muted = True
        else:
            self._link(decision, now_s)
        if not track.open:
            del self._tracks[track.key]
        self._touch_track(track)

    def _link(self, decision: Decision, now_s: float) -> None:
        track = decision.track
        identity_id = decision.identity_id
        if identity_id is None:
            identity_id, self._next_id = self._next_id, self._next_id + 1
            self._identities[identity_id] = IdentityState(identity_id, track.first_s, track.model_id)
        identity = self._identities[identity_id]
        appearance = self._rules.appearance(track, identity)
        track.identity_id = identity_id
        self._emit(
            appearance.kind,
            identity_id,
            track,
            now_s,
            evidence=decision.evidence,
            absent_s=None if appearance.absent_s is None else round(appearance.absent_s, 6),
            via=appearance.via,
            previous_key=appearance.previous_key,
            name=identity.name,
        )
        record_link(track, identity, appearance.kind)
        for embedding, quality in zip(track.evidence, track.qualities, strict=True):
            self._learn(identity, Feature(embedding, quality, track.last_s))
        track.evidence, track.qualities = [], []
        self._touch_identity(identity_id)

    def _learn(self, identity: IdentityState, feature: Feature) -> None:
        """Add a good feature that says something new; the first one always."""
        kept = self._gallery.features(identity.identity_id)
        if kept:
            nearest = min(1.0 - float(f.embedding @ feature.embedding) for f in kept)
            if feature.quality < self._config.min_quality or nearest < _MIN_GAIN:
                return
        self._gallery.add(identity.identity_id, feature.embedding, feature.quality, feature.at_s)
        self._touch_identity(identity.identity_id)

    def _say_left(self, now_s: float) -> None:
        due: list[tuple[float, int, Visit]] = []
        for identity in self._identities.values():
            for visit in identity.visits.values():
                due_s = self._rules.due_s(visit)
                if due_s is not None and is_past(due_s, now_s) and not self._may_continue(visit, due_s):
                    due.append((due_s, identity.identity_id, visit))
        for _, identity_id, visit in sorted(due, key=lambda d: (d[0], d[1], d[2].camera_id)):
            visit.left_at_s = now_s
            self._touch_identity(identity_id)
            track = TrackState(visit.last_key, visit.last_s, visit.last_s)
            self._emit("left", identity_id, track, now_s, name=self._identities[identity_id].name)

    def _may_continue(self, visit: Visit, due_s: float) -> bool:
        """Whether somebody undecided came in time to be the one who seems to have left."""
        return any(t.key.camera_id == visit.camera_id and t.first_s < due_s for t in self._pending())

    def _emit(self, kind: Any, identity_id: int, track: TrackState, now_s: float, **values: Any) -> None:
        event = IdentityEvent(
            self._next_sequence, kind, identity_id, track.key, track.first_s, now_s, frame=track.frame, **values
        )
        self._next_sequence += 1
        self._events.append(event)

    # -- forgetting -------------------------------------------------------------------------------------------------

    def _forget(self, order: Forget, delivery_id: str) -> None:
        """Erase one identity at once; its open tracks are muted, so that nothing of them is learned again."""
        self._note_progress(order)
        self._done.append(delivery_id)
        if order.identity_id not in self._identities:
            return
        for track in list(self._tracks.values()):
            if track.identity_id == order.identity_id:
                track.identity_id, track.muted, track.frame = None, True, None
                self._touch_track(track)
        self._remove(order.identity_id)
        now_s = self._grid.end_s(self._cell) if self._cell is not None else 0.0
        event = IdentityEvent(self._next_sequence, "forgotten", order.identity_id, None, now_s, now_s)
        self._next_sequence += 1
        self._events.append(event)

    def _expire(self, until_s: float) -> None:
        """Drop what was too old at the last full minute: at fixed moments, whatever cells happened to be handled."""
        now_s = until_s // _EXPIRE_EVERY_S * _EXPIRE_EVERY_S
        if now_s <= self._expired_s:
            return
        self._expired_s = now_s
        before = {i: len(self._gallery.features(i)) for i in self._identities}
        self._gallery.forget_before(now_s - self._features_s)
        for identity_id, count in before.items():
            identity, left = self._identities[identity_id], len(self._gallery.features(identity_id))
            if left < count:
                self._touch_identity(identity_id)
            is_open = any(visit.open_tracks for visit in identity.visits.values())
            if not is_open and (left == 0 or identity.last_s < now_s - self._config.identity_ttl_s):
                self._remove(identity_id)

    def _remove(self, identity_id: int) -> None:
        self._identities.pop(identity_id, None)
        self._gallery.remove(identity_id)
        self._touch_identity(identity_id)

    # -- state out and in -------------------------------------------------------------------------------------------

    def _touch_track(self, track: TrackState) -> None:
        self._dirty.add(track_field(track.key))

    def _touch_identity(self, identity_id: int) -> None:
        self._dirty.add(f"identity:{identity_id}")

    def _take_step(self) -> Step:
        changes: dict[str, bytes | None] = {}
        tracks = {track_field(key): track for key, track in self._tracks.items()} if self._dirty else {}
        for name in sorted(self._dirty):
            kind, _, rest = name.partition(":")
            if kind == "track":
                changes[name] = dump(track_to_json(tracks[name])) if name in tracks else None
            elif kind == "identity":
                changes[name] = self._dump_identity(int(rest))
            else:
                camera_id, _, epoch = rest.partition(":")
                p = self._progress[camera_id, epoch]
                changes[name] = dump({"handled": p.handled, "until_s": p.until_s})
        if changes or self._events:
            changes["meta"] = dump(
                {
                    "next_id": self._next_id,
                    "next_sequence": self._next_sequence,
                    "cell": self._cell,
                    "step_s": self._grid.step_s,
                    "epochs": self._epoch,
                    "away": sorted(self._watermark.cameras_away),
                }
            )
        step = Step(changes, tuple(self._events), tuple(self._done))
        self._dirty, self._events, self._done = set(), [], []
        return step

    def _dump_identity(self, identity_id: int) -> bytes | None:
        identity = self._identities.get(identity_id)
        if identity is None:
            return None
        features = [
            {"embedding": pack_array(f.embedding), "quality": f.quality, "at_s": f.at_s}
            for f in self._gallery.features(identity_id)
        ]
        return dump({**identity_to_json(identity), "features": features})

    def _restore(self, state: Mapping[str, bytes]) -> None:
        meta = load("meta", state["meta"]) if "meta" in state else {}
        if not meta:
            raise DecodeError("the matcher's state has no field 'meta'; delete it to begin anew")
        for name in [*sorted(state.keys() - {"meta"}), "meta"]:
            try:
                self._restore_piece(name, load(name, state[name]))
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                problem = f"{type(error).__name__} {error}"
                raise DecodeError(
                    f"matcher state {name!r} cannot be read ({problem}); was it written by hand?"
                ) from None
        for track in self._tracks.values():
            self._restore_link(track)

    def _restore_link(self, track: TrackState) -> None:
        """Bring a linked track's visit up to date: a clip that teaches nothing changes only the stored track."""
        if track.identity_id is None:
            return
        identity = self._identities.get(track.identity_id)
        visit = identity.visits.get(track.key.camera_id) if identity else None
        if visit is None:
            raise DecodeError(f"matcher state {track_field(track.key)!r} names an identity that was not there")
        visit.last_s = max(visit.last_s, track.last_s)

    def _restore_piece(self, name: str, value: dict[str, Any]) -> None:
        kind, _, rest = name.partition(":")
        if kind == "track":
            track = track_from_json(value)
            self._tracks[track.key] = track
        elif kind == "identity":
            self._restore_identity(value)
        elif kind == "producer":
            camera_id, _, epoch = rest.partition(":")
            self._restore_producer(CameraProgress(camera_id, epoch, **value))
        elif kind == "meta":
            self._restore_meta(value)

    def _restore_meta(self, meta: dict[str, Any]) -> None:
        for camera_id in meta["away"]:
            self._watermark.away(camera_id)
        self._next_id, self._next_sequence = meta["next_id"], meta["next_sequence"]
        self._epoch = dict(meta["epochs"])
        self._cell = meta["cell"]
        if self._cell is not None and meta["step_s"] != self._grid.step_s:  # another grid: the same moment
            self._cell = self._grid.last_complete(Grid(meta["step_s"]).end_s(self._cell))

    def _restore_identity(self, value: dict[str, Any]) -> None:
        features = value.pop("features")
        identity = identity_from_json(value)
        self._identities[identity.identity_id] = identity
        for f in features:
            self._gallery.add(identity.identity_id, unpack_array(f["embedding"]), f["quality"], f["at_s"])

    def _restore_producer(self, progress: CameraProgress) -> None:
        producer = (progress.camera_id, progress.epoch)
        self._progress[producer] = progress
        self._accepted[producer] = progress.handled
        if progress.until_s is not None:
            self._watermark.tick(progress.camera_id, progress.until_s)

    def emitted(self, step: Step, now_s: float) -> Step:
        """The step with the wall clock's time of emission in its events (live only)."""
        return replace(step, events=tuple(replace(e, emitted_at_s=now_s) for e in step.events))
