"""Renders what a synthetic camera sees, with the exact truth about it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.backgrounds import render_background
from pipeline.scenes.furniture import render_obstacle
from pipeline.scenes.obstacles import Obstacle
from pipeline.scenes.painting import Drawn, LabelMap, Placed, cast_shadow, draw, person_shadow
from pipeline.scenes.paths import Pose, Walk
from pipeline.scenes.sprites import SpriteBook
from pipeline.scenes.walks import Scenario, steps
from pipeline.types import FloatArray, Frame, ImageArray, IntArray

BOB = 0.012  # share of the height by which a walker rises and falls
_NOISE_FIELDS = 4
_NOISE_MARGIN_PX = 64  # a field is larger than the picture, so that each frame cuts another part out of it
_OBSTACLE_SHADOW = (0.55, 0.04)  # half axes, shares of the obstacle's width
_LUMA = (0.114, 0.587, 0.299)  # ITU-R BT.601 weights of blue, green, red


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
        self._pictures = {thing: self._render_obstacle(thing) for thing in self.camera.obstacles}
        self._furnish()
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
        drawn = [draw(image, labels, placed) for placed in self._placed(at_s)]
        image = self._expose(image, index, at_s)
        frame = Frame(self.camera.id, "1", index, at_s, image)
        return frame, _truth([one for one in drawn if one.person_id > 0], labels)

    def _placed(self, at_s: float) -> list[Placed]:
        """Everybody and everything near the picture, farthest first."""
        walking = [(walk, pose) for walk in self._walks if (pose := walk.pose(at_s)) is not None]
        placed = [(-pose.depth, walk.person_id, self._place(walk, pose, at_s)) for walk, pose in walking]
        placed += [(-thing.depth, 0, self._place_obstacle(thing, at_s)) for thing in self._pictures]
        return [entry[2] for entry in sorted(placed, key=lambda entry: entry[:2])]

    def _place(self, walk: Walk, pose: Pose, at_s: float) -> Placed:
        person = self._people[walk.person_id]
        height = round(self.camera.person_px(pose.depth) * person.height)
        phase = steps(pose, person)
        picture = self._sprites.picture(person, phase, pose.faces_left, height)
        bob = BOB * height * abs(np.cos(2 * np.pi * phase))
        left = round(pose.x * self.camera.width_px - picture.shape[1] / 2)
        top = round(self.camera.foot_y(pose.depth) - bob) - height
        return Placed(
            person.person_id, picture, left, top, self._blur_px(walk.speed(at_s), at_s), person_shadow(height)
        )

    def _place_obstacle(self, thing: Obstacle, at_s: float) -> Placed:
        picture = self._pictures[thing]
        left, top = self._corner(thing, picture, at_s)
        return Placed(0, picture, left, top, self._blur_px(thing.speed, at_s))

    def _corner(self, thing: Obstacle, picture: ImageArray, at_s: float) -> tuple[int, int]:
        """Left and top of an obstacle's picture, px."""
        left = round(thing.x_at(at_s) * self.camera.width_px - picture.shape[1] / 2)
        foot = self.camera.foot_y(thing.depth) - thing.lift_m * self.camera.px_per_m(thing.depth)
        return left, round(foot) - picture.shape[0]

    def _blur_px(self, speed: float, at_s: float) -> int:
        """Smear of something that moves at `speed` picture widths per second."""
        return round(speed * self.camera.width_px * self.camera.exposure_time_s(at_s))

    def _render_obstacle(self, thing: Obstacle) -> ImageArray:
        """Its picture at its size; no higher than what lies in the camera's picture."""
        scale = self.camera.px_per_m(thing.depth)
        highest = round(self.camera.foot_y(thing.depth) - thing.lift_m * scale)
        height = min(round(thing.height_m * scale), max(highest, 1))
        return render_obstacle(thing.kind, round(thing.width_m * scale), height, thing.seed)

    def _furnish(self) -> None:
        """Shadows of what stands still, into the background."""
        for thing, picture in self._pictures.items():
            if thing.speed == 0 and thing.lift_m == 0:
                left, top = self._corner(thing, picture, 0.0)
                half_w, half_h = (max(round(share * picture.shape[1]), 1) for share in _OBSTACLE_SHADOW)
                cast_shadow(self._background, left + picture.shape[1] / 2, top + len(picture), (half_w, half_h))

    def _expose(self, image: ImageArray, index: int, at_s: float) -> ImageArray:
        """What the sensor makes of the light: tone curve and noise."""
        rng = np.random.default_rng([self._scenario.seed, 5, self._number, index])
        field = self._noise[int(rng.integers(_NOISE_FIELDS))]
        top, left = (int(v) for v in rng.integers(0, _NOISE_MARGIN_PX, 2))
        noise = field[top : top + image.shape[0], left : left + image.shape[1]]
        image = self._desaturate(self._defocus(image, at_s))
        seen = cv2.LUT(image, self.camera.tone_curve(at_s))
        return np.asarray(cv2.add(seen, noise, dtype=cv2.CV_8U), np.uint8)

    def _defocus(self, image: ImageArray, at_s: float) -> ImageArray:
        """A lens out of focus spreads a point over a disk, here a square."""
        radius = round(self.camera.defocus_at_px(at_s))
        return np.asarray(cv2.blur(image, (2 * radius + 1, 2 * radius + 1)), np.uint8) if radius else image

    def _desaturate(self, image: ImageArray) -> ImageArray:
        """Colours nearer to grey, or further from it."""
        if self.camera.saturation == 1.0:
            return image
        grey = (1 - self.camera.saturation) * np.tile(_LUMA, (3, 1))
        return np.asarray(cv2.transform(image, grey + self.camera.saturation * np.eye(3)), np.uint8)


def _truth(drawn: list[Drawn], labels: LabelMap) -> GroundTruth:
    seen = [one for one in drawn if one.xyxy is not None]
    visible = np.bincount(labels.ravel(), minlength=max((one.person_id for one in seen), default=0) + 1)
    labels.flags.writeable = False
    return GroundTruth(
        person_ids=np.array([one.person_id for one in seen], np.int64),
        xyxy=np.array([one.xyxy for one in seen], np.float32).reshape(-1, 4),
        visibility=np.array([visible[one.person_id] / one.silhouette_px for one in seen], np.float32),
        labels=labels,
    )
