"""Shares one frame's pixels out among its people, and lets them learn from what they got."""

from collections.abc import Mapping

import cv2
import numpy as np

from pipeline.background.background_model import Plate, enlarged
from pipeline.background.removal.carrying import Carrier
from pipeline.background.removal.evidence import without_specks
from pipeline.background.removal.lit_plate import light_of
from pipeline.background.removal.person import REACH, Person, Sight, Weights
from pipeline.background.removal.tracks import Cutout
from pipeline.background.removal.view import BoolMask, FloatMap, View, view_of
from pipeline.boxes import box_intersection, covered_share, touches_edge
from pipeline.types import FloatArray, ImageArray

_LEAST_PART = 0.04  # of a mask's largest piece: smaller pieces are specks
_FREE = 0.05  # share of a box that others may cover for the shape to be learnt
_LEARN = 0.2  # share of a new frame in a person's colours, at every lesson
_OTHERS = -3.0  # log odds of a pixel that somebody else holds

Boxes = Mapping[int, FloatArray]  # track id → (4,) xyxy px


def sight_of(image: ImageArray, plate: Plate | None, boxes: FloatArray) -> Sight:
    """What is needed of a frame (H, W, 3) with people in boxes (N, 4) xyxy px."""
    lit = light_of(image, plate, boxes) if plate is not None else None
    return Sight(image, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), lit)


def cut_people(sight: Sight, boxes: Boxes, people: Mapping[int, Person], carrier: Carrier) -> dict[int, Cutout]:
    """Disjoint masks of all `people` that have a box large enough; each person goes on from theirs."""
    height_px, width_px = sight.grey.shape
    contested = _contested(boxes)
    views: dict[int, View] = {}
    weights: dict[int, Weights] = {}
    for i, box in boxes.items():
        view = view_of(box, width_px, height_px) if i in people else None
        if view is not None:
            views[i] = view
            weights[i] = people[i].weigh(sight, view, carrier, i in contested)
    owner = _owners(sight, views, weights)
    cutouts = {}
    for number, (i, view) in enumerate(views.items(), start=1):
        held = owner[view.cut]
        cutouts[i] = Cutout(view.place, without_specks(held == number, _LEAST_PART), boxes[i])
        people[i].settle(sight, view, _without(weights[i].odds, (held != 0) & (held != number), view))
    return cutouts


def learn_people(sight: Sight, boxes: Boxes, people: Mapping[int, Person]) -> None:
    """Let these people learn from their masks, where nobody else's box lies."""
    height_px, width_px = sight.grey.shape
    every = np.array(list(boxes.values()), np.float32).reshape(-1, 4)
    covered, cut = covered_share(every), touches_edge(every, width_px, height_px)
    for row, i in enumerate(boxes):
        person = people.get(i)
        if person is not None and person.view is not None:
            alone = _outside(person.view, np.delete(every, row, axis=0))
            person.learn(sight, _LEARN, bool(covered[row] <= _FREE and not cut[row]), alone)


def _owners(sight: Sight, views: Mapping[int, View], weights: Mapping[int, Weights]) -> np.ndarray:
    """(H, W) place in `views`, from 1, of whom each pixel fits best; 0: the background."""
    best = np.full(sight.grey.shape, -np.inf, np.float32)
    owner = np.zeros(sight.grey.shape, np.int32)
    for number, (i, view) in enumerate(views.items(), start=1):
        claim = view.enlarge(weights[i].claim)
        won = (view.enlarge(weights[i].odds) > 0) & (claim > best[view.cut])
        owner[view.cut][won] = number
        best[view.cut][won] = claim[won]
    return owner


def _contested(boxes: Boxes) -> set[int]:
    """Those whose box, with a margin, touches somebody else's."""
    around = enlarged(np.array(list(boxes.values()), np.float32), (REACH, REACH / 2))
    shared = box_intersection(around, around)
    np.fill_diagonal(shared, 0)
    return {i for i, others in zip(boxes, shared, strict=True) if (others > 0).any()}


def _without(odds: FloatMap, others: BoolMask, view: View) -> FloatMap:
    """The odds where others do not hold the pixel; there they are turned against the person."""
    if others.shape != odds.shape:
        others = cv2.resize(others.astype(np.uint8), view.size, interpolation=cv2.INTER_NEAREST) > 0
    return np.where(others, np.minimum(odds, _OTHERS), odds).astype(np.float32)


def _outside(view: View, boxes: FloatArray) -> BoolMask:
    """(h, w) where no other box lies."""
    alone = np.ones((view.size[1], view.size[0]), bool)
    left, top, right, bottom = view.place
    sx, sy = view.size[0] / (right - left), view.size[1] / (bottom - top)
    for x1, y1, x2, y2 in boxes - np.array([left, top, left, top], np.float32):
        rows = slice(max(0, int(y1 * sy)), max(0, int(np.ceil(y2 * sy))))
        alone[rows, max(0, int(x1 * sx)) : max(0, int(np.ceil(x2 * sx)))] = False
    return alone
