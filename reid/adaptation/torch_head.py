"""`reid.aligned.AlignedHead` in PyTorch, differentiable, for training it and the backbone before it."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.ports import EncoderDescription
from reid.aligned import AlignedParameters, check_encoder
from reid.sta_torch import even_attention, projection_layer, temporal_attention, unit_or_zero, weigh_stripes

_LEAST_WEIGHT = 1e-4  # of a part, so that its logarithm is finite: a part that is off can be learned back


class TorchAlignedHead(nn.Module):
    """The equations of `AlignedHead`, with the paper's attention; equal to it up to rounding.

    Its parameters are offset, the used part of the basis, the logarithms of the weights, prototypes and sharpness;
    the backbone's projection and the rest are fixed.
    """

    def __init__(self, encoder: EncoderDescription, parameters: AlignedParameters) -> None:
        """
        Raises:
            WeightsError: the parameters were made for another encoder.
        """
        check_encoder(encoder, parameters)
        super().__init__()
        self._start = parameters
        self.offset = nn.Parameter(torch.tensor(parameters.offset))
        self.basis = nn.Parameter(torch.tensor(parameters.basis[:, : parameters.dimensions]))
        self.log_weight = nn.Parameter(torch.tensor(parameters.weight).clamp_min(_LEAST_WEIGHT).log())
        self.prototypes = nn.Parameter(torch.tensor(parameters.prototypes))
        self.sharpness = nn.Parameter(torch.tensor(float(parameters.sharpness)))
        self.register_buffer("centre", torch.tensor(parameters.centre))
        self.register_buffer("position", torch.tensor(parameters.position))
        self.projection = None if encoder.projection is None else projection_layer(encoder.projection)
        self.relu = encoder.projection is not None and encoder.projection.relu
        if self.projection is not None:
            self.projection.requires_grad_(False)

    def forward(self, stripes: Tensor, energy: Tensor, frame_weights: Tensor | None = None) -> Tensor:
        """Vectors (B, (1 + J) * dimensions), norm 1, of stripes (B, N, R, C), energy (B, N, R) and weights (B, N)."""
        attend = even_attention if self._start.even else temporal_attention
        attention = attend(energy, frame_weights)
        pooled, visibility = self._pool(stripes, attention)
        body = weigh_stripes(attention, stripes).mean(dim=1)[:, None]  # (B, 1, C)
        vectors = unit_or_zero(self._project(torch.cat([body, pooled], dim=1)))
        centred = (vectors - self.offset).transpose(0, 1)  # (1 + J, B, D)
        parts = unit_or_zero(torch.matmul(centred, self.basis.transpose(1, 2)).transpose(0, 1))
        gate = torch.cat([visibility.new_ones((len(visibility), 1)), visibility], dim=1) * self.log_weight.exp()
        weighed = parts * gate.clamp_min(1e-12).sqrt()[..., None]
        return unit_or_zero(weighed.flatten(1))

    def to_parameters(self, origin: str) -> AlignedParameters:
        """What was learned, in the file's precision."""
        prototypes = unit_or_zero(self.prototypes.detach())
        return replace(
            self._start,
            offset=_plain(self.offset),
            basis=np.concatenate([_plain(self.basis), self._start.basis[:, self._start.dimensions :]], axis=1),
            weight=np.where(self._start.weight > 0, _plain(self.log_weight.exp()), 0).astype(np.float32),
            prototypes=prototypes.cpu().numpy(),
            sharpness=max(float(self.sharpness.detach()), 0.0),
            origin=origin,
        ).rounded()

    def _pool(self, stripes: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        likeness = (unit_or_zero(stripes) - self.centre) @ unit_or_zero(self.prototypes).T
        joint = (self.sharpness * likeness + self.position).softmax(dim=-1) * attention[..., None]  # (B, N, R, J)
        mass = joint.sum(dim=(1, 2))  # (B, J)
        flat = (joint / mass[:, None, None]).flatten(1, 2)
        pooled = torch.matmul(flat.transpose(1, 2), stripes.flatten(1, 2))
        share = mass / attention.sum(dim=(1, 2)).clamp_min(1e-12)[:, None]
        return pooled, (share * mass.shape[1]).clamp(0, 1)

    def _project(self, pooled: Tensor) -> Tensor:
        if self.projection is None:
            return pooled
        projected = self.projection(pooled)
        return projected.relu() if self.relu else projected


def _plain(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)
