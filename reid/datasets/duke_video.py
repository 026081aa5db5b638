"""DukeMTMC-VideoReID (Wu et al., CVPR 2018, from DukeMTMC by Ristani et al., ECCV workshop 2016), withdrawn since."""

import re
from pathlib import Path

from reid.datasets.folders import EMPTY, ODD_NAME, FolderReader, find_layout
from reid.datasets.tracklets import DataSet, ImageTracklet

SEVERAL_CAMERAS = "tracklet with pictures of several cameras"

_NAME = re.compile(r"\d+_?C(\d+)_?F(\d+)")  # 0001_C6_F0099_X30823.jpg; older 0001C6F0099X30823.jpg
_PARTS = ("train", "query", "gallery")
_INSIDE = ("DukeMTMC-VideoReID", "dukemtmc_videoReID")


def read_duke_video(root: Path) -> DataSet:
    """Read `train`, `query` and `gallery`, each `<person>/<tracklet>/*.jpg`, as they lie there.

    Raises:
        ConfigError: one of them is missing. DecodeError: a folder that cannot be listed.
    """
    base = find_layout(root, _PARTS, _INSIDE, "DukeMTMC-VideoReID")
    reader = FolderReader()
    train, query, gallery = (_read_part(reader, base / part) for part in _PARTS)
    protocol = (
        "train, query and gallery as published, one query per person; DukeMTMC was withdrawn by its authors: for "
        "comparison with older papers only"
    )
    return DataSet("duke-video", train, query, gallery, skipped=reader.skipped, protocol=protocol)


def _read_part(reader: FolderReader, folder: Path) -> tuple[ImageTracklet, ...]:
    found = []
    for person in reader.folders(folder):
        if not person.name.isdecimal():
            reader.skipped[ODD_NAME] += 1
            continue
        tracklets = (_read_tracklet(reader, place, int(person.name)) for place in reader.folders(person))
        found += [tracklet for tracklet in tracklets if tracklet is not None]
    return tuple(found)


def _read_tracklet(reader: FolderReader, folder: Path, person: int) -> ImageTracklet | None:
    named = [(_NAME.match(path.name), path) for path in reader.pictures(folder)]
    known = [(int(name[2]), int(name[1]), path) for name, path in named if name is not None]
    reader.skipped.update({ODD_NAME: len(named) - len(known)} if len(known) < len(named) else {})
    cameras = {camera for _, camera, _ in known}
    if len(cameras) != 1:
        reader.skipped[SEVERAL_CAMERAS if cameras else EMPTY] += 1
        return None
    images = tuple(path for _, _, path in sorted(known, key=lambda entry: entry[0]))
    return ImageTracklet(person, cameras.pop(), images)
