"""An inference process for tests, with the simplest of models."""

from pathlib import Path

import numpy as np
from child_targets import note

from pipeline.inference.compute import Observer
from pipeline.inference.server import InferenceServer
from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature, CropQuality, Detections


class OneBox:
    """A detector that finds the whole picture, and an encoder of two constant stripes."""

    def detect(self, frames):
        boxes = [[0, 0, f.image.shape[1], f.image.shape[0]] for f in frames]
        return [Detections(np.array([b], np.float32), np.ones(1, np.float32)) for b in boxes]

    def describe(self):
        return EncoderDescription("one", 2, 3, None)

    def encode(self, frames, boxes):
        none = CropQuality(0.0, 0.0, 0.0, 0.0, 0.0)
        one = CropFeature(0.0, np.ones((2, 3), np.float32), np.ones(2, np.float32), none, "one")
        return [[one for _ in of_frame] for of_frame in boxes]


def serve(context, folder, socket_path):
    """An inference process; its compute thread beats."""
    note(folder, context, "start")
    model = OneBox()
    server = InferenceServer(model, model, Path(socket_path), observer=Observer(progress=context.beat))
    context.ready()
    return server.run_until(context.stop)
