"""What STA's fusion costs beside its backbone, ResNet-50 (256x128 px, last stride 1).

    python benchmarks/bench_sta.py [--device cpu|cuda] [--repeats N] [--threads N] [--projection D]
        [--batches 64,128,...] [--compile] [--graphs] [--weights FILE] [--peak-tflops X]

First table, on the CPU and on a GPU where there is one: the time of fusing 32 clips of 4 crops with every head, in
NumPy and in PyTorch, as a share of the time of the backbone's pass over the 128 crops. `fusion` begins with crop
features (stripe means and energies), `with pooling` with the backbone's maps; the NumPy lines pool in PyTorch and copy
the features to the host, as the crop encoder does.

Second table, on a GPU only: crops per second of backbone + STA and of the bare backbone (with its global average pool)
in half precision with channels last, at several batch sizes; the memory that each needs at most, and the share of the
chip's peak. `--compile` and `--graphs` apply torch.compile and CUDA graphs to both alike. All figures are medians of
repeats taken in turns. Random weights do as well as trained ones.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from timing import Work, captured, measure, peak_bytes, peak_tflops
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.ports import EncoderDescription, Projection
from pipeline.types import FloatArray
from reid.adaptation.closed_form import DIMENSIONS, fit_prototypes
from reid.aligned import AlignedHead
from reid.heads import FUSIONS, FusedClips, MeanHead, StaHead
from reid.resnet import CHANNELS, ResNet50, load_resnet50
from reid.sta_torch import FusedTensors, StaFusion, TorchFusion, pool_stripes

CLIPS, CROPS, STRIPES = 32, 4, 4  # the paper's batch of clips, its N and its K
CROP_PX = (256, 128)
FUSION_TARGET, SPEED_TARGET = 0.03, 0.80  # the project's: at most this share, at least this ratio
ALIGNED = "aligned"  # fused in NumPy, live as in replay
HEADS: tuple[TorchFusion, ...] = ("mean", *FUSIONS)


# --- networks --------------------------------------------------------------------------------------------------------


class Bare(nn.Module):
    """The backbone with its global average pool: (B, 3, 256, 128) -> (B, 2048)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(self.backbone(images), 1).flatten(1)


class WithSta(nn.Module):
    """The backbone and STA: clips of `CROPS` images in a row become one vector each."""

    def __init__(self, backbone: nn.Module, fusion: StaFusion) -> None:
        super().__init__()
        self.backbone = backbone
        self.fusion = fusion

    def forward(self, images: Tensor) -> Tensor:
        fused: FusedTensors = self.fusion(self.backbone(images).unflatten(0, (-1, CROPS)))
        return fused.embedding


def make_backbone(weights: Path | None) -> ResNet50:
    """Trained weights, or random ones whose batch norms have seen noise, so that half precision does not overflow."""
    if weights is not None:
        return load_resnet50(weights)[0].eval()
    torch.manual_seed(0)
    backbone = ResNet50().train()
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
    with torch.no_grad():
        backbone(torch.randn(4, 3, *CROP_PX))
    return backbone.eval()


def make_projection(outputs: int) -> Projection | None:
    """A random layer in place of the backbone's own one; none for 0 outputs."""
    if outputs == 0:
        return None
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, CHANNELS), np.float32) / np.float32(CHANNELS**0.5)
    return Projection(weight, np.zeros(outputs, np.float32), relu=True)


def flops_per_crop() -> int:
    """Of the backbone's convolutions; a multiply-add counts 2, as in a chip's peak."""
    with torch.device("meta"):
        backbone, image = ResNet50().eval(), torch.empty(1, 3, *CROP_PX)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(image)
    return int(counter.get_total_flops())


# --- first table: fusion beside the backbone -------------------------------------------------------------------------


@dataclass(frozen=True)
class FusionLine:
    """One head in one library: seconds from crop features on, and from maps on."""

    name: str
    library: str
    fusion_s: float
    with_pooling_s: float


def numpy_head(head: TorchFusion, projection: Projection | None) -> MeanHead | StaHead:
    encoder = EncoderDescription("resnet50", STRIPES, CHANNELS, projection)
    return MeanHead(encoder) if head == "mean" else StaHead(encoder, head)


def fusion_works(maps: Tensor, projection: Projection | None) -> dict[str, Work]:
    """For every head: fusion and pooling + fusion of maps (B, N, C, H, W), in NumPy and in PyTorch."""
    stripes, energy = pool_stripes(maps, STRIPES)
    on_host = stripes.cpu().numpy(), energy.cpu().numpy()

    def pool_and_fuse(head: MeanHead | StaHead) -> FusedClips:
        return head.fuse_batch(*(values.cpu().numpy() for values in pool_stripes(maps, STRIPES)))

    works: dict[str, Work] = {"pooling": partial(pool_stripes, maps, STRIPES)}
    for name in HEADS:
        head = numpy_head(name, projection)
        module = StaFusion(name, stripes=STRIPES, projection=projection).to(maps.device).eval()
        check_agreement(head.fuse_batch(*on_host), module.fuse(stripes, energy))
        works |= {
            f"NumPy {name} fusion": partial(head.fuse_batch, *on_host),
            f"NumPy {name} with pooling": partial(pool_and_fuse, head),
            f"PyTorch {name} fusion": partial(module.fuse, stripes, energy),
            f"PyTorch {name} with pooling": partial(module, maps),
        }
    rows, row_energy = (values.cpu().numpy() for values in pool_stripes(maps, maps.shape[3]))
    aligned = aligned_head(rows, projection)
    works |= {
        f"NumPy {ALIGNED} fusion": partial(aligned.fuse_batch, rows, row_energy),
        f"NumPy {ALIGNED} with pooling": lambda: aligned.fuse_batch(
            *(values.cpu().numpy() for values in pool_stripes(maps, maps.shape[3]))
        ),
    }
    return works


def aligned_head(rows: FloatArray, projection: Projection | None) -> AlignedHead:
    """The default head for rows (B, N, R, C), with prototypes of these and the usual number of values a part."""
    encoder = EncoderDescription("resnet50", rows.shape[2], CHANNELS, projection)
    made = fit_prototypes(rows.reshape(-1, *rows.shape[2:]), encoder, origin="benchmark")
    basis = made.basis[:, :DIMENSIONS]
    return AlignedHead(encoder, replace(made, basis=basis, dimensions=basis.shape[1]))


def check_agreement(ours: FusedClips, theirs: FusedTensors) -> None:
    """Nobody's speed counts unless both say the same."""
    off = float(np.abs(ours.embedding - theirs.embedding.cpu().numpy()).max())
    if not off < 1e-4:
        sys.exit(f"NumPy and PyTorch disagree by {off}")


def bench_fusion(backbone: nn.Module, images: Tensor, projection: Projection | None, repeats: int) -> None:
    maps = backbone(images)
    works: dict[str, Work] = {
        "backbone": partial(backbone, images),
        "average pool": partial(nn.functional.adaptive_avg_pool2d, maps, 1),
    }
    works |= fusion_works(maps.unflatten(0, (-1, CROPS)), projection)
    seconds = measure(works, repeats, images.device)
    lines = [
        FusionLine(name, library, *(seconds[f"{library} {name} {what}"] for what in ("fusion", "with pooling")))
        for library in ("NumPy", "PyTorch")
        for name in (*HEADS, *((ALIGNED,) if library == "NumPy" else ()))
    ]
    print_fusion(lines, seconds, len(images))


def print_fusion(lines: Sequence[FusionLine], seconds: dict[str, float], crops: int) -> None:
    whole = seconds["backbone"]
    print(f"backbone, {crops} crops: {1000 * whole:.2f} ms ({crops / whole:.1f} crops/s); in addition:\n")
    print(f"| {'head':16} | {'library':8} | fusion ms | share % | with pooling ms | share % |")
    print(f"|{'-' * 18}|{'-' * 10}|{'-' * 11}|{'-' * 9}|{'-' * 17}|{'-' * 9}|")
    for name, key in (("(average pool)", "average pool"), ("(stripe pooling)", "pooling")):
        cells = f"{1000 * seconds[key]:>15.3f} | {100 * seconds[key] / whole:>7.3f}"
        print(f"| {name:16} | {'PyTorch':8} | {'':>9} | {'':>7} | {cells} |")
    for line in lines:
        fusion = f"{1000 * line.fusion_s:>9.3f} | {100 * line.fusion_s / whole:>7.3f}"
        pooled = f"{1000 * line.with_pooling_s:>15.3f} | {100 * line.with_pooling_s / whole:>7.3f}"
        print(f"| {line.name:16} | {line.library:8} | {fusion} | {pooled} |")
    missed = [f"{line.library} {line.name}" for line in lines if line.fusion_s >= FUSION_TARGET * whole]
    print(
        f"\nfusion under {FUSION_TARGET:.0%} of the backbone: {'missed by ' + ', '.join(missed) if missed else 'all'}"
    )


# --- second table: throughput on a GPU -------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpeedLine:
    """One batch size: crops per second and bytes at most, of the bare backbone and with STA."""

    batch: int
    bare: float
    sta: float
    bare_bytes: int
    sta_bytes: int


def bench_batch(networks: dict[str, nn.Module], images: Tensor, repeats: int, graphs: bool) -> SpeedLine:
    device = images.device
    works: dict[str, Work] = {name: partial(network, images) for name, network in networks.items()}
    for work in works.values():
        work()  # compiles, where that was asked for, before memory is counted
    memory = {name: peak_bytes(work, device) for name, work in works.items()}
    if graphs:
        works = {name: captured(work, device) for name, work in works.items()}
    seconds = measure(works, repeats, device)
    crops = len(images)
    return SpeedLine(crops, crops / seconds["bare"], crops / seconds["sta"], memory["bare"], memory["sta"])


def bench_speed(backbone: nn.Module, arguments: argparse.Namespace, device: torch.device) -> None:
    fusion = StaFusion(arguments.fusion, stripes=STRIPES, projection=make_projection(arguments.projection))
    networks: dict[str, nn.Module] = {"bare": Bare(backbone), "sta": WithSta(backbone, fusion.to(device)).eval()}
    if arguments.compile:
        networks = {name: torch.compile(network, dynamic=False) for name, network in networks.items()}
    lines = []
    for batch in arguments.batches:
        images = noise(batch, device)
        try:
            lines.append(bench_batch(networks, images, arguments.repeats, arguments.graphs))
        except torch.cuda.OutOfMemoryError:
            print(f"batches of {batch} crops do not fit into the GPU's memory: left out")
    if lines:
        peak = arguments.peak_tflops or peak_tflops(torch.cuda.get_device_name(device))
        print_speed(lines, peak, torch.cuda.get_device_name(device), arguments.fusion)


def print_speed(lines: Sequence[SpeedLine], peak: float | None, chip: str, fusion: str) -> None:
    flops = flops_per_crop()
    said = f"{peak:g} TFLOP/s (half precision, dense)" if peak else "unknown: give --peak-tflops"
    print(
        f"\nResNet-50 + STA {fusion}, half precision, channels last, clips of {CROPS}. A crop takes {flops / 2e9:.2f} G"
    )
    print(f"multiply-adds = {flops / 1e9:.2f} GFLOP; peak assumed for {chip}: {said}.\n")
    print("| crops a batch | bare crops/s | STA crops/s | ratio | bare MiB | STA MiB | STA TFLOP/s | of peak |")
    print("|---|---|---|---|---|---|---|---|")
    for line in lines:
        rate = line.sta * flops / 1e12
        share = f"{rate / peak:.1%}" if peak else "-"
        memory = f"{line.bare_bytes / 2**20:.0f} | {line.sta_bytes / 2**20:.0f}"
        speeds = f"{line.bare:.0f} | {line.sta:.0f} | {line.sta / line.bare:.3f}"
        print(f"| {line.batch} | {speeds} | {memory} | {rate:.1f} | {share} |")
    bare, sta = max(line.bare for line in lines), max(line.sta for line in lines)
    verdict = "met" if sta / bare >= SPEED_TARGET else "missed"
    print(f"\nbest of each: bare {bare:.0f}, STA {sta:.0f} crops/s: {sta / bare:.1%}; {SPEED_TARGET:.0%} {verdict}")


# --- command line ----------------------------------------------------------------------------------------------------


def noise(crops: int, device: torch.device) -> Tensor:
    """Normalised images (B, 3, 256, 128), channels last, in the precision that the crop encoder uses there."""
    images = torch.randn(crops, 3, *CROP_PX, generator=torch.Generator().manual_seed(1))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return images.to(device=device, dtype=dtype, memory_format=torch.channels_last)


def on_device(backbone: ResNet50, device: torch.device) -> nn.Module:
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return backbone.to(device=device, dtype=dtype, memory_format=torch.channels_last)


def bench_cpu(arguments: argparse.Namespace) -> None:
    device = torch.device("cpu")
    name = platform.processor() or platform.machine()
    print(f"\nCPU ({name}, {os.cpu_count()} cores), {arguments.threads} thread(s), single precision, channels last")
    backbone = on_device(make_backbone(arguments.weights), device)
    images = noise(arguments.clips * CROPS, device)
    bench_fusion(backbone, images, make_projection(arguments.projection), arguments.repeats)


def bench_cuda(arguments: argparse.Namespace) -> None:
    device = torch.device("cuda")
    torch.backends.cudnn.benchmark = True
    print(f"\nGPU ({torch.cuda.get_device_name(device)}), half precision, channels last; CUDA {torch.version.cuda}")
    backbone = on_device(make_backbone(arguments.weights), device)
    images = noise(arguments.clips * CROPS, device)
    bench_fusion(backbone, images, make_projection(arguments.projection), arguments.repeats)
    bench_speed(backbone, arguments, device)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="only there; without it on both, where there is a GPU"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of everything, taking turns")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"of {CROPS} crops, in the first table")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch on the CPU")
    parser.add_argument(
        "--projection", type=int, default=0, metavar="D", help="a layer of D outputs behind the pooling"
    )
    parser.add_argument("--fusion", choices=HEADS, default="global", help="of the second table")
    parser.add_argument("--batches", default="64,128,256,512,1024", help=f"crops, multiples of {CROPS}")
    parser.add_argument("--compile", action="store_true", help="torch.compile, bare and STA alike")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs, bare and STA alike")
    parser.add_argument("--weights", type=Path, help="of ResNet-50; random ones without it")
    parser.add_argument("--peak-tflops", type=float, help="of the chip in half precision, where its name is not known")
    arguments = parser.parse_args(words)
    arguments.batches = [int(batch) for batch in arguments.batches.split(",")]
    if (
        any(batch < CROPS or batch % CROPS for batch in arguments.batches)
        or min(arguments.repeats, arguments.clips) < 1
    ):
        parser.error(f"batches must be multiples of {CROPS}; repeats and clips at least 1")
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    torch.set_num_threads(arguments.threads)
    has_cuda = torch.cuda.is_available()
    if arguments.device == "cuda" and not has_cuda:
        print("no GPU that PyTorch can use: nothing measured")
        return 1
    print(f"Python {platform.python_version()}, PyTorch {torch.__version__}, NumPy {np.__version__}")
    with torch.inference_mode():
        if arguments.device != "cuda":
            bench_cpu(arguments)
        if arguments.device != "cpu" and has_cuda:
            bench_cuda(arguments)
    if not has_cuda:
        print("\nno GPU that PyTorch can use: its share, crops/s, memory and share of the peak are not measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
