"""MOTChallenge's `seqinfo.ini`: frame rate, length and size of a sequence."""

import configparser
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DecodeError


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """What a `seqinfo.ini` says; None for what it leaves out.

    Attributes:
        fps: frames per second, above 0. frame_count: above 0. size_px: (width, height).
        image_dir: folder of the pictures, relative to the sequence's.
    """

    fps: float | None = None
    frame_count: int | None = None
    size_px: tuple[int, int] | None = None
    image_dir: str = "img1"


def read_seqinfo(path: Path) -> SequenceInfo:
    """Read a `seqinfo.ini`; a file that is not there says nothing.

    Raises:
        DecodeError: it is not such a file, or a value makes no sense.
    """
    if not path.is_file():
        return SequenceInfo()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = dict(parser["Sequence"])
    except (configparser.Error, KeyError, UnicodeDecodeError, OSError):
        raise DecodeError(f"{path}: is not a MOTChallenge seqinfo.ini (section [Sequence] with frameRate)") from None
    fps, length, width, height = (
        _positive(section, key, path) for key in ("frameRate", "seqLength", "imWidth", "imHeight")
    )
    return SequenceInfo(
        fps=fps,
        frame_count=None if length is None else int(length),
        size_px=None if width is None or height is None else (int(width), int(height)),
        image_dir=section.get("imdir", "img1"),
    )


def _positive(section: dict[str, str], key: str, path: Path) -> float | None:
    text = section.get(key.lower())
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    whole = key == "frameRate" or value == int(value) if 0.0 < value < 1e6 else False
    if not whole:
        raise DecodeError(f"{path}: {key}: expected a number above 0, got {text!r}")
    return value
