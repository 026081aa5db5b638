"""Do clip heads that were trained on generated people serve real cameras? Every head over one frozen backbone.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_head_transfer.py --cache DIR [--heads temporal ...] [--seeds 3]

Training: crop features (OSNet x0.25, 4 stripes) of generated scenes like `hard 11` and `hard 12` (occluders, blur,
colour casts, cut bodies), 24 people and 3 cameras each; batches of 8 people x 4 clips x 4 crops from anywhere in a
stay; identity loss with smoothing and soft TriHard, Adam. Heads start from the backbone's own layer. `a layer`: of 512
values behind it. `apart`: the stripes are concatenated before it. `weights only`: the backbone's layer stays as it is
and there is no neck, so that a head learns nothing but whom to trust.

Test: cross-camera mAP on the clips of `bench_adaptation.py`, real ones and two generated scenes of other people. Means
over seeds, +- the largest difference of a seed from it; the last column is seconds of training. Features are kept in
--cache.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from bench_adaptation import ROWS, clips_of, generated_stays, real_stays
from torch import Tensor

from pipeline.config import ReidConfig
from pipeline.ports import CropEncoder, EncoderDescription
from pipeline.retrieval import cosine_distance, rank_queries
from pipeline.types import FloatArray, IntArray
from reid.aligned import AlignedHead
from reid.clip_heads.base import TrainableHead
from reid.clip_heads.make import make_clip_head
from reid.heads import BatchHead, MeanHead, StaHead, gather_stripes
from reid.load import load_encoder, start_parameters
from reid.losses.make import make_loss
from reid.weights import find_weights

STRIPES, CROPS, PEOPLE, CLIPS = 4, 4, 8, 4
TRAINED_ON = (21, 22, 23, 24)  # seeds of scenes
TESTED_ON = ("lab4cam", "pets_s2l1_view1", "one_by_one", "hard-11", "hard-12")
RATE = 3e-4
LAYER = {"dimensions": 512}
HEADS: dict[str, tuple[str, dict[str, object], bool]] = {
    "mean": ("mean", {}, False),
    "mean, a layer": ("mean", LAYER, False),
    "mean, apart, a layer": ("mean", {"apart": True, **LAYER}, False),
    "sta P2, a layer": ("sta", {"fusion": "global", **LAYER}, False),
    "sta P1 + P2, a layer": ("sta", LAYER, False),
    "temporal, weights only": ("temporal", {"neck": False}, True),
    "temporal, a layer": ("temporal", LAYER, False),
    "temporal, apart, a layer": ("temporal", {"apart": True, **LAYER}, False),
    "quality, weights only": ("quality", {"neck": False}, True),
    "quality, a layer": ("quality", LAYER, False),
    "rnn": ("rnn", {}, False),
    "lstm": ("lstm", {}, False),
    "stgcn": ("stgcn", {}, False),
    "stgcn, residual": ("stgcn", {"residual": True}, False),
}


class Clips:
    """Stripes (B, N, R, C), energy (B, N, R), people (B,) and views (B,) of one footage."""

    def __init__(self, arrays: dict[str, FloatArray | IntArray]) -> None:
        self.stripes, self.energy = arrays["stripes"], arrays["energy"]
        self.people, self.views = arrays["people"], arrays["views"]

    def few(self) -> tuple[Tensor, Tensor]:
        return tuple(torch.from_numpy(v) for v in gather_stripes(self.stripes, self.energy, STRIPES))  # type: ignore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--steps", type=int, default=800, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(
        ReidConfig(backbone="osnet_x0_25", stripes=ROWS), find_weights("osnet_x0_25_msmt17", os.environ, download=False)
    )
    tests = {name: test_clips(encoder, name, options.cache) for name in TESTED_ON}
    train = [training_crops(encoder, seed, options.cache) for seed in TRAINED_ON]
    print(f"{'head':26}", *(f"{name:>16}" for name in TESTED_ON), f"{'s':>6}")
    for name, head in untrained(encoder.describe()).items():
        print(f"{name:26}", *(f"{score(head, clips):16.3f}" for clips in tests.values()), flush=True)
    for name in options.heads:
        began = time.perf_counter()
        rows = []
        for seed in range(options.seeds):
            head = trained(name, encoder.describe(), train, options.steps, seed)
            rows.append([score_trained(head, clips) for clips in tests.values()])
        means = np.mean(rows, axis=0)
        off = np.abs(np.array(rows) - means).max(axis=0)
        seconds = (time.perf_counter() - began) / options.seeds
        print(
            f"{name:26}",
            *(f"{m:10.3f} ±{o:.3f}" for m, o in zip(means, off, strict=True)),
            f"{seconds:6.0f}",
            flush=True,
        )


# --- clips -----------------------------------------------------------------------------------------------------------


def test_clips(encoder: CropEncoder, name: str, cache: Path) -> Clips:
    path = cache / f"{name}.npz"
    if not path.exists():
        if name.startswith("hard-"):
            made = clips_of(generated_stays(encoder, int(name.partition("-")[2])))
        else:
            made = clips_of(real_stays(encoder, Path(os.environ["MEDIA_DIR"]) / name))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, stripes=made.stripes, energy=made.energy, people=made.people, views=made.views)
    with np.load(path) as file:
        return Clips(dict(file))


def training_crops(encoder: CropEncoder, seed: int, cache: Path) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """Of each person the stays, as stripes (T, K, C) and energies (T, K) of their crops in order."""
    path = cache / f"train-{seed}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, FloatArray] = {}
        for number, stay in enumerate(generated_stays(encoder, seed)):
            few = gather_stripes(stay.track.stripes[None], stay.track.energy[None], STRIPES)
            arrays[f"stripes {stay.person} {number}"], arrays[f"energy {stay.person} {number}"] = few[0][0], few[1][0]
        np.savez(path, **arrays)
    people: dict[int, list[tuple[Tensor, Tensor]]] = {}
    with np.load(path) as file:
        for name in file.files:
            if name.startswith("stripes"):
                pair = torch.from_numpy(file[name]), torch.from_numpy(file[name.replace("stripes", "energy")])
                people.setdefault(int(name.split()[1]), []).append(pair)
    return people


# --- heads -----------------------------------------------------------------------------------------------------------


def untrained(encoder: EncoderDescription) -> dict[str, BatchHead]:
    heads: dict[str, BatchHead] = {
        "untrained mean": MeanHead(encoder, stripes=STRIPES),
        "untrained sta": StaHead(encoder, stripes=STRIPES),
    }
    stored = start_parameters(ReidConfig(backbone="osnet_x0_25", stripes=ROWS), encoder)
    return heads if stored is None else {**heads, "aligned, the default": AlignedHead(encoder, stored)}


def trained(
    name: str, encoder: EncoderDescription, scenes: list[dict[int, list[tuple[Tensor, Tensor]]]], steps: int, seed: int
) -> TrainableHead:
    base, given, weights_only = HEADS[name]
    torch.manual_seed(seed)
    head = make_clip_head(base, stripes=STRIPES, channels=encoder.channels, projection=encoder.projection, **given)
    if weights_only and head.projection is not None:
        head.projection.requires_grad_(False)
    stays = [own for people in scenes for own in people.values()]
    identity = make_loss("identity", people=len(stays), channels=head.dimensions)
    metric = make_loss("trihard", people=len(stays), channels=head.dimensions, margin=None)
    learned = [p for p in (*head.parameters(), *identity.parameters()) if p.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=RATE, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [steps * 2 // 3], 0.1)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        stripes, energy, labels = draw(stays, rng)
        made = head(stripes, energy)
        loss = torch.stack([metric(features, labels) for features in made.metric]).mean() + identity(
            made.identity, labels
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


def draw(stays: list[list[tuple[Tensor, Tensor]]], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: clips of crops that lie in order within a stay."""
    stripes, energy, labels = [], [], []
    for person in rng.choice(len(stays), PEOPLE, replace=False):
        for _ in range(CLIPS):
            own = stays[person][rng.integers(len(stays[person]))]
            places = np.sort(rng.choice(len(own[0]), CROPS, replace=len(own[0]) < CROPS))
            stripes.append(own[0][places])
            energy.append(own[1][places])
            labels.append(int(person))
    return torch.stack(stripes), torch.stack(energy), torch.tensor(labels)


# --- scores ----------------------------------------------------------------------------------------------------------


def score(head: BatchHead, clips: Clips) -> float:
    return mean_precision(head.fuse_batch(clips.stripes, clips.energy).embedding, clips)


@torch.inference_mode()
def score_trained(head: TrainableHead, clips: Clips) -> float:
    return mean_precision(head(*clips.few()).embedding.numpy(), clips)


def mean_precision(vectors: FloatArray, clips: Clips) -> float:
    key = (clips.people, clips.views)
    ranked = rank_queries(cosine_distance(vectors, vectors), key, key)
    return float(ranked.rectangle[ranked.valid].mean())


if __name__ == "__main__":
    main()
