"""STA (Fu et al., AAAI 2019) in PyTorch, differentiable, for training and for GPUs; equal to `reid.heads` in NumPy.

Maps are (B, N, C, H, W): B clips of N frames. Any precision may come in; energies and attention are computed in single
precision at least, because sums of squares of half-precision maps overflow. Nothing here loops over clips, frames or
stripes. Gradients flow through the attention into the energies, as in the paper, but not through P1's choice of frames.
"""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from pipeline.ports import Projection
from reid.attention import PAPER, AttentionOptions
from reid.heads import FUSIONS, Fusion

TorchFusion: TypeAlias = Fusion | Literal["mean"]


class FusedTensors(NamedTuple):
    """As `reid.heads.FusedClips`: embedding (B, D), parts (B, K, D'), visibility (B, K), attention (B, N, K)."""

    embedding: Tensor
    parts: Tensor
    visibility: Tensor
    attention: Tensor


def pool_stripes(maps: Tensor, stripes: int) -> tuple[Tensor, Tensor]:
    """Stripe means (..., K, C) and energies (..., K), at least float32, of maps (..., C, H, W) of any precision.

    The axis that lies closest in memory is reduced without being strided over (on a CPU up to 15 times as fast), and
    no copy of the maps in single precision is made.

    Raises:
        ValueError: K does not divide H.
    """
    if maps.shape[-2] % stripes:
        raise ValueError(f"stripes: expected a divisor of the map's {maps.shape[-2]} rows, got {stripes}")
    dtype = _working_dtype(maps)
    if maps.stride(-3) == 1:  # channels last
        cells = maps.movedim(-3, -1).unflatten(-3, (stripes, -1)).flatten(-3, -2)  # (..., K, H / K * W, C)
        energy = torch.linalg.vector_norm(cells, dim=-1, dtype=dtype).square().sum(-1)
        return cells.sum(-2, dtype=dtype) / cells.shape[-2], energy
    cells = maps.unflatten(-2, (stripes, -1)).flatten(-2)  # (..., C, K, H / K * W)
    energy = torch.linalg.vector_norm(cells, dim=-1, dtype=dtype).square().sum(-2)
    return (cells.sum(-1, dtype=dtype) / cells.shape[-1]).transpose(-1, -2).contiguous(), energy


def stripe_scores(energy: Tensor, options: AttentionOptions = PAPER) -> Tensor:
    """`reid.attention.stripe_scores`: s_{n,k} (..., N, K), at least float32; gradients are finite at energy 0."""
    energy = energy.to(_working_dtype(energy))
    scores = _safe_sqrt(energy) if options.energy == "norm" else energy
    if options.normalisation == "none":
        return scores
    if options.normalisation == "l2":
        scores = _divide(scores, scores.detach().amax(-1, keepdim=True))  # else squares of energies overflow
        return _divide(scores, torch.linalg.vector_norm(scores, dim=-1, keepdim=True))
    return _divide(scores, scores.sum(-1, keepdim=True))


def temporal_attention(
    energy: Tensor, frame_weights: Tensor | None = None, options: AttentionOptions = PAPER
) -> Tensor:
    """`reid.attention.temporal_attention`: S(n, k), (..., N, K), of energies (..., N, K) and weights (..., N)."""
    return _share_out(stripe_scores(energy, options), frame_weights)


def even_attention(energy: Tensor, frame_weights: Tensor | None = None) -> Tensor:
    """`reid.attention.even_attention`: (..., N, K)."""
    seen = (energy.sum(-1, keepdim=True) > 0).to(_working_dtype(energy))  # (..., N, 1)
    return _share_out(seen, frame_weights).expand(energy.shape)


def select_stripes(attention: Tensor, stripes: Tensor) -> Tensor:
    """P1: (..., K, C) of stripes (..., N, K, C); no gradient reaches the attention or the frames that lost."""
    best = attention.detach().argmax(-2)[..., None, :, None]  # (..., 1, K, 1)
    shape = (*best.shape[:-1], stripes.shape[-1])
    return stripes.gather(-3, best.expand(shape)).squeeze(-3)


def weigh_stripes(attention: Tensor, stripes: Tensor) -> Tensor:
    """P2: (..., K, C), the sum over frames of S(n, k) f_{n,k}."""
    return (attention.unsqueeze(-1) * stripes).sum(-3)


class StaFusion(nn.Module):
    """The heads of `reid.heads` as a module: clips of maps or of crop features in, `FusedTensors` out.

    Its parameters are the backbone's projection, where it has one; freeze them if they are not to be trained.
    """

    def __init__(
        self,
        fusion: TorchFusion = "global",
        options: AttentionOptions = PAPER,
        *,
        stripes: int = 4,
        projection: Projection | None = None,
    ) -> None:
        if fusion not in (*FUSIONS, "mean"):
            raise ValueError(f"fusion: expected one of {', '.join(FUSIONS)}, mean; got {fusion!r}")
        super().__init__()
        self.fusion = fusion
        self.options = options
        self.stripes = stripes
        self.relu = projection is not None and projection.relu
        self.projection = None if projection is None else projection_layer(projection)

    def forward(self, maps: Tensor, frame_weights: Tensor | None = None) -> FusedTensors:
        """Fuses maps (B, N, C, H, W); `frame_weights` (B, N) as in `reid.heads.BatchHead.fuse_batch`, unchecked."""
        return self.fuse(*pool_stripes(maps, self.stripes), frame_weights)

    def fuse(self, stripes: Tensor, energy: Tensor, frame_weights: Tensor | None = None) -> FusedTensors:
        """Fuses crop features: stripes (B, N, K, C) and energies (B, N, K)."""
        if self.fusion == "mean":
            attention = even_attention(energy, frame_weights)
        else:
            attention = temporal_attention(energy, frame_weights, self.options)
        choose = select_stripes if self.fusion == "discriminative" else weigh_stripes
        pooled = choose(attention, stripes.to(attention.dtype))  # (B, K, C)
        parts, vector = self._project(pooled), self._project(pooled.mean(-2))
        if self.fusion == "paper":
            selected = select_stripes(attention, stripes.to(attention.dtype)).mean(-2)
            vector = torch.cat([self._project(selected), vector], dim=-1)
        elif self.fusion == "stripes":
            vector = unit_or_zero(torch.cat([vector.unsqueeze(-2), parts], dim=-2)).flatten(-2)
        return FusedTensors(_unit_rows(vector), unit_or_zero(parts), stripe_visibility(attention, energy), attention)

    def _project(self, pooled: Tensor) -> Tensor:
        """(..., C) -> (..., D), at least float32 also under autocast; a row of zeros stays zero."""
        if self.projection is None:
            return pooled
        projected = self.projection(pooled.to(self.projection.weight.dtype))
        projected = (projected.relu() if self.relu else projected).to(pooled.dtype)
        return projected.where((pooled != 0).any(-1, keepdim=True), 0.0)


def projection_layer(projection: Projection) -> nn.Linear:
    """The backbone's last layer with its weights, without its ReLU."""
    outputs, inputs = projection.weight.shape
    layer = nn.Linear(inputs, outputs)
    layer.load_state_dict({"weight": torch.tensor(projection.weight), "bias": torch.tensor(projection.bias)})
    return layer


def stripe_visibility(attention: Tensor, energy: Tensor) -> Tensor:
    """`reid.heads.stripe_visibility`: (..., K) in [0, 1]."""
    share = (attention * stripe_scores(energy)).sum(-2)
    return (share * share.shape[-1]).clamp(0, 1)


def unit_or_zero(rows: Tensor) -> Tensor:
    """`rows` (..., D) with norm 1; a row of zeros stays zero, and its gradient is finite."""
    return _divide(rows, torch.linalg.vector_norm(rows, dim=-1, keepdim=True))


# --- the regulariser -------------------------------------------------------------------------------------------------


def spatial_attention(maps: Tensor) -> Tensor:
    """STA's g_n(h, w): the share of the frame's squared values that lies in each place.

    Args:
        maps: (..., C, H, W) of any precision.

    Returns:
        (..., H, W), at least float32, summing to 1 over a frame; zeros for a frame of zeros.
    """
    strength = torch.linalg.vector_norm(maps, dim=-3, dtype=_working_dtype(maps)).square()
    return _divide(strength, strength.sum((-2, -1), keepdim=True))


def frame_distance(maps: Tensor, pairs: Tensor) -> Tensor:
    """STA's regulariser ||g_i - g_j||_F for given pairs of frames.

    Args:
        maps: (B, N, C, H, W).
        pairs: (B, 2) int64, frames i and j of each clip.

    Returns:
        (B,) from 0 (equal frames; the gradient there is 0) to sqrt(2) (all in one place, and not the same one).
    """
    clips = torch.arange(len(maps), device=maps.device)
    chosen = maps[clips.unsqueeze(-1), pairs.to(maps.device)]  # (B, 2, C, H, W)
    attention = spatial_attention(chosen)
    return torch.linalg.vector_norm(attention[:, 0] - attention[:, 1], dim=(-2, -1))


def random_pairs(frames_there: Tensor, generator: torch.Generator) -> Tensor:
    """Two different frames of each clip, every pair equally likely.

    Args:
        frames_there: (B, N) bool, N >= 1; False marks filling.
        generator: any device; the draw is the same wherever the maps are.

    Returns:
        (B, 2) int64 on the generator's device; a clip of one frame gets it twice.

    Raises:
        ValueError: a clip without any frame.
    """
    frames_there = frames_there.to(generator.device)
    if not bool(frames_there.any(-1).all()):
        raise ValueError("frames_there: expected at least one frame in every clip")
    draw = torch.rand(frames_there.shape, generator=generator, device=generator.device)
    order = draw.masked_fill(~frames_there, -1.0).argsort(-1, descending=True)
    first, second = order[:, :1], order[:, 1:2]
    if second.shape[1] == 0:
        return first.expand(-1, 2)
    return torch.cat([first, second.where(frames_there.gather(1, second), first)], dim=1)


def inter_frame_regulariser(maps: Tensor, generator: torch.Generator, frames_there: Tensor | None = None) -> Tensor:
    """STA's regulariser ||g_i - g_j||_F of each clip, for two frames drawn at random; 0 for a clip of one frame.

    Its values are small (a uniform map of 128 places has norm .088), so its weight in the loss must be chosen by trial.

    Args:
        maps: (B, N, C, H, W) with N >= 1.
        frames_there: (B, N) bool; None: all are.

    Returns:
        (B,); the caller averages.
    """
    if frames_there is None:
        frames_there = torch.ones(maps.shape[:2], dtype=torch.bool)
    return frame_distance(maps, random_pairs(frames_there, generator))


# --- arithmetic that stays finite, gradients included -----------------------------------------------------------------


def _working_dtype(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _safe_sqrt(values: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0."""
    positive = values > 0
    return values.where(positive, 1.0).sqrt().where(positive, 0.0)


def _divide(values: Tensor, divisor: Tensor) -> Tensor:
    """`values / divisor`; where the divisor, a sum or norm of the values, is 0 so are they, and are left alone."""
    return values / (divisor + (divisor == 0))


def _share_out(scores: Tensor, frame_weights: Tensor | None) -> Tensor:
    """Weighted scores (..., N, K) divided by their sum over frames; the weights' own shares where that is 0."""
    shares: Tensor | float = 1 / scores.shape[-2]
    if frame_weights is not None:
        weights = frame_weights.to(scores).unsqueeze(-1)  # (..., N, 1)
        shares = weights / weights.sum(-2, keepdim=True)
        scores = scores * shares
    total = scores.sum(-2, keepdim=True)
    positive = total > 0
    return (scores / total.where(positive, 1.0)).where(positive, shares)


def _unit_rows(vectors: Tensor) -> Tensor:
    """`reid.heads.unit_rows`."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    positive = norm > 0
    return (vectors / norm.where(positive, 1.0)).where(positive, -(vectors.shape[-1] ** -0.5))
