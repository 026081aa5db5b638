"""From clips of pictures to what the model computes on, on its device."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.types import ImageArray
from reid.adaptation.backbone import to_input
from reid.training.heads import CropTensors
from reid.training.model import ReidModel
from reid.training.pictures import ClipBatch

_ENCODED_AT_ONCE = 64  # pictures: bounds memory


def pictures_to_input(batch: ClipBatch, device: torch.device) -> Tensor:
    """(B, N, 3, H, W) in ImageNet normalisation."""
    clips, frames = batch.pictures.shape[:2]
    return to_input(batch.pictures.reshape(-1, *batch.pictures.shape[2:]), device).unflatten(0, (clips, frames))


class FrozenCrops:
    """Crop features of a backbone that is not trained: each picture passes it once, unchanged.

    Kept in memory: a picture of K stripes and C channels takes 4 (C + 1) K bytes.
    """

    def __init__(self, encode: Callable[[int], tuple[Tensor, Tensor]], device: torch.device) -> None:
        """
        Args:
            encode: stripes (T, K, C) and energy (T, K) of all pictures of the tracklet at a place.
        """
        self._encode = encode
        self._device = device
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, clips: list[tuple[int, Tensor]]) -> CropTensors:
        """Of clips as (tracklet, frames (N,) int64)."""
        found = [(self.of_tracklet(tracklet), frames) for tracklet, frames in clips]
        stripes = torch.stack([stripes[frames] for (stripes, _), frames in found])
        energy = torch.stack([energy[frames] for (_, energy), frames in found])
        return CropTensors(stripes.to(self._device), energy.to(self._device), None)

    def of_tracklet(self, place: int) -> tuple[Tensor, Tensor]:
        """All of a tracklet's."""
        if place not in self._kept:
            self._kept[place] = self._encode(place)
        return self._kept[place]


@torch.no_grad()
def encode_pictures(model: ReidModel, pictures: ImageArray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stripes (T, K, C) and energy (T, K), on the CPU, of pictures (T, H, W, 3) uint8 BGR of one size, T >= 1."""
    parts = [
        model.crops(to_input(pictures[start : start + _ENCODED_AT_ONCE], device)[None])
        for start in range(0, len(pictures), _ENCODED_AT_ONCE)
    ]
    return torch.cat([part.stripes[0] for part in parts]).cpu(), torch.cat([part.energy[0] for part in parts]).cpu()
