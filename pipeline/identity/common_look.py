"""What all who pass a camera have in common, taken off before looks are compared.

A camera's light, size and angle of view are in every feature that it gives, and so is what a network makes of all
people alike. Two strangers in one camera are near for that alone, and one person in two cameras is far. So the mean of
the people who passed a camera before is subtracted from what a new track shows there, part by part, and what is left
is compared: one threshold then holds for cameras that show people large or small. (Camera-wise centring of features:
Song, Park and Lee, "Exploring the Camera Bias of Person Re-identification", ICLR 2025, which does it over a whole
recorded gallery, and divides by the deviation. Here the mean is over those who came before, pulled to zero while they
are few, and nothing is divided: too few people for that.)

A person counts once in a camera, however often he comes back: else he would become the mean, and nobody could know him.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.identity.gallery import Feature
from pipeline.retrieval import are_compared_by_parts, normalise_rows
from pipeline.types import ClipFeature, FloatArray, TrackKey

_PULL = 8.0  # how much zero weighs: four people have the mean half way
_TIMES = 4  # good clips with which somebody counts, the n-th one 1 / n times: twice in all
_MOST = 200.0  # light changes: a mean weighs no more than a hundred people, so older ones fade
_FEW = 20.0  # weight of some ten people, below which a mean shows somebody


@dataclass(slots=True)
class LookSum:
    """total (K, D) float32, a weighted sum of unit vectors; weight (K,) float32, of each part."""

    total: FloatArray
    weight: FloatArray

    def add(self, more: "LookSum") -> None:
        self.total += more.total
        self.weight += more.weight

    @staticmethod
    def empty(shape: tuple[int, ...]) -> "LookSum":
        return LookSum(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))


@dataclass(slots=True)
class CameraLook:
    """Those who passed one camera, as one model sees them."""

    model_id: str
    seen: LookSum

    def mean(self) -> FloatArray:
        """(K, D) what they have in common, as far as it is known."""
        mean = self.seen.total / (self.seen.weight + _PULL)[:, None]
        return np.asarray(mean, np.float16).astype(np.float32)

    def add(self, more: LookSum) -> None:
        self.seen.add(more)
        kept = np.minimum(1.0, _MOST / np.maximum(self.seen.weight, 1e-6)).astype(np.float32)
        self.seen.total *= kept[:, None]
        self.seen.weight *= kept


@dataclass(slots=True)
class TrackView:
    """Against what a track is seen.

    Attributes:
        common: (K, D) float32, as it was at the track's first clip; None: nobody had come before.
        given: good clips that count for those who come after.
        own: what the track has to give, until it is known whose it is. counts: whether it counts; None: not known yet.
    """

    model_id: str
    common: FloatArray | None
    given: int = 0
    own: LookSum | None = None
    counts: bool | None = None


class CommonLooks:
    """The means of all cameras, and what is taken off the tracks that are known by themselves.

    A track is seen against one mean from its first clip to its last, of those who came before: its features agree with
    each other, and nobody is taken off from himself.
    """

    def __init__(self) -> None:
        self.cameras: dict[str, CameraLook] = {}
        self.tracks: dict[TrackKey, TrackView] = {}

    def feature_of(self, clip: ClipFeature) -> Feature:
        """What of a clip is compared."""
        vectors, visible = _compared(clip)
        view = self._view(clip, vectors.shape)
        rest = vectors if view.common is None else normalise_rows(vectors - view.common)
        seen = np.sqrt(visible)
        return Feature((rest * seen[:, None]).ravel(), seen, clip.quality, clip.end_s)

    def _view(self, clip: ClipFeature, shape: tuple[int, ...]) -> TrackView:
        view = self.tracks.get(clip.key)
        if view is not None and view.common is not None and view.common.shape != shape:
            view = None  # another model's from now on, or no part of it is visible
        if view is None:
            camera = self.cameras.get(clip.camera_id)
            fits = camera is not None and camera.model_id == clip.model_id and camera.seen.total.shape == shape
            view = self.tracks[clip.key] = TrackView(clip.model_id, camera.mean() if camera and fits else None)
        return view

    def give(self, clip: ClipFeature) -> bool:
        """A good clip counts for those who come after; whether its camera's mean changed by it."""
        view = self.tracks.get(clip.key)
        if view is None or view.counts is False or view.given >= _TIMES:
            return False
        vectors, visible = _compared(clip)
        view.given += 1
        weight = np.asarray(visible / view.given, np.float32)
        more = LookSum(vectors * weight[:, None], weight)
        if view.counts:
            self._add(clip.camera_id, view.model_id, more)
            return True
        if view.own is None or view.own.total.shape != vectors.shape:
            view.own = LookSum.empty(vectors.shape)
        view.own.add(more)
        return False

    def _add(self, camera_id: str, model_id: str, more: LookSum) -> None:
        camera = self.cameras.get(camera_id)
        if camera is None or camera.model_id != model_id or camera.seen.total.shape != more.total.shape:
            camera = self.cameras[camera_id] = CameraLook(model_id, LookSum.empty(more.total.shape))
        camera.add(more)

    def settle(self, key: TrackKey, counts: bool) -> bool:
        """It is known now whether a track is somebody's first in its camera; whether the camera's mean changed."""
        view = self.tracks.get(key)
        if view is None:
            return False
        own, view.own, view.counts = view.own, None, counts
        if own is None or not counts:
            return False
        self._add(key.camera_id, view.model_id, own)
        return True

    def forget_track(self, key: TrackKey) -> None:
        """It is nobody's any more, or part of its identity for good."""
        self.tracks.pop(key, None)

    def forget_few(self, cameras: Collection[str]) -> list[str]:
        """Forget the means of cameras that few have passed, as they show who those were; which ones."""
        few = [c for c in cameras if c in self.cameras and float(self.cameras[c].seen.weight.max(initial=0.0)) < _FEW]
        for camera_id in few:
            del self.cameras[camera_id]
        return sorted(few)


def features_against_common(
    clips: Sequence[ClipFeature], whose: Callable[[ClipFeature], Hashable], min_quality: float, patience_s: float
) -> list[Feature]:
    """Of recorded clips of all cameras, what a matcher would compare that is told whose they are.

    Args:
        clips: in the order in which they were made.
        whose: the person of a clip, or else its track.
        min_quality: of clips that count for others.
        patience_s: after a track's first clip it is told.
    """
    looks = CommonLooks()
    first: dict[tuple[str, Hashable], TrackKey] = {}
    undecided: deque[tuple[float, TrackKey, Hashable]] = deque()
    features = []
    for clip in clips:
        while undecided and undecided[0][0] < clip.made_at_s:
            _, key, person = undecided.popleft()
            looks.settle(key, counts=first.setdefault((key.camera_id, person), key) == key)
        if clip.key not in looks.tracks:
            undecided.append((clip.made_at_s + patience_s, clip.key, whose(clip)))
        features.append(looks.feature_of(clip))
        if clip.quality >= min_quality:
            looks.give(clip)
    return features


def _compared(clip: ClipFeature) -> tuple[FloatArray, FloatArray]:
    """(K, D) vectors of norm 1 that are compared one by one, and (K,) how visible they are."""
    if are_compared_by_parts(clip.embedding, clip.parts, clip.visibility):
        return clip.parts, clip.visibility
    return clip.embedding[None], np.ones(1, np.float32)


# -- stored -----------------------------------------------------------------------------------------------------------


def look_to_json(camera: CameraLook) -> tuple[dict[str, Any], bytes]:
    """The JSON, and the raw values after it."""
    seen = camera.seen
    return {"model_id": camera.model_id, "shape": list(seen.total.shape)}, _raw(seen)


def look_from_json(about: dict[str, Any], raw: bytes) -> CameraLook:
    """
    Raises:
        ValueError: other values than `look_to_json` wrote.
    """
    return CameraLook(about["model_id"], _sum_of(about["shape"], raw))


def view_to_json(view: TrackView) -> tuple[dict[str, Any], bytes]:
    """The JSON, and the raw values after it."""
    about = {"model_id": view.model_id, "given": view.given, "counts": view.counts}
    about["common"] = None if view.common is None else list(view.common.shape)
    about["own"] = None if view.own is None else list(view.own.total.shape)
    common = b"" if view.common is None else view.common.astype("<f2").tobytes()
    return about, common + (b"" if view.own is None else _raw(view.own))


def view_from_json(about: dict[str, Any], raw: bytes) -> TrackView:
    """
    Raises:
        ValueError: other values than `view_to_json` wrote.
    """
    view = TrackView(about["model_id"], None, about["given"], None, about["counts"])
    if about["common"] is not None:
        size = 2 * int(np.prod(about["common"]))
        view.common = np.frombuffer(raw[:size], "<f2").astype(np.float32).reshape(about["common"])
        raw = raw[size:]
    if about["own"] is not None:
        view.own = _sum_of(about["own"], raw)
    return view


def _raw(looks: LookSum) -> bytes:
    return looks.total.astype("<f4").tobytes() + looks.weight.astype("<f4").tobytes()


def _sum_of(shape: Sequence[int], raw: bytes) -> LookSum:
    parts, length = shape
    values = np.frombuffer(raw, "<f4").astype(np.float32).reshape(parts * (length + 1))
    return LookSum(values[: parts * length].reshape(parts, length), values[parts * length :])
