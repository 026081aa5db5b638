"""Appearances: who a stretch of boxes was said to be, and who it really was. The atoms of links and ceilings."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.scoring.alignment import MATCH_IOU, ScoredCamera
from pipeline.scoring.rows import Float64Array, Rows
from pipeline.scoring.times import FrameTimes
from pipeline.types import IntArray

RUN_GAP_S = 1.0  # longest gap inside one stretch of an id where the tracks are not known: an occlusion, not a return
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False, slots=True)
class BoxMatches:
    """Which box lies on whom: at most one box for a person and one person for a box in every frame.

    Attributes:
        truth_of: (M,) int64, place in `ScoredCamera.truth` of each row of `result`; -1: on nobody.
        result_of: (T,) int64, the other way round; -1: not found.
    """

    truth_of: IntArray
    result_of: IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Appearance:
    """A stretch of one unit in one camera under one id.

    Attributes:
        unit: the camera's own track number where tracks are known, else the number of the run of an id.
        first_frame, last_frame: of all its boxes, scored or not. start_s, end_s: their times.
        person_id: whom most of its scored boxes lie on; None: none of them lies on anybody.
        matched: how many of its scored boxes lie on that person.
        rows: (R,) places among the rows that came in, in order of frames.
        scored: (S,) places in `ScoredCamera.result`, in order of frames; never empty.
    """

    camera_id: str
    identity_id: int
    unit: int
    first_frame: int
    last_frame: int
    start_s: float
    end_s: float
    person_id: int | None
    matched: int
    rows: IntArray
    scored: IntArray

    @property
    def order(self) -> tuple[float, str, int, int]:
        """The order of appearances over a site; does not depend on the ids."""
        return self.start_s, self.camera_id, self.first_frame, self.unit


@dataclass(frozen=True, eq=False, slots=True)
class TracedCamera:
    """One camera's results with their units, matches and appearances.

    Attributes:
        rows: all result rows that came in.
        units: (N,) int64, the unit of each of `rows`.
        places: (N,) int64, place of each of `rows` in `camera.result`; -1: not scored.
        appearances: those with at least one scored box, in order of time.
    """

    camera: ScoredCamera
    rows: Rows
    units: IntArray
    places: IntArray
    matches: BoxMatches
    times: FrameTimes
    appearances: tuple[Appearance, ...]

    @property
    def camera_id(self) -> str:
        return self.camera.camera_id


def trace_camera(
    camera: ScoredCamera, rows: Rows, times: FrameTimes, *, local: Rows | None = None, nobody: int | None = None
) -> TracedCamera:
    """Find the appearances of one camera.

    Args:
        rows: what `camera` was aligned from.
        local: the same boxes under the camera's own track numbers; None when they are not known.
        nobody: the id that means "not known yet"; as every negative id, it makes no appearance.
    """
    units = units_of(rows, times, local)
    matches = match_boxes(camera)
    places = np.full(len(rows), -1, np.int64)
    places[camera.kept] = np.arange(len(camera.kept))
    traced = TracedCamera(camera, rows, units, places, matches, times, ())
    found = sorted(_appearances(traced, nobody), key=lambda a: a.order)
    return TracedCamera(camera, rows, units, places, matches, times, tuple(found))


def match_boxes(camera: ScoredCamera) -> BoxMatches:
    """Match boxes with people frame by frame, the greatest sum of overlaps at IoU >= 0.5 (Hungarian method).

    Ids play no part: this says where the boxes lie, not what they were called.
    """
    truth_of = np.full(len(camera.result), -1, np.int64)
    result_of = np.full(len(camera.truth), -1, np.int64)
    for frame in camera.frames:
        n, m = assign(np.where(frame.iou >= MATCH_IOU - _EPS, frame.iou, 0.0))
        truth_of[frame.result[m]] = frame.truth[n]
        result_of[frame.truth[n]] = frame.result[m]
    return BoxMatches(truth_of, result_of)


def assign(score: Float64Array) -> tuple[IntArray, IntArray]:
    """The pairs (row, column) of the one-to-one assignment with the greatest sum; only those that score above 0."""
    if score.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    n, m = linear_sum_assignment(score, maximize=True)
    good = score[n, m] > 0
    return n[good].astype(np.int64), m[good].astype(np.int64)


def person_of(camera: ScoredCamera, matches: BoxMatches, places: IntArray) -> tuple[int | None, int]:
    """Whom most of these result boxes lie on, and how many do; of two as often the lower id; (None, 0): nobody."""
    on = matches.truth_of[places]
    people, boxes = np.unique(camera.truth.ids[on[on >= 0]], return_counts=True)
    if len(people) == 0:
        return None, 0
    most = int(np.argmax(boxes))  # the first of equals: unique sorts
    return int(people[most]), int(boxes[most])


def units_of(rows: Rows, times: FrameTimes, local: Rows | None) -> IntArray:
    """(N,) the unit of every row: boxes that belong together whatever they were called.

    The camera's own track number where a row of `local` has the same frame and exactly the same box; the others (all,
    without `local`) in runs: one id without a gap above `RUN_GAP_S`, numbered after the tracks by time and place; a
    negative id means that nothing is known, so such a box is a unit of its own.
    """
    units = np.full(len(rows), -1, np.int64)
    if local is not None and len(local):
        units = _joined(rows, local)
    rest = np.flatnonzero(units < 0)
    first = int(local.ids.max()) + 1 if local is not None and len(local) else 0
    units[rest] = max(first, 0) + _runs(rows, rest, times)
    return units


def _joined(rows: Rows, local: Rows) -> IntArray:
    """(N,) the id in `local` of the same box in the same frame; -1 without one.

    Of several identical boxes in one frame, the surest is taken for the surest, and so on.
    """
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for i, box in _boxes(local):
        waiting[box].append(int(local.ids[i]))
    units = np.full(len(rows), -1, np.int64)
    for i, box in _boxes(rows):
        if same := waiting.get(box):
            units[i] = same.popleft()
    return units


def _boxes(rows: Rows) -> Iterator[tuple[int, bytes]]:
    """Every row with its frame and box as one key; the surest first."""
    keys = np.column_stack([rows.frames.astype(np.float64), rows.xywh]) + 0.0  # -0.0 becomes 0.0
    for i in np.argsort(-rows.confidence, kind="stable"):
        yield int(i), keys[i].tobytes()


def _runs(rows: Rows, which: IntArray, times: FrameTimes) -> IntArray:
    """(W,) number of the run that each of these rows is in, from 0; the order does not depend on the ids."""
    frames, ids, xywh = rows.frames[which], rows.ids[which], rows.xywh[which]
    at_s = times.seconds(frames)
    order = np.lexsort((*xywh.T[::-1], frames, ids))
    starts = _breaks(ids[order])
    starts |= ids[order] < 0
    starts[1:] |= np.diff(at_s[order]) > RUN_GAP_S + 1e-6  # 1e-6: a gap of exactly RUN_GAP_S in rounded times
    first = order[starts]
    rank = np.empty(len(first), np.int64)
    rank[np.lexsort((*xywh[first].T[::-1], frames[first]))] = np.arange(len(first))
    runs = np.empty(len(which), np.int64)
    runs[order] = rank[np.cumsum(starts) - 1]
    return runs


def _breaks(values: IntArray) -> npt.NDArray[np.bool_]:
    """(N,) where a value differs from the one before; the first always does."""
    return np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])


def _appearances(traced: TracedCamera, nobody: int | None) -> Iterator[Appearance]:
    """Cut every unit where its id changes."""
    rows = traced.rows
    order = np.lexsort((rows.frames, traced.units))
    starts = _breaks(traced.units[order]) | _breaks(rows.ids[order])
    for part in np.split(order, np.flatnonzero(starts)[1:]) if len(order) else ():
        scored = traced.places[part]
        scored = scored[scored >= 0]
        identity_id = int(rows.ids[part[0]])
        if len(scored) and identity_id >= 0 and identity_id != nobody:
            yield _appearance(traced, part.astype(np.int64), scored)


def _appearance(traced: TracedCamera, part: IntArray, scored: IntArray) -> Appearance:
    first, last = traced.rows.frames[part[[0, -1]]]
    person, matched = person_of(traced.camera, traced.matches, scored)
    start_s, end_s = traced.times.seconds(np.array([first, last]))
    return Appearance(
        camera_id=traced.camera_id,
        identity_id=int(traced.rows.ids[part[0]]),
        unit=int(traced.units[part[0]]),
        first_frame=int(first),
        last_frame=int(last),
        start_s=float(start_s),
        end_s=float(end_s),
        person_id=person,
        matched=matched,
        rows=part,
        scored=scored,
    )
