"""`identities.csv`: who is who, where an annotation tool numbered each camera's tracks on its own (CVAT does)."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError, DecodeError
from pipeline.scoring.rows import Rows, first_repeated

_COLUMNS = ("camera", "id", "person_id")
_SHOWN = 5  # of the tracks that are not in the file

SharedIds = Mapping[tuple[str, int], int]


def read_shared_ids(path: Path) -> SharedIds | None:
    """(camera, id in that camera's file) → person; None without the file.

    Raises:
        DecodeError: a line that cannot be understood, named; a track that is listed twice.
    """
    if not path.is_file():
        return None
    people: dict[tuple[str, int], int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DecodeError(f"{path}:1: expected columns {', '.join(_COLUMNS)}, got no {missing[0]}")
            for row in reader:
                place = f"{path}:{reader.line_num}"
                key = ((row["camera"] or "").strip(), _number(row["id"], place, "id"))
                if key in people:
                    raise DecodeError(f"{place}: track {key[1]} of {key[0]} is listed twice")
                people[key] = _number(row["person_id"], place, "person_id")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(f"{path}: cannot be read as text: {error}") from error
    return people


def with_shared_ids(camera_id: str, rows: Rows, people: SharedIds) -> Rows:
    """The rows of one camera under the ids of people; rows without a track (a negative id) stay.

    Raises:
        ConfigError: a track that is not listed, or two tracks of one person in one frame.
    """
    known = np.unique(rows.ids[rows.ids >= 0]).tolist()
    missing = [i for i in known if (camera_id, i) not in people]
    if missing:
        some = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
        raise ConfigError(f"identities.csv: tracks {some} of camera {camera_id} are missing; add a line for each")
    ids = rows.ids.copy()
    for i in known:
        ids[rows.ids == i] = people[camera_id, i]
    shared = Rows(rows.frames, ids, rows.xywh, rows.confidence)
    twice = first_repeated(shared)
    if twice is not None:
        frame, person = int(shared.frames[twice[1]]), int(shared.ids[twice[1]])
        raise ConfigError(
            f"identities.csv: person {person} would be twice in frame {frame} of camera {camera_id}; "
            "two tracks at the same time are two people"
        )
    return shared


def _number(text: str | None, place: str, column: str) -> int:
    value = (text or "").strip()
    if not value.isascii() or not value.isdigit():
        raise DecodeError(f"{place}: expected a whole number from 0 as {column}, got {value!r}")
    return int(value)
