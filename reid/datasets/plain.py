"""Anybody's own pictures: `<person>/<camera>/<tracklet>/*.jpg`; what `replay --export-tracklets` writes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.retrieval import JUNK_ID
from reid.datasets.folders import EMPTY, FolderReader, natural_order
from reid.datasets.tracklets import DataSet, ImageTracklet

DISTRACTOR_ID = 0
BESIDE = "folder beside train, query and gallery"

_PARTS = ("train", "query", "gallery")
_JUNK = re.compile(r"0*-1")  # -1; 00-1 as in MARS
_ZERO = re.compile(r"0+")


class _Named(NamedTuple):
    person: str
    camera: str
    images: tuple[Path, ...]


def read_plain(root: Path) -> DataSet:
    """Read the layout, or up to three of it in `train`, `query` and `gallery`.

    Without the three every tracklet asks and is in the gallery; so it is where only one of `query` and `gallery` is
    there. The person `-1` is junk and `0` (`0000`) the distractors: neither of them asks.

    Raises:
        ConfigError: there is not one tracklet. DecodeError: a folder that cannot be listed.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder; --root is the folder that holds a folder for every person")
    reader = FolderReader()
    present = [part for part in _PARTS if (root / part).is_dir()]
    if present:
        read = {part: _read_layout(reader, root / part) for part in present}
        beside = sum(path.name not in _PARTS for path in reader.folders(root))
        reader.skipped.update({BESIDE: beside} if beside else {})
    else:
        read = {"gallery": _read_layout(reader, root)}
    everything = [named for part in read.values() for named in part]
    if not everything:
        raise ConfigError(f"{root}: not one tracklet; expected pictures as <person>/<camera>/<tracklet>/<picture>.jpg")
    people = number_people(named.person for named in everything)
    cameras = number_cameras(named.camera for named in everything)
    numbered = {part: _numbered(found, people, cameras) for part, found in read.items()}
    gallery = numbered.get("gallery", numbered.get("query", ()))
    asking = numbered.get("query", gallery)
    return DataSet(
        f"plain, {root.resolve().name}",
        numbered.get("train", ()),
        tuple(tracklet for tracklet in asking if tracklet.person_id > DISTRACTOR_ID),
        gallery,
        people=_names({name: number for name, number in people.items() if number > DISTRACTOR_ID}),
        cameras=_names(cameras),
        skipped=reader.skipped,
        protocol=_protocol(present),
    )


def number_people(names: Iterable[str]) -> dict[str, int]:
    """Name -> id: the number that the name is; from 1 in natural order where not all names are different numbers."""
    known = set(names)
    nobody = {name: _nobody_id(name) for name in known if _is_nobody(name)}
    return nobody | _numbers(natural_order(known - nobody.keys()), start=1)


def number_cameras(names: Iterable[str]) -> dict[str, int]:
    """Name -> id: the number that the name is; from 0 in natural order where not all names are different numbers."""
    return _numbers(natural_order(set(names)), start=0)


def _is_nobody(name: str) -> bool:
    return bool(_JUNK.fullmatch(name) or _ZERO.fullmatch(name))


def _nobody_id(name: str) -> int:
    return JUNK_ID if _JUNK.fullmatch(name) else DISTRACTOR_ID


def _numbers(ordered: Sequence[str], start: int) -> dict[str, int]:
    if all(name.isdecimal() for name in ordered) and len({int(name) for name in ordered}) == len(ordered):
        return {name: int(name) for name in ordered}
    return {name: number for number, name in enumerate(ordered, start=start)}


def _names(numbers: Mapping[str, int]) -> dict[int, str]:
    """Id -> name; nothing where every name is its number."""
    if all(name.isdecimal() and int(name) == number for name, number in numbers.items()):
        return {}
    return {number: name for name, number in numbers.items()}


def _read_layout(reader: FolderReader, root: Path) -> list[_Named]:
    found = []
    for person in reader.folders(root):
        for camera in reader.folders(person):
            for tracklet in reader.folders(camera):
                images = tuple(reader.pictures(tracklet))
                if images:
                    found.append(_Named(person.name, camera.name, images))
                else:
                    reader.skipped[EMPTY] += 1
    return found


def _numbered(
    found: Sequence[_Named], people: Mapping[str, int], cameras: Mapping[str, int]
) -> tuple[ImageTracklet, ...]:
    return tuple(ImageTracklet(people[one.person], cameras[one.camera], one.images) for one in found)


def _protocol(present: Sequence[str]) -> str:
    if "query" in present and "gallery" in present:
        return "query and gallery as given"
    if present == ["train"]:
        return "nothing to test on: train alone is given"
    return "every tracklet asks and is in the gallery; those of its own person and camera do not count"
