"""What all losses share: the interface, distances and pairs of a batch, and means that are 0 over nothing."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

UNLABELLED = -1  # label of a picture of nobody known, or of an attribute that nobody wrote down

# Squared distances below this many roundings of the squared norms are 0: what is left of them is rounding.
_ROUNDINGS = 4


class Loss(nn.Module, ABC):
    """Features (N, D) of any floating type and labels (N,) int64 in, a scalar of at least single precision out.

    Rows labelled `UNLABELLED` are left out, unless the loss says otherwise. Without anything to compare (no row, no
    pair, no triplet) the loss is 0 with gradient 0. Gradients are finite also where features are equal. Computed in
    single precision under autocast, too: differences of squares do not survive half precision.
    """

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self._loss(features.to(torch.promote_types(features.dtype, torch.float32)), labels)

    @abstractmethod
    def _loss(self, features: Tensor, labels: Tensor) -> Tensor: ...


class MetricLoss(Loss):
    """A loss on distances between the features of a batch."""

    def __init__(self, *, normalise: bool) -> None:
        """
        Args:
            normalise: features are taken to norm 1 first, so that distances lie in [0, 2].
        """
        super().__init__()
        self.normalise = normalise

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        known = labels != UNLABELLED
        features, labels = features[known], labels[known]
        if self.normalise:
            features = unit_rows(features)
        distances = squared_distances(features)
        return self._of_distances(distances, find_pairs(labels)) + 0 * features.sum()  # a gradient also without pairs

    @abstractmethod
    def _of_distances(self, squared: Tensor, pairs: "Pairs") -> Tensor:
        """The loss of squared distances (N, N)."""


class Pairs(NamedTuple):
    """Who is who in a batch of N: (N, N) bool each, symmetric.

    Attributes:
        same: two different rows of one person. different: rows of two people.
    """

    same: Tensor
    different: Tensor


def find_pairs(labels: Tensor) -> Pairs:
    """Pairs of labels (N,), none of them `UNLABELLED`."""
    equal = labels[:, None] == labels[None]
    return Pairs(equal & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~equal)


def unit_rows(features: Tensor) -> Tensor:
    """(..., D) with norm 1; zeros stay zeros and get gradient 0."""
    norm = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    return features / (norm + (norm == 0))


def squared_distances(features: Tensor, weight: Tensor | None = None) -> Tensor:
    """(N, N) squared Euclidean distances, exactly 0 between equal rows, whose gradient is 0.

    Of products, because differences of all pairs do not fit into memory; around their mean, so that rounding is
    relative to how far rows are apart and not to how far they are from the origin.

    Args:
        features: (N, D), at least single precision.
        weight: (D,) of each squared difference, of any sign; None: 1.
    """
    if len(features) == 0:
        return features.new_zeros((0, 0))
    centred = features - features.mean(0, keepdim=True).detach()
    weighed = centred if weight is None else centred * weight
    products = weighed @ centred.T
    own = products.diagonal()
    squared = own[:, None] + own[None] - products - products.T
    with torch.no_grad():
        size = centred.square() if weight is None else centred.square() * weight.abs()
        sizes = size.sum(1)
        rounding = _ROUNDINGS * torch.finfo(squared.dtype).eps * (sizes[:, None] + sizes[None])
        nothing = squared.abs() <= rounding if weight is not None else squared <= rounding
    return squared.masked_fill(nothing, 0.0)


def root(squared: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0."""
    positive = squared > 0
    return squared.where(positive, 1.0).sqrt().where(positive, 0.0)


def mean_or_zero(values: Tensor) -> Tensor:
    """The mean; 0, with a gradient, of nothing."""
    return values.sum() / max(values.numel(), 1)
