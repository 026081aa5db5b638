"""Which reader reads which data set."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from pipeline.errors import ConfigError
from reid.datasets.duke_video import read_duke_video
from reid.datasets.ilids_vid import read_ilids_vid
from reid.datasets.market1501 import read_market1501
from reid.datasets.mars import read_mars
from reid.datasets.plain import read_plain
from reid.datasets.prid2011 import read_prid2011
from reid.datasets.tracklets import DataSet, ImageTracklet

DATA_SETS = ("mars", "duke-video", "prid2011", "ilids-vid", "market1501", "plain")
NO_SECOND_CAMERA = "query without a second camera"


def load_data_set(name: str, root: Path, *, split: int = 0, seed: int = 0) -> DataSet:
    """Read a data set; pictures are listed, not opened.

    A query whose person the gallery has in no other camera asks for nothing that can be found: it is left out of
    `query` and counted, and stays in the gallery where the protocol puts it.

    Args:
        name: one of `DATA_SETS`.
        split: which halves of the people, for prid2011 and ilids-vid; the others have only 0.
        seed: of halves that no file of the data set states.

    Raises:
        ConfigError: an unknown name, a folder or file that is missing, a split that there is not.
        DecodeError: a file of the data set that is damaged, or names a picture that is not there.
    """
    return _with_second_camera(_read(name, root, split, seed))


def _read(name: str, root: Path, split: int, seed: int) -> DataSet:
    if name == "prid2011":
        return read_prid2011(root, split, seed)
    if name == "ilids-vid":
        return read_ilids_vid(root, split, seed)
    if split != 0 and name in DATA_SETS:
        raise ConfigError(f"--split: {name} has one split, 0; got {split}")
    match name:
        case "mars":
            return read_mars(root)
        case "duke-video":
            return read_duke_video(root)
        case "market1501":
            return read_market1501(root)
        case "plain":
            return read_plain(root)
    raise ConfigError(f"--dataset: expected one of {', '.join(DATA_SETS)}, got {name!r}")


def _with_second_camera(data: DataSet) -> DataSet:
    cameras: dict[int, set[int]] = {}
    for tracklet in data.gallery:
        cameras.setdefault(tracklet.person_id, set()).add(tracklet.camera_id)

    def is_answerable(query: ImageTracklet) -> bool:
        return bool(cameras.get(query.person_id, set()) - {query.camera_id})

    kept = tuple(query for query in data.query if is_answerable(query))
    skipped = Counter(data.skipped)
    if len(kept) < len(data.query):
        skipped[NO_SECOND_CAMERA] += len(data.query) - len(kept)
    return replace(data, query=kept, skipped=dict(sorted(skipped.items())))
