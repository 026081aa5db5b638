"""The crops that the cameras encoded: kept to adapt a head with, and to fuse the clips again with another one.

Memory is bounded. Where there are more crops, every second one of a track goes, and from then on only every second one
is taken, so what is left stays even in time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pipeline.fitting.footage import Footage, received
from pipeline.ports import ClipHead
from pipeline.tracking.sampling import CropRequest
from pipeline.types import (
    ClipFeature,
    ClipMessage,
    CropFeature,
    CropQuality,
    FloatArray,
    ImageArray,
    TrackKey,
)

MOST_OF_TRACK = 256  # crops: a minute at the default of four a second
MOST_BYTES = 1 << 30  # of features: 65,000 crops of 16 rows of 512 channels in half precision
MOST_PICTURE_BYTES = 1 << 30  # 10,000 pictures of 256 by 128 px
_SPARSEST = 1 << 16  # where one picture of a track in so many crops is still too much, none is kept

CutPicture = Callable[[CropRequest], ImageArray]


@dataclass(frozen=True, eq=False, slots=True)
class KeptCrop:
    """One encoded crop.

    Attributes:
        number: of the crop in its track, from 0.
        stripes: (R, C) float16, or float32 where the values are too large for it. energy: (R,) float32.
        picture: (H, W, 3) uint8 BGR, what was encoded; None where it is not wanted or there are too many.
    """

    number: int
    captured_at_s: float
    stripes: npt.NDArray[np.floating]
    energy: FloatArray
    quality: CropQuality
    picture: ImageArray | None = None

    def feature(self, model_id: str) -> CropFeature:
        return CropFeature(self.captured_at_s, self.stripes.astype(np.float32), self.energy, self.quality, model_id)


@dataclass(frozen=True, slots=True)
class KeptLimits:
    """See the module's constants."""

    of_track: int = MOST_OF_TRACK
    feature_bytes: int = MOST_BYTES
    picture_bytes: int = MOST_PICTURE_BYTES


@dataclass(slots=True)
class _Track:
    """`stride`: of the crops that come, every so manieth is kept; a power of two."""

    stride: int = 1
    seen: int = 0
    crops: list[KeptCrop] = field(default_factory=list)


class CropStore:
    """The crops of every track, and of which of them each clip was made.

    Args:
        picture_of: cuts the picture of a crop; None keeps none.
    """

    def __init__(self, limits: KeptLimits | None = None, picture_of: CutPicture | None = None) -> None:
        self._limits = limits or KeptLimits()
        self._picture_of = picture_of
        self._tracks: dict[TrackKey, _Track] = {}
        self._clips: dict[tuple[str, str, int], tuple[float, ...]] = {}
        self._most = self._limits.of_track
        self._picture_stride = 1
        self._feature_bytes = 0
        self._picture_bytes = 0

    @property
    def thinned(self) -> bool:
        """Whether there were more crops than are kept."""
        return any(track.stride > 1 for track in self._tracks.values())

    @property
    def total(self) -> int:
        """How many crops came."""
        return sum(track.seen for track in self._tracks.values())

    def add(self, key: TrackKey, feature: CropFeature, request: CropRequest) -> None:
        """Keep one crop; those of one track come in order of time."""
        track = self._tracks.setdefault(key, _Track())
        number, track.seen = track.seen, track.seen + 1
        if number % track.stride:
            return
        picture = self._picture_of(request) if self._picture_of and number % self._picture_stride == 0 else None
        kept = KeptCrop(
            number, feature.captured_at_s, _halved(feature.stripes), feature.energy, feature.quality, picture
        )
        track.crops.append(kept)
        self._feature_bytes += _feature_bytes(kept)
        self._picture_bytes += _picture_bytes(kept)
        self._thin(track)
        while self._feature_bytes > self._limits.feature_bytes and self._most > 1:
            self._most = max(1, self._most // 2)
            for one in self._tracks.values():
                self._thin(one)
        while self._picture_bytes > self._limits.picture_bytes:
            self._drop_pictures()

    def split(self, key: TrackKey, new: TrackKey, after_s: float) -> None:
        """A track was cut: its crops after this time are another track's."""
        track = self._tracks.get(key)
        moving = [crop for crop in track.crops if crop.captured_at_s > after_s] if track else []
        if track is None or not moving:
            return
        first = moving[0].number
        renumbered = [replace(crop, number=crop.number - first) for crop in moving]
        self._tracks[new] = _Track(track.stride, track.seen - first, renumbered)
        track.crops, track.seen = track.crops[: -len(moving)], first

    def note(self, clip: ClipFeature, crops: Sequence[CropFeature]) -> None:
        """Remember which crops of its track a clip was fused from."""
        self._clips[_clip_name(clip)] = tuple(crop.captured_at_s for crop in crops)

    def crops_of(self, key: TrackKey) -> tuple[KeptCrop, ...]:
        """In order of time; empty for a track that was never encoded."""
        track = self._tracks.get(key)
        return tuple(track.crops) if track else ()

    def all_crops(self) -> list[KeptCrop]:
        """Of all tracks, in order of the tracks' keys."""
        return [crop for key in sorted(self._tracks) for crop in self._tracks[key].crops]

    def crops_of_clip(self, clip: ClipFeature) -> tuple[KeptCrop, ...]:
        """What the clip was fused from; in the place of a crop that was not kept the nearest one in time."""
        wanted = self._clips.get(_clip_name(clip), ())
        crops = self.crops_of(clip.key)
        if not crops or not wanted:
            return ()
        times = np.array([crop.captured_at_s for crop in crops])
        nearest = np.abs(times[None, :] - np.array(wanted)[:, None]).argmin(axis=1)
        return tuple(crops[i] for i in np.unique(nearest).tolist())

    def with_features(self, encode: Callable[[Sequence[KeptCrop]], Sequence[CropFeature]]) -> "CropStore":
        """The crops that have a picture, with other features; clips are made of what is left, so of fewer crops."""
        other = CropStore(self._limits)
        other._clips = self._clips
        for key, track in self._tracks.items():
            crops = [crop for crop in track.crops if crop.picture is not None]
            features = encode(crops) if crops else []
            kept = [
                replace(crop, stripes=_halved(feature.stripes), energy=feature.energy, picture=None)
                for crop, feature in zip(crops, features, strict=True)
            ]
            other._tracks[key] = _Track(track.stride, track.seen, kept)
        return other

    def _thin(self, track: _Track) -> None:
        while len(track.crops) > self._most:
            dropped, track.crops = track.crops[1::2], track.crops[::2]
            track.stride *= 2
            self._feature_bytes -= sum(map(_feature_bytes, dropped))
            self._picture_bytes -= sum(map(_picture_bytes, dropped))

    def _drop_pictures(self) -> None:
        self._picture_stride *= 2
        for track in self._tracks.values():
            for i, crop in enumerate(track.crops):
                none_fits = self._picture_stride > _SPARSEST
                if crop.picture is not None and (none_fits or crop.number % self._picture_stride):
                    self._picture_bytes -= _picture_bytes(crop)
                    track.crops[i] = replace(crop, picture=None)


def _halved(stripes: FloatArray) -> npt.NDArray[np.floating]:
    with np.errstate(over="ignore"):
        half = stripes.astype(np.float16)
    return half if np.isfinite(half).all() else stripes


def _feature_bytes(crop: KeptCrop) -> int:
    return crop.stripes.nbytes + crop.energy.nbytes


def _picture_bytes(crop: KeptCrop) -> int:
    return crop.picture.nbytes if crop.picture is not None else 0


def _clip_name(clip: ClipFeature) -> tuple[str, str, int]:
    return clip.camera_id, clip.epoch, clip.sequence


def fused_again(footage: Footage, store: CropStore, head: ClipHead, encoder_model_id: str) -> Footage:
    """The same footage as another head would have made it: other vectors, everything else stays."""
    messages: list[ClipMessage] = []
    for message in footage.messages:
        if not isinstance(message, ClipFeature):
            messages.append(message)
            continue
        crops = store.crops_of_clip(message)
        if not crops:
            raise ValueError(f"clip {message.sequence} of {message.key}: no crop of it was kept")
        fused = head.fuse([crop.feature(encoder_model_id) for crop in crops])
        clip = replace(
            message,
            embedding=fused.embedding,
            parts=fused.parts,
            visibility=fused.visibility,
            attention=fused.attention,
            model_id=head.clip_model_id,
        )
        messages.append(received(clip))
    return replace(footage, messages=tuple(messages))
