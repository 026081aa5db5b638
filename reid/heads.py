"""Clip heads: N crop features of one track become one vector. NumPy only; thousands of clips a second.

STA (Fu et al., AAAI 2019) needs of each crop no more than its K stripe means f_{n,k} and stripe energies E_{n,k}:
its attention is a ratio of energies, and its two representations are a selection and a weighted sum of stripes.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from pipeline.ports import EncoderDescription, Projection
from pipeline.retrieval import normalise_rows
from pipeline.types import CropFeature, FloatArray, FusedClip

Fusion: TypeAlias = Literal["paper", "global", "discriminative", "stripes"]

FUSIONS: tuple[Fusion, ...] = ("paper", "global", "discriminative", "stripes")


def spatial_scores(energy: FloatArray) -> FloatArray:
    """STA's s_{n,k}: the share of frame n's energy that lies in stripe k.

    Args:
        energy: (N, K), sums of squared map values per stripe, not negative.

    Returns:
        (N, K) float32; each row sums to 1, or to 0 for a frame without any energy (0/0 is taken as 0).
    """
    energy = energy.astype(np.float64)  # sums of squares of half-precision maps span many decades
    total = energy.sum(axis=1, keepdims=True)
    return np.divide(energy, total, out=np.zeros_like(energy), where=total > 0).astype(np.float32)


def temporal_attention(energy: FloatArray) -> FloatArray:
    """STA's S(n, k) = s_{n,k} / sum over n of s_{n,k}: how much frame n counts for stripe k.

    Scaling one frame's map leaves it unchanged. A frame without energy gets weight 0 as long as another has some;
    a stripe that is empty in every frame gets 1/N.

    Args:
        energy: (N, K), N >= 1.

    Returns:
        (N, K) float32; each column sums to 1.
    """
    scores = spatial_scores(energy)
    total = scores.sum(axis=0, keepdims=True)
    even = np.full_like(scores, 1.0 / len(scores))
    return np.divide(scores, total, out=even, where=total > 0)


def even_attention(energy: FloatArray) -> FloatArray:
    """(N, K) the plain mean's weights: the same for every frame that has any energy; all of them when none has."""
    seen = (energy.sum(axis=1, keepdims=True) > 0).astype(np.float32)  # (N, 1)
    if not seen.any():
        seen = np.ones_like(seen)
    return np.repeat(seen / seen.sum(), energy.shape[1], axis=1)


def select_stripes(attention: FloatArray, stripes: FloatArray) -> FloatArray:
    """P1 (discriminative): (K, C), of each stripe the frame with the largest attention; the earliest wins a tie."""
    best = attention.argmax(axis=0)  # (K,)
    return stripes[best, np.arange(len(best))]


def weigh_stripes(attention: FloatArray, stripes: FloatArray) -> FloatArray:
    """P2 (global): (K, C), the sum over frames of S(n, k) f_{n,k}."""
    return np.einsum("nk,nkc->kc", attention, stripes)


class MeanHead:
    """The mean of the maps over frames and places, then the backbone's projection."""

    def __init__(self, encoder: EncoderDescription) -> None:
        self._encoder = encoder

    @property
    def clip_model_id(self) -> str:
        """Names encoder and head: vectors with different names are never compared."""
        return f"{self._encoder.model_id}/mean"

    def fuse(self, crops: Sequence[CropFeature]) -> FusedClip:
        """See `pipeline.ports.ClipHead`."""
        stripes, energy = _stack(crops, self._encoder)
        attention = even_attention(energy)
        pooled = weigh_stripes(attention, stripes)
        vector = _project(self._encoder.projection, pooled.mean(axis=0))
        return _fused(vector, _project(self._encoder.projection, pooled), attention, energy)


class StaHead:
    """Spatial-temporal attention over stripes.

    `fusion` says what becomes the vector, always through the backbone's own projection because no layer was trained
    on top of STA here (the paper trains one fully connected layer on the 2C channels):

    - `paper`: P1 and P2, each averaged over stripes, each projected, concatenated: 2 D values.
    - `global`: P2 averaged over stripes, projected: D values.
    - `discriminative`: P1 likewise.
    - `stripes`: P2 as a whole and each of its K stripes, projected and L2-normalised one by one, concatenated:
      (K + 1) D values. Pays where bodies are whole, and costs where they are cut off (docs/sta.md).

    `parts` are the projected stripes of P2, of P1 for `discriminative`.
    """

    def __init__(self, encoder: EncoderDescription, fusion: Fusion = "global") -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"fusion: expected one of {', '.join(FUSIONS)}; got {fusion!r}")
        self._encoder = encoder
        self._fusion = fusion

    @property
    def clip_model_id(self) -> str:
        """Names encoder, head and fusion: vectors with different names are never compared."""
        return f"{self._encoder.model_id}/sta-{self._fusion}"

    def fuse(self, crops: Sequence[CropFeature]) -> FusedClip:
        """See `pipeline.ports.ClipHead`."""
        stripes, energy = _stack(crops, self._encoder)
        attention = temporal_attention(energy)
        weighed = weigh_stripes(attention, stripes)  # (K, C)
        pooled = select_stripes(attention, stripes) if self._fusion == "discriminative" else weighed
        parts = _project(self._encoder.projection, pooled)
        vector = _project(self._encoder.projection, pooled.mean(axis=0))
        if self._fusion == "paper":
            selected = select_stripes(attention, stripes).mean(axis=0)
            vector = np.concatenate([_project(self._encoder.projection, selected), vector])
        elif self._fusion == "stripes":
            vector = normalise_rows(np.concatenate([vector[None], parts])).ravel()
        return _fused(vector, parts, attention, energy)


def _stack(crops: Sequence[CropFeature], encoder: EncoderDescription) -> tuple[FloatArray, FloatArray]:
    """Stripes (N, K, C) and energies (N, K) of crops that all come from `encoder`."""
    if not crops:
        raise ValueError("crops: expected at least one, got none")
    strangers = {crop.model_id for crop in crops} - {encoder.model_id}
    if strangers:
        raise ValueError(f"crops: expected features of {encoder.model_id}, got {', '.join(sorted(strangers))}")
    wanted = (encoder.stripes, encoder.channels)
    wrong = [crop.stripes.shape for crop in crops if crop.stripes.shape != wanted]
    if wrong:
        raise ValueError(f"crops: expected stripes of shape {wanted}, got {wrong[0]}")
    return np.stack([crop.stripes for crop in crops]), np.stack([crop.energy for crop in crops])


def _project(projection: Projection | None, pooled: FloatArray) -> FloatArray:
    """(..., C) -> (..., D); a row of zeros, where nothing was seen, stays zero."""
    if projection is None:
        return pooled
    projected = pooled @ projection.weight.T + projection.bias
    if projection.relu:
        projected = np.maximum(projected, 0)
    return np.where((pooled != 0).any(axis=-1, keepdims=True), projected, 0).astype(np.float32)


def _fused(vector: FloatArray, parts: FloatArray, attention: FloatArray, energy: FloatArray) -> FusedClip:
    """The clip's values, with `visibility`: a stripe's mean share of the energy, 1 from an even share (1/K) up."""
    share = (attention * spatial_scores(energy)).sum(axis=0)  # (K,)
    visibility = np.clip(share * len(share), 0, 1)
    return FusedClip(_unit(vector), normalise_rows(parts), visibility, attention)


def _unit(vector: FloatArray) -> FloatArray:
    """`vector` with norm 1; nothing at all becomes a direction at least 1 away from every non-negative vector."""
    norm = float(np.linalg.norm(vector))
    if norm > 0:
        return (vector / norm).astype(np.float32)
    return np.full(len(vector), -1.0 / np.sqrt(len(vector)), np.float32)
