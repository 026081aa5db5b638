"""The arguments of `run_pipeline.py search`; imports nothing that takes time, because every command parses them."""

import argparse
import re
from datetime import datetime
from pathlib import Path

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """What `search` takes."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="a run's output folder, also of one that still runs")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="without --out: the running site on its Redis; with it: the models"
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--image", type=Path, metavar="FILE", help="a picture of a person, or of a scene with people")
    asked.add_argument("--identity", type=int, metavar="ID", help="an identity of the run")
    parser.add_argument("--why", action="store_true", help="with --identity: why each track was linked")
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="how many people to show (10)")
    parser.add_argument("--since", type=moment, metavar="TIME", help="only clips from then on: seconds, 1:02:03 or ISO")
    parser.add_argument("--until", type=moment, metavar="TIME", help="only clips up to then")
    parser.add_argument("--camera", action="append", metavar="ID", help="only this camera; may be given more than once")
    parser.add_argument("--no-rerank", action="store_true", help="leave the order of plain distances")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result for programs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the result with pictures, as one page")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="the result as one picture (PNG)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where features are compared")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def moment(text: str) -> float:
    """A message time in seconds: a number, `1:02:03.5` or `2:03` since the start, or ISO 8601 with a time zone."""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups(default="0")
        return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"expected seconds, H:MM:SS, or a time with its zone as 2026-01-31T14:03:22Z, got {text!r}"
        )
    return at.timestamp()


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value
