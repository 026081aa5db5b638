"""Dresses a cutout: garments with patterns, skin, hair, bags and hats."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.accessories import BodyBox, Canvas, Cover, add_bag, add_hair, add_hat, covered_part
from pipeline.scenes.attire import Attire, Cloth, Pattern
from pipeline.scenes.colours import Lab
from pipeline.scenes.cutouts import Cutout
from pipeline.scenes.drawings import Region
from pipeline.scenes.dyeing import LabImage, dye, to_bgr, to_lab
from pipeline.types import ImageArray

Mask = npt.NDArray[np.bool_]

_PAD = 0.4  # of the cutout's width on either side, for bags and hats
_SHIRT_RED = 32.0  # a*: redder than skin is the shirt under the coats, and keeps its colour
_MARGIN_PX = 4  # room for the gait's warp, as around the cutouts
_LEAST_PX = 40  # of a piece of cloth: less has no colour of its own


@dataclass(frozen=True, eq=False, slots=True)
class Dressed:
    """A cutout in somebody's clothes; fields as of `people.Person`."""

    image: ImageArray
    alpha: ImageArray
    regions: dict[Region, Mask]


def dress(cutout: Cutout, attire: Attire) -> Dressed:
    """The cutout in other clothes, on a wider canvas; rows stay where they are."""
    pad = round(_PAD * cutout.alpha.shape[1])
    lab = to_lab(np.pad(cutout.image, ((0, 0), (pad, pad), (0, 0)), mode="edge"))
    alpha = np.pad(cutout.alpha, ((0, 0), (pad, pad)))
    covers: dict[Region, Cover] = {name: np.pad(cover, ((0, 0), (pad, pad))) for name, cover in cutout.regions.items()}
    body = alpha > 250
    head, torso = BodyBox((covers["hair"] > 0.5) & body), BodyBox((covers["top"] > 0.5) & body)
    legs = BodyBox((covers["trousers"] > 0.5) & body)
    painted = lab.copy()
    _paint_skin(painted, lab, np.where(body, 1 - np.maximum.reduce(list(covers.values())), 0), attire.skin)
    for piece in _trouser_pieces(covers, attire.hem, torso):
        _paint_cloth(painted, lab, (piece, body), attire.trousers, legs)
    _paint_cloth(painted, lab, (_top_piece(covers, attire.hem, torso), body), attire.top, torso)
    _paint_cloth(painted, lab, (covers["shoes"], body), Cloth(attire.shoes), legs)
    _paint_cloth(painted, lab, (covers["hair"], body), Cloth(attire.hair), head)
    canvas = Canvas(to_bgr(painted).astype(np.float32), np.asarray(alpha / 255, np.float32))
    _accessorise(canvas, attire, head, torso)
    regions: dict[Region, Mask] = {name: (cover > 0.5) & body for name, cover in covers.items()}
    return _stretch(canvas, regions, attire.build)


def _accessorise(canvas: Canvas, attire: Attire, head: BodyBox, torso: BodyBox) -> None:
    if attire.long_hair:
        add_hair(canvas, attire.hair, head)
    if attire.hat is not None:
        add_hat(canvas, attire.hat, head)
    if attire.bag is not None:
        add_bag(canvas, attire.bag, torso)


def _paint_skin(painted: LabImage, lab: LabImage, bare: npt.NDArray[np.floating], skin: Lab) -> None:
    """Shift face and hands to another skin, in place; sunglasses and beard stay dark."""
    cover = np.where(lab[:, :, 1] < _SHIRT_RED, bare, 0).astype(np.float32)
    seen = cover > 0.5
    if not seen.any():
        return
    usual = np.median(lab[seen], axis=0)
    lit = np.clip(lab[:, :, 0] / max(float(usual[0]), 1.0), 0, 1)
    painted += (cover * lit)[:, :, None] * (np.array(skin, np.float32) - usual)


def _edge_below(cover: Cover, row: float) -> Cover:
    """The part of a cover below a row."""
    rows = np.arange(len(cover), dtype=np.float32)[:, None]
    return np.asarray(cover * np.clip(rows - row, 0, 1), np.float32)


def _trouser_pieces(covers: dict[Region, Cover], hem: float, torso: BodyBox) -> tuple[Cover, ...]:
    """What is dyed as trousers, each piece of one cloth in the photograph; the coat's tails below the hem too."""
    return covers["trousers"], _edge_below(covers["top"], torso.row(1 + hem))


def _top_piece(covers: dict[Region, Cover], hem: float, torso: BodyBox) -> Cover:
    return np.asarray(covers["top"] - _edge_below(covers["top"], torso.row(1 + hem)), np.float32)


def _paint_cloth(painted: LabImage, lab: LabImage, piece: tuple[Cover, Mask], cloth: Cloth, box: BodyBox) -> None:
    """Dye one piece, (cover, body), in place."""
    part = covered_part(piece[0])
    cover, body, photo = piece[0][part], piece[1][part], lab[part]
    seen = (cover > 0.5) & body
    if seen.sum() < _LEAST_PX:
        return
    dyed = dye(photo, seen, cloth.colour)
    if cloth.pattern != "plain":
        share = pattern_share(cloth.pattern, box, piece[0].shape)[part][:, :, None]
        dyed += share * (dye(photo, seen, cloth.second) - dyed)
    painted[part] += cover[:, :, None] * (dyed - painted[part])


_PERIOD = 0.15  # of a garment's height: stripes stay apart in a crop of 128 px
_SOFT = 0.12  # of a period: about a pixel at the size in a camera's picture


def pattern_share(pattern: Pattern, box: BodyBox, shape: tuple[int, ...]) -> Cover:
    """(H, W) how much of the second colour each pixel of a garment has, 0 to 1."""
    y = (np.arange(shape[0], dtype=np.float32)[:, None] - box.top) / box.height
    x = (np.arange(shape[1], dtype=np.float32)[None, :] - box.left) / box.height  # in heights: squares stay square
    middle = box.width / box.height / 2
    if pattern == "stripes":
        share = _wave(y / _PERIOD) + 0 * x
    elif pattern == "pinstripes":
        share = _wave(x / (0.6 * _PERIOD), share=0.3) + 0 * y
    elif pattern == "checks":
        share = (_wave(x / _PERIOD) + _wave(y / _PERIOD)) / 2
    elif pattern == "halves":
        share = np.clip((y - 0.45) / 0.01, 0, 1) + 0 * x
    elif pattern == "print":
        share = np.clip((0.17 - np.maximum(np.abs(x - middle), np.abs(y - 0.4))) / 0.01, 0, 1)
    elif pattern == "dots":
        u, v = x / _PERIOD, y / _PERIOD
        radius = np.hypot((u + 0.5 * (np.floor(v) % 2)) % 1 - 0.5, v % 1 - 0.5)
        share = np.clip((0.33 - radius) / _SOFT, 0, 1)
    else:
        share = np.zeros(shape[:2])
    return np.asarray(share, np.float32)


def _wave(phase: npt.NDArray[np.floating], share: float = 0.5) -> npt.NDArray[np.floating]:
    """0 and 1 in turn, 1 for `share` of each period, with soft edges."""
    within = np.abs(phase % 1 - 0.5)  # 0 in the middle of the band
    return np.clip((share / 2 - within) / _SOFT + 0.5, 0, 1)


def _stretch(canvas: Canvas, regions: dict[Region, Mask], build: float) -> Dressed:
    """The picture `build` times as wide."""
    kept = _used_columns(canvas.alpha)
    rgba = np.dstack([canvas.image, canvas.alpha * 255])[:, kept]
    height, width = rgba.shape[:2]
    size = (max(round(width * build), 1), height)
    wide = np.clip(np.round(cv2.resize(rgba, size, interpolation=cv2.INTER_LINEAR)), 0, 255).astype(np.uint8)
    masks: dict[Region, Mask] = {
        name: cv2.resize(mask[:, kept].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for name, mask in regions.items()
    }
    return Dressed(np.ascontiguousarray(wide[:, :, :3]), np.ascontiguousarray(wide[:, :, 3]), masks)


def _used_columns(alpha: Cover) -> slice:
    """The columns with anything in them, and as many on the other side: the body stays in the middle."""
    columns, width = np.flatnonzero(alpha.max(axis=0) > 0), alpha.shape[1]
    free = max(min(int(columns[0]), width - 1 - int(columns[-1])) - _MARGIN_PX, 0)
    return slice(free, width - free)
