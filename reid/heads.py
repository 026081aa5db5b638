"""Clip heads: N crop features of one track become one vector. NumPy only; thousands of clips a second.

STA (Fu et al., AAAI 2019) needs of each crop no more than its K stripe means f_{n,k} and stripe energies E_{n,k}:
its attention is a ratio of energies, and its two representations are a selection and a weighted sum of stripes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from pipeline.errors import ConfigError
from pipeline.ports import EncoderDescription, Projection
from pipeline.retrieval import normalise_rows
from pipeline.types import CropFeature, FloatArray, FusedClip
from reid.attention import (
    PAPER,
    AttentionOptions,
    even_attention,
    select_stripes,
    stripe_scores,
    temporal_attention,
    weigh_stripes,
)
from reid.crop_stack import CropStack, check_stack, stack_clips

Fusion: TypeAlias = Literal["paper", "global", "discriminative", "stripes"]

FUSIONS: tuple[Fusion, ...] = ("paper", "global", "discriminative", "stripes")


class FusedClips(NamedTuple):
    """What a head makes of B clips at once; row b holds the values of a `FusedClip`.

    Attributes:
        embedding: (B, D) float32, norm 1.
        parts: (B, K, D') float32, norm 1, or 0 where nothing was seen.
        visibility: (B, K) float32 in [0, 1].
        attention: (B, N, K) float32; each column sums to 1, and a frame of weight 0 has 0.
    """

    embedding: FloatArray
    parts: FloatArray
    visibility: FloatArray
    attention: FloatArray


class BatchHead(ABC):
    """A `pipeline.ports.ClipHead` that fuses many clips at once; a subclass says how, in `_fuse_checked`."""

    def __init__(
        self, encoder: EncoderDescription, name: str, quality_weights: bool, stripes: int | None = None
    ) -> None:
        """
        Args:
            stripes: K, when the encoder's finer stripes are to be gathered into fewer; None: as they come.

        Raises:
            ConfigError: the encoder's stripes do not divide into so many.
        """
        stripes = encoder.stripes if stripes is None else stripes
        if encoder.stripes % stripes:
            raise ConfigError(f"reid.stripes: {encoder.stripes} stripes cannot be gathered into {stripes}")
        self._encoder = encoder
        self._stripes = stripes
        self._quality_weights = quality_weights
        self._name = f"{name}+quality" if quality_weights else name

    @property
    def clip_model_id(self) -> str:
        """Names encoder, head and options: vectors with different names are never compared."""
        return f"{self._encoder.model_id}/{self._name}"

    def fuse(self, crops: Sequence[CropFeature]) -> FusedClip:
        """See `pipeline.ports.ClipHead`."""
        return FusedClip(*(values[0] for values in self.fuse_clips([crops])))

    def fuse_clips(self, clips: Sequence[Sequence[CropFeature]]) -> FusedClips:
        """Vectors of clips of N_b >= 1 crops each; `attention` has as many rows as the longest clip has crops.

        Raises:
            ValueError: a clip without crops, or crops of another encoder.
        """
        return self.fuse_batch(*stack_clips(clips, self._encoder, quality_weights=self._quality_weights))

    def fuse_batch(
        self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray | None = None
    ) -> FusedClips:
        """Vectors of B clips of N crops, without a loop; B may be 0.

        Args:
            stripes: (B, N, K, C) float32, finite, N >= 1.
            energy: (B, N, K) float32, not negative.
            frame_weights: (B, N), not negative; None: all count 1. A frame of weight 0 does not exist, so that
                shorter clips can be filled up. `fuse` makes them of crop qualities where the head was told to.

        Raises:
            ValueError: shapes that do not fit, a negative weight, or a clip all of whose weights are 0.
        """
        if frame_weights is None:
            frame_weights = np.ones(stripes.shape[:2], np.float32)
        check_stack(CropStack(stripes, energy, frame_weights), self._encoder)
        return self._fuse_checked(*gather_stripes(stripes, energy, self._stripes), frame_weights)

    @abstractmethod
    def _fuse_checked(self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray) -> FusedClips: ...


class MeanHead(BatchHead):
    """The mean of the maps over frames and places, then the backbone's projection.

    With `quality_weights` a frame counts by its `CropQuality.score`; see `stack_clips`.
    """

    def __init__(
        self, encoder: EncoderDescription, *, quality_weights: bool = False, stripes: int | None = None
    ) -> None:
        super().__init__(encoder, "mean", quality_weights, stripes)

    def _fuse_checked(self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray) -> FusedClips:
        attention = even_attention(energy, frame_weights)
        pooled = weigh_stripes(attention, stripes)  # (B, K, C)
        vector = project(self._encoder.projection, pooled.mean(axis=1))
        return _fused(vector, project(self._encoder.projection, pooled), attention, energy)


class StaHead(BatchHead):
    """Spatial-temporal attention over stripes.

    `fusion` says what becomes the vector, always through the backbone's own projection because no layer was trained
    on top of STA here (the paper trains one fully connected layer on the 2C channels):

    - `paper`: P1 and P2, each averaged over stripes, each projected, concatenated: 2 D values.
    - `global`: P2 averaged over stripes, projected: D values.
    - `discriminative`: P1 likewise.
    - `stripes`: P2 as a whole and each of its K stripes, projected and L2-normalised one by one, concatenated:
      (K + 1) D values. Pays where bodies are whole, and costs where they are cut off (docs/sta.md).

    `parts` are the projected stripes of P2, of P1 for `discriminative`. `options` and `quality_weights` change the
    attention alone: with `quality_weights` a frame counts also by its `CropQuality.score`; see `stack_clips`.
    """

    def __init__(
        self,
        encoder: EncoderDescription,
        fusion: Fusion = "global",
        options: AttentionOptions = PAPER,
        *,
        quality_weights: bool = False,
        stripes: int | None = None,
    ) -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"fusion: expected one of {', '.join(FUSIONS)}; got {fusion!r}")
        super().__init__(encoder, f"sta-{fusion}{options.suffix}", quality_weights, stripes)
        self._fusion = fusion
        self._options = options

    def _fuse_checked(self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray) -> FusedClips:
        projection = self._encoder.projection
        attention = temporal_attention(energy, frame_weights, self._options)
        choose = select_stripes if self._fusion == "discriminative" else weigh_stripes
        pooled = choose(attention, stripes)  # (B, K, C)
        parts = project(projection, pooled)
        vector = project(projection, pooled.mean(axis=1))
        if self._fusion == "paper":
            selected = select_stripes(attention, stripes).mean(axis=1)
            vector = np.concatenate([project(projection, selected), vector], axis=1)
        elif self._fusion == "stripes":
            whole_and_parts = normalise_rows(np.concatenate([vector[:, None], parts], axis=1))  # (B, K + 1, D)
            vector = whole_and_parts.reshape(len(vector), np.prod(whole_and_parts.shape[1:]))  # -1 fails without clips
        return _fused(vector, parts, attention, energy)


def gather_stripes(stripes: FloatArray, energy: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Stripes (B, N, R, C) and their energies (B, N, R) as `count` stripes, what a coarser pooling would have given."""
    clips, frames, rows, channels = stripes.shape
    if rows == count:
        return stripes, energy
    gathered = (clips, frames, count, rows // count)
    return stripes.reshape(*gathered, channels).mean(axis=3), energy.reshape(gathered).sum(axis=3)


def project(projection: Projection | None, pooled: FloatArray) -> FloatArray:
    """(..., C) -> (..., D); a row of zeros, where nothing was seen, stays zero."""
    if projection is None:
        return pooled
    projected = pooled @ projection.weight.T + projection.bias
    if projection.relu:
        projected = np.maximum(projected, 0)
    return np.where((pooled != 0).any(axis=-1, keepdims=True), projected, 0).astype(np.float32)


def stripe_visibility(attention: FloatArray, energy: FloatArray) -> FloatArray:
    """(..., K): a stripe's mean share of its frame's energy under the attention, 1 from an even share (1/K) up."""
    share = (attention * stripe_scores(energy)).sum(axis=-2)  # (..., K)
    return np.clip(share * share.shape[-1], 0, 1).astype(np.float32)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """`vectors` (..., D) with norm 1; zeros become a direction at least 1 away from every non-negative vector."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    nowhere = np.float32(-1.0 / np.sqrt(vectors.shape[-1]))
    return np.where(norm > 0, vectors / np.where(norm > 0, norm, 1), nowhere)


def _fused(vector: FloatArray, parts: FloatArray, attention: FloatArray, energy: FloatArray) -> FusedClips:
    return FusedClips(unit_rows(vector), normalise_rows(parts), stripe_visibility(attention, energy), attention)
