"""Market-1501 (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015): tracklets of one picture."""

import re
from pathlib import Path

from pipeline.errors import ConfigError
from reid.datasets.folders import ODD_NAME, FolderReader, find_layout
from reid.datasets.tracklets import DataSet, ImageTracklet

_NAME = re.compile(r"(-1|\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg: person 2, camera 1; -1 junk, 0000 distractors
_PARTS = ("bounding_box_train", "query", "bounding_box_test")


def read_market1501(root: Path) -> DataSet:
    """Read the three folders of pictures.

    Raises:
        ConfigError: one of them is missing or holds nothing. DecodeError: it cannot be listed.
    """
    base = find_layout(root, _PARTS, ("Market-1501-v15.09.15", "market1501"), "Market-1501")
    reader = FolderReader()
    train, query, gallery = (_read_part(reader, base / part) for part in _PARTS)
    protocol = (
        "single query, every picture a tracklet of one; id -1 is junk and leaves every ranking, 0 are distractors"
    )
    return DataSet("market1501", train, query, gallery, skipped=reader.skipped, protocol=protocol)


def _read_part(reader: FolderReader, folder: Path) -> tuple[ImageTracklet, ...]:
    found = []
    for path in reader.pictures(folder):
        name = _NAME.match(path.name)
        if name is None:
            reader.skipped[ODD_NAME] += 1
        else:
            found.append(ImageTracklet(int(name[1]), int(name[2]), (path,)))
    if not found:
        raise ConfigError(f"{folder}: holds no pictures named like 0002_c1s1_000451_03.jpg; unpack Market-1501 again")
    return tuple(found)
