"""What the matcher knows of a track and of an identity, and how a piece of it is stored.

A stored piece is one line of JSON and, after the line's end, the raw float16 values of its features, where it holds
some, and other raw values.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import DecodeError
from pipeline.identity.gallery import Features
from pipeline.types import FramePointer, TrackKey

FEATURES_PER_TRACK = 4  # good and different ones; each later clip is made of more crops than the ones before

Span = tuple[float, float]  # first and last moment, s


@dataclass(slots=True)
class CameraProgress:
    """How far one producer (a worker's or the supervisor's epoch) has been handled.

    Attributes:
        handled: sequence number of the last message handled.
        until_s: newest tick handled.
        visible, visible_s: the tracks seen by the newest tick that tells, and when; None: no tick of this producer did.
    """

    camera_id: str
    epoch: str
    handled: int = 0
    until_s: float | None = None
    visible: tuple[int, ...] | None = None
    visible_s: float | None = None


@dataclass(slots=True)
class TrackState:
    """One track: pending (identity_id None), linked, or muted (undecided for good, or of a forgotten identity).

    Attributes:
        first_s, last_s: first and last box that is known of. first_clip_s: when the first clip was made.
        open: its end has not been told. left_picture: it ended at the picture's edge or in an exit.
        late: a clip of it came after the watermark. fixed: an operator said whose it is.
        clips: how many came. reviewed: how many had come when its link was last looked at.
        look_again_s: when that will be done again whatever comes; None: not planned.
        moved: how often it was given to somebody else; each time it takes more to move it again.
        way_learned: the transit times know of it.
        quality: of the best clip. frame: the picture that shows it best.
    """

    key: TrackKey
    first_s: float
    last_s: float
    model_id: str = ""
    identity_id: int | None = None
    muted: bool = False
    open: bool = True
    left_picture: bool = False
    late: bool = False
    fixed: bool = False
    clips: int = 0
    reviewed: int = 0
    look_again_s: float | None = None
    moved: int = 0
    way_learned: bool = False
    first_clip_s: float | None = None
    quality: float = 0.0
    frame: FramePointer | None = None

    @property
    def span(self) -> Span:
        return self.first_s, self.last_s


@dataclass(slots=True)
class Sight:
    """The last that was seen of an identity in one camera by tracks that are long over."""

    last_s: float
    last_key: TrackKey
    left_picture: bool


@dataclass(slots=True)
class Visit:
    """One identity in one camera, as its tracks there say.

    Attributes:
        last_s: when it was last seen, by `last_key`. left_at_s: message time at which `left` was said.
    """

    camera_id: str
    last_s: float
    last_key: TrackKey
    left_picture: bool = False
    left_at_s: float | None = None
    open_tracks: set[TrackKey] = field(default_factory=set)


@dataclass(slots=True)
class IdentityState:
    """One person. Features live in the gallery, recent tracks in the memory; here is the rest.

    Attributes:
        visits: by camera. past: by camera, what tracks that were dropped said.
        spans: by camera, when such tracks were seen, newest last. left_said_s: by camera, the end of the visit for
            which `left` was said last.
        apart: identities that an operator said are somebody else.
    """

    identity_id: int
    since_s: float
    model_id: str
    name: str | None = None
    visits: dict[str, Visit] = field(default_factory=dict)
    past: dict[str, Sight] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    left_said_s: dict[str, float] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)

    @property
    def last_s(self) -> float:
        return max((visit.last_s for visit in self.visits.values()), default=self.since_s)


_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True)  # made once: thousands of pieces a second


# -- stored pieces ----------------------------------------------------------------------------------------------------


def track_field(key: TrackKey) -> str:
    return f"track:{key.camera_id}:{key.epoch}:{key.track_id}"


def dump(value: dict[str, Any], features: Features | None = None, rest: bytes = b"") -> bytes:
    """One stored piece; `rest` comes after the features."""
    if features is None or not len(features):
        return _line(value) + (b"\n" + rest if rest else b"")
    about = {
        "shape": [len(features), features.vectors.shape[1], features.seen.shape[1]],
        "qualities": [round(float(q), 6) for q in features.qualities],
        "at_s": features.at_s.tolist(),
    }
    raw = features.vectors.astype("<f2").tobytes() + features.seen.astype("<f2").tobytes()
    return _line({**value, "features": about}) + b"\n" + raw + rest


def _line(value: dict[str, Any]) -> bytes:
    return _JSON.encode(value).encode()


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """What `dump` was given."""

    value: dict[str, Any]
    features: Features | None
    rest: bytes


def load(field_name: str, piece: bytes) -> Piece:
    """One stored piece.

    Raises:
        DecodeError: names the field; the state was written by something else.
    """
    line, _, raw = piece.partition(b"\n")
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DecodeError(f"matcher state {field_name!r} is not JSON ({error}); was it written by hand?") from None
    if not isinstance(value, dict):
        raise DecodeError(f"matcher state {field_name!r}: expected an object")
    about = value.pop("features", None)
    if about is None:
        return Piece(value, None, raw)
    count, length, parts = about["shape"]
    size = 2 * count * (length + parts)
    numbers = np.frombuffer(raw[:size], "<f2").astype(np.float32)
    vectors, seen = numbers[: count * length], numbers[count * length :]
    features = Features(
        vectors.reshape(count, length),
        seen.reshape(count, parts),
        np.array(about["qualities"], np.float32),
        np.array(about["at_s"], np.float64),
    )
    return Piece(value, features, raw[size:])


def track_to_json(track: TrackState) -> dict[str, Any]:
    plain = {name: getattr(track, name) for name in TrackState.__slots__}
    frame = track.frame
    plain["key"] = list(track.key)
    plain["frame"] = [frame.host, frame.camera_id, frame.captured_at_s, frame.file] if frame else None
    return plain


def track_from_json(value: dict[str, Any]) -> TrackState:
    frame = FramePointer(*value["frame"]) if value["frame"] else None
    return TrackState(**{**value, "key": key_of(value["key"]), "frame": frame})


def identity_to_json(identity: IdentityState) -> dict[str, Any]:
    plain = {name: getattr(identity, name) for name in IdentityState.__slots__}
    plain["visits"] = [
        [v.camera_id, v.last_s, list(v.last_key), v.left_picture, v.left_at_s, sorted(list(k) for k in v.open_tracks)]
        for v in identity.visits.values()
    ]
    plain["past"] = {c: [s.last_s, list(s.last_key), s.left_picture] for c, s in identity.past.items()}
    plain["apart"] = sorted(identity.apart)
    return plain


def identity_from_json(value: dict[str, Any]) -> IdentityState:
    visits = {
        camera: Visit(camera, last_s, key_of(last_key), left_picture, left_at_s, {key_of(k) for k in opened})
        for camera, last_s, last_key, left_picture, left_at_s, opened in value["visits"]
    }
    past = {c: Sight(last_s, key_of(key), left) for c, (last_s, key, left) in value["past"].items()}
    spans = {camera: [(a, b) for a, b in spans] for camera, spans in value["spans"].items()}
    return IdentityState(**{**value, "visits": visits, "past": past, "spans": spans, "apart": set(value["apart"])})


def key_of(plain: list[Any]) -> TrackKey:
    return TrackKey(str(plain[0]), str(plain[1]), int(plain[2]))
