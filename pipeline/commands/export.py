"""`run_pipeline.py export`: a re-ID network in a faster format, kept only when it computes the same."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """See `reid.export.ExportWish`."""

    format: str
    backbone: str | None = None
    half: bool = False
    pixels: str | None = None
    bgr: bool = False
    overwrite: bool = False


def export(
    weights: str, out: Path, options: ExportOptions, echo: Echo, *, environment: Mapping[str, str] | None = None
) -> int:
    """Export weights, named as in a configuration, and print how well the result agrees; 0 when it is kept.

    Raises:
        WeightsError: not found or not readable, or the export computes something else. ConfigError: an impossible wish.
        OutputError: `out` exists, or cannot be written.
    """
    from reid.export import ExportWish, export_network
    from reid.weights import find_weights

    source = find_weights(weights, os.environ if environment is None else environment)
    wish = ExportWish(options.format, options.backbone, options.half, options.pixels, options.bgr)
    echo(f"exporting {source} to {options.format}")
    exported = export_network(source, wish, out, overwrite=options.overwrite)
    echo(f"compared with its source over {exported.parity}")
    echo(f"{exported.path}: model_id {exported.model_id}; use it as reid.weights")
    return 0
