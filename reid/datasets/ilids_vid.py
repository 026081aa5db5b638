"""iLIDS-VID (Wang et al., "Person Re-identification by Video Ranking", ECCV 2014)."""

from pathlib import Path

import numpy as np

from pipeline.errors import DecodeError
from reid.datasets.folders import ODD_NAME, FolderReader, find_layout
from reid.datasets.matlab import read_matrix
from reid.datasets.tracklets import DataSet
from reid.datasets.two_cameras import CameraFolder, Halves, check_split, make_parts, person_number, random_halves

_SPLITS_FILE = "train_test_splits_ilidsvid.mat"
_SPLITS_FOLDERS = ("train-test people splits", ".", "splits")
_CAMERAS = {1: "cam1", 2: "cam2"}


def read_ilids_vid(root: Path, split: int = 0, seed: int = 0) -> DataSet:
    """Read `sequences/cam1` and `cam2`; who is tested on says the authors' .mat file, or chance without it.

    Raises:
        ConfigError: a folder of the layout is missing, or a split that there is not.
        DecodeError: a splits file that cannot be read or does not fit the people on the disk.
    """
    base = find_layout(root, ("sequences/cam1", "sequences/cam2"), ("i-LIDS-VID", "ilids-vid"), "iLIDS-VID")
    first, second = (CameraFolder(number, base / "sequences" / name) for number, name in _CAMERAS.items())
    reader = FolderReader()
    people = {camera: [path.name for path in reader.folders(camera.folder)] for camera in (first, second)}
    named = {name for names in people.values() for name in names}
    odd = {name for name in named if person_number(name) < 0}
    reader.skipped.update({ODD_NAME: len(odd)} if odd else {})
    file = next(
        (f for place in (root, base) for n in _SPLITS_FOLDERS if (f := place / n / _SPLITS_FILE).is_file()), None
    )
    if file is not None:
        halves = _listed_halves(file, split, sorted(set(people[first]) - odd))
        how = f"split {split} of {_SPLITS_FILE}"
    else:
        halves = random_halves(sorted(named - odd), split, seed)
        how = f"random halves, split {split} of seed {seed} (no {_SPLITS_FILE})"
    parts = make_parts(reader, halves, first, second)
    protocol = f"{how}: {len(halves.train)} people to train, {len(halves.test)} to test; cam1 asks, cam2 is the gallery"
    return DataSet(f"ilids-vid, split {split}", *parts, cameras=_CAMERAS, skipped=reader.skipped, protocol=protocol)


def _listed_halves(file: Path, split: int, names: list[str]) -> Halves:
    """Row `split` of the file: places of people in the sorted list of cam1, from 1; the first half is the test."""
    table = read_matrix(file, "ls_set")
    check_split(split, len(table))
    places = table[split]
    if not np.array_equal(np.sort(places), np.arange(1, len(names) + 1)):
        raise DecodeError(
            f"{file}: split {split} orders {len(places)} people, and cam1 has {len(names)}; unpack the sequences again"
        )
    middle = len(places) // 2
    test, train = (sorted(names[place - 1] for place in half.tolist()) for half in (places[:middle], places[middle:]))
    return Halves(train, test)
