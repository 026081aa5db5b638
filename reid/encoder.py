"""Crop encoder in PyTorch: each crop passes the backbone once and leaves stripe means and energies."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.ports import EncoderDescription, Projection
from pipeline.types import CropFeature, FloatArray, Frame, ImageArray
from reid.crops import IMAGENET_MEAN, IMAGENET_STD, check_stripes, cut_crops, to_features
from reid.sta_torch import pool_stripes

MAP_HEIGHT = 16  # rows of the backbones' last map for crops of 256 px
MAX_BATCH = 64  # crops a pass: bounds memory (OSNet x1.0: 0.3 GB), and larger is not faster


class TorchCropEncoder:
    """`pipeline.ports.CropEncoder` over a PyTorch backbone.

    On the CPU two runs with the same number of threads agree to the bit; on CUDA maps are computed in half precision
    and pooled in single precision. Channels lie last in memory on both (on a CPU 1.4 times as fast for OSNet).
    """

    def __init__(
        self,
        backbone: nn.Module,
        projection: Projection | None,
        model_id: str,
        stripes: int = 4,
        device: str = "auto",
    ) -> None:
        """
        Args:
            backbone: (B, 3, 256, 128) RGB in ImageNet normalisation -> (B, C, 16, W); has an attribute `channels`.
            device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

        Raises:
            ConfigError: a device that is not there, or stripes that do not divide the map.
        """
        check_stripes(stripes, MAP_HEIGHT)
        self._device = choose_device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._backbone = backbone.eval().requires_grad_(False)
        self._backbone.to(device=self._device, dtype=self._dtype, memory_format=torch.channels_last)
        self._mean = torch.tensor(IMAGENET_MEAN, device=self._device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(IMAGENET_STD, device=self._device).view(1, 3, 1, 1) * 255
        self._description = EncoderDescription(model_id, stripes, int(backbone.channels), projection)

    def describe(self) -> EncoderDescription:
        """See `pipeline.ports.CropEncoder`."""
        return self._description

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """See `pipeline.ports.CropEncoder`; a box without a pixel in the picture gets zeros."""
        crops, seen = cut_crops(frames, boxes)
        means, energy = self._pool_all(crops, seen)
        return to_features(frames, boxes, (means, energy, seen), self._description.model_id)

    @torch.inference_mode()
    def maps(self, crops: ImageArray) -> Tensor:
        """The backbone's maps (B, C, 16, W) on the device, for crops (B, 256, 128, 3) uint8 BGR."""
        pixels = torch.from_numpy(crops)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)  # bytes: a quarter of what floats would be
        planes = pixels.permute(0, 3, 1, 2).flip(1)  # (B, 3, 256, 128) RGB, channels last in memory
        normalised = (planes.float() - self._mean) / self._std
        return self._backbone(normalised.to(dtype=self._dtype, memory_format=torch.channels_last))

    def _pool_all(self, crops: ImageArray, seen: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        k, channels = self._description.stripes, self._description.channels
        means = np.zeros((len(crops), k, channels), np.float32)
        energy = np.zeros((len(crops), k), np.float32)
        (places,) = np.nonzero(seen)
        batches = [places[start : start + MAX_BATCH] for start in range(0, len(places), MAX_BATCH)]
        pooled = [pool_stripes(self.maps(crops[batch]), k) for batch in batches]
        for batch, of_batch in zip(batches, pooled, strict=True):  # only now is the device waited for
            means[batch], energy[batch] = (x.cpu().numpy() for x in of_batch)
        return means, energy


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one.

    Raises:
        ConfigError: unknown, or CUDA without a GPU that PyTorch can use.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"reid.device: expected auto, cpu, cuda or cuda:N; got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"reid.device: expected auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"reid.device: {name!r} is not there ({torch.cuda.device_count()} CUDA devices); use auto")
    return device
