"""Two whole people cut out of a picture that the ultralytics package carries, along the polygons of `drawings`.

The picture is `ultralytics/assets/bus.jpg` (810 × 1080 px). It is read from the installed package's folder; the
package itself is not imported, so nothing here loads PyTorch.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DecodeError, SourceUnavailable
from pipeline.scenes.drawings import DRAWINGS, PICTURE_SHAPE, Drawing, Polygon, Region
from pipeline.types import ImageArray

_MARGIN_PX = 4  # around the outline, so that soft edges and the gait's warp have room
_SUBPIXEL_BITS = 4  # polygon corners are drawn on a grid of 1/16 px
_EDGE_BLUR_PX = 0.8  # softens the cut, about the lens's own blur at the outline
_INPAINT_RADIUS_PX = 4.0
_BLACK = (40.0, 90.0)  # grey values: surely the black coat, surely skin


@dataclass(frozen=True, eq=False, slots=True)
class Cutout:
    """One person without its background.

    Attributes:
        image: (H, W, 3) uint8 BGR. alpha: (H, W) uint8, 255 = the person.
        regions: (H, W) float32 coverage 0 to 1 of each recolourable region.
        hip_row: first row of the legs. stride: as in the drawing.
    """

    name: str
    image: ImageArray
    alpha: ImageArray
    regions: Mapping[Region, npt.NDArray[np.float32]]
    hip_row: int
    stride: tuple[float, float]


def picture_path() -> Path:
    """Where the installed ultralytics package keeps bus.jpg.

    Raises:
        SourceUnavailable: the package or the picture is absent.
    """
    spec = importlib.util.find_spec("ultralytics")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "assets" / "bus.jpg"
        if path.is_file():
            return path
    raise SourceUnavailable("generated scenes need assets/bus.jpg of the ultralytics package: pip install ultralytics")


def read_cutouts(path: Path | None = None) -> tuple[Cutout, ...]:
    """Both people, cut out of bus.jpg.

    Args:
        path: the picture; the installed ultralytics package's when None.

    Raises:
        SourceUnavailable: the picture is absent. DecodeError: it is not the picture that was drawn over.
    """
    path = picture_path() if path is None else path
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != PICTURE_SHAPE:
        got = "no picture" if picture is None else f"{picture.shape[1]} × {picture.shape[0]} px"
        raise DecodeError(f"{path}: expected bus.jpg of 810 × 1080 px, got {got}; reinstall ultralytics")
    return tuple(_cut(np.asarray(picture, np.uint8), drawing) for drawing in DRAWINGS)


def _cut(picture: ImageArray, drawing: Drawing) -> Cutout:
    corners = np.array(drawing.outline)
    left, top = (np.floor(corners.min(axis=0)) - _MARGIN_PX).astype(int)
    right, bottom = (np.ceil(corners.max(axis=0)) + _MARGIN_PX).astype(int)
    image = picture[top:bottom, left:right].copy()
    shape = (bottom - top, right - left)

    def coverage(polygons: tuple[Polygon, ...]) -> npt.NDArray[np.float32]:
        return _coverage(polygons, shape, (float(left), float(top)))

    body = coverage((drawing.outline,))
    hidden = coverage(drawing.patches)
    if drawing.patches:
        image = _paint_over(image, hidden > 0, body > 0)
    alpha = cv2.GaussianBlur(body, (0, 0), _EDGE_BLUR_PX)
    free = 1 - coverage(drawing.kept) * _not_black(image)
    # a region reaches past the outline, so that a recoloured edge has no fringe of the old colour
    regions = {name: coverage(polygons) * free for name, polygons in drawing.regions.items()}
    return Cutout(
        name=drawing.name,
        image=image,
        alpha=np.round(alpha * 255).astype(np.uint8),
        regions=regions,
        hip_row=round(drawing.hip_y - top),
        stride=drawing.stride,
    )


def _coverage(
    polygons: tuple[Polygon, ...], shape: tuple[int, int], origin: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """(H, W) share of each pixel that lies in any of the polygons."""
    canvas: ImageArray = np.zeros(shape, np.uint8)
    for polygon in polygons:
        # corners count from the pixels' edges, OpenCV's from their middles
        corners = (np.array(polygon) - origin - 0.5) * (1 << _SUBPIXEL_BITS)
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
    return np.asarray(canvas / 255, np.float32)


def _not_black(image: ImageArray) -> npt.NDArray[np.float32]:
    """(H, W) 0 for black to 1 for anything lighter: tells skin from the black cloth between the fingers."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return np.asarray(np.clip((grey - _BLACK[0]) / (_BLACK[1] - _BLACK[0]), 0, 1), np.float32)


def _paint_over(image: ImageArray, hidden: npt.NDArray[np.bool_], body: npt.NDArray[np.bool_]) -> ImageArray:
    """`image` with the hidden part of the body continued from the body around it, not from the background."""
    unknown = np.logical_or(hidden, ~body).astype(np.uint8)
    return np.asarray(cv2.inpaint(image, unknown, _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)
