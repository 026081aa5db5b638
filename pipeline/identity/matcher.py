"""The matcher: messages of all cameras in, identity events out. Pure: no clock, no bus, no files.

`receive` takes deliveries in any order; `advance` handles what the watermark allows and returns a `Step`: changed
state, events, and the deliveries that are done. Whoever runs the matcher commits the step as one transaction, so that a
matcher killed at any moment carries on from its state without a lost or doubled identity.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.config import MatcherConfig, TopologyConfig
from pipeline.ground import GroundPlane
from pipeline.identity.agenda import Agenda, Subject, Task, track_subject
from pipeline.identity.candidates import CandidateIndex, Reach
from pipeline.identity.compare import Comparer
from pipeline.identity.constraints import Exclusion, Topology
from pipeline.identity.decide import Decider
from pipeline.identity.gallery import feature_of
from pipeline.identity.ledger import Ledger, due_left
from pipeline.identity.memory import SiteMemory
from pipeline.identity.operator import obey
from pipeline.identity.order import Arrival, Grid, Waiting, Watermark, is_past
from pipeline.identity.pieces import restore, take_changes
from pipeline.identity.places import TrackPlaces
from pipeline.identity.revise import Reviser, due_again
from pipeline.identity.rules import PresenceRules
from pipeline.identity.state import TrackState, Visit
from pipeline.identity.transits import TransitTimes
from pipeline.types import CameraState, ClipFeature, ClipMessage, IdentityEvent, Order, Tick, TrackKey, Tracklet

_REVIEW_AFTER_S = 2.0  # message time after which those are looked at again whom a correction was about
_MOST_CORRECTIONS = 4  # of one track at one moment
_ROUNDS = 4  # over all tracks, when every camera has ended


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
        grounds: the calibrations there are, by camera: same-time views are linked by place, too.
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
        grounds: Mapping[str, GroundPlane] | None = None,
        features_s: float = math.inf,
        state: Mapping[str, bytes] | None = None,
    ) -> None:
        cameras, rules = tuple(cameras), tuple(topology)
        self._config = config
        self._grid = Grid(config.decide_every_s)
        self._watermark = Watermark(cameras, live_cameras, config.lateness_s)
        self._waiting = Waiting()
        self._rules = PresenceRules(config)
        self._agenda = Agenda()
        places, transits = TrackPlaces(grounds or {}), TransitTimes(rules)
        index = CandidateIndex(rules, cameras, Reach(most=config.max_candidates))
        self._memory = SiteMemory(config.features_per_identity, config.decide_every_s, places, transits, index)
        self._ledger = Ledger(config, features_s, self._memory, self._rules, self._agenda)
        declared = Topology(rules)
        self._exclusion = Exclusion(self._memory, declared)
        comparer = Comparer(config, threshold, self._memory, declared, self._exclusion)
        shared = (self._exclusion, comparer, self._candidates)
        self._decider = Decider(config, threshold, self._memory, declared, *shared)
        self._reviser = Reviser(config, threshold, self._memory, *shared)
        self._accepted: dict[tuple[str, str], int] = {}
        self._news: set[TrackKey] = set()  # pending tracks that something happened to
        self._doubts: set[TrackKey] = set()  # linked tracks to look at again
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
        if isinstance(message, Order):  # at once: an operator waits
            self._memory.note(message)
            self._done.append(delivery_id)
            obey(message, self._memory, self._ledger, self._now_s())
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
            self._handle_cell(cell)
        if self._watermark.all_away:
            self._finish()
        return self._take_step()

    def _now_s(self) -> float:
        return self._grid.end_s(self._memory.cell) if self._memory.cell is not None else 0.0

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
        if (due_s := self._agenda.first_s()) is not None:
            wanted.append(self._grid.cell_of(due_s))
        return max(min([*wanted, complete]), min(after, complete))

    def _has_late(self) -> bool:
        first_s = self._waiting.first_s()
        return (
            first_s is not None and self._memory.cell is not None and self._grid.cell_of(first_s) <= self._memory.cell
        )

    def _handle_cell(self, cell: int) -> None:
        for arrival in self._waiting.pop_until(self._grid, cell):
            self._handle(arrival)
        self._memory.cell = cell if self._memory.cell is None else max(cell, self._memory.cell)
        now_s = self._now_s()
        left = self._do_tasks(now_s)
        self._decide(now_s, final=False)
        self._review(now_s)
        left += self._do_tasks(now_s)  # what the corrections made due
        self._say_left(left, now_s)
        self._ledger.make_room(self._config.max_identities)

    def _finish(self) -> None:
        """Every camera ended or is offline: what waits is all there is, for now."""
        news = self._waiting.first_s() is not None or bool(self._memory.pending())
        while (first_s := self._waiting.first_s()) is not None:
            self._handle_cell(self._grid.cell_of(first_s))
        if self._memory.cell is None or not (news or self._memory.unsettled):
            return
        self._decide(self._now_s(), final=True)
        for _ in range(_ROUNDS):
            self._doubts |= {key for key, track in self._memory.tracks.items() if track.identity_id is not None}
            if not self._review(self._now_s()):
                break
        self._memory.unsettled = False

    # -- handling in order ------------------------------------------------------------------------------------------

    def _handle(self, arrival: Arrival) -> None:
        message = arrival.message
        self._done.append(arrival.delivery_id)
        progress = self._memory.note(message)
        if isinstance(message, CameraState):
            self._close_tracks(message.camera_id, keep_epoch=None)
            return
        if self._memory.epochs.get(message.camera_id) != message.epoch and not arrival.late:
            self._close_tracks(message.camera_id, keep_epoch=message.epoch)
            self._memory.set_epoch(message.camera_id, message.epoch)
        if isinstance(message, ClipFeature):
            self._handle_clip(message, arrival.late)
        elif isinstance(message, Tracklet):
            self._handle_tracklet(message)
        elif isinstance(message, Tick) and message.visible is not None:
            before, progress.visible = progress.visible, message.visible
            progress.visible_s = message.processed_until_s
            self._look(message, before)

    def _close_tracks(self, camera_id: str, keep_epoch: str | None) -> None:
        """The camera's stream broke off: its open tracks were lost in mid-picture."""
        for track in self._memory.open_in(camera_id):
            if track.key.epoch != keep_epoch:
                self._end_track(track, left_picture=False)

    def _handle_clip(self, clip: ClipFeature, late: bool) -> None:
        track = self._memory.tracks.get(clip.key)
        if track is None:
            track = TrackState(clip.key, clip.first_visible_s, clip.first_visible_s, clip.model_id)
            self._memory.add_track(track)
        elif not track.open:
            self._ledger.go_on(track)
        track.last_s = max(track.last_s, clip.end_s)
        track.clips += 1
        track.late = track.late or late
        track.first_clip_s = clip.made_at_s if track.first_clip_s is None else track.first_clip_s
        if clip.frame and (track.frame is None or clip.quality >= track.quality) and not track.muted:
            track.frame = clip.frame
        track.quality = max(track.quality, clip.quality)
        self._memory.touch_track(track)
        if track.muted:
            return
        self._memory.unsettled = True
        self._memory.places.add(clip.key, clip.seen_s, clip.seen_xyxy, clip.picture_px)
        self._learn(track, clip)
        if track.identity_id is None:
            self._news.add(track.key)
            self._agenda.put(self._decider.deadline_s(track), "decide", track_subject(track.key))
        else:
            self._memory.index.seen(track.identity_id, clip.camera_id, track.last_s)
            if due_again(track):
                self._doubts.add(track.key)

    def _learn(self, track: TrackState, clip: ClipFeature) -> None:
        least = self._config.min_quality
        if not self._config.subtract_camera_mean:
            self._memory.learn(track, feature_of(clip), least)
            return
        self._memory.learn(track, self._memory.common.feature_of(clip), least)
        if clip.quality >= least:
            self._memory.give_look(clip)

    def _look(self, tick: Tick, before: Sequence[int] | None) -> None:
        """Who is visible at a tick; one who was out of sight may come back beside another track of its identity."""
        visible = set(tick.visible or ())
        for track_id in set(before or ()) - visible:
            track = self._memory.tracks.get(TrackKey(tick.camera_id, tick.epoch, track_id))
            if track is not None:
                self._memory.touch_track(track)  # its last moment stood in the tick only
        for track_id in sorted(visible):
            track = self._memory.tracks.get(TrackKey(tick.camera_id, tick.epoch, track_id))
            if track is None:
                continue
            track.last_s = max(track.last_s, tick.processed_until_s)
            if track_id not in (before or ()) and track.identity_id is not None:
                identity = self._memory.identities[track.identity_id]
                if self._exclusion.clashes(track, identity):
                    self._doubts.add(track.key)

    def _handle_tracklet(self, tracklet: Tracklet) -> None:
        track = self._memory.tracks.get(tracklet.key)
        if track is None or not track.open:  # too short for a clip: nothing to say about it
            return
        track.first_s = float(tracklet.captured_at_s[0])
        track.last_s = float(tracklet.captured_at_s[-1])
        if not track.muted:
            self._memory.places.close(tracklet)
        self._end_track(track, tracklet.left_picture)

    def _end_track(self, track: TrackState, left_picture: bool) -> None:
        track.left_picture = left_picture
        self._ledger.end(track)
        if track.identity_id is not None:
            self._doubts.add(track.key)
        elif not track.muted:
            self._news.add(track.key)

    # -- decisions --------------------------------------------------------------------------------------------------

    def _candidates(self, track: TrackState) -> Sequence[int]:
        return self._memory.index.candidates(track.key.camera_id, *track.span)

    def _do_tasks(self, now_s: float) -> list[tuple[float, int, str]]:
        """What is due, but for `left`, which waits for the cell's decisions."""
        left = []
        for at_s, task, subject in self._agenda.take(now_s):
            if task == "left":
                left.append((at_s, subject[2], subject[0]))
            else:
                self._do(task, subject, now_s)
        return left

    def _do(self, task: Task, subject: Subject, now_s: float) -> None:
        if task == "expire":
            identity = self._memory.identities.get(subject[2])
            if identity is not None:
                self._ledger.expire(identity, now_s)
            return
        track = self._memory.tracks.get(TrackKey(*subject))
        if track is None:
            return
        if task == "decide" and track.identity_id is None:
            self._news.add(track.key)
        elif task == "review" and track.look_again_s is not None:
            track.look_again_s = None
            self._memory.touch_track(track)
            self._doubts.add(track.key)
        elif task == "fold" and track.identity_id is not None and not track.open and self._is_final(track, now_s):
            self._ledger.fold(track)

    def _is_final(self, track: TrackState, now_s: float) -> bool:
        """Whether it has been over for long enough; it may have gone on since that was planned."""
        return is_past(track.last_s + self._config.revise_s, now_s)

    def _decide(self, now_s: float, final: bool) -> None:
        moment = self._decider.round(self._news, now_s, final)
        while decisions := moment.next_decisions():
            for decision in decisions:
                decision.track.reviewed = decision.track.clips
                self._ledger.decide(decision, now_s)
        self._news.clear()

    def _review(self, now_s: float) -> bool:
        """Look at the doubtful again; whether anything was corrected."""
        doubtful = [self._memory.tracks[key] for key in self._doubts if key in self._memory.tracks]
        self._doubts.clear()
        corrected = False
        for track in sorted(doubtful, key=lambda t: (t.first_s, t.key)):
            for _ in range(_MOST_CORRECTIONS):
                correction = self._reviser.review(track)
                if correction is None:
                    break
                corrected = True
                for identity_id in self._ledger.correct(correction, now_s):
                    self._look_again(identity_id, now_s + _REVIEW_AFTER_S)
            track.reviewed = track.clips
            self._memory.touch_track(track)
            if not track.way_learned and self._reviser.is_sure(track):
                self._ledger.learn_way(track)
        return corrected

    def _look_again(self, identity_id: int, at_s: float) -> None:
        for track in self._memory.members(identity_id):
            if track.look_again_s is None:
                track.look_again_s = at_s
                self._agenda.put(at_s, "review", track_subject(track.key))
                self._memory.touch_track(track)

    def _say_left(self, tasks: Iterable[tuple[float, int, str]], now_s: float) -> None:
        due: list[tuple[float, int, Visit]] = []
        for _, identity_id, camera_id in tasks:
            identity = self._memory.identities.get(identity_id)
            due_s = due_left(identity, camera_id, self._rules, now_s) if identity else None
            if identity is None or due_s is None:
                continue
            if self._may_continue(camera_id, due_s):
                self._agenda.put(now_s, "left", (camera_id, "", identity_id))
            else:
                due.append((due_s, identity_id, identity.visits[camera_id]))
        self._ledger.say_left({(d[1], d[2].camera_id): d for d in due}.values(), now_s)

    def _may_continue(self, camera_id: str, due_s: float) -> bool:
        """Whether somebody undecided came in time to be the one who seems to have left."""
        return any(
            track.first_s < due_s and track.quality >= self._config.min_quality
            for track in self._memory.pending_in(camera_id)
        )

    # -- state out and in -------------------------------------------------------------------------------------------

    def _take_step(self) -> Step:
        self._memory.away = self._watermark.cameras_away
        step = Step(take_changes(self._memory), self._ledger.take_events(), tuple(self._done))
        self._done = []
        return step

    def _restore(self, state: Mapping[str, bytes]) -> None:
        memory = self._memory
        restore(memory, state)
        for producer, progress in sorted(memory.progress.items()):
            self._accepted[producer] = progress.handled
            if progress.until_s is not None:
                self._watermark.tick(progress.camera_id, progress.until_s)
        for camera_id in memory.away:
            self._watermark.away(camera_id)
        if memory.cell is not None and memory.step_s != self._grid.step_s:  # another grid: go on at the same moment
            memory.cell = self._grid.last_complete(Grid(memory.step_s).end_s(memory.cell))
        memory.step_s = self._grid.step_s
        self._plan()

    def _plan(self) -> None:
        """Everything that is due some time, from the state."""
        for track in self._memory.tracks.values():
            subject = track_subject(track.key)
            if track.look_again_s is not None:
                self._agenda.put(track.look_again_s, "review", subject)
            deadline_s = self._decider.deadline_s(track)
            if track.identity_id is None and not track.muted and not is_past(deadline_s, self._now_s()):
                self._agenda.put(deadline_s, "decide", subject)
        for identity in self._memory.identities.values():
            self._ledger.plan(identity)

    def emitted(self, step: Step, now_s: float) -> Step:
        """The step with the wall clock's time of emission in its events (live only)."""
        return replace(step, events=tuple(replace(e, emitted_at_s=now_s) for e in step.events))
