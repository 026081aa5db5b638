"""Small sites for tests of the scores: boxes far apart, so that two boxes are the same place or do not overlap."""

from collections.abc import Iterable

import numpy as np

from pipeline.scoring.alignment import ScoredCamera, align_camera
from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows

Sighting = tuple[int, int, int]  # frame, id, place: every place is a box of its own


def rows(sightings: Iterable[Sighting]) -> Rows:
    listed = list(sightings)
    frames = np.array([frame for frame, _, _ in listed], np.int64)
    ids = np.array([person for _, person, _ in listed], np.int64)
    xywh = np.array([(100.0 * place, 10.0, 20.0, 50.0) for _, _, place in listed]).reshape(-1, 4)
    return Rows(frames, ids, xywh, np.ones(len(listed)))


def truth(sightings: Iterable[Sighting], role: Role = Role.PERSON) -> CameraTruth:
    people = rows(sightings)
    return CameraTruth(people, np.full(len(people), role, np.int8))


def scored(camera_id: str, people: Iterable[Sighting], results: Iterable[Sighting]) -> ScoredCamera:
    return align_camera(camera_id, truth(people), rows(results))


def stay(person: int, place: int, frames: Iterable[int]) -> list[Sighting]:
    """Somebody stays at one place."""
    return [(frame, person, place) for frame in frames]
