"""The equations of `reid.aligned.AlignedHead`, written out as loops over clips, frames, rows and parts."""

import numpy as np


def fuse_by_hand(parameters, projection, stripes, energy, weights):
    """One clip: stripes (N, R, C), energy (N, R), weights (N,) -> vector, parts, visibility, attention (N, J)."""
    p = parameters
    frames, rows, _ = stripes.shape
    count = len(p.prototypes)
    attention = np.zeros((frames, rows))
    for r in range(rows):
        for n in range(frames):
            seen = float(energy[n].sum() > 0)
            share = seen if p.even else (energy[n, r] / energy[n].sum() if seen else 0.0)
            attention[n, r] = weights[n] * share
        total = attention[:, r].sum()
        attention[:, r] = attention[:, r] / total if total > 0 else weights / weights.sum()
    assignment = np.zeros((frames, rows, count))
    for n in range(frames):
        for r in range(rows):
            length = np.linalg.norm(stripes[n, r])
            direction = stripes[n, r] / length if length > 0 else stripes[n, r]
            logit = [p.sharpness * float((direction - p.centre) @ p.prototypes[j]) for j in range(count)]
            grown = np.exp(np.array(logit) + p.position[r])
            assignment[n, r] = grown / grown.sum() if count else grown
    body = sum(attention[n, r] * stripes[n, r] for n in range(frames) for r in range(rows)) / rows
    maps, visibility, joint = [body], [], np.zeros((frames, count))
    for j in range(count):
        weight = attention * assignment[:, :, j]
        maps.append(sum(weight[n, r] * stripes[n, r] for n in range(frames) for r in range(rows)) / weight.sum())
        visibility.append(min(count * weight.sum() / attention.sum(), 1.0))
        joint[:, j] = weight.sum(axis=1) / weight.sum()
    vectors = []
    for i, pooled in enumerate(maps):
        value = pooled
        if projection is not None and (pooled != 0).any():
            value = projection.weight @ pooled + projection.bias
            value = np.maximum(value, 0) if projection.relu else value
        value = p.basis[i, : p.dimensions] @ (unit(value) - p.offset[i])
        vectors.append(unit(value))
    gates = [p.weight[0], *(p.weight[1 + j] * visibility[j] for j in range(count))]
    whole = unit(np.concatenate([np.sqrt(g) * v for g, v in zip(gates, vectors, strict=True)]))
    return whole, np.array(vectors[1:]), np.array(visibility), joint


def unit(vector):
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
