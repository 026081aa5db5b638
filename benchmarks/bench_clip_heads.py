"""What trained clip heads cost: parameters, and milliseconds for a thousand clips, live (NumPy) and in training.

    python benchmarks/bench_clip_heads.py [--channels 128 2048] [--clips 1000] [--repeats 5] [--device cpu|cuda]

Clips of 4 crops and 4 stripes, random weights: time does not depend on them. `live` is one call of
`LiveClipHead.fuse_batch` on all clips, `one` a call with a single clip, as a camera makes them; `training` is forward
and backward in PyTorch over batches of 32 clips, scaled to a thousand. Medians of repeats. `of backbone` is the share
of what a thousand clips cost before: 4,000 crops at the rates of docs/export.md for ONNX Runtime on one thread, of
OSNet x0.25 for C = 128 and of ResNet-50 for C = 2048.

Part heads: their parameters, classifiers of 751 people (Market-1501) included, and what is left of them at test time.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import nn

from pipeline.ports import EncoderDescription
from reid.clip_heads.base import TrainableHead
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import CLIP_HEADS, make_clip_head, store_clip_head
from reid.heads import BatchHead, MeanHead, StaHead
from reid.part_heads.make import PART_HEADS, make_part_head

FRAMES, STRIPES, BATCH, PEOPLE = 4, 4, 32, 751
CROPS_PER_S = {128: 570.0, 2048: 26.0}  # by C; other networks: not said
VARIANTS = {**{name: (name, {}) for name in CLIP_HEADS}, "stgcn, residual": ("stgcn", {"residual": True})}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, NumPy {np.__version__}, PyTorch {torch.__version__}")
    for channels in options.channels:
        print(f"\nC = {channels}, {options.clips} clips of {FRAMES} crops, K = {STRIPES}; ms")
        print(
            f"{'head':18} {'parameters':>11} {'vector':>7} {'live':>9} {'one':>7} {'training':>9} {'of backbone':>12}"
        )
        backbone_s = 1000 * FRAMES / CROPS_PER_S.get(channels, float("nan"))
        for name in ("untrained mean", "untrained sta", *VARIANTS):
            print(_row(name, channels, backbone_s, options))
        print(f"\n{'part head':18} {'parameters':>11} {'vector':>7} {'left at test time':>18}")
        for name in PART_HEADS:
            head = make_part_head(name, channels=channels, people=PEOPLE)
            left = sum(value.numel() for value in head.live_arrays()[2].values() if value.ndim)
            print(f"{name:18} {_count(head):>11,} {head.dimensions:>7} {left:>18,}")


def _row(name: str, channels: int, backbone_s: float, options: argparse.Namespace) -> str:
    encoder = EncoderDescription("example@1", STRIPES, channels)
    head, live = _heads(name, channels, encoder)
    rng = np.random.default_rng(0)
    stripes = rng.random((options.clips, FRAMES, STRIPES, channels), np.float32)
    energy = rng.random((options.clips, FRAMES, STRIPES), np.float32) + 0.1
    all_s = _time(lambda: live.fuse_batch(stripes, energy), options.repeats) * 1000 / options.clips
    one_s = _time(lambda: live.fuse_batch(stripes[:1], energy[:1]), 20)
    length = live.fuse_batch(stripes[:1], energy[:1]).embedding.shape[1]
    training = "-" if head is None else f"{1e3 * _training_s(head, stripes, energy, options):.0f}"
    count = 0 if head is None else _count(head)
    share = f"{100 * all_s / backbone_s:.3f} %"
    return f"{name:18} {count:>11,} {length:>7} {1e3 * all_s:>9.1f} {1e3 * one_s:>7.2f} {training:>9} {share:>12}"


def _heads(name: str, channels: int, encoder: EncoderDescription) -> tuple[TrainableHead | None, BatchHead]:
    if name not in VARIANTS:
        return None, MeanHead(encoder) if name.endswith("mean") else StaHead(encoder)
    base, given = VARIANTS[name]
    head = make_clip_head(base, stripes=STRIPES, channels=channels, **given).eval()
    return head, LiveClipHead(encoder, store_clip_head(head, encoder="example", origin="random"))


def _training_s(head: TrainableHead, stripes: np.ndarray, energy: np.ndarray, options: argparse.Namespace) -> float:
    """Seconds for a thousand clips, forward and backward."""
    head = head.train().to(options.device)
    inputs = [torch.from_numpy(values[:BATCH]).to(options.device) for values in (stripes, energy)]

    def step() -> None:
        head(*inputs).identity.square().mean().backward()
        if options.device != "cpu":
            torch.cuda.synchronize()

    step()
    return _time(step, options.repeats) * 1000 / BATCH


def _time(work: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return median(spent)


def _count(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[128, 2048], metavar="C")
    parser.add_argument("--clips", type=int, default=1000, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--device", default="cpu", help="of training: cpu, cuda")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
