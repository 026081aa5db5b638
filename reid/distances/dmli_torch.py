"""`reid.distances.dmli` in PyTorch, differentiable, for training; equal to it up to rounding."""

import torch
from torch import Tensor

from reid.losses.base import root


def dmli_pairs(a: Tensor, b: Tensor) -> Tensor:
    """(N,) DMLI distances of a[n] (N, H, L) from b[n] (N, H', L); gradients are finite where stripes are equal."""
    squared = (a[:, :, None] - b[:, None]).square().sum(-1)  # exact near 0, where products are not
    return shortest_path((0.5 * root(squared)).tanh())


def shortest_path(distance: Tensor) -> Tensor:
    """(N,) the least sum on a way through (N, H, H'), down or right; its gradient runs along that way."""
    height, width = distance.shape[1:]
    above = list(distance[:, 0].cumsum(1).unbind(1))
    for i in range(1, height):
        above[0] = above[0] + distance[:, i, 0]
        for j in range(1, width):
            above[j] = torch.minimum(above[j], above[j - 1]) + distance[:, i, j]
    return above[-1]
