"""`run_pipeline.py fit-site`: settings from a site's own footage, written as a configuration to use."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import write_bytes
from pipeline.build import (
    Settled,
    build_detector,
    build_encoder,
    build_head,
    build_recorded_source,
    matcher_threshold,
    settle,
)
from pipeline.capture.probe import SourceInfo
from pipeline.commands.output import prepare_output
from pipeline.commands.recorded import fix_threads, probe_recorded, progress_bar, read_truth, step
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.fitting.evidence import changes_of, fit_to_plain, threshold_told
from pipeline.fitting.fit import SiteFit, fit_site_settings
from pipeline.fitting.footage import Footage, FootageCamera, watch
from pipeline.fitting.site_file import fitted_text
from pipeline.runtime.camera import CameraPipeline

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to run it: `overwrite` replaces what an earlier run left in the folder."""

    overwrite: bool = False
    progress: bool = True


def fit_site(
    config: Config, config_file: Path, out_dir: Path, ground_truth: Path | None, echo: Echo, options: FitOptions
) -> int:
    """Watch all recorded cameras, choose the settings, and write `site.yaml` and `fit.json` into `out_dir`.

    Args:
        config: as read from `config_file`, whose text the result is made from.
        ground_truth: a folder as `replay --gt` takes it; None: what is certain anyway is used.

    Returns:
        0, also when the data was too little for some settings: those stay as they were, with a warning.

    Raises:
        PipelineError: a source that is live or cannot be opened, weights or ground truth that are missing; the disk.
    """
    infos = probe_recorded(config)
    truth = read_truth(config, ground_truth)
    settled = settle(config)
    for warning in (*settled.warnings, *(truth.warnings if truth else ())):
        echo(f"warning: {warning}")
    prepare_output(out_dir, options.overwrite, (config_file, ground_truth))
    footage, clip_model = _watch(settled, infos, options.progress)
    fit = fit_site_settings(footage, config, truth, _known_threshold(config, clip_model), config.runtime.seed)
    changes = changes_of(fit, config, config_file.name)
    text = fitted_text(config_file, out_dir, changes, os.environ)
    write_bytes(out_dir / "site.yaml", text.encode())
    plain = {"model": clip_model, **fit_to_plain(fit, footage.frames)}
    write_bytes(out_dir / "fit.json", (json.dumps(plain, indent=2) + "\n").encode())
    _tell(fit, footage, out_dir, echo)
    return 0


def _watch(settled: Settled, infos: Mapping[str, SourceInfo], progress: bool) -> tuple[Footage, str]:
    """All that the cameras show, and the model of the clips."""
    config = settled.config
    fix_threads(config)
    detector, encoder = build_detector(config), build_encoder(config)
    head = build_head(config, encoder.describe())
    cameras = [
        FootageCamera(
            camera.id,
            build_recorded_source(camera, 0.0),
            CameraPipeline(camera, config, detector=detector, encoder=encoder, head=head),
        )
        for camera in config.cameras
    ]
    with progress_bar(infos, "fit-site", progress) as bar, logging_redirect_tqdm():
        footage = watch(cameras, on_frame=lambda: step(bar))
    return footage, head.clip_model_id


def _known_threshold(config: Config, clip_model: str) -> float | None:
    """The configured threshold, or the one stored for the model; None for a model without one."""
    try:
        return matcher_threshold(config, clip_model)
    except ConfigError:
        return None


def _tell(fit: SiteFit, footage: Footage, out_dir: Path, echo: Echo) -> None:
    found = f"{len(footage.tracklets)} tracks, {len(footage.clips)} clips"
    echo(f"{sum(footage.frames.values())} frames of {len(footage.cameras)} cameras: {found}")
    for cause, count in footage.losses.items():
        echo(f"warning: {cause}: {count}")
    for warning in fit.warnings:
        echo(f"warning: {warning}")
    chosen = fit.threshold.threshold
    echo("threshold: " + ("left as it was" if chosen is None else f"{chosen:g} ({threshold_told(fit.threshold)})"))
    gate = fit.quality.min_quality
    echo("min_quality: " + (fit.quality.reason if gate is None else f"{gate:g} ({fit.quality.reason})"))
    for offset in fit.offsets.values():
        kept = "" if offset.is_worth_it else "; too small to be written"
        echo(f"clock of {offset.camera_id}: {offset.offset_s:+.2f} s ± {offset.error_s:.2f} s, by {offset.how}{kept}")
    echo(f"topology: {len(fit.topology)} new entries")
    echo(f"config to use: {out_dir / 'site.yaml'}")
    echo(f"evidence:      {out_dir / 'fit.json'}")
