"""Data sets with one tracklet of a person in each of two cameras, split by people into halves: PRID2011, iLIDS-VID."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.errors import ConfigError
from reid.datasets.folders import EMPTY, FolderReader, natural_order
from reid.datasets.tracklets import ImageTracklet

SPLITS = 10  # random halves that papers average over


class Halves(NamedTuple):
    """Names of the people to train on and to test on."""

    train: list[str]
    test: list[str]


class Parts(NamedTuple):
    """What a split makes of the data."""

    train: tuple[ImageTracklet, ...]
    query: tuple[ImageTracklet, ...]
    gallery: tuple[ImageTracklet, ...]


@dataclass(frozen=True, slots=True)
class CameraFolder:
    """One camera: `<folder>/<person>/` with pictures."""

    camera_id: int
    folder: Path


def random_halves(names: Sequence[str], split: int, seed: int) -> Halves:
    """Halves of the people by chance; the same names, split and seed give the same ones. Of an odd one, test has more.

    Raises:
        ConfigError: a split that there is not.
    """
    check_split(split, SPLITS)
    ordered = natural_order(names)
    shuffled = np.random.default_rng([seed, split]).permutation(len(ordered)).tolist()
    middle = len(ordered) // 2
    return Halves(*(natural_order([ordered[i] for i in part]) for part in (shuffled[:middle], shuffled[middle:])))


def check_split(split: int, count: int) -> None:
    """Raise ConfigError unless `split` is one of `count`."""
    if not 0 <= split < count:
        raise ConfigError(f"--split: expected 0 to {count - 1}, got {split}")


def make_parts(reader: FolderReader, halves: Halves, first: CameraFolder, second: CameraFolder) -> Parts:
    """Train on both cameras; the first camera's tracklets are the queries, the second's the gallery."""
    train = [_tracklet(reader, camera, name) for name in halves.train for camera in (first, second)]
    query = [_tracklet(reader, first, name) for name in halves.test]
    gallery = [_tracklet(reader, second, name) for name in halves.test]
    return Parts(*(tuple(t for t in part if t is not None) for part in (train, query, gallery)))


def person_number(name: str) -> int:
    """`person_0012` and `person012` are 12; -1 for a name without a number."""
    found = re.fullmatch(r"[A-Za-z]+_?(\d+)", name)
    return int(found[1]) if found else -1


def _tracklet(reader: FolderReader, camera: CameraFolder, name: str) -> ImageTracklet | None:
    """None where the camera did not see the person, or the folder is empty (counted)."""
    folder = camera.folder / name
    if not folder.is_dir():
        return None
    images = tuple(reader.pictures(folder))
    if not images:
        reader.skipped[EMPTY] += 1
        return None
    return ImageTracklet(person_number(name), camera.camera_id, images)
