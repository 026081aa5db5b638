"""What all trainable clip heads share: the interface, the layers behind pooling, and frames that do not exist."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.ports import Projection
from reid.losses.identity import BNNeck
from reid.sta_torch import projection_layer, stripe_visibility, unit_or_zero


class ClipVectors(NamedTuple):
    """What a head makes of B clips; the first four are those of `reid.sta_torch.FusedTensors`.

    Attributes:
        embedding: (B, D) norm 1: `identity`, or a fixed direction for a clip in which nothing was seen.
        parts: (B, K', D) norm 1 or 0. K' is K where the head weighs stripes, and 1 where it knows no parts.
        visibility: (B, K'). attention: (B, N, K').
        metric: features before the neck, (B, D_i) each; each is for a metric loss of its own.
        identity: (B, D) behind the neck, for the classifier.
    """

    embedding: Tensor
    parts: Tensor
    visibility: Tensor
    attention: Tensor
    metric: tuple[Tensor, ...]
    identity: Tensor


class Pooled(NamedTuple):
    """What a head's own layers come to.

    Attributes:
        branches: (B, F_i) each; their concatenation (B, F) goes on.
        parts: (B, K, F) the same of each stripe; None: the head knows no parts.
        attention: (B, N, K).
    """

    branches: tuple[Tensor, ...]
    parts: Tensor | None
    attention: Tensor


class TrainableHead(nn.Module, ABC):
    """A clip head in PyTorch; a subclass says in `_pool` how N crops become one.

    What it pools goes through the backbone's projection (if it was given one, with its weights to start from), a layer
    to `dimensions` values without bias (if that was asked for) and a `BNNeck`.

    Crop features are few, so everything is in single precision, under autocast, too.
    """

    name: ClassVar[str]

    def __init__(
        self,
        stripes: int,
        channels: int,
        pooled: int,
        *,
        projection: Projection | None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        """
        Args:
            pooled: F, length of all branches together, after the projection.
            dimensions: D; None: D = F, and there is no such layer.
            neck: False: what comes before it is the vector.
        """
        super().__init__()
        self.stripes, self.channels = stripes, channels
        self.made_of: dict[str, Any] = {}  # the options of `make_clip_head`, for making it again
        self.relu = projection is not None and projection.relu
        self.projection = None if projection is None else projection_layer(projection)
        self.embed = None if dimensions is None else nn.Linear(pooled, dimensions, bias=False)
        self.dimensions = pooled if dimensions is None else dimensions
        self.neck = BNNeck(self.dimensions) if neck else None

    @property
    def options(self) -> dict[str, Any]:
        """What a live head must know beside the weights: plain values."""
        return {"relu": self.relu}

    def forward(self, stripes: Tensor, energy: Tensor, mask: Tensor | None = None) -> ClipVectors:
        """Fuses clips.

        Args:
            stripes: (B, N, K, C), crops in order of time. energy: (B, N, K).
            mask: (B, N), bool, or weights of frames from 0 up; a frame of weight 0 does not exist. None: all count 1.
        """
        with torch.autocast(stripes.device.type, enabled=False):
            stripes, energy = stripes.float(), energy.float()
            weights = energy.new_ones(energy.shape[:2]) if mask is None else mask.to(energy)
            pooled = self._pool(stripes, energy, weights)
            metric = pooled.branches if self.embed is None else (self.embed(torch.cat(pooled.branches, 1)),)
            before = torch.cat(metric, 1)
            identity = before if self.neck is None else self.neck(before)
            seen = (energy.sum(-1) * weights).sum(-1, keepdim=True) > 0  # (B, 1)
            embedding = unit_or_zero(identity).where(seen, -(self.dimensions**-0.5))
            parts, visibility, attention = self._parts(pooled, embedding, energy, seen)
        return ClipVectors(embedding, parts, visibility, attention, metric, identity)

    @abstractmethod
    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled: ...

    def _project(self, vectors: Tensor) -> Tensor:
        """(..., C) -> (..., F): the backbone's last layer."""
        if self.projection is None:
            return vectors
        projected = self.projection(vectors)
        return projected.relu() if self.relu else projected

    def _parts(self, pooled: Pooled, embedding: Tensor, energy: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parts are for showing and for comparing them one by one, not for training: the neck is used as it stands."""
        if pooled.parts is None:
            return (embedding * seen)[:, None], seen.to(embedding), pooled.attention.mean(-1, keepdim=True)
        there = seen[..., None] & (pooled.parts != 0).any(-1, keepdim=True)
        vectors = pooled.parts if self.embed is None else self.embed(pooled.parts)
        vectors = vectors if self.neck is None else self.neck.in_use(vectors)
        visibility = stripe_visibility(pooled.attention, energy) * seen
        return unit_or_zero(vectors) * there, visibility, pooled.attention


def frames_to_front(weights: Tensor) -> Tensor:
    """(B, N) places of the frames that exist, in their order, and then of those that do not."""
    return (weights <= 0).to(torch.uint8).argsort(dim=1, stable=True)


def reorder_frames(values: Tensor, order: Tensor) -> Tensor:
    """`values` (B, N, ...) with frame n taken from place order[b, n]."""
    return values.gather(1, order.reshape(*order.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:]))


def frame_share(scores: Tensor, weights: Tensor) -> Tensor:
    """Scores (B, N, ...) of at least 0 times weights (B, N), divided by their sum over frames; the weights' own shares
    where that is 0."""
    spread = weights.reshape(*weights.shape, *[1] * (scores.ndim - 2))
    weighed = scores * spread
    total = weighed.sum(1, keepdim=True)
    positive = total > 0
    even = (spread / spread.sum(1, keepdim=True)).expand_as(weighed)
    return (weighed / total.where(positive, 1.0)).where(positive, even)
