"""Reads the pictures of a training part and makes batches of clips of them, ahead of the network where told to."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DecodeError
from pipeline.types import ImageArray, IntArray
from reid.datasets.tracklets import ImageTracklet
from reid.tracklet_vectors import read_picture
from reid.training.augment import augment_clip
from reid.training.camera_style import PICTURES_A_CAMERA, CameraStyles
from reid.training.recipe import PicturesRecipe, Recipe
from reid.training.samplers import ClipChoice, IdentitySampler

_AUGMENT, _STYLE = 3, 4  # streams of random numbers, beside those of `samplers`


@dataclass(frozen=True, eq=False, slots=True)
class ClipBatch:
    """B clips of N pictures.

    Attributes:
        pictures: (B, N, H, W, 3) uint8 BGR.
        labels: (B,) int64, 0 to people - 1, or -1.
        cameras: (B,) int64 camera_id.
        tracklets: (B,) int64 place in the training part; frames: (B, N) int64, which pictures.
    """

    pictures: ImageArray
    labels: IntArray
    cameras: IntArray
    tracklets: IntArray
    frames: IntArray


class PictureStore:
    """Pictures of one size, the first ones read kept in memory up to a limit. Safe to read from several threads."""

    def __init__(self, recipe: PicturesRecipe) -> None:
        self._size = (recipe.width_px, recipe.height_px)
        self._room_bytes = recipe.cache_mb << 20
        self._kept: dict[Path, ImageArray | None] = {}
        self._lock = threading.Lock()

    def read(self, path: Path) -> ImageArray | None:
        """(H, W, 3) uint8 BGR; None for a damaged file, which is said once in the log.

        Raises:
            DecodeError: there is no such file.
        """
        if path in self._kept:
            return self._kept[path]
        picture = read_picture(path)
        if picture is not None:
            shrinks = picture.shape[0] * picture.shape[1] > self._size[0] * self._size[1]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR  # as `reid.crops.cut_crops`
            picture = np.asarray(cv2.resize(picture, self._size, interpolation=how), np.uint8)
        size_bytes = 0 if picture is None else picture.nbytes
        with self._lock:
            if path not in self._kept and size_bytes <= self._room_bytes:
                self._kept[path] = picture
                self._room_bytes -= size_bytes
        return picture

    def read_clip(self, tracklet: ImageTracklet, frames: IntArray) -> ImageArray:
        """(N, H, W, 3): these pictures, for a damaged one the nearest that can be read.

        Raises:
            DecodeError: a file is missing, or none of the tracklet's can be read.
        """
        return np.stack([self._nearest(tracklet, int(frame)) for frame in frames])

    def _nearest(self, tracklet: ImageTracklet, frame: int) -> ImageArray:
        for place in sorted(range(len(tracklet.images)), key=lambda i: (abs(i - frame), i)):
            picture = self.read(tracklet.images[place])
            if picture is not None:
                return picture
        raise DecodeError(f"none of the {len(tracklet.images)} pictures beside {tracklet.images[0]} can be read")


class BatchMaker:
    """Batch after batch of a training part. A batch depends on recipe, seed and its number only."""

    def __init__(self, tracklets: Sequence[ImageTracklet], recipe: Recipe, seed: int) -> None:
        """
        Raises:
            ValueError: fewer than two people.
        """
        self.sampler = IdentitySampler(tracklets, recipe.batch, seed)
        self._tracklets = tracklets
        self._recipe = recipe
        self._seed = seed
        self._store = PictureStore(recipe.pictures)
        self._styles = self._measure_styles() if recipe.augment.camera_style > 0 else None

    def batch(self, number: int) -> ClipBatch:
        """The batch of that number, from 0.

        Raises:
            DecodeError: a picture is missing.
        """
        choices = self.sampler.batch(number)
        rng = np.random.default_rng([self._seed, _AUGMENT, number])
        return _stacked(choices, self._tracklets, [self._pictures(choice, rng) for choice in choices])

    def without_pictures(self, number: int) -> ClipBatch:
        """The same batch with pictures of no height, for those who have their crop features already."""
        choices = self.sampler.batch(number)
        none = np.zeros((len(choices[0].frames), 0, 0, 3), np.uint8)
        return _stacked(choices, self._tracklets, [none] * len(choices))

    def plain_clip(self, tracklet: int, frames: IntArray) -> ImageArray:
        """(N, H, W, 3) pictures of one tracklet, unchanged."""
        return self._store.read_clip(self._tracklets[tracklet], frames)

    def _pictures(self, choice: ClipChoice, rng: np.random.Generator) -> ImageArray:
        tracklet = self._tracklets[choice.tracklet]
        pictures = self._store.read_clip(tracklet, choice.frames)
        return augment_clip(pictures, tracklet.camera_id, self._recipe.augment, self._styles, rng)

    def _measure_styles(self) -> CameraStyles:
        rng = np.random.default_rng([self._seed, _STYLE])
        by_camera: dict[int, list[ImageTracklet]] = {}
        for tracklet in self._tracklets:
            by_camera.setdefault(tracklet.camera_id, []).append(tracklet)
        pictures = []
        for camera, own in sorted(by_camera.items()):
            for place in rng.permutation(len(own))[:PICTURES_A_CAMERA].tolist():
                frame = np.array([rng.integers(len(own[place].images))])
                pictures.append((camera, self._store.read_clip(own[place], frame)[0]))
        return CameraStyles.measured(pictures)


def ahead(make: Callable[[int], ClipBatch], first: int, stop: int, readers: int) -> Generator[ClipBatch, None, None]:
    """Batches `first` to `stop` - 1 in order, the next `readers` of them being made by threads meanwhile."""
    if readers == 0:
        yield from (make(number) for number in range(first, stop))
        return
    with ThreadPoolExecutor(readers, thread_name_prefix="pictures") as pool:
        waiting: list[Future[ClipBatch]] = []
        try:
            for number in range(first, stop):
                while len(waiting) < readers + 1 and number + len(waiting) < stop:
                    waiting.append(pool.submit(make, number + len(waiting)))
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _stacked(
    choices: Sequence[ClipChoice], tracklets: Sequence[ImageTracklet], pictures: Sequence[ImageArray]
) -> ClipBatch:
    return ClipBatch(
        np.stack(pictures),
        np.array([choice.label for choice in choices], np.int64),
        np.array([tracklets[choice.tracklet].camera_id for choice in choices], np.int64),
        np.array([choice.tracklet for choice in choices], np.int64),
        np.stack([choice.frames for choice in choices]),
    )
