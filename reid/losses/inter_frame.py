"""STA's inter-frame regulariser in the interface of the losses; the equation is in `reid.sta_torch`."""

import torch
from torch import Tensor

from reid.losses.base import Loss
from reid.sta_torch import inter_frame_regulariser, spatial_attention


class InterFrameLoss(Loss):
    """||g_i - g_j||_F between frames of a clip, the mean over clips (Fu et al., AAAI 2019, section "Inter-frame reg.").

    It takes maps, not vectors. With a generator two frames of each clip are drawn, as in the paper; without one it is
    the mean over all pairs of a clip's frames, which is what the draw is on average: no randomness to keep, and less
    noise. Its values are small (about 0.01 to 0.1), so that its weight must be chosen by trial.
    """

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Features are maps (B, N, C, H, W) of whole clips; labels are not used."""
        if features.ndim != 5:
            raise ValueError(f"features: expected maps (B, N, C, H, W), got {tuple(features.shape)}")
        if len(features) == 0 or features.shape[1] < 2:
            return 0 * features.sum(dtype=torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(features.device.type, enabled=False):
            return self._loss(features, labels)

    def _loss(self, features: Tensor, labels: Tensor | None) -> Tensor:
        if self.generator is not None:
            return inter_frame_regulariser(features, self.generator).mean()
        attention = spatial_attention(features)  # (B, N, H, W)
        first, second = torch.triu_indices(features.shape[1], features.shape[1], 1, device=features.device)
        return torch.linalg.vector_norm(attention[:, first] - attention[:, second], dim=(-2, -1)).mean()
