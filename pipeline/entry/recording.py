"""The recorder process: everything that is said about the site, into the output folder."""

import logging
import os
import time

import cv2

from pipeline.background.retention import sweep
from pipeline.build import (
    build_crops,
    build_references,
)
from pipeline.entry.shared import FIGURES_EVERY_S, Pulse, open_bus
from pipeline.errors import ConfigError
from pipeline.runtime.children import ChildContext
from pipeline.runtime.figures import Figures, write_figures
from pipeline.runtime.health import process_measures
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.recorder import RunRecorder
from pipeline.runtime.recording import Recording

_log = logging.getLogger(__name__)

NICE = 10  # masks and crops can wait, frames cannot: a tenth of the processor where both want it


def record(context: ChildContext, plan: RunPlan) -> None:
    """The recorder process: everything that is said about this site, into the output folder."""
    config, out_dir = plan.config, plan.out_dir
    if out_dir is None:
        raise ConfigError("nothing is recorded without --out")
    os.nice(NICE)
    cv2.setNumThreads(1)
    references = build_references(config, out_dir, plan.host)
    recorder = RunRecorder(
        out_dir,
        [camera.id for camera in config.cameras],
        crops=build_crops(config, out_dir, plan.host),
        references=references,
        features_s=config.retention.features_s,
    )
    bus = open_bus(plan, "recorder")
    recording = Recording(
        bus,
        plan.group,
        recorder,
        out_dir,
        references=references,
        sweep=lambda now_s: _log.debug("%s", sweep(out_dir, config.retention, now_s)),
        beat=context.beat,
        on_pass=Pulse(FIGURES_EVERY_S, lambda: _report_recording(plan, context, recording)),
    )
    context.ready()
    recording.run(context.stop)
    _report_recording(plan, context, recording)
    bus.close()


def _report_recording(plan: RunPlan, context: ChildContext, recording: Recording) -> None:
    counts = {**recording.counts(), **process_measures()}
    write_figures(
        plan.folder, Figures("recorder", context.name, losses=recording.losses(), counts=counts, at_s=time.time())
    )
