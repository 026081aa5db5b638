"""Small data sets on disk, and encoders that say what they saw, for the tests of evaluation."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature
from reid.crops import NO_QUALITY
from reid.datasets.tracklets import DataSet, ImageTracklet

MODEL = "colours@1"


class ColourEncoder:
    """The mean colour of each of four stripes of a crop, as its map; counts the pictures it was given."""

    def __init__(self):
        self.seen = 0
        self.largest_call = 0

    def describe(self) -> EncoderDescription:
        return EncoderDescription(MODEL, 4, 3, None)

    def encode(self, frames, boxes):
        self.seen += sum(len(b) for b in boxes)
        self.largest_call = max(self.largest_call, len(frames))
        return [[self._feature(frame, box) for box in of_frame] for frame, of_frame in zip(frames, boxes, strict=True)]

    def _feature(self, frame, box):
        x1, y1, x2, y2 = box.astype(int)
        stripes = np.stack([part.reshape(-1, 3).mean(axis=0) for part in np.array_split(frame.image[y1:y2, x1:x2], 4)])
        stripes = stripes.astype(np.float32) / 255
        return CropFeature(frame.captured_at_s, stripes, (stripes**2).sum(axis=1), NO_QUALITY, MODEL)


def write_picture(path: Path, colour: tuple[int, int, int], width: int = 16, height: int = 32) -> Path:
    """A PNG of one colour, BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), colour, np.uint8))
    return path


def tracklet(folder: Path, person: int, camera: int, colours, name: str = "a") -> ImageTracklet:
    """A tracklet with one picture per colour."""
    files = [write_picture(folder / f"{person}/{camera}/{name}/{i:02}.png", c) for i, c in enumerate(colours)]
    return ImageTracklet(person, camera, tuple(files))


COLOURS = {1: (200, 40, 40), 2: (40, 200, 40), 3: (40, 40, 200), 4: (180, 180, 20)}


def three_cameras(folder: Path, pictures: int = 3, seed: int = 0) -> DataSet:
    """Four people in three cameras, one tracklet each, their colours a little off; everybody asks from camera 0."""
    rng = np.random.default_rng(seed)

    def shades(person):
        return [np.clip(np.array(COLOURS[person]) + rng.integers(-25, 26, 3), 0, 255).tolist() for _ in range(pictures)]

    found = {(p, c): tracklet(folder, p, c, shades(p)) for p in COLOURS for c in range(3)}
    query = tuple(t for (_, camera), t in found.items() if camera == 0)
    gallery = tuple(t for (_, camera), t in found.items() if camera > 0)
    return DataSet("colours", (), query, gallery, people={1: "anna"}, cameras={1: "hall"}, protocol="camera 0 asks")
