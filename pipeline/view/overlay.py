"""Draws what the pipeline knows on the picture of one camera, and puts pictures together for a window."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import cv2
import numpy as np

from pipeline.types import IdentityEvent, ImageArray, Tracks
from pipeline.view.canvas import TextPainter
from pipeline.view.colours import Bgr, identity_colour, text_colour
from pipeline.view.wording import clock_text, duration_text, identity_label

BADGE_S = 4.0  # how long "returned after 12 s" stays; long enough to read it in passing
_REFERENCE_HEIGHT_PX = 720.0  # the sizes below are for a picture of this height and scale with it
_LINE_PX = 2.0
_TEXT_PX = 20.0
_CORNER_SHARE = 0.18  # length of the thick corners, of the box's shorter side
_SHIFT = 4  # OpenCV's fixed point: sixteenths of a pixel
_PANEL: Bgr = (24, 20, 18)
_WHITE: Bgr = (255, 255, 255)
_AMBER: Bgr = (60, 190, 255)
_RED: Bgr = (60, 60, 220)
_FAR_PX = 1e5  # drawing calls overflow beyond 2^31 / 16; no picture is that large


@dataclass(slots=True)
class _Trail:
    points: deque[tuple[float, float, float]] = field(default_factory=deque)  # (at_s, x_px, y_px) of the foot point
    identity_id: int = 0


@dataclass(frozen=True, slots=True)
class _Badge:
    from_s: float
    until_s: float
    text: str


class OverlayDrawer:
    """Draws the boxes, labels, trails and states of one camera.

    Args:
        trail_s: length of the trail behind each person; 0 draws none.
        badge_s: how long a returned person wears the badge.
    """

    def __init__(self, camera_id: str, trail_s: float = 2.0, badge_s: float = BADGE_S) -> None:
        self.camera_id = camera_id
        self._trail_s = trail_s
        self._badge_s = badge_s
        self._text = TextPainter()
        self._trails: dict[int, _Trail] = {}
        self._badges: dict[int, _Badge] = {}
        self._epoch = ""
        self._last_s = -math.inf

    def draw(
        self,
        image: ImageArray,
        captured_at_s: float,
        tracks: Tracks,
        identities: Mapping[int, int],
        names: Mapping[int, str] = MappingProxyType({}),
        events: Iterable[IdentityEvent] = (),
        state: str | None = None,
        epoch: str = "",
    ) -> ImageArray:
        """A new picture with everything drawn on it; `image`, (H, W, 3) uint8 BGR, is not touched.

        Args:
            identities: track_id → identity id; 0 or absent: not known yet, drawn in grey.
            names: identity id → name, instead of `#7`.
            events: new ones since the last call (the same ones again do no harm); re-entries into this camera count.
            state: a banner over a dimmed picture, e.g. `OFFLINE`.
            epoch: of the tracks; a new one starts new trails, as does time that runs backwards.
        """
        if epoch != self._epoch or captured_at_s < self._last_s:
            self._trails.clear()
            self._badges.clear()
        self._epoch, self._last_s = epoch, captured_at_s
        self._note_badges(events, captured_at_s)
        self._note_trails(captured_at_s, tracks, identities)
        drawn = image.copy()
        if 0 in drawn.shape:
            return drawn
        if state is not None:
            drawn = self._dimmed(drawn)
        pen = _Pen(drawn.shape[0])
        for trail in self._trails.values():
            _draw_trail(drawn, trail, captured_at_s, self._trail_s, pen)
        for i in _back_to_front(tracks):
            identity_id = identities.get(int(tracks.ids[i]), 0)
            self._draw_person(drawn, tracks.xyxy[i], identity_id, names.get(identity_id), captured_at_s, pen)
        self._draw_corner(drawn, captured_at_s, pen)
        if state is not None:
            self._draw_banner(drawn, state, pen)
        return drawn

    def _note_badges(self, events: Iterable[IdentityEvent], now_s: float) -> None:
        for event in events:
            until_s = event.decided_at_s + self._badge_s
            here = event.key is not None and event.key.camera_id == self.camera_id
            if event.kind == "reentered" and here and until_s >= now_s:
                away = f" after {duration_text(event.absent_s)}" if event.absent_s is not None else ""
                self._badges[event.identity_id] = _Badge(event.at_s, until_s, f"returned{away}")
        for identity_id in [i for i, badge in self._badges.items() if badge.until_s < now_s]:
            del self._badges[identity_id]

    def _note_trails(self, now_s: float, tracks: Tracks, identities: Mapping[int, int]) -> None:
        for track_id, (x1, _, x2, y2) in zip(tracks.ids.tolist(), tracks.xyxy.tolist(), strict=True):
            if math.isfinite(x1 + x2 + y2):
                trail = self._trails.setdefault(track_id, _Trail())
                trail.identity_id = identities.get(track_id, 0)
                trail.points.append((now_s, (x1 + x2) / 2, y2))
        for track_id, trail in list(self._trails.items()):
            while trail.points and trail.points[0][0] < now_s - self._trail_s:
                trail.points.popleft()
            if not trail.points:
                del self._trails[track_id]

    def _draw_person(
        self, image: ImageArray, xyxy: np.ndarray, identity_id: int, name: str | None, now_s: float, pen: "_Pen"
    ) -> None:
        colour = identity_colour(identity_id)
        x1, y1, x2, y2 = (float(v) for v in np.clip(xyxy, -_FAR_PX, _FAR_PX))
        _draw_box(image, (x1, y1, x2, y2), colour, pen)
        label = identity_label(identity_id, name)
        width, height = self._text.chip_size(label, pen.text_px)
        above = y1 - height - pen.line_px
        y = above if above >= 0 else y1 + pen.line_px + 1
        x, y = self._inside(image, x1 - pen.line_px / 2, y, width, height)
        self._text.chip(image, label, (x, y), pen.text_px, (colour, text_colour(colour)), 0.92)
        badge = self._badges.get(identity_id)
        if badge is not None and badge.from_s <= now_s and identity_id > 0:
            size = self._text.chip_size(badge.text, pen.small_px)
            below = y - size[1] - 2 if y - size[1] - 2 >= 0 else y + height + 2
            xy = self._inside(image, x, below, *size)
            self._text.chip(image, badge.text, xy, pen.small_px, (_AMBER, text_colour(_AMBER)), 0.95)

    @staticmethod
    def _inside(image: ImageArray, x: float, y: float, width: int, height: int) -> tuple[int, int]:
        """The left top nearest to (x, y) at which a panel of this size lies in the picture."""
        rows, columns = image.shape[:2]
        return round(max(0.0, min(x, columns - width))), round(max(0.0, min(y, rows - height)))

    def _draw_corner(self, image: ImageArray, now_s: float, pen: "_Pen") -> None:
        text = f"{self.camera_id} · {clock_text(now_s)}"
        gap = round(0.5 * pen.small_px)
        _, height = self._text.chip_size(text, pen.small_px)
        self._text.chip(image, text, (gap, image.shape[0] - height - gap), pen.small_px, (_PANEL, _WHITE), 0.7)

    def _draw_banner(self, image: ImageArray, state: str, pen: "_Pen") -> None:
        size = 2 * pen.text_px
        width, height = self._text.chip_size(state, size)
        xy = ((image.shape[1] - width) // 2, (image.shape[0] - height) // 2)
        self._text.chip(image, state, xy, size, (_RED, _WHITE), 0.92)

    @staticmethod
    def _dimmed(image: ImageArray) -> ImageArray:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return cv2.cvtColor((grey * 0.45).astype(np.uint8), cv2.COLOR_GRAY2BGR)


class _Pen:
    """Sizes in px for a picture of this height: readable at 360 lines, not clumsy at 1080."""

    def __init__(self, height_px: int) -> None:
        scale = height_px / _REFERENCE_HEIGHT_PX
        self.line_px = max(2, round(_LINE_PX * scale))  # a single pixel drowns in compression
        self.edge_px = 1 if height_px < _REFERENCE_HEIGHT_PX else 2  # added to a line's thickness, half on each side
        self.text_px = max(12, round(_TEXT_PX * scale**0.8))  # slower than the picture, or 360 lines have 10 px letters
        self.small_px = max(11, round(0.8 * self.text_px))


def _back_to_front(tracks: Tracks) -> list[int]:
    """Indices of the finite boxes, lowest foot point (nearest person) last, so that it lies on top."""
    finite = np.flatnonzero(np.isfinite(tracks.xyxy).all(axis=1))
    order: list[int] = finite[np.argsort(tracks.xyxy[finite, 3], kind="stable")].tolist()
    return order


def _draw_box(image: ImageArray, xyxy: tuple[float, float, float, float], colour: Bgr, pen: _Pen) -> None:
    """A thin frame with thick corners, edged in black so that it shows on every ground."""
    x1, y1, x2, y2 = xyxy
    arm = _CORNER_SHARE * max(0.0, min(x2 - x1, y2 - y1))
    frame = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    corners = [
        np.array([[x, y + dy * arm], [x, y], [x + dx * arm, y]])
        for x, y, dx, dy in ((x1, y1, 1, 1), (x2, y1, -1, 1), (x2, y2, -1, -1), (x1, y2, 1, -1))
    ]
    thick = pen.line_px + max(1, pen.line_px // 2)
    _polylines(image, [frame], True, (0, 0, 0), pen.line_px + pen.edge_px)
    _polylines(image, corners, False, (0, 0, 0), thick + pen.edge_px)
    _polylines(image, [frame], True, colour, pen.line_px)
    _polylines(image, corners, False, colour, thick)


def _draw_trail(image: ImageArray, trail: _Trail, now_s: float, trail_s: float, pen: _Pen) -> None:
    """Grows from thin (old) to thick (now), edged in black."""
    points = list(trail.points)
    segments = []
    for (_, x1, y1), (at_s, x2, y2) in pairwise(points):
        freshness = 1.0 - (now_s - at_s) / trail_s if trail_s > 0 else 1.0
        ends = np.clip(np.array([[x1, y1], [x2, y2]]), -_FAR_PX, _FAR_PX)
        segments.append((ends, max(1, round((0.4 + 0.9 * freshness) * pen.line_px))))
    colour = identity_colour(trail.identity_id)
    for paint, extra_px in (((0, 0, 0), pen.edge_px), (colour, 0)):
        for ends, thickness_px in segments:
            _polylines(image, [ends], False, paint, thickness_px + extra_px)


def _polylines(image: ImageArray, lines: list[np.ndarray], closed: bool, colour: Bgr, thickness_px: int) -> None:
    fixed = [np.rint(line * (1 << _SHIFT)).astype(np.int32) for line in lines]
    cv2.polylines(image, fixed, closed, colour, thickness_px, cv2.LINE_AA, _SHIFT)


def tile(images: Sequence[ImageArray], width_px: int = 1280, gap_px: int = 4) -> ImageArray:
    """One picture, `width_px` wide, with all of them in a grid as square as can be, each whole and undistorted.

    Every cell has the shape of the first picture; no pictures give a dark 16:9 one.
    """
    pictures = [image for image in images if 0 not in image.shape]
    if not pictures:
        return np.full((width_px * 9 // 16, width_px, 3), _PANEL, np.uint8)
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    cell_w = max(1, (width_px - gap_px * (columns - 1)) // columns)
    cell_h = max(1, round(cell_w * pictures[0].shape[0] / pictures[0].shape[1]))
    mosaic = np.full((rows * cell_h + gap_px * (rows - 1), width_px, 3), _PANEL, np.uint8)
    for i, picture in enumerate(pictures):
        left, top = (i % columns) * (cell_w + gap_px), (i // columns) * (cell_h + gap_px)
        mosaic[top : top + cell_h, left : left + cell_w] = fit(picture, cell_w, cell_h)
    return mosaic


def fit(image: ImageArray, width_px: int, height_px: int) -> ImageArray:
    """The whole picture, undistorted, in the middle of a dark one of this size; the same one when it fits already."""
    height, width = image.shape[:2]
    if (width, height) == (width_px, height_px):
        return image
    scale = min(width_px / width, height_px / height)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.full((height_px, width_px, 3), _PANEL, np.uint8)
    left, top = (width_px - new_w) // 2, (height_px - new_h) // 2
    canvas[top : top + new_h, left : left + new_w] = cv2.resize(image, (new_w, new_h), interpolation=method)
    return canvas
