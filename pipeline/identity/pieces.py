"""How all that a matcher knows is stored, piece by piece, and read back.

Pieces: `track:` with its features and places, `identity:`, `archive:` the features that an identity keeps, `way:` the
transit times learned of two cameras, `common:` what those who passed a camera have in common, `producer:` what was
handled of an epoch, `camera:` its epoch, and `meta`.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pipeline.errors import DecodeError
from pipeline.identity.common_look import look_from_json, look_to_json, view_from_json, view_to_json
from pipeline.identity.gallery import Features, Owner
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import (
    CameraProgress,
    Piece,
    dump,
    identity_from_json,
    identity_to_json,
    load,
    track_field,
    track_from_json,
    track_to_json,
)
from pipeline.types import TrackKey

FORMAT = 4  # of the stored pieces


def take_changes(memory: SiteMemory) -> dict[str, bytes | None]:
    """Every touched piece as it is now, None for one that is gone; empty when nothing was touched."""
    touched = memory.take_touched()
    if not touched:
        return {}
    changes = {name: _dump_piece(memory, name) for name in touched}
    changes["meta"] = _dump_meta(memory)
    return changes


def _dump_piece(memory: SiteMemory, name: str) -> bytes | None:
    kind, _, rest = name.partition(":")
    return _WRITERS[kind](memory, rest)


def _dump_track(memory: SiteMemory, name: str) -> bytes | None:
    track = memory.tracks.get(_track_key(name))
    if track is None:
        return None
    plain = {**track_to_json(track), "places": memory.places.to_json(track.key)}
    view = memory.common.tracks.get(track.key)
    plain["common"], raw = (None, b"") if view is None else view_to_json(view)
    return dump(plain, memory.gallery.features(track.key), raw)


def _dump_identity(memory: SiteMemory, name: str) -> bytes | None:
    identity = memory.identities.get(int(name))
    return dump(identity_to_json(identity)) if identity else None


def _dump_archive(memory: SiteMemory, name: str) -> bytes | None:
    features = memory.gallery.features(int(name))
    return dump({}, features) if len(features) else None


def _dump_way(memory: SiteMemory, name: str) -> bytes | None:
    origin, _, destination = name.partition(":")
    learned = memory.transits.pair_to_json(origin, destination)
    return dump(learned) if learned is not None else None


def _dump_common(memory: SiteMemory, name: str) -> bytes | None:
    camera = memory.common.cameras.get(name)
    if camera is None:
        return None
    about, raw = look_to_json(camera)
    return dump(about, rest=raw)


def _dump_producer(memory: SiteMemory, name: str) -> bytes | None:
    camera_id, _, epoch = name.partition(":")
    progress = memory.progress.get((camera_id, epoch))
    if progress is None:
        return None
    visible = None if progress.visible is None else list(progress.visible)
    seen = {"visible": visible, "visible_s": progress.visible_s}
    return dump({"handled": progress.handled, "until_s": progress.until_s, **seen})


def _dump_camera(memory: SiteMemory, name: str) -> bytes | None:
    return dump({"epoch": memory.epochs[name]})


def _dump_meta(memory: SiteMemory) -> bytes:
    return dump(
        {
            "format": FORMAT,
            "next_id": memory.next_id,
            "next_sequence": memory.next_event,
            "cell": memory.cell,
            "step_s": memory.step_s,
            "away": sorted(memory.away),
            "unsettled": memory.unsettled,
        }
    )


# -- in ----------------------------------------------------------------------------------------------------------------


def restore(memory: SiteMemory, state: Mapping[str, bytes]) -> None:
    """Read back what `take_changes` wrote into an empty memory; `cell` and `step_s` are those of the writer.

    Raises:
        DecodeError: names the piece that cannot be read.
    """
    if "meta" not in state:
        raise DecodeError("the matcher's state has no field 'meta'; delete it to begin anew")
    if load("meta", state["meta"]).value.get("format") != FORMAT:
        raise DecodeError("the matcher's state was written by another version of this program; delete it to begin")
    with _no_collection():
        for name in sorted(state):
            _restore_field(memory, name, state[name])
    for track in memory.tracks.values():
        if track.identity_id is not None and track.identity_id not in memory.identities:
            raise DecodeError(f"matcher state {track_field(track.key)!r} names an identity that was not there")
    for progress in memory.progress.values():
        _restore_sight(memory, progress)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's garbage collector: among a million new objects that all stay it would look half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _restore_field(memory: SiteMemory, name: str, piece: bytes) -> None:
    try:
        _restore_piece(memory, name, load(name, piece))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        problem = f"{type(error).__name__} {error}"
        raise DecodeError(f"matcher state {name!r} cannot be read ({problem}); was it written by hand?") from None


def _restore_piece(memory: SiteMemory, name: str, piece: Piece) -> None:
    kind, _, rest = name.partition(":")
    reader = _READERS.get(kind)
    if reader is not None:
        reader(memory, rest, piece)


def _restore_track(memory: SiteMemory, _: str, piece: Piece) -> None:
    places, common = piece.value.pop("places"), piece.value.pop("common")
    track = track_from_json(piece.value)
    if common is not None:
        memory.common.tracks[track.key] = view_from_json(common, piece.rest)
    if places is not None:
        memory.places.restore(track.key, places)
    memory.tracks[track.key] = track
    memory.sort_in(track)
    _put_back(memory, track.key, piece.features)


def _restore_identity(memory: SiteMemory, _: str, piece: Piece) -> None:
    identity = identity_from_json(piece.value)
    memory.identities[identity.identity_id] = identity


def _restore_archive(memory: SiteMemory, name: str, piece: Piece) -> None:
    _put_back(memory, int(name), piece.features)


def _put_back(memory: SiteMemory, owner: Owner, features: Features | None) -> None:
    if features is not None:
        memory.gallery.put_back(owner, features)


def _restore_producer(memory: SiteMemory, name: str, piece: Piece) -> None:
    camera_id, _, epoch = name.partition(":")
    value = piece.value
    value["visible"] = None if value["visible"] is None else tuple(value["visible"])
    memory.progress[camera_id, epoch] = CameraProgress(camera_id, epoch, **value)


def _restore_camera(memory: SiteMemory, name: str, piece: Piece) -> None:
    memory.epochs[name] = str(piece.value["epoch"])


def _restore_common(memory: SiteMemory, name: str, piece: Piece) -> None:
    memory.common.cameras[name] = look_from_json(piece.value, piece.rest)


def _restore_way(memory: SiteMemory, name: str, piece: Piece) -> None:
    origin, _, destination = name.partition(":")
    memory.transits.restore_pair(origin, destination, piece.value)


def _restore_meta(memory: SiteMemory, _: str, piece: Piece) -> None:
    value = piece.value
    memory.next_id, memory.next_event = value["next_id"], value["next_sequence"]
    memory.away = frozenset(value["away"])
    memory.cell, memory.step_s = value["cell"], value["step_s"]
    memory.unsettled = bool(value["unsettled"])


def _restore_sight(memory: SiteMemory, progress: CameraProgress) -> None:
    """The last tick's sight of tracks, which is stored with the tick only."""
    for track_id in progress.visible or ():
        track = memory.tracks.get(TrackKey(progress.camera_id, progress.epoch, track_id))
        if track is not None and track.open and progress.visible_s is not None:
            track.last_s = max(track.last_s, progress.visible_s)


def _track_key(name: str) -> TrackKey:
    camera_id, _, rest = name.partition(":")
    epoch, _, number = rest.rpartition(":")
    return TrackKey(camera_id, epoch, int(number))


_WRITERS: Mapping[str, Callable[[SiteMemory, str], bytes | None]] = {
    "track": _dump_track,
    "identity": _dump_identity,
    "archive": _dump_archive,
    "way": _dump_way,
    "producer": _dump_producer,
    "camera": _dump_camera,
    "common": _dump_common,
}
_READERS: Mapping[str, Callable[[SiteMemory, str, Piece], None]] = {
    "track": _restore_track,
    "identity": _restore_identity,
    "archive": _restore_archive,
    "way": _restore_way,
    "producer": _restore_producer,
    "camera": _restore_camera,
    "common": _restore_common,
    "meta": _restore_meta,
}
