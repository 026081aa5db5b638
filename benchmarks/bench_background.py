"""Background removal on generated scenes with exact masks: IoU, returns, clean plates, speed.

    [MODELS_DIR=…] python benchmarks/bench_background.py [--seeds N] [--first-seed N] [--only PART]

Scenes: people in all sorts of clothes, soft shadows, sensor noise, light that swings by 5 % in 13 s and a white balance
that swings by 3 % in 41 s. Boxes: the true ones of everybody at least 30 % visible, each side shaken by 2 px (standard
deviation), 3 % of them missing. No neural network makes a mask.

Masks: mean IoU (5 % quantile) over every frame and person, by how much of them shows. Returns: people who come back
after 5 s or more, through the project's tracker; missing: from the first frame in which 20 % of them show to the first
whose mask reaches an IoU of .5. Plates: mean absolute error in levels against the true background of the moment.
Speed: one process, one thread for OpenCV and for the networks; frames of 640×360.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from background.footage import crowded_scenes, drifting, mask_scenes, shots, tracked_shots
from background.masks import KINDS, Scores, score_masks, with_remover, with_segmenter
from background.plates import dimmed, lamp_off, lamp_on, measure_plate, unchanged
from background.returns import Stay, StayBook, follow, follow_recorded, missing, renewals
from background.speed import beside_the_pipeline, removal_alone

from pipeline.commands.background import REACH_S
from pipeline.scenes.walks import Scenario, demo_scenario, random_scenario

_REFERENCE_EVERY = 7  # frames: neighbours are alike
_SPEED_FRAMES = 300


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="scenes of each kind (3)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="constants were chosen on 1 to 3 (1)")
    parser.add_argument("--only", choices=sorted(_PARTS), help="one part of the table")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    for name, part in _PARTS.items():
        if options.only in (None, name):
            for line in part(range(options.first_seed, options.first_seed + options.seeds)):
                print(line, flush=True)
    return 0


def _masks(seeds: Sequence[int]) -> list[str]:
    lines = ["| masks | " + " | ".join(KINDS) + " | CPU ms a frame |", "|---|" + "---|" * (len(KINDS) + 1)]
    for name, scenes, cutter in (
        ("carried", mask_scenes(seeds), with_remover),
        ("references, every picture anew", mask_scenes(seeds[:1]), lambda: with_segmenter(_REFERENCE_EVERY)),
        ("carried, people side by side", crowded_scenes(seeds), with_remover),
    ):
        scores: Scores = defaultdict(list)
        seconds, frames = 0.0, 0
        for scene, camera_id in _cameras(scenes):
            of_camera, spent, count = score_masks(cutter(), shots(scene, camera_id))
            for kind, values in of_camera.items():
                scores[kind] += values
            seconds, frames = seconds + spent, frames + count
        cells = [_iou(scores[kind]) for kind in KINDS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {1000 * seconds / frames:.1f} |")
    return lines


def _iou(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({np.quantile(values, 0.05):.2f}; {len(values)})" if values else "–"


def _returns(seeds: Sequence[int]) -> list[str]:
    lines = [
        "| masks begin | returns | missing, mean s | p95 s | never | mean IoU of these stays |",
        "|---|---|---|---|---|---|",
    ]
    scenes = [drifting(random_scenario(9, 2, 90.0, seed, wardrobe="rich")) for seed in seeds]
    for name in (*renewals(), "trigger, a recording"):
        stays: list[Stay] = []
        for scene, camera_id in _cameras(scenes):
            book = StayBook()
            if name in renewals():
                follow(tracked_shots(scene, camera_id), renewals()[name], book)
            else:
                follow_recorded(partial(tracked_shots, scene, camera_id), round(REACH_S * scene.fps), book)
            stays += book.stays
        found = missing(stays, scenes[0].fps)
        figures = f"{found.mean_s:.2f} | {found.p95_s:.2f} | {found.never} | {found.mean_iou:.3f}"
        lines.append(f"| {name} | {found.returns} | {figures} |")
    return lines


def _plates(seeds: Sequence[int]) -> list[str]:
    lines = ["| light after 30 s | error at the end, levels | coverage | followed after, s |", "|---|---|---|---|"]
    for light in (unchanged, dimmed, lamp_on, lamp_off):
        figures = [
            measure_plate(drifting(random_scenario(6, 2, 60.0, seed, wardrobe="rich")), camera_id, light)
            for seed in seeds
            for camera_id in ("lobby", "street")
        ]
        worst = [f.follows_s for f in figures]
        late = "not within the scene" if None in worst else f"{max(s for s in worst if s is not None):.0f}"
        error = f"{np.mean([f.error for f in figures]):.2f} (worst {max(f.error for f in figures):.2f})"
        lines.append(
            f"| {light.__name__.replace('_', ' ')} | {error} | {min(f.coverage for f in figures):.3f} | {late} |"
        )
    return lines


def _speed(seeds: Sequence[int]) -> list[str]:
    scene = mask_scenes(seeds[:1])[0]
    alone = removal_alone([shot for shot in shots(scene, "lobby") if shot.frame.index < _SPEED_FRAMES])
    whole = beside_the_pipeline(demo_scenario(), "lobby", _SPEED_FRAMES)
    return [
        "| speed, 640×360 | CPU ms a frame | frames per second |",
        "|---|---|---|",
        f"| removal alone, {alone.people:.1f} people a frame | {alone.cpu_ms:.1f} | {alone.fps:.0f} |",
        f"| the whole pipeline with it ({whole.what}) | {whole.cpu_ms:.1f} | {whole.fps:.0f} |",
    ]


def _cameras(scenes: Sequence[Scenario]) -> list[tuple[Scenario, str]]:
    return [(scene, camera.id) for scene in scenes for camera in scene.cameras]


_PARTS: dict[str, Callable[[Sequence[int]], list[str]]] = {
    "masks": _masks,
    "returns": _returns,
    "plates": _plates,
    "speed": _speed,
}

if __name__ == "__main__":
    sys.exit(main())
