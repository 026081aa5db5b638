"""Ground truth from a folder: who is where, what is annotated, what is to be left out (DESIGN, docs/replay.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.scoring.rows import Float64Array, Rows
from pipeline.types import IntArray


class Role(IntEnum):
    """What a row of ground truth means for the scores."""

    OTHER = 0  # a car, an occluder: nothing to be found, and no excuse for a result box
    PERSON = 1  # to be found
    DISTRACTOR = (
        2  # a person not to be found (consider = 0; MOT17 classes 2, 7, 8, 12): a result box on it is not scored
    )


@dataclass(frozen=True, eq=False, slots=True)
class CameraTruth:
    """The annotation of one camera.

    Attributes:
        rows: all rows of the file. roles: (N,) int8, `Role` of each.
        annotated: (F,) sorted frame numbers that were annotated; None: every frame.
        ignored: (R, 6) frame_from, frame_to, x, y, w, h of regions where nothing is scored.
        fps, frame_count, size_px: from seqinfo.ini, None where there is none.
    """

    rows: Rows
    roles: npt.NDArray[np.int8]
    annotated: IntArray | None = None
    ignored: Float64Array = field(default_factory=lambda: np.zeros((0, 6)))
    fps: float | None = None
    frame_count: int | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TrueVisit:
    """One stay of a person in a camera's picture, from visits.csv; frames from 1, both labelled.

    Attributes:
        visit: number of the stay of this person in this camera, from 1; from 2 on it begins with a re-entry.
        is_sure: False for the annotator's "likely": neither a miss nor a false alarm.
    """

    camera_id: str
    person_id: int
    visit: int
    entry_frame: int
    exit_frame: int
    is_sure: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class GroundTruth:
    """The annotation of a site.

    Attributes:
        cameras: camera (or sequence) → its annotation, in natural order.
        visits: None without visits.csv.
        warnings: what was odd and how it was understood, for people.
    """

    cameras: Mapping[str, CameraTruth]
    visits: tuple[TrueVisit, ...] | None = None
    warnings: tuple[str, ...] = ()
