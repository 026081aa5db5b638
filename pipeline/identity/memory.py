"""All that a matcher knows between two messages."""

from collections.abc import Collection, Sequence

from pipeline.identity.candidates import CandidateIndex
from pipeline.identity.common_look import CommonLooks
from pipeline.identity.gallery import Feature, MatrixGallery, Owner
from pipeline.identity.places import TrackPlaces
from pipeline.identity.state import (
    FEATURES_PER_TRACK,
    CameraProgress,
    IdentityState,
    Sight,
    Span,
    TrackState,
    track_field,
)
from pipeline.identity.transits import TransitTimes
from pipeline.types import ClipFeature, ClipMessage, Tick, TrackKey

_PRODUCERS = 32  # epochs remembered per camera; what older ones sent was acknowledged long ago
_KEEP_SPANS = 64  # ended tracks an identity remembers per camera, for exclusion


class SiteMemory:
    """Tracks, identities and features of a site. Whoever changes a piece touches it, so that it is stored.

    An identity's features are those of its tracks that are still known by themselves, each of which may turn out to be
    somebody else's, and what it keeps of those that are long over.
    """

    def __init__(
        self,
        features_per_identity: int,
        step_s: float,
        places: TrackPlaces | None = None,
        transits: TransitTimes | None = None,
        index: CandidateIndex | None = None,
    ) -> None:
        self.tracks: dict[TrackKey, TrackState] = {}
        self.identities: dict[int, IdentityState] = {}
        self.gallery = MatrixGallery()
        self.common = CommonLooks()
        self.progress: dict[tuple[str, str], CameraProgress] = {}
        self.epochs: dict[str, str] = {}  # camera -> epoch whose tracks are open
        self.away: frozenset[str] = frozenset()
        self.cell: int | None = None  # last cell decided
        self.step_s = step_s
        self.unsettled = False  # clips came since everything was looked at again
        self.places = TrackPlaces({}) if places is None else places
        self.transits = TransitTimes(()) if transits is None else transits
        self.index = CandidateIndex((), ()) if index is None else index
        self._most = features_per_identity
        self._members: dict[int, set[TrackKey]] = {}
        self._by_birth: dict[int, list[TrackState]] = {}  # the same in order, made when it is asked for
        self._owners: dict[int, list[Owner]] = {}  # likewise
        self._pending: set[TrackKey] = set()
        self._open: dict[str, set[TrackKey]] = {}
        self.next_id = 1
        self.next_event = 1
        self._dirty: set[str] = set()
        self._stamps: dict[Owner, int] = {}
        self._changes = 0

    # -- tracks -----------------------------------------------------------------------------------------------------

    def pending(self) -> list[TrackState]:
        """Tracks without an identity that may still get one, in order of key."""
        return [self.tracks[key] for key in sorted(self._pending)]

    def pending_in(self, camera_id: str) -> list[TrackState]:
        return [self.tracks[key] for key in sorted(self._pending) if key.camera_id == camera_id]

    def open_in(self, camera_id: str) -> list[TrackState]:
        """Tracks of a camera whose end was not told, in order of key."""
        return [self.tracks[key] for key in sorted(self._open.get(camera_id, ()))]

    def add_track(self, track: TrackState) -> None:
        self.tracks[track.key] = track
        self.sort_in(track)
        self.touch_track(track)

    def give_look(self, clip: ClipFeature) -> None:
        """A good clip counts for those who come to its camera."""
        if self.common.give(clip):
            self._dirty.add(f"common:{clip.camera_id}")

    def settle_look(self, track: TrackState, identity_id: int) -> None:
        """Whose a track is, before it is linked: who is in a camera for the first time counts for those who come."""
        camera_id = track.key.camera_id
        been = camera_id in self.identities[identity_id].past
        been = been or any(member.key.camera_id == camera_id for member in self.members(identity_id))
        if self.common.settle(track.key, counts=not been):
            self._dirty.add(f"common:{camera_id}")

    def forget_common(self, identity_id: int) -> None:
        """Forget what the cameras of an identity know of those who passed, where they were few."""
        cameras = {*self.identities[identity_id].past, *(t.key.camera_id for t in self.members(identity_id))}
        self._dirty.update(f"common:{camera_id}" for camera_id in self.common.forget_few(sorted(cameras)))

    def learn(self, track: TrackState, feature: Feature, min_quality: float) -> None:
        """Keep a track's good features that differ; the first one always, until a good one comes."""
        kept = self.gallery.features(track.key)
        if len(kept) and feature.quality < min_quality <= float(kept.qualities.max()):
            return
        self.gallery.add(track.key, feature, FEATURES_PER_TRACK)
        self.touch_features(track)

    def end_track(self, track: TrackState) -> None:
        track.open = False
        self.sort_in(track)
        self.touch_track(track)

    def reopen_track(self, track: TrackState) -> None:
        """Its camera was away, and goes on with it."""
        track.open = True
        self.sort_in(track)
        self.touch_track(track)

    def mute_track(self, track: TrackState) -> None:
        """Nothing more is learned of it, and it belongs to nobody."""
        self._leave(track)
        track.muted, track.frame = True, None
        self.gallery.remove(track.key)
        self.places.forget(track.key)
        self.common.forget_track(track.key)
        self.sort_in(track)
        self.touch_features(track)
        if not track.open:
            self.drop_track(track)

    def drop_track(self, track: TrackState) -> None:
        self._leave(track)
        self.tracks.pop(track.key, None)
        self._pending.discard(track.key)
        self.places.forget(track.key)
        self.common.forget_track(track.key)
        self._open.get(track.key.camera_id, set()).discard(track.key)
        self.gallery.remove(track.key)
        self._stamps.pop(track.key, None)
        self.touch_track(track)

    def sort_in(self, track: TrackState) -> None:
        """Note whose a track is, and whether it is open or undecided."""
        is_pending = track.identity_id is None and not track.muted
        (self._pending.add if is_pending else self._pending.discard)(track.key)
        opened = self._open.setdefault(track.key.camera_id, set())
        (opened.add if track.open else opened.discard)(track.key)
        if track.identity_id is not None:
            self._members.setdefault(track.identity_id, set()).add(track.key)
            self._members_changed(track.identity_id)

    def _leave(self, track: TrackState) -> None:
        if track.identity_id is not None:
            self._members.get(track.identity_id, set()).discard(track.key)
            self._members_changed(track.identity_id)
            track.identity_id = None

    def _members_changed(self, identity_id: int) -> None:
        self._by_birth.pop(identity_id, None)
        self._owners.pop(identity_id, None)
        self._stamp(identity_id)

    # -- looks ------------------------------------------------------------------------------------------------------

    def stamp(self, owner: Owner) -> int:
        """A number that changes whenever a track's or an identity's features do, and is never used again."""
        return self._stamps.get(owner, 0)

    def _stamp(self, owner: Owner) -> None:
        self._changes += 1
        self._stamps[owner] = self._changes

    def touch_features(self, track: TrackState) -> None:
        """A track's features changed, and with them its identity's."""
        self._stamp(track.key)
        if track.identity_id is not None:
            self._stamp(track.identity_id)
        self.touch_track(track)

    def owner_of(self, key: TrackKey) -> int | None:
        """Whose a track is; None when nobody's, or not known."""
        track = self.tracks.get(key)
        return None if track is None else track.identity_id

    # -- identities -------------------------------------------------------------------------------------------------

    def new_identity(self, track: TrackState) -> IdentityState:
        """A person nobody has seen before; ids count up and are never used again."""
        identity = IdentityState(self.next_id, track.first_s, track.model_id)
        self.identities[identity.identity_id] = identity
        self.next_id += 1
        self.touch_identity(identity.identity_id)
        return identity

    def members(self, identity_id: int) -> Sequence[TrackState]:
        """The identity's tracks that are still known by themselves, by time of birth; not to be changed."""
        known = self._by_birth.get(identity_id)
        if known is None:
            tracks = [self.tracks[key] for key in self._members.get(identity_id, ())]
            known = self._by_birth[identity_id] = sorted(tracks, key=lambda t: (t.first_s, t.key))
        return known

    def owners(self, identity_id: int, without: Collection[TrackKey] = ()) -> Sequence[Owner]:
        """Whose features speak for an identity; not to be changed."""
        known = self._owners.get(identity_id)
        if known is None:
            known = self._owners[identity_id] = [identity_id, *sorted(self._members.get(identity_id, ()))]
        if not without or self._members.get(identity_id, frozenset()).isdisjoint(without):
            return known
        return [owner for owner in known if owner not in without]

    def link(self, track: TrackState, identity_id: int) -> None:
        """The track is this identity's; it is nobody else's any more."""
        self._leave(track)
        track.identity_id = identity_id
        self.sort_in(track)
        self.touch_track(track)
        self.touch_identity(identity_id)

    def fold(self, track: TrackState) -> None:
        """What an ended track said becomes part of its identity for good; the track is dropped."""
        identity = self.identities[track.identity_id or 0]
        camera_id = track.key.camera_id
        self.gallery.move(track.key, identity.identity_id, self._most)
        spans = identity.spans.setdefault(camera_id, [])
        first_s, last_s = self._alone(track)
        if first_s < last_s:
            spans.append((first_s, last_s))
        del spans[:-_KEEP_SPANS]
        seen = identity.past.get(camera_id)
        if seen is None or track.last_s >= seen.last_s:
            identity.past[camera_id] = Sight(track.last_s, track.key, track.left_picture)
        self.drop_track(track)
        self.touch_archive(identity.identity_id)
        self.touch_identity(identity.identity_id)

    def _alone(self, track: TrackState) -> Span:
        """A track's span without what another one of its identity and camera has too: one person, told twice."""
        others = [
            member.span
            for member in self.members(track.identity_id or 0)
            if member.key != track.key and member.key.camera_id == track.key.camera_id
        ]
        first_s = max([track.first_s, *(b for a, b in others if a <= track.first_s < b)])
        last_s = min([track.last_s, *(a for a, b in others if a < track.last_s <= b)])
        return first_s, last_s

    def absorb(self, gone: IdentityState, into: IdentityState) -> None:
        """Everything of one identity becomes the other's; visits have to be worked out anew.

        Of features of two models those of the one that was seen last serve on.
        """
        if gone.model_id != into.model_id:
            self._keep_one_model(gone, into)
        for track in list(self.members(gone.identity_id)):
            self.link(track, into.identity_id)
        self.gallery.move(gone.identity_id, into.identity_id, self._most)
        for camera_id, spans in gone.spans.items():
            into.spans[camera_id] = sorted([*into.spans.get(camera_id, []), *spans])[-_KEEP_SPANS:]
        for camera_id, seen in gone.past.items():
            own = into.past.get(camera_id)
            if own is None or seen.last_s > own.last_s:
                into.past[camera_id] = seen
        for camera_id, said_s in gone.left_said_s.items():
            into.left_said_s[camera_id] = max(said_s, into.left_said_s.get(camera_id, said_s))
        into.since_s = min(into.since_s, gone.since_s)
        into.apart |= gone.apart
        into.name = into.name or gone.name
        for other_id in sorted(gone.apart):
            if other_id in self.identities:
                self.identities[other_id].apart.add(into.identity_id)
                self.touch_identity(other_id)
        self.drop_identity(gone.identity_id)
        self.touch_archive(into.identity_id)
        self.touch_identity(into.identity_id)

    def _keep_one_model(self, gone: IdentityState, into: IdentityState) -> None:
        older = min((gone, into), key=lambda i: (self.last_seen_s(i), i.identity_id))
        for owner in self.owners(older.identity_id):
            self.gallery.remove(owner)
        for track in self.members(older.identity_id):
            self.touch_features(track)
        self.touch_archive(older.identity_id)
        into.model_id = (gone if older is into else into).model_id
        self.touch_identity(into.identity_id)

    def drop_identity(self, identity_id: int) -> None:
        self.identities.pop(identity_id, None)
        self._members.pop(identity_id, None)
        self._by_birth.pop(identity_id, None)
        self._owners.pop(identity_id, None)
        self.index.remove(identity_id)
        self.gallery.remove(identity_id)
        self.touch_archive(identity_id)
        self.touch_identity(identity_id)
        self._stamps.pop(identity_id, None)  # ids are never used again

    def place(self, identity: IdentityState) -> None:
        """Note where and when the identity was seen last, for those who look for it."""
        self.index.remove(identity.identity_id)
        for visit in identity.visits.values():
            self.index.seen(identity.identity_id, visit.camera_id, visit.last_s)

    # -- the site ---------------------------------------------------------------------------------------------------

    def tells_who_is_visible(self, key: TrackKey) -> bool:
        """Whether a track's camera says with its ticks who is seen."""
        progress = self.progress.get((key.camera_id, key.epoch))
        return progress is not None and progress.visible is not None

    def oldest_feature_s(self, identity_id: int) -> float:
        """Time of the oldest feature that speaks for an identity; inf when there is none."""
        return min(self.gallery.oldest_s(owner) for owner in self.owners(identity_id))

    def last_seen_s(self, identity: IdentityState) -> float:
        """When an identity was seen last, by a track that is open or over."""
        return max([identity.last_s, *(track.last_s for track in self.members(identity.identity_id))])

    def next_sequence(self) -> int:
        """The number of the next event."""
        self.next_event += 1
        return self.next_event - 1

    def note(self, message: ClipMessage) -> CameraProgress:
        """The message is handled: one with its number or a smaller one of its producer is a duplicate."""
        producer = (message.camera_id, message.epoch)
        if producer not in self.progress:
            self._make_room(message.camera_id)
        progress = self.progress.setdefault(producer, CameraProgress(*producer))
        progress.handled = max(progress.handled, message.sequence)
        if isinstance(message, Tick):
            progress.until_s = message.processed_until_s
        self._dirty.add(producer_field(producer))
        return progress

    def touch_track(self, track: TrackState) -> None:
        self._dirty.add(track_field(track.key))

    def touch_identity(self, identity_id: int) -> None:
        self._dirty.add(f"identity:{identity_id}")

    def touch_archive(self, identity_id: int) -> None:
        """What the identity keeps of tracks that are long over changed."""
        self._stamp(identity_id)
        self._dirty.add(f"archive:{identity_id}")

    def learn_way(self, origin: str, destination: str, gap_s: float, at_s: float) -> None:
        """A sure way of somebody from one camera to another."""
        self.transits.observe(origin, destination, gap_s, at_s)
        self._dirty.add(f"way:{origin}:{destination}")

    def take_touched(self) -> list[str]:
        """Names of the pieces that were touched since the last call, in order."""
        touched, self._dirty = sorted(self._dirty), set()
        return touched

    def set_epoch(self, camera_id: str, epoch: str) -> None:
        """The camera's open tracks are of this epoch from now on."""
        self.epochs[camera_id] = epoch
        self._dirty.add(f"camera:{camera_id}")

    def _make_room(self, camera_id: str) -> None:
        """Forget the oldest epoch of a camera that has had very many."""
        known = [p for (camera, _), p in self.progress.items() if camera == camera_id]
        if len(known) < _PRODUCERS:
            return
        oldest = min(known, key=lambda p: (p.until_s is not None, p.until_s or 0.0, p.epoch))
        producer = (oldest.camera_id, oldest.epoch)
        del self.progress[producer]
        self._dirty.add(producer_field(producer))


def producer_field(producer: tuple[str, str]) -> str:
    return f"producer:{producer[0]}:{producer[1]}"
