"""CSV files of the ground truth: named columns, whole numbers, mistakes with their line."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DecodeError


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One line: `place` is file and line, for mistakes."""

    place: str
    cells: dict[str, str | None]

    def text(self, column: str) -> str:
        return (self.cells[column] or "").strip()

    def number(self, column: str, least: int = 0) -> int:
        """A whole number from `least`.

        Raises:
            DecodeError: something else stands there.
        """
        text = self.text(column)
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise DecodeError(f"{self.place}: expected a whole number from {least} as {column}, got {text!r}")
        return int(text)


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[CsvRow]:
    """The rows of a file with a head line; further columns do no harm.

    Raises:
        DecodeError: it cannot be read, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DecodeError(f"{path}:1: expected columns {', '.join(columns)}, got no {missing[0]}")
            for cells in reader:
                yield CsvRow(f"{path}:{reader.line_num}", cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(f"{path}: cannot be read as text: {error}") from error
