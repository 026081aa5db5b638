"""Heads that weigh frames or stripes and take a mean: plain mean, STA, temporal attention, quality."""

import torch
from torch import Tensor, nn

from pipeline.ports import Projection
from reid.attention import PAPER
from reid.clip_heads.base import Pooled, TrainableHead, frame_share, frames_to_front, reorder_frames
from reid.heads import FUSIONS
from reid.sta_torch import even_attention, select_stripes, temporal_attention, weigh_stripes


class TrainedMean(TrainableHead):
    """The mean over frames and places (average pooling of Gao and Nevatia, arXiv 1805.02104), then a neck.

    `apart`: the stripes' means are concatenated instead of averaged, so that no part is lost among the others.
    """

    name = "mean"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        apart: bool = False,
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        length = pooled_length(channels, projection) * (stripes if apart else 1)
        super().__init__(stripes, channels, length, projection=projection, dimensions=dimensions, neck=neck)
        self.apart = apart

    @property
    def options(self) -> dict[str, object]:
        return {**super().options, "apart": self.apart}

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        return self._weigh(even_attention(energy, weights), stripes)

    def _weigh(self, attention: Tensor, stripes: Tensor) -> Pooled:
        """The mean over places of the frames' stripes (B, N, K, C) under an attention (B, N, K)."""
        pooled = weigh_stripes(attention, stripes)  # (B, K, C)
        parts = self._project(pooled) * _anything(pooled)
        if self.apart:
            return Pooled((parts.flatten(1),), None, attention)
        return Pooled((self._project(pooled.mean(1)),), parts, attention)


class TrainedSta(TrainableHead):
    """STA (Fu et al., AAAI 2019, section "Spatial-temporal attention"): P1 and P2, concatenated, and a layer behind.

    `fusion`: `paper` (P1 and P2), `global` (P2), `discriminative` (P1). The attention itself has no weights; what is
    learned is the layer, and the backbone before it. Departure: the paper has two layers, the test feature between
    them; here one layer (`dimensions`) and a `BNNeck`, as in the project's other heads. Its regulariser is the loss
    `inter_frame`.
    """

    name = "sta"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        fusion: str = "paper",
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        allowed = [known for known in FUSIONS if known != "stripes"]
        if fusion not in allowed:
            raise ValueError(f"fusion: expected one of {', '.join(allowed)}; got {fusion!r}")
        length = pooled_length(channels, projection) * (2 if fusion == "paper" else 1)
        super().__init__(stripes, channels, length, projection=projection, dimensions=dimensions, neck=neck)
        self.fusion = fusion

    @property
    def options(self) -> dict[str, object]:
        return {**super().options, "fusion": self.fusion}

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        attention = temporal_attention(energy, weights, PAPER)
        chosen = []
        if self.fusion != "global":
            chosen.append(select_stripes(attention, stripes))
        if self.fusion != "discriminative":
            chosen.append(weigh_stripes(attention, stripes))
        vector = torch.cat([self._project(pooled.mean(1)) for pooled in chosen], -1)
        parts = torch.cat([self._project(pooled) * _anything(pooled) for pooled in chosen], -1)
        return Pooled((vector,), parts, attention)


class TemporalAttention(TrainedMean):
    """Weights of frames from what they show and from their neighbours in time.

    Gao and Nevatia, *Revisiting temporal modeling for video-based person re-ID*, arXiv 1805.02104, section 3: a
    convolution over all places of a frame's map to `hidden` channels, ReLU, a convolution over time (`kernel` frames)
    to one score, softmax over the frames; the vector is the weighted mean.

    Departure: the first convolution sees the K stripe means instead of all places, which is all that live cameras keep.
    """

    name = "temporal"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        hidden: int = 256,
        kernel: int = 3,
        apart: bool = False,
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        if kernel % 2 != 1 or kernel < 1:
            raise ValueError(f"kernel: expected an odd number of frames, got {kernel}")
        super().__init__(stripes, channels, apart=apart, projection=projection, dimensions=dimensions, neck=neck)
        self.spatial = nn.Linear(stripes * channels, hidden)
        self.temporal = nn.Conv1d(hidden, 1, kernel, padding=kernel // 2)

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        order = frames_to_front(weights)  # the neighbours of a frame are those that exist
        there = (weights > 0).gather(1, order)
        hidden = self.spatial(reorder_frames(stripes, order).flatten(2)).relu() * there[..., None]  # (B, N, H)
        scores = self.temporal(hidden.transpose(1, 2))[:, 0]  # (B, N)
        scores = scores.gather(1, order.argsort(1)).masked_fill(weights <= 0, -torch.inf)
        shares = frame_share((scores - scores.amax(1, keepdim=True)).exp(), weights)
        return self._weigh(shares[..., None].expand(energy.shape), stripes)


class QualityWeights(TrainedMean):
    """Weights of frames for each stripe from a learned quality: what is hidden in one frame is taken from others.

    Song et al., *Region-based quality estimation network*, AAAI 2018, section 3 (the notes' [24]): a score in [0, 1] of
    every region of every frame, divided by its sum over frames; the regions' weighted means are put together.

    Departures: the regions are stripes, not found by landmarks, so no pose network runs; scores come from the
    stripe's mean in the last map (one hidden layer, shared by the stripes but for its bias), not from a middle one; the
    regions are averaged before the neck unless they are kept `apart`, as in the paper.
    """

    name = "quality"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        hidden: int = 64,
        apart: bool = False,
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        super().__init__(stripes, channels, apart=apart, projection=projection, dimensions=dimensions, neck=neck)
        self.hidden = nn.Linear(channels, hidden, bias=False)
        self.stripe_bias = nn.Parameter(torch.zeros(stripes, hidden))
        self.score = nn.Linear(hidden, 1)

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        quality = self.score((self.hidden(stripes) + self.stripe_bias).relu()).sigmoid()[..., 0]  # (B, N, K)
        return self._weigh(frame_share(quality, weights), stripes)


def pooled_length(channels: int, projection: Projection | None) -> int:
    """Length of a pooled vector behind the backbone's projection."""
    return channels if projection is None else len(projection.bias)


def _anything(pooled: Tensor) -> Tensor:
    """(..., 1): 1, or 0 for a stripe in which nothing was seen."""
    return (pooled != 0).any(-1, keepdim=True).to(pooled.dtype)
