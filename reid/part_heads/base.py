"""What all part heads share."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import WeightsError
from reid.losses.identity import CLASSIFIER_DEVIATION, smoothed_cross_entropy
from reid.losses.triplets import TriHardLoss


class PartVectors(NamedTuple):
    """What a part head makes of B pictures.

    Attributes:
        embedding: (B, D) norm 1, or 0 for a map of zeros.
        logits: (B, P) each. metric: (B, D_i) each, before any neck. Both are empty in test mode.
        local: (B, K, L) of the stripes, top first; K is 0 in test mode where the local branch is dropped.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...]
    metric: tuple[Tensor, ...]
    local: Tensor


class PartHead(nn.Module, ABC):
    """A head on the backbone's last map; see `reid.part_heads` for how it is used."""

    name: ClassVar[str]
    stages: tuple[str, ...] = ("all",)
    dimensions: int  # D

    def __init__(self, *, smoothing: float, margin: float | None) -> None:
        """
        Args:
            smoothing: of labels. margin: of the TriHard loss on `metric`; None: soft.
        """
        super().__init__()
        self.smoothing = smoothing
        self.metric_loss = TriHardLoss(margin=margin)
        self.made_of: dict[str, Any] = {}  # the options of `make_part_head`, for making it again

    @abstractmethod
    def forward(self, maps: Tensor) -> PartVectors:
        """Maps (B, C, H, W)."""

    def losses(self, vectors: PartVectors, labels: Tensor) -> dict[str, Tensor]:
        """The terms of the method, with their weights; the loss is their sum."""
        terms = {
            f"identity_{i}": smoothed_cross_entropy(logits.float(), labels, self.smoothing)
            for i, logits in enumerate(vectors.logits)
        }
        terms |= {f"trihard_{i}": self.metric_loss(features, labels) for i, features in enumerate(vectors.metric)}
        return {**terms, **self.own_losses(vectors, labels)}

    def own_losses(self, vectors: PartVectors, labels: Tensor) -> dict[str, Tensor]:
        """The terms that no loss of `reid.losses` gives."""
        return {}

    def begin(self, stage: str) -> bool:
        """Get ready for a stage; whether the backbone is learned in it.

        Raises:
            ValueError: no such stage.
        """
        if stage not in self.stages:
            raise ValueError(f"stage: expected one of {', '.join(self.stages)}; got {stage!r}")
        return True

    def live_arrays(self) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        """Stripes, options and weights with which `reid.clip_heads.live` computes `embedding` from crop features.

        Raises:
            WeightsError: it cannot be computed from them.
        """
        raise WeightsError(f"part head {self.name}: needs whole maps, and live cameras keep stripes only")


def stripe_means(maps: Tensor, stripes: int) -> Tensor:
    """(B, K, C), at least single precision.

    Raises:
        ValueError: K does not divide the map's rows.
    """
    return _stripes(maps, stripes).mean((-2, -1), dtype=torch.promote_types(maps.dtype, torch.float32)).transpose(1, 2)


def stripe_maxima(maps: Tensor, stripes: int) -> Tensor:
    """(B, K, C): the largest value of each channel in each stripe; raises as `stripe_means`."""
    return _stripes(maps, stripes).amax((-2, -1)).transpose(1, 2).to(torch.promote_types(maps.dtype, torch.float32))


def _stripes(maps: Tensor, stripes: int) -> Tensor:
    rows = maps.shape[2]
    if rows % stripes:
        raise ValueError(
            f"stripes: expected a divisor of the map's {rows} rows, got {stripes}; pictures of {16 * stripes} px, or a "
            "multiple, have maps of so many rows"
        )
    return maps.unflatten(2, (stripes, rows // stripes))  # (B, C, K, H / K, W)


def classifier(channels: int, people: int) -> nn.Linear:
    """One layer without bias, as in the bag of tricks."""
    layer = nn.Linear(channels, people, bias=False)
    nn.init.normal_(layer.weight, std=CLASSIFIER_DEVIATION)
    return layer


def concatenated(vectors: Tensor) -> Tensor:
    """(B, K, L) as unit vectors (B, K L)."""
    return functional.normalize(vectors.flatten(1), dim=1)
