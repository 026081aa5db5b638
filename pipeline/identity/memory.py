"""All that a matcher knows between two messages, and how it is stored piece by piece and read back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pipeline.errors import DecodeError
from pipeline.identity.candidates import CandidateIndex
from pipeline.identity.gallery import Feature, Features, MatrixGallery, Owner
from pipeline.identity.places import TrackPlaces
from pipeline.identity.state import (
    FEATURES_PER_TRACK,
    CameraProgress,
    IdentityState,
    Sight,
    Span,
    TrackState,
    dump,
    identity_from_json,
    identity_to_json,
    load,
    track_field,
    track_from_json,
    track_to_json,
)
from pipeline.identity.transits import TransitTimes
from pipeline.types import ClipMessage, Tick, TrackKey

FORMAT = 2  # of the stored pieces
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
        self._pending: set[TrackKey] = set()
        self._open: dict[str, set[TrackKey]] = {}
        self._next_id = 1
        self._next_sequence = 1
        self._dirty: set[str] = set()

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
        self._sort_in(track)
        self.touch_track(track)

    def learn(self, track: TrackState, feature: Feature, min_quality: float) -> None:
        """Keep a track's good features that differ; the first one always, until a good one comes."""
        kept = self.gallery.features(track.key)
        if len(kept) and feature.quality < min_quality <= float(kept.qualities.max()):
            return
        self.gallery.add(track.key, feature, FEATURES_PER_TRACK)
        self.touch_track(track)

    def end_track(self, track: TrackState) -> None:
        track.open = False
        self._sort_in(track)
        self.touch_track(track)

    def reopen_track(self, track: TrackState) -> None:
        """Its camera was away, and goes on with it."""
        track.open = True
        self._sort_in(track)
        self.touch_track(track)

    def mute_track(self, track: TrackState) -> None:
        """Nothing more is learned of it, and it belongs to nobody."""
        self._leave(track)
        track.muted, track.frame = True, None
        self.gallery.remove(track.key)
        self.places.forget(track.key)
        self._sort_in(track)
        self.touch_track(track)
        if not track.open:
            self.drop_track(track)

    def drop_track(self, track: TrackState) -> None:
        self._leave(track)
        self.tracks.pop(track.key, None)
        self._pending.discard(track.key)
        self.places.forget(track.key)
        self._open.get(track.key.camera_id, set()).discard(track.key)
        self.gallery.remove(track.key)
        self.touch_track(track)

    def _sort_in(self, track: TrackState) -> None:
        is_pending = track.identity_id is None and not track.muted
        (self._pending.add if is_pending else self._pending.discard)(track.key)
        opened = self._open.setdefault(track.key.camera_id, set())
        (opened.add if track.open else opened.discard)(track.key)
        if track.identity_id is not None:
            self._members.setdefault(track.identity_id, set()).add(track.key)
            self._by_birth.pop(track.identity_id, None)

    def _leave(self, track: TrackState) -> None:
        if track.identity_id is not None:
            self._members.get(track.identity_id, set()).discard(track.key)
            self._by_birth.pop(track.identity_id, None)
            track.identity_id = None

    # -- identities -------------------------------------------------------------------------------------------------

    def new_identity(self, track: TrackState) -> IdentityState:
        """A person nobody has seen before; ids count up and are never used again."""
        identity = IdentityState(self._next_id, track.first_s, track.model_id)
        self.identities[identity.identity_id] = identity
        self._next_id += 1
        self.touch_identity(identity.identity_id)
        return identity

    def members(self, identity_id: int) -> Sequence[TrackState]:
        """The identity's tracks that are still known by themselves, by time of birth; not to be changed."""
        known = self._by_birth.get(identity_id)
        if known is None:
            tracks = [self.tracks[key] for key in self._members.get(identity_id, ())]
            known = self._by_birth[identity_id] = sorted(tracks, key=lambda t: (t.first_s, t.key))
        return known

    def owners(self, identity_id: int, without: Collection[TrackKey] = ()) -> list[Owner]:
        """Whose features speak for an identity."""
        keys = sorted(key for key in self._members.get(identity_id, ()) if key not in without)
        return [identity_id, *keys]

    def link(self, track: TrackState, identity_id: int) -> None:
        """The track is this identity's; it is nobody else's any more."""
        self._leave(track)
        track.identity_id = identity_id
        self._sort_in(track)
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
            self.touch_track(track)
        self.touch_archive(older.identity_id)
        into.model_id = (gone if older is into else into).model_id
        self.touch_identity(into.identity_id)

    def drop_identity(self, identity_id: int) -> None:
        self.identities.pop(identity_id, None)
        self._members.pop(identity_id, None)
        self._by_birth.pop(identity_id, None)
        self.index.remove(identity_id)
        self.gallery.remove(identity_id)
        self.touch_archive(identity_id)
        self.touch_identity(identity_id)

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
        self._next_sequence += 1
        return self._next_sequence - 1

    def note(self, message: ClipMessage) -> CameraProgress:
        """The message is handled: one with its number or a smaller one of its producer is a duplicate."""
        producer = (message.camera_id, message.epoch)
        if producer not in self.progress:
            self._make_room(message.camera_id)
        progress = self.progress.setdefault(producer, CameraProgress(*producer))
        progress.handled = max(progress.handled, message.sequence)
        if isinstance(message, Tick):
            progress.until_s = message.processed_until_s
        self._dirty.add(_producer_field(producer))
        return progress

    def touch_track(self, track: TrackState) -> None:
        self._dirty.add(track_field(track.key))

    def touch_identity(self, identity_id: int) -> None:
        self._dirty.add(f"identity:{identity_id}")

    def touch_archive(self, identity_id: int) -> None:
        self._dirty.add(f"archive:{identity_id}")

    def learn_way(self, origin: str, destination: str, gap_s: float, at_s: float) -> None:
        """A sure way of somebody from one camera to another."""
        self.transits.observe(origin, destination, gap_s, at_s)
        self._dirty.add(f"way:{origin}:{destination}")

    # -- out --------------------------------------------------------------------------------------------------------

    def take_changes(self) -> dict[str, bytes | None]:
        """Every touched piece as it is now, None for one that is gone; empty when nothing was touched."""
        if not self._dirty:
            return {}
        changes = {name: self._dump_piece(name) for name in sorted(self._dirty)}
        changes["meta"] = self._dump_meta()
        self._dirty = set()
        return changes

    def _dump_piece(self, name: str) -> bytes | None:
        kind, _, rest = name.partition(":")
        if kind == "track":
            track = self.tracks.get(_track_key(rest))
            if track is None:
                return None
            plain = {**track_to_json(track), "places": self.places.to_json(track.key)}
            return dump(plain, self.gallery.features(track.key))
        if kind == "identity":
            identity = self.identities.get(int(rest))
            return dump(identity_to_json(identity)) if identity else None
        if kind == "archive":
            features = self.gallery.features(int(rest))
            return dump({}, features) if len(features) else None
        if kind == "way":
            origin, _, destination = rest.partition(":")
            learned = self.transits.pair_to_json(origin, destination)
            return dump(learned) if learned is not None else None
        camera_id, _, epoch = rest.partition(":")
        progress = self.progress.get((camera_id, epoch))
        return _dump_progress(progress) if progress else None

    def _dump_meta(self) -> bytes:
        return dump(
            {
                "format": FORMAT,
                "next_id": self._next_id,
                "next_sequence": self._next_sequence,
                "cell": self.cell,
                "step_s": self.step_s,
                "epochs": self.epochs,
                "away": sorted(self.away),
                "unsettled": self.unsettled,
            }
        )

    def _make_room(self, camera_id: str) -> None:
        """Forget the oldest epoch of a camera that has had very many."""
        known = [p for (camera, _), p in self.progress.items() if camera == camera_id]
        if len(known) < _PRODUCERS:
            return
        oldest = min(known, key=lambda p: (p.until_s is not None, p.until_s or 0.0, p.epoch))
        producer = (oldest.camera_id, oldest.epoch)
        del self.progress[producer]
        self._dirty.add(_producer_field(producer))

    # -- in ---------------------------------------------------------------------------------------------------------

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Read back what `take_changes` wrote; `cell` and `step_s` are those of the writer.

        Raises:
            DecodeError: names the piece that cannot be read.
        """
        if "meta" not in state:
            raise DecodeError("the matcher's state has no field 'meta'; delete it to begin anew")
        if load("meta", state["meta"])[0].get("format") != FORMAT:
            raise DecodeError("the matcher's state was written by another version of this program; delete it to begin")
        for name in sorted(state):
            try:
                self._restore_piece(name, *load(name, state[name]))
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                problem = f"{type(error).__name__} {error}"
                raise DecodeError(
                    f"matcher state {name!r} cannot be read ({problem}); was it written by hand?"
                ) from None
        for track in self.tracks.values():
            if track.identity_id is not None and track.identity_id not in self.identities:
                raise DecodeError(f"matcher state {track_field(track.key)!r} names an identity that was not there")
        for progress in self.progress.values():
            self._restore_sight(progress)

    def _restore_piece(self, name: str, value: dict[str, Any], features: Features | None) -> None:
        kind, _, rest = name.partition(":")
        readers: dict[str, Callable[[str, dict[str, Any], Features | None], None]] = {
            "track": self._restore_track,
            "identity": self._restore_identity,
            "archive": self._restore_archive,
            "producer": self._restore_producer,
            "way": self._restore_way,
            "meta": self._restore_meta,
        }
        if kind in readers:
            readers[kind](rest, value, features)

    def _restore_track(self, _: str, value: dict[str, Any], features: Features | None) -> None:
        places = value.pop("places")
        track = track_from_json(value)
        if places is not None:
            self.places.restore(track.key, places)
        self.tracks[track.key] = track
        self._sort_in(track)
        self._put_back(track.key, features)

    def _restore_identity(self, _: str, value: dict[str, Any], features: Features | None) -> None:
        identity = identity_from_json(value)
        self.identities[identity.identity_id] = identity

    def _restore_archive(self, name: str, _: dict[str, Any], features: Features | None) -> None:
        self._put_back(int(name), features)

    def _put_back(self, owner: Owner, features: Features | None) -> None:
        if features is not None:
            self.gallery.put_back(owner, features)

    def _restore_producer(self, name: str, value: dict[str, Any], features: Features | None) -> None:
        camera_id, _, epoch = name.partition(":")
        value["visible"] = None if value["visible"] is None else tuple(value["visible"])
        self.progress[camera_id, epoch] = CameraProgress(camera_id, epoch, **value)

    def _restore_way(self, name: str, value: dict[str, Any], features: Features | None) -> None:
        origin, _, destination = name.partition(":")
        self.transits.restore_pair(origin, destination, value)

    def _restore_meta(self, _: str, value: dict[str, Any], features: Features | None) -> None:
        self._next_id, self._next_sequence = value["next_id"], value["next_sequence"]
        self.epochs = dict(value["epochs"])
        self.away = frozenset(value["away"])
        self.cell, self.step_s = value["cell"], value["step_s"]
        self.unsettled = bool(value["unsettled"])

    def _restore_sight(self, progress: CameraProgress) -> None:
        """The last tick's sight of tracks, which is stored with the tick only."""
        for track_id in progress.visible or ():
            track = self.tracks.get(TrackKey(progress.camera_id, progress.epoch, track_id))
            if track is not None and track.open and progress.visible_s is not None:
                track.last_s = max(track.last_s, progress.visible_s)


def _track_key(name: str) -> TrackKey:
    camera_id, _, rest = name.partition(":")
    epoch, _, number = rest.rpartition(":")
    return TrackKey(camera_id, epoch, int(number))


def _producer_field(producer: tuple[str, str]) -> str:
    return f"producer:{producer[0]}:{producer[1]}"


def _dump_progress(progress: CameraProgress) -> bytes:
    visible = None if progress.visible is None else list(progress.visible)
    seen = {"visible": visible, "visible_s": progress.visible_s}
    return dump({"handled": progress.handled, "until_s": progress.until_s, **seen})
