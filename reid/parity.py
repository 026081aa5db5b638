"""Whether two crop encoders compute the same features: what an export must prove before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.ports import CropEncoder
from pipeline.types import CropFeature, FloatArray, Frame, ImageArray
from reid.crops import CROP_HEIGHT_PX, CROP_WIDTH_PX
from reid.heads import MeanHead

NOISE_CROPS = 4  # beside the structured ones
SINGLE_TOLERANCE = 1e-3  # of the largest value: other orders of summation; a wrong colour order or padding errs by .1
HALF_TOLERANCE = 3e-2  # half precision has three digits, and errors add up over a hundred layers


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences between two encoders over the same crops.

    Attributes:
        stripes: of stripe means, as a share of the largest of a crop.
        energy: of stripe energies, relative.
        cosine: distance between the embeddings of a crop, 0 to 2.
        crops: how many were compared.
    """

    stripes: float
    energy: float
    cosine: float
    crops: int

    def within(self, tolerance: float) -> bool:
        """Whether features can stand for each other. Cosine distances go with the square of a difference."""
        worst = max(self.stripes, self.energy)
        return bool(worst <= tolerance and self.cosine <= max(tolerance**2, 1e-6))  # NaN is not within

    def __str__(self) -> str:
        return (
            f"{self.crops} crops: stripe means differ by at most {self.stripes:.1e} of the largest, energies by "
            f"{self.energy:.1e}, embeddings by a cosine distance of {self.cosine:.1e}"
        )


def probe_crops(height_px: int = CROP_HEIGHT_PX, width_px: int = CROP_WIDTH_PX) -> list[ImageArray]:
    """The same crops (height_px, width_px, 3) uint8 BGR at every call: noise, ramps, bands, a figure, flat ones."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    down, across = y / height_px, x / width_px
    smooth = [cv2.resize(rng.integers(0, 256, (9, 5, 3), np.uint8), (width_px, height_px)) for _ in range(2)]
    noise = [rng.integers(0, 256, (height_px, width_px, 3), np.uint8) for _ in range(NOISE_CROPS)]
    ramp = np.stack([down, across, 1 - down], axis=2) * 255
    bands = np.where((down[..., None] * 6).astype(int) % 2, (40.0, 90.0, 200.0), (200.0, 160.0, 20.0))
    figure = np.full((height_px, width_px, 3), 120, np.uint8)
    third, quarter = width_px // 3, height_px // 4
    figure[quarter : 2 * quarter, third : 2 * third] = (30, 30, 190)
    figure[2 * quarter :, third : 2 * third] = (110, 60, 20)
    flat = [np.full((height_px, width_px, 3), level, np.uint8) for level in (3, 250)]
    return [*noise, *smooth, ramp.astype(np.uint8), bands.astype(np.uint8), figure, *flat]


def compare(reference: CropEncoder, other: CropEncoder, crops: Sequence[ImageArray]) -> Parity:
    """Encode crops with both, in one batch and the first alone, and compare.

    Raises:
        ValueError: the encoders differ in stripes or channels, or there is no crop.
    """
    ours, theirs = reference.describe(), other.describe()
    if (ours.stripes, ours.channels) != (theirs.stripes, theirs.channels):
        raise ValueError(f"encoders: expected ({ours.stripes}, {ours.channels}) stripes and channels, got {theirs}")
    if not crops:
        raise ValueError("crops: expected at least one, got none")
    pairs = list(zip(_encode(reference, crops), _encode(other, crops), strict=True))
    pairs += zip(_encode(reference, crops[:1]), _encode(other, crops[:1]), strict=True)
    stripes = max(_away(b.stripes, a.stripes) for a, b in pairs)
    energy = max(float((np.abs(b.energy - a.energy) / np.maximum(a.energy, 1e-12)).max()) for a, b in pairs)
    heads = MeanHead(ours), MeanHead(theirs)
    embeddings = [[head.fuse([crop]).embedding for head, crop in zip(heads, pair, strict=True)] for pair in pairs]
    cosine = max(_cosine_distance(a.astype(np.float64), b.astype(np.float64)) for a, b in embeddings)
    return Parity(stripes, energy, cosine, len(crops))


def _encode(encoder: CropEncoder, crops: Sequence[ImageArray]) -> list[CropFeature]:
    """Features of whole pictures, which no encoder resizes when they have its size."""
    frames = [Frame("parity", "1", i, 0.0, crop) for i, crop in enumerate(crops)]
    boxes = [np.array([[0, 0, crop.shape[1], crop.shape[0]]], np.float32) for crop in crops]
    return [features[0] for features in encoder.encode(frames, boxes)]


def _cosine_distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(np.square(a / np.linalg.norm(a) - b / np.linalg.norm(b)).sum() / 2)  # exact where it is tiny


def _away(got: FloatArray, expected: FloatArray) -> float:
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
