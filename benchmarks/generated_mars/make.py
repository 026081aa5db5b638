"""Writes a data set in the layout of MARS: generated people before cameras that colour and hide them differently.

    python benchmarks/generated_mars/make.py DIR [--people 96] [--cameras 5] [--seed 1] [--difficulty TEXT]

The first half of the people is the training part, the other half is asked for: nobody is in both. Figures come from
`pipeline.scenes` (rich wardrobe, patterned clothes), pictures are cut out of rendered frames along shaken boxes and
sized as those of MARS. The same arguments write the same bytes.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
from scipy.io import savemat

from pipeline.boxes import clip_boxes
from pipeline.scenes.attire import TOP_PATTERNS
from pipeline.scenes.clips import CameraViews, person_views
from pipeline.scenes.difficulty import parse_difficulty
from pipeline.scenes.people import Person
from pipeline.scenes.walks import Scenario, random_scenario
from pipeline.types import FloatArray, ImageArray

DIFFICULTY = "occluders=2,trolleys=1,colour_cast=0.5,motion_blur=0.3,defocus=0.2,lookalikes=0.1"
TOGETHER = 8  # people in a scene: more hide each other in every picture
DURATION_S = 70.0  # of a scene: about six stays a person
CROP_EVERY_S = 0.5  # between two pictures of a tracklet
SHAKE = 0.05  # of a box's side: a detector's boxes are not the true ones
LEAST_VISIBLE = 0.3  # of a person
LEAST_PICTURES = 4  # of a tracklet, as in MARS
PICTURE_PX = (128, 256)  # width, height: those of MARS
JPEG_QUALITY = 92
DARK = 45.0  # L* below this is called dark


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One stay, as a row of the lists: the pictures are encoded and not yet written."""

    person_id: int
    camera: int
    pictures: tuple[bytes, ...]


def make(root: Path, people: int = 96, cameras: int = 5, seed: int = 1, difficulty: str = DIFFICULTY) -> Counter[str]:
    """Write `bbox_train`, `bbox_test` and `info` into `root`; returns how much of what.

    Raises:
        ValueError: too few people for two halves, or cameras that a MARS name cannot say (one digit).
    """
    if people < 4 or not 2 <= cameras <= 9:
        raise ValueError(f"expected at least 4 people and 2 to 9 cameras, got {people} and {cameras}")
    whole = random_scenario(people, cameras, DURATION_S, seed, difficulty=parse_difficulty(difficulty))
    counts: Counter[str] = Counter()
    half = people // 2
    for part, ids in (("train", range(1, half + 1)), ("test", range(half + 1, people + 1))):
        tracklets = list(_tracklets(whole, ids, np.random.default_rng([seed, ids.start])))
        _write_part(root, part, tracklets)
        counts[f"{part} people"] = len({t.person_id for t in tracklets})
        counts[f"{part} tracklets"] = len(tracklets)
        counts[f"{part} pictures"] = sum(len(t.pictures) for t in tracklets)
    queries = _queries(tracklets)
    _write_matrix(root / "info" / "query_IDX.mat", "query_IDX", [queries])
    counts["queries"] = len(queries)
    _write_attributes(root / "info" / "attributes.csv", whole.people)
    return counts


def _tracklets(whole: Scenario, ids: range, rng: np.random.Generator) -> Iterator[Tracklet]:
    """Everybody's stays, a few people at a time before the same cameras."""
    for first in range(ids.start, ids.stop, TOGETHER):
        here = range(first, min(first + TOGETHER, ids.stop))
        scene = replace(whole, walks=tuple(walk for walk in whole.walks if walk.person_id in here))
        views = person_views(scene, CROP_EVERY_S, SHAKE, rng, least_visible=LEAST_VISIBLE)
        for camera, of_camera in enumerate(views, start=1):
            yield from _of_camera(of_camera, camera)


def _of_camera(views: CameraViews, camera: int) -> Iterator[Tracklet]:
    pictures: list[list[bytes]] = [[] for _ in views.stays]
    for frame, places, boxes in views.frames():
        for place, box in zip(places, boxes, strict=True):
            encoded = _cut(frame.image, box)
            if encoded is not None:
                pictures[place].append(encoded)
    for stay, own in zip(views.stays, pictures, strict=True):
        if len(own) >= LEAST_PICTURES:
            yield Tracklet(stay.person_id, camera, tuple(own))


def _cut(image: ImageArray, box: FloatArray) -> bytes | None:
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.round(clip_boxes(box[None], width, height)[0]).astype(int).tolist()
    if x2 - x1 < 8 or y2 - y1 < 32:  # px: as docs/datasets.md leaves out
        return None
    sized = cv2.resize(image[y1:y2, x1:x2], PICTURE_PX, interpolation=cv2.INTER_LINEAR)
    return bytes(cv2.imencode(".jpg", sized, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def _write_part(root: Path, part: str, tracklets: Sequence[Tracklet]) -> None:
    names: list[str] = []
    rows: list[list[int]] = []
    stays: Counter[tuple[int, int]] = Counter()
    for tracklet in tracklets:
        person, camera = tracklet.person_id, tracklet.camera
        stays[person, camera] += 1
        folder = root / f"bbox_{part}" / f"{person:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        rows.append([len(names) + 1, len(names) + len(tracklet.pictures), person, camera])
        for number, picture in enumerate(tracklet.pictures, start=1):
            name = f"{person:04d}C{camera}T{stays[person, camera]:04d}F{number:03d}.jpg"
            (folder / name).write_bytes(picture)
            names.append(name)
    info = root / "info"
    info.mkdir(parents=True, exist_ok=True)
    (info / f"{part}_name.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    _write_matrix(info / f"tracks_{part}_info.mat", f"track_{part}_info", rows)


def _write_attributes(path: Path, people: Sequence[Person]) -> None:
    """What everybody wears, in numbers, for the loss `attributes` (MARS itself has no such file)."""
    lines = ["person,hat,bag,long_hair,top_pattern,dark_top,dark_trousers"]
    for person in people:
        attire = person.attire
        if attire is not None:
            pattern = TOP_PATTERNS.index(attire.top.pattern)
            dark = [int(cloth.colour.lightness < DARK) for cloth in (attire.top, attire.trousers)]
            worn = [attire.hat is not None, attire.bag is not None, attire.long_hair]
            lines.append(",".join(map(str, [person.person_id, *map(int, worn), pattern, *dark])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_matrix(path: Path, key: str, rows: list[list[int]]) -> None:
    """A MATLAB file without the date that SciPy puts into its first 116 bytes."""
    content = BytesIO()
    savemat(content, {key: np.array(rows, float)})
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + content.getvalue()[116:])


def _queries(tracklets: Sequence[Tracklet]) -> list[int]:
    """Rows, from 1, of the first tracklet of every person and camera, where the person is in another camera as well."""
    cameras: dict[int, set[int]] = {}
    for tracklet in tracklets:
        cameras.setdefault(tracklet.person_id, set()).add(tracklet.camera)
    rows: dict[tuple[int, int], int] = {}
    for row, tracklet in enumerate(tracklets, start=1):
        if len(cameras[tracklet.person_id]) > 1:
            rows.setdefault((tracklet.person_id, tracklet.camera), row)
    return sorted(rows.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, metavar="DIR")
    parser.add_argument("--people", type=int, default=96)
    parser.add_argument("--cameras", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--difficulty", default=DIFFICULTY, help="as docs/scenes.md writes it")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    if options.root.exists() and any(options.root.iterdir()):
        if not options.overwrite:
            parser.error(f"{options.root} is not empty; choose another folder, or say --overwrite")
        for name in ("bbox_train", "bbox_test", "info"):
            shutil.rmtree(options.root / name, ignore_errors=True)
    options.root.mkdir(parents=True, exist_ok=True)
    counts = make(options.root, options.people, options.cameras, options.seed, options.difficulty)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
