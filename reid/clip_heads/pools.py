"""How trained clip heads pool N crops, in NumPy: the equations of the modules beside this one.

Each `_pool_` function is the `_pool` of the class of that name in PyTorch; tests hold the two equal.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.ports import Projection
from pipeline.retrieval import normalise_rows
from pipeline.types import FloatArray
from reid.attention import even_attention, select_stripes, temporal_attention, weigh_stripes

NORM_EPSILON = 1e-5  # PyTorch's default, of batch norm and layer norm alike
NEGATIVE_SLOPE = 0.01  # as in `reid.clip_heads.stgcn`


class HeadWeights(NamedTuple):
    """The file's arrays, settings and projection."""

    arrays: Mapping[str, FloatArray]
    options: Mapping[str, Any]
    projection: Projection | None

    def linear(self, name: str, values: FloatArray) -> FloatArray:
        """(..., inputs) -> (..., outputs)."""
        out = _apply(self.arrays[f"{name}.weight"], values)
        bias = self.arrays.get(f"{name}.bias")
        return out if bias is None else out + bias

    def project(self, vectors: FloatArray) -> FloatArray:
        """The backbone's last layer as the head has learned it."""
        if self.projection is None:
            return vectors
        projected = self.linear("projection", vectors)
        return np.maximum(projected, 0) if self.projection.relu else projected


class PooledClips(NamedTuple):
    """As `reid.clip_heads.base.Pooled`, the branches concatenated."""

    vector: FloatArray
    parts: FloatArray | None
    attention: FloatArray


Pool = Callable[[HeadWeights, FloatArray, FloatArray, FloatArray], PooledClips]


# --- heads that weigh frames or stripes ------------------------------------------------------------------------------


def _pool_mean(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    return _weigh(w, even_attention(energy, weights), stripes)


def _pool_sta(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    attention = temporal_attention(energy, weights)
    chosen = []
    if w.options["fusion"] != "global":
        chosen.append(select_stripes(attention, stripes))
    if w.options["fusion"] != "discriminative":
        chosen.append(weigh_stripes(attention, stripes))
    vector = np.concatenate([w.project(pooled.mean(axis=1)) for pooled in chosen], axis=-1)
    parts = np.concatenate([w.project(pooled) * _anything(pooled) for pooled in chosen], axis=-1)
    return PooledClips(vector, parts, attention)


def _pool_temporal(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    clips, frames = weights.shape
    order = np.argsort(weights <= 0, axis=1, kind="stable")
    there = np.take_along_axis(weights > 0, order, axis=1)
    ordered = _reorder(stripes, order).reshape(clips, frames, stripes.shape[2] * stripes.shape[3])
    hidden = np.maximum(w.linear("spatial", ordered), 0) * there[..., None]  # (B, N, H)
    kernel = w.arrays["temporal.weight"][0]  # (H, taps)
    reach = kernel.shape[1] // 2
    taps = np.pad(hidden @ kernel, ((0, 0), (reach, reach), (0, 0)))  # (B, N + 2 reach, taps)
    scores = sum(taps[:, t : t + frames, t] for t in range(kernel.shape[1])) + w.arrays["temporal.bias"][0]
    scores = np.take_along_axis(scores, np.argsort(order, axis=1), axis=1)
    scores = np.where(weights > 0, scores, -np.inf)
    shares = _frame_share(np.exp(scores - scores.max(axis=1, keepdims=True, initial=-1e30)), weights)
    return _weigh(w, np.repeat(shares[..., None], energy.shape[2], axis=2), stripes)


def _pool_quality(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    hidden = np.maximum(w.linear("hidden", stripes) + w.arrays["stripe_bias"], 0)
    quality = _sigmoid(w.linear("score", hidden)[..., 0])
    return _weigh(w, _frame_share(quality, weights), stripes)


def _weigh(w: HeadWeights, attention: FloatArray, stripes: FloatArray) -> PooledClips:
    pooled = weigh_stripes(attention, stripes)
    parts = w.project(pooled) * _anything(pooled)
    if w.options.get("apart", False):
        return PooledClips(parts.reshape(len(parts), parts.shape[1] * parts.shape[2]), None, attention)
    return PooledClips(w.project(pooled.mean(axis=1)), parts, attention)


# --- recurrent heads -------------------------------------------------------------------------------------------------


def _pool_rnn(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    order = np.argsort(weights <= 0, axis=1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=1)
    inputs = w.linear("input", w.project(_reorder(stripes, order).mean(axis=2)))  # (B, N, H)
    state = np.zeros_like(inputs[:, 0])
    total = np.zeros_like(state)
    for n in range(inputs.shape[1]):  # a loop: each step needs the one before
        output = inputs[:, n] + w.linear("recurrent", state)
        state = np.tanh(output)
        total += output * ordered[:, n, None]
    return PooledClips(total / ordered.sum(axis=1, keepdims=True), None, even_attention(energy, weights))


def _pool_lstm(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    clips, frames, count, channels = stripes.shape
    vectors = w.project(stripes.reshape(clips * frames, count, channels))
    inputs = _apply(w.arrays["cell.weight_ih"], vectors) + (w.arrays["cell.bias_ih"] + w.arrays["cell.bias_hh"])
    hidden = w.arrays["cell.weight_hh"].shape[1]
    state = np.zeros((clips * frames, hidden), np.float32)
    memory, outputs = np.zeros_like(state), []
    for k in range(count):
        gates = inputs[:, k] + _apply(w.arrays["cell.weight_hh"], state)
        gate_in, forget, gate_out = (_sigmoid(gates[:, i * hidden : (i + 1) * hidden]) for i in (0, 1, 3))
        memory = forget * memory + gate_in * np.tanh(gates[:, 2 * hidden : 3 * hidden])
        state = gate_out * np.tanh(memory)
        outputs.append(state)
    read = np.concatenate(outputs, axis=1).reshape(clips, frames, count * hidden)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return PooledClips((read * shares[..., None]).sum(axis=1), None, even_attention(energy, weights))


# --- graphs ----------------------------------------------------------------------------------------------------------


def _pool_stgcn(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    clips, frames, count, channels = stripes.shape
    there = np.repeat(weights > 0, count, axis=1)  # (B, N K)
    patches = convolve_graph(w, "temporal", stripes.reshape(clips, frames * count, channels), there)
    over_time = np.where(there[..., None], patches, -np.inf).max(axis=1).astype(np.float32)
    every = np.ones(stripes.shape[:3], bool)
    inside = convolve_graph(w, "structural", stripes, every)  # (B, N, K, F)
    inside = inside.reshape(clips, frames, count * inside.shape[-1])
    structure = (inside * (weights / weights.sum(axis=1, keepdims=True))[..., None]).sum(axis=1)
    attention = even_attention(energy, weights)
    whole = w.project(weigh_stripes(attention, stripes).mean(axis=1))
    return PooledClips(np.concatenate([whole, over_time, structure], axis=1), None, attention)


def convolve_graph(w: HeadWeights, name: str, patches: FloatArray, there: npt.NDArray[np.bool_]) -> FloatArray:
    """`reid.clip_heads.stgcn.PatchGraph`: (..., M, C) -> (..., M, F)."""
    mapped = w.linear(f"{name}.affinity", patches)
    affinity = np.matmul(mapped, np.swapaxes(mapped, -1, -2)) * there[..., None, :]
    largest = np.abs(affinity).max(axis=-1, keepdims=True, initial=0)
    squares = np.square(affinity / (largest + (largest == 0)))
    total = squares.sum(axis=-1, keepdims=True)
    joined = squares / (total + (total == 0)) + np.eye(patches.shape[-2], dtype=np.float32)
    degree = 1 / np.sqrt(joined.sum(axis=-1))
    spread = degree[..., :, None] * joined * degree[..., None, :]
    values, layer = patches, 0
    while f"{name}.layers.{layer}.weight" in w.arrays:
        new = np.matmul(spread, w.linear(f"{name}.layers.{layer}", values))
        new = _layer_norm(new, w.arrays[f"{name}.norms.{layer}.weight"], w.arrays[f"{name}.norms.{layer}.bias"])
        new = np.where(new > 0, new, np.float32(NEGATIVE_SLOPE) * new)
        values = values + new if w.options["residual"] and new.shape == values.shape else new
        layer += 1
    return values


# --- part heads (`reid.part_heads`), whose test vectors are made of stripe means --------------------------------------


def _pool_whole(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    """`AlignedReid` and `ScpNet`: the mean; their parts were for training only."""
    return _pool_mean(w, stripes, energy, weights)._replace(parts=None)


def _pool_parts(w: HeadWeights, stripes: FloatArray, energy: FloatArray, weights: FloatArray) -> PooledClips:
    """`Pcb` and `Icnn`: the stripes one after the other, behind the whole body where the head has it.

    PCB's stripes are parts that the matcher compares one by one; ICNN's are not, or the whole body would be left out.
    """
    attention = even_attention(energy, weights)
    parts = weigh_stripes(attention, stripes)  # (B, K, C)
    whole = parts.mean(axis=1)
    if w.options["test"] == "h":
        layers = np.matmul(parts.transpose(1, 0, 2), w.arrays["local.weight"].transpose(0, 2, 1))  # (K, B, L)
        parts = np.maximum(layers + w.arrays["local.bias"][:, None], 0).transpose(1, 0, 2) * _anything(parts)
    vector = parts.reshape(len(parts), parts.shape[1] * parts.shape[2])
    if w.options["whole"]:
        return PooledClips(np.concatenate([normalise_rows(whole), normalise_rows(vector)], axis=1), None, attention)
    return PooledClips(vector, parts, attention)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def _apply(weight: FloatArray, values: FloatArray) -> FloatArray:
    """(..., inputs) -> (..., outputs), as one large product: NumPy makes many small ones of more than two axes."""
    flat = values.reshape(-1, values.shape[-1]) @ weight.T
    return flat.reshape(*values.shape[:-1], len(weight))


def _layer_norm(values: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    centred = values - values.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias


def _sigmoid(values: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(0.5 * values))  # without overflow


def _frame_share(scores: FloatArray, weights: FloatArray) -> FloatArray:
    """`reid.clip_heads.base.frame_share`."""
    spread = weights.reshape(*weights.shape, *[1] * (scores.ndim - 2))
    weighed = scores * spread
    total = weighed.sum(axis=1, keepdims=True)
    even = np.broadcast_to(spread / spread.sum(axis=1, keepdims=True), weighed.shape)
    return np.where(total > 0, weighed / np.where(total > 0, total, 1), even).astype(np.float32)


def _reorder(values: FloatArray, order: np.ndarray) -> FloatArray:
    """`values` (B, N, ...) with frame n taken from place order[b, n]."""
    return values[np.arange(len(values))[:, None], order]


def _anything(pooled: FloatArray) -> FloatArray:
    return (pooled != 0).any(axis=-1, keepdims=True).astype(np.float32)


POOLS: Mapping[str, Pool] = {
    "mean": _pool_mean,
    "sta": _pool_sta,
    "temporal": _pool_temporal,
    "rnn": _pool_rnn,
    "lstm": _pool_lstm,
    "quality": _pool_quality,
    "stgcn": _pool_stgcn,
    "aligned_reid": _pool_whole,
    "scpnet": _pool_whole,
    "pcb": _pool_parts,
    "icnn": _pool_parts,
}
