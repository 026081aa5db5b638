"""Files that are whole or absent: written beside their place and renamed into it.

Safe against a killed process, not against a power cut (nothing is synced to the disk: pictures are worth less than the
time that takes).
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from pipeline.errors import DecodeError, OutputError
from pipeline.types import ImageArray

_PNG_EFFORT = 1  # zlib level 0 to 9: 1 takes a third of the time of the default for 5 to 10 % more bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # the config's rule for camera ids


def checked_camera(camera_id: str) -> str:
    """`camera_id` when it is fit for a file name.

    Raises:
        ValueError: it is not; ids arrive over the network and must not name other folders.
    """
    if not _NAME.fullmatch(camera_id):
        raise ValueError(f"camera id: expected letters, digits, - and _, got {camera_id!r}")
    return camera_id


def time_name(at_s: float) -> str:
    """A time as a piece of a file name, to the millisecond."""
    return f"{at_s:.3f}"


def inside(out_dir: Path, file: str) -> Path:
    """The path of `file`, which is relative to `out_dir`.

    Raises:
        ValueError: it is absolute or leads out of the folder.
    """
    relative = PurePosixPath(file)
    if not file or relative.is_absolute() or ".." in relative.parts or "\\" in file or "\0" in file:
        raise ValueError(f"file: expected a path inside the output folder, got {file!r}")
    return out_dir / relative


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step; its folder is made when it is missing.

    Raises:
        OutputError: the disk says no; nothing is left half written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path.name}: {error.strerror}; check the space and rights of its folder"
        ) from None


def encode_png(image: np.ndarray) -> bytes:
    """(H, W, 3) or (H, W) uint8 as PNG."""
    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_EFFORT])


def encode_jpeg(image: ImageArray, quality: int) -> bytes:
    """(H, W, 3) uint8 BGR as JPEG of `quality` 1 to 100."""
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(ending: str, image: np.ndarray, options: list[int]) -> bytes:
    done, content = cv2.imencode(ending, image, options)
    if not done:
        raise ValueError(f"cannot encode a picture of shape {image.shape} as {ending}")
    return bytes(content)


def read_image(path: Path, grey: bool = False) -> np.ndarray:
    """A picture from disk: (H, W, 3) uint8 BGR, or (H, W) uint8 when `grey`.

    Raises:
        FileNotFoundError: it is not there. DecodeError: it is damaged.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    image = cv2.imdecode(content, flag) if len(content) else None
    if image is None:
        raise DecodeError(f"{path.name} is not a picture that can be read; remove it")
    return image


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of one file against other processes that append to it or rewrite it through this module.

    The lock is a file of its own (`.NAME.lock`), because a rewrite puts another file in the place of the first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the handle lets go of the lock


def append_line(path: Path, line: str) -> None:
    """Append one line in one write; a line that a killed process left without its end is closed first.

    Raises:
        OutputError: the disk says no.
    """
    try:
        with locked(path), path.open("a+b") as handle:
            size = handle.seek(0, os.SEEK_END)
            if size:
                handle.seek(size - 1)
            torn = size > 0 and handle.read(1) != b"\n"
            handle.write((b"\n" if torn else b"") + line.encode() + b"\n")
    except OSError as error:
        raise OutputError(
            f"cannot append to {path.name}: {error.strerror}; check the space and rights of its folder"
        ) from None


def remove_torn(folder: Path) -> None:
    """Remove what a killed process left half written; only for a folder that nobody else is writing to."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def remove(path: Path) -> bool:
    """Remove a file if it is there; whether it was."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
