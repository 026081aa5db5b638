"""STA and its public re-implementation on full maps, equation by equation, with plain loops and in double precision.

Maps f are (N, H, W, C). Independent of the project's code: what the tests compare it with.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.ports import Projection


def stripe_rows(height: int, stripes: int, k: int) -> slice:
    return slice(k * height // stripes, (k + 1) * height // stripes)


def paper_g(frame: np.ndarray) -> np.ndarray:
    """g_n(h, w) of one map (H, W, C): the norm of the scalar sum of squares, divided by the map's L1 norm."""
    height, width, channels = frame.shape
    energy = np.zeros((height, width))
    for h in range(height):
        for w in range(width):
            total = 0.0
            for d in range(channels):
                total += float(frame[h, w, d]) ** 2
            energy[h, w] = np.sqrt(total**2)
    return energy / np.abs(energy).sum()


def paper_scores(maps: np.ndarray, stripes: int) -> np.ndarray:
    """s_{n,k}: the L1 norm of g_n over stripe k."""
    scores = np.zeros((len(maps), stripes))
    for n, frame in enumerate(maps):
        g = paper_g(frame)
        for k in range(stripes):
            scores[n, k] = np.abs(g[stripe_rows(len(g), stripes, k)]).sum()
    return scores


def option_scores(maps: np.ndarray, stripes: int, energy: str, normalisation: str) -> np.ndarray:
    """s_{n,k} as `AttentionOptions` defines them, from all values of the maps."""
    scores = np.zeros((len(maps), stripes))
    for n, frame in enumerate(maps.astype(np.float64)):
        for k in range(stripes):
            of_stripe = (frame[stripe_rows(len(frame), stripes, k)] ** 2).sum()
            scores[n, k] = np.sqrt(of_stripe) if energy == "norm" else of_stripe
        if normalisation == "sum":
            scores[n] /= scores[n].sum()
        elif normalisation == "l2":
            scores[n] /= np.sqrt((scores[n] ** 2).sum())
    return scores


def agrl_scores(maps: np.ndarray, stripes: int) -> np.ndarray:
    """The re-implementation's sta.py: norms over channels, L2-normalised over the map, averaged over each stripe."""
    scores = np.zeros((len(maps), stripes))
    for n, frame in enumerate(maps.astype(np.float64)):
        norms = np.sqrt((frame**2).sum(axis=2))  # (H, W)
        norms = norms / np.sqrt((norms**2).sum())
        for k in range(stripes):
            scores[n, k] = norms[stripe_rows(len(norms), stripes, k)].mean()
    return scores


def simple_sta_scores(maps: np.ndarray, stripes: int) -> np.ndarray:
    """The re-implementation's simple_sta.py: the norm of the pooled vector of each stripe."""
    scores = np.zeros((len(maps), stripes))
    for n, frame in enumerate(maps.astype(np.float64)):
        for k in range(stripes):
            scores[n, k] = np.linalg.norm(frame[stripe_rows(len(frame), stripes, k)].mean(axis=(0, 1)))
    return scores


def attention_of(scores: np.ndarray, frame_weights: Sequence[float] | None = None) -> np.ndarray:
    """S(n, k) = w_n s_{n,k} / sum over n of w_n s_{n,k}."""
    n, stripes = scores.shape
    weights = [1.0] * n if frame_weights is None else list(frame_weights)
    attention = np.zeros((n, stripes))
    for k in range(stripes):
        total = sum(weights[i] * scores[i, k] for i in range(n))
        for i in range(n):
            attention[i, k] = weights[i] * scores[i, k] / total
    return attention


def fused_maps(maps: np.ndarray, attention: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P1 and P2 as maps (H, W, C)."""
    n, height = maps.shape[:2]
    stripes = attention.shape[1]
    p1, p2 = np.zeros(maps.shape[1:]), np.zeros(maps.shape[1:])
    for k in range(stripes):
        rows = stripe_rows(height, stripes, k)
        best = np.argmax(attention[:, k].round(9))  # with one stripe all frames tie; the earliest counts
        p1[rows] = maps[best, rows]
        for i in range(n):
            p2[rows] += attention[i, k] * maps[i, rows]
    return p1, p2


def clip_vector(maps: np.ndarray, attention: np.ndarray, fusion: str, projection: Projection | None) -> np.ndarray:
    """The clip's vector; global average pooling comes after fusion, as in the paper's figure."""
    p1, p2 = fused_maps(maps, attention)
    if fusion == "paper":
        both = np.concatenate([p1, p2], axis=2).mean(axis=(0, 1))  # 2 C channels, pooled
        half = len(both) // 2
        return unit(np.concatenate([apply(projection, both[:half]), apply(projection, both[half:])]))
    if fusion in ("global", "discriminative"):
        return unit(apply(projection, (p2 if fusion == "global" else p1).mean(axis=(0, 1))))
    parts = clip_parts(maps, attention, "global", projection)
    return unit(np.concatenate([unit(apply(projection, p2.mean(axis=(0, 1)))), *parts]))


def clip_parts(maps: np.ndarray, attention: np.ndarray, fusion: str, projection: Projection | None) -> np.ndarray:
    """(K, D): the stripes of P2, of P1 for `discriminative`, pooled, projected and normalised."""
    fused = fused_maps(maps, attention)[0 if fusion == "discriminative" else 1]
    stripes = attention.shape[1]
    pooled = [fused[stripe_rows(len(fused), stripes, k)].mean(axis=(0, 1)) for k in range(stripes)]
    return np.stack([unit(apply(projection, vector)) for vector in pooled])


def regulariser(maps: np.ndarray, i: int, j: int) -> float:
    """||g_i - g_j||_F."""
    total = 0.0
    for a, b in zip(paper_g(maps[i]).ravel(), paper_g(maps[j]).ravel(), strict=True):
        total += (a - b) ** 2
    return float(np.sqrt(total))


def apply(projection: Projection | None, vector: np.ndarray) -> np.ndarray:
    if projection is None:
        return vector
    out = projection.weight.astype(np.float64) @ vector + projection.bias
    return np.maximum(out, 0) if projection.relu else out


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
