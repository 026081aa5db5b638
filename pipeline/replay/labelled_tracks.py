"""Whom the tracks of a scored replay show, and in which of their boxes: labels from the ground truth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.boxes import xywh_to_xyxy
from pipeline.scoring.alignment import ScoredCamera, align_camera
from pipeline.scoring.appearances import BoxMatches, match_boxes, person_of
from pipeline.scoring.ground_truth import CameraTruth
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes
from pipeline.types import FloatArray, IntArray, TimeArray, TrackKey

# Why a track shows nobody: the keys of `CameraLabels.skipped`.
MIXED = "tracks of several people"
NOBODY = "tracks of nobody"
UNSCORED = "tracks without a scored box"

_LEAST_SHARE = 0.5  # of a track's scored boxes must lie on somebody
_LEAST_AGREEMENT = 0.9  # of those must lie on one person: people crossing are forgiven, a switched track is not
_NEAR_S = 0.5  # a box of an unannotated frame is judged by annotated ones at most so far away
_SLACK_S = 1e-4  # frame times are rounded


@dataclass(frozen=True, eq=False, slots=True)
class LabelledTrack:
    """A track of one person.

    Attributes:
        frames: (B,) int64, from 1, rising: of the boxes that show the person; none of them is interpolated. May be
            empty.
        at_s: (B,) float64. xyxy: (B, 4) float32 px.
    """

    key: TrackKey
    person_id: int
    frames: IntArray
    at_s: TimeArray
    xyxy: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class CameraLabels:
    """One camera's tracks of one person each, in the order of their numbers; and how many others, by reason."""

    tracks: tuple[LabelledTrack, ...]
    skipped: Mapping[str, int]


def label_tracks(
    rows: Rows, tracks: Sequence[tuple[int, TrackKey]], truth: CameraTruth, times: FrameTimes
) -> CameraLabels:
    """Judge every track of one camera.

    A track is of one person when at least half of its scored boxes lie on somebody (IoU of 0.5, one to one in every
    frame) and nine of ten of these on that person. Of such a track the boxes on that person are kept; a box of an
    unannotated frame where the nearest annotated boxes before and after it are, one of them at most 0.5 s away.

    Args:
        rows: of `tracks_local/`: a row for every frame of a track, with confidence 0 where it is interpolated.
        tracks: (id in `rows`, key), of this camera. Ids of which nothing is said are left out.
    """
    camera_id = tracks[0][1].camera_id if tracks else ""
    judge = _Judge(align_camera(camera_id, truth, rows), rows, times)
    order = np.lexsort((rows.frames, rows.ids))
    numbers, starts = np.unique(rows.ids[order], return_index=True)
    own = dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
    nothing = np.zeros(0, np.int64)
    judged = [judge.track(key, own.get(number, nothing)) for number, key in tracks]
    skipped = Counter(result for result in judged if isinstance(result, str))
    return CameraLabels(tuple(result for result in judged if isinstance(result, LabelledTrack)), skipped)


class _Judge:
    """What the tracks of one camera are judged by."""

    def __init__(self, camera: ScoredCamera, rows: Rows, times: FrameTimes) -> None:
        self._camera = camera
        self._rows = rows
        self._times = times
        self._matches: BoxMatches = match_boxes(camera)
        self._places = np.full(len(rows), -1, np.int64)  # of a row in `camera.result`; -1: not scored
        self._places[camera.kept] = np.arange(len(camera.kept))
        self._annotated = np.array([frame.frame for frame in camera.frames], np.int64)

    def track(self, key: TrackKey, own: IntArray) -> LabelledTrack | str:
        """The track with the boxes to keep, or why it is none; `own` (R,) are its rows in order of frames."""
        places = self._places[own]
        scored = places[places >= 0]
        if not len(scored):
            return UNSCORED
        person, matched = person_of(self._camera, self._matches, scored)
        on_somebody = int((self._matches.truth_of[scored] >= 0).sum())
        if person is None or on_somebody < _LEAST_SHARE * len(scored):
            return NOBODY
        if matched < _LEAST_AGREEMENT * on_somebody:
            return MIXED
        kept = own[self._shows(person, own) & (self._rows.confidence[own] > 0)]
        frames = self._rows.frames[kept]
        xyxy = xywh_to_xyxy(self._rows.xywh[kept].astype(np.float32))
        return LabelledTrack(key, person, frames, self._times.seconds(frames), xyxy)

    def _shows(self, person: int, own: IntArray) -> npt.NDArray[np.bool_]:
        """(R,) whether each row lies on the person, as far as that is known."""
        places, frames = self._places[own], self._rows.frames[own]
        on = np.where(places >= 0, self._matches.truth_of[places], -1)
        shows = np.zeros(len(own), bool)
        shows[on >= 0] = self._camera.truth.ids[on[on >= 0]] == person
        known = np.isin(frames, self._annotated)
        if not known.all():
            shows[~known] = self._between(frames[known], shows[known], frames[~known])
        return shows

    def _between(self, known: IntArray, shows: npt.NDArray[np.bool_], frames: IntArray) -> npt.NDArray[np.bool_]:
        """(U,) whether unannotated frames lie beside annotated ones, (A,) with A >= 1, that all show the person."""
        at_s, known_s = self._times.seconds(frames), self._times.seconds(known)
        after = np.searchsorted(known, frames)
        last = len(known) - 1
        has_before, has_after = after > 0, after <= last
        before, after = np.maximum(after - 1, 0), np.minimum(after, last)
        good = (shows[before] | ~has_before) & (shows[after] | ~has_after)
        away_s = np.minimum(
            np.where(has_before, at_s - known_s[before], np.inf), np.where(has_after, known_s[after] - at_s, np.inf)
        )
        return good & (away_s <= _NEAR_S + _SLACK_S)


def spread_out(at_s: TimeArray, every_s: float) -> IntArray:
    """Places of the times (B,), rising, that lie at least `every_s` after the one chosen before; the first is one."""
    chosen: list[int] = []
    next_s = -np.inf
    for place, moment_s in enumerate(at_s.tolist()):
        if moment_s >= next_s - _SLACK_S:
            chosen.append(place)
            next_s = moment_s + every_s
    return np.array(chosen, np.int64)
