"""Which track of the identity log each track of `tracks_local/` is, and how one person's go from there.

`tracks_local/<camera>.txt` knows no identities, so `tracks_local/keys.csv` names the track behind each of its ids.
"""

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.background.erasure import Erasure, joined
from pipeline.background.files import remove, write_bytes
from pipeline.background.retention import read_lines
from pipeline.types import TrackKey

FOLDER = "tracks_local"
_KEYS = "keys.csv"
_ERASED = "tracks/.erased.csv"
_HEAD = ("camera", "track", "epoch", "track_id")


def write_local_keys(out_dir: Path, tracks: Iterable[tuple[int, TrackKey]]) -> None:
    """Write `keys.csv`; `tracks` are (id in tracks_local, key).

    Raises:
        OutputError: the disk says no.
    """
    write_bytes(out_dir / FOLDER / _KEYS, _table(tracks))


def read_local_keys(out_dir: Path) -> list[tuple[int, TrackKey]]:
    """(id in tracks_local, key) of every track; lines that cannot be read are left out, none without a file."""
    return _read_table(out_dir / FOLDER / _KEYS)


def _read_table(path: Path) -> list[tuple[int, TrackKey]]:
    if not path.exists():
        return []
    rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="replace")))
    found = []
    for row in rows:
        if len(row) == len(_HEAD) and row[1].isdigit() and row[3].isdigit():
            found.append((int(row[1]), TrackKey(row[0], row[2], int(row[3]))))
    return found


def note_erased(out_dir: Path, keys: Collection[TrackKey]) -> None:
    """For a run that goes on: rows of these tracks, which still wait for its end, are not to be written then."""
    folder = out_dir / "tracks"
    if keys and ((folder / ".journal").exists() or any(folder.glob(".*.part"))):  # gone when the run is over
        known = read_erased(out_dir)
        if not known.issuperset(keys):
            write_bytes(out_dir / _ERASED, _table((0, key) for key in sorted(known.union(keys))))


def read_erased(out_dir: Path) -> frozenset[TrackKey]:
    """The tracks that `note_erased` noted."""
    return frozenset(key for _, key in _read_table(out_dir / _ERASED))


def erase_local_rows(work: Erasure, keys: frozenset[TrackKey]) -> None:
    """Remove these tracks' rows from `tracks_local/`, and then from `keys.csv`, which tells where they are."""
    tracks = read_local_keys(work.out_dir)
    gone = {(key.camera_id, number) for number, key in tracks if key in keys}
    for camera_id in sorted({camera_id for camera_id, _ in gone}):
        path = work.out_dir / FOLDER / f"{camera_id}.txt"
        before = read_lines(path)
        left = [line for line in before if (camera_id, _track_of(line)) not in gone]
        if len(left) < len(before):
            work.write(path, joined(left))
            work.counts["local_rows"] += len(before) - len(left)
    if gone:
        work.write(work.out_dir / FOLDER / _KEYS, _table((n, key) for n, key in tracks if key not in keys))


def drop_erased_note(out_dir: Path) -> None:
    """The run is over, and its rows are written."""
    remove(out_dir / _ERASED)


def _track_of(line: bytes) -> int | None:
    cells = line.split(b",", 2)
    return int(cells[1]) if len(cells) == 3 and cells[1].isdigit() else None


def _table(tracks: Iterable[tuple[int, TrackKey]]) -> bytes:
    text = io.StringIO()
    rows = ((key.camera_id, number, key.epoch, key.track_id) for number, key in tracks)
    csv.writer(text, lineterminator="\n").writerows([_HEAD, *rows])
    return text.getvalue().encode()
