"""Re-ranking by k-reciprocal neighbours (Zhong, Zheng, Cao and Li, CVPR 2017), sparse, in blocks, in float32.

Two vectors are k-reciprocal neighbours when each is among the k nearest of the other: R(p, k). The set of p grows by
the R(q, k1 / 2) of those of its members q whose own set lies mostly in R(p, k1); each vector is then described by
Gaussian weights on its set, averaged over its k2 nearest, and compared with others by the Jaccard distance of these
weights. The final distance is (1 - lambda) Jaccard + lambda original.

Where the paper leaves room, this follows the authors' program, by which published figures were made: queries and
gallery are one pool, so the result for a query depends on the other queries; a vector counts as its own nearest
neighbour, so that k neighbours are k + 1 entries; a set is added when *more* than two thirds of it lie inside
(the paper: at least); original distances are divided by the largest one of the vector they start from. Equal distances
are taken in order of the pool, queries first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.retrieval import cosine_distance
from pipeline.types import FloatArray, IntArray

Progress = Callable[[int, int], None]  # vectors done, vectors in all

_BLOCK = 4_000_000  # distances, or values of gathered vectors, held at a time: 16 MB, and 32 MB for their order
_BEHIND = 2.0  # added to the distance of what is not re-ranked: above every re-ranked distance, which is at most 1


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """How to re-rank; the defaults are the paper's for Market-1501.

    Attributes:
        k1: size of the neighbourhoods. k2: neighbours whose descriptions are averaged. Pools may be smaller than both.
        original_share: lambda, share of the original distance in the final one, 0 to 1.
        top_k: None puts the whole gallery into a new order, with one pool for all queries: time grows with the square
            of the pool, memory with its size. A number re-ranks only each query's nearest entries, in a pool of the
            query and these; all others follow in their old order. A query's result then depends on no other query.
    """

    k1: int = 20
    k2: int = 6
    original_share: float = 0.3
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or (self.top_k is not None and self.top_k < 1):
            raise ValueError(f"k1, k2 and top_k: expected at least 1, got {self.k1}, {self.k2}, {self.top_k}")
        if not 0 <= self.original_share <= 1:
            raise ValueError(f"original_share: expected 0 to 1, got {self.original_share}")

    def describe(self) -> str:
        """One line for reports."""
        what = "whole gallery" if self.top_k is None else f"top {self.top_k} of each query, in a pool of their own"
        return f"k-reciprocal, k1 {self.k1}, k2 {self.k2}, lambda {self.original_share:g}, {what}"


class Reranker:
    """Distances after re-ranking, a block of queries at a time."""

    def __init__(
        self,
        query: FloatArray,
        gallery: FloatArray,
        settings: RerankSettings | None = None,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            query: (Q, D) float32, each row of norm 1. gallery: (G, D), likewise. Q and G may be 0.
            progress: told how many vectors of the pool have been looked at.
        """
        self._query, self._gallery = query, gallery
        self._settings = settings or RerankSettings()
        self._pool = _Pool(query, gallery, self._settings, progress) if self._settings.top_k is None else None

    def distances(self, start: int = 0, stop: int | None = None) -> FloatArray:
        """(stop - start, G) float32 of the queries from `start` to `stop`; their order is what counts.

        In [0, 1]; with `top_k`, entries that were not re-ranked are at 2 and more.
        """
        rows = range(start, len(self._query) if stop is None else stop)
        if self._pool is not None:
            return self._pool.distances(rows)
        reranked = [self._rerank_top(self._query[i : i + 1]) for i in rows]
        return np.stack(reranked) if reranked else np.zeros((0, len(self._gallery)), np.float32)

    def _rerank_top(self, query: FloatArray) -> FloatArray:
        distance = cosine_distance(query, self._gallery)[0]
        if not len(distance):
            return distance
        top = _smallest(distance[None], min(self._settings.top_k or 1, len(distance)))[0]
        result = distance + np.float32(_BEHIND)
        result[top] = _Pool(query, self._gallery[top], self._settings).distances(range(1))[0]
        return result


def rerank(query: FloatArray, gallery: FloatArray, settings: RerankSettings | None = None) -> FloatArray:
    """(Q, G) float32: `Reranker` for all queries at once."""
    return Reranker(query, gallery, settings).distances()


class _Pool:
    """Queries and gallery together, each described by its k-reciprocal neighbours."""

    def __init__(
        self, query: FloatArray, gallery: FloatArray, settings: RerankSettings, progress: Progress | None = None
    ) -> None:
        self._query, self._gallery, self._share = query, gallery, settings.original_share
        pool = np.concatenate([query, gallery])
        neighbours, self._farthest = _neighbours(pool, max(settings.k1 + 1, settings.k2), progress)
        reach = int(np.around(settings.k1 / 2)) + 1
        wide, near = _reciprocal(neighbours[:, : settings.k1 + 1]), _reciprocal(neighbours[:, :reach])
        described = _described(pool, _expanded(wide, near), self._farthest)
        described = _averaged(described, neighbours[:, : settings.k2])
        self._of_query = described[: len(query)]
        self._of_gallery = described[len(query) :].tocsc()

    def distances(self, rows: range) -> FloatArray:
        """(len(rows), G) of these queries."""
        block = slice(rows.start, rows.stop)
        original = cosine_distance(self._query[block], self._gallery)
        original /= np.where(self._farthest[block] > 0, self._farthest[block], 1)[:, None]
        jaccard = [self._jaccard(row) for row in rows]
        if not jaccard:
            return original
        return np.asarray((1 - self._share) * np.stack(jaccard) + self._share * original, np.float32)

    def _jaccard(self, row: int) -> FloatArray:
        """(G,) Jaccard distance of one query: 1 - sum of minima / sum of maxima; each description sums to 1."""
        own = slice(*self._of_query.indptr[row : row + 2])
        columns, weights = self._of_query.indices[own], self._of_query.data[own]
        starts, stops = self._of_gallery.indptr[columns], self._of_gallery.indptr[columns + 1]
        lengths = stops - starts
        places = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        least = np.minimum(self._of_gallery.data[places], np.repeat(weights, lengths))
        shared = np.bincount(self._of_gallery.indices[places], least, minlength=len(self._gallery))
        return np.asarray(1 - shared / (2 - shared), np.float32)


def _neighbours(pool: FloatArray, count: int, progress: Progress | None) -> tuple[IntArray, FloatArray]:
    """(N, count) places of the nearest of each vector, itself first; and (N,) its largest distance to any."""
    total = len(pool)
    count = min(count, total)
    nearest = np.zeros((total, count), np.int64)
    farthest = np.zeros(total, np.float32)
    rows = max(1, _BLOCK // max(1, total))
    for start in range(0, total, rows):
        distance = cosine_distance(pool[start : start + rows], pool)
        own = np.arange(len(distance))
        farthest[start + own] = distance.max(axis=1)
        distance[own, start + own] = -1  # also before its duplicates
        nearest[start + own] = _smallest(distance, count)
        if progress is not None:
            progress(start + len(distance), total)
    return nearest, farthest


def _smallest(distance: FloatArray, count: int) -> IntArray:
    """(R, count) places of the smallest of each row (R, N), rising; of equal ones the first; 1 <= count <= N."""
    if count >= distance.shape[1]:
        return np.argsort(distance, axis=1, kind="stable")
    places = np.argpartition(distance, count - 1, axis=1)[:, :count]
    limit = np.take_along_axis(distance, places[:, -1:], axis=1)
    for row in np.flatnonzero((distance <= limit).sum(axis=1) > count):  # a loop: ties at the limit are rare
        places[row] = np.argsort(distance[row], kind="stable")[:count]
    places.sort(axis=1)
    order = np.argsort(np.take_along_axis(distance, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def _listed(neighbours: IntArray) -> sparse.csr_array:
    """(N, N) with 1 where a column is among the row's neighbours (N, k)."""
    total, count = neighbours.shape
    ones = np.ones(neighbours.size, np.float32)
    starts = np.arange(0, neighbours.size + 1, count) if count else np.zeros(total + 1, np.int64)
    return sparse.csr_array((ones, neighbours.ravel(), starts), shape=(total, total))


def _reciprocal(neighbours: IntArray) -> sparse.csr_array:
    """(N, N) with 1 where row and column are among each other's neighbours: R(row, k), symmetric."""
    listed = _listed(neighbours)
    return sparse.csr_array(listed.multiply(listed.T))


def _expanded(wide: sparse.csr_array, near: sparse.csr_array) -> sparse.csr_array:
    """R*: `wide` R(p, k1), and the `near` R(q, k1 / 2) of every q in it of which more than 2/3 lie in R(p, k1)."""
    common = sparse.coo_array((wide @ near).multiply(wide))  # (p, q): how many R(q, k1 / 2) has in R(p, k1)
    size = near.sum(axis=1)
    agrees = 3 * common.data > 2 * size[common.col]
    pairs = (common.data[agrees] * 0 + 1, (common.row[agrees], common.col[agrees]))
    joined = sparse.csr_array(wide + sparse.csr_array(pairs, shape=wide.shape) @ near)
    joined.sort_indices()
    return joined


def _described(pool: FloatArray, members: sparse.csr_array, farthest: FloatArray) -> sparse.csr_array:
    """(N, N) rows that sum to 1: exp(-distance) on the row's members, distances as shares of its largest one."""
    row = np.repeat(np.arange(len(pool)), np.diff(members.indptr))
    weights = np.zeros(members.nnz, np.float32)
    scale = np.where(farthest > 0, farthest, 1)
    step = max(1, _BLOCK // max(1, pool.shape[1]))
    for start in range(0, members.nnz, step):
        i, j = row[start : start + step], members.indices[start : start + step]
        distance = np.clip(1 - np.einsum("nd,nd->n", pool[i], pool[j]), 0, 2)
        weights[start : start + step] = np.exp(-distance / scale[i])
    total = np.bincount(row, weights, minlength=len(pool))
    described = sparse.csr_array((weights / total[row], members.indices, members.indptr), shape=members.shape)
    return described.astype(np.float32)


def _averaged(described: sparse.csr_array, neighbours: IntArray) -> sparse.csr_array:
    """Each row's mean over its neighbours (N, k2), itself among them."""
    if neighbours.shape[1] <= 1:
        return described
    mean = _listed(neighbours) / np.float32(neighbours.shape[1])
    return sparse.csr_array(mean @ described)
