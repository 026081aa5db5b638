"""Pictures of the worst mistakes: the frame around the boxes, what the annotation says and what the result said."""

import json
import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from pipeline.errors import OutputError, SourceError
from pipeline.scoring.mistakes import MarkedBox, Mistake, View
from pipeline.types import Frame, ImageArray
from pipeline.view.canvas import TextPainter
from pipeline.view.colours import UNKNOWN_BGR, Bgr, identity_colour, text_colour

_log = logging.getLogger(__name__)

FramesOf: TypeAlias = Callable[[str], Iterator[Frame]]

MAX_WIDTH_PX = 640
_MAX_HEIGHT_PX = 480
_ASPECT = 4 / 3  # width / height of every picture, where the frame allows it: they tile on a page
_CONTEXT = 0.6  # of the boxes' size, on each side: enough to know the place again
_LEAST_CROP_PX = 160  # width; a smaller one shows more pixels than place
_LARGEST_SCALE = 3.0  # more shows nothing new
_TEXT_PX = 23  # pages show the pictures at less than half their size
_LINE_PX = 3
_DASH_PX = 12
_TRUTH_BGR: Bgr = (110, 230, 90)  # the dashes tell it from identities' colours, also to whom green is like red
_PANEL_BGR: Bgr = (24, 20, 18)  # behind the annotation's labels: no identity is that dark
_JPEG_QUALITY = 85
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Job:
    """One picture to write: the view and the file's name."""

    view: View
    name: str


def write_mistakes(mistakes: Sequence[Mistake], out_dir: Path) -> Path:
    """Write `mistakes.json` whole, also for no mistakes; an older one is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps({"mistakes": [asdict(m) for m in mistakes]}, indent=1, ensure_ascii=False, allow_nan=False)
    _write(out_dir / "mistakes.json", (text + "\n").encode())
    return out_dir / "mistakes.json"


def draw_mistakes(mistakes: Sequence[Mistake], frames_of: FramesOf, out_dir: Path) -> list[Path]:
    """Write `mistakes.json` and `mistakes/<n>.jpg`, `<n>b.jpg` for a second view; n is the place in the list, from 0.

    Every camera is read once, up to the last frame that is needed, and one frame is held at a time. A frame that
    does not come (a source that broke off, a number beyond its end) has no picture.

    Args:
        frames_of: camera → its frames from the beginning, in order; asked only for cameras of the mistakes.

    Returns:
        The pictures written, in no special order.

    Raises:
        OutputError: a file cannot be written.
    """
    write_mistakes(mistakes, out_dir)
    folder = out_dir / "mistakes"
    for old in sorted(folder.glob("*.jpg")):
        old.unlink()
    jobs: dict[str, dict[int, list[_Job]]] = defaultdict(lambda: defaultdict(list))
    for place, mistake in enumerate(mistakes):
        for view, letter in zip(mistake.views, ("", "b"), strict=False):
            jobs[view.camera_id][view.frame].append(_Job(view, f"{place}{letter}.jpg"))
    if jobs:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {folder}: {error.strerror}; check the folder") from None
    painter = TextPainter()
    written: list[Path] = []
    for camera_id in sorted(jobs):
        written += _draw_camera(camera_id, jobs[camera_id], frames_of, folder, painter)
    return written


def draw_view(image: ImageArray, view: View, painter: TextPainter | None = None) -> ImageArray:
    """A new picture: the part of `image`, (H, W, 3) uint8 BGR, around the view's boxes, with them drawn on it.

    At most 640 × 480 px. Boxes that are not finite are left out; without any the whole frame is shown.
    """
    boxes = [b for b in view.boxes if all(map(math.isfinite, b.xywh))]
    left, top, right, bottom = _crop(boxes, image.shape[1], image.shape[0])
    scale = min(_LARGEST_SCALE, MAX_WIDTH_PX / (right - left), _MAX_HEIGHT_PX / (bottom - top))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    drawn: ImageArray = cv2.resize(image[top:bottom, left:right], size, interpolation=method)
    placed = [(b, _placed(b.xywh, (left, top), scale)) for b in sorted(boxes, key=lambda b: b.is_truth)]
    for box, xyxy in placed:  # the annotation last: between its dashes a result of the same place shows
        _draw_box(drawn, xyxy, box)
    taken: list[tuple[int, int, int, int]] = []
    painter = painter or TextPainter()
    for box, xyxy in placed:
        taken.append(_draw_label(drawn, xyxy, box, painter, taken))
    return drawn


def _draw_camera(
    camera_id: str, jobs: Mapping[int, list[_Job]], frames_of: FramesOf, folder: Path, painter: TextPainter
) -> list[Path]:
    written: list[Path] = []
    last = max(jobs)
    frames = frames_of(camera_id)
    try:
        for frame in frames:
            for job in jobs.get(frame.index + 1, ()):
                written.append(folder / job.name)
                _write(written[-1], _jpeg(draw_view(frame.image, job.view, painter)))
            if frame.index + 1 >= last:
                break
    except SourceError as error:
        _log.warning("camera %s: no pictures of some mistakes: %s", camera_id, error)
    finally:
        close = getattr(frames, "close", None)  # a generator lets go of its file here and not some time later
        if close is not None:
            close()
    return written


def _crop(boxes: Sequence[MarkedBox], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom px of what to show, inside the picture, never empty; all of it without boxes in it."""
    inside = [_clipped(b.xywh, width, height) for b in boxes]
    shown = [b for b in inside if b[2] > b[0] and b[3] > b[1]]
    if not shown:
        return 0, 0, width, height
    x1, y1 = min(b[0] for b in shown), min(b[1] for b in shown)
    x2, y2 = max(b[2] for b in shown), max(b[3] for b in shown)
    side = max(x2 - x1, y2 - y1)
    wanted_w = max((x2 - x1) + _CONTEXT * side, ((y2 - y1) + _CONTEXT * side) * _ASPECT, _LEAST_CROP_PX)
    crop_w = min(wanted_w, float(width))
    crop_h = min(max(wanted_w / _ASPECT, 1.0), float(height))
    left = min(max((x1 + x2 - crop_w) / 2, 0.0), width - crop_w)
    top = min(max((y1 + y2 - crop_h) / 2, 0.0), height - crop_h)
    x, y = math.floor(left), math.floor(top)
    return x, y, min(width, max(x + 1, math.ceil(left + crop_w))), min(height, max(y + 1, math.ceil(top + crop_h)))


def _clipped(xywh: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = xywh
    return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))


def _placed(xywh: tuple[float, float, float, float], origin: tuple[int, int], scale: float) -> list[int]:
    """xyxy px on the drawn picture; far outside is brought near, or drawing would overflow."""
    x, y, w, h = xywh
    corners = np.array([x - origin[0], y - origin[1], x + w - origin[0], y + h - origin[1]]) * scale
    return [int(v) for v in np.rint(np.clip(corners, -10 * MAX_WIDTH_PX, 10 * MAX_WIDTH_PX))]


def _colour(box: MarkedBox) -> Bgr:
    """The annotation's own colour, or the identity's whose number the label holds."""
    if box.is_truth:
        return _TRUTH_BGR
    found = _NUMBER.search(box.label)
    return identity_colour(int(found[0])) if found else UNKNOWN_BGR


def _draw_box(image: ImageArray, xyxy: Sequence[int], box: MarkedBox) -> None:
    x1, y1, x2, y2 = xyxy
    colour = _colour(box)
    if not box.is_truth:
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), _LINE_PX + 2, cv2.LINE_AA)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, _LINE_PX, cv2.LINE_AA)
        return
    for (ax, ay), (bx, by) in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
        length = math.hypot(bx - ax, by - ay)
        for i in range(0, math.ceil(length / _DASH_PX), 2):
            t, u = i * _DASH_PX / max(length, 1.0), min(1.0, (i + 1) * _DASH_PX / max(length, 1.0))
            start = (round(ax + t * (bx - ax)), round(ay + t * (by - ay)))
            end = (round(ax + u * (bx - ax)), round(ay + u * (by - ay)))
            cv2.line(image, start, end, (0, 0, 0), _LINE_PX + 2, cv2.LINE_AA)
            cv2.line(image, start, end, colour, _LINE_PX, cv2.LINE_AA)


def _draw_label(
    image: ImageArray,
    xyxy: Sequence[int],
    box: MarkedBox,
    painter: TextPainter,
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """The result's label above its box, the annotation's below, both inside the picture and off each other."""
    width, height = painter.chip_size(box.label, _TEXT_PX)
    x = max(0, min(xyxy[0] - 1, image.shape[1] - width))
    wanted = [xyxy[3] + 2, xyxy[1] - height - 2] if box.is_truth else [xyxy[1] - height - 2, xyxy[3] + 2]
    wanted += [xyxy[1] + 2, xyxy[3] - height - 2, xyxy[1] + 2 + height, xyxy[3] - 2 * height - 2]
    places = [(x, max(0, min(y, image.shape[0] - height)), width, height) for y in wanted]
    place = next((p for p in places if not any(_overlap(p, t) for t in taken)), places[0])
    colour = _colour(box)
    paint = (_PANEL_BGR, colour) if box.is_truth else (colour, text_colour(colour))
    painter.chip(image, box.label, place[:2], _TEXT_PX, paint, 0.92)
    return place


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _jpeg(image: ImageArray) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; free some space or check the folder") from None
