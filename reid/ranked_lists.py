"""A picture of ranked lists: some queries, each with the nearest of the gallery in green and red frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DecodeError
from pipeline.retrieval import JUNK_ID, QueryScores
from pipeline.types import FloatArray, ImageArray
from reid.datasets.tracklets import ImageTracklet
from reid.tracklet_vectors import read_picture

TOP = 10  # entries of a list

_PICTURE_W, _PICTURE_H = 96, 192  # px, of a crop; others are fitted in
_FRAME = 4  # px
_GAP = 10  # px between cells
_LINE = 15  # px of a line of text
_CAPTION_LINES = 3
_LABEL_W = 84  # px left of the query
_CELL_W, _CELL_H = _PICTURE_W + 2 * _FRAME + _GAP, _PICTURE_H + 2 * _FRAME + _CAPTION_LINES * _LINE + _GAP
_HEADER_H = 34  # px
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (200, 200, 200)  # BGR
_RIGHT, _WRONG, _ASKED = (60, 160, 40), (40, 40, 210), (150, 110, 60)
_TEXT_SCALE = 0.4  # of OpenCV's font: letters about 9 px tall
_MOST_LETTERS = 14  # that fit under a picture


@dataclass(frozen=True, slots=True)
class RankedEntry:
    """One gallery tracklet in the list of a query."""

    tracklet: ImageTracklet
    distance: float
    correct: bool


@dataclass(frozen=True, slots=True)
class RankedList:
    """A query and the nearest of the gallery, junk left out.

    Attributes:
        kind: `worst`, `median` or `best` of the queries by average precision.
        average_precision: of the whole ranking, rectangle definition, 0 to 1.
        matches: how many there are to be found; after the last one every entry is wrong.
    """

    kind: str
    query: ImageTracklet
    average_precision: float
    matches: int
    entries: tuple[RankedEntry, ...]


def choose_queries(scores: QueryScores, count: int) -> list[tuple[str, int]]:
    """`count` queries, a third each with the worst, the median and the best average precision, worst first.

    All of the valid ones when there are no more; ties in order of the queries.
    """
    (valid,) = np.nonzero(scores.valid)
    order = valid[np.argsort(scores.rectangle[valid], kind="stable")]
    each = max(1, count // 3)
    if len(order) <= 3 * each:
        names = [("worst", "median", "best")[min(2, 3 * i // max(1, len(order)))] for i in range(len(order))]
        return list(zip(names, order.tolist(), strict=True))
    middle = (len(order) - each) // 2
    return [
        *(("worst", int(i)) for i in order[:each]),
        *(("median", int(i)) for i in order[middle : middle + each]),
        *(("best", int(i)) for i in order[-each:]),
    ]


def ranked_list(
    kind: str, query: ImageTracklet, average_precision: float, gallery: Sequence[ImageTracklet], distance: FloatArray
) -> RankedList:
    """The nearest `TOP` of the gallery by `distance` (G,); equal distances in gallery order, as they are scored."""
    counted = [place for place, tracklet in enumerate(gallery) if not _is_junk(query, tracklet)]
    nearest = np.argsort(distance[counted], kind="stable")[:TOP]
    entries = [
        RankedEntry(gallery[place], float(distance[place]), gallery[place].person_id == query.person_id)
        for place in (counted[i] for i in nearest)
    ]
    matches = sum(gallery[place].person_id == query.person_id for place in counted)
    return RankedList(kind, query, average_precision, matches, tuple(entries))


def _is_junk(query: ImageTracklet, tracklet: ImageTracklet) -> bool:
    own_camera = tracklet.person_id == query.person_id and tracklet.camera_id == query.camera_id
    return own_camera or tracklet.person_id == JUNK_ID


def draw_ranked_lists(
    lists: Sequence[RankedList], title: str, people: Mapping[int, str], cameras: Mapping[int, str]
) -> ImageArray:
    """(H, W, 3) uint8 BGR: a row for each list; under each entry its distance, camera and person.

    Args:
        people, cameras: names, where they have other names than numbers. No lists give the title alone.
    """
    width = _LABEL_W + (1 + TOP) * _CELL_W + 2 * _GAP
    sheet = np.full((_HEADER_H + len(lists) * _CELL_H + _GAP, width, 3), _PAPER, np.uint8)
    _write(sheet, title, _GAP, 22, _INK, scale=0.5)
    for row, one in enumerate(lists):
        top = _HEADER_H + row * _CELL_H
        query = one.query
        _write(sheet, one.kind, _GAP, top + 20, _INK, scale=0.5)
        _write(sheet, f"AP {one.average_precision:.3f}", _GAP, top + 40, _INK)
        _write(sheet, f"{one.matches} to find", _GAP, top + 58, _INK)
        lines = ["query", _camera(query, cameras), _person(query, people)]
        _draw_cell(sheet, (_LABEL_W, top), query, _ASKED, lines)
        for column, entry in enumerate(one.entries):
            found = entry.tracklet
            lines = [f"{column + 1}: {entry.distance:.3f}", _camera(found, cameras), _person(found, people)]
            left = _LABEL_W + (column + 1) * _CELL_W + _GAP
            _draw_cell(sheet, (left, top), found, _RIGHT if entry.correct else _WRONG, lines)
    return sheet


def _draw_cell(
    sheet: ImageArray, corner: tuple[int, int], tracklet: ImageTracklet, colour: tuple[int, int, int], lines: list[str]
) -> None:
    x, y = corner
    sheet[y : y + _PICTURE_H + 2 * _FRAME, x : x + _PICTURE_W + 2 * _FRAME] = colour
    inner = sheet[y + _FRAME : y + _FRAME + _PICTURE_H, x + _FRAME : x + _FRAME + _PICTURE_W]
    inner[:] = _FAINT
    image = _shown(tracklet.images)
    if image is not None:
        scale = min(_PICTURE_W / image.shape[1], _PICTURE_H / image.shape[0])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        left, top = (_PICTURE_W - size[0]) // 2, (_PICTURE_H - size[1]) // 2
        inner[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for number, line in enumerate(lines, start=1):
        _write(sheet, line[:_MOST_LETTERS], x, y + _PICTURE_H + 2 * _FRAME + number * _LINE - 2, _INK)


def _shown(images: Sequence[Path]) -> ImageArray | None:
    """The middle picture of a tracklet, or the nearest to it that can be read."""
    middle = len(images) // 2
    for place in sorted(range(len(images)), key=lambda i: (abs(i - middle), i)):
        try:
            image = read_picture(images[place])
        except DecodeError:  # gone since it was encoded, or never sampled: the picture does without
            continue
        if image is not None:
            return image
    return None


def _person(tracklet: ImageTracklet, people: Mapping[int, str]) -> str:
    return people.get(tracklet.person_id, f"person {tracklet.person_id}")


def _camera(tracklet: ImageTracklet, cameras: Mapping[int, str]) -> str:
    return cameras.get(tracklet.camera_id, f"camera {tracklet.camera_id}")


def _write(
    sheet: ImageArray, text: str, x: int, y: int, colour: tuple[int, int, int], scale: float = _TEXT_SCALE
) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    cv2.putText(sheet, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
