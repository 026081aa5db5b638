"""PRID2011 (Hirzer et al., "Person Re-Identification by Descriptive and Discriminative Classification", SCIA 2011)."""

import json
from pathlib import Path

from pipeline.errors import DecodeError
from reid.datasets.folders import ODD_NAME, FolderReader, file_fault, find_layout, list_folder
from reid.datasets.tracklets import DataSet
from reid.datasets.two_cameras import CameraFolder, Halves, check_split, make_parts, person_number, random_halves

SHORT = "person with fewer than 27 pictures in a camera"
ALONE = "person of one camera"

_LEAST_PICTURES = 27  # in both cameras: what papers keep, 178 people
_IN_BOTH = 200  # person_0001 to 0200 are the same in both cameras; above, equal numbers are different people
_SPLITS_FILE = "splits_prid2011.json"
_CAMERAS = {0: "cam_a", 1: "cam_b"}


def read_prid2011(root: Path, split: int = 0, seed: int = 0) -> DataSet:
    """Read the pictures of `multi_shot`; who is tested on says `splits_prid2011.json`, or chance without it.

    Raises:
        ConfigError: a folder of the layout is missing, or a split that there is not.
        DecodeError: a splits file that cannot be read, or names somebody who is not there.
    """
    base = find_layout(root, ("multi_shot/cam_a", "multi_shot/cam_b"), ("prid_2011", "prid2011"), "PRID2011")
    first, second = (CameraFolder(number, base / "multi_shot" / name) for number, name in _CAMERAS.items())
    reader = FolderReader()
    file = next((place / _SPLITS_FILE for place in (root, base) if (place / _SPLITS_FILE).is_file()), None)
    if file is not None:
        halves = _listed_halves(file, split, (first, second))
        how = f"split {split} of {_SPLITS_FILE}"
    else:
        halves = random_halves(_long_enough(reader, first, second), split, seed)
        how = f"random halves, split {split} of seed {seed} (no {_SPLITS_FILE})"
    parts = make_parts(reader, halves, first, second)
    protocol = (
        f"{how}: {len(halves.train)} people to train, {len(halves.test)} to test; cam_a asks, cam_b is the gallery"
    )
    return DataSet(f"prid2011, split {split}", *parts, cameras=_CAMERAS, skipped=reader.skipped, protocol=protocol)


def _long_enough(reader: FolderReader, first: CameraFolder, second: CameraFolder) -> list[str]:
    """People of both cameras with enough pictures in each; the others are counted."""
    names = [[path.name for path in reader.folders(camera.folder)] for camera in (first, second)]
    odd = {name for name in (*names[0], *names[1]) if person_number(name) < 0}
    both = {name for name in set(names[0]) & set(names[1]) - odd if person_number(name) <= _IN_BOTH}
    kept = [
        name
        for name in both
        if min(_pictures_in(camera.folder / name) for camera in (first, second)) >= _LEAST_PICTURES
    ]
    counts = {ODD_NAME: len(odd), ALONE: len(names[0]) + len(names[1]) - 2 * len(both) - len(odd)}
    reader.skipped.update({why: n for why, n in (counts | {SHORT: len(both) - len(kept)}).items() if n})
    return kept


def _pictures_in(folder: Path) -> int:
    return sum(not is_folder and file_fault(name) is None for name, is_folder in list_folder(folder))


def _listed_halves(file: Path, split: int, cameras: tuple[CameraFolder, CameraFolder]) -> Halves:
    try:
        splits = json.loads(file.read_text(encoding="utf-8"))
        listed = [Halves([str(n) for n in one["train"]], [str(n) for n in one["test"]]) for one in splits]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DecodeError(f'{file}: expected a list of {{"train": [names], "test": [names]}}: {error!r}') from None
    check_split(split, len(listed))
    chosen = listed[split]
    twice = set(chosen.train) & set(chosen.test)
    if twice:
        raise DecodeError(f"{file}: split {split} has {min(twice)} in train and in test")
    for name in (*chosen.train, *chosen.test):
        for camera in cameras:
            if not (camera.folder / name).is_dir():
                raise DecodeError(f"{camera.folder / name}: is in {file.name} and not on the disk; unpack it again")
    return chosen
