"""Brings `tracks/` up to the identity log, with the help of `tracks_local/`, which has every box under its track."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.background.erasure import joined
from pipeline.background.files import write_bytes
from pipeline.background.local_tracks import FOLDER as LOCAL
from pipeline.background.local_tracks import read_local_keys
from pipeline.background.retention import read_lines
from pipeline.resolution import IdentityBook

_Row = tuple[int, int, bytes]  # frame, id, the rest of the line


def correct_rows(out_dir: Path, book: IdentityBook) -> tuple[int, list[str]]:
    """Give the rows of `tracks/` the identities as finally known; how many rows changed, and notes for people.

    Rows of identities that no correction touched keep their bytes. A box that was left out, because its identity had
    a surer one in the same frame, comes back when a split parts the two.

    Raises:
        OutputError: a file cannot be replaced.
    """
    tracks = read_local_keys(out_dir)
    changed = 0
    notes = []
    for path in sorted((out_dir / "tracks").glob("*.txt")):
        owners = {number: book.final(key) for number, key in tracks if key.camera_id == path.stem}
        if not (out_dir / LOCAL / path.name).exists() and _has_moved_tracks(path.stem, book):
            notes.append(f"tracks/{path.name}: without {LOCAL}/{path.name} only merges can be applied, no splits")
        lines = read_lines(path)
        corrected = _corrected(path, out_dir / LOCAL / path.name, owners, book)
        if corrected != lines:
            write_bytes(path, joined(corrected))
            changed += sum((Counter(lines) - Counter(corrected)).values())
    return changed, notes


def _has_moved_tracks(camera_id: str, book: IdentityBook) -> bool:
    """Whether a track of the camera once was somebody else, other than by a merge."""
    tracks = ((key, book.final(key)) for key in book.tracks() if key.camera_id == camera_id)
    return any(book.living(i) != final for key, final in tracks for i in book.known_as(key))


def _corrected(path: Path, local_path: Path, owners: Mapping[int, int], book: IdentityBook) -> list[bytes]:
    """The lines of one camera's file with final ids."""
    rows, local = _rows(path), _rows(local_path)
    track_of = {(frame, rest): number for frame, number, rest in local}
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for frame, identity_id, rest in rows:
        if (frame, rest) in track_of:
            votes[track_of[frame, rest]][identity_id] += 1
    before = {number: ids.most_common(1)[0][0] for number, ids in votes.items()}
    moved = {n for n, old in before.items() if owners.get(n) and owners[n] != old}
    touched = {i for n in moved for i in (before[n], owners[n])}
    kept = [
        (frame, book.living(identity_id), rest)
        for frame, identity_id, rest in rows
        if not (identity_id in touched and owners.get(track_of.get((frame, rest), 0)) in touched)
    ]
    again = [(frame, owners[n], rest) for frame, n, rest in local if owners.get(n) in touched]
    if kept == rows and not again:
        return read_lines(path)
    corrected = sorted(_once_a_frame([*kept, *again]), key=lambda row: row[:2])
    return [*(b"%d,%d,%s" % row for row in corrected), *(line for line in read_lines(path) if _row(line) is None)]


def _once_a_frame(rows: Iterable[_Row]) -> list[_Row]:
    """Of two boxes of one identity in one frame the surer one."""
    surest: dict[tuple[int, int], _Row] = {}
    for row in rows:
        place = row[:2]
        if place not in surest or _confidence(row) > _confidence(surest[place]):
            surest[place] = row
    return list(surest.values())


def _confidence(row: _Row) -> float:
    try:
        return float(row[2].split(b",")[4])
    except (IndexError, ValueError):
        return 0.0


def _rows(path: Path) -> list[_Row]:
    """The rows of a file; lines that are none are left out."""
    return [row for row in map(_row, read_lines(path)) if row is not None]


def _row(line: bytes) -> _Row | None:
    cells = line.split(b",", 2)
    if len(cells) != 3 or not (cells[0].isdigit() and cells[1].isdigit()):
        return None
    return int(cells[0]), int(cells[1]), cells[2]
