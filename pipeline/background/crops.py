"""A few good pictures of each identity: `crops/<identity>/<camera>_<time>_<quality>.jpg`."""

import logging
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.background.files import checked_camera, encode_jpeg, remove, time_name, write_bytes
from pipeline.background.kept_frames import KeptFrame, read_kept
from pipeline.boxes import clip_boxes
from pipeline.errors import DecodeError
from pipeline.types import FloatArray, FramePointer, ImageArray, TrackKey

logger = logging.getLogger(__name__)

JPEG_QUALITY = 90  # 1 to 100; a crop of 100x250 px is about 10 kB
LEAST_HEIGHT_PX = 32  # people smaller than this cannot be told apart by eye
_MARGIN = 0.06  # of box width and height on every side, so that nobody's head is cut by a tight box
_FAR_APART_S = 30.0  # two pictures of one camera this far apart are as good as of two visits


@dataclass(frozen=True, slots=True)
class Crop:
    """One stored picture, as its file name tells it."""

    path: Path
    camera_id: str
    captured_at_s: float
    quality: float


def read_name(path: Path) -> Crop | None:
    """What a crop's file name says; None for other files."""
    stem, _, quality = path.stem.rpartition("_")
    camera_id, _, at_s = stem.rpartition("_")
    try:
        return Crop(path, checked_camera(camera_id), float(at_s), float(quality)) if path.suffix == ".jpg" else None
    except ValueError:
        return None


def cut(image: ImageArray, xyxy: FloatArray) -> ImageArray | None:
    """The part of a picture in and a little around a box (4,) px; None when too little of it is inside."""
    height_px, width_px = image.shape[:2]
    grow = (xyxy[2:] - xyxy[:2]) * _MARGIN
    box = np.concatenate([xyxy[:2] - grow, xyxy[2:] + grow])[None].astype(np.float32)
    x1, y1, x2, y2 = (int(v) for v in np.rint(clip_boxes(box, width_px, height_px)[0]))
    if y2 - y1 < LEAST_HEIGHT_PX or x2 - x1 < LEAST_HEIGHT_PX // 4:
        return None
    return image[y1:y2, x1:x2]


class CropStore:
    """Keeps the best pictures of each identity, spread over cameras and times. The folder is its only state.

    Args:
        per_identity: how many pictures an identity keeps at most.
        host: frames of other hosts cannot be cut here.
    """

    def __init__(self, out_dir: Path, per_identity: int, host: str = "") -> None:
        if per_identity < 1:
            raise ValueError(f"per_identity: expected at least 1, got {per_identity}")
        self.out_dir = Path(out_dir)
        self.host = host
        self.counters: Counter[str] = Counter()
        self._per_identity = per_identity

    def add(
        self, identity_id: int, camera_id: str, captured_at_s: float, image: ImageArray, quality: float
    ) -> Path | None:
        """Store one picture unless the stored ones are worth more; returns its file.

        Raises:
            ValueError: no identity (< 1) or an empty picture. OutputError: the disk says no.
        """
        if image.size == 0:
            raise ValueError(f"crop of identity {identity_id}: expected a picture, got shape {image.shape}")
        name = f"{checked_camera(camera_id)}_{time_name(captured_at_s)}_{quality:.3f}.jpg"
        crop = Crop(self._folder(identity_id) / name, camera_id, round(captured_at_s, 3), round(quality, 3))
        others = [c for c in self.of(identity_id) if (c.camera_id, c.captured_at_s) != (camera_id, crop.captured_at_s)]
        dropped = _least_useful([*others, crop], self._per_identity)
        if crop in dropped:
            return None
        write_bytes(crop.path, encode_jpeg(image, JPEG_QUALITY))
        for old in self.of(identity_id):
            if old in dropped or (old not in others and old.path != crop.path):
                remove(old.path)
        return crop.path

    def add_from_kept(self, identity_id: int, key: TrackKey, pointer: FramePointer) -> Path | None:
        """Cut a track out of the kept frame that `pointer` names and store it.

        Frames that are gone or damaged, of other hosts, or show too little of the track give None and are counted.
        """
        if pointer.host != self.host:
            self.counters["other_host"] += 1
            return None
        try:
            kept = read_kept(self.out_dir, pointer.file)
        except (DecodeError, OSError, ValueError):
            self.counters["frame_gone"] += 1
            return None
        found = self._cut_track(kept, key)
        if found is None:
            self.counters["nothing_to_cut"] += 1
            return None
        return self.add(identity_id, key.camera_id, kept.frame.captured_at_s, *found)

    def of(self, identity_id: int) -> list[Crop]:
        """The stored pictures of an identity, best first."""
        names = sorted(self._folder(identity_id).glob("*.jpg"))
        crops = [crop for crop in map(read_name, names) if crop is not None]
        return sorted(crops, key=lambda c: (-c.quality, c.path.name))

    def merge(self, identity_id: int, into: int) -> None:
        """`identity_id` turned out to be `into`: its pictures move there, and the best of both stay."""
        if identity_id == into:
            return
        source, target = self._folder(identity_id), self._folder(into)
        if not source.is_dir():
            return
        target.mkdir(parents=True, exist_ok=True)
        for crop in self.of(identity_id):
            crop.path.replace(target / crop.path.name)
        for crop in _least_useful(self.of(into), self._per_identity):
            remove(crop.path)
        shutil.rmtree(source)

    def move(self, identity_id: int, into: int, camera_id: str, times_s: Collection[float]) -> int:
        """Pictures that one camera took at these times turned out to be of `into`; returns how many moved."""
        taken = {round(at_s, 3) for at_s in times_s}
        mine = [c for c in self.of(identity_id) if c.camera_id == camera_id and c.captured_at_s in taken]
        if identity_id == into or not mine:
            return 0
        target = self._folder(into)
        target.mkdir(parents=True, exist_ok=True)
        for crop in mine:
            crop.path.replace(target / crop.path.name)
        for crop in _least_useful(self.of(into), self._per_identity):
            remove(crop.path)
        if not any(self._folder(identity_id).iterdir()):
            self._folder(identity_id).rmdir()
        return len(mine)

    def forget(self, identity_id: int) -> int:
        """Remove all pictures of an identity; returns how many there were."""
        count = len(self.of(identity_id))
        if count:
            shutil.rmtree(self._folder(identity_id))
        return count

    def _folder(self, identity_id: int) -> Path:
        if identity_id < 1:
            raise ValueError(f"identity: expected 1 or more, got {identity_id}")
        return self.out_dir / "crops" / str(identity_id)

    @staticmethod
    def _cut_track(kept: KeptFrame, key: TrackKey) -> tuple[ImageArray, float] | None:
        row = kept.row(key.epoch, key.track_id)
        if row is None or kept.frame.camera_id != key.camera_id:
            return None
        image = cut(kept.frame.image, kept.tracks.xyxy[row])
        return None if image is None else (image, kept.qualities[row])


def _least_useful(crops: Sequence[Crop], keep: int) -> list[Crop]:
    """Those to drop so that `keep` are left: each time the one whose quality and distance to the others count least."""
    left = sorted(crops, key=lambda c: (c.quality, c.path.name))
    dropped = []
    while len(left) > keep:
        worst = min(left, key=lambda c: (_worth(c, left), c.path.name))
        left.remove(worst)
        dropped.append(worst)
    return dropped


def _worth(crop: Crop, crops: Sequence[Crop]) -> float:
    """Quality, halved by a better picture of the same moment, not at all by one of another camera or visit."""
    near = [
        abs(c.captured_at_s - crop.captured_at_s)
        for c in crops
        if c is not crop and c.camera_id == crop.camera_id and (c.quality, c.path.name) > (crop.quality, crop.path.name)
    ]
    apart = min(1.0, min(near) / _FAR_APART_S) if near else 1.0
    return crop.quality * (0.5 + 0.5 * apart)
