"""Folders of pictures: the MOTChallenge layout (`img1/`, `seqinfo.ini`), or just pictures."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DecodeError, SourceUnavailable
from pipeline.seqinfo import read_seqinfo
from pipeline.types import Frame, ImageArray

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
DEFAULT_FPS = 25.0  # 1/s, without a seqinfo.ini: the usual rate of surveillance footage


@dataclass(frozen=True, slots=True)
class PictureList:
    """The pictures of a folder in order, with the number of each in the sequence, from 0."""

    paths: tuple[Path, ...]
    numbers: tuple[int, ...]
    fps: float


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `2.jpg` before `10.jpg`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts)


def list_pictures(folder: Path) -> PictureList:
    """The pictures of a sequence folder; in the MOT layout the file's name is its number, so gaps keep their place.

    Raises:
        SourceUnavailable: no such folder, no pictures, or a seqinfo.ini that cannot be read.
    """
    if not folder.is_dir():
        raise SourceUnavailable(f"{folder}: is not a folder; check the camera's source")
    try:
        info = read_seqinfo(folder / "seqinfo.ini")
    except DecodeError as error:
        raise SourceUnavailable(str(error)) from None
    inner = folder / info.image_dir
    is_mot = inner.is_dir()
    place = inner if is_mot else folder
    files = (path for path in place.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    paths = tuple(sorted(files, key=lambda path: natural_key(path.name)))
    if not paths:
        raise SourceUnavailable(f"{place}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    numbers = tuple(int(p.stem) - 1 if p.stem.isdecimal() else -1 for p in paths) if is_mot else ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        numbers = tuple(range(len(paths)))
    return PictureList(paths, numbers, info.fps or DEFAULT_FPS)


def read_picture(path: Path) -> ImageArray | None:
    """(H, W, 3) uint8 BGR; None for a file that is not a readable picture."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    image: ImageArray | None = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    return image


class ImageFolderSource:
    """A folder of pictures as a source; lossless, `frames` may be iterated again.

    Times are start + number / frame rate. A picture that cannot be read leaves a gap, is counted and logged once. The
    epoch is "1" and counts up when the pictures change their size.
    """

    def __init__(
        self,
        camera_id: str,
        path: str | Path,
        *,
        start_time_s: float = 0.0,
        clock_offset_s: float = 0.0,
        fps: float | None = None,
    ) -> None:
        self._camera_id = camera_id
        self._path = Path(path)
        self._start_s = start_time_s + clock_offset_s
        self._fps = fps
        self._closed = False
        self._counts = {"delivered": 0, "corrupt": 0}

    @property
    def counters(self) -> Mapping[str, int]:
        """Delivered frames, and pictures that could not be read."""
        return dict(self._counts)

    def close(self) -> None:
        """End `frames` before the next picture."""
        self._closed = True

    def frames(self) -> Iterator[Frame]:
        """Yield every readable picture.

        Raises:
            SourceUnavailable: no such folder, no pictures, none that can be read, or a broken seqinfo.ini.
        """
        pictures = list_pictures(self._path)
        fps = self._fps or pictures.fps
        epoch, shape = 0, (0, 0, 0)
        for path, number in zip(pictures.paths, pictures.numbers, strict=True):
            if self._closed:
                return
            image = read_picture(path)
            if image is None:
                self._note_unreadable(path)
                continue
            if image.shape != shape:
                epoch, shape = epoch + 1, image.shape
            self._counts["delivered"] += 1
            yield Frame(self._camera_id, str(epoch), number, self._start_s + number / fps, image)
        if self._counts["delivered"] == 0:
            raise SourceUnavailable(f"{self._path}: not one of {len(pictures.paths)} pictures can be read")

    def _note_unreadable(self, path: Path) -> None:
        if self._counts["corrupt"] == 0:
            log.warning("%s: cannot be read as a picture; it is left out, and so are others like it", path)
        self._counts["corrupt"] += 1
