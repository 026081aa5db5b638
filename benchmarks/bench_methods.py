"""What each loss, each head and each way to compare parts of a body is worth on a generated data set.

    python benchmarks/generated_mars/make.py DIR --seed 2
    MODELS_DIR=... python benchmarks/bench_methods.py --root DIR --out OUT [--tables losses,heads,tuning,local,rates]
        [--seeds 3] [--first-seed 0] [--weights osnet_x0_25_msmt17] [--report]

Runs are kept in OUT/results.jsonl, one line each; what is there already is not run again. `--report` only prints.

- `losses`: OSNet x0.25 trained on MSMT17 stays as it is, its last layer and one more learn over its crop features with
  each loss, alone and beside identity; 256 x 128 px.
- `tuning`: the whole network goes on learning with the losses that the notes put in an order; 128 x 64 px.
- `heads`: the network stays as it is, each clip head learns over its crop features; K = 4, clips of 4.
- `local`: part heads, and ways to compare what one plain network leaves, on whole bodies and on queries whose lower
  part is cut off. `parts by a known pose` knows how much is cut: what a pose network without errors would tell.
- `rates`: crops per second on this machine; then accuracy against them is plotted, OUT/accuracy_speed.png.

Intervals are 95 % of the mean over seeds of training (Student's t); people and pictures are the same for all.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from methods import rates
from methods.local_features import TOP_K, plain_ways, trained_head
from methods.report import add_result, done, paired, plot, read_results, table_lines
from methods.rows import Length, head_rows, loss_rows, part_rows, tuning_rows
from methods.trials import (
    TestPart,
    cut_queries,
    score,
    stack_tracklets,
    torch_vectors,
    train_once,
    tune_and_score,
    vectors_of,
)

from reid.datasets.load import load_data_set
from reid.heads import BatchHead, MeanHead, StaHead
from reid.training.batches import FrozenCrops
from reid.training.live import TrainedCropEncoder
from reid.training.recipe import Recipe
from reid.weights import find_weights

Run = Callable[[], Mapping[str, Mapping[str, float]]]  # row -> figures

CUT_SHARE = 0.6  # of a body that is left: head to hips
CLAIMED = ("identity", "triplet", "quadruplet", "TriHard", "MSML")  # the notes' order, worst first
TABLES = ("losses", "heads", "tuning", "local", "rates")


def main() -> int:
    options = _parse()
    torch.set_num_threads(1)
    file = options.out / "results.jsonl"
    if not options.report:
        _run(options, file)
    results = read_results(file)
    for table in TABLES:
        for line in (*table_lines(results, table), ""):
            print(line)
    for better, worse in zip(CLAIMED[1:], CLAIMED, strict=False):
        for table in ("losses", "tuning"):
            if {better, worse} <= results.get(table, {}).keys():
                print(f"{table}: mAP of {better} - {worse}: {paired(results, table, better, worse, 'mAP')}")
    if results.get("rates") and results.get("local"):
        plot(results, options.out / "accuracy_speed.png")
        print(f"written: {options.out / 'accuracy_speed.png'}")
    return 0


def _run(options: argparse.Namespace, file: Path) -> None:
    weights, length = str(find_weights(options.weights)), Length(options.epochs, options.head_epochs)
    data_set = load_data_set("mars", options.root)
    with tempfile.TemporaryDirectory() as folder:
        part = cut_queries(data_set, Path(folder), CUT_SHARE)
        for table in options.tables:
            for name, seed, run in _runs(table, part, weights, length, options):
                if (table, name, seed) in done(file):
                    continue
                began = time.monotonic()
                for row, figures in run().items():
                    add_result(file, table, row, seed, figures)
                print(f"{table}, {name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


def _runs(
    table: str, part: TestPart, weights: str, length: Length, options: argparse.Namespace
) -> Iterator[tuple[str, int, Run]]:
    """(the row that says whether it was run, seed, what to run), seed by seed: cut short, all rows have as many."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if table == "tuning":
        for seed in seeds:
            for name, recipe in tuning_rows(weights, length).items():
                yield name, seed, _tuning(name, part, recipe, seed)
    elif table == "losses":
        yield from _frozen_runs(part, loss_rows(weights, length), seeds)
    elif table == "heads":
        yield from _frozen_runs(part, head_rows(weights, length), seeds, untrained=True)
    elif table == "local":
        for seed in seeds:
            for name, recipe in part_rows(weights, length).items():
                first = "whole body" if name == "plain" else name
                yield first, seed, _local(name, part, recipe, seed)
    else:
        rows = part_rows(weights, length)
        yield "whole body", 0, lambda: _rates(rows, options.pose_weights) | _head_rates(head_rows(weights, length))


def _tuning(name: str, part: TestPart, recipe: Recipe, seed: int) -> Run:
    return lambda: {name: tune_and_score(part, recipe, seed)}


def _local(name: str, part: TestPart, recipe: Recipe, seed: int) -> Run:
    if name == "plain":
        return lambda: plain_ways(part, recipe, seed)
    return lambda: {name: trained_head(part, recipe, seed)}


def _frozen_runs(
    part: TestPart, rows: Mapping[str, Recipe], seeds: range, untrained: bool = False
) -> Iterator[tuple[str, int, Run]]:
    """The network is the same in all of them, so every picture passes it once."""
    encoder = rates.encoder_of(next(iter(rows.values())))
    stacks = {
        name: stack_tracklets(side, encoder) for name, side in (("gallery", part.gallery), ("query", part.whole.query))
    }
    for name, head in _untrained(encoder).items() if untrained else ():

        def fuse(head: BatchHead = head, name: str = name) -> Mapping[str, Mapping[str, float]]:
            return {name: score(*(vectors_of(head, stacks[side]) for side in ("query", "gallery")), part.whole)}

        yield name, 0, fuse
    shared: dict[str, FrozenCrops | None] = {"crops": None}
    for seed in seeds:
        for name, recipe in rows.items():

            def learn(name: str = name, recipe: Recipe = recipe, seed: int = seed) -> Mapping[str, Mapping[str, float]]:
                with tempfile.TemporaryDirectory() as folder:
                    model, shared["crops"] = train_once(part.whole, recipe, seed, Path(folder), shared["crops"])
                vectors = (torch_vectors(model, stacks[side]) for side in ("query", "gallery"))
                return {name: score(*vectors, part.whole)}

            yield name, seed, learn


def _untrained(encoder: TrainedCropEncoder) -> dict[str, BatchHead]:
    description = encoder.describe()
    return {
        "untrained mean": MeanHead(description),
        "untrained STA (P2)": StaHead(description, "global"),
        "untrained STA (P1 + P2)": StaHead(description, "paper"),
        "untrained stripes": StaHead(description, "stripes"),
    }


def _rates(rows: Mapping[str, Recipe], pose_weights: Path | None) -> dict[str, dict[str, float]]:
    """Crops per second: a crop through the network, its share of a clip's head and of the clip's comparison."""
    encoder = rates.encoder_of(rows["plain"])
    channels, pictures = encoder.describe().channels, rows["plain"].pictures
    network_s, mean = rates.crop_s(encoder), MeanHead(encoder.describe())
    pose_s = None if pose_weights is None else rates.pose_s(pose_weights, pictures.height_px, pictures.width_px)
    found = {
        "whole body": rates.head_s(mean, 8, channels) + rates.compare_s(512),
        "stripes kept apart": rates.head_s(rates.stripes_head(encoder), 8, channels) + rates.compare_s(2560),
        f"whole body, DMLI over the nearest {TOP_K}": rates.head_s(mean, 8, channels)
        + rates.compare_s(512, TOP_K, (8, channels)),
    }
    for name in ("PCB", "ICNN", "AlignedReID++", "SCPNet"):
        own = rates.encoder_of(rows[name])
        head = rates.live_head(rows[name], own)
        stripes = own.describe().stripes
        length = head.fuse_batch(*_one_clip(stripes, channels)).embedding.shape[1]
        found[name] = rates.head_s(head, stripes, channels) + rates.compare_s(length)
    per_crop = {name: network_s + seconds / rates.FRAMES for name, seconds in found.items()}
    if pose_s is not None:
        per_crop["parts by a known pose"] = per_crop["stripes kept apart"] + pose_s
    return {name: {"crops/s": 1 / seconds, "ms a crop": 1000 * seconds} for name, seconds in per_crop.items()}


def _head_rates(rows: Mapping[str, Recipe]) -> dict[str, dict[str, float]]:
    """The same for clip heads, at their size of crops."""
    encoder = rates.encoder_of(next(iter(rows.values())))
    stripes, channels, network_s = encoder.describe().stripes, encoder.describe().channels, rates.crop_s(encoder)
    found = {}
    for name, recipe in rows.items():
        head = rates.live_head(recipe, encoder)
        length = head.fuse_batch(*_one_clip(stripes, channels)).embedding.shape[1]
        own_s = rates.head_s(head, stripes, channels) + rates.compare_s(length)
        seconds = network_s + own_s / rates.FRAMES
        found[name] = {"crops/s": 1 / seconds, "ms a crop": 1000 * seconds}
    return found


def _one_clip(stripes: int, channels: int) -> tuple[rates.FloatArray, rates.FloatArray]:
    crops = torch.ones(1, rates.FRAMES, stripes, channels).numpy()
    return crops, crops.sum(-1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, metavar="DIR", help="made by generated_mars/make.py")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tables", type=lambda text: text.split(","), default=TABLES, metavar="A,B")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--weights", default="osnet_x0_25_msmt17", help="of OSNet x0.25")
    parser.add_argument("--pose-weights", type=Path, metavar="FILE", help="yolo11n.pt, for the cost of a pose network")
    parser.add_argument("--epochs", type=int, default=Length().tuning, help="of a run that tunes the network")
    parser.add_argument("--head-epochs", type=int, default=Length().frozen, help="of a run over a frozen one")
    parser.add_argument("--report", action="store_true", help="print the tables of the runs so far")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
