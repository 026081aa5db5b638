"""Carries decisions out: what changes in the memory, and what is said about it."""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.config import MatcherConfig
from pipeline.identity.agenda import Agenda, track_subject, visit_subject
from pipeline.identity.decide import Decision
from pipeline.identity.entries import came_in_with
from pipeline.identity.memory import SiteMemory
from pipeline.identity.order import is_past
from pipeline.identity.revise import Correction
from pipeline.identity.rules import Appearance, PresenceRules, bring_up_to_date, confidence_of
from pipeline.identity.state import IdentityState, TrackState, Visit
from pipeline.types import EventKind, Evidence, IdentityEvent

_SPARE = 100  # of too many identities a hundredth more goes than must: each time all are looked through
_MINUTE_S = 60.0  # what has expired is looked for at full minutes of message time


class Ledger:
    """The only one who changes whose a track is; every change is an event.

    Args:
        features_s: how long a feature may serve, message time.
    """

    def __init__(
        self,
        config: MatcherConfig,
        features_s: float,
        memory: SiteMemory,
        rules: PresenceRules,
        agenda: Agenda,
    ) -> None:
        self._config = config
        self._features_s = min(features_s, config.identity_ttl_s)
        self._memory = memory
        self._rules = rules
        self._agenda = agenda
        self._events: list[IdentityEvent] = []

    def take_events(self) -> tuple[IdentityEvent, ...]:
        events, self._events = tuple(self._events), []
        return events

    # -- tracks and identities ----------------------------------------------------------------------------------------

    def decide(self, decision: Decision, now_s: float) -> int | None:
        """A track's first identity; returns it, None for a track that cannot be told."""
        track = decision.track
        if decision.unknown:
            self._say("unknown", 0, track, now_s, **self._grounds(decision.evidence))
            self._memory.mute_track(track)
            return None
        identity = self._identity(decision.identity_id, track)
        company = self._memory.open_in(track.key.camera_id)
        came_in_s = came_in_with(track, company, self._memory.places)
        members = self._memory.members(identity.identity_id)
        appearance = self._rules.appearance(track, identity, members, came_in_s)
        self._memory.settle_look(track, identity.identity_id)
        self._memory.link(track, identity.identity_id)
        self._say(
            appearance.kind,
            identity.identity_id,
            track,
            now_s,
            name=identity.name,
            at_s=appearance.at_s,
            **_arrival(appearance),
            **self._grounds(decision.evidence),
        )
        self._refresh(identity)
        return identity.identity_id

    def correct(self, correction: Correction, now_s: float) -> tuple[int, ...]:
        """A change of mind; returns the identities that it is about."""
        if correction.kind == "merged" and correction.to_id is not None:
            gone, into = (self._memory.identities[i] for i in (correction.identity_id, correction.to_id))
            self.merge(gone, into, now_s, **self._grounds(correction.evidence))
            return (into.identity_id,)
        to_id = self.part(correction.tracks, correction.to_id, now_s, **self._grounds(correction.evidence))
        return (correction.identity_id, to_id) if correction.identity_id in self._memory.identities else (to_id,)

    def merge(self, gone: IdentityState, into: IdentityState, now_s: float, **about: Any) -> None:
        """Two identities are one person; everything of the first is the second's from now on."""
        since_s = gone.since_s
        members = [list(self._memory.members(one.identity_id)) for one in (gone, into)]
        by_hand = about.get("by") == "operator"  # what an operator knows is no news to him
        returns = [] if by_hand else self._rules.returns_by_merge(gone, into, *members)
        self._memory.absorb(gone, into)
        event = IdentityEvent(
            self._memory.next_sequence(),
            "merged",
            gone.identity_id,
            None,
            since_s,
            now_s,
            other_identity_id=into.identity_id,
            name=into.name,
            **about,
        )
        self._events.append(event)
        for track, appearance in returns:
            self._say("reentered", into.identity_id, track, now_s, name=into.name, **_arrival(appearance), **about)
        self._refresh(into)

    def part(self, tracks: Sequence[TrackState], to_id: int | None, now_s: float, **about: Any) -> int:
        """Tracks of one identity are somebody else: `to_id`, or a new identity; returns whose they are."""
        kind: EventKind = "split" if to_id is None else "reassigned"
        identity = self._identity(to_id, tracks[0])
        for track in tracks:
            own = track.identity_id
            appearance = self._rules.appearance(track, identity, self._memory.members(identity.identity_id))
            track.moved += 1
            self._memory.link(track, identity.identity_id)
            self._say(
                kind,
                identity.identity_id,
                track,
                now_s,
                other_identity_id=own,
                absent_s=_rounded(appearance.absent_s),
                via=appearance.via,
                previous_key=appearance.previous_key,
                name=identity.name,
                **about,
            )
            self._left_behind(own)
        self._refresh(identity)
        return identity.identity_id

    def end(self, track: TrackState) -> None:
        """The track has ended: its last box is known."""
        self._memory.end_track(track)
        if track.muted:
            self._memory.drop_track(track)
        elif track.identity_id is not None:
            self._refresh(self._memory.identities[track.identity_id])

    def go_on(self, track: TrackState) -> None:
        """A track that was closed, because its camera was away, is seen again."""
        self._memory.reopen_track(track)
        if track.identity_id is not None:
            self._refresh(self._memory.identities[track.identity_id])

    def fold(self, track: TrackState) -> None:
        """The track's link is final: what it says goes into its identity."""
        identity = self._memory.identities[track.identity_id or 0]
        self._memory.fold(track)
        self._watch(identity)

    def learn_way(self, track: TrackState) -> None:
        """A sure link teaches how long people take from camera to camera."""
        track.way_learned = True
        identity = self._memory.identities[track.identity_id or 0]
        seen = [(sight.last_s, camera_id) for camera_id, sight in identity.past.items()]
        for member in self._memory.members(identity.identity_id):
            if member.key != track.key and (member.first_s, member.key) < (track.first_s, track.key):
                seen.append((member.last_s, member.key.camera_id))
        last_s, camera_id = max(seen, default=(0.0, track.key.camera_id))
        if camera_id != track.key.camera_id:
            self._memory.learn_way(camera_id, track.key.camera_id, track.first_s - last_s, track.first_s)

    def say_left(self, due: Iterable[tuple[float, int, Visit]], now_s: float) -> None:
        for _, identity_id, visit in sorted(due, key=lambda d: (d[0], d[1], d[2].camera_id)):
            visit.left_at_s = now_s
            identity = self._memory.identities[identity_id]
            identity.left_said_s[visit.camera_id] = visit.last_s
            self._memory.touch_identity(identity_id)
            track = TrackState(visit.last_key, visit.last_s, visit.last_s)
            self._say("left", identity_id, track, now_s, name=identity.name)

    def rename(self, identity: IdentityState, name: str | None, now_s: float) -> None:
        identity.name = name
        self._memory.touch_identity(identity.identity_id)
        self._announce("renamed", identity.identity_id, now_s, name=name)

    def forget(self, identity_id: int, now_s: float) -> None:
        """Erase one identity; its open tracks are muted, so that nothing of them is learned again."""
        self._memory.forget_common(identity_id)
        for track in list(self._memory.members(identity_id)):
            self._memory.mute_track(track)
        self._memory.drop_identity(identity_id)
        self._announce("forgotten", identity_id, now_s)

    # -- expiry -------------------------------------------------------------------------------------------------------

    def expire(self, identity: IdentityState, now_s: float) -> None:
        """Drop what is too old of an identity, or the identity itself; somebody who is seen now stays."""
        now_s = now_s // _MINUTE_S * _MINUTE_S  # the minute for which it was planned
        identity_id = identity.identity_id
        members = self._memory.members(identity_id)
        kept = self._forget_features(identity_id, members, now_s - self._features_s)
        is_open = any(track.open for track in members)
        if is_open or (kept and self._memory.last_seen_s(identity) >= now_s - self._config.identity_ttl_s):
            self._watch(identity)
            return
        for track in list(members):
            self._memory.drop_track(track)
        self._memory.drop_identity(identity_id)

    def _forget_features(self, identity_id: int, members: Sequence[TrackState], before_s: float) -> int:
        """How many features are left."""
        gallery = self._memory.gallery
        had = gallery.count(identity_id)
        kept = gallery.forget_before(identity_id, before_s)
        if kept < had:
            self._memory.touch_archive(identity_id)
        for track in members:
            had = gallery.count(track.key)
            left = gallery.forget_before(track.key, before_s)
            kept += left
            if left < had:
                self._memory.touch_features(track)
        return kept

    def make_room(self, most: int) -> None:
        """Drop those who were seen longest ago, beyond `most` identities; who is in a picture goes last."""
        over = len(self._memory.identities) - most
        if over <= 0:
            return
        gone = over + most // _SPARE
        for _, _, identity_id in heapq.nsmallest(gone, map(self._age, self._memory.identities.values())):
            for track in list(self._memory.members(identity_id)):
                self._memory.mute_track(track)
            self._memory.drop_identity(identity_id)

    def _age(self, identity: IdentityState) -> tuple[bool, float, int]:
        is_open = any(visit.open_tracks for visit in identity.visits.values())
        return is_open, self._memory.last_seen_s(identity) if is_open else identity.last_s, identity.identity_id

    def _watch(self, identity: IdentityState) -> None:
        """Note when to look whether anything of the identity has expired; who is in a picture does not."""
        due_s = self._memory.oldest_feature_s(identity.identity_id) + self._features_s
        if not any(track.open for track in self._memory.members(identity.identity_id)):
            due_s = min(due_s, self._memory.last_seen_s(identity) + self._config.identity_ttl_s)
        if math.isfinite(due_s):
            minute_s = (due_s // _MINUTE_S + 1) * _MINUTE_S
            self._agenda.put(minute_s, "expire", visit_subject("", identity.identity_id))

    # ---------------------------------------------------------------------------------------------------------------

    def _identity(self, identity_id: int | None, track: TrackState) -> IdentityState:
        if identity_id is not None:
            return self._memory.identities[identity_id]
        return self._memory.new_identity(track)

    def _left_behind(self, identity_id: int | None) -> None:
        """An identity has lost a track; one that has nothing left is gone."""
        identity = self._memory.identities.get(identity_id or 0)
        if identity is None:
            return
        if not self._memory.members(identity.identity_id) and not self._memory.gallery.count(identity.identity_id):
            self._memory.drop_identity(identity.identity_id)
        else:
            self._refresh(identity)

    def _refresh(self, identity: IdentityState) -> None:
        """Visits as the tracks say, and what is to be done when."""
        bring_up_to_date(identity, self._memory.members(identity.identity_id))
        self._memory.touch_identity(identity.identity_id)
        self.plan(identity)

    def plan(self, identity: IdentityState) -> None:
        """Note where the identity is, and what is due some time: `left`, links that become final, expiry."""
        self._memory.place(identity)
        for track in self._memory.members(identity.identity_id):
            if not track.open:
                self._agenda.put(track.last_s + self._config.revise_s, "fold", track_subject(track.key))
        for visit in identity.visits.values():
            due_s = self._rules.due_s(visit)
            if due_s is not None:
                self._agenda.put(due_s, "left", visit_subject(visit.camera_id, identity.identity_id))
        self._watch(identity)

    def _grounds(self, evidence: Evidence) -> dict[str, Any]:
        """Why something was decided, and how surely."""
        sure = confidence_of(evidence, self._config.margin)
        return {"evidence": evidence, "confidence": None if sure is None else round(sure, 4)}

    def _announce(self, kind: EventKind, identity_id: int, now_s: float, **about: Any) -> None:
        """An operator's word about a whole identity."""
        sequence = self._memory.next_sequence()
        self._events.append(IdentityEvent(sequence, kind, identity_id, None, now_s, now_s, by="operator", **about))

    def _say(
        self,
        kind: EventKind,
        identity_id: int,
        track: TrackState,
        now_s: float,
        at_s: float | None = None,
        **about: Any,
    ) -> None:
        """`at_s`: when it became visible; None: when the track did."""
        sequence, since_s = self._memory.next_sequence(), track.first_s if at_s is None else at_s
        event = IdentityEvent(sequence, kind, identity_id, track.key, since_s, now_s, frame=track.frame, **about)
        self._events.append(event)


def due_left(identity: IdentityState, camera_id: str, rules: PresenceRules, now_s: float) -> float | None:
    """When `left` was due for a visit, if it is past."""
    visit = identity.visits.get(camera_id)
    due_s = rules.due_s(visit) if visit is not None else None
    return due_s if due_s is not None and is_past(due_s, now_s) else None


def _arrival(appearance: Appearance) -> dict[str, Any]:
    """What an event says of where the identity was before."""
    return {
        "absent_s": _rounded(appearance.absent_s),
        "via": appearance.via,
        "previous_key": appearance.previous_key,
        "exit_camera_id": appearance.exit_camera_id,
        "exit_at_s": _rounded(appearance.exit_at_s),
    }


def _rounded(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s, 6)
