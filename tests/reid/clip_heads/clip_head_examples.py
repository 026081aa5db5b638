"""Clips and heads for the tests of trained clip heads."""

import numpy as np
import torch

from pipeline.ports import EncoderDescription, Projection
from reid.clip_heads.base import TrainableHead
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import CLIP_HEADS, make_clip_head, store_clip_head

STRIPES, CHANNELS = 4, 12
# Every head as it comes, and with each of its options at work
VARIANTS: dict[str, tuple[str, dict]] = {
    **{name: (name, {}) for name in CLIP_HEADS},
    "mean-64": ("mean", {"dimensions": 9}),
    "mean-bare": ("mean", {"neck": False}),
    "mean-apart": ("mean", {"apart": True}),
    "temporal-apart": ("temporal", {"apart": True, "hidden": 16}),
    "quality-apart": ("quality", {"apart": True, "dimensions": 10}),
    "sta-global": ("sta", {"fusion": "global"}),
    "sta-discriminative": ("sta", {"fusion": "discriminative", "dimensions": 7}),
    "temporal-5": ("temporal", {"kernel": 5, "hidden": 16}),
    "temporal-1": ("temporal", {"kernel": 1, "hidden": 16}),
    "rnn-30": ("rnn", {"hidden": 30}),
    "lstm-30": ("lstm", {"hidden": 11, "dimensions": 6}),
    "stgcn-residual": ("stgcn", {"residual": True, "temporal_layers": 4, "structural_layers": 3}),
    "stgcn-small": (
        "stgcn",
        {"temporal_dimensions": 5, "structural_dimensions": 3, "temporal_layers": 1, "neck": False},
    ),
}


def projection(outputs: int = 20) -> Projection:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((outputs, CHANNELS)).astype(np.float32)
    return Projection(weight, rng.standard_normal(outputs).astype(np.float32), True)


def clips(count: int = 6, frames: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Stripes (B, N, K, C) and energies (B, N, K), as behind a ReLU."""
    rng = np.random.default_rng(seed)
    stripes = rng.gamma(0.7, 1.0, (count, frames, STRIPES, CHANNELS)).astype(np.float32)
    energy = rng.gamma(2.0, 1.0, (count, frames, STRIPES)).astype(np.float32)
    return torch.from_numpy(stripes), torch.from_numpy(energy)


def trained(variant: str, with_projection: bool = False, seed: int = 0) -> TrainableHead:
    """A head with weights and statistics that are nothing special, in test mode."""
    name, options = VARIANTS[variant]
    given = projection() if with_projection else None
    torch.manual_seed(seed)
    head = make_clip_head(name, stripes=STRIPES, channels=CHANNELS, projection=given, **options)
    with torch.no_grad():
        for value in head.parameters():
            value.add_(0.2 * torch.randn(value.shape))
    for step in range(5):
        head(*clips(seed=step))  # statistics for the neck
    return head.eval()


def live(head: TrainableHead, *, rows: int = STRIPES, **options) -> LiveClipHead:
    encoder = EncoderDescription("example@1", rows, CHANNELS)
    return LiveClipHead(encoder, store_clip_head(head, encoder="example@1", origin="a test"), **options)
