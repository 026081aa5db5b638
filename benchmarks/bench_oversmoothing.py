"""How alike a clip's patches become in STGCN's graph, layer by layer, with and without the residual variant.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_oversmoothing.py [--footage lab4cam] [--layers 8] [--seeds 5]

Patches: 4 stripes of 4 crops of every clip of `bench_adaptation.py`, OSNet x0.25. Weights are those that training
starts from, means over seeds. The figure is the share of the patches' variance that lies inside clips: 1 where clips
do not differ from each other, 0 where all patches of a clip are the same, and nothing is left to tell parts apart by.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from bench_adaptation import ROWS, clips_of, real_stays
from torch import Tensor

from pipeline.config import ReidConfig
from reid.clip_heads.stgcn import PatchGraph
from reid.heads import gather_stripes
from reid.load import load_encoder
from reid.weights import find_weights

STRIPES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", default="lab4cam")
    parser.add_argument("--layers", type=int, default=8, metavar="N")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = find_weights("osnet_x0_25_msmt17", os.environ, download=False)
    encoder = load_encoder(ReidConfig(backbone="osnet_x0_25", stripes=ROWS), weights)
    clips = clips_of(real_stays(encoder, Path(os.environ["MEDIA_DIR"]) / options.footage))
    patches = torch.from_numpy(gather_stripes(clips.stripes, clips.energy, STRIPES)[0]).flatten(1, 2)  # (B, N K, C)
    print(f"{len(patches)} clips of {options.footage}; share inside clips {inside(patches):.3f} before the first layer")
    for residual in (False, True):
        rows = np.mean([shares(patches, options.layers, residual, seed) for seed in range(options.seeds)], axis=0)
        print(f"{'residual' if residual else 'plain':9}", *(f"{value:.3f}" for value in rows))


@torch.no_grad()
def shares(patches: Tensor, layers: int, residual: bool, seed: int) -> list[float]:
    """`inside` after each layer: a graph of so many layers is the first ones of a longer one."""
    there, found = torch.ones(patches.shape[:2], dtype=torch.bool), []
    for count in range(1, layers + 1):
        torch.manual_seed(seed)
        graph = PatchGraph(patches.shape[2], patches.shape[2], layers, residual)
        del graph.layers[count:], graph.norms[count:]
        found.append(inside(graph(patches, there)))
    return found


def inside(patches: Tensor) -> float:
    """Share of the variance of patches (B, M, C) that lies inside clips."""
    total = patches.flatten(0, 1).var(0).sum()
    return (patches.var(1).sum(1).mean() / total).item()


if __name__ == "__main__":
    main()
