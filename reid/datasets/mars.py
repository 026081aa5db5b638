"""MARS (Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016)."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError, DecodeError
from pipeline.retrieval import JUNK_ID
from pipeline.types import IntArray
from reid.datasets.folders import find_layout, list_folder, read_lines
from reid.datasets.matlab import read_matrix
from reid.datasets.tracklets import DataSet, ImageTracklet

_FOLDER = slice(0, 4)  # of a name 0001C1T0002F003.jpg: the person, which is also the folder


def read_mars(root: Path) -> DataSet:
    """Read the lists in `info/` and see that every picture they name is there.

    The gallery is the whole test part, queries and junk included: without the queries 140 of the 1,980 would have
    nothing to find, because their person's only other tracklets are queries as well.

    Raises:
        ConfigError: a file or folder of the layout is missing. DecodeError: lists that do not fit, a missing picture.
    """
    base = find_layout(root, ("bbox_train", "bbox_test", "info"), ("mars", "MARS"), "MARS")
    train, test = (_read_part(base, part) for part in ("train", "test"))
    file = base / "info" / "query_IDX.mat"
    places = read_matrix(file, "query_IDX").reshape(-1)
    wrong = places[(places < 1) | (places > len(test))]
    if len(wrong):
        raise DecodeError(f"{file}: expected rows 1 to {len(test)} of tracks_test_info.mat, got {wrong[0]}")
    query = tuple(test[place - 1] for place in places.tolist())
    protocol = (
        "official lists; the gallery holds the queries; id -1 is junk and leaves every ranking, 0 are distractors"
    )
    return DataSet("mars", train, query, test, protocol=protocol)


def _read_part(base: Path, part: str) -> tuple[ImageTracklet, ...]:
    names_file = base / "info" / f"{part}_name.txt"
    rows_file = base / "info" / f"tracks_{part}_info.mat"
    names = read_lines(names_file)
    rows = read_matrix(rows_file, f"track_{part}_info")
    _check_rows(rows, rows_file, len(names), names_file)
    folder = _PictureFolder(base / f"bbox_{part}", names_file)
    tracklets = []
    for number, (first, last, person, camera) in enumerate(rows.tolist(), start=1):
        own = names[first - 1 : last]
        start = f"{_folder_name(person)}C{camera}"  # of 0001C1T0002F003.jpg
        odd = next((name for name in own if not name.startswith(start)), None)
        if odd is not None:
            raise DecodeError(
                f"{rows_file}: row {number} is of person {person}, camera {camera}, but {names_file.name} says {odd!r} "
                "there; take both files from one release"
            )
        tracklets.append(ImageTracklet(person, camera, folder.paths(own)))
    return tuple(tracklets)


def _check_rows(rows: IntArray, file: Path, names: int, names_file: Path) -> None:
    if rows.shape[1] != 4:
        raise DecodeError(f"{file}: expected 4 columns (first, last, person, camera), got {rows.shape[1]}")
    wrong = (rows[:, 0] < 1) | (rows[:, 1] < rows[:, 0]) | (rows[:, 1] > names)
    if wrong.any():
        place = int(wrong.argmax())
        raise DecodeError(
            f"{file}: row {place + 1}: expected a range of the {names} lines of {names_file.name}, "
            f"got {rows[place, 0]} to {rows[place, 1]}"
        )


def _folder_name(person: int) -> str:
    return "00-1" if person == JUNK_ID else f"{person:04d}"


class _PictureFolder:
    """`bbox_train` or `bbox_test`: half a million files, so every person's folder is listed once and no file asked."""

    def __init__(self, folder: Path, list_file: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is not a folder; unpack {folder.name}.zip there")
        self._folder = folder
        self._list_file = list_file
        self._listed: dict[str, frozenset[str]] = {}

    def paths(self, names: Sequence[str]) -> tuple[Path, ...]:
        """The files of these names.

        Raises:
            DecodeError: one of them is not there.
        """
        paths = []
        for name in names:
            person = name[_FOLDER]
            if name not in self._of(person):
                raise DecodeError(
                    f"{self._folder / person / name}: is in {self._list_file.name} and not on the disk; "
                    f"unpack {self._folder.name}.zip again"
                )
            paths.append(self._folder / person / name)
        return tuple(paths)

    def _of(self, person: str) -> frozenset[str]:
        if person not in self._listed:
            self._listed[person] = frozenset(name for name, _ in list_folder(self._folder / person))
        return self._listed[person]
