"""Boxes of people who walk through a picture, worked out without rendering it: for scenes too long for that.

What is left out: furniture in front of people, motion blur, and the exact outline of who hides whom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.boxes import box_area, clip_boxes
from pipeline.scenes.cameras import SyntheticCamera
from pipeline.scenes.painting import MASK_ALPHA
from pipeline.scenes.paths import Walk
from pipeline.scenes.people import Person
from pipeline.scenes.scene import BOB
from pipeline.scenes.sprites import PHASES, SpriteBook
from pipeline.scenes.walks import Scenario, phases
from pipeline.types import FloatArray, IntArray

_BODY_SHARE = 0.8  # of a box that the body inside it hides


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One walk as one camera sees it.

    Attributes:
        frames: (N,) int64, `Frame.index`, without gaps: some of the person lies in the picture.
        xyxy: (N, 4) float32 px, clipped to the picture.
        visibility: (N,) float32: the share inside the picture that nobody else hides.
        progress: (N,) float32, from 0 at the walk's first frame to 1 at its last one.
    """

    person_id: int
    camera_id: str
    frames: IntArray
    xyxy: FloatArray
    visibility: FloatArray
    progress: FloatArray


class Outlines:
    """How far each person's silhouette reaches, in every phase of the step."""

    def __init__(self, people: Sequence[Person]) -> None:
        book = SpriteBook()
        self._reach = {person.person_id: _reaches(book, person) for person in people}

    def boxes(
        self, walk: Walk, person: Person, camera: SyntheticCamera, times_s: npt.NDArray[np.float64]
    ) -> FloatArray:
        """(N, 4) float32 px, not clipped to the picture, at times (N,) within the walk."""
        poses = walk.poses(times_s)
        phase = phases(poses.walked_m, person)
        floor = camera.near_y + (camera.far_y - camera.near_y) * poses.depth
        height = np.round(camera.person_share * (floor - camera.horizon_y) * person.height)
        reach = self._reach[person.person_id][(phase * PHASES).astype(int) % PHASES]
        reach = np.where(poses.faces_left[:, None], -reach[:, ::-1], reach)
        foot = floor - BOB * height * np.abs(np.cos(2 * np.pi * phase))
        middle = poses.x * camera.width_px
        sides = [middle + reach[:, 0] * height, foot - height, middle + reach[:, 1] * height, foot]
        return np.stack(sides, axis=1).astype(np.float32)


def _reaches(book: SpriteBook, person: Person) -> npt.NDArray[np.float64]:
    """(PHASES, 2) how far the silhouette reaches to either side of the middle, over its height; facing right."""
    reaches = []
    for phase in range(PHASES):
        picture = book.picture(person, (phase + 0.5) / PHASES, False, _MEASURED_PX)
        columns = np.flatnonzero((picture[:, :, 3] >= MASK_ALPHA).any(axis=0))
        middle = picture.shape[1] / 2
        reaches.append(((columns[0] - middle) / _MEASURED_PX, (columns[-1] + 1 - middle) / _MEASURED_PX))
    return np.array(reaches)


_MEASURED_PX = 200  # a usual height in the picture


def sightings(scenario: Scenario) -> Iterator[list[Sighting]]:
    """Each camera's sightings in turn, by first frame."""
    outlines = Outlines(scenario.people)
    people = {person.person_id: person for person in scenario.people}
    for camera in scenario.cameras:
        seen = []
        for walk in scenario.walks:
            if walk.camera_id == camera.id:
                frames = _frames_of(walk, scenario)
                whole = outlines.boxes(walk, people[walk.person_id], camera, frames / scenario.fps)
                seen.append((walk, frames, whole))
        yield _visible(camera, seen)


def _frames_of(walk: Walk, scenario: Scenario) -> IntArray:
    """Indices of the frames taken during a walk."""
    first, last = int(walk.start_s * scenario.fps), int(walk.end_s * scenario.fps) + 1
    frames = np.arange(max(first, 0), min(last + 1, scenario.frame_count), dtype=np.int64)
    times_s = frames / scenario.fps
    return frames[(times_s >= walk.start_s) & (times_s < walk.end_s)]


def _visible(camera: SyntheticCamera, seen: list[tuple[Walk, IntArray, FloatArray]]) -> list[Sighting]:
    found = []
    hidden = _hidden_shares(seen)
    for (walk, frames, whole), covered in zip(seen, hidden, strict=True):
        inside = clip_boxes(whole, camera.width_px, camera.height_px)
        share = box_area(inside) / np.maximum(box_area(whole), 1e-6)
        here = np.flatnonzero(share > 0)
        if len(here):
            here = np.arange(here[0], here[-1] + 1)
            progress = (frames[here] - frames[0]) / max(int(frames[-1] - frames[0]), 1)
            visibility = (share[here] * (1 - _BODY_SHARE * covered[here])).astype(np.float32)
            found.append(
                Sighting(walk.person_id, camera.id, frames[here], inside[here], visibility, progress.astype(np.float32))
            )
    return sorted(found, key=lambda s: (int(s.frames[0]), s.person_id))


def _hidden_shares(seen: list[tuple[Walk, IntArray, FloatArray]]) -> list[FloatArray]:
    """(N,) for each walk: the largest share of its box that one nearer person's box covers."""
    hidden = [np.zeros(len(frames), np.float32) for _, frames, _ in seen]
    order = sorted(range(len(seen)), key=lambda i: int(seen[i][1][0]) if len(seen[i][1]) else 0)
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if not len(seen[j][1]) or not len(seen[i][1]) or seen[j][1][0] > seen[i][1][-1]:
                break
            _, in_i, in_j = np.intersect1d(seen[i][1], seen[j][1], assume_unique=True, return_indices=True)
            _cover(hidden[i], in_i, seen[i][2][in_i], hidden[j], in_j, seen[j][2][in_j])
    return hidden


def _cover(
    hidden_a: FloatArray, in_a: IntArray, a: FloatArray, hidden_b: FloatArray, in_b: IntArray, b: FloatArray
) -> None:
    """Note what two people hide of each other in the frames they share; who stands lower in the picture is nearer."""
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    shared = sides.prod(axis=1)
    b_is_nearer = b[:, 3] > a[:, 3]
    of_a, of_b = shared / np.maximum(box_area(a), 1e-6), shared / np.maximum(box_area(b), 1e-6)
    hidden_a[in_a] = np.maximum(hidden_a[in_a], np.where(b_is_nearer, of_a, 0))
    hidden_b[in_b] = np.maximum(hidden_b[in_b], np.where(b_is_nearer, 0, of_b))
