"""A person as seen in one moment: legs in a phase of the step, facing left or right, at a height in px."""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.people import Person
from pipeline.types import ImageArray

PHASES = 10  # pictures of one cycle of two steps
_DRAWN_PX = 330  # height at which the phases are kept: a little above the largest person in a picture
_KEPT_PHASES = 400  # of those last seen: about 100 MB
_ROOM = 1.25  # width of a phase's picture over the cutout's, for spread legs


class SpriteBook:
    """The phases of everybody's walk, warped once each and kept."""

    def __init__(self) -> None:
        self._phase = lru_cache(maxsize=_KEPT_PHASES)(_warp_phase)

    def picture(self, person: Person, phase: float, faces_left: bool, height_px: int) -> ImageArray:
        """(H, W, 4) uint8 BGR + alpha of a person `height_px` tall; the row below the last stands on the floor."""
        warped = self._phase(person, int(phase * PHASES) % PHASES)
        width = max(round(warped.shape[1] * height_px / warped.shape[0]), 1)
        sized = cv2.resize(warped, (width, height_px), interpolation=cv2.INTER_AREA)
        return np.asarray(sized[:, ::-1] if faces_left else sized, np.uint8)


def _warp_phase(person: Person, phase: int) -> ImageArray:
    """The person with legs spread as in one phase of the step; cropped to the body's rows, `_DRAWN_PX` tall."""
    rgba = np.dstack([person.image, person.alpha])
    height, width = person.alpha.shape
    room = round(width * (_ROOM - 1) / 2)
    spread = _spread(person, 2 * np.pi * phase / PHASES, height)
    columns = np.arange(width + 2 * room, dtype=np.float32)[None, :] - room - width / 2
    map_x = np.asarray(columns / spread[:, None] + width / 2, np.float32)
    map_y = np.repeat(np.arange(height, dtype=np.float32)[:, None], map_x.shape[1], axis=1)
    warped = cv2.remap(rgba, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0))
    rows = np.flatnonzero((person.alpha >= 128).any(axis=1))
    body = warped[rows[0] : rows[-1] + 1]
    size = (round(body.shape[1] * _DRAWN_PX / len(body)), _DRAWN_PX)
    return np.asarray(cv2.resize(body, size, interpolation=cv2.INTER_AREA), np.uint8)


def _spread(person: Person, angle: float, rows: int) -> npt.NDArray[np.float64]:
    """(rows,) factor on the body's width: 1 above the hip, the step's spread at the feet."""
    narrow, wide = person.stride
    at_feet = (narrow + wide) / 2 + (wide - narrow) / 2 * np.sin(angle)
    down = np.clip((np.arange(rows) - person.hip_row) / (rows - person.hip_row), 0, 1)
    return np.asarray(1 + (at_feet - 1) * down, np.float64)
