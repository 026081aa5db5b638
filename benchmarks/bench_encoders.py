"""How many crops a second each runtime encodes, from boxes in a picture to stripe means and energies.

    MODELS_DIR=... python benchmarks/bench_encoders.py [--weights osnet_x0_25_msmt17] [--backbone osnet_x0_25]
                                                       [--threads 1] [--batch 8] [--rounds 15]

Rounds alternate between the runtimes, so that a busy machine is busy for all of them; median and best are printed.
"""

import argparse
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import ReidConfig
from pipeline.errors import PipelineError
from pipeline.ports import CropEncoder
from pipeline.types import Frame
from reid.load import Runtime, limit_threads, load_encoder
from reid.weights import find_weights

FRAME_PX = (720, 1280)
PERSON_PX = (240, 96)  # a person in the middle distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="osnet_x0_25_msmt17")
    parser.add_argument("--backbone", default="osnet_x0_25")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    limit_threads(options.threads)
    weights = find_weights(options.weights, os.environ)
    print(f"{weights.name}, {options.batch} crops a call, {options.threads} thread(s), {os.cpu_count()} cores")
    encoders = load_all(ReidConfig(backbone=options.backbone, device="cpu"), weights, options.threads)
    frame, boxes = scene(options.batch)
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for round_number in range(options.rounds + 2):  # two to warm up
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder.encode([frame], [boxes])
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    for name, measured in seconds.items():
        middle, best = (options.batch / s for s in (float(np.median(measured)), min(measured)))
        print(f"{name:12} {middle:8.0f} crops/s (best {best:.0f}), {1000 / middle:.2f} ms a crop")


def load_all(config: ReidConfig, weights: Path, threads: int) -> dict[str, CropEncoder]:
    """An encoder for every runtime that can run the file here."""
    encoders: dict[str, CropEncoder] = {}
    for runtime in (r for r in get_args(Runtime) if r != "auto" and find_spec(r)):
        try:
            encoders[runtime] = load_encoder(config, weights, threads=threads, runtime=runtime)
        except PipelineError as error:
            print(f"{runtime:12} left out: {error}")
    return encoders


def scene(count: int) -> tuple[Frame, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*FRAME_PX, 3), np.uint8)
    corners = rng.uniform((0, 0), (FRAME_PX[1] - PERSON_PX[1], FRAME_PX[0] - PERSON_PX[0]), (count, 2))
    return Frame("bench", "1", 0, 0.0, image), np.hstack([corners, corners + PERSON_PX[::-1]]).astype(np.float32)


if __name__ == "__main__":
    main()
