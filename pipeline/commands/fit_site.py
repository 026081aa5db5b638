"""`run_pipeline.py fit-site`: settings and a clip head from a site's own footage, with a configuration to use."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import write_bytes
from pipeline.build import Settled, build_detector, build_recorded_source, matcher_threshold, settle
from pipeline.capture.probe import SourceInfo
from pipeline.commands.adapting import (
    BACKBONE_FILE,
    CameraModels,
    Progress,
    SiteAdaptation,
    adapt_to_site,
    adapted_models,
    changes_of_head,
    encoded_again,
    held_back_clips,
    models_to_watch,
    nothing_learned,
    picture_cutter,
    why_not_adapted,
    write_head,
)
from pipeline.commands.output import prepare_output
from pipeline.commands.recorded import fix_threads, probe_recorded, progress_bar, read_truth, step
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.fitting.calibration import read_calibrations
from pipeline.fitting.crops import CropStore, fused_again
from pipeline.fitting.evidence import changes_of, fit_to_plain, rounded_values, threshold_told
from pipeline.fitting.facts import site_facts
from pipeline.fitting.fit import SiteFit, fit_site_settings, fit_threshold_alone, lags_of_tracks
from pipeline.fitting.footage import Footage, FootageCamera, watch
from pipeline.fitting.site_file import fitted_text
from pipeline.fitting.threshold import HELD_BACK, ThresholdFit
from pipeline.fitting.views import ClockLag
from pipeline.ground import GroundPlane
from pipeline.runtime.camera import CameraPipeline
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.tracking.encoding_policy import EVENLY

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to run it.

    Attributes:
        overwrite: replaces what an earlier run left in the folder.
        adapt: learns a clip head. adapt_backbone: and trains the backbone's last stages, if that pays.
    """

    overwrite: bool = False
    progress: bool = True
    adapt: bool = True
    adapt_backbone: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class _Watched:
    """What the cameras showed, and with which models."""

    footage: Footage
    models: CameraModels
    store: CropStore

    @property
    def clip_model(self) -> str:
        return self.models.head.clip_model_id


@dataclass(frozen=True, eq=False, slots=True)
class _Site:
    """What is known of the site besides its footage, and where the results go."""

    sizes_px: Mapping[str, tuple[int, int]]
    grounds: Mapping[str, GroundPlane]
    out_dir: Path


@dataclass(frozen=True, eq=False, slots=True)
class _Fitted:
    """The settings that belong together: footage, threshold and, where one was learned, the head."""

    footage: Footage
    fit: SiteFit
    clip_model: str
    adaptation: SiteAdaptation


def fit_site(
    config: Config, config_file: Path, out_dir: Path, ground_truth: Path | None, echo: Echo, options: FitOptions
) -> int:
    """Watch all recorded cameras, choose the settings, and write `site.yaml`, `fit.json` and perhaps a head.

    Args:
        config: as read from `config_file`, whose text the result is made from.
        ground_truth: a folder as `replay --gt` takes it; None: what is certain anyway is used. The head learns from
            what is certain anyway in both cases.

    Returns:
        0, also when the data was too little for some settings: those stay as they were, with a warning.

    Raises:
        PipelineError: a source that is live or cannot be opened, weights, ground truth or a calibration that are
            missing or cannot be read; the disk.
        KeyboardInterrupt: after the files are complete, when the adaptation was interrupted.
    """
    infos = probe_recorded(config)
    options = replace(options, adapt=options.adapt and why_not_adapted(config.reid) is None)
    truth = read_truth(config, ground_truth)
    sizes_px = {camera: (info.width_px, info.height_px) for camera, info in infos.items()}
    grounds, doubts = read_calibrations(config, sizes_px) if options.adapt else ({}, [])
    settled = settle(config)
    for warning in (*settled.warnings, *(truth.warnings if truth else ()), *doubts):
        echo(f"warning: {warning}")
    prepare_output(out_dir, options.overwrite, (config_file, ground_truth, *_head_of(config)))
    watched = _watch(settled, infos, options)
    fitted = _fit(watched, config, truth, _Site(sizes_px, grounds, out_dir), options)
    _write(fitted, watched, config, config_file, out_dir)
    _tell(fitted, out_dir, echo)
    if fitted.adaptation.interrupted:
        echo("the adaptation was interrupted; what had been accepted by then is written, and every file is complete")
        raise KeyboardInterrupt
    return 0


def _head_of(config: Config) -> list[Path]:
    """The file of the head in use, where it is one."""
    head = config.reid.head_weights
    return [Path(head)] if head and Path(head).exists() else []


def _watch(settled: Settled, infos: Mapping[str, SourceInfo], options: FitOptions) -> _Watched:
    """All that the cameras show."""
    fix_threads(settled.config)
    models = models_to_watch(settled.config, options.adapt)
    detector = build_detector(settled.config)
    store = CropStore(picture_of=picture_cutter(settled.config, options.adapt_backbone))
    cameras = [
        FootageCamera(
            camera.id,
            build_recorded_source(camera, 0.0),
            CameraPipeline(
                camera,
                models.config,
                detector=detector,
                encoder=models.encoder,
                head=models.head,
                on_crop=store.add if options.adapt else None,
                on_clip=store.note if options.adapt else None,
                on_split=store.split if options.adapt else None,
                policy=EVENLY,  # a head learns from many looks
            ),
        )
        for camera in settled.config.cameras
    ]
    with progress_bar(infos, "fit-site", options.progress) as bar, logging_redirect_tqdm():
        footage = watch(cameras, on_frame=lambda: step(bar))
    return _Watched(footage, models, store)


def _fit(
    watched: _Watched,
    config: Config,
    truth: GroundTruth | None,
    site: _Site,
    options: FitOptions,
) -> _Fitted:
    footage, seed = watched.footage, config.runtime.seed
    lags = lags_of_tracks(footage) if options.adapt or truth is None else None
    adaptation = nothing_learned(why_not_adapted(config.reid) or "not asked for")
    if options.adapt:
        adaptation = _adapt(watched, lags or [], site, options)
    if adaptation.parameters is not None:
        fitted = _fit_adapted(watched, config, truth, lags or [], adaptation)
        if fitted.fit.threshold.threshold is not None:
            return fitted
        adaptation = adaptation.dropped("there is too little footage to choose the threshold that belongs to it")
    known = _known_threshold(config, watched.clip_model)
    fit = fit_site_settings(footage, config, truth, known, seed, track_lags=lags)
    return _Fitted(footage, fit, watched.clip_model, adaptation)


def _adapt(watched: _Watched, lags: Sequence[ClockLag], site: _Site, options: FitOptions) -> SiteAdaptation:
    footage, models, store = watched.footage, watched.models, watched.store
    facts = site_facts(footage, store, models.config, lags, site.grounds, site.sizes_px)
    backbone_out = site.out_dir / BACKBONE_FILE if options.adapt_backbone else None
    with _adaptation_bar(options.progress) as on_progress, logging_redirect_tqdm():
        return adapt_to_site(facts, store, models, backbone_out, on_progress)


@contextmanager
def _adaptation_bar(show: bool) -> Iterator[Progress]:
    """Each stage in turn, with its steps."""
    with tqdm(unit=" steps", desc="adapting", disable=not show, mininterval=0.5) as bar:

        def on_progress(stage: str, done: int, total: int) -> None:
            bar.set_description_str(f"adapting: {stage}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        yield on_progress


def _fit_adapted(
    watched: _Watched,
    config: Config,
    truth: GroundTruth | None,
    lags: Sequence[ClockLag],
    adaptation: SiteAdaptation,
) -> _Fitted:
    """Everything with the clips as the new head fuses them, and how the thresholds of both heads do."""
    models, store, seed = adapted_models(adaptation, watched.models), watched.store, config.runtime.seed
    if adaptation.backbone is not None:
        store = encoded_again(store, models.encoder)
    footage = fused_again(watched.footage, store, models.head, models.description.model_id)
    clips, held_back = held_back_clips(adaptation, watched.footage, watched.store, watched.models)
    fit = fit_site_settings(footage, config, truth, None, seed, track_lags=lags, held_back=held_back)
    groups = clips if fit.threshold.chosen_on == HELD_BACK else None
    before = fit_threshold_alone(watched.footage, config, truth, seed, lags, groups)
    compared = {"before": _shares(before), "after": _shares(fit.threshold)}
    plain = {**adaptation.plain, "thresholds": compared}
    return _Fitted(footage, fit, models.head.clip_model_id, replace(adaptation, plain=plain))


def _shares(fit: ThresholdFit) -> dict[str, Any]:
    names = ("threshold", "interval", "false_share", "missed_share", "newcomer_share", "chosen_on")
    return {name: value for name, value in asdict(fit).items() if name in names}


def _write(fitted: _Fitted, watched: _Watched, config: Config, config_file: Path, out_dir: Path) -> None:
    adaptation = fitted.adaptation
    head = changes_of_head(adaptation, watched.models)
    notes = [] if head else [f"reid: the clip head is left as it was: {adaptation.reason}"]
    changes = changes_of(fitted.fit, config, config_file.name, head, notes)
    text = fitted_text(config_file, out_dir, changes, os.environ)
    if adaptation.parameters is not None:
        write_head(adaptation.parameters, out_dir)
    write_bytes(out_dir / "site.yaml", text.encode())
    plain = {
        "model": fitted.clip_model,
        **fit_to_plain(fitted.fit, fitted.footage.frames),
        "adaptation": rounded_values({"model_before": watched.clip_model, **adaptation.plain}),
    }
    write_bytes(out_dir / "fit.json", (json.dumps(plain, indent=2) + "\n").encode())


def _known_threshold(config: Config, clip_model: str) -> float | None:
    """The configured threshold, or the one stored for the model; None for a model without one."""
    try:
        return matcher_threshold(config, clip_model)
    except ConfigError:
        return None


def _tell(fitted: _Fitted, out_dir: Path, echo: Echo) -> None:
    footage, fit = fitted.footage, fitted.fit
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
    adaptation = fitted.adaptation
    took = f" ({adaptation.seconds:.0f} s)" if adaptation.seconds else ""
    echo(f"clip head: {'' if adaptation.parameters else 'left as it was: '}{adaptation.reason}{took}")
    echo(f"config to use: {out_dir / 'site.yaml'}")
    echo(f"evidence:      {out_dir / 'fit.json'}")
