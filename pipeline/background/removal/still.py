"""People in one picture alone, cut out against a clean plate: masks of reference frames."""

import numpy as np

from pipeline.background.background_model import Plate
from pipeline.background.removal.carrying import Carrier
from pipeline.background.removal.cutting import cut_people, learn_people, sight_of
from pipeline.background.removal.person import Person
from pipeline.background.removal.view import BoolMask
from pipeline.types import FloatArray, ImageArray

_ROUNDS = 3  # each knows from the one before what people look like; a fourth changes next to nothing


def cut_still(image: ImageArray, boxes: FloatArray, plate: Plate) -> BoolMask:
    """Disjoint (N, H, W) bool masks for boxes (N, 4) xyxy px of a picture (H, W, 3)."""
    masks = np.zeros((len(boxes), *image.shape[:2]), bool)
    here = {row: np.asarray(box, np.float32) for row, box in enumerate(boxes)}
    sight = sight_of(image, plate, np.asarray(boxes, np.float32))
    people = {row: Person() for row in here}
    cutouts = cut_people(sight, here, people, Carrier())
    for _ in range(_ROUNDS - 1):
        learn_people(sight, here, people)
        cutouts = cut_people(sight, here, people, Carrier())
    for row, cutout in cutouts.items():
        x1, y1, x2, y2 = cutout.place
        masks[row, y1:y2, x1:x2] = cutout.mask
    return masks
