"""Bags, hats and long hair, drawn over and under a cutout. Coordinates are shares of a part of the body."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.attire import Bag, Hat
from pipeline.scenes.colours import Lab
from pipeline.scenes.dyeing import to_bgr
from pipeline.types import ImageArray

Cover = npt.NDArray[np.float32]  # (H, W) 0 to 1
Points = Sequence[tuple[float, float]]

_SUBPIXEL_BITS = 4
_SHADE = 0.35  # by which a bag darkens from its upper left to its lower right


class BodyBox:
    """The box around a part of the body as a frame for drawing: (0, 0) upper left, (1, 1) lower right."""

    def __init__(self, seen: npt.NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        self.left, self.top = float(columns[0]), float(rows[0])
        self.width, self.height = float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)
        self._shape = seen.shape

    def row(self, y: float) -> float:
        """Row of the picture at a share of the height."""
        return self.top + y * self.height

    def polygon(self, points: Points) -> Cover:
        """Coverage of a polygon."""
        corners = np.array([(self.left + x * self.width, self.top + y * self.height) for x, y in points])
        canvas: ImageArray = np.zeros(self._shape, np.uint8)
        scaled = np.round((corners - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(canvas, [scaled], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
        return np.asarray(canvas / 255, np.float32)

    def ellipse(self, x: float, y: float, half_w: float, half_h: float, turns: tuple[float, float] = (0, 1)) -> Cover:
        """Coverage of an ellipse, or of the part of it between two turns (0 right, .25 down)."""
        angles = (2 * np.pi * np.linspace(*turns, 48)).tolist()
        return self.polygon([(x + half_w * np.cos(a), y + half_h * np.sin(a)) for a in angles])

    def band(self, points: Points, width: float) -> Cover:
        """Coverage of a line through the points, `width` shares of the box's width wide."""
        corners = np.array([(self.left + x * self.width, self.top + y * self.height) for x, y in points])
        canvas: ImageArray = np.zeros(self._shape, np.uint8)
        scaled = np.round((corners - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        thickness = max(round(width * self.width), 1)
        cv2.polylines(canvas, [scaled], False, (255,), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        return np.asarray(canvas / 255, np.float32)


class Canvas:
    """A person's picture while it is painted: image (H, W, 3) float32 BGR 0 to 255, alpha (H, W) 0 to 1."""

    def __init__(self, image: npt.NDArray[np.float32], alpha: Cover) -> None:
        self.image, self.alpha = image, alpha

    def over(self, cover: Cover, colour: Lab) -> None:
        """Paint in front of what is there."""
        part = covered_part(cover)
        self.image[part] += cover[part][:, :, None] * (_cloth(cover[part].shape, colour) - self.image[part])
        self.alpha = np.maximum(self.alpha, cover)

    def under(self, cover: Cover, colour: Lab) -> None:
        """Paint behind what is there."""
        part = covered_part(cover)
        room = (1 - self.alpha[part]) * (cover[part] > 0)
        self.image[part] += room[:, :, None] * (_cloth(room.shape, colour) - self.image[part])
        self.alpha = np.maximum(self.alpha, cover)

    def within(self, cover: Cover) -> Cover:
        """The part of a cover that lies on the body."""
        return np.asarray(cover * self.alpha, np.float32)


def covered_part(cover: Cover) -> tuple[slice, slice]:
    """Rows and columns around what is covered, with a pixel to spare; empty when nothing is."""
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def _cloth(shape: tuple[int, ...], colour: Lab) -> npt.NDArray[np.float32]:
    """(H, W, 3) BGR: the colour, lit from the upper left."""
    bgr = to_bgr(np.array(colour, np.float32).reshape(1, 1, 3))[0, 0].astype(np.float32)
    y, x = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])[None, :]
    light = 1 + _SHADE * (0.5 - (x + y) / 2)
    return np.asarray(np.clip(bgr * light[:, :, None], 0, 255), np.float32)


def _darker(colour: Lab) -> Lab:
    return colour._replace(lightness=max(colour.lightness - 18, 6))


def add_bag(canvas: Canvas, bag: Bag, torso: BodyBox) -> None:
    """Hang a bag on somebody who walks to the right, in place."""
    if bag.kind == "shoulder":
        canvas.over(canvas.within(torso.band([(0.68, 0.03), (0.3, 0.4), (0.12, 0.72)], 0.07)), _darker(bag.colour))
        canvas.over(_rounded(torso, (-0.14, 0.66), (0.34, 0.95)), bag.colour)
        canvas.over(_rounded(torso, (-0.14, 0.66), (0.34, 0.76)), _darker(bag.colour))
    elif bag.kind == "backpack":
        canvas.under(_rounded(torso, (-0.3, 0.05), (0.3, 0.66)), bag.colour)
        canvas.under(_rounded(torso, (-0.38, 0.36), (-0.2, 0.62)), _darker(bag.colour))
        for points in (((0.22, 0.06), (0.2, 0.25), (0.08, 0.48)), ((0.72, 0.09), (0.76, 0.26), (0.7, 0.42))):
            canvas.over(canvas.within(torso.band(points, 0.09)), _darker(bag.colour))
    else:
        canvas.under(torso.band([(-0.08, 1.02), (-0.02, 0.82), (0.14, 0.82), (0.22, 1.02)], 0.035), _darker(bag.colour))
        canvas.over(torso.polygon([(-0.14, 1.0), (0.3, 1.0), (0.34, 1.36), (-0.18, 1.36)]), bag.colour)


def _rounded(box: BodyBox, upper_left: tuple[float, float], lower_right: tuple[float, float]) -> Cover:
    """A rectangle with rounded corners."""
    (x1, y1), (x2, y2) = upper_left, lower_right
    angles = 2 * np.pi * np.linspace(0, 1, 48)
    x = (x1 + x2) / 2 + (x2 - x1) / 2 * np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** 0.4
    y = (y1 + y2) / 2 + (y2 - y1) / 2 * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** 0.4
    return box.polygon(list(zip(x.tolist(), y.tolist(), strict=True)))


def add_hat(canvas: Canvas, hat: Hat, hair: BodyBox) -> None:
    """Put a hat over the hair, whose box is as wide as the head, in place."""
    canvas.over(hair.ellipse(0.5, 0.5, 0.56, 0.56, (0.5, 1.0)), hat.colour)
    if hat.kind == "beanie":
        canvas.over(_rounded(hair, (-0.07, 0.36), (1.06, 0.6)), _darker(hat.colour))
    elif hat.kind == "cap":
        canvas.over(
            hair.polygon([(0.5, 0.36), (1.06, 0.4), (1.5, 0.58), (1.46, 0.66), (0.9, 0.56)]), _darker(hat.colour)
        )
    else:
        canvas.over(hair.ellipse(0.5, 0.46, 1.05, 0.17), _darker(hat.colour))


def add_hair(canvas: Canvas, colour: Lab, hair: BodyBox) -> None:
    """Hair down to the shoulders, behind the face of somebody who looks to the right, in place."""
    dark = _darker(colour)
    canvas.under(hair.ellipse(0.36, 0.95, 0.55, 1.1), dark)
    canvas.over(hair.polygon([(0.02, 0.2), (0.3, 0.3), (0.26, 1.1), (0.3, 1.9), (-0.2, 1.9), (-0.12, 0.8)]), colour)
