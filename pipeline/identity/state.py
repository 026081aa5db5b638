"""What the matcher knows, in pieces that are stored one by one, as JSON (features as base64 of float16)."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import DecodeError
from pipeline.types import FloatArray, FramePointer, TrackKey

MAX_EVIDENCE = 4  # clips of a pending track that speak; each later clip is made of more crops than the ones before


@dataclass(slots=True)
class CameraProgress:
    """How far one producer (a worker's or the supervisor's epoch) has been handled."""

    camera_id: str
    epoch: str
    handled: int = 0  # sequence number of the last message handled
    until_s: float | None = None  # newest tick handled


@dataclass(slots=True)
class TrackState:
    """One track: pending (identity_id None), linked, or muted (of a forgotten identity)."""

    key: TrackKey
    first_s: float
    last_s: float
    model_id: str = ""
    identity_id: int | None = None
    muted: bool = False
    open: bool = True
    left_picture: bool = False
    late: bool = False
    clips: int = 0
    first_clip_s: float | None = None
    quality: float = 0.0
    evidence: list[FloatArray] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    frame: FramePointer | None = None


@dataclass(slots=True)
class Visit:
    """One identity in one camera: from its first track there to the `left` that ends the visit."""

    camera_id: str
    since_s: float
    last_s: float
    last_key: TrackKey
    left_picture: bool = False
    left_at_s: float | None = None  # message time at which `left` was said
    open_tracks: set[TrackKey] = field(default_factory=set)


@dataclass(slots=True)
class IdentityState:
    """One person: visits by camera, newest last seen. Features live in the gallery."""

    identity_id: int
    since_s: float
    model_id: str
    name: str | None = None
    visits: dict[str, Visit] = field(default_factory=dict)
    intervals: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # ended tracks, newest last

    @property
    def last_s(self) -> float:
        return max((visit.last_s for visit in self.visits.values()), default=self.since_s)


def pack_array(array: FloatArray) -> dict[str, Any]:
    half = np.ascontiguousarray(array, dtype="<f2")
    return {"shape": list(half.shape), "f16": base64.b64encode(half.tobytes()).decode()}


def unpack_array(packed: dict[str, Any]) -> FloatArray:
    raw = np.frombuffer(base64.b64decode(packed["f16"]), dtype="<f2")
    return raw.reshape(packed["shape"]).astype(np.float32)


def dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def load(field_name: str, raw: bytes) -> dict[str, Any]:
    """One stored piece.

    Raises:
        DecodeError: names the field; the state was written by something else.
    """
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise DecodeError(f"matcher state {field_name!r} is not JSON ({error}); was it written by hand?") from None
    if not isinstance(value, dict):
        raise DecodeError(f"matcher state {field_name!r}: expected an object")
    return value


def track_field(key: TrackKey) -> str:
    return f"track:{key.camera_id}:{key.epoch}:{key.track_id}"


def track_to_json(track: TrackState) -> dict[str, Any]:
    frame = track.frame
    return {
        "key": list(track.key),
        "first_s": track.first_s,
        "last_s": track.last_s,
        "model_id": track.model_id,
        "identity_id": track.identity_id,
        "muted": track.muted,
        "open": track.open,
        "left_picture": track.left_picture,
        "late": track.late,
        "clips": track.clips,
        "first_clip_s": track.first_clip_s,
        "quality": track.quality,
        "evidence": [pack_array(e) for e in track.evidence],
        "qualities": track.qualities,
        "frame": [frame.host, frame.camera_id, frame.captured_at_s, frame.file] if frame else None,
    }


def track_from_json(value: dict[str, Any]) -> TrackState:
    plain = dict(value)
    plain["key"] = _key(value["key"])
    plain["evidence"] = [unpack_array(e) for e in value["evidence"]]
    plain["frame"] = FramePointer(*value["frame"]) if value["frame"] else None
    return TrackState(**plain)


def identity_to_json(identity: IdentityState) -> dict[str, Any]:
    return {
        "identity_id": identity.identity_id,
        "since_s": identity.since_s,
        "model_id": identity.model_id,
        "name": identity.name,
        "intervals": identity.intervals,
        "visits": [
            {
                "camera_id": v.camera_id,
                "since_s": v.since_s,
                "last_s": v.last_s,
                "last_key": list(v.last_key),
                "left_picture": v.left_picture,
                "left_at_s": v.left_at_s,
                "open_tracks": sorted(list(k) for k in v.open_tracks),
            }
            for v in identity.visits.values()
        ],
    }


def identity_from_json(value: dict[str, Any]) -> IdentityState:
    visits = {}
    for plain in value["visits"]:
        opened = {_key(k) for k in plain["open_tracks"]}
        visits[plain["camera_id"]] = Visit(**{**plain, "last_key": _key(plain["last_key"]), "open_tracks": opened})
    intervals = {camera: [(a, b) for a, b in spans] for camera, spans in value["intervals"].items()}
    return IdentityState(value["identity_id"], value["since_s"], value["model_id"], value["name"], visits, intervals)


def _key(plain: list[Any]) -> TrackKey:
    return TrackKey(str(plain[0]), str(plain[1]), int(plain[2]))
