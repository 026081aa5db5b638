"""Where people walked in the picture and when they were in it: from tracks, or from ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.scoring.ground_truth import GroundTruth
from pipeline.scoring.roles import Role
from pipeline.scoring.times import FrameTimes
from pipeline.types import IntArray, TimeArray, Tracklet

_PATH_GAP_S = 1.0  # ground truth without a row for this long is interrupted: the way between is not known


@dataclass(frozen=True, eq=False, slots=True)
class WalkedPath:
    """One uninterrupted way of one person (or track) through one picture.

    Attributes:
        name: of the track, or of the person.
        person_id: None when only the track is known.
        at_s: (T,) float64, rising. foot_px: (T, 2) middle of the box's lower edge. height_px: (T,).
    """

    camera_id: str
    name: str
    person_id: int | None
    at_s: TimeArray
    foot_px: npt.NDArray[np.float64]
    height_px: npt.NDArray[np.float64]

    @property
    def seconds(self) -> float:
        return float(self.at_s[-1] - self.at_s[0])


@dataclass(frozen=True, slots=True)
class Stay:
    """One person in one camera, from the first to the last sight."""

    camera_id: str
    person_id: int
    start_s: float
    end_s: float

    def moved(self, offset_s: float) -> "Stay":
        """The same stay by a clock that is `offset_s` later."""
        return replace(self, start_s=self.start_s + offset_s, end_s=self.end_s + offset_s)


def paths_of_tracks(tracklets: Sequence[Tracklet]) -> list[WalkedPath]:
    """One path for each track of at least two boxes."""
    paths = []
    for track in tracklets:
        if len(track.captured_at_s) < 2 or track.captured_at_s[-1] <= track.captured_at_s[0]:
            continue
        foot, height = _foot_and_height(track.xyxy.astype(np.float64))
        paths.append(WalkedPath(track.camera_id, track_name(track), None, track.captured_at_s, foot, height))
    return paths


def track_name(track: Tracklet) -> str:
    return "/".join(map(str, track.key))


def paths_of_truth(truth: GroundTruth, times: Mapping[str, FrameTimes]) -> list[WalkedPath]:
    """One path for each stretch of a person's rows without a gap of a second."""
    paths = []
    for camera_id, person_id, frames, xywh in _people(truth):
        if camera_id not in times:
            continue
        at_s = times[camera_id].seconds(frames)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        foot, height = _foot_and_height(xyxy)
        cuts = np.flatnonzero(np.diff(at_s) > _PATH_GAP_S) + 1
        for part in np.split(np.arange(len(frames)), cuts):
            if len(part) > 1:
                name = f"person {person_id}"
                paths.append(WalkedPath(camera_id, name, person_id, at_s[part], foot[part], height[part]))
    return paths


def stays_of_truth(truth: GroundTruth, times: Mapping[str, FrameTimes], absence_s: float) -> list[Stay]:
    """Every stay: the rows of visits.csv where there is one, else stretches of rows without a gap of `absence_s`."""
    if truth.visits is not None:
        return [
            Stay(
                v.camera_id,
                v.person_id,
                times[v.camera_id].second(v.entry_frame),
                times[v.camera_id].second(v.exit_frame),
            )
            for v in truth.visits
            if v.camera_id in times
        ]
    stays = []
    for camera_id, person_id, frames, _ in _people(truth):
        if camera_id not in times:
            continue
        at_s = times[camera_id].seconds(frames)
        cuts = np.flatnonzero(np.diff(at_s) >= absence_s) + 1
        stays += [Stay(camera_id, person_id, float(s[0]), float(s[-1])) for s in np.split(at_s, cuts)]
    return stays


def _people(truth: GroundTruth) -> list[tuple[str, int, IntArray, npt.NDArray[np.float64]]]:
    """(camera, person, frames rising, boxes) of everybody to be found."""
    found = []
    for camera_id, camera in truth.cameras.items():
        people = camera.roles == Role.PERSON
        for person_id in np.unique(camera.rows.ids[people]).tolist():
            rows = np.flatnonzero(people & (camera.rows.ids == person_id))
            rows = rows[np.argsort(camera.rows.frames[rows], kind="stable")]
            found.append((camera_id, person_id, camera.rows.frames[rows], camera.rows.xywh[rows]))
    return found


def _foot_and_height(
    xyxy: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    foot = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1)
    return foot, np.maximum(xyxy[:, 3] - xyxy[:, 1], 1.0)
