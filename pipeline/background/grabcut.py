"""Person masks without a neural network: against the clean plate where it is known, by GrabCut where it is not.

GrabCut is Rother et al. 2004, OpenCV's implementation. Here the colours of the background are learnt from the plate
behind the person as well, which is more than one frame can tell.
"""

import logging
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.background.background_model import Plate, PlateSource, relit
from pipeline.background.removal.still import cut_still
from pipeline.boxes import clip_boxes
from pipeline.types import FloatArray, Frame, ImageArray

logger = logging.getLogger(__name__)

BoolMask = npt.NDArray[np.bool_]

WORK_HEIGHT_PX = 200  # of the box: GrabCut's time grows with the area, and people's outlines are smooth at this size
_MARGIN = 0.25  # of the box's longer side around it: surroundings that teach GrabCut the background's colours
_LEAST_SIDE_PX = 8.0  # of the part of a box inside the picture: less holds nobody who could be cut out
_ROUNDS = 3  # of GrabCut: more change under 1 % of the pixels
_SEED = 7  # of OpenCV's random numbers (start of k-means), the same for every box: masks repeat exactly
_GROW = 0.04  # of the box's sides: how far a person may reach out of the detector's box
_SAME, _OTHER = 14.0, 34.0  # levels of 255: below, a pixel shows the plate; above, somebody stands before it
_SHADOW_CHROMA = 9.0  # levels: a darker pixel whose colour differs less than this from the plate's lies in shadow
_SHADOW_DEPTH = (0.55, 0.97)  # brightness in shadow relative to the plate
_KNOWN_SHARE = 0.9  # of a box: where the plate is known so far, it alone tells people from the background
_LEAST_PART = 0.04  # of the largest piece of a mask: smaller pieces are specks


@dataclass(frozen=True, eq=False, slots=True)
class _Work:
    """One person's surroundings at working size.

    Attributes:
        image: (h, w, 3) uint8; plate likewise, or None. seen: (h, w) bool, where the plate is known.
        box: (x1, y1, x2, y2) of the person. taken: (h, w) bool, pixels of people in front.
        others: (h, w) bool, inside somebody else's box and outside this one. shared: inside both.
        place: (x1, y1, x2, y2) of the crop in the frame, px.
    """

    image: ImageArray
    plate: ImageArray | None
    seen: BoolMask
    box: FloatArray
    taken: BoolMask
    others: BoolMask
    shared: BoolMask
    place: tuple[int, int, int, int]


class GrabCutSegmenter:
    """`pipeline.ports.Segmenter` on boxes and clean plates; deterministic, CPU only.

    Where the plate is known behind everybody, `removal.still` cuts them out: ten times as fast and better. GrabCut
    does it for the other pictures.

    Args:
        plate_of: gives a camera's clean plate or None; without one the box alone must do.
    """

    def __init__(self, plate_of: PlateSource | None = None) -> None:
        self._plate_of = plate_of

    def segment(self, frame: Frame, boxes: FloatArray) -> BoolMask:
        """Disjoint (N, H, W) bool masks for boxes (N, 4) xyxy px.

        People who overlap are cut out from the nearest to the farthest (the lower foot point is nearer). A box
        outside the picture, or with less than 8 px of it inside, gets an empty mask.
        """
        height_px, width_px = frame.image.shape[:2]
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        masks = np.zeros((len(boxes), height_px, width_px), bool)
        plate = self._plate_of(frame.camera_id) if self._plate_of and len(boxes) else None
        if plate is not None:
            plate = plate.scaled_to(width_px, height_px)
            known = _mostly_known(plate, boxes)
            if known.all():
                return cut_still(frame.image, boxes, plate)
            plate = relit(plate, frame.image, boxes)
        clipped = clip_boxes(boxes, width_px, height_px)
        taken = np.zeros((height_px, width_px), bool)
        for row in nearest_first(boxes):
            if (clipped[row, 2:] - clipped[row, :2] < _LEAST_SIDE_PX).any():
                continue
            work = _prepare(frame.image, plate, clipped, int(row), taken)
            _paste(_cut(work), work, masks[row], taken)
        return masks


def _mostly_known(plate: Plate, boxes: FloatArray) -> BoolMask:
    """(N,) whether the plate is known behind nearly all of each box; a box outside the picture counts as known."""
    height_px, width_px = plate.seen.shape
    known = np.ones(len(boxes), bool)
    for row, (x1, y1, x2, y2) in enumerate(clip_boxes(boxes, width_px, height_px).astype(int)):
        behind = plate.seen[y1:y2, x1:x2]
        known[row] = behind.size == 0 or behind.mean() >= _KNOWN_SHARE
    return known


def nearest_first(boxes: FloatArray) -> npt.NDArray[np.intp]:
    """Rows of boxes (N, 4) xyxy px by foot point, lowest in the picture first; ties by x."""
    return np.lexsort((boxes[:, 0], -boxes[:, 3]))


def _prepare(image: ImageArray, plate: Plate | None, boxes: FloatArray, row: int, taken: BoolMask) -> _Work:
    height_px, width_px = image.shape[:2]
    box = boxes[row]
    margin = _MARGIN * float(max(box[2] - box[0], box[3] - box[1]))
    x1, y1 = (int(max(0, np.floor(v - margin))) for v in box[:2])
    x2, y2 = (int(min(limit, np.ceil(v + margin))) for v, limit in zip(box[2:], (width_px, height_px), strict=True))
    cut = (slice(y1, y2), slice(x1, x2))
    scale = min(1.0, WORK_HEIGHT_PX / float(max(box[3] - box[1], (box[2] - box[0]) / 2)))
    size = (max(2, round((x2 - x1) * scale)), max(2, round((y2 - y1) * scale)))
    ratio = np.array([size[0] / (x2 - x1), size[1] / (y2 - y1)] * 2, np.float32)
    local = (boxes - np.array([x1, y1, x1, y1], np.float32)) * ratio
    others = np.zeros((size[1], size[0]), bool)
    for i, other in enumerate(local):
        if i != row:
            others[_window(other, others.shape)] = True
    own = np.zeros_like(others)
    own[_window(local[row], others.shape)] = True
    return _Work(
        cv2.resize(image[cut], size, interpolation=cv2.INTER_AREA),
        None if plate is None else cv2.resize(plate.image[cut], size, interpolation=cv2.INTER_AREA),
        np.zeros_like(others) if plate is None else _shrunk(plate.seen[cut], size),
        local[row],
        _shrunk(taken[cut], size),
        others & ~own,
        others & own,
        (x1, y1, x2, y2),
    )


def _shrunk(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _window(box: FloatArray, shape: tuple[int, ...], grow: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns of a box inside an array of `shape`."""
    dx, dy = grow * (box[2] - box[0]), grow * (box[3] - box[1])
    x1, y1 = max(0, int(np.floor(box[0] - dx))), max(0, int(np.floor(box[1] - dy)))
    x2, y2 = min(shape[1], int(np.ceil(box[2] + dx))), min(shape[0], int(np.ceil(box[3] + dy)))
    return slice(y1, max(y1, y2)), slice(x1, max(x1, x2))


def _cut(work: _Work) -> npt.NDArray[np.float32]:
    """Foreground share of each pixel of the work picture, 0 or 1 with soft edges."""
    labels = _seeds(work)
    if not _both_sides(labels):
        return (labels & 1).astype(np.float32)
    image = work.image
    width = labels.shape[1]
    if work.plate is not None and work.seen.any():
        # the plate behind the person stands beside the picture, as background that is certain
        behind = np.where(work.seen, cv2.GC_BGD, cv2.GC_PR_BGD).astype(np.uint8)
        image, labels = np.hstack([image, work.plate]), np.hstack([labels, behind])
    cv2.setRNGSeed(_SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask = (labels[:, :width] & 1).astype(np.uint8)  # GC_FGD is 1, GC_PR_FGD is 3
    return cv2.GaussianBlur(_tidy(mask, work).astype(np.float32), (3, 3), 0)


def _seeds(work: _Work) -> npt.NDArray[np.uint8]:
    """GrabCut's four labels, from the box, the shape that people have, and the plate."""
    shape = work.image.shape[:2]
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    reach = _window(work.box, shape, _GROW)
    labels[reach] = cv2.GC_PR_BGD
    core, body = _shape_prior(work.box, shape)
    labels[body] = cv2.GC_PR_FGD
    labels[core] = cv2.GC_FGD
    if work.plate is not None:
        same, other = _against_plate(work)
        allowed = np.zeros(shape, bool)
        allowed[reach] = True
        labels[allowed & other & ~core] = cv2.GC_PR_FGD
        labels[body & other & ~work.shared] = cv2.GC_FGD
        labels[allowed & same & ~core] = cv2.GC_PR_BGD
        labels[allowed & same & core] = cv2.GC_PR_FGD
    labels[work.taken | work.others] = cv2.GC_BGD
    return labels


def _both_sides(labels: npt.NDArray[np.uint8]) -> bool:
    """Whether GrabCut has foreground and background to learn from; it refuses otherwise."""
    front = np.count_nonzero(labels & 1)
    return bool(0 < front < labels.size)


def _shape_prior(box: FloatArray, shape: tuple[int, ...]) -> tuple[BoolMask, BoolMask]:
    """What is nearly always, and what is mostly, person in a box: (h, w) bool each."""
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height, middle = x2 - x1, y2 - y1, (x1 + x2) / 2
    core, body = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for canvas, spread, top, bottom in ((core, 0.10, 0.16, 0.55), (body, 0.30, 0.02, 0.98)):
        half = max(1.0, min(spread * width, spread * 0.45 * height))
        centre = (round(middle), round(y1 + (top + bottom) / 2 * height))
        axes = (max(1, round(half)), max(1, round((bottom - top) / 2 * height)))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, -1)
    return core.astype(bool), body.astype(bool)


def _against_plate(work: _Work) -> tuple[BoolMask, BoolMask]:
    """Pixels that show the plate (or a shadow on it), and pixels that clearly do not; unseen ones are neither."""
    if work.plate is None:
        raise ValueError("no plate to compare with")
    image = cv2.GaussianBlur(work.image, (3, 3), 0).astype(np.float32)
    plate = cv2.GaussianBlur(work.plate, (3, 3), 0).astype(np.float32)
    distance = np.abs(image - plate).max(axis=2)
    light, plate_light = image.mean(axis=2) + 1, plate.mean(axis=2) + 1
    depth = light / plate_light
    chroma = np.abs(image - plate * depth[..., None]).max(axis=2)
    shadow = (chroma < _SHADOW_CHROMA) & (depth > _SHADOW_DEPTH[0]) & (depth < _SHADOW_DEPTH[1])
    feet = np.zeros(distance.shape, bool)  # shadows fall on the ground; higher up, dark clothes look like one
    feet[_window(work.box, distance.shape, 0.3)] = True
    feet[: int(work.box[3] - 0.12 * (work.box[3] - work.box[1]))] = False
    shadow &= feet
    return work.seen & ((distance < _SAME) | shadow), work.seen & (distance > _OTHER) & ~shadow


def _tidy(mask: npt.NDArray[np.uint8], work: _Work) -> npt.NDArray[np.uint8]:
    """Without specks and pinholes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 1:
        return mask
    area = stats[:, cv2.CC_STAT_AREA]
    large = area >= max(4.0, _LEAST_PART * area[1:].max())
    large[0] = False
    return (large[parts] & ~work.taken).astype(np.uint8)


def _paste(share: npt.NDArray[np.float32], work: _Work, mask: BoolMask, taken: BoolMask) -> None:
    """Put the work result into the frame-sized `mask`; what people in front hold stays theirs."""
    x1, y1, x2, y2 = work.place
    full = cv2.resize(share, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR) > 0.5
    cut = (slice(y1, y2), slice(x1, x2))
    mask[cut] = full & ~taken[cut]
    taken[cut] |= full
