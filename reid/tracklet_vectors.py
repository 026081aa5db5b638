"""From tracklets of pictures to one vector each: reading, sampling, encoding in batches, fusing."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError
from pipeline.ports import ClipHead, CropEncoder
from pipeline.retrieval import normalise_rows
from pipeline.types import CropFeature, CropQuality, FloatArray, Frame, ImageArray, IntArray
from reid.datasets.tracklets import ImageTracklet

_log = logging.getLogger(__name__)

SamplingKind: TypeAlias = Literal["even", "all", "dense"]
SAMPLINGS: tuple[SamplingKind, ...] = ("even", "all", "dense")
Progress = Callable[[int, int], None]  # pictures done, pictures in all

_BATCH = 64  # pictures handed to the encoder at once; more is not faster (reid/encoder.py)
_BATCH_BYTES = 64 << 20  # pixels of a batch, for data sets of large pictures
_SHARPNESS_WIDTH_PX = 64  # as `pipeline.tracking.quality` measures it, which reid may not import


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which pictures of a tracklet speak, and how they are put together.

    Attributes:
        kind: `even`: `frames` pictures, the middle one of each of as many equal parts, fused as one clip: as the live
            pipeline spreads a clip over a track. `all`: all pictures, fused as one clip. `dense`: all pictures, cut
            into the fewest clips of at most `frames` successive ones, equally long to within one; vectors averaged.
        frames: pictures of a clip.
        most: of `all` and `dense`: a longer tracklet gives this many pictures, evenly spread; None: no limit.
    """

    kind: SamplingKind = "even"
    frames: int = 4
    most: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in SAMPLINGS:
            raise ValueError(f"sampling: expected one of {', '.join(SAMPLINGS)}; got {self.kind!r}")
        if self.frames < 1 or (self.most is not None and self.most < 1):
            raise ValueError(f"frames and most: expected at least 1, got {self.frames} and {self.most}")

    def describe(self) -> str:
        """One line for reports."""
        up_to = "all pictures" if self.most is None else f"up to {self.most} pictures, evenly spread,"
        return {
            "even": f"even: {self.frames} pictures a tracklet, evenly spread, as one clip",
            "all": f"all: {up_to} of a tracklet as one clip",
            "dense": f"dense: {up_to} of a tracklet in clips of at most {self.frames}, vectors averaged",
        }[self.kind]

    def choose(self, count: int) -> IntArray:
        """Which of a tracklet's `count` pictures are read, rising."""
        most = self.frames if self.kind == "even" else self.most
        if most is None or count <= most:
            return np.arange(count)
        return np.asarray((np.arange(most) + 0.5) * count / most, np.int64)  # the middle of each part

    def clips(self, count: int) -> list[slice]:
        """The clips that `count` chosen pictures, at least one, are fused into."""
        parts = -(-count // self.frames) if self.kind == "dense" else 1
        bounds = np.linspace(0, count, parts + 1).round().astype(int).tolist()
        return [slice(a, b) for a, b in pairwise(bounds)]


@dataclass(frozen=True, eq=False, slots=True)
class TrackletVectors:
    """Vectors of tracklets under each head.

    Attributes:
        vectors: head -> (T, D) float32, each row of norm 1; zeros where nothing could be read.
        readable: (T,) bool: at least one picture was read.
        pictures: how many were encoded. unreadable: the files that were skipped.
    """

    vectors: Mapping[str, FloatArray]
    readable: npt.NDArray[np.bool_]
    pictures: int
    unreadable: tuple[Path, ...]


def embed_tracklets(
    tracklets: Sequence[ImageTracklet],
    encoder: CropEncoder,
    heads: Mapping[str, ClipHead],
    sampling: Sampling,
    progress: Progress | None = None,
) -> TrackletVectors:
    """One vector for each tracklet under each head; its pictures pass the encoder once, however many heads there are.

    Held in memory: a batch of pictures, the crop features of one tracklet, and the vectors.

    Raises:
        DecodeError: a picture that is not there (looked for before the first one is encoded), or none can be read.
    """
    chosen = [[tracklet.images[i] for i in sampling.choose(len(tracklet.images))] for tracklet in tracklets]
    pictures = [_Picture(place, at, path) for place, paths in enumerate(chosen) for at, path in enumerate(paths)]
    _check_files(pictures)
    vectors: dict[str, FloatArray] = {}
    readable = np.zeros(len(tracklets), bool)
    unreadable: list[Path] = []
    for place, group in groupby(_encoded(pictures, encoder, progress), key=lambda one: one[0].tracklet):
        of_tracklet = list(group)
        unreadable += [picture.path for picture, feature in of_tracklet if feature is None]
        crops = [feature for _, feature in of_tracklet if feature is not None]
        if not crops:
            _log.warning("none of the %d pictures beside %s can be read", len(of_tracklet), of_tracklet[0][0].path)
            continue
        readable[place] = True
        for name, head in heads.items():
            vector = _fuse(crops, head, sampling)
            vectors.setdefault(name, np.zeros((len(tracklets), len(vector)), np.float32))[place] = vector
    if pictures and not readable.any():
        raise DecodeError(f"none of the {len(pictures)} pictures can be read, the first is {pictures[0].path}")
    return TrackletVectors(vectors, readable, len(pictures) - len(unreadable), tuple(unreadable))


def read_picture(path: Path) -> ImageArray | None:
    """(H, W, 3) uint8 BGR; None, with a warning in the log, for a file that is no picture.

    Raises:
        DecodeError: there is no such file, or it cannot be opened.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DecodeError(_absent(path, error.strerror or str(error))) from None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if image is None:
        _log.warning("%s is not a picture that can be read; it is left out", path)
        return None
    return np.asarray(image, np.uint8)


def sharpness(image: ImageArray) -> float:
    """Variance of the Laplacian of the grey picture at 64 px width: the same figure as the live pipeline's."""
    size = (_SHARPNESS_WIDTH_PX, max(1, round(image.shape[0] * _SHARPNESS_WIDTH_PX / image.shape[1])))
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


@dataclass(frozen=True, slots=True)
class _Picture:
    """A file to encode: which tracklet it belongs to, and its number among those chosen."""

    tracklet: int
    at: int
    path: Path


def _check_files(pictures: Sequence[_Picture]) -> None:
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DecodeError(_absent(missing[0], f"no such file{more}"))


def _absent(path: Path, why: str) -> str:
    return f"{path}: {why}; the data set is incomplete, or its folder was moved"


def _encoded(
    pictures: Sequence[_Picture], encoder: CropEncoder, progress: Progress | None
) -> Iterator[tuple[_Picture, CropFeature | None]]:
    """Every picture with its crop feature, None where it cannot be read, in order."""
    done = 0
    for batch in _batches(pictures):
        features = iter(_encode([(picture.at, image) for picture, image in batch if image is not None], encoder))
        yield from [(picture, None if image is None else next(features)) for picture, image in batch]
        done += len(batch)
        if progress is not None:
            progress(done, len(pictures))


def _batches(pictures: Sequence[_Picture]) -> Iterator[list[tuple[_Picture, ImageArray | None]]]:
    """Pictures read from disk, in batches that are bounded by number and by size."""
    batch: list[tuple[_Picture, ImageArray | None]] = []
    held_bytes = 0
    for picture in pictures:
        image = read_picture(picture.path)
        batch.append((picture, image))
        held_bytes += 0 if image is None else image.nbytes
        if len(batch) == _BATCH or held_bytes >= _BATCH_BYTES:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch


def _encode(images: Sequence[tuple[int, ImageArray]], encoder: CropEncoder) -> list[CropFeature]:
    """Crop features of whole pictures, a second apart; of quality only size and sharpness can be known."""
    frames = [Frame("pictures", "1", at, float(at), image) for at, image in images]
    whole = [np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32) for _, image in images]
    features = [of_frame[0] for of_frame in encoder.encode(frames, whole)] if frames else []
    qualities = [CropQuality(float(image.shape[0]), sharpness(image), 0.0, 0.0, 1.0) for _, image in images]
    return [replace(feature, quality=quality) for feature, quality in zip(features, qualities, strict=True)]


def _fuse(crops: Sequence[CropFeature], head: ClipHead, sampling: Sampling) -> FloatArray:
    """(D,) norm 1."""
    vectors = [head.fuse(crops[clip]).embedding for clip in sampling.clips(len(crops))]
    return vectors[0] if len(vectors) == 1 else normalise_rows(np.mean(vectors, axis=0, dtype=np.float32))
