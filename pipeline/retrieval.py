"""Distances and retrieval metrics in NumPy, for the matcher, the replay's scores and re-ID evaluation alike."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, IntArray

ApDefinition = Literal["rectangle", "trapezoid"]

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


@dataclass(frozen=True, eq=False, slots=True)
class RetrievalScores:
    """How well queries find their matches in a gallery.

    Attributes:
        cmc: (R,) float64, share of valid queries with a match among the first r + 1; NaN without valid queries.
        average_precision: (Q,) float64 per query; NaN for a query without any match in the gallery.
        valid: (Q,) bool, queries that have a match; only these are averaged.
        definition: of the average precision.
    """

    cmc: npt.NDArray[np.float64]
    average_precision: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    definition: ApDefinition

    @property
    def mean_average_precision(self) -> float:
        """mAP over the valid queries; NaN when there are none."""
        return float(self.average_precision[self.valid].mean()) if self.valid.any() else float("nan")


def cmc_and_average_precision(
    distance: FloatArray,
    query: tuple[IntArray, IntArray],
    gallery: tuple[IntArray, IntArray],
    definition: ApDefinition = "rectangle",
    ranks: int = 50,
) -> RetrievalScores:
    """CMC and average precision by the protocol of Market-1501 and MARS.

    Gallery entries of the query's identity *and* camera, and entries of identity -1, are junk: they leave the ranking
    without counting as wrong. Entries with equal distance are ranked in gallery order, whatever their identity.

    The two definitions of average precision in use, with precision p_i after the i-th of m matches:
    `rectangle` (torchreid) is the mean of p_i; `trapezoid` (the official Market and MARS code) is the mean of
    (q_i + p_i) / 2 where q_i is the precision just before that match (1 before the first rank).
    A single match at rank r > 1 scores 1/r and 1/(2r).

    Args:
        distance: (Q, G), lower is closer.
        query: identities (Q,) and cameras (Q,).
        gallery: identities (G,) and cameras (G,).
        definition: of the average precision.
        ranks: length of the CMC curve; a gallery that is smaller is filled with its last value.

    Raises:
        ValueError: shapes that do not fit.
    """
    query_ids, query_cameras = (np.asarray(x) for x in query)
    gallery_ids, gallery_cameras = (np.asarray(x) for x in gallery)
    if distance.shape != (len(query_ids), len(gallery_ids)):
        raise ValueError(f"distance: expected shape {(len(query_ids), len(gallery_ids))}, got {distance.shape}")
    order = np.argsort(distance, axis=1, kind="stable")  # (Q, G)
    same_id = query_ids[:, None] == gallery_ids[order]
    same_camera = query_cameras[:, None] == gallery_cameras[order]
    kept = ~(same_id & same_camera) & (gallery_ids[order] != JUNK_ID)
    hits = same_id & kept
    valid = hits.any(axis=1)
    place = np.cumsum(kept, axis=1)  # rank of an entry, from 1, junk not counted
    found = np.cumsum(hits, axis=1)  # matches up to and with this entry
    precision = found / np.maximum(place, 1)
    if definition == "trapezoid":
        before = np.where(place > 1, (found - 1) / np.maximum(place - 1, 1), 1.0)
        precision = (before + precision) / 2
    total = np.where(hits, precision, 0.0).sum(axis=1)
    matches = hits.sum(axis=1)
    average = np.divide(total, matches, out=np.full(len(total), np.nan), where=matches > 0)
    return RetrievalScores(_cmc(hits, place, valid, ranks), average, valid, definition)


def _cmc(
    hits: npt.NDArray[np.bool_], place: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_], ranks: int
) -> npt.NDArray[np.float64]:
    """(ranks,) share of the valid queries whose first match has at most that rank."""
    if not valid.any():
        return np.full(ranks, np.nan)
    first = np.where(hits, place, place.shape[1] + 1).min(axis=1)[valid]  # (V,) from 1
    return (first[:, None] <= np.arange(1, ranks + 1)).mean(axis=0)
