"""The output folder: a run never mixes with what lies there already."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import OutputError

# What a run of ours leaves behind: a folder without one of these is somebody else's and is never emptied.
_OURS = ("run.json", "identities.jsonl", "scene", "tracks", "fit.json", "evaluation.json", "background", "recipe.yaml")


def prepare_output(out_dir: Path, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """An empty folder at `out_dir`.

    Args:
        inputs: what the command is going to read; None is nothing.

    Raises:
        OutputError: it holds something and `overwrite` is not set, or it does not look like an output folder of ours,
            or it holds an input, or it cannot be written.
    """
    for path in filter(None, inputs):
        if path.resolve().is_relative_to(out_dir.resolve()):
            raise OutputError(f"{path} is read by this command and lies in --out {out_dir}; choose another --out")
    try:
        if out_dir.exists() and not out_dir.is_dir():
            raise OutputError(f"{out_dir} is a file; choose another --out")
        holds = sorted(p.name for p in out_dir.iterdir()) if out_dir.exists() else []
        if holds and not overwrite:
            raise OutputError(f"{out_dir} is not empty; choose another --out or add --overwrite")
        if holds and not set(holds) & set(_OURS):
            raise OutputError(f"{out_dir} holds {holds[0]} and no earlier run; it is not emptied, choose another --out")
        if holds:
            shutil.rmtree(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out_dir} cannot be written ({error.strerror or error}); choose another --out") from None
