"""What the remover is told of one frame's people, and what it answers."""

from dataclasses import dataclass

import numpy as np

from pipeline.background.removal.lit_plate import Lit
from pipeline.background.removal.view import BoolMask
from pipeline.types import FloatArray, Frame, ImageArray


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One person's box in a frame: (4,) float32 xyxy px; `identity_id` 0 while nobody knows who it is."""

    track_id: int
    xyxy: FloatArray
    identity_id: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Cutout:
    """One person's mask: (h, w) bool of the window `place` (x1, y1, x2, y2) px of the frame; the box that led to it."""

    place: tuple[int, int, int, int]
    mask: BoolMask
    xyxy: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class CutFrame:
    """A frame with everybody cut out whose mask is being carried; masks share no pixel.

    Attributes:
        cutouts: by track id. missing: track ids of people in the frame who have no mask.
        lit: the clean plate in this frame's light; None before the first pixel of a plate.
    """

    frame: Frame
    cutouts: dict[int, Cutout]
    missing: tuple[int, ...]
    lit: Lit | None

    def mask(self, track_ids: set[int] | None = None) -> BoolMask:
        """(H, W) bool: everybody's pixels, or only those of some tracks."""
        whole = np.zeros(self.frame.image.shape[:2], bool)
        for track_id, cutout in self.cutouts.items():
            if track_ids is None or track_id in track_ids:
                x1, y1, x2, y2 = cutout.place
                whole[y1:y2, x1:x2] |= cutout.mask
        return whole


@dataclass(frozen=True, eq=False, slots=True)
class Reference:
    """A reference frame of this camera, read back.

    Attributes:
        image: (H, W, 3) uint8 BGR. labels: (H, W) uint8, 0 background.
        people: (value in the label map, box (x1, y1, x2, y2) px, identity id) of those whose mask is in it.
    """

    captured_at_s: float
    image: ImageArray
    labels: np.ndarray
    people: tuple[tuple[int, tuple[float, float, float, float], int], ...]
