"""The inference process: loads the models, warms them up, serves."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from pipeline.build import (
    build_detector,
    build_encoder,
    build_head,
    matcher_threshold,
)
from pipeline.entry.shared import FIGURES_EVERY_S, detector_name, open_bus
from pipeline.ports import CropEncoder, Detector
from pipeline.runtime.children import ChildContext
from pipeline.runtime.figures import Figures, write_figures
from pipeline.runtime.health import process_measures
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.matching import announce_model, insist
from pipeline.runtime.plan import RunPlan
from pipeline.types import Frame

_WARM_UP_PX = (360, 640, 3)


def serve_inference(context: ChildContext, plan: RunPlan) -> int:
    """The inference process: loads the models, warms them up, serves until it is told to stop."""
    from pipeline.inference.compute import Observer
    from pipeline.inference.server import InferenceServer

    os.environ["OMP_NUM_THREADS"] = str(plan.threads)  # read when PyTorch is loaded
    cv2.setNumThreads(plan.threads)
    detector = build_detector(plan.config)
    encoder = build_encoder(plan.config)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(plan.threads)
    clip_model_id = build_head(plan.config, encoder.describe()).clip_model_id
    matcher_threshold(plan.config, clip_model_id)  # a model without a figure ends the run before it begins
    _warm_up(detector, encoder)
    bus = open_bus(plan, "inference")
    insist(lambda: announce_model(bus, clip_model_id), context.beat, context.stop)
    bus.close()
    latency = LatencyRecorder()
    server = InferenceServer(
        detector, encoder, plan.socket_path, observer=Observer(record=latency.record, progress=context.beat)
    )
    models = {"detector": detector_name(plan.config), "encoder": encoder.describe().model_id, "clips": clip_model_id}

    def report() -> None:
        figures = Figures("inference", context.name, models=models, latency=latency.to_json(), at_s=time.time())
        figures.counts = {**server.counters(), **process_measures()}
        write_figures(plan.folder, figures)

    report()
    with _repeated(report):
        context.ready()
        return server.run_until(context.stop)


def _warm_up(detector: Detector, encoder: CropEncoder) -> None:
    """The first pass through a model takes many times as long as the next ones."""
    frame = Frame("warm-up", "0", 0, 0.0, np.zeros(_WARM_UP_PX, np.uint8))
    detector.detect([frame])
    encoder.encode([frame], [np.array([[100, 50, 200, 300]], np.float32)])


@contextmanager
def _repeated(call: Callable[[], None]) -> Iterator[None]:
    """Call in a thread every second while the block runs, and once more after it."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(FIGURES_EVERY_S):
            call()

    thread = threading.Thread(target=repeat, name="figures", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        call()
