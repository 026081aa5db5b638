"""STGCN: graphs over the patches of a clip, and of each of its frames."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.ports import Projection
from reid.clip_heads.base import Pooled, TrainableHead
from reid.clip_heads.weighing import pooled_length
from reid.sta_torch import even_attention, weigh_stripes

NEGATIVE_SLOPE = 0.01  # of LeakyReLU: PyTorch's; the notes say nothing


class PatchGraph(nn.Module):
    """Some layers of graph convolution over M patches, the graph made of the patches themselves.

    - e_ij = φ(x_i)·φ(x_j), φ(x) = W x; A_ij = e_ij² / Σ_j e_ij²: not negative, rows sum to 1.
    - Ã = A + I, D̃ its row sums, Â = D̃^-1/2 Ã D̃^-1/2.
    - X^m = LeakyReLU(LN(Â X^{m-1} W^m)); with `residual`, plus X^{m-1} where both have the same length.
    """

    def __init__(self, inputs: int, outputs: int, layers: int, residual: bool) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: expected at least 1, got {layers}")
        self.residual = residual
        self.affinity = nn.Linear(inputs, inputs, bias=False)
        nn.init.eye_(self.affinity.weight)  # at first patches are alike as they look
        lengths = [inputs, *[outputs] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(lengths))
        self.norms = nn.ModuleList(nn.LayerNorm(length) for length in lengths[1:])

    def forward(self, patches: Tensor, there: Tensor) -> Tensor:
        """(..., M, C) -> (..., M, outputs); patches that are not `there`, (..., M) bool, are no neighbours."""
        spread = self._propagation(patches, there)
        values = patches
        for layer, norm in zip(self.layers, self.norms, strict=True):
            new = functional.leaky_relu(norm(spread @ layer(values)), NEGATIVE_SLOPE)
            values = values + new if self.residual and new.shape == values.shape else new
        return values

    def _propagation(self, patches: Tensor, there: Tensor) -> Tensor:
        """Â, (..., M, M)."""
        mapped = self.affinity(patches)
        affinity = (mapped @ mapped.transpose(-1, -2)) * there[..., None, :]
        largest = affinity.detach().abs().amax(-1, keepdim=True)
        squares = (affinity / (largest + (largest == 0))).square()  # else squares of large maps overflow
        total = squares.sum(-1, keepdim=True)
        joined = squares / (total + (total == 0)) + torch.eye(patches.shape[-2], device=patches.device)
        degree = joined.sum(-1).rsqrt()  # at least 1 before the root
        return degree[..., :, None] * joined * degree[..., None, :]


class Stgcn(TrainableHead):
    """Spatial-temporal graph convolution: a graph of all patches, one of each frame, and the mean.

    Yang, Zheng, Yang, Chen and Tian, CVPR 2020, section 3 (notes on STGCN). Patches are the K stripes of N frames.

    - Temporal branch: `temporal_layers` over the graph of all N K patches, the largest value over patches: f^t.
    - Structural branch: `structural_layers` over the graph of the K patches of each frame, all outputs concatenated.
    - Global branch: the mean over places and frames.
    - A metric loss on each branch; identity loss and search on the batch norm of their concatenation.

    `residual` adds a layer's input to its output, which the notes propose against over-smoothing: Â averages over
    neighbours, and after some layers all patches are alike.

    Departures: the outputs of the structural branch are concatenated over the K patches of a frame and averaged over
    frames, not concatenated over frames as well, because a live clip has any number of them; the frames share that
    branch's weights; the lengths of the branches follow C (2048, 2048 and 256 a patch for a ResNet-50, as in the
    paper), unless given. The squared affinity and layer norm are as others report them.
    """

    name = "stgcn"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        temporal_layers: int = 3,
        structural_layers: int = 2,
        temporal_dimensions: int | None = None,
        structural_dimensions: int | None = None,
        residual: bool = False,
        projection: Projection | None = None,
        neck: bool = True,
    ) -> None:
        temporal = temporal_dimensions or channels
        structural = structural_dimensions or max(32, channels // 8)
        length = pooled_length(channels, projection) + temporal + stripes * structural
        super().__init__(stripes, channels, length, projection=projection, neck=neck)
        self.temporal = PatchGraph(channels, temporal, temporal_layers, residual)
        self.structural = PatchGraph(channels, structural, structural_layers, residual)

    @property
    def options(self) -> dict[str, object]:
        return {**super().options, "residual": self.temporal.residual}

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        there = (weights > 0)[..., None].expand(energy.shape)  # (B, N, K)
        patches = self.temporal(stripes.flatten(1, 2), there.flatten(1, 2))  # (B, N K, F)
        over_time = patches.masked_fill(~there.flatten(1, 2)[..., None], -torch.inf).amax(1)
        inside = self.structural(stripes, torch.ones_like(there)).flatten(2)  # (B, N, K F)
        structure = (inside * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)
        attention = even_attention(energy, weights)
        whole = self._project(weigh_stripes(attention, stripes).mean(1))
        return Pooled((whole, over_time, structure), None, attention)
