"""At what distance two tracks are no longer one person, for every head: the figures stored in reid/catalogue.py.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_thresholds.py --cache DIR
    python benchmarks/bench_thresholds.py --cache DIR --handcrafted

Each footage runs through the pipeline once with the detector's boxes and once with ground-truth boxes; every head fuses
the same crops. Tracks are compared with stays by the matcher's own functions (pipeline.fitting.comparisons), and the
threshold with the least missed + 2 x false share is printed, each footage counting the same, one left out at a time;
and the threshold that first looks (decisions) or last ones (a track's end) alone would give.
People of one_by_one, who are seen once, are cut into two halves: a second camera begins a second after the first ends.
With --handcrafted: generated scenes and OpenCV's people detector, as in the demo on a machine without weights.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from matching.preparing import prepare_footage
from matching.sites import BOXES, Boxes, Footage, real_footage, recording_folder

from pipeline.build import build_detector, build_recorded_source, settle
from pipeline.commands.adapting import models_to_watch
from pipeline.commands.recorded import fix_threads
from pipeline.config import CameraConfig, Config, DetectorConfig, MatcherConfig, ReidConfig, load_config
from pipeline.fitting.comparisons import Comparisons, FeatureOf, Look, Looks, compare_labelled, looks_of
from pipeline.fitting.crops import CropStore, fused_again
from pipeline.fitting.footage import Footage as Watched
from pipeline.fitting.footage import FootageCamera, watch
from pipeline.fitting.threshold import leave_one_out, threshold_for
from pipeline.ports import ClipHead, EncoderDescription
from pipeline.runtime.camera import CameraPipeline
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import demo_scenario, random_scenario
from pipeline.scoring.clips import PairDistances, label_clips
from pipeline.scoring.ground_truth import GroundTruth, read_ground_truth
from pipeline.scoring.rows import rows_text
from pipeline.scoring.truth_boxes import truth_boxes
from pipeline.tracking.encoding_policy import EVENLY
from pipeline.types import ClipFeature
from reid.heads import FUSIONS
from reid.load import load_head, stored_head

BACKBONE: Final = "osnet_x0_25"
STRIPES = 4  # of all heads but the aligned ones: the default
FPS = 10.0  # of one_by_one and of generated scenes
GAP_S = 1.0  # between the halves of somebody who is seen once
CLIPS = ("lab4cam", "pets_s2l1_view1", "one_by_one")
SCENES = (0, 1, 2)  # seeds; 0 is the demo


@dataclass(frozen=True, eq=False)
class Material:
    """One footage with one kind of boxes: what its cameras found, and the crops."""

    name: str
    watched: Watched
    store: CropStore
    truth: GroundTruth
    encoder: EncoderDescription
    absence_s: float


def watch_footage(name: str, config: Config, truth: GroundTruth) -> Material:
    """Run the cameras, without a matcher."""
    settled = settle(config).config
    fix_threads(settled)
    models, store = models_to_watch(settled, adapt=True), CropStore()
    detector = build_detector(settled)
    cameras = [
        FootageCamera(
            camera.id,
            build_recorded_source(camera, 0.0),
            CameraPipeline(
                camera,
                models.config,
                detector=detector,
                encoder=models.encoder,
                head=models.head,
                on_crop=store.add,
                on_clip=store.note,
                on_split=store.split,
                policy=EVENLY,
            ),
        )
        for camera in settled.cameras
    ]
    return Material(name, watch(cameras), store, truth, models.description, config.matcher.absence_s)


# --- footage ---------------------------------------------------------------------------------------------------------


def real_materials(media: Path, cache: Path) -> Iterator[Material]:
    """The real clips with both kinds of boxes, detected once and kept in the cache."""
    footages = [footage for footage in real_footage(media, cache) if footage.name in CLIPS]
    for footage in footages:
        prepare_footage(footage, cache, lambda line: print(line, file=sys.stderr))
        for boxes in BOXES:
            yield _real_material(footage, cache, boxes)


def _real_material(footage: Footage, cache: Path, boxes: Boxes) -> Material:
    truth = read_ground_truth(footage.truth, [camera.id for camera in footage.config.cameras])
    found = recording_folder(cache, footage, boxes) / "recorded" / "detections"
    cameras = tuple(replace(camera, detections=str(found / f"{camera.id}.txt")) for camera in footage.config.cameras)
    visits = truth.visits or ()
    if visits and len({visit.person_id for visit in visits}) == len(visits):  # nobody comes back
        cameras, truth = halves(cameras[0], truth, cache / f"{footage.name}_halves" / boxes)
    detector, reid = replace(footage.config.detector, kind="recorded"), replace(footage.config.reid, backbone=BACKBONE)
    config = replace(footage.config, cameras=cameras, detector=detector, reid=reid)
    return watch_footage(footage.name, config, truth)


def halves(camera: CameraConfig, truth: GroundTruth, folder: Path) -> tuple[tuple[CameraConfig, ...], GroundTruth]:
    """The camera twice: one sees the first half of every visit, the other one the second."""
    gap = GAP_S * FPS / 2
    spans: dict[str, list[tuple[float, float]]] = {"first": [], "second": []}
    for visit in truth.visits or ():
        middle = (visit.entry_frame + visit.exit_frame) / 2
        spans["first"].append((visit.entry_frame, middle - gap))
        spans["second"].append((middle + gap, visit.exit_frame))
    folder.mkdir(parents=True, exist_ok=True)
    lines = Path(camera.detections or "").read_text(encoding="utf-8").splitlines(keepends=True)
    for half, own in spans.items():
        inside = (line for line in lines if any(a <= float(line.split(",")[0]) <= b for a, b in own))
        (folder / f"{half}.txt").write_text("".join(inside), encoding="utf-8")
    cameras = tuple(replace(camera, id=half, detections=str(folder / f"{half}.txt")) for half in spans)
    return cameras, GroundTruth(dict.fromkeys(spans, truth.cameras[camera.id]))


def generated_materials(cache: Path) -> Iterator[Material]:
    """Generated scenes as the demo sees them without any weights, and with true boxes."""
    for seed in SCENES:
        scenario = random_scenario(people=8, cameras=3, duration_s=50.0, seed=seed) if seed else demo_scenario()
        folder = cache / f"scene{seed}"
        if not (folder / "site.yaml").is_file():
            write_scene(scenario, folder)
        config = replace(load_config(folder / "site.yaml"), reid=ReidConfig(backbone="handcrafted"))
        truth = read_ground_truth(folder / "gt", [camera.id for camera in config.cameras])
        for detector in (DetectorConfig(kind="hog"), DetectorConfig(kind="recorded")):
            cameras = tuple(_on_truth(camera, truth, folder) for camera in config.cameras)
            yield watch_footage(f"scene{seed}", replace(config, cameras=cameras, detector=detector), truth)


def _on_truth(camera: CameraConfig, truth: GroundTruth, folder: Path) -> CameraConfig:
    path = folder / "boxes" / f"{camera.id}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(rows_text(truth_boxes(truth.cameras[camera.id], FPS)), encoding="utf-8")
    return replace(camera, detections=str(path))


# --- heads -----------------------------------------------------------------------------------------------------------


def heads_of(encoder: EncoderDescription) -> list[ClipHead]:
    """Every head that the pipeline can be told to use over this encoder, the stored aligned one first."""
    plain = ReidConfig(stripes=STRIPES)
    configs = [replace(plain, head="sta", fusion=fusion) for fusion in FUSIONS] + [replace(plain, head="mean")]
    if stored_head(encoder.model_id) is not None:
        aligned = replace(plain, head="sta", fusion="aligned", stripes=encoder.stripes)
        configs = [aligned, replace(aligned, quality_weights=False), *configs]
    return [load_head(config, encoder) for config in configs]


def first_look(clips: Sequence[ClipFeature], matcher: MatcherConfig, feature: FeatureOf) -> Sequence[Look]:
    return looks_of(clips, matcher, feature)[:1]


def last_look(clips: Sequence[ClipFeature], matcher: MatcherConfig, feature: FeatureOf) -> Sequence[Look]:
    return looks_of(clips, matcher, feature)[-1:]


def compare(materials: Sequence[Material], head: ClipHead, looks: Looks) -> dict[str, PairDistances]:
    """Footage -> the distances of its tracks as the matcher has them with this head, both kinds of boxes together."""
    compared: dict[str, list[Comparisons]] = {}
    for material in materials:
        fused = fused_again(material.watched, material.store, head, material.encoder.model_id)
        labelled, _ = label_clips(fused.clips, fused.tracklets, material.truth, absence_s=material.absence_s)
        compared.setdefault(material.name, []).append(compare_labelled([labelled], MatcherConfig(), looks))
    return {
        footage: PairDistances(np.concatenate([c.same for c in own]), np.concatenate([c.different for c in own]))
        for footage, own in compared.items()
    }


def left_out_thresholds(media: Path, cache: Path) -> dict[str | None, float]:
    """Footage -> the threshold of the default head that the others give; None -> that of all."""
    materials = list(real_materials(media, cache))
    rows = leave_one_out(compare(materials, heads_of(materials[0].encoder)[0], looks_of))
    return {row["left_out"]: row["threshold"] for row in rows}


def print_head(head: ClipHead, materials: Sequence[Material]) -> None:
    """The threshold chosen without each footage, and how it does there."""
    pairs = compare(materials, head, looks_of)
    print(f"\n{head.clip_model_id}")
    print(f"{'left out':18}{'threshold':>10}{'missed':>9}{'false':>8}{'  same p50 p90':>16}{'  different p1 p10':>20}")
    for row in leave_one_out(pairs):
        line = f"{row['left_out'] or 'none':18}{row['threshold']:>10.3f}"
        if row["left_out"] is not None:
            line += f"{row['missed']:>9.3f}{row['false']:>8.3f}{row['same_p50']:>10.3f}{row['same_p90']:>6.3f}"
            line += f"{row['different_p01']:>14.3f}{row['different_p10']:>6.3f}"
        print(line)
    counts = ", ".join(f"{footage} {len(p.same)} and {len(p.different)}" for footage, p in pairs.items())
    alone = {name: threshold_for(list(compare(materials, head, looks).values())) for name, looks in PARTIAL.items()}
    print(", ".join(f"{name} looks alone: {threshold:.3f}" for name, threshold in alone.items()))
    print(f"comparisons of one person and of two: {counts}", flush=True)


PARTIAL: dict[str, Looks] = {"first": first_look, "last": last_look}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for detections and generated scenes")
    parser.add_argument("--handcrafted", action="store_true", help="the hand-crafted map on generated scenes")
    arguments = parser.parse_args()
    media = os.environ.get("MEDIA_DIR")
    if not media and not arguments.handcrafted:
        sys.exit("set MEDIA_DIR to the folder of the clips")
    if arguments.handcrafted:
        materials = list(generated_materials(arguments.cache))
    else:
        materials = list(real_materials(Path(media or ""), arguments.cache))
    for head in heads_of(materials[0].encoder):
        print_head(head, materials)


if __name__ == "__main__":
    main()
