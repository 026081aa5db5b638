"""Who is asked for: the people of a picture, as features of the configured encoder and head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.background.files import read_image
from pipeline.boxes import box_area, clip_boxes
from pipeline.errors import ConfigError, DecodeError
from pipeline.ports import ClipHead, CropEncoder, Detector
from pipeline.search.ranking import Query
from pipeline.tracking.quality import frame_qualities, pixel_window, sharpness
from pipeline.types import FloatArray, Frame, ImageArray, Tracks

MOST_PEOPLE = 8  # of one picture that are looked for, the largest ones
_PERSON_ASPECT = (1.4, 5.0)  # height / width of a picture that may be one person; upright people are about 2 to 3
_FILLS = 0.6  # of the picture's height: somebody so tall is what the picture is of
_LEAST_HEIGHT_PX = 24  # smaller people cannot be told apart
_WHOLE_CONFIDENCE = 1.0  # of a picture that was cut by somebody who saw a person in it


@dataclass(frozen=True, eq=False, slots=True)
class AskedPerson:
    """One person of the picture: box (x1, y1, x2, y2) px, its cut-out (BGR), and what to search with."""

    xyxy: tuple[float, float, float, float]
    picture: ImageArray
    query: Query


def read_picture(path: Path) -> ImageArray:
    """(H, W, 3) uint8 BGR.

    Raises:
        ConfigError: it is not there, or no picture.
    """
    try:
        return np.asarray(read_image(path), np.uint8)
    except OSError as error:
        raise ConfigError(f"--image {path}: {error.strerror or error}") from None
    except DecodeError:
        raise ConfigError(f"--image {path} is not a picture that can be read; a JPEG or PNG is") from None


def looks_like_a_crop(image: ImageArray) -> bool:
    """Whether the picture has a person's aspect: it may be a scene all the same."""
    height_px, width_px = image.shape[:2]
    return bool(_PERSON_ASPECT[0] <= height_px / width_px <= _PERSON_ASPECT[1])


def people_boxes(image: ImageArray, detector: Detector, confidence: float) -> FloatArray:
    """(N, 4) xyxy px of the people to look for, the largest first, at most `MOST_PEOPLE`.

    A picture of a person's aspect is one person as a whole, unless the detector finds people in it of whom none fills
    it: then it is a scene that was held upright.

    Args:
        confidence: least confidence of somebody who is looked for.
    """
    height_px, width_px = image.shape[:2]
    whole = np.array([[0, 0, width_px, height_px]], np.float32)
    found = detector.detect([Frame("asked", "1", 0, 0.0, image)])[0]
    boxes = clip_boxes(found.xyxy[found.confidence >= confidence], width_px, height_px)
    heights = boxes[:, 3] - boxes[:, 1]
    if looks_like_a_crop(image) and (not len(boxes) or heights.max() >= _FILLS * height_px):
        return whole
    boxes = boxes[heights >= _LEAST_HEIGHT_PX]
    order = np.argsort(-box_area(boxes), kind="stable")[:MOST_PEOPLE]
    return np.asarray(boxes[order], np.float32)


def encode_people(image: ImageArray, boxes: FloatArray, encoder: CropEncoder, head: ClipHead) -> list[AskedPerson]:
    """Features of the people in these boxes (N, 4) xyxy px; N may be 0."""
    if not len(boxes):
        return []
    frame = Frame("asked", "1", 0, 0.0, image)
    crops = encoder.encode([frame], [boxes])[0]
    tracks = Tracks(np.arange(len(boxes)), boxes, np.full(len(boxes), _WHOLE_CONFIDENCE, np.float32))
    people = []
    for box, crop, quality in zip(boxes, crops, frame_qualities(frame, tracks), strict=True):
        picture = _cut(image, box)
        judged = replace(quality, sharpness=sharpness(picture))
        fused = head.fuse([replace(crop, quality=judged)])
        query = Query(fused.embedding[None], np.array([judged.score], np.float32))
        x1, y1, x2, y2 = (float(v) for v in box)
        people.append(AskedPerson((x1, y1, x2, y2), picture, query))
    return people


def _cut(image: ImageArray, box: FloatArray) -> ImageArray:
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = pixel_window(box, width_px, height_px)
    return image[y1:y2, x1:x2]


def require_people(people: Sequence[AskedPerson], path: Path) -> None:
    """
    Raises:
        ConfigError: there is nobody to look for.
    """
    if not people:
        raise ConfigError(
            f"--image {path}: nobody was found in it; cut one person out, whole and upright, and ask again"
        )
