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
from pipeline.identity.constraints import Topology
from pipeline.identity.decide import Decider, Decision
from pipeline.identity.gallery import Feature
from pipeline.identity.memory import SiteMemory
from pipeline.identity.order import Arrival, Grid, Waiting, Watermark, is_past
from pipeline.identity.rules import PresenceRules, record_end, record_link
from pipeline.identity.state import MAX_EVIDENCE, TrackState, Visit
from pipeline.types import CameraState, ClipFeature, ClipMessage, Forget, IdentityEvent, Tick, Tracklet

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
        self._memory = SiteMemory(config.features_per_identity, config.decide_every_s)
        self._decider = Decider(config, threshold, Topology(tuple(topology)), self._memory.gallery)
        self._accepted: dict[tuple[str, str], int] = {}
        self._expired_s = -math.inf
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
        late = self._memory.cell is not None and self._grid.cell_of(message.at_s) <= self._memory.cell
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
        first_s = self._waiting.first_s()
        if first_s is not None and self._has_late():
            return self._grid.cell_of(first_s)  # at once: after all cameras were away, `complete` may lie before it
        after = self._memory.cell + 1 if self._memory.cell is not None else None
        if after is not None and after > complete:
            return None
        wanted = [] if first_s is None else [self._grid.cell_of(first_s)]
        if after is None:
            return min([*wanted, complete]) if wanted else None
        wanted += [self._grid.cell_of(at_s) for at_s in self._deadlines()]
        return max(min([*wanted, complete]), min(after, complete))

    def _has_late(self) -> bool:
        first_s = self._waiting.first_s()
        return (
            first_s is not None and self._memory.cell is not None and self._grid.cell_of(first_s) <= self._memory.cell
        )

    def _deadlines(self) -> Iterable[float]:
        for track in self._memory.pending():
            yield self._decider.deadline_s(track)
        for identity in self._memory.identities.values():
            for visit in identity.visits.values():
                if (due_s := self._rules.due_s(visit)) is not None:
                    yield due_s

    def _handle_cell(self, cell: int, final: bool) -> None:
        self._expire(self._grid.start_s(cell))
        for arrival in self._waiting.pop_until(self._grid, cell):
            self._handle(arrival)
        self._memory.cell = cell if self._memory.cell is None else max(cell, self._memory.cell)
        now_s = self._grid.end_s(self._memory.cell)
        self._decide(now_s, final)
        self._say_left(now_s)

    def _finish(self) -> None:
        """Every camera ended or is offline: what waits is all there is, for now."""
        while (first_s := self._waiting.first_s()) is not None:
            self._handle_cell(self._grid.cell_of(first_s), final=False)
        if self._memory.cell is not None and self._memory.pending():
            self._decide(self._grid.end_s(self._memory.cell), final=True)

    # -- handling in order ------------------------------------------------------------------------------------------

    def _handle(self, arrival: Arrival) -> None:
        message = arrival.message
        self._done.append(arrival.delivery_id)
        self._memory.note(message)
        if isinstance(message, CameraState):
            self._close_tracks(message.camera_id, keep_epoch=None)
            return
        if self._memory.epochs.get(message.camera_id) != message.epoch:
            self._close_tracks(message.camera_id, keep_epoch=message.epoch)
            self._memory.epochs[message.camera_id] = message.epoch
        if isinstance(message, ClipFeature):
            self._handle_clip(message, arrival.late)
        elif isinstance(message, Tracklet):
            self._handle_tracklet(message)

    def _close_tracks(self, camera_id: str, keep_epoch: str | None) -> None:
        """The camera's stream broke off: its open tracks were lost in mid-picture."""
        for track in list(self._memory.tracks.values()):
            if track.key.camera_id == camera_id and track.open and track.key.epoch != keep_epoch:
                self._end_track(track, left_picture=False)

    def _handle_clip(self, clip: ClipFeature, late: bool) -> None:
        track = self._memory.tracks.get(clip.key)
        if track is None:
            track = TrackState(clip.key, clip.first_visible_s, clip.first_visible_s, clip.model_id)
            self._memory.tracks[clip.key] = track
        track.last_s = max(track.last_s, clip.end_s)
        track.clips += 1
        track.late = track.late or late
        track.first_clip_s = clip.made_at_s if track.first_clip_s is None else track.first_clip_s
        if clip.frame and (track.frame is None or clip.quality >= track.quality):
            track.frame = clip.frame
        track.quality = max(track.quality, clip.quality)
        self._memory.touch_track(track)
        if track.muted:
            return
        if track.identity_id is None:
            track.evidence = [*track.evidence, clip.embedding][-MAX_EVIDENCE:]
            track.qualities = [*track.qualities, clip.quality][-MAX_EVIDENCE:]
            return
        identity = self._memory.identities[track.identity_id]
        identity.visits[clip.camera_id].last_s = max(identity.visits[clip.camera_id].last_s, clip.end_s)
        self._memory.learn(identity, Feature(clip.embedding, clip.quality, clip.end_s), self._config.min_quality)

    def _handle_tracklet(self, tracklet: Tracklet) -> None:
        track = self._memory.tracks.get(tracklet.key)
        if track is None:  # too short for a clip: nothing to say about it
            return
        track.first_s = float(tracklet.captured_at_s[0])
        track.last_s = float(tracklet.captured_at_s[-1])
        self._end_track(track, tracklet.left_picture)

    def _end_track(self, track: TrackState, left_picture: bool) -> None:
        track.open = False
        track.left_picture = left_picture
        self._memory.touch_track(track)
        if track.identity_id is not None:
            record_end(track, self._memory.identities[track.identity_id])
            self._memory.touch_identity(track.identity_id)
        if track.identity_id is not None or track.muted:
            self._memory.drop_track(track)

    # -- decisions --------------------------------------------------------------------------------------------------

    def _decide(self, now_s: float, final: bool) -> None:
        pending = self._memory.pending()
        while pending:
            decisions = self._decider.next_decision(pending, self._memory.identities, now_s, final)
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
        self._memory.touch_track(track)
        if not track.open:
            self._memory.drop_track(track)

    def _link(self, decision: Decision, now_s: float) -> None:
        track = decision.track
        identity_id = decision.identity_id
        if identity_id is None:
            identity_id = self._memory.new_identity(track).identity_id
        identity = self._memory.identities[identity_id]
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
            self._memory.learn(identity, Feature(embedding, quality, track.last_s), self._config.min_quality)
        track.evidence, track.qualities = [], []
        self._memory.touch_identity(identity_id)

    def _say_left(self, now_s: float) -> None:
        due: list[tuple[float, int, Visit]] = []
        for identity in self._memory.identities.values():
            for visit in identity.visits.values():
                due_s = self._rules.due_s(visit)
                if due_s is not None and is_past(due_s, now_s) and not self._may_continue(visit, due_s):
                    due.append((due_s, identity.identity_id, visit))
        for _, identity_id, visit in sorted(due, key=lambda d: (d[0], d[1], d[2].camera_id)):
            visit.left_at_s = now_s
            self._memory.touch_identity(identity_id)
            track = TrackState(visit.last_key, visit.last_s, visit.last_s)
            self._emit("left", identity_id, track, now_s, name=self._memory.identities[identity_id].name)

    def _may_continue(self, visit: Visit, due_s: float) -> bool:
        """Whether somebody undecided came in time to be the one who seems to have left."""
        pending = self._memory.pending()
        return any(t.key.camera_id == visit.camera_id and t.first_s < due_s for t in pending)

    def _emit(self, kind: Any, identity_id: int, track: TrackState, now_s: float, **values: Any) -> None:
        event = IdentityEvent(
            self._memory.next_sequence(),
            kind,
            identity_id,
            track.key,
            track.first_s,
            now_s,
            frame=track.frame,
            **values,
        )
        self._events.append(event)

    # -- forgetting -------------------------------------------------------------------------------------------------

    def _forget(self, order: Forget, delivery_id: str) -> None:
        """Erase one identity at once; its open tracks are muted, so that nothing of them is learned again."""
        self._memory.note(order)
        self._done.append(delivery_id)
        if order.identity_id not in self._memory.identities:
            return
        for track in list(self._memory.tracks.values()):
            if track.identity_id == order.identity_id:
                track.identity_id, track.muted, track.frame = None, True, None
                self._memory.touch_track(track)
        self._memory.drop_identity(order.identity_id)
        now_s = self._grid.end_s(self._memory.cell) if self._memory.cell is not None else 0.0
        event = IdentityEvent(self._memory.next_sequence(), "forgotten", order.identity_id, None, now_s, now_s)
        self._events.append(event)

    def _expire(self, until_s: float) -> None:
        """Drop what was too old at the last full minute: at fixed moments, whatever cells happened to be handled."""
        now_s = until_s // _EXPIRE_EVERY_S * _EXPIRE_EVERY_S
        if now_s <= self._expired_s:
            return
        self._expired_s = now_s
        before = {i: len(self._memory.gallery.features(i)) for i in self._memory.identities}
        self._memory.gallery.forget_before(now_s - self._features_s)
        for identity_id, count in before.items():
            identity, left = self._memory.identities[identity_id], len(self._memory.gallery.features(identity_id))
            if left < count:
                self._memory.touch_identity(identity_id)
            is_open = any(visit.open_tracks for visit in identity.visits.values())
            if not is_open and (left == 0 or identity.last_s < now_s - self._config.identity_ttl_s):
                self._memory.drop_identity(identity_id)

    # -- state out and in -------------------------------------------------------------------------------------------

    def _take_step(self) -> Step:
        self._memory.away = self._watermark.cameras_away
        step = Step(self._memory.take_changes(), tuple(self._events), tuple(self._done))
        self._events, self._done = [], []
        return step

    def _restore(self, state: Mapping[str, bytes]) -> None:
        memory = self._memory
        memory.restore(state)
        for producer, progress in sorted(memory.progress.items()):
            self._accepted[producer] = progress.handled
            if progress.until_s is not None:
                self._watermark.tick(progress.camera_id, progress.until_s)
        for camera_id in memory.away:
            self._watermark.away(camera_id)
        if memory.cell is not None and memory.step_s != self._grid.step_s:  # another grid: go on at the same moment
            memory.cell = self._grid.last_complete(Grid(memory.step_s).end_s(memory.cell))
        memory.step_s = self._grid.step_s

    def emitted(self, step: Step, now_s: float) -> Step:
        """The step with the wall clock's time of emission in its events (live only)."""
        return replace(step, events=tuple(replace(e, emitted_at_s=now_s) for e in step.events))
