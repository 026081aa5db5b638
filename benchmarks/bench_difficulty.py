"""How hard each difficulty of the generated scenes is, and what rendering it costs.

    MODELS_DIR=... python benchmarks/bench_difficulty.py [--handcrafted] [--people 24] [--cameras 3] [--seeds 1 2 3]

Prints cross-camera clip retrieval (mAP, mean over the seeds) of clips of four crops, 0.4 s apart, per head.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import ReidConfig
from pipeline.ports import ClipHead, CropEncoder
from pipeline.retrieval import cmc_and_average_precision, cosine_distance
from pipeline.scenes.clips import LEAST_VISIBLE, person_views
from pipeline.scenes.difficulty import parse_difficulty
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario, random_scenario
from pipeline.types import CropFeature
from reid.heads import MeanHead, StaHead
from reid.load import load_encoder
from reid.weights import find_weights

CASES = (
    "easy", "occluders=3", "trolleys=2", "crowding=0.5", "motion_blur=0.5", "motion_blur=1", "defocus=1",
    "colour_cast=0.1", "colour_cast=0.3", "lookalikes=0.3", "truncation=0.3", "hard",
)  # fmt: skip
CLIP_CROPS = 4
CROP_STEP_S = 0.4
SHAKE = 0.08  # as in bench_fusion
RENDERED = 60  # frames timed per case

Clips = list[tuple[int, str, list[CropFeature]]]


def clips_of(scenario: Scenario, encoder: CropEncoder, least_visible: float) -> Clips:
    """(person, camera, crops) of every full clip of every stay."""
    clips: Clips = []
    for views in person_views(scenario, CROP_STEP_S, SHAKE, np.random.default_rng(0), least_visible=least_visible):
        crops: list[list[CropFeature]] = [[] for _ in views.stays]
        for frame, places, boxes in views.frames():
            for place, feature in zip(places, encoder.encode([frame], [boxes])[0], strict=True):
                crops[place].append(feature)
        for stay, own in zip(views.stays, crops, strict=True):
            for first in range(0, len(own) - CLIP_CROPS + 1, CLIP_CROPS):
                clips.append((stay.person_id, stay.camera_id, own[first : first + CLIP_CROPS]))
    return clips


def retrieve(clips: Clips, heads: Mapping[str, ClipHead]) -> list[float]:
    people = np.array([person for person, _, _ in clips])
    _, cameras = np.unique([camera for _, camera, _ in clips], return_inverse=True)
    figures = []
    for head in heads.values():
        vectors = np.stack([head.fuse(crops).embedding for _, _, crops in clips])
        scores = cmc_and_average_precision(cosine_distance(vectors, vectors), (people, cameras), (people, cameras))
        figures.append(scores.mean_average_precision)
    return figures


def rendering_ms(scenario: Scenario) -> float:
    """Processor time per frame, after the sprites have been made."""
    cameras = [SceneCamera(scenario, camera.id) for camera in scenario.cameras]
    indices = np.linspace(0, scenario.frame_count - 1, RENDERED).astype(int).tolist()
    for timed in (False, True):
        started_s = time.process_time()
        for camera in cameras:
            for index in indices:
                camera.render(index)
        if timed:
            return 1e3 * (time.process_time() - started_s) / (len(indices) * len(cameras))
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handcrafted", action="store_true")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--least-visible", type=float, default=LEAST_VISIBLE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("cases", nargs="*", default=CASES)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    config = ReidConfig(backbone="handcrafted" if arguments.handcrafted else "osnet_x0_25")
    weights = None if arguments.handcrafted else find_weights("osnet_x0_25_msmt17", os.environ, download=False)
    encoder = load_encoder(config, weights)
    known = encoder.describe()
    heads: dict[str, ClipHead] = {"mean": MeanHead(known)}
    heads |= {f"STA {fusion}": StaHead(known, fusion) for fusion in ("paper", "global", "stripes")}
    print(f"{'difficulty':18}" + "".join(f"{name:>13}" for name in heads) + f"{'clips':>8}{'ms/frame':>10}")
    for case in arguments.cases:
        figures, counts, times = [], [], []
        for seed in arguments.seeds:
            scenario = random_scenario(
                arguments.people, arguments.cameras, arguments.duration_s, seed, difficulty=parse_difficulty(case)
            )
            clips = clips_of(scenario, encoder, arguments.least_visible)
            figures.append(retrieve(clips, heads))
            counts.append(len(clips))
            times.append(rendering_ms(scenario))
        cells = "".join(f"{figure:>13.3f}" for figure in np.mean(figures, axis=0))
        print(f"{case:18}{cells}{sum(counts):>8}{np.mean(times):>10.1f}", flush=True)


if __name__ == "__main__":
    main()
