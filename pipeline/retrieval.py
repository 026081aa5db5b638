"""Distances and retrieval metrics in NumPy, for the matcher, the replay's scores and re-ID evaluation alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, IntArray

ApDefinition = Literal["rectangle", "trapezoid"]

_LEAST_SHARED = 1e-3  # of one part's visibility
JUNK_ID = -1  # Market-1501, MARS: a picture of nobody in particular; removed from every ranking


def normalise_rows(rows: FloatArray) -> FloatArray:
    """`rows` (..., D) with L2 norm 1 along the last axis; a row of zeros stays zero."""
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def cosine_distance(a: FloatArray, b: FloatArray) -> FloatArray:
    """1 - cosine similarity of every row of `a` with every row of `b`.

    Args:
        a: (N, D), each row of norm 1.
        b: (M, D), each row of norm 1.

    Returns:
        (N, M) float32 in [0, 2]; for unit rows half the squared Euclidean distance. N and M may be 0.
    """
    return np.clip(1.0 - a @ b.T, 0.0, 2.0).astype(np.float32)


def comparable_vector(
    embedding: FloatArray, parts: FloatArray, visibility: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What a clip head said of somebody, as it is compared: part by part where its vector is nothing but its parts.

    Two such features are as near as their parts are on average, weighted by where both can be seen: the cosine is
    Σ √(v w) p·q / Σ √(v w) over parts p, q with visibilities v, w. A head that makes one vector of the whole body has
    compared its parts already: that vector is one part, always visible. What a head says of parts it never meant to be
    compared is not used.

    Args:
        embedding: (D,) norm 1. parts: (K, D') norm 1 each. visibility: (K,) in [0, 1].

    Returns:
        (D,) the parts, each of norm 1 times the root of its visibility, one after the other, and (K,) these roots.
    """
    if not are_compared_by_parts(embedding, parts, visibility):
        return embedding, np.ones(1, np.float32)
    seen = np.sqrt(visibility)
    return (parts * seen[:, None]).ravel(), seen


def are_compared_by_parts(embedding: FloatArray, parts: FloatArray, visibility: FloatArray) -> bool:
    """Whether a clip head's vector is its parts side by side, with or without the body's, and one of them is visible.

    Args:
        embedding: (D,). parts: (K, D'). visibility: (K,).
    """
    length, width = len(embedding), parts.shape[1]
    return len(parts) > 1 and width * len(parts) in (length, length - width) and float(visibility.sum()) > 0


def part_distances(a: FloatArray, a_seen: FloatArray, b: FloatArray, b_seen: FloatArray) -> FloatArray:
    """(N, M) cosine distances of comparable vectors, part by part where both are seen; 1 where nothing of both is.

    Args:
        a: (N, D), a_seen: (N, K), b: (M, D), b_seen: (M, K), as `comparable_vector` makes them; N and M may be 0.
    """
    shared = a_seen @ b_seen.T
    likeness = a @ b.T
    return 1.0 - np.divide(likeness, shared, out=np.zeros_like(likeness), where=shared > _LEAST_SHARED)


@dataclass(frozen=True, eq=False, slots=True)
class QueryScores:
    """What the ranking of each query is worth; (Q,) each.

    Attributes:
        first_match: rank of the first match, from 1; 0 for a query without any match in the gallery.
        rectangle, trapezoid: average precision in both definitions; NaN for a query without any match.
        inverse_negative_penalty: matches / rank of the last match (Ye et al., TPAMI 2021: 1 - NP); NaN likewise.
    """

    first_match: IntArray
    rectangle: npt.NDArray[np.float64]
    trapezoid: npt.NDArray[np.float64]
    inverse_negative_penalty: npt.NDArray[np.float64]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(Q,) the queries that have a match; only these are averaged."""
        return self.first_match > 0

    def average_precision(self, definition: ApDefinition) -> npt.NDArray[np.float64]:
        """(Q,) in the definition asked for."""
        return self.rectangle if definition == "rectangle" else self.trapezoid

    def cmc(self, ranks: int) -> npt.NDArray[np.float64]:
        """(ranks,) share of valid queries with a match among the first r + 1; NaN without valid queries."""
        first = self.first_match[self.valid]
        if not len(first):
            return np.full(ranks, np.nan)
        return (first[:, None] <= np.arange(1, ranks + 1)).mean(axis=0)

    def mean_average_precision(self, definition: ApDefinition = "rectangle") -> float:
        """mAP over the valid queries; NaN when there are none."""
        return _mean(self.average_precision(definition)[self.valid])

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """mINP over the valid queries; NaN when there are none."""
        return _mean(self.inverse_negative_penalty[self.valid])

    @staticmethod
    def joined(parts: Sequence["QueryScores"]) -> "QueryScores":
        """The scores of several blocks of queries as one; no parts give no queries."""
        names = ("first_match", "rectangle", "trapezoid", "inverse_negative_penalty")
        columns = [[getattr(part, name) for part in parts] for name in names]
        return QueryScores(np.concatenate([np.zeros(0, np.int64), *columns[0]]), *map(_joined, columns[1:]))


def rank_queries(
    distance: FloatArray, query: tuple[IntArray, IntArray], gallery: tuple[IntArray, IntArray]
) -> QueryScores:
    """Score each query's ranking of the gallery by the protocol of Market-1501 and MARS.

    Gallery entries of the query's identity *and* camera, and entries of identity -1, are junk: they leave the ranking
    without counting as wrong. Entries with equal distance are ranked in gallery order, whatever their identity.

    The two definitions of average precision in use, with precision p_i after the i-th of m matches:
    `rectangle` (torchreid) is the mean of p_i; `trapezoid` (the official Market and MARS code) is the mean of
    (q_i + p_i) / 2 where q_i is the precision just before that match (1 before the first rank).
    A single match at rank r > 1 scores 1/r and 1/(2r).

    Args:
        distance: (Q, G), lower is closer. Some 70 bytes per entry are needed beside it: hand in blocks of queries
            where that is too much, and use `QueryScores.joined`.
        query: identities (Q,) and cameras (Q,).
        gallery: identities (G,) and cameras (G,).

    Raises:
        ValueError: shapes that do not fit.
    """
    query_ids, query_cameras = (np.asarray(x) for x in query)
    gallery_ids, gallery_cameras = (np.asarray(x) for x in gallery)
    if distance.shape != (len(query_ids), len(gallery_ids)):
        raise ValueError(f"distance: expected shape {(len(query_ids), len(gallery_ids))}, got {distance.shape}")
    order = np.argsort(distance, axis=1, kind="stable")  # (Q, G)
    ranked_ids = gallery_ids[order]
    same_id = query_ids[:, None] == ranked_ids
    kept = ~(same_id & (query_cameras[:, None] == gallery_cameras[order])) & (ranked_ids != JUNK_ID)
    hits = same_id & kept
    place = np.cumsum(kept, axis=1)  # rank of an entry, from 1, junk not counted
    found = np.cumsum(hits, axis=1)  # matches up to and with this entry
    matches = hits.sum(axis=1)
    precision = found / np.maximum(place, 1)
    before = np.where(place > 1, (found - 1) / np.maximum(place - 1, 1), 1.0)
    last = np.where(hits, place, 0).max(axis=1, initial=0)
    first = np.where(hits, place, place.shape[1] + 1).min(axis=1, initial=place.shape[1] + 1)
    return QueryScores(
        np.where(matches > 0, first, 0),
        _share(np.where(hits, precision, 0.0).sum(axis=1), matches),
        _share(np.where(hits, (before + precision) / 2, 0.0).sum(axis=1), matches),
        _share(matches.astype(np.float64), last),
    )


@dataclass(frozen=True, eq=False, slots=True)
class RetrievalScores:
    """How well queries find their matches in a gallery.

    Attributes:
        cmc: (R,) float64, share of valid queries with a match among the first r + 1; NaN without valid queries.
        average_precision: (Q,) float64 per query; NaN for a query without any match in the gallery.
        valid: (Q,) bool, queries that have a match; only these are averaged.
        definition: of the average precision.
        inverse_negative_penalty: (Q,) float64 per query, see `QueryScores`; NaN likewise.
    """

    cmc: npt.NDArray[np.float64]
    average_precision: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    definition: ApDefinition
    inverse_negative_penalty: npt.NDArray[np.float64]

    @property
    def mean_average_precision(self) -> float:
        """mAP over the valid queries; NaN when there are none."""
        return _mean(self.average_precision[self.valid])

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """mINP over the valid queries; NaN when there are none."""
        return _mean(self.inverse_negative_penalty[self.valid])


def cmc_and_average_precision(
    distance: FloatArray,
    query: tuple[IntArray, IntArray],
    gallery: tuple[IntArray, IntArray],
    definition: ApDefinition = "rectangle",
    ranks: int = 50,
) -> RetrievalScores:
    """CMC and average precision of `rank_queries`, in one definition.

    Args:
        distance: (Q, G), lower is closer.
        query: identities (Q,) and cameras (Q,).
        gallery: identities (G,) and cameras (G,).
        definition: of the average precision.
        ranks: length of the CMC curve; a gallery that is smaller is filled with its last value.

    Raises:
        ValueError: shapes that do not fit.
    """
    scores = rank_queries(distance, query, gallery)
    average = scores.average_precision(definition)
    return RetrievalScores(scores.cmc(ranks), average, scores.valid, definition, scores.inverse_negative_penalty)


def _share(part: npt.NDArray[np.float64], whole: IntArray) -> npt.NDArray[np.float64]:
    """part / whole; NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _joined(parts: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *parts])
