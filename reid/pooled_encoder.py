"""What the crop encoders of all runtimes but PyTorch share: crops in, stripe means and energies out, in batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature, FloatArray, Frame
from reid.crop_input import CropInput
from reid.crops import cut_crops, to_features


class PooledCropEncoder(ABC):
    """`pipeline.ports.CropEncoder` over a network that pools its last map itself."""

    def __init__(self, description: EncoderDescription, crop_input: CropInput, max_batch: int) -> None:
        """
        Args:
            max_batch: crops a pass, at least 1.
        """
        self._description = description
        self.crop_input = crop_input
        self.max_batch = max_batch

    @abstractmethod
    def _pool(self, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Stripe means (B, K, C) and energies (B, K) of normalised crops (B, 3, H, W), 1 <= B <= `max_batch`."""

    def describe(self) -> EncoderDescription:
        """See `pipeline.ports.CropEncoder`."""
        return self._description

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """See `pipeline.ports.CropEncoder`; a box without a pixel in the picture gets zeros."""
        crops, seen = cut_crops(frames, boxes, self.crop_input.height_px, self.crop_input.width_px)
        k, channels = self._description.stripes, self._description.channels
        means = np.zeros((len(crops), k, channels), np.float32)
        energy = np.zeros((len(crops), k), np.float32)
        (places,) = np.nonzero(seen)
        for start in range(0, len(places), self.max_batch):
            batch = places[start : start + self.max_batch]
            means[batch], energy[batch] = self._pool(self.crop_input.normalise(crops[batch]))
        return to_features(frames, boxes, (means, energy, seen), self._description.model_id)
