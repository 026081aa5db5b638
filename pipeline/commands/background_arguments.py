"""The arguments of `run_pipeline.py background`; imports nothing that takes time, because every command parses them."""

import argparse
from pathlib import Path

OUTPUTS = ("green", "alpha", "removed")


def add_background_arguments(parser: argparse.ArgumentParser) -> None:
    """What `background` takes."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--camera", required=True, metavar="ID", help="the camera whose people are cut out")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--identity",
        type=_identity,
        action="append",
        metavar="ID",
        help="only this person; may be given more than once",
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default="green",
        help="people on green (mp4), with alpha (PNG sequence), or removed onto the clean plate (mp4)",
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="what a replay of this config left: nothing is tracked again"
    )
    parser.add_argument("--duration", type=_positive, metavar="S", help="live cameras: stop after S seconds")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run left there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _identity(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected the number of an identity, from 1, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value
