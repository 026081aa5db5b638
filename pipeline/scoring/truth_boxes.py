"""Ground-truth boxes as a detector would give them: for the figures of a pipeline whose detector makes no mistakes."""

import numpy as np

from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows
from pipeline.types import IntArray

MAX_GAP_S = 1.0  # people walk straight for about so long; over more, an interpolated box is a guess


def truth_boxes(truth: CameraTruth, fps: float) -> Rows:
    """The people of one camera in every frame that lies between two annotated ones, ids as annotated.

    Where not every frame is annotated, a person who is in two annotated frames next to each other, at most
    `MAX_GAP_S` apart, stands on the straight line between them. Nobody is put into a frame that was annotated without
    them, and rows that need not be found (distractors) are left out.

    Args:
        fps: frames per second of the camera.
    """
    rows = truth.rows
    people = np.flatnonzero(truth.roles == Role.PERSON)
    if truth.annotated is not None:
        people = people[np.isin(rows.frames[people], truth.annotated)]
    order = people[np.lexsort((rows.frames[people], rows.ids[people]))]
    frames, ids, xywh = rows.frames[order], rows.ids[order], rows.xywh[order]
    before, after, shares, between = _between(frames, ids, truth.annotated, max(1, round(MAX_GAP_S * fps)))
    filled = xywh[before] + shares[:, None] * (xywh[after] - xywh[before])
    frames = np.concatenate([frames, between])
    ids = np.concatenate([ids, ids[before]])
    xywh = np.concatenate([xywh, filled])
    order = np.lexsort((ids, frames))
    return Rows(frames[order], ids[order], xywh[order], np.ones(len(order)))


def _between(
    frames: IntArray, ids: IntArray, annotated: IntArray | None, max_gap: int
) -> tuple[IntArray, IntArray, np.ndarray, IntArray]:
    """For every frame to fill: row before, row after, share of the way, frame number; rows are sorted by id, frame."""
    gaps = np.diff(frames)
    joined = (np.diff(ids) == 0) & (gaps > 1) & (gaps <= max_gap)
    if annotated is None:
        joined[:] = False  # every frame was annotated: who has no row was not there
    else:
        place = np.searchsorted(annotated, frames)
        joined &= np.diff(place) == 1
    starts = np.flatnonzero(joined)
    missing = gaps[starts] - 1
    before = np.repeat(starts, missing)
    steps = np.arange(len(before)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    return before, before + 1, steps / gaps[before] if len(before) else np.zeros(0), frames[before] + steps
