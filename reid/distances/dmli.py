"""DMLI: the shortest path through the distances of two bodies' stripes, top to bottom. NumPy, all pairs at once.

Luo, Jiang, Zhang, Fan, Qian and Zhang, *AlignedReID++: dynamically matching local information for person
re-identification*, Pattern Recognition 2019, section 3 (Zhang et al., arXiv 1711.08184, equations 1 and 2):

- d_ij = (e^x - 1) / (e^x + 1) with x = ||l_A^i - l_B^j||, which is tanh(x / 2), and is computed so because e^x
  overflows (half precision: at 11);
- S_ij = d_ij + min(S_{i-1,j}, S_{i,j-1}), from the first stripes to the last ones; D = S_HH.

A path of H stripes has 2 H - 1 steps, so D lies in [0, 2 H - 1), and even two equal bodies pay for H - 1 steps aside.
What it is for: bodies that are cut off, whose stripe k is another part of the body. Whole ones gain a point.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.retrieval import cosine_distance, normalise_rows
from pipeline.types import FloatArray

_BLOCK = 4_000_000  # stripe distances held at a time: 16 MB, about three times
_BEHIND = 3.0  # added to the distance of what is not re-ranked: both kinds of distance are 2 at most


@dataclass(frozen=True, slots=True)
class DmliSettings:
    """How to re-rank.

    Attributes:
        top_k: how many of the nearest entries of each query get a new place; the others follow in their old order.
        share: of the path in the new distance, 0 to 1. The public program adds D to the squared distance of global
            features, half each as here (a path's steps are averaged here, so that D does not grow with H).
    """

    top_k: int = 100
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.top_k < 1 or not 0 <= self.share <= 1:
            raise ValueError(f"top_k, share: expected at least 1 and 0 to 1, got {self.top_k}, {self.share}")

    def describe(self) -> str:
        """One line for reports."""
        return f"DMLI, top {self.top_k}, share {self.share:g}"


class DmliReranker:
    """Distances after re-ranking by DMLI, a block of queries at a time; as `reid.rerank.Reranker`."""

    def __init__(
        self,
        query: tuple[FloatArray, FloatArray],
        gallery: tuple[FloatArray, FloatArray],
        settings: DmliSettings | None = None,
    ) -> None:
        """
        Args:
            query: vectors (Q, D) of norm 1 and stripes (Q, H, L); stripes are taken to norm 1 here. gallery: likewise.
        """
        self._settings = settings or DmliSettings()
        self._query, self._gallery = query[0], gallery[0]
        self._query_stripes, self._gallery_stripes = normalise_rows(query[1]), normalise_rows(gallery[1])

    def distances(self, start: int = 0, stop: int | None = None) -> FloatArray:
        """(stop - start, G) float32 of the queries from `start` to `stop`; their order is what counts."""
        old = cosine_distance(self._query[start:stop], self._gallery)
        count = min(self._settings.top_k, old.shape[1])
        if not count or not len(old):
            return old
        top = np.argsort(old, axis=1, kind="stable")[:, :count]
        path = np.stack(
            [
                dmli_pairs(np.broadcast_to(own, (count, *own.shape)), self._gallery_stripes[places])
                for own, places in zip(self._query_stripes[start:stop], top, strict=True)
            ]
        )
        steps = 2 * self._query_stripes.shape[1] - 1
        share = np.float32(self._settings.share)
        new = (1 - share) * np.take_along_axis(old, top, axis=1) + share * path / np.float32(steps)
        result = old + np.float32(_BEHIND)
        np.put_along_axis(result, top, new.astype(np.float32), axis=1)
        return result


def dmli(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N, M) DMLI distances of every body in `a` from every one in `b`.

    Args:
        a: (N, H, L) stripes, top first, usually of norm 1. b: (M, H', L). N and M may be 0.
    """
    result = np.zeros((len(a), len(b)), np.float32)
    rows = max(1, _BLOCK // max(1, len(b) * a.shape[1] * b.shape[1]))
    for start in range(0, len(a), rows):
        block = a[start : start + rows]
        result[start : start + rows] = shortest_path(_stripe_distances(block[:, None], b[None]))
    return result


def dmli_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N,) DMLI distances of the body a[n] (N, H, L) from b[n] (N, H', L)."""
    return shortest_path(_stripe_distances(a, b))


def shortest_path(distance: FloatArray) -> FloatArray:
    """(...) the least sum on a way from the first to the last cell of (..., H, H'), one step down or right at a time.

    Cell by cell, all pairs at once: H H' steps, each over whole arrays.
    """
    height, width = distance.shape[-2:]
    cells = np.moveaxis(distance, (-2, -1), (0, 1)).astype(np.float32)  # (H, H', ...): whole rows in memory
    above = np.cumsum(cells[0], axis=0, dtype=np.float32)  # along the first row there is one way only
    for i in range(1, height):
        above[0] += cells[i, 0]
        for j in range(1, width):
            above[j] = np.minimum(above[j], above[j - 1]) + cells[i, j]
    return above[-1].copy()


def _stripe_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """tanh(x / 2) of the Euclidean distances x of all stripes of a (..., H, L) and b (..., H', L): (..., H, H')."""
    products = np.matmul(a, np.swapaxes(b, -1, -2))
    squared = np.square(a).sum(-1)[..., :, None] + np.square(b).sum(-1)[..., None, :] - 2 * products
    return np.tanh(0.5 * np.sqrt(np.maximum(squared, 0)))
