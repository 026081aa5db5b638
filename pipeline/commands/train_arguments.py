"""The arguments of `run_pipeline.py train`; imports nothing that takes time, because every command parses them."""

import argparse
from pathlib import Path

from pipeline.commands.evaluate_arguments import DATA_SETS


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """What `train` takes, besides `--out`, `--overwrite` and `--quiet`."""
    parser.add_argument("--dataset", required=True, choices=DATA_SETS)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the data set lies")
    parser.add_argument("--split", type=int, default=0, metavar="N", help="which split of prid2011 or ilids-vid")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the recipe; without one configs/train.yaml's values"
    )
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="all randomness follows from it")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="of PyTorch on a CPU")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run in --out was stopped")


def _seed(text: str) -> int:
    value = int(text) if text.isdecimal() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return value


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value
