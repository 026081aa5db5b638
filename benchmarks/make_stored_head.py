"""Make the aligned head that is stored with the program for an encoder, from generated people alone.

    MODELS_DIR=... python benchmarks/make_stored_head.py [--weights osnet_x0_25_msmt17] [--out reid/stored_heads]

No footage and no labels of real people go into it: two generated scenes of 24 people, whose names are known because
they are generated. The encoder's weights must be at hand.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import ReidConfig
from pipeline.ports import CropEncoder
from pipeline.scenes.clips import person_views
from pipeline.scenes.presets import easy_scenario
from pipeline.types import CropFeature, TrackKey
from reid.adaptation.closed_form import fit_closed_form, fit_prototypes
from reid.adaptation.material import Material, TrackCrops
from reid.load import load_encoder
from reid.weights import find_weights

SEEDS = (1, 2)  # bench_adaptation's scenes have others
EVERY_S = 0.4  # between the crops of a track
SHAKE = 0.08  # of the boxes, as a detector's are off
ROWS = 16  # of the map of crops 256 px high


def tracks_of_scene(encoder: CropEncoder, seed: int) -> Iterator[tuple[int, TrackCrops]]:
    """Every stay of every person of one generated scene, with the person's number over all scenes."""
    scenario = easy_scenario(people=24, cameras=3, duration_s=60.0, seed=seed)
    for views in person_views(scenario, EVERY_S, SHAKE, np.random.default_rng(seed)):
        crops: list[list[CropFeature]] = [[] for _ in views.stays]
        for frame, places, boxes in views.frames():
            for place, feature in zip(places, encoder.encode([frame], [boxes])[0], strict=True):
                crops[place].append(feature)
        for number, (stay, own) in enumerate(zip(views.stays, crops, strict=True)):
            if own:
                key = TrackKey(f"scene{seed}-{views.camera_id}", "1", number)
                yield 1000 * seed + stay.person_id, track_of(key, own)


def track_of(key: TrackKey, crops: Sequence[CropFeature]) -> TrackCrops:
    return TrackCrops(
        key,
        np.array([crop.captured_at_s for crop in crops]),
        np.stack([crop.stripes for crop in crops]),
        np.stack([crop.energy for crop in crops]),
        np.array([crop.quality.score for crop in crops], np.float32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="osnet_x0_25_msmt17")
    parser.add_argument("--backbone", default="osnet_x0_25")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "reid" / "stored_heads")
    arguments = parser.parse_args()
    weights = find_weights(arguments.weights, os.environ, download=False)
    encoder = load_encoder(ReidConfig(backbone=arguments.backbone, stripes=ROWS), weights)
    people, tracks = zip(*(found for seed in SEEDS for found in tracks_of_scene(encoder, seed)), strict=True)
    origin = f"{len(tracks)} stays of {len(set(people))} generated people"
    described = encoder.describe()
    name = described.model_id.partition("@")[0]
    start = fit_prototypes(np.concatenate([track.stripes for track in tracks]), described, origin=origin)
    fitted = fit_closed_form(Material(tracks, np.array(people), frozenset()), described, start)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{name}.safetensors"
    stored = replace(fitted, encoder=name, origin=origin)
    stored.save(path)
    print(f"{path}: {stored.digest}, {path.stat().st_size / 1e6:.2f} MB, from {origin}")


if __name__ == "__main__":
    main()
