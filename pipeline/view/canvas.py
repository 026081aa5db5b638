"""Anti-aliased text and rounded panels on BGR pictures, clipped to the picture.

OpenCV's own fonts hold ASCII only, and names of people do not; so glyphs come from Pillow and the DejaVu font that
matplotlib installs (found by path, matplotlib itself is not imported).
"""

from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.types import ImageArray
from pipeline.view.colours import Bgr

_CACHED_MASKS = 256  # texts; labels repeat from frame to frame, the clock's text does not
_MAX_TEXT = 120  # characters; a longer text fits no picture


def blend(image: ImageArray, mask: ImageArray, x: int, y: int, colour: Bgr, opacity: float = 1.0) -> None:
    """Paint `colour` where `mask` (h, w) uint8 says, with its left top at (x, y); writes to `image`."""
    height, width = image.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], height), min(x + mask.shape[1], width)
    if top >= bottom or left >= right:
        return
    part = mask[top - y : bottom - y, left - x : right - x, None].astype(np.float32) * (opacity / 255.0)
    region = image[top:bottom, left:right]
    region[:] = np.rint(region + (np.array(colour, np.float32) - region) * part).astype(np.uint8)


def rounded_mask(width_px: int, height_px: int, radius_px: int) -> ImageArray:
    """(h, w) uint8 mask of a panel with round corners; at least one pixel on a side."""
    width_px, height_px = max(width_px, 1), max(height_px, 1)
    radius_px = max(0, min(radius_px, (min(width_px, height_px) - 1) // 2))
    mask = np.zeros((height_px, width_px), np.uint8)
    if radius_px == 0:
        mask[:] = 255
        return mask
    right, low = width_px - 1 - radius_px, height_px - 1 - radius_px
    for centre in ((radius_px, radius_px), (right, radius_px), (radius_px, low), (right, low)):
        cv2.circle(mask, centre, radius_px, 255, -1, cv2.LINE_AA)
    mask[:, radius_px : right + 1] = 255
    mask[radius_px : low + 1] = 255
    return mask


class TextPainter:
    """Draws single lines of text; keeps the glyph masks that it used last."""

    def __init__(self) -> None:
        self._font_file = _font_file()
        self._fonts: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}
        self._masks: OrderedDict[tuple[str, int], ImageArray] = OrderedDict()

    def mask(self, text: str, size_px: int) -> ImageArray:
        """(h, w) uint8 coverage of the text; h depends on the size only, so that lines of one size align."""
        key = (" ".join(text.split())[:_MAX_TEXT], max(size_px, 6))  # 6 px: below, no letter can be read
        found = self._masks.get(key)
        if found is None:
            found = self._masks[key] = self._render(*key)
            if len(self._masks) > _CACHED_MASKS:
                self._masks.popitem(last=False)
        else:
            self._masks.move_to_end(key)
        return found

    def chip(
        self, image: ImageArray, text: str, xy: tuple[int, int], size_px: int, colours: tuple[Bgr, Bgr], opacity: float
    ) -> None:
        """Text on a panel, its left top at `xy`; `colours` are those of the panel and of the text."""
        glyphs = self.mask(text, size_px)
        width, height = self.chip_size(text, size_px)
        blend(image, rounded_mask(width, height, size_px // 3), *xy, colours[0], opacity)
        blend(
            image, glyphs, xy[0] + (width - glyphs.shape[1]) // 2, xy[1] + (height - glyphs.shape[0]) // 2, colours[1]
        )

    def chip_size(self, text: str, size_px: int) -> tuple[int, int]:
        """(width, height) px of the panel that `chip` draws."""
        height, width = self.mask(text, size_px).shape
        return width + max(4, round(0.7 * size_px)), height + max(2, round(0.16 * size_px))

    def _font(self, size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        if size_px not in self._fonts:
            if self._font_file is None:
                self._fonts[size_px] = ImageFont.load_default(size_px)
            else:
                self._fonts[size_px] = ImageFont.truetype(str(self._font_file), size_px)
        return self._fonts[size_px]

    def _render(self, text: str, size_px: int) -> ImageArray:
        font = self._font(size_px)
        width = max(1, round(font.getlength(text)))
        height = round(1.25 * size_px)  # DejaVu's ascent and descent are 0.93 and 0.24 of its size
        canvas = Image.new("L", (width, height), 0)
        ImageDraw.Draw(canvas).text((0, height // 2 + round(0.36 * size_px)), text, fill=255, font=font, anchor="ls")
        return np.asarray(canvas).copy()


def _font_file() -> Path | None:
    """The bold DejaVu Sans of matplotlib, or None: then Pillow's built-in font serves (Latin letters only)."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return file if file.is_file() else None
