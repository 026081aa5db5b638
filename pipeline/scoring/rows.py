"""MOTChallenge rows of one camera: reading and writing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError
from pipeline.types import IntArray, frozen_array

NOBODY = 0  # id of a box in `tracks_online` whose identity was not known yet
LAST_FRAME = 10_000_000  # highest frame number: four days at 30 frames/s; above it stands a time stamp, not a number

Float64Array = npt.NDArray[np.float64]
_COLUMNS = ("frame", "id", "x", "y", "width", "height")


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Boxes with ids of one camera; any order, float64 as in the file.

    Attributes:
        frames: (N,) int64, from 1. ids: (N,) int64.
        xywh: (N, 4) float64, left, top, width, height, px.
        confidence: (N,) float64; 1 where the file has none.
    """

    frames: IntArray
    ids: IntArray
    xywh: Float64Array
    confidence: Float64Array

    def __post_init__(self) -> None:
        n = len(self.frames)
        for name, dtype, shape in (
            ("frames", np.int64, (n,)),
            ("ids", np.int64, (n,)),
            ("xywh", np.float64, (n, 4)),
            ("confidence", np.float64, (n,)),
        ):
            value: Any = frozen_array(getattr(self, name), f"Rows.{name}", dtype, shape)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.frames)

    @staticmethod
    def empty() -> "Rows":
        return Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """The numbers of a text file.

    Attributes:
        values: (N, C) float64, finite. lines: (N,) int64, the line of the file each row stood in, from 1.
    """

    path: Path
    values: Float64Array
    lines: IntArray

    def refuse(self, wrong: npt.NDArray[np.bool_], expected: str, column: int) -> None:
        """Raise DecodeError for the first row marked in `wrong` (N,), showing what stands in `column`."""
        if wrong.any():
            place = int(np.argmax(wrong))
            got = f"{self.values[place, column]:g}"
            raise DecodeError(f"{self.path}:{self.lines[place]}: expected {expected}, got {got}")


def read_table(path: Path, least_columns: int) -> Table:
    """Rows of numbers, separated by commas or white space; blank lines do not count, an empty file has no rows.

    Raises:
        DecodeError: names file and line of what is not a finite number, or of a row with too few columns or
            another number of columns than the first row (a file cut short).
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DecodeError(f"{path}: cannot be read as text: {error}") from error
    values: list[list[float]] = []
    lines: list[int] = []
    for line, row in enumerate(text.splitlines(), start=1):
        if row and not row.isspace():
            values.append(_numbers(row, f"{path}:{line}"))
            lines.append(line)
            if len(values[-1]) != len(values[0]) or len(values[0]) < least_columns:
                wanted = (
                    f"{len(values[0])} columns as before" if len(values) > 1 else f"at least {least_columns} columns"
                )
                raise DecodeError(f"{path}:{line}: expected {wanted}, got {len(values[-1])}")
    array = np.array(values, np.float64).reshape(len(values), -1 if values else least_columns)
    table = Table(path, array, np.array(lines, np.int64))
    for column in range(array.shape[1]):
        table.refuse(~np.isfinite(array[:, column]), "finite numbers", column)
    return table


def _numbers(row: str, place: str) -> list[float]:
    cells = row.split(",") if "," in row else row.split()
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()  # a comma at the end of the line
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        odd = next(cell for cell in cells if not _is_number(cell))
        raise DecodeError(f"{place}: expected numbers, got {odd.strip()!r}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def rows_of_table(table: Table, nobody: int | None = None) -> Rows:
    """The first six or seven columns of a table as rows; for `nobody` see `read_rows`.

    Raises:
        DecodeError: names file and line of a frame or id that is not a whole number, a frame before 1, a negative
            width or height, or an id that occurs twice in one frame.
    """
    values = table.values
    for column in (0, 1):
        wrong = (values[:, column] != np.round(values[:, column])) | (np.abs(values[:, column]) > 2**53)
        table.refuse(wrong, f"a whole number as {_COLUMNS[column]}", column)
    table.refuse(values[:, 0] < 1, "a frame from 1", 0)
    table.refuse(values[:, 0] > LAST_FRAME, f"a frame number up to {LAST_FRAME}", 0)
    for column in (4, 5):
        table.refuse(values[:, column] < 0, f"a {_COLUMNS[column]} of at least 0", column)
    confidence = values[:, 6] if values.shape[1] > 6 else np.ones(len(values))
    rows = Rows(values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), values[:, 2:6], confidence)
    _refuse_repeated(table, rows, nobody)
    return rows


def _refuse_repeated(table: Table, rows: Rows, nobody: int | None) -> None:
    pair = first_repeated(rows, nobody)
    if pair is not None:
        first, again = pair
        raise DecodeError(
            f"{table.path}:{table.lines[again]}: expected every id once a frame, got id {rows.ids[again]} of frame "
            f"{rows.frames[again]} as in line {table.lines[first]}"
        )


def first_repeated(rows: Rows, nobody: int | None = None) -> tuple[int, int] | None:
    """Places of the first two rows with the same id in one frame; negative ids and `nobody` do not count."""
    places = np.flatnonzero((rows.ids >= 0) & (rows.ids != (-1 if nobody is None else nobody)))
    order = places[np.lexsort((places, rows.ids[places], rows.frames[places]))]
    same = (np.diff(rows.frames[order]) == 0) & (np.diff(rows.ids[order]) == 0)
    if not same.any():
        return None
    earliest = int(np.argmin(np.where(same, order[1:], len(rows))))
    return int(order[earliest]), int(order[earliest + 1])


def read_rows(path: Path, nobody: int | None = None) -> Rows:
    """MOTChallenge result rows: frame, id, left, top, width, height[, confidence[, …]].

    Commas or white space; frames and ids may be written as `1.0`. An empty file has no rows.

    Args:
        nobody: the id that means "not known yet" and may occur more than once in a frame (`NOBODY` for
            `tracks_online`). Negative ids (no identity, as in `det.txt`) may always.

    Raises:
        DecodeError: `path:line: expected …, got …`.
    """
    return rows_of_table(read_table(path, least_columns=6), nobody)


def rows_text(rows: Rows) -> str:
    """The file of these rows, in order of frame and id, as the recorder writes it: 2 digits of px, 3 of confidence."""
    order = np.lexsort((rows.ids, rows.frames))
    lines = [
        f"{frame},{person},{x:.2f},{y:.2f},{width:.2f},{height:.2f},{confidence:.3f},-1,-1,-1\n"
        for frame, person, (x, y, width, height), confidence in zip(
            rows.frames[order].tolist(),
            rows.ids[order].tolist(),
            rows.xywh[order].tolist(),
            rows.confidence[order].tolist(),
            strict=True,
        )
    ]
    return "".join(lines)
