"""Generated cameras with drifting light: frames, exact masks, and tracks over boxes such as a detector's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.background.removal.tracks import Seen
from pipeline.boxes import box_iou
from pipeline.config import TrackerConfig
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.scene import GroundTruth, SceneCamera
from pipeline.scenes.walks import Scenario, random_scenario
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, FloatArray, Frame, ImageArray

DRIFT, CAST_DRIFT = 0.05, 0.03  # shares by which light and white balance swing (periods of 13 and 41 s)
SHAKE_PX = 2.0  # standard deviation of each side of a box; YOLO's on such scenes: 0.5 % of 200 px (docs/scenes.md)
LEAST_VISIBLE = 0.3  # share of a person that a detector needs
LOST_S = 2.0  # as tracker.lost_s
MISSED = 0.03  # share of people whom it misses in a frame all the same
_SAME = 0.5  # IoU of a track's box with the true one


@dataclass(frozen=True, eq=False, slots=True)
class Shot:
    """One frame: who is tracked, and who is really there.

    Attributes:
        seen: the tracks; `identity_id` is the true person's where the box is theirs, else 0.
        rows: track id → row of the truth.
    """

    frame: Frame
    truth: GroundTruth
    seen: tuple[Seen, ...]
    rows: dict[int, int]


def drifting(scenario: Scenario) -> Scenario:
    """The scenario in light that swings."""
    cameras = tuple(replace(camera, drift=DRIFT, cast_drift=CAST_DRIFT) for camera in scenario.cameras)
    return replace(scenario, cameras=cameras)


def mask_scenes(seeds: Sequence[int]) -> list[Scenario]:
    """People in all sorts of clothes who walk about and pass one another, often."""
    return [drifting(random_scenario(9, 2, 50.0, seed, wardrobe="rich")) for seed in seeds]


def crowded_scenes(seeds: Sequence[int]) -> list[Scenario]:
    """The same with many who walk side by side from the first frame to the last."""
    hard = Difficulty(crowding=0.25)
    return [drifting(random_scenario(9, 2, 50.0, seed, difficulty=hard)) for seed in seeds]


def shots(scenario: Scenario, camera_id: str, seed: int = 0) -> Iterator[Shot]:
    """Every frame of one camera with shaken boxes; a person who was not found for LOST_S is another track then.

    Who is who is right, so that masks are judged and not the tracker.
    """
    rng = np.random.default_rng([seed, 21])
    scene = SceneCamera(scenario, camera_id)
    last: dict[int, tuple[int, float]] = {}  # person → track, and when it was found last
    tracks = 0
    for index in range(len(scene)):
        frame, truth = scene.render(index)
        seen, rows = [], {}
        for row, box in _found(truth, rng):
            person_id = int(truth.person_ids[row])
            track_id, at_s = last.get(person_id, (0, -np.inf))
            if frame.captured_at_s - at_s > LOST_S:
                tracks += 1
                track_id = tracks
            last[person_id] = track_id, frame.captured_at_s
            seen.append(Seen(track_id, box, person_id))
            rows[track_id] = row
        yield Shot(frame, truth, tuple(seen), rows)


def tracked_shots(scenario: Scenario, camera_id: str, seed: int = 0) -> Iterator[Shot]:
    """The same with the project's tracker over the boxes: confirmed after 0.1 s, and wrong at times."""
    rng = np.random.default_rng([seed, 21])
    scene = SceneCamera(scenario, camera_id)
    tracker = PersonTracker(camera_id, "1", TrackerConfig())
    for index in range(len(scene)):
        frame, truth = scene.render(index)
        boxes = np.array([box for _, box in _found(truth, rng)], np.float32).reshape(-1, 4)
        tracks, _ = tracker.update(frame, Detections(boxes, np.full(len(boxes), 0.9, np.float32)))
        rows = _rows(tracks.xyxy, tracks.ids.tolist(), truth)
        seen = tuple(
            Seen(track_id, box, int(truth.person_ids[rows[track_id]]) if track_id in rows else 0)
            for track_id, box in zip(tracks.ids.tolist(), tracks.xyxy, strict=True)
        )
        yield Shot(frame, truth, seen, rows)


def empty_pictures(scenario: Scenario, camera_id: str) -> Iterator[ImageArray]:
    """The same camera's true background, frame by frame: nobody there, no noise, the same light."""
    cameras = tuple(replace(camera, noise=0.0) for camera in scenario.cameras)
    scene = SceneCamera(replace(scenario, walks=(), cameras=cameras), camera_id)
    for index in range(len(scene)):
        yield scene.render(index)[0].image


def _found(truth: GroundTruth, rng: np.random.Generator) -> list[tuple[int, FloatArray]]:
    """(row, box) of everybody whom a detector finds in a frame."""
    found = np.flatnonzero((truth.visibility >= LEAST_VISIBLE) & (rng.random(len(truth.visibility)) >= MISSED))
    shaken = truth.xyxy[found] + rng.normal(0, SHAKE_PX, (len(found), 4))
    return list(zip(found.tolist(), shaken.astype(np.float32), strict=True))


def _rows(boxes: FloatArray, ids: list[int], truth: GroundTruth) -> dict[int, int]:
    overlap = box_iou(boxes, truth.xyxy)
    pairs = zip(*linear_sum_assignment(-overlap), strict=True)
    return {ids[track]: int(row) for track, row in pairs if overlap[track, row] >= _SAME}
