"""Renders what a synthetic camera sees, with the exact truth about it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.backgrounds import render_background
from pipeline.scenes.people import Person
from pipeline.scenes.sprites import SpriteBook
from pipeline.scenes.walks import Pose, Scenario, steps
from pipeline.types import FloatArray, Frame, ImageArray, IntArray

LabelMap = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MASK_ALPHA = 128  # a pixel belongs to a person when at least half of it shows the person
_BOB = 0.012  # share of the height by which a walker rises and falls
_NOISE_FIELDS = 4
_NOISE_MARGIN_PX = 64  # a field is larger than the picture, so that each frame cuts another part out of it
_SHADOW = 0.4  # darkening of the floor between the feet
_SHADOW_SIZE = (0.21, 0.035)  # half axes, shares of the person's height


@dataclass(frozen=True, eq=False, slots=True)
class GroundTruth:
    """Who is where in one frame, nearest last.

    Attributes:
        person_ids: (N,) int64.
        xyxy: (N, 4) float32 px: tight box of the person's silhouette inside the picture, hidden parts included.
        visibility: (N,) float32, visible pixels over all of the silhouette's, those outside the picture included.
        labels: (H, W) person id of every pixel, 0 background: the visible masks, disjoint by construction.
    """

    person_ids: IntArray
    xyxy: FloatArray
    visibility: FloatArray
    labels: LabelMap

    def mask(self, person_id: int) -> npt.NDArray[np.bool_]:
        """(H, W) the person's visible pixels."""
        return np.asarray(self.labels == person_id)


class SceneCamera:
    """One camera of a scenario. Any frame can be rendered at any time; the same one is the same to the byte."""

    def __init__(self, scenario: Scenario, camera_id: str) -> None:
        self.camera = scenario.camera(camera_id)
        self._scenario = scenario
        self._walks = [walk for walk in scenario.walks if walk.camera_id == camera_id]
        self._people = {person.person_id: person for person in scenario.people}
        self._number = [camera.id for camera in scenario.cameras].index(camera_id)
        self._sprites = SpriteBook()
        rng = np.random.default_rng([scenario.seed, 4, self._number])
        self._background = render_background(self.camera.room, rng)
        self._noise = self._draw_noise(rng)
        self._label_type = np.uint8 if max(self._people, default=0) < 256 else np.uint16

    def _draw_noise(self, rng: np.random.Generator) -> list[npt.NDArray[np.int16]]:
        height, width = self._background.shape[:2]
        shape = (height + _NOISE_MARGIN_PX, width + _NOISE_MARGIN_PX, 3)
        return [
            np.round(rng.standard_normal(shape, np.float32) * self.camera.noise).astype(np.int16)
            for _ in range(_NOISE_FIELDS)
        ]

    def __len__(self) -> int:
        return self._scenario.frame_count

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, `captured_at_s` counted from 0."""
        for index in range(len(self)):
            yield self.render(index)[0]

    def render(self, index: int) -> tuple[Frame, GroundTruth]:
        """Frame `index` (from 0) and the truth about it."""
        at_s = index / self._scenario.fps
        image = self._background.copy()
        labels = np.zeros(image.shape[:2], self._label_type)
        drawn = [_draw(image, labels, *placed) for placed in self._placed(at_s)]
        image = self._expose(image, index, at_s)
        frame = Frame(self.camera.id, "1", index, at_s, image)
        return frame, _truth(drawn, labels)

    def _placed(self, at_s: float) -> list[tuple[int, ImageArray, int, int]]:
        """(person id, picture, left, top) of everybody near the picture, farthest first."""
        standing = [(pose, walk.person_id) for walk in self._walks if (pose := walk.pose(at_s)) is not None]
        standing.sort(key=lambda entry: (-entry[0].depth, entry[1]))
        return [self._place(pose, self._people[person_id]) for pose, person_id in standing]

    def _place(self, pose: Pose, person: Person) -> tuple[int, ImageArray, int, int]:
        height = round(self.camera.person_px(pose.depth) * person.height)
        phase = steps(pose, person)
        picture = self._sprites.picture(person, phase, pose.faces_left, height)
        bob = _BOB * height * abs(np.cos(2 * np.pi * phase))
        left = round(pose.x * self.camera.width_px - picture.shape[1] / 2)
        top = round(self.camera.foot_y(pose.depth) - bob) - height
        return person.person_id, picture, left, top

    def _expose(self, image: ImageArray, index: int, at_s: float) -> ImageArray:
        """What the sensor makes of the light: tone curve and noise."""
        rng = np.random.default_rng([self._scenario.seed, 5, self._number, index])
        field = self._noise[int(rng.integers(_NOISE_FIELDS))]
        top, left = (int(v) for v in rng.integers(0, _NOISE_MARGIN_PX, 2))
        noise = field[top : top + image.shape[0], left : left + image.shape[1]]
        seen = cv2.LUT(image, self.camera.tone_curve(at_s))
        return np.asarray(cv2.add(seen, noise, dtype=cv2.CV_8U), np.uint8)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What drawing one person left behind; `xyxy` is None when nothing of it lies in the picture."""

    person_id: int
    xyxy: tuple[int, int, int, int] | None
    silhouette_px: int


def _draw(image: ImageArray, labels: LabelMap, person_id: int, picture: ImageArray, left: int, top: int) -> _Drawn:
    """Paint a person over image and labels, both in place."""
    height, width = picture.shape[:2]
    silhouette = picture[:, :, 3] >= MASK_ALPHA
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return _Drawn(person_id, None, int(silhouette.sum()))
    _cast_shadow(image, left + width / 2, top + height, height)
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    target = image[y1:y2, x1:x2]
    alpha = cv2.merge([picture[:, :, 3]] * 3)[inside].astype(np.uint16)
    blend = picture[:, :, :3][inside] * alpha + target * (255 - alpha) + 127
    target[:] = (blend // 255).astype(np.uint8)
    mask = silhouette[inside]
    labels[y1:y2, x1:x2][mask] = person_id
    return _Drawn(person_id, _tight_box(mask, x1, y1), int(silhouette.sum()))


def _cast_shadow(image: ImageArray, x: float, foot_y: int, height: int) -> None:
    """Darken the floor around the feet, in place."""
    half_w, half_h = max(round(_SHADOW_SIZE[0] * height), 1), max(round(_SHADOW_SIZE[1] * height), 1)
    left, top = round(x) - half_w, foot_y - half_h - 2
    x1, x2 = max(left, 0), min(left + 2 * half_w + 1, image.shape[1])
    y1, y2 = max(top, 0), min(top + 2 * half_h + 1, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    u = (np.arange(x1, x2, dtype=np.float32) - left - half_w) / half_w
    v = (np.arange(y1, y2, dtype=np.float32) - top - half_h) / half_h
    dark = 1 - _SHADOW * np.clip(1 - u[None, :] ** 2 - v[:, None] ** 2, 0, 1)
    patch = image[y1:y2, x1:x2]
    patch[:] = (patch * dark[:, :, None]).astype(np.uint8)


def _tight_box(mask: npt.NDArray[np.bool_], left: int, top: int) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _truth(drawn: list[_Drawn], labels: LabelMap) -> GroundTruth:
    seen = [one for one in drawn if one.xyxy is not None]
    visible = np.bincount(labels.ravel(), minlength=max((one.person_id for one in seen), default=0) + 1)
    labels.flags.writeable = False
    return GroundTruth(
        person_ids=np.array([one.person_id for one in seen], np.int64),
        xyxy=np.array([one.xyxy for one in seen], np.float32).reshape(-1, 4),
        visibility=np.array([visible[one.person_id] / one.silhouette_px for one in seen], np.float32),
        labels=labels,
    )
