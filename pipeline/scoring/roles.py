"""Who is to be found: the meaning of a ground-truth row's consider flag and class."""

import re
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError
from pipeline.scoring.rows import Float64Array

RoleArray = npt.NDArray[np.int8]


class Role(IntEnum):
    """What a row of ground truth means for the scores."""

    OTHER = 0  # a car, an occluder: nothing to be found, and no excuse for a result box
    PERSON = 1  # to be found
    DISTRACTOR = (
        2  # a person not to be found (consider = 0; MOT17 classes 2, 7, 8, 12): a result box on it is not scored
    )


_CLASSES = 13  # MOT16, MOT17 and MOT20 number their classes from 1 (pedestrian) to 13 (crowd)
_PEDESTRIAN = 1
_DISTRACTOR_CLASSES = (2, 7, 8, 12)  # person on vehicle, static person, distractor, reflection
_MOT20_DISTRACTOR_CLASSES = (*_DISTRACTOR_CLASSES, 6)  # MOT20 adds what people push and pull
_PERSON_LABELS = {"person", "pedestrian"}
_DISTRACTOR_LABELS = {"person on vehicle", "static person", "distractor", "reflection"}


def roles_of(table: Float64Array, labels: Sequence[str] | None, sequence: str) -> RoleArray:
    """(N,) `Role` of each row of ground truth (N, C), columns frame, id, x, y, w, h[, consider[, class[, …]]].

    With `labels` a class is the place of its label, from 1. Without, a column of whole numbers from 1 to 13 is
    understood as MOT16, MOT17 and MOT20 (for a `sequence` of that name) do; anything else there says nothing
    (MOT15 has -1 or world coordinates), and everybody is a person. Somebody without a track number (a negative id)
    cannot be followed, and is a distractor.
    """
    count, columns = table.shape
    # Cut to a whole number as TrackEval does, so that 0.5 is 0.
    considered = (table[:, 1] >= 0) & (np.trunc(table[:, 6]) != 0 if columns > 6 else np.ones(count, bool))
    classes = table[:, 7] if columns > 7 else np.full(count, -1.0)
    if labels is not None:
        return _by_label(classes, considered, labels)
    if count and np.isin(classes, np.arange(1, _CLASSES + 1)).all():
        distractors = _MOT20_DISTRACTOR_CLASSES if sequence.startswith("MOT20") else _DISTRACTOR_CLASSES
        return _roles(classes == _PEDESTRIAN, np.isin(classes, distractors), considered)
    return _roles(np.ones(count, bool), np.zeros(count, bool), considered)


def people_labels(labels: Sequence[str], file: str) -> list[bool]:
    """Which labels are people: `person`, `pedestrian` in any case, or the only one there is.

    Raises:
        ConfigError: none is; says to name one `person`.
    """
    people = [_plain(label) in _PERSON_LABELS for label in labels]
    if not any(people) and len(labels) == 1:
        return [True]
    if not any(people):
        raise ConfigError(
            f"{file}: no label means people, got {', '.join(labels) or 'none'}; "
            "name the label of people `person` in the annotation tool (or in this file)"
        )
    return people


def _by_label(classes: Float64Array, considered: npt.NDArray[np.bool_], labels: Sequence[str]) -> RoleArray:
    people = people_labels(labels, "labels.txt")
    numbers = np.arange(1, len(labels) + 1)
    distractors = numbers[[_plain(label) in _DISTRACTOR_LABELS for label in labels]]
    return _roles(np.isin(classes, numbers[people]), np.isin(classes, distractors), considered)


def _roles(
    is_person: npt.NDArray[np.bool_], is_distractor: npt.NDArray[np.bool_], considered: npt.NDArray[np.bool_]
) -> RoleArray:
    roles = np.full(len(is_person), Role.OTHER, np.int8)
    roles[is_person] = Role.PERSON
    roles[(is_person & ~considered) | is_distractor] = Role.DISTRACTOR
    return roles


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", label.strip().lower())
