"""Which way of fusing crops finds a person again in another camera or visit.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_fusion.py [--handcrafted]

Prints cross-view clip retrieval (mAP, rank-1) per fusion and footage. bench_thresholds.py says at what distance to stop
believing it.
"""

import argparse
import csv
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.boxes import xywh_to_xyxy
from pipeline.config import ReidConfig
from pipeline.ports import ClipHead, CropEncoder, EncoderDescription
from pipeline.retrieval import cmc_and_average_precision, cosine_distance, normalise_rows
from pipeline.scenes.clips import person_views
from pipeline.scenes.walks import demo_scenario, random_scenario
from pipeline.tracking.quality import frame_qualities, pixel_window, sharpness
from pipeline.types import CropFeature, FloatArray, Frame, Tracks
from reid.aligned import AlignedHead
from reid.heads import FUSIONS, MeanHead, StaHead
from reid.load import load_encoder, start_parameters
from reid.weights import find_weights

CLIP_CROPS = 4  # N of the paper, and the pipeline's default
CROP_STEP_S = 0.4  # between the crops of a clip
CLIPS_PER_VISIT = 10
FPS = 10.0  # of all the footage
LEAST_HEIGHT_PX = 32  # smaller boxes are not worth a clip
SHAKE = 0.08  # of a generated person's box, as a share of its side: about what HOG's boxes are off


@dataclass(frozen=True, eq=False)
class View:
    """One person's stay in front of one camera: boxes by frame number (from 1)."""

    footage: str
    person: int
    name: str
    boxes: dict[int, FloatArray]


@dataclass(frozen=True, eq=False)
class Clip:
    footage: str
    person: int
    view: str
    crops: list[CropFeature]


# --- footage ---------------------------------------------------------------------------------------------------------


def read_boxes(path: Path) -> dict[int, dict[int, FloatArray]]:
    """Person -> frame -> box, of the rows with consider = 1."""
    people: dict[int, dict[int, FloatArray]] = defaultdict(dict)
    for row in np.loadtxt(path, delimiter=",", ndmin=2):
        if row[6] == 1 and row[5] >= LEAST_HEIGHT_PX:
            people[int(row[1])][int(row[0])] = xywh_to_xyxy(row[None, 2:6].astype(np.float32))[0]
    return people


def views_by_camera(folder: Path) -> Iterator[tuple[Path, list[View]]]:
    """One view per person and camera."""
    for truth in sorted((folder / "gt").glob("*.txt")):
        people = read_boxes(truth)
        yield folder / f"{truth.stem}.mp4", [View(folder.name, p, truth.stem, boxes) for p, boxes in people.items()]


def views_by_visit(folder: Path) -> Iterator[tuple[Path, list[View]]]:
    """One view per visit; a person of a single visit gets its two halves, with a second left out between them."""
    people = read_boxes(folder / "gt" / "video.txt")
    with (folder / "gt" / "visits.csv").open(encoding="utf-8") as file:
        visits = [(int(r["person_id"]), int(r["entry_frame"]), int(r["exit_frame"])) for r in csv.DictReader(file)]
    views = []
    single = len({person for person, _, _ in visits}) == len(visits)
    for number, (person, first, last) in enumerate(visits):
        middle, gap = (first + last) / 2, FPS / 2
        spans = [(first, middle - gap), (middle + gap, last)] if single else [(first, last)]
        for half, (start, stop) in enumerate(spans):
            boxes = {frame: box for frame, box in people[person].items() if start <= frame <= stop}
            views.append(View(folder.name, person, f"visit{number}.{half}", boxes))
    yield folder / "video.mp4", views


def choose_frames(view: View) -> list[list[int]]:
    """Up to CLIPS_PER_VISIT clips of CLIP_CROPS frame numbers, evenly spread over the view."""
    step = round(CROP_STEP_S * FPS)
    starts = [f for f in sorted(view.boxes) if all(f + i * step in view.boxes for i in range(CLIP_CROPS))]
    if not starts:
        return []
    places = np.unique(np.linspace(0, len(starts) - 1, CLIPS_PER_VISIT).round().astype(int))
    return [[starts[p] + i * step for i in range(CLIP_CROPS)] for p in places]


def video_frames(path: Path) -> Iterator[tuple[int, Frame]]:
    capture = cv2.VideoCapture(str(path))
    number = 0
    while True:
        there, image = capture.read()
        if not there:
            break
        number += 1
        yield number, Frame("camera", "1", number - 1, number / FPS, image)
    capture.release()
    if number == 0:
        sys.exit(f"{path}: cannot be read")


def encode_boxes(encoder: CropEncoder, frame: Frame, boxes: Sequence[FloatArray]) -> list[CropFeature]:
    """The features of boxes, at least one, in one frame, with the quality that the pipeline gives them."""
    xyxy = np.stack(boxes).astype(np.float32)
    height, width = frame.image.shape[:2]
    qualities = frame_qualities(frame, Tracks(np.arange(len(xyxy)), xyxy, np.ones(len(xyxy), np.float32)))
    described = []
    for box, feature, quality in zip(xyxy, encoder.encode([frame], [xyxy])[0], qualities, strict=True):
        x1, y1, x2, y2 = pixel_window(box, width, height)
        quality = replace(quality, sharpness=sharpness(frame.image[y1:y2, x1:x2]))
        described.append(replace(feature, quality=quality, captured_at_s=frame.captured_at_s))
    return described


def encode_clips(encoder: CropEncoder, views: Sequence[View], frames: Iterator[tuple[int, Frame]]) -> list[Clip]:
    """The clips of all views in one video; every crop is encoded once."""
    chosen = [(view, clip) for view in views for clip in choose_frames(view)]
    wanted: dict[int, dict[int, View]] = defaultdict(dict)
    for view, numbers in chosen:
        for number in numbers:
            wanted[number][id(view)] = view
    features: dict[tuple[int, int], CropFeature] = {}
    for number, frame in frames:
        here = list(wanted.get(number, {}).values())
        if here:
            for view, feature in zip(here, encode_boxes(encoder, frame, [v.boxes[number] for v in here]), strict=True):
                features[id(view), number] = feature
    return [Clip(v.footage, v.person, v.name, [features[id(v), n] for n in numbers]) for v, numbers in chosen]


def real_clips(encoder: CropEncoder, media: Path) -> list[Clip]:
    clips = []
    readers = {"lab4cam": views_by_camera, "pets_s2l1_view1": views_by_visit, "one_by_one": views_by_visit}
    for name, reader in readers.items():
        for video, views in reader(media / name):
            clips += encode_clips(encoder, views, video_frames(video))
    return clips


def generated_clips(encoder: CropEncoder, seeds: Sequence[int]) -> list[Clip]:
    """Generated scenes: seed 0 is the demo, others have other people, rooms and cameras. Boxes are shaken by 8 %."""
    clips = []
    for seed in seeds:
        scenario = random_scenario(people=8, cameras=3, duration_s=50.0, seed=seed) if seed else demo_scenario()
        rng = np.random.default_rng(seed)
        for views in person_views(scenario, CROP_STEP_S / 2, SHAKE, rng, least_visible=0.8):
            boxes: dict[int, dict[int, FloatArray]] = defaultdict(dict)
            for stay in views.stays:
                boxes[stay.person_id].update(zip((stay.frame_index + 1).tolist(), stay.xyxy, strict=True))
            people = [View(f"scene{seed}", person, views.camera_id, own) for person, own in boxes.items()]
            clips += encode_clips(encoder, people, ((frame.index + 1, frame) for frame, _, _ in views.frames()))
    return clips


# --- fusions ---------------------------------------------------------------------------------------------------------

Vectors = Callable[[Clip], FloatArray]


def fusions(encoder: EncoderDescription, stripes: int) -> dict[str, Vectors]:
    """The heads over the encoder's rows; all but the aligned one over as many stripes."""
    few = replace(encoder, stripes=stripes)
    heads: dict[str, ClipHead] = {"mean of maps": MeanHead(few)}
    heads |= {fusion: StaHead(few, fusion) for fusion in FUSIONS}
    one = MeanHead(few)

    def mean_of_embeddings(clip: Clip) -> FloatArray:
        vectors = np.stack([one.fuse([crop]).embedding for crop in grouped(clip.crops, stripes)])
        return normalise_rows(vectors.mean(axis=0))

    ways: dict[str, Vectors] = {
        "first crop": lambda clip: one.fuse(grouped(clip.crops[:1], stripes)).embedding,
        "mean of embeddings": mean_of_embeddings,
    }
    for name, head in heads.items():
        ways[name] = partial(_embedding, head, stripes)
    parameters = start_parameters(ReidConfig(), encoder)
    if parameters is not None:
        aligned = AlignedHead(encoder, parameters, quality_weights=True)
        ways["aligned"] = lambda clip: aligned.fuse(clip.crops).embedding
    return ways


def _embedding(head: ClipHead, stripes: int, clip: Clip) -> FloatArray:
    return head.fuse(grouped(clip.crops, stripes)).embedding


def grouped(crops: Sequence[CropFeature], stripes: int) -> list[CropFeature]:
    """The same crops with their rows gathered into fewer stripes of equal height."""
    return [
        replace(
            crop,
            stripes=crop.stripes.reshape(stripes, -1, crop.stripes.shape[1]).mean(axis=1),
            energy=crop.energy.reshape(stripes, -1).sum(axis=1),
        )
        for crop in crops
    ]


def retrieve(clips: Sequence[Clip], vectors: FloatArray) -> tuple[float, float, int]:
    """mAP (rectangle), rank-1 and the number of queries; clips of the query's person and view are junk."""
    people = np.array([clip.person for clip in clips])
    names = sorted({clip.view for clip in clips})
    views = np.array([names.index(clip.view) for clip in clips])
    scores = cmc_and_average_precision(cosine_distance(vectors, vectors), (people, views), (people, views))
    return scores.mean_average_precision, float(scores.cmc[0]), int(scores.valid.sum())


def print_retrieval(clips: Sequence[Clip], encoder: EncoderDescription, stripes: int) -> None:
    footages = list(dict.fromkeys(clip.footage for clip in clips))
    print(f"\nCross-view clip retrieval, {encoder.model_id}, N = {CLIP_CROPS}, K = {stripes}: mAP / rank-1")
    print(f"{'fusion':20}" + "".join(f"{name:>20}" for name in footages) + f"{'mean':>9}")
    for name, way in fusions(encoder, stripes).items():
        row = []
        for footage in footages:
            some = [clip for clip in clips if clip.footage == footage]
            row.append(retrieve(some, np.stack([way(clip) for clip in some])))
        cells = "".join(f"{m:>13.3f} / {r:.2f}" for m, r, _ in row)
        print(f"{name:20}{cells}{np.mean([m for m, _, _ in row]):>9.3f}")
    print(f"{'queries':20}" + "".join(f"{n:>20}" for _, _, n in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handcrafted", action="store_true", help="the hand-crafted map, on the generated scene too")
    parser.add_argument("--stripes", type=int, default=4)
    arguments = parser.parse_args()
    media = os.environ.get("MEDIA_DIR")
    if not media:
        sys.exit("set MEDIA_DIR to the folder of the clips")
    rows = 8 if arguments.handcrafted else 16  # of the map
    config = ReidConfig(backbone="handcrafted" if arguments.handcrafted else "osnet_x0_25", stripes=rows)
    weights = None if arguments.handcrafted else find_weights("osnet_x0_25_msmt17", os.environ, download=False)
    encoder = load_encoder(config, weights)
    clips = real_clips(encoder, Path(media))
    print_retrieval(clips, encoder.describe(), arguments.stripes)
    if arguments.handcrafted:
        clips = generated_clips(encoder, seeds=(0, 1, 2))
        print_retrieval(clips, encoder.describe(), arguments.stripes)


if __name__ == "__main__":
    main()
