"""`identities.csv`: who is who, where an annotation tool numbered each camera's tracks on its own (CVAT does)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError, DecodeError
from pipeline.scoring.csv_file import read_csv
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
    for row in read_csv(path, _COLUMNS):
        key = (row.text("camera"), row.number("id"))
        if key in people:
            raise DecodeError(f"{row.place}: track {key[1]} of {key[0]} is listed twice")
        people[key] = row.number("person_id")
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
