"""Arguments of `rename`, `merge` and `split`."""

import argparse
from pathlib import Path


def add_rename_arguments(parser: argparse.ArgumentParser) -> None:
    """What `rename` takes."""
    _identity(parser, "whose name it is")
    parser.add_argument("--name", required=True, metavar="NAME", help="one line of text; empty takes the name away")
    _where(parser)


def add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    """What `merge` takes."""
    _identity(parser, "the one that is somebody else's second number")
    parser.add_argument("--into", type=int, required=True, metavar="ID", help="the one that lives on")
    _where(parser)


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """What `split` takes."""
    _identity(parser, "whose the tracks are now")
    parser.add_argument(
        "--tracks", nargs="+", required=True, metavar="CAMERA:EPOCH:TRACK", help="those that are somebody else"
    )
    parser.add_argument("--to", type=int, metavar="ID", help="whose they are; without it, somebody new")
    _where(parser)


def _identity(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--identity", type=int, required=True, metavar="ID", help=what)


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="a recorded run to correct")
    parser.add_argument("--config", type=Path, metavar="FILE", help="of a site: its matcher and its Redis (bus.url)")
