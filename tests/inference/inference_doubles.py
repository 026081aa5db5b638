"""A detector and an encoder whose results can be foretold from the pictures, for tests of the inference process."""

import threading

import numpy as np

from pipeline.ports import EncoderDescription, Projection
from pipeline.types import CropFeature, CropQuality, Detections, Frame

STRIPES, CHANNELS = 4, 3


def frame_of(value: int, camera_id: str = "door", index: int = 0, height_px: int = 48, width_px: int = 64) -> Frame:
    image = np.full((height_px, width_px, 3), value, np.uint8)
    return Frame(camera_id, "e1", index, 100.0 + index, image)


def foretold(frame: Frame) -> Detections:
    """As many boxes as the first pixel's value modulo 4; their left edge is the picture's mean."""
    n = int(frame.image[0, 0, 0]) % 4
    left = float(frame.image.mean())
    xyxy = np.array([[left, i, left + 10, i + 20] for i in range(n)], np.float32).reshape(n, 4)
    return Detections(xyxy, np.full(n, 0.5, np.float32))


class MeanDetector:
    """`gate` holds every call back while it is cleared; `batches` says how many frames each call had."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def detect(self, frames):
        self.entered.set()
        self.gate.wait(10)
        self.batches.append([f.camera_id for f in frames])
        if any(f.image[0, 0, 0] == 255 for f in frames):
            raise RuntimeError("this picture is poison")
        return [foretold(f) for f in frames]


class StripeEncoder:
    """The mean colour of each horizontal stripe of each box."""

    def __init__(self, model_id: str = "stripes-1") -> None:
        self.model_id = model_id

    def describe(self) -> EncoderDescription:
        weight = np.arange(6, dtype=np.float32).reshape(2, CHANNELS)
        return EncoderDescription(self.model_id, STRIPES, CHANNELS, Projection(weight, np.ones(2, np.float32), True))

    def encode(self, frames, boxes):
        return [[self._one(f, b) for b in of_frame] for f, of_frame in zip(frames, boxes, strict=True)]

    def _one(self, frame: Frame, box) -> CropFeature:
        x1, y1, x2, y2 = box.astype(int)
        parts = np.array_split(frame.image[y1:y2, x1:x2].astype(np.float32), STRIPES)
        stripes = np.stack([p.mean(axis=(0, 1)) for p in parts])
        none = CropQuality(0.0, 0.0, 0.0, 0.0, 0.0)
        return CropFeature(frame.captured_at_s, stripes, (stripes**2).sum(axis=1), none, self.model_id)
