"""What people of a training part wear and carry, from a table: labels for the loss `attributes`."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import IntArray

UNKNOWN = -1  # label of an attribute that nobody wrote down
_PERSON = "person"  # the first column


def read_attributes(path: Path, person_ids: Sequence[int]) -> tuple[IntArray, list[int]]:
    """Attributes of these people, and how many values each attribute has.

    The file is CSV with a header: `person`, then one column for each attribute with whole numbers from 0, empty where
    it is not known. People it does not name have none that are known; others in it are left alone, but count for the
    number of values.

    Returns:
        (people, A) int64, and A numbers of at least 2.

    Raises:
        ConfigError: it cannot be read, or a line is not of that kind.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of attributes ({error})") from None
    if len(header) < 2 or header[0] != _PERSON:
        raise ConfigError(f"{path}:1: expected `{_PERSON}` and at least one attribute, got {','.join(header)[:60]!r}")
    known: dict[int, list[int]] = {}
    for number, row in enumerate(rows, start=2):
        person, values = _read_row(row, len(header), f"{path}:{number}")
        known[person] = values
    nothing = [UNKNOWN] * (len(header) - 1)
    table = np.array([known.get(person, nothing) for person in person_ids], np.int64).reshape(-1, len(nothing))
    most = np.array([*known.values(), nothing], np.int64).max(axis=0)
    return table, [max(int(value) + 1, 2) for value in most]


def _read_row(row: Sequence[str], columns: int, place: str) -> tuple[int, list[int]]:
    try:
        person, *values = [int(cell) if cell.strip() else UNKNOWN for cell in row]
    except ValueError:
        raise ConfigError(f"{place}: expected whole numbers, got {','.join(row)[:60]!r}") from None
    if len(row) != columns or min(values, default=0) < UNKNOWN:
        raise ConfigError(f"{place}: expected {columns} whole numbers from 0, got {','.join(row)[:60]!r}")
    return person, values
