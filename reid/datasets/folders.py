"""Folders of pictures: what lies in them, in a fixed order, and what was left out and why."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import ConfigError, DecodeError

PICTURES = frozenset({"jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"})  # endings

# Why something was left out: the keys of `DataSet.skipped`.
NOT_A_PICTURE = "not a picture"
HIDDEN = "hidden file"  # .DS_Store, and the ._0001.jpg that some archives hold beside 0001.jpg
OUTSIDE = "picture outside of a tracklet folder"
EMPTY = "empty tracklet"
ODD_NAME = "name not understood"

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `F2.jpg` before `F10.jpg`; names that differ in leading zeros only keep a fixed order."""
    parts = [part for part in _DIGITS.split(name) if part]
    return (*((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts), (2, 0, name))


def natural_order(names: Iterable[str]) -> list[str]:
    """Names, numbers inside them in order of size."""
    return sorted(names, key=natural_key)


class FolderReader:
    """Lists folders and counts what it leaves out. One listing a folder; no file is opened or asked for its size.

    Attributes:
        skipped: reason -> how often.
    """

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()

    def folders(self, place: Path) -> list[Path]:
        """The folders in a folder, in natural order; files there are counted.

        Raises:
            ConfigError: it is no folder. DecodeError: it cannot be listed.
        """
        found = []
        for name, is_folder in list_folder(place):
            if is_folder and not name.startswith("."):
                found.append(name)
            elif not is_folder:
                self.skipped[file_fault(name) or OUTSIDE] += 1
        return [place / name for name in sorted(found, key=natural_key)]

    def pictures(self, folder: Path) -> list[Path]:
        """The pictures in a folder, in natural order; other files and folders there are counted.

        Raises:
            ConfigError: it is no folder. DecodeError: it cannot be listed.
        """
        found = []
        for name, is_folder in list_folder(folder):
            fault = NOT_A_PICTURE if is_folder else file_fault(name)
            if fault is None:
                found.append(name)
            else:
                self.skipped[fault] += 1
        return [folder / name for name in sorted(found, key=natural_key)]


def file_fault(name: str) -> str | None:
    """Why a file of this name is not looked at; None for a picture."""
    if name.startswith("."):
        return HIDDEN
    return None if name.rpartition(".")[2].lower() in PICTURES else NOT_A_PICTURE


def list_folder(folder: Path) -> list[tuple[str, bool]]:
    """Name and whether it is a folder, of everything in a folder, in no special order.

    Raises:
        ConfigError: it is no folder. DecodeError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir()) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{folder}: no such folder; unpack the data set again, or correct --root") from None
    except OSError as error:
        raise DecodeError(f"{folder}: cannot be listed: {error.strerror}; check its rights") from None


def find_layout(root: Path, needed: Sequence[str], inside: Sequence[str], title: str) -> Path:
    """The folder that holds everything in `needed`: `root`, or what the data set's archive unpacks to inside of it.

    Raises:
        ConfigError: says what is missing where.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder; --root is the folder that {title} was unpacked to")
    places = [root, *(root / name for name in inside)]
    lacks = {place: [name for name in needed if not (place / name).exists()] for place in places}
    best = min(places, key=lambda place: len(lacks[place]))
    if lacks[best]:
        raise ConfigError(
            f"{best / lacks[best][0]}: not there; --root must hold {', '.join(needed)} of {title} (docs/datasets.md)"
        )
    return best


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without white space at their ends; blank lines at the end of the file do not count.

    Raises:
        ConfigError: it is not there. DecodeError: it cannot be read as text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; it belongs to the data set (docs/datasets.md)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DecodeError(f"{path}: cannot be read as text: {error}; unpack it again") from None
