"""A camera's picture without people, kept up to date from the frames' pixels outside person boxes."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.background.files import checked_camera, encode_png, read_image, write_bytes
from pipeline.background.light import enlarged_gain, gain_field
from pipeline.boxes import clip_boxes
from pipeline.errors import DecodeError
from pipeline.types import FloatArray, Frame, ImageArray

MAX_SIDE_PX = 960  # larger pictures are modelled scaled down: 6 MB and a few ms a call at any camera size
_ENLARGE = (0.12, 0.06)  # of box width and height on every side: limbs and shadows reach out of detectors' boxes
_STEADY_LEVELS = 24  # of 255: below it a difference is noise and slow light, above it somebody or something moved
_FAST, _SLOW = 0.25, 0.04  # share of the new picture per call: steady pixels; others (somebody whom no box covers)
_YOUNG_CALLS = 4  # a pixel seen less often than this learns fast whatever it shows: its first value may be a person
_CHANGED_SHARE = 0.6  # of the visible pixels: more than that differing means light or camera changed, not people
_LEAST_KNOWN = 0.1  # of the pixels: fewer say too little about the light
_ADOPT_S = 12.0  # what shows unchanged for this long where nobody is, is the background now: a lamp, a parked trolley
_ADOPT_CALLS = 5  # … seen at least this often
_SAME_LEVELS = 16  # of 255: closer than that it shows the same


@dataclass(frozen=True, eq=False, slots=True)
class Plate:
    """A clean plate at frame size.

    Attributes:
        image: (H, W, 3) uint8 BGR; pixels never seen hold a guess from their surroundings.
        seen: (H, W) bool: the pixel was seen without a person at least once.
    """

    image: ImageArray
    seen: npt.NDArray[np.bool_]

    def scaled_to(self, width_px: int, height_px: int) -> "Plate":
        """The plate at another size; itself when it fits already."""
        if self.seen.shape == (height_px, width_px):
            return self
        size = (width_px, height_px)
        seen = cv2.resize(self.seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return Plate(cv2.resize(self.image, size, interpolation=cv2.INTER_LINEAR), seen.astype(bool))


PlateSource: TypeAlias = Callable[[str], Plate | None]


class BackgroundModel:
    """Running estimate of one camera's background. A picture of another size begins it anew."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None  # (width, height) of the frames, px
        self._mean = np.zeros((0, 0, 3), np.float32)
        self._calls = np.zeros((0, 0), np.uint8)  # how often each pixel was seen, saturating at 255
        self._updated_s = np.zeros((0, 0), np.float64)
        self._other = np.zeros((0, 0, 3), np.uint8)  # what pixels show that differ from the estimate …
        self._other_calls = np.zeros((0, 0), np.uint8)  # … how often in turn, and since when
        self._other_s = np.zeros((0, 0), np.float64)

    def update(self, frame: Frame, boxes: FloatArray) -> None:
        """Take in the pixels of a frame outside the persons' boxes (N, 4) xyxy px; damaged frames are passed over."""
        if frame.damaged:
            return
        height_px, width_px = frame.image.shape[:2]
        if self._size != (width_px, height_px):
            self._begin(width_px, height_px)
        image, free = self._at_model_size(frame.image, boxes)
        self._relight(image, free)
        moved = self._blend(image, free)
        self._adopt(image, moved, free, frame.captured_at_s)
        np.copyto(self._updated_s, frame.captured_at_s, where=free.astype(bool))

    @property
    def coverage(self) -> float:
        """Share of the pixels that were ever seen without a person, 0 to 1."""
        return float(np.count_nonzero(self._calls) / self._calls.size) if self._calls.size else 0.0

    def age_s(self, now_s: float) -> npt.NDArray[np.float32]:
        """Seconds since each pixel was last seen, (h, w) at model size; inf where never."""
        return np.where(self._calls > 0, now_s - self._updated_s, np.inf).astype(np.float32)

    def plate(self) -> Plate | None:
        """The clean plate at the frames' size; None before the first pixel."""
        if self._size is None or not self._calls.any():
            return None
        seen = self._calls > 0
        image = _filled(self._mean, seen)
        return Plate(image, seen).scaled_to(*self._size)

    def save(self, out_dir: Path, camera_id: str) -> None:
        """Write `kept/<camera>/plate.png` and `plate.npz`; nothing before the first pixel.

        Raises:
            OutputError: the disk says no.
        """
        if self._size is None or not self._calls.any():
            return
        folder = out_dir / "kept" / checked_camera(camera_id)
        arrays = io.BytesIO()
        np.savez_compressed(arrays, calls=self._calls, updated_s=self._updated_s, size_px=np.array(self._size))
        write_bytes(folder / "plate.npz", arrays.getvalue())
        # the picture comes last: readers look at its time
        write_bytes(folder / "plate.png", encode_png(_filled(self._mean, self._calls > 0)))

    @staticmethod
    def load(out_dir: Path, camera_id: str) -> "BackgroundModel":
        """The model that `save` wrote.

        Raises:
            FileNotFoundError: there is none. DecodeError: it is damaged.
        """
        folder = out_dir / "kept" / checked_camera(camera_id)
        image = read_image(folder / "plate.png")
        model = BackgroundModel()
        try:
            with np.load(io.BytesIO((folder / "plate.npz").read_bytes()), allow_pickle=False) as arrays:
                calls, updated_s, size_px = arrays["calls"], arrays["updated_s"], arrays["size_px"]
            width_px, height_px = (int(n) for n in size_px)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise DecodeError("plate.npz cannot be read; remove it and plate.png") from None
        if calls.shape != image.shape[:2] or updated_s.shape != calls.shape or calls.dtype != np.uint8:
            raise DecodeError("plate.npz and plate.png do not belong together; remove both")
        model._size = (width_px, height_px)
        model._mean = image.astype(np.float32)
        model._calls = calls
        model._updated_s = updated_s.astype(np.float64)
        model._forget_others()
        return model

    def _begin(self, width_px: int, height_px: int) -> None:
        scale = min(1.0, MAX_SIDE_PX / max(width_px, height_px))
        shape = (max(1, round(height_px * scale)), max(1, round(width_px * scale)))
        self._size = (width_px, height_px)
        self._mean = np.zeros((*shape, 3), np.float32)
        self._calls = np.zeros(shape, np.uint8)
        self._updated_s = np.zeros(shape, np.float64)
        self._forget_others()

    def _forget_others(self) -> None:
        shape = self._calls.shape
        self._other = np.zeros((*shape, 3), np.uint8)
        self._other_calls = np.zeros(shape, np.uint8)
        self._other_s = np.zeros(shape, np.float64)

    def _relight(self, image: ImageArray, free: npt.NDArray[np.uint8]) -> None:
        """Bring the whole estimate, also behind people, into the light of this picture."""
        known = (free > 0) & (self._calls > 0)
        if np.count_nonzero(known) < _LEAST_KNOWN * known.size:
            return
        gain = gain_field(image, self._mean, known)
        self._mean *= enlarged_gain(gain, known.shape[1], known.shape[0])

    def _at_model_size(self, image: ImageArray, boxes: FloatArray) -> tuple[ImageArray, npt.NDArray[np.uint8]]:
        """The picture at model size and the pixels without people (255) as uint8."""
        height_px, width_px = self._calls.shape
        scale = width_px / image.shape[1]
        if scale != 1:
            image = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA)
        free = without_people((height_px, width_px), np.asarray(boxes, np.float32) * np.float32(scale))
        return image, free.astype(np.uint8) * np.uint8(255)

    def _blend(self, image: ImageArray, free: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Take the picture in; where (255) it differs so much that it is taken in slowly."""
        new = cv2.bitwise_and(free, cv2.compare(self._calls, 0, cv2.CMP_EQ))
        cv2.copyTo(image.astype(np.float32) if new.any() else self._mean, new, self._mean)
        difference = cv2.absdiff(image, cv2.convertScaleAbs(self._mean))
        blue, green, red = cv2.split(difference)
        moved = cv2.compare(cv2.max(cv2.max(blue, green), red), _STEADY_LEVELS, cv2.CMP_GT)
        slow = cv2.bitwise_and(cv2.bitwise_and(moved, free), cv2.compare(self._calls, _YOUNG_CALLS, cv2.CMP_GE))
        if cv2.countNonZero(slow) > _CHANGED_SHARE * max(1, cv2.countNonZero(free)):
            slow[:] = 0
        cv2.accumulateWeighted(image, self._mean, _SLOW, slow)
        cv2.accumulateWeighted(image, self._mean, _FAST, cv2.bitwise_and(free, cv2.bitwise_not(slow)))
        cv2.add(self._calls, 1, self._calls, free)
        return slow

    def _adopt(
        self, image: ImageArray, moved: npt.NDArray[np.uint8], free: npt.NDArray[np.uint8], now_s: float
    ) -> None:
        """What differs from the estimate, and keeps showing the same, takes its place."""
        here = moved > 0
        self._other_calls[(free > 0) & ~here] = 0
        if not here.any():
            return
        calls = self._other_calls[here]
        shown = image[here]
        same = np.abs(shown.astype(np.int16) - self._other[here]).max(axis=1) <= _SAME_LEVELS
        calls = np.where(same, np.minimum(calls, 254) + 1, 1).astype(np.uint8)
        since_s = np.where(calls > 1, self._other_s[here], now_s)
        self._other[here], self._other_calls[here], self._other_s[here] = shown, calls, since_s
        adopted = (calls >= _ADOPT_CALLS) & (now_s - since_s >= _ADOPT_S)
        self._mean[here] = np.where(adopted[:, None], shown.astype(np.float32), self._mean[here])


def relit(plate: Plate, image: ImageArray, boxes: FloatArray) -> Plate:
    """The plate in the light of a picture of the same size, compared outside the people's boxes (N, 4) xyxy px."""
    gain = gain_field(image, plate.image, plate.seen & without_people(plate.seen.shape, boxes))
    height_px, width_px = plate.seen.shape
    levels = np.clip(np.rint(plate.image * enlarged_gain(gain, width_px, height_px)), 0, 255)
    return Plate(levels.astype(np.uint8), plate.seen)


def without_people(shape: tuple[int, ...], boxes: FloatArray) -> npt.NDArray[np.bool_]:
    """(h, w) bool: outside the boxes (N, 4) xyxy px and their surroundings, where limbs and shadows are."""
    free = np.ones(shape, bool)
    for x1, y1, x2, y2 in clip_boxes(enlarged(boxes), shape[1], shape[0]):
        free[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
    return free


def enlarged(boxes: FloatArray, share: tuple[float, float] = _ENLARGE) -> FloatArray:
    """Boxes (N, 4) xyxy px grown on every side by a share of their width and height."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    grow = (boxes[:, 2:] - boxes[:, :2]) * np.array(share, np.float32)
    return np.concatenate([boxes[:, :2] - grow, boxes[:, 2:] + grow], axis=1)


def _filled(mean: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> ImageArray:
    """The estimate as uint8; holes get the weighted mean of what surrounds them, from near to far."""
    image = mean.copy()
    weight = seen.astype(np.float32)
    holes = ~seen
    total = mean * weight[..., None]
    while holes.any() and min(weight.shape) > 1:
        size = (max(1, weight.shape[1] // 2), max(1, weight.shape[0] // 2))
        total = cv2.resize(total, size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        guess = cv2.resize(total / np.maximum(weight, 1e-6)[..., None], holes.shape[::-1])
        known = holes & (cv2.resize((weight > 0).astype(np.float32), holes.shape[::-1]) >= 1)
        image[known] = guess[known]
        holes &= ~known
    if holes.any() and seen.any():
        image[holes] = mean[seen].mean(axis=0)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


class PlateFolder:
    """The clean plates that a host's workers save, read again whenever they change. Call it with a camera id."""

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = Path(out_dir)
        self._cache: dict[str, tuple[int, Plate | None]] = {}

    def __call__(self, camera_id: str) -> Plate | None:
        """The newest plate of a camera; None when there is none, or a damaged one."""
        picture = self._out_dir / "kept" / checked_camera(camera_id) / "plate.png"
        try:
            changed = picture.stat().st_mtime_ns
            if camera_id not in self._cache or self._cache[camera_id][0] != changed:
                self._cache[camera_id] = (changed, BackgroundModel.load(self._out_dir, camera_id).plate())
        except (FileNotFoundError, DecodeError):
            return None
        return self._cache[camera_id][1]
