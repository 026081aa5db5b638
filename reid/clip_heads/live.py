"""Trained clip heads in NumPy, for any number of clips at once: what live cameras run."""

from collections.abc import Mapping

import numpy as np

from pipeline.errors import WeightsError
from pipeline.ports import EncoderDescription, Projection
from pipeline.retrieval import normalise_rows
from pipeline.types import FloatArray
from reid.clip_heads.pools import NORM_EPSILON, POOLS, HeadWeights
from reid.clip_heads.stored import StoredClipHead
from reid.heads import BatchHead, FusedClips, stripe_visibility


class LiveClipHead(BatchHead):
    """A trained clip head, whichever it is; frames that weigh 0 do not exist."""

    def __init__(self, encoder: EncoderDescription, stored: StoredClipHead, *, quality_weights: bool = False) -> None:
        """
        Raises:
            WeightsError: trained on another encoder, of a kind that this program does not know, or weights are missing.
            ConfigError: the encoder's stripes cannot be gathered into the head's.
        """
        stored.check_encoder(encoder)
        if stored.name not in POOLS:
            raise WeightsError(f"reid.head_weights: no head is called {stored.name!r}; known: {', '.join(POOLS)}")
        super().__init__(encoder, f"{stored.name}@{stored.digest}", quality_weights, stored.stripes)
        self._pool = POOLS[stored.name]
        self._dimensions = stored.dimensions
        try:
            self._weights = _read(stored)
            self._neck = _neck(stored.arrays)
            self._check(stored)
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsError(f"reid.head_weights: not weights of a head {stored.name} ({error})") from None

    def _check(self, stored: StoredClipHead) -> None:
        """Fuse a clip of nothing: weights that do not fit each other are found before there is a camera."""
        nothing = np.zeros((1, 1, stored.stripes, stored.channels), np.float32)
        found = self._fuse_checked(nothing, nothing[..., 0], np.ones((1, 1), np.float32)).embedding.shape[1]
        if found != stored.dimensions:
            raise ValueError(f"vectors of {found} values, where it says {stored.dimensions}")

    def _fuse_checked(self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray) -> FusedClips:
        pooled = self._pool(self._weights, stripes, energy, frame_weights)
        seen = ((energy.sum(axis=2) * frame_weights).sum(axis=1) > 0).astype(np.float32)[:, None]  # (B, 1)
        vector = normalise_rows(self._finish(pooled.vector))
        vector = np.where(seen > 0, vector, np.float32(-(self._dimensions**-0.5))).astype(np.float32)
        if pooled.parts is None:
            attention = pooled.attention.mean(axis=2, keepdims=True)
            return FusedClips(vector, (vector * seen)[:, None], seen, attention)
        there = seen[..., None] * (pooled.parts != 0).any(axis=-1, keepdims=True)
        parts = (normalise_rows(self._finish(pooled.parts)) * there).astype(np.float32)
        visibility = stripe_visibility(pooled.attention, energy) * seen
        return FusedClips(vector, parts, visibility, pooled.attention)

    def _finish(self, pooled: FloatArray) -> FloatArray:
        if "embed.weight" in self._weights.arrays:
            pooled = self._weights.linear("embed", pooled)
        return pooled if self._neck is None else pooled * self._neck[0] + self._neck[1]


def _read(stored: StoredClipHead) -> HeadWeights:
    projection = None
    if "projection.weight" in stored.arrays:
        arrays = stored.arrays["projection.weight"], stored.arrays["projection.bias"]
        projection = Projection(*arrays, relu=bool(stored.options["relu"]))
    return HeadWeights(stored.arrays, stored.options, projection)


def _neck(arrays: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray] | None:
    """The neck's batch norm as a factor and a term per value; None: there is none."""
    if "neck.norm.weight" not in arrays:
        return None
    weight, bias, mean, variance = (
        arrays[f"neck.norm.{name}"].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(variance + NORM_EPSILON)
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
