"""All that a matcher knows between two messages, and how it is stored piece by piece and read back."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import DecodeError
from pipeline.identity.gallery import Feature, MatrixGallery
from pipeline.identity.state import (
    CameraProgress,
    IdentityState,
    TrackState,
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
from pipeline.types import ClipMessage, Tick, TrackKey

_MIN_GAIN = 0.02  # a feature this near to one that is kept adds nothing to an identity
_PRODUCERS = 32  # epochs remembered per camera; what older ones sent was acknowledged long ago


class SiteMemory:
    """Tracks, identities and features of a site. Whoever changes a piece touches it, so that it is stored."""

    def __init__(self, features_per_identity: int, step_s: float) -> None:
        self.tracks: dict[TrackKey, TrackState] = {}
        self.identities: dict[int, IdentityState] = {}
        self.gallery = MatrixGallery(features_per_identity)
        self.progress: dict[tuple[str, str], CameraProgress] = {}
        self.epochs: dict[str, str] = {}  # camera -> epoch whose tracks are open
        self.away: frozenset[str] = frozenset()
        self.cell: int | None = None  # last cell decided
        self.step_s = step_s
        self._next_id = 1
        self._next_sequence = 1
        self._dirty: set[str] = set()

    def pending(self) -> list[TrackState]:
        """Tracks without an identity that may still get one, in order of key."""
        return [t for _, t in sorted(self.tracks.items()) if t.identity_id is None and not t.muted]

    def new_identity(self, track: TrackState) -> IdentityState:
        """A person nobody has seen before; ids count up and are never used again."""
        identity = IdentityState(self._next_id, track.first_s, track.model_id)
        self.identities[identity.identity_id] = identity
        self._next_id += 1
        return identity

    def next_sequence(self) -> int:
        """The number of the next event."""
        self._next_sequence += 1
        return self._next_sequence - 1

    def note(self, message: ClipMessage) -> None:
        """The message is handled: one with its number or a smaller one of its producer is a duplicate."""
        producer = (message.camera_id, message.epoch)
        if producer not in self.progress:
            self._make_room(message.camera_id)
        progress = self.progress.setdefault(producer, CameraProgress(*producer))
        progress.handled = max(progress.handled, message.sequence)
        if isinstance(message, Tick):
            progress.until_s = message.processed_until_s
        self._dirty.add(_producer_field(producer))

    def learn(self, identity: IdentityState, feature: Feature, min_quality: float) -> None:
        """Add a good feature that says something new; the first one always."""
        kept = self.gallery.features(identity.identity_id)
        if kept:
            nearest = min(1.0 - float(f.embedding @ feature.embedding) for f in kept)
            if feature.quality < min_quality or nearest < _MIN_GAIN:
                return
        self.gallery.add(identity.identity_id, feature.embedding, feature.quality, feature.at_s)
        self.touch_identity(identity.identity_id)

    def drop_track(self, track: TrackState) -> None:
        self.tracks.pop(track.key, None)
        self.touch_track(track)

    def drop_identity(self, identity_id: int) -> None:
        self.identities.pop(identity_id, None)
        self.gallery.remove(identity_id)
        self.touch_identity(identity_id)

    def touch_track(self, track: TrackState) -> None:
        self._dirty.add(track_field(track.key))

    def touch_identity(self, identity_id: int) -> None:
        self._dirty.add(f"identity:{identity_id}")

    # -- out --------------------------------------------------------------------------------------------------------

    def take_changes(self) -> dict[str, bytes | None]:
        """Every touched piece as it is now, None for one that is gone; empty when nothing was touched."""
        if not self._dirty:
            return {}
        tracks = {track_field(key): track for key, track in self.tracks.items()}
        producers = {_producer_field(producer): progress for producer, progress in self.progress.items()}
        changes: dict[str, bytes | None] = {}
        for name in sorted(self._dirty):
            kind, _, rest = name.partition(":")
            if kind == "track":
                changes[name] = dump(track_to_json(tracks[name])) if name in tracks else None
            elif kind == "identity":
                changes[name] = self._dump_identity(int(rest))
            else:
                changes[name] = _dump_progress(producers.get(name))
        changes["meta"] = self._dump_meta()
        self._dirty = set()
        return changes

    def _dump_identity(self, identity_id: int) -> bytes | None:
        identity = self.identities.get(identity_id)
        if identity is None:
            return None
        features = [
            {"embedding": pack_array(f.embedding), "quality": f.quality, "at_s": f.at_s}
            for f in self.gallery.features(identity_id)
        ]
        return dump({**identity_to_json(identity), "features": features})

    def _dump_meta(self) -> bytes:
        return dump(
            {
                "next_id": self._next_id,
                "next_sequence": self._next_sequence,
                "cell": self.cell,
                "step_s": self.step_s,
                "epochs": self.epochs,
                "away": sorted(self.away),
            }
        )

    def _make_room(self, camera_id: str) -> None:
        """Forget the oldest epoch of a camera that has had very many."""
        known = [p for p in self.progress.values() if p.camera_id == camera_id]
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
        for name in sorted(state):
            try:
                self._restore_piece(name, load(name, state[name]))
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                problem = f"{type(error).__name__} {error}"
                raise DecodeError(
                    f"matcher state {name!r} cannot be read ({problem}); was it written by hand?"
                ) from None
        for track in self.tracks.values():
            self._restore_link(track)

    def _restore_piece(self, name: str, value: dict[str, Any]) -> None:
        kind, _, rest = name.partition(":")
        readers: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "track": self._restore_track,
            "identity": self._restore_identity,
            "producer": self._restore_producer,
            "meta": self._restore_meta,
        }
        if kind in readers:
            readers[kind](rest, value)

    def _restore_track(self, _: str, value: dict[str, Any]) -> None:
        track = track_from_json(value)
        self.tracks[track.key] = track

    def _restore_identity(self, _: str, value: dict[str, Any]) -> None:
        features = value.pop("features")
        identity = identity_from_json(value)
        self.identities[identity.identity_id] = identity
        for f in features:
            self.gallery.add(identity.identity_id, unpack_array(f["embedding"]), f["quality"], f["at_s"])

    def _restore_producer(self, name: str, value: dict[str, Any]) -> None:
        camera_id, _, epoch = name.partition(":")
        self.progress[camera_id, epoch] = CameraProgress(camera_id, epoch, **value)

    def _restore_meta(self, _: str, value: dict[str, Any]) -> None:
        self._next_id, self._next_sequence = value["next_id"], value["next_sequence"]
        self.epochs = dict(value["epochs"])
        self.away = frozenset(value["away"])
        self.cell, self.step_s = value["cell"], value["step_s"]

    def _restore_link(self, track: TrackState) -> None:
        """Bring a linked track's visit up to date: a clip that teaches nothing changes only the stored track."""
        if track.identity_id is None:
            return
        identity = self.identities.get(track.identity_id)
        visit = identity.visits.get(track.key.camera_id) if identity else None
        if visit is None:
            raise DecodeError(f"matcher state {track_field(track.key)!r} names an identity that was not there")
        visit.last_s = max(visit.last_s, track.last_s)


def _producer_field(producer: tuple[str, str]) -> str:
    return f"producer:{producer[0]}:{producer[1]}"


def _dump_progress(progress: CameraProgress | None) -> bytes | None:
    return dump({"handled": progress.handled, "until_s": progress.until_s}) if progress else None
