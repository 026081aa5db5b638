"""The values that flow through the pipeline. All are immutable; arrays are read-only.

Lengths are pixels (`px`), times are seconds (`s`). A time stamp is Unix seconds for live sources, and start time
plus presentation time for files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
TimeArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
ImageArray: TypeAlias = npt.NDArray[np.uint8]

EventKind = Literal[
    "entered",  # a person nobody has seen before
    "handed_over",  # the same identity seen in another camera
    "reentered",  # seen again in a camera after at least absence_s away from it
    "continued",  # the same identity goes on in a new track of the same camera, without an absence
    "left",  # gone from a camera for absence_s (occlusion_s when lost in mid-picture)
    "unknown",  # a track that ended before there was enough evidence
    "merged",
    "split",
    "reassigned",
    "renamed",
    "forgotten",
]
CameraStatus = Literal["offline", "end"]


def frozen_array(value: Any, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """`value` as a read-only array of `dtype`, checked against `shape` (None: any length).

    A writable array is copied, so that nobody can change what was checked; a read-only one is shared.

    Raises:
        ValueError: says the expected and the actual shape.
    """
    array = np.asarray(value, dtype=dtype)
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{name}: expected shape {wanted}, got {array.shape}")
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _freeze(instance: Any, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    array = frozen_array(getattr(instance, name), f"{type(instance).__name__}.{name}", dtype, shape)
    object.__setattr__(instance, name, array)
    return array


class TrackKey(NamedTuple):
    """Names one track for ever. `epoch` is fresh whenever a worker or its stream restarts."""

    camera_id: str
    epoch: str
    track_id: int


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One picture of one camera.

    Attributes:
        index: number of the frame in its epoch, from 0; for files the number of the frame in the file.
        captured_at_s: Unix seconds (live: arrival; files: start time + presentation time).
        image: (H, W, 3) uint8 BGR. Not copied: the source hands it over and must not write to it again.
        damaged: the decoder reported errors; good enough to track, never for a reference frame.
    """

    camera_id: str
    epoch: str
    index: int
    captured_at_s: float
    image: ImageArray
    damaged: bool = False

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"Frame.image: expected (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """Persons found in one frame: xyxy (N, 4) float32 px; confidence (N,) float32 in [0, 1]. N may be 0."""

    xyxy: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        xyxy = _freeze(self, "xyxy", np.float32, (None, 4))
        confidence = _freeze(self, "confidence", np.float32, (len(xyxy),))
        if not (np.isfinite(xyxy).all() and ((confidence >= 0) & (confidence <= 1)).all()):
            raise ValueError("Detections: boxes must be finite and confidences in [0, 1]")

    def __len__(self) -> int:
        return len(self.confidence)

    @staticmethod
    def empty() -> "Detections":
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False, slots=True)
class Tracks:
    """The tracks visible in one frame: ids (N,) int64; xyxy (N, 4) float32 px; confidence (N,) float32."""

    ids: IntArray
    xyxy: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        n = len(_freeze(self, "ids", np.int64, (None,)))
        _freeze(self, "xyxy", np.float32, (n, 4))
        _freeze(self, "confidence", np.float32, (n,))

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def empty() -> "Tracks":
        return Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False, slots=True)
class Tracklet:
    """A finished track.

    Attributes:
        sequence: the message's number in its (camera, epoch); 0 until it is published.
        ended_at_s: message time: the frame at which the tracker gave the track up (>= the last captured_at_s).
        left_picture: True when the last box touched the picture's edge or lay in a declared exit zone.
        frame_index: (T,) int64, `Frame.index`.
        captured_at_s: (T,) float64, rising.
        xyxy: (T, 4) float32 px.
        confidence: (T,) float32; 0 marks a box that was interpolated or predicted.
    """

    key: TrackKey
    sequence: int
    ended_at_s: float
    left_picture: bool
    frame_index: IntArray
    captured_at_s: TimeArray
    xyxy: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        times = _freeze(self, "captured_at_s", np.float64, (None,))
        if len(times) == 0 or (np.diff(times) < 0).any():
            raise ValueError("Tracklet.captured_at_s: expected at least one time, rising")
        _freeze(self, "frame_index", np.int64, (len(times),))
        _freeze(self, "xyxy", np.float32, (len(times), 4))
        _freeze(self, "confidence", np.float32, (len(times),))

    @property
    def camera_id(self) -> str:
        return self.key.camera_id

    @property
    def epoch(self) -> str:
        return self.key.epoch

    @property
    def at_s(self) -> float:
        return self.ended_at_s


@dataclass(frozen=True, slots=True)
class CropQuality:
    """How much a crop can be trusted.

    Attributes:
        height_px: of the box inside the picture.
        sharpness: variance of the Laplacian of the grey crop at 64 px width (0: flat).
        truncation: share of the box outside the picture or on its edge, 0 (whole) to 1.
        overlap: largest share of the box that another box in the frame covers, 0 to 1.
        confidence: the detector's, 0 to 1.
    """

    height_px: float
    sharpness: float
    truncation: float
    overlap: float
    confidence: float

    @property
    def score(self) -> float:
        """One figure in [0, 1]: 1 is a large, whole, unoccluded, sharp person."""
        size = min(1.0, self.height_px / 128.0)  # 256 px is the backbones' input; half of it serves
        sharp = self.sharpness / (self.sharpness + 100.0)  # 100: a visibly soft crop
        free = (1.0 - self.truncation) * (1.0 - self.overlap)
        return float(size * (0.5 + 0.5 * sharp) * free * (0.5 + 0.5 * self.confidence))


@dataclass(frozen=True, eq=False, slots=True)
class CropFeature:
    """What one crop leaves behind: STA needs no more (FACTS: S comes from energies, P1 and P2 from stripe means).

    Attributes:
        stripes: (K, C) float32, mean of the backbone's map over each horizontal stripe, top first.
        energy: (K,) float32, sum over the stripe of the squared map, summed over channels.
    """

    captured_at_s: float
    stripes: FloatArray
    energy: FloatArray
    quality: CropQuality
    model_id: str

    def __post_init__(self) -> None:
        stripes = _freeze(self, "stripes", np.float32, (None, None))
        energy = _freeze(self, "energy", np.float32, (len(stripes),))
        if (energy < 0).any():
            raise ValueError("CropFeature.energy: expected non-negative values")


@dataclass(frozen=True, eq=False, slots=True)
class FusedClip:
    """What a clip head makes of N crop features: the vectors of a `ClipFeature`."""

    embedding: FloatArray
    parts: FloatArray
    visibility: FloatArray
    attention: FloatArray

    def __post_init__(self) -> None:
        embedding = _freeze(self, "embedding", np.float32, (None,))
        parts = _freeze(self, "parts", np.float32, (None, None))
        _freeze(self, "visibility", np.float32, (len(parts),))
        _freeze(self, "attention", np.float32, (None, len(parts)))
        if abs(float(np.linalg.norm(embedding)) - 1.0) > 1e-2:
            raise ValueError(f"embedding: expected norm 1, got {np.linalg.norm(embedding):.4f}")


@dataclass(frozen=True, slots=True)
class FramePointer:
    """Where the worker keeps one picture of a track: on `host`, at `file` relative to that host's output folder."""

    host: str
    camera_id: str
    captured_at_s: float
    file: str


@dataclass(frozen=True, eq=False, slots=True)
class ClipFeature:
    """The vector of one clip of one track.

    Attributes:
        sequence: the message's number in its (camera, epoch), from 1, without gaps.
        first_visible_s: the first box of the track.
        start_s, end_s: first and last crop of the clip.
        made_at_s: message time: the frame at which the clip was made.
        embedding: (D,) float32, norm 1, representable in float16 (quantised before it is published).
        parts: (K, D') float32, each norm 1 (or 0 where invisible).
        visibility: (K,) float32 in [0, 1].
        attention: (N, K) float32, STA's S: each column sums to 1.
        quality: best crop's score, 0 to 1.
        seen_s: (T,) float64, rising: when the track was seen since its clip before, thinned to a few times a second.
        seen_xyxy: (T, 4) float32 px, its boxes then; T may be 0.
        picture_px: (width, height) of the pictures that the boxes lie in; None where it was not said.
    """

    key: TrackKey
    sequence: int
    first_visible_s: float
    start_s: float
    end_s: float
    made_at_s: float
    embedding: FloatArray
    parts: FloatArray
    visibility: FloatArray
    attention: FloatArray
    quality: float
    model_id: str
    frame: FramePointer | None = None
    seen_s: TimeArray = field(default_factory=lambda: np.zeros(0, np.float64))
    seen_xyxy: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    picture_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        embedding = _freeze(self, "embedding", np.float32, (None,))
        parts = _freeze(self, "parts", np.float32, (None, None))
        _freeze(self, "visibility", np.float32, (len(parts),))
        _freeze(self, "attention", np.float32, (None, len(parts)))
        seen_s = _freeze(self, "seen_s", np.float64, (None,))
        _freeze(self, "seen_xyxy", np.float32, (len(seen_s), 4))
        if (np.diff(seen_s) < 0).any():
            raise ValueError("ClipFeature.seen_s: expected rising times")
        if abs(float(np.linalg.norm(embedding)) - 1.0) > 1e-2:
            raise ValueError(f"ClipFeature.embedding: expected norm 1, got {np.linalg.norm(embedding):.4f}")

    @property
    def camera_id(self) -> str:
        return self.key.camera_id

    @property
    def epoch(self) -> str:
        return self.key.epoch

    @property
    def at_s(self) -> float:
        return self.made_at_s


@dataclass(frozen=True, slots=True)
class Tick:
    """A worker's statement: camera c, epoch e, everything up to this time is processed and published.

    Attributes:
        visible: ids of the tracks that are seen at this time, rising; None where nobody looked.
    """

    camera_id: str
    epoch: str
    sequence: int
    processed_until_s: float
    visible: tuple[int, ...] | None = None

    @property
    def at_s(self) -> float:
        return self.processed_until_s


@dataclass(frozen=True, slots=True)
class CameraState:
    """A camera leaves the watermark: `end` (its file is finished) or `offline` (said by worker or supervisor).

    A later tick of the camera brings it back. Open tracks of the camera end, lost in mid-picture.
    """

    camera_id: str
    epoch: str
    sequence: int
    at_s: float
    status: CameraStatus


@dataclass(frozen=True, slots=True)
class Forget:
    """An operator's order to erase one identity; handled at once, in order of arrival."""

    identity_id: int
    sequence: int
    camera_id: str = ""
    epoch: str = "operator"
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rename:
    """An operator's order to give one identity a name; None takes it away."""

    identity_id: int
    name: str | None
    sequence: int
    camera_id: str = ""
    epoch: str = "operator"
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Merge:
    """An operator's word that two identities are one person: `identity_id` becomes `into_id`, for ever."""

    identity_id: int
    into_id: int
    sequence: int
    camera_id: str = ""
    epoch: str = "operator"
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """An operator's word that tracks of one identity are somebody else: `to_id`, or a new identity when None."""

    identity_id: int
    keys: tuple[TrackKey, ...]
    sequence: int
    to_id: int | None = None
    camera_id: str = ""
    epoch: str = "operator"
    at_s: float = 0.0


Order: TypeAlias = Forget | Rename | Merge | Split
ClipMessage: TypeAlias = ClipFeature | Tracklet | Tick | CameraState | Order


@dataclass(frozen=True, eq=False, slots=True)
class TrackedFrame:
    """The boxes of one frame, for overlays: short-lived, may be dropped."""

    camera_id: str
    epoch: str
    index: int
    captured_at_s: float
    width_px: int
    height_px: int
    tracks: Tracks


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a track was linked, or not.

    Attributes:
        distance: of appearance, to the chosen identity (for a new one: to the nearest that was allowed), 0 to 2; None
            where there was nobody to compare with.
        threshold: the largest cost that is accepted.
        runner_up: (identity_id, cost) of the next best allowed identity.
        transit_prior: plausibility of the transit time, 0 to 1; 1 when nothing is known.
        excluded: identities that were not allowed, with the reason.
        clips: how many clips of the track spoke.
        late: came after the watermark had passed it (live only).
        cost: the distance with what time, place and motion add or take away: what was compared with the threshold.
        place_m: how far apart the two were on the ground while both were seen, the median; None: never, or no
            calibration.
        basis: what spoke, most telling first: appearance, place, motion, transit, operator.
    """

    distance: float | None
    threshold: float
    runner_up: tuple[int, float] | None = None
    transit_prior: float = 1.0
    excluded: tuple[tuple[int, str], ...] = ()
    clips: int = 1
    late: bool = False
    cost: float | None = None
    place_m: float | None = None
    basis: tuple[str, ...] = ("appearance",)


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """One statement about one identity.

    Attributes:
        sequence: from 1, without gaps, per site.
        key: the track it is about; None for events without one (forgotten, renamed).
        at_s: when it became visible (left: when it was last visible).
        decided_at_s: message time of the decision.
        emitted_at_s: wall clock, live only.
        absent_s: for reentered and continued: how long the identity was away from this camera.
        via: cameras that saw it in between; for handed_over the camera it came from.
        other_identity_id: merged: the id that lives on; split, reassigned: the id it had before.
        previous_key: for continued and reentered: the track before.
        name: renamed: the new name; otherwise the one the identity has.
        by: who decided.
        exit_camera_id, exit_at_s: for handed_over, reentered and continued: where and when the identity had been seen
            last before: in this camera, or, handed over, in the other one.
        confidence: of a decision of the matcher: how sure it is among who was chosen, the runner-up and nobody known,
            0 to 1 (`pipeline.identity.rules.confidence_of`).
    """

    sequence: int
    kind: EventKind
    identity_id: int
    key: TrackKey | None
    at_s: float
    decided_at_s: float
    emitted_at_s: float | None = None
    evidence: Evidence | None = None
    absent_s: float | None = None
    via: tuple[str, ...] = ()
    other_identity_id: int | None = None
    previous_key: TrackKey | None = None
    name: str | None = None
    frame: FramePointer | None = None
    by: Literal["matcher", "operator"] = "matcher"
    exit_camera_id: str | None = None
    exit_at_s: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ReferenceSubject:
    """One person of a reference frame: value in the label map, box (x1, y1, x2, y2) px, quality 0 to 1."""

    identity_id: int
    value: int
    xyxy: tuple[float, float, float, float]
    quality: float


@dataclass(frozen=True, slots=True)
class ReferenceFrame:
    """A frame with a label map of everybody in it, as files relative to the output folder.

    Attributes:
        image: PNG. mask: PNG, uint8, 0 background, else the `value` of a subject.
        reason: entered, handed_over, reentered, continued: why it was taken; of whom.
        segmenter: which one made the masks.
    """

    camera_id: str
    captured_at_s: float
    image: str
    mask: str
    reason: str
    identity_id: int
    segmenter: str
    subjects: tuple[ReferenceSubject, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """A heartbeat of one process, with its counters and states."""

    role: str
    name: str
    pid: int
    at_s: float
    state: str
    epoch: str = ""
    detail: str = ""
    counters: Mapping[str, float] = field(default_factory=dict)
