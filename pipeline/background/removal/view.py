"""One person's surroundings in a frame, at working size."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, ImageArray

FloatMap = npt.NDArray[np.float32]
BoolMask = npt.NDArray[np.bool_]

TALL_PX = 320.0  # a higher box is worked on scaled down: outlines are smooth, and time grows with the area …
WORK_HEIGHT_PX = 256.0  # … at this height
MARGIN = 0.18  # of the box's height on every side: limbs and the ground under the feet
LEAST_SIDE_PX = 8.0  # of the part of a box inside the picture: less holds nobody who could be cut out


@dataclass(frozen=True, slots=True)
class View:
    """A window of the frame around one box, scaled down where the person is tall.

    Attributes:
        place: (x1, y1, x2, y2) of the window in the frame, px, whole numbers.
        size: (width, height) at working size, px.
        box: (x1, y1, x2, y2) of the person at working size; may reach out of the window.
    """

    place: tuple[int, int, int, int]
    size: tuple[int, int]
    box: tuple[float, float, float, float]

    @property
    def cut(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the frame."""
        x1, y1, x2, y2 = self.place
        return slice(y1, y2), slice(x1, x2)

    def take(self, image: ImageArray) -> ImageArray:
        """The window of a frame-sized picture at working size."""
        part = image[self.cut]
        if part.shape[1::-1] == self.size:
            return part
        return np.asarray(cv2.resize(part, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def enlarge(self, values: FloatMap) -> FloatMap:
        """A map at working size, at the window's size in the frame."""
        x1, y1, x2, y2 = self.place
        if self.size == (x2 - x1, y2 - y1):
            return values
        return np.asarray(cv2.resize(values, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR), np.float32)

    def moved_into(self, other: "View") -> FloatMap:
        """(2, 3) matrix that takes points of `other` to points of this view: both look at the same frame."""
        own, its = self._scale(), other._scale()
        sx, sy = own[0] / its[0], own[1] / its[1]
        dx = (other.place[0] - self.place[0]) * own[0]
        dy = (other.place[1] - self.place[1]) * own[1]
        return np.array([[sx, 0, dx + (sx - 1) / 2], [0, sy, dy + (sy - 1) / 2]], np.float32)

    def _scale(self) -> tuple[float, float]:
        x1, y1, x2, y2 = self.place
        return self.size[0] / (x2 - x1), self.size[1] / (y2 - y1)


def view_of(box: FloatArray, width_px: int, height_px: int) -> View | None:
    """The view of a box (4,) xyxy px in a picture of this size; None when too little of the box is inside."""
    x1, y1, x2, y2 = (float(v) for v in box)
    inside = min(x2, width_px) - max(x1, 0.0), min(y2, height_px) - max(y1, 0.0)
    if min(inside) < LEAST_SIDE_PX:
        return None
    margin = MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width_px, int(np.ceil(x2 + margin))), min(height_px, int(np.ceil(y2 + margin)))
    height = max(y2 - y1, (x2 - x1) / 2)
    scale = 1.0 if height <= TALL_PX else WORK_HEIGHT_PX / height
    size = max(4, round((right - left) * scale)), max(4, round((bottom - top) * scale))
    sx, sy = size[0] / (right - left), size[1] / (bottom - top)
    local = ((x1 - left) * sx, (y1 - top) * sy, (x2 - left) * sx, (y2 - top) * sy)
    return View((left, top, right, bottom), size, local)
