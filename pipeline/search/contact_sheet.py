"""Results as one picture: for each question whom was asked for, then a row of pictures for each person."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.background.files import encode_png, write_bytes
from pipeline.search.results import Card, Section
from pipeline.types import ImageArray
from pipeline.view.canvas import TextPainter, blend
from pipeline.view.colours import Bgr, identity_colour, text_colour

_SHEET_W = 1120  # px
_MARGIN, _GAP = 20, 10
_CELL_W, _CELL_H = 92, 184  # a picture; others are fitted in
_CAPTION_PX, _TEXT_PX, _HEADING_PX = 11, 14, 18  # letters
_LABEL_W = 220  # left of a person's pictures
_LETTERS, _LINE = 26, 20  # that fit there; px of a line
_PAPER, _INK, _SOFT, _EDGE = (255, 255, 255), (48, 35, 28), (133, 112, 102), (238, 231, 227)  # BGR


def write_sheet(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the contact sheet as PNG.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(path, encode_png(draw_sheet(title, sections)))


def draw_sheet(title: str, sections: Sequence[Section]) -> ImageArray:
    """(H, W, 3) uint8 BGR: for each section whom was asked for, then a row of pictures for each person."""
    painter = _Painter()
    strips = [painter.line(title, _HEADING_PX, _INK)]
    for section in sections:
        strips.append(painter.heading(section))
        strips += [painter.person(number, card) for number, card in enumerate(section.cards, start=1)]
    strips.append(np.full((_MARGIN, _SHEET_W, 3), _PAPER, np.uint8))
    return np.concatenate(strips)


class _Painter:
    """Draws the strips of a contact sheet, each as wide as the sheet."""

    def __init__(self) -> None:
        self._text = TextPainter()

    def line(self, text: str, size_px: int, colour: Bgr) -> ImageArray:
        strip = self._strip(2 * size_px + _GAP)
        self._write(strip, text, (_MARGIN, size_px // 2 + _GAP // 2), size_px, colour)
        return strip

    def heading(self, section: Section) -> ImageArray:
        if section.picture is None:
            strip = self._strip(4 * _HEADING_PX)
            left = _MARGIN
        else:
            strip = self._strip(_CELL_H + 2 * _GAP)
            _fit(strip, section.picture, _MARGIN, _GAP)
            left = _MARGIN + _CELL_W + 2 * _GAP
        strip[0] = _EDGE
        self._write(strip, section.heading, (left, _GAP), _HEADING_PX, _INK)
        self._write(strip, section.remark, (left, _GAP + 2 * _HEADING_PX), _TEXT_PX, _SOFT)
        return strip

    def person(self, number: int, card: Card) -> ImageArray:
        lines = self._lines(number, card)
        text_h = _GAP + 34 + len(lines) * _LINE
        strip = self._strip(max(text_h, _CELL_H + 2 * _GAP + 2 * _CAPTION_PX if card.pictures else 0))
        strip[0, _MARGIN : _SHEET_W - _MARGIN] = _EDGE
        colour = identity_colour(card.identity_id)
        label = card.label if card.identity_id else "no identity"
        self._text.chip(strip, label, (_MARGIN, _GAP), _TEXT_PX, (colour, text_colour(colour)), 1.0)
        for row, text in enumerate(lines):
            self._write(strip, text, (_MARGIN, _GAP + 30 + row * _LINE), _TEXT_PX - 1, _SOFT)
        left = _MARGIN + _LABEL_W
        for image, caption in card.pictures:
            if left + _CELL_W > _SHEET_W - _MARGIN:
                break
            _fit(strip, image, left, _GAP)
            self._write(strip, caption[:18], (left, _GAP + _CELL_H + 3), _CAPTION_PX, _SOFT)
            left += _CELL_W + _GAP
        return strip

    @staticmethod
    def _lines(number: int, card: Card) -> list[str]:
        lines = [f"{number}. distance {card.distance:.3f}"] if card.distance is not None else []
        lines += _wrapped(card.note, _LETTERS)
        cameras = sorted({place.camera_id for place in card.places})
        lines += _wrapped(f"{len(card.places) + card.more}× in {', '.join(cameras)}", _LETTERS)
        return lines

    def _write(self, strip: ImageArray, text: str, xy: tuple[int, int], size_px: int, colour: Bgr) -> None:
        blend(strip, self._text.mask(text, size_px), *xy, colour)

    def _strip(self, height_px: int) -> ImageArray:
        return np.full((height_px, _SHEET_W, 3), _PAPER, np.uint8)


def _wrapped(text: str, most: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fit(sheet: ImageArray, image: ImageArray, x: int, y: int) -> None:
    """Paint a picture into the cell at (x, y), as large as it fits; writes to `sheet`."""
    scale = min(_CELL_W / image.shape[1], _CELL_H / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    sheet[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=how)
