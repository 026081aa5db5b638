"""Clip features on disk: what `search` looks through. One file set per model, append-only, rows of fixed size.

    features/<model>/model.json        {"schema", "model_id", "dimensions"}; <model> is a hash of the model's id
    features/<model>/streams.jsonl     [camera, epoch] a line; rows name a stream by its line's number
    features/<model>/000001.vectors    (N, D) float16: the embeddings, as they were published
    features/<model>/000001.rows       (N,) `ROW`, 64 bytes: whose, when, how good, where a picture is

A segment has up to `SEGMENT_ROWS` rows. A vector is written before its row, so that a killed writer leaves at most a
vector too many, or half a row: both are cut off by the next writer, and no reader looks at them. Erased and expired
rows are overwritten with zeros where they stand, also while somebody appends or reads; a segment of nothing else is
removed. Which identity a row is, is not written here: corrections would rewrite it. `pipeline.resolution` tells.
"""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError, OutputError
from pipeline.types import TrackKey

_log = logging.getLogger(__name__)

FOLDER = "features"
SEGMENT_ROWS = 65_536  # 75 MB of vectors of 576 values: small beside a day of a busy site, and some hundred files
SCHEMA = 1
ROW = np.dtype(
    [
        ("stream", "<u4"),
        ("alive", "<u4"),  # 1; 0: erased or expired, everything else is 0 as well
        ("track_id", "<i8"),
        ("sequence", "<i8"),
        ("first_visible_s", "<f8"),
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("picture_at_s", "<f8"),  # of the kept frame; NaN: none
        ("picture_index", "<i4"),  # its frame's index, which its file is named by; -1: none
        ("quality", "<f4"),
    ]
)

VECTORS, ROWS = ".vectors", ".rows"

RowArray = npt.NDArray[np.void]
VectorArray = npt.NDArray[np.float16]


class Stream(NamedTuple):
    """Where a row's track was made."""

    camera_id: str
    epoch: str


@dataclass(frozen=True, eq=False, slots=True)
class FeatureRows:
    """The features of one model, rows of all segments counted through.

    Attributes:
        vectors: per segment (n, D) float16, mapped from the disk or in memory. rows: (N,) `ROW`, of all segments.
        streams: what `rows["stream"]` counts in.
    """

    model_id: str
    vectors: tuple[VectorArray, ...]
    rows: RowArray
    streams: tuple[Stream, ...]

    def __len__(self) -> int:
        """Erased rows count, too."""
        return len(self.rows)

    def gather(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(len(places), D) float32 of some rows, in the order asked for."""
        dimensions = self.vectors[0].shape[1] if self.vectors else 0
        found = np.zeros((len(places), dimensions), np.float32)
        start = 0
        for vectors in self.vectors:
            mine = np.flatnonzero((places >= start) & (places < start + len(vectors)))
            found[mine] = vectors[places[mine] - start]
            start += len(vectors)
        return found

    def key(self, row: np.void) -> TrackKey:
        """The track that a row is of."""
        stream = self.streams[int(row["stream"])]
        return TrackKey(stream.camera_id, stream.epoch, int(row["track_id"]))


# -- erasing ----------------------------------------------------------------------------------------------------------


def erase_tracks(out_dir: Path, keys: Collection[TrackKey]) -> int:
    """Erase the features of these tracks from an output folder; how many rows went. Running it twice is fine.

    Raises:
        OutputError: a file cannot be changed; run it again.
    """
    wanted = by_stream(keys)
    count = 0
    for folder in model_folders(out_dir) if wanted else []:
        tracks: dict[int, list[int]] = {}
        for number, stream in enumerate(read_streams(folder)):
            if stream in wanted:
                tracks[number] = wanted[stream]
        for number in segment_numbers(folder):
            rows = read_rows(folder, number)
            count += _blank(folder, number, rows, are_of(rows, tracks) & (rows["alive"] == 1))
    return count


def by_stream(keys: Iterable[TrackKey]) -> dict[Stream, list[int]]:
    """The track ids of each stream."""
    found: dict[Stream, list[int]] = {}
    for key in keys:
        found.setdefault(Stream(key.camera_id, key.epoch), []).append(key.track_id)
    return found


def are_of(rows: RowArray, tracks: Mapping[int, list[int]]) -> npt.NDArray[np.bool_]:
    """(N,) whether each row is of one of these tracks, number of the stream → track ids."""
    mine = np.zeros(len(rows), bool)
    for number, track_ids in tracks.items():
        of_stream = np.flatnonzero(rows["stream"] == number)
        mine[of_stream] = np.isin(rows["track_id"][of_stream], track_ids)
    return mine


def erase_before(out_dir: Path, before_s: float) -> int:
    """Erase the features of clips that ended before this time; how many rows went.

    Raises:
        OutputError: a file cannot be changed.
    """
    count = 0
    for folder in model_folders(out_dir):
        for number in segment_numbers(folder):
            rows = read_rows(folder, number)
            doomed = (rows["end_s"] < before_s) & (rows["alive"] == 1)
            gone = rows["alive"] == 0
            if len(rows) and not (doomed | gone).any():
                break  # rows stand about in order of time: what follows is younger
            count += _blank(folder, number, rows, doomed)
    return count


def _blank(folder: Path, number: int, rows: RowArray, doomed: npt.NDArray[np.bool_]) -> int:
    """Overwrite rows with zeros, vectors first; a full segment that has nothing else, and is not the last, goes."""
    places = np.flatnonzero(doomed)
    try:
        if len(places):
            width = 2 * dimensions(folder)
            for ending, size in ((VECTORS, width), (ROWS, ROW.itemsize)):
                with segment(folder, number, ending).open("r+b") as file:
                    for first, last in _runs(places):
                        file.seek(first * size)
                        file.write(bytes((last - first) * size))
        if len(rows) and not ((rows["alive"] == 1) & ~doomed).any() and number != segment_numbers(folder)[-1]:
            for ending in (ROWS, VECTORS):
                segment(folder, number, ending).unlink(missing_ok=True)
    except FileNotFoundError:
        return len(places)  # the writer dropped the segment meanwhile
    except OSError as error:
        raise OutputError(f"cannot change {folder}: {error.strerror}; run it again") from None
    return len(places)


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(first, end) of each run of successive places."""
    for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
        yield int(run[0]), int(run[-1]) + 1


# -- reading ----------------------------------------------------------------------------------------------------------


def stored_models(out_dir: Path) -> dict[str, int]:
    """Model id → rows in the folder, erased ones left out; folders that cannot be understood are passed over."""
    found = {}
    for folder in model_folders(out_dir):
        rows = sum(int((read_rows(folder, n)["alive"] == 1).sum()) for n in segment_numbers(folder))
        found[str(read_model(folder)["model_id"])] = rows
    return found


def read_features(out_dir: Path, model_id: str) -> FeatureRows:
    """Map the features of one model; none give no segments. Somebody may be appending meanwhile.

    Raises:
        DecodeError: a file that is not what it should be.
    """
    folder = out_dir / FOLDER / slug(model_id)
    if not (folder / "model.json").exists():
        return FeatureRows(model_id, (), np.zeros(0, ROW), ())
    width = dimensions(folder)
    vectors, rows = [], []
    for number in segment_numbers(folder):
        found = read_rows(folder, number)
        if not len(found):
            continue
        try:
            vectors.append(np.memmap(segment(folder, number, VECTORS), "<f2", "r", shape=(len(found), width)))
        except FileNotFoundError:
            continue  # the writer dropped the segment meanwhile
        except ValueError:
            raise DecodeError(f"{folder}: segment {number} has rows without vectors; the folder is damaged") from None
        rows.append(found)
    streams = tuple(read_streams(folder))
    table = np.concatenate([np.zeros(0, ROW), *rows])
    if len(table) and int(table["stream"].max()) >= len(streams):
        raise DecodeError(f"{folder}: streams.jsonl does not name every stream; the folder is damaged")
    return FeatureRows(model_id, tuple(vectors), table, streams)


def slug(model_id: str) -> str:
    return hashlib.sha256(model_id.encode()).hexdigest()[:16]


def segment(folder: Path, number: int, ending: str) -> Path:
    return folder / f"{number:06d}{ending}"


def segment_numbers(folder: Path) -> list[int]:
    return sorted(int(p.stem) for p in folder.glob(f"*{ROWS}") if p.stem.isdecimal())


def read_rows(folder: Path, number: int) -> RowArray:
    """The whole rows of a segment; none when it was dropped meanwhile."""
    try:
        content = segment(folder, number, ROWS).read_bytes()
    except FileNotFoundError:
        return np.zeros(0, ROW)
    return np.frombuffer(content[: len(content) // ROW.itemsize * ROW.itemsize], ROW)


def model_folders(out_dir: Path) -> list[Path]:
    """The folders of all models; what cannot be understood is passed over with a warning."""
    found = []
    for path in sorted((out_dir / FOLDER).glob("*/model.json")):
        try:
            read_model(path.parent)
        except DecodeError as error:
            _log.warning("passed over: %s", error)
            continue
        found.append(path.parent)
    return found


def dimensions(folder: Path) -> int:
    return int(read_model(folder)["dimensions"])


def read_model(folder: Path) -> dict[str, Any]:
    """What `model.json` says.

    Raises:
        DecodeError: it is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("dimensions"), int):
        raise DecodeError(f"{path}: expected an object with schema {SCHEMA}; it was written by another version")
    return value


def read_streams(folder: Path, cut: bool = False) -> list[Stream]:
    """The whole lines of streams.jsonl; `cut`: a torn last line is removed."""
    path = folder / "streams.jsonl"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    if cut and len(whole) < len(content):
        os.truncate(path, len(whole))
    return [Stream(*map(str, json.loads(line))) for line in whole.splitlines()]
