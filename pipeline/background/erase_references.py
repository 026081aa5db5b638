"""Takes one person out of reference frames, so that the other people's references stay usable."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.background.background_model import Plate, PlateSource, enlarged
from pipeline.background.erasure import Erasure, dump_like, joined
from pipeline.background.files import encode_png, inside, locked, read_image
from pipeline.background.retention import read_lines, read_object
from pipeline.boxes import box_iou, clip_boxes
from pipeline.errors import DecodeError
from pipeline.types import FloatArray, ImageArray

BLOCKS = 6  # across a pixelated box: faces and prints on clothes are gone, the place stays visible
_SAME_IOU = 0.7  # a nameless subject whose box lies on one of the person's rows is taken for the person
_Line = tuple[bytes, dict[str, Any]]


def pixelate(image: ImageArray, boxes: FloatArray, keep: npt.NDArray[np.bool_] | None = None) -> None:
    """Turn boxes (N, 4) xyxy px of `image` into coarse blocks, in place, except the pixels in `keep` (H, W)."""
    height_px, width_px = image.shape[:2]
    for x1, y1, x2, y2 in _whole_px(clip_boxes(boxes, width_px, height_px)):
        part = image[y1:y2, x1:x2]
        if part.size:
            blocks = cv2.resize(part, _coarse(part.shape), interpolation=cv2.INTER_AREA)
            coarse = cv2.resize(blocks, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
            hide = np.ones(part.shape[:2], bool) if keep is None else ~keep[y1:y2, x1:x2]
            part[hide] = coarse[hide]


def _coarse(shape: tuple[int, ...]) -> tuple[int, int]:
    block = max(1, min(shape[:2]) // BLOCKS, max(shape[:2]) // (2 * BLOCKS))
    return max(1, shape[1] // block), max(1, shape[0] // block)


def _whole_px(boxes: FloatArray) -> npt.NDArray[np.int64]:
    return np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(np.int64)


def erase_references(work: Erasure, plate_of: PlateSource, rows: dict[str, FloatArray]) -> None:
    """Fill the person's place from the clean plate (pixelated where it is unknown) and clear their mask value.

    A frame that shows nobody else by name is removed with its lines. Other people's mask pixels are not touched.

    Args:
        rows: camera → the person's boxes (N, 4) xyxy px; a nameless subject on one of them is the person, seen before
            anybody knew.
    """
    path = work.out_dir / "references" / "references.jsonl"
    if not path.exists():
        return
    with locked(path):
        before = read_lines(path)
        images: dict[str, list[_Line]] = defaultdict(list)
        for line in before:
            value = read_object(line)
            if value is not None and isinstance(value.get("image"), str):
                images[value["image"]].append((line, value))
        new: dict[bytes, bytes | None] = {}
        for lines in images.values():
            new |= _erase_frame(work, lines, plate_of, rows)
        after = [line for line in (new.get(old, old) for old in before) if line is not None]
        if after != before:
            work.write(path, joined(after))
            work.counts["reference_lines"] += sum(1 for old, line in new.items() if line != old)


def _erase_frame(
    work: Erasure, lines: list[_Line], plate_of: PlateSource, rows: dict[str, FloatArray]
) -> dict[bytes, bytes | None]:
    """Erase the person from one frame; for each of its lines what becomes of it (None: it goes)."""
    subjects = [s for _, value in lines for s in _subjects(value)]
    head = lines[0][1]
    theirs = rows.get(str(head.get("camera_id")), np.zeros((0, 4), np.float32))
    mine = {int(s["value"]) for s in subjects if _is_person(s, work.identity_ids, theirs)}
    named = {int(s["value"]) for s in subjects if s["identity_id"] and int(s["value"]) not in mine}
    if not mine and not any(v.get("identity_id") in work.identity_ids for _, v in lines):
        return {}
    boxes = np.array([s["xyxy"] for s in subjects if int(s["value"]) in mine], np.float32).reshape(-1, 4)
    if not named or not _fill(work, head, mine, boxes, plate_of):
        _remove_pictures(work, head)
        return {line: None for line, _ in lines}
    work.counts["references_changed"] += 1
    return {line: dump_like(_without(value, mine, work.identity_ids), line) for line, value in lines}


def _subjects(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The subjects of one line that can be read."""
    found = value.get("subjects")
    keys = {"identity_id", "value", "xyxy"}
    return [s for s in found if isinstance(s, dict) and keys <= s.keys()] if isinstance(found, list) else []


def _is_person(subject: dict[str, Any], person: frozenset[int], theirs: FloatArray) -> bool:
    if subject["identity_id"]:
        return subject["identity_id"] in person
    box = np.array([subject["xyxy"]], np.float32).reshape(-1, 4)
    return bool((box_iou(box, theirs) >= _SAME_IOU).any())


def _without(value: dict[str, Any], mine: set[int], person: frozenset[int]) -> dict[str, Any]:
    subjects = [s for s in _subjects(value) if int(s["value"]) not in mine]
    taken_for = value.get("identity_id")
    return value | {"subjects": subjects, "identity_id": 0 if taken_for in person else taken_for}


def _fill(work: Erasure, head: dict[str, Any], mine: set[int], boxes: FloatArray, plate_of: PlateSource) -> bool:
    """Paint the person out of picture and label map; False when either cannot be read (they then go)."""
    try:
        image_path, mask_path = (inside(work.out_dir, str(head.get(k))) for k in ("image", "mask"))
        image, labels = read_image(image_path), read_image(mask_path, grey=True)
    except (DecodeError, OSError, ValueError):
        return False
    if labels.shape != image.shape[:2]:
        return False
    of_person = np.isin(labels, sorted(mine))
    others = (labels > 0) & ~of_person
    place = of_person.copy()
    grown = enlarged(boxes)
    for x1, y1, x2, y2 in _whole_px(clip_boxes(grown, labels.shape[1], labels.shape[0])):
        place[y1:y2, x1:x2] = True
    _paint_out(image, place & ~others, grown, plate_of(str(head.get("camera_id"))))
    labels[of_person] = 0
    work.write(image_path, encode_png(image))  # the picture first: half done, it shows less, not more
    work.write(mask_path, encode_png(labels))
    return True


def _paint_out(image: ImageArray, place: npt.NDArray[np.bool_], boxes: FloatArray, plate: Plate | None) -> None:
    hidden = place.copy()
    if plate is not None:
        plate = plate.scaled_to(image.shape[1], image.shape[0])
        known = place & plate.seen
        image[known] = plate.image[known]
        hidden &= ~known
    if hidden.any():
        ys, xs = np.nonzero(hidden)
        around = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        pixelate(image, np.concatenate([boxes, around]), keep=~hidden)


def _remove_pictures(work: Erasure, head: dict[str, Any]) -> None:
    for path in _pictures(work.out_dir, head):
        work.remove(path, "reference_files")


def _pictures(out_dir: Path, head: dict[str, Any]) -> Iterable[Path]:
    for key in ("image", "mask"):
        try:
            yield inside(out_dir, str(head.get(key)))
        except ValueError:
            continue
