"""The arguments of `run_pipeline.py evaluate`; imports nothing that takes time, because every command parses them."""

import argparse
from pathlib import Path
from typing import get_args, get_type_hints

from pipeline.config import ReidConfig

DATA_SETS = ("mars", "duke-video", "prid2011", "ilids-vid", "market1501", "plain")
SAMPLINGS = ("even", "all", "dense")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """What `evaluate` takes, besides `--out`, `--overwrite` and `--quiet`."""
    kinds = get_type_hints(ReidConfig)
    parser.add_argument("--dataset", required=True, choices=DATA_SETS)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the data set lies")
    parser.add_argument("--split", type=int, default=0, metavar="N", help="which split of prid2011 or ilids-vid")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the splits that no file states")

    parser.add_argument("--config", type=Path, metavar="FILE", help="its reid section is evaluated")
    parser.add_argument("--backbone", choices=get_args(kinds["backbone"]), help="instead of reid.backbone")
    parser.add_argument("--weights", metavar="NAME|FILE", help="instead of reid.weights")
    parser.add_argument("--head", choices=get_args(kinds["head"]), help="instead of reid.head")
    parser.add_argument("--fusion", choices=get_args(kinds["fusion"]), help="instead of reid.fusion")
    parser.add_argument("--head-weights", metavar="FILE", help="instead of reid.head_weights")
    parser.add_argument("--heads", metavar="A,B,…", help="compare heads: configured, mean, sta-global, sta-stripes, …")
    parser.add_argument("--threads", type=_count, metavar="N", help="of the encoder on a CPU")

    parser.add_argument("--sampling", choices=SAMPLINGS, default="even", help="which pictures of a tracklet speak")
    parser.add_argument("--frames", type=_count, metavar="N", help="pictures of a clip, instead of reid.clip_frames")
    parser.add_argument("--most", type=_count, metavar="N", help="of sampling all and dense: pictures of a tracklet")
    parser.add_argument("--rerank", action="store_true", help="score after k-reciprocal re-ranking, too")
    parser.add_argument("--top-k", type=_count, metavar="N", help="re-rank only the N nearest of each query")


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value
