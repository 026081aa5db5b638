"""Small ground truths and results to work out by hand: boxes of 40 x 80 px in one row, person p at x = 100 p."""

import numpy as np

from pipeline.scoring.alignment import align_camera
from pipeline.scoring.appearances import trace_camera
from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes

FPS = 10.0


def span(first, last, step=1):
    """Frames from first to last, both."""
    return range(first, last + 1, step)


def rows(*stretches):
    """(frames, id, x) of boxes that stand still; frames is a number or several."""
    table = [
        (frame, name, x) for frames, name, x in stretches for frame in ([frames] if isinstance(frames, int) else frames)
    ]
    frames, ids, xs = (np.array([row[i] for row in table], np.float64) for i in range(3))
    xywh = np.stack([xs, 0 * xs + 10, 0 * xs + 40, 0 * xs + 80], axis=1).reshape(-1, 4)
    return Rows(frames.astype(np.int64), ids.astype(np.int64), xywh, np.ones(len(frames)))


def people(*stretches):
    """(frames, person) of people at their places."""
    return rows(*((frames, person, 100 * person) for frames, person in stretches))


def truth_of(truth_rows, unsure=(), annotated=None, **more):
    """Ground truth in which the persons `unsure` need not be found."""
    roles = np.where(np.isin(truth_rows.ids, list(unsure)), Role.DISTRACTOR, Role.PERSON).astype(np.int8)
    listed = None if annotated is None else np.array(list(annotated), np.int64)
    return CameraTruth(truth_rows, roles, listed, **more)


def traced(truth, results, *, camera_id="a", local=None, nobody=None, times=None):
    """A camera at 10 frames/s (frame 1 at 0 s), aligned and traced."""
    camera = align_camera(camera_id, truth, results)
    return trace_camera(camera, results, times or FrameTimes(fps=FPS), local=local, nobody=nobody)
