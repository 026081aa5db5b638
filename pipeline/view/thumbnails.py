"""Small pictures for pages that must stand alone: JPEG data URIs, with the contours of masks where there are any."""

import base64
import logging
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from pipeline.types import ImageArray
from pipeline.view.canvas import TextPainter
from pipeline.view.colours import identity_colour, text_colour
from pipeline.view.wording import identity_label

_log = logging.getLogger(__name__)

_QUALITY = 80  # JPEG; thumbnails show no blocks at it
_MAX_PIXELS = 100_000_000  # a larger file is no camera picture, and decoding it would take gigabytes


def read_image(file: Path, grey: bool = False) -> ImageArray | None:
    """(H, W, 3) BGR, or (H, W) as stored when `grey`; None when the file is no picture or far too large."""
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        _log.warning("cannot read %s: %s", file, error.strerror)
        return None
    if data.size == 0:
        return None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return image if image is not None and image.shape[0] * image.shape[1] <= _MAX_PIXELS else None


def data_uri(image: ImageArray, width_px: int, height_px: int) -> str:
    """The picture as a JPEG data URI, shrunk (never enlarged) until it fits this size."""
    scale = min(1.0, width_px / image.shape[1], height_px / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if scale < 1.0:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def draw_masks(image: ImageArray, label_map: ImageArray, subjects: Iterable[tuple[int, int]]) -> ImageArray:
    """A copy of the picture with tint, contour and id of every (identity id, value) of the label map, (H, W) uint8.

    A label map of another size is ignored; so is a value that does not occur in it.
    """
    drawn = image.copy()
    if label_map.shape[:2] != image.shape[:2]:
        return drawn
    text = TextPainter()
    line_px = max(2, round(image.shape[0] / 240))
    size_px = max(12, image.shape[0] // 22)
    for identity_id, value in subjects:
        mask = (label_map == value).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if value <= 0 or not contours:
            continue
        colour = identity_colour(identity_id)
        region = mask.astype(bool)
        drawn[region] = (0.7 * drawn[region] + 0.3 * np.array(colour)).astype(np.uint8)
        cv2.drawContours(drawn, contours, -1, (0, 0, 0), line_px + 2, cv2.LINE_AA)
        cv2.drawContours(drawn, contours, -1, colour, line_px, cv2.LINE_AA)
        x, y, _, _ = cv2.boundingRect(mask)
        label = identity_label(identity_id)
        top = max(0, y - text.chip_size(label, size_px)[1])
        text.chip(drawn, label, (x, top), size_px, (colour, text_colour(colour)), 0.92)
    return drawn
