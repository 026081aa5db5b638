"""Exact nearest-neighbour search over stored features, on the CPU, in bounded memory.

Every row is compared with every query, in float32, block by block; nothing is indexed and nothing is left out. Beside
the rows (64 bytes each) every thread holds one block of `_BLOCK_ROWS` vectors and the similarities of one segment, 4
bytes each per query, and one more waits to be looked at: 10 MB for one query and 62 MB for 100 at 576 values, however
many rows there are. The vectors themselves stay on the disk and in its cache.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.runtime.feature_files import FeatureRows, VectorArray
from pipeline.types import FloatArray, IntArray

Progress = Callable[[int], None]  # rows that were looked at since the last call

_BLOCK_ROWS = 4096  # 9 MB of float32 at 576 values: converted and multiplied while in the processor's cache


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows may be found: from a time on, up to a time, of some cameras; None: all.

    A clip counts when any of its time lies in the span.
    """

    since_s: float | None = None
    until_s: float | None = None
    cameras: frozenset[str] | None = None

    def passes(self, features: FeatureRows) -> npt.NDArray[np.bool_]:
        """(N,) the rows that may be found; erased ones never may."""
        rows = features.rows
        passing: npt.NDArray[np.bool_] = rows["alive"] == 1
        if self.since_s is not None:
            passing &= rows["end_s"] >= self.since_s
        if self.until_s is not None:
            passing &= rows["start_s"] <= self.until_s
        if self.cameras is not None:
            wanted = [n for n, stream in enumerate(features.streams) if stream.camera_id in self.cameras]
            passing &= np.isin(rows["stream"], wanted)
        return passing


@dataclass(frozen=True, eq=False, slots=True)
class Nearest:
    """The nearest rows of each query, nearest first; shorter than asked for where there are no more.

    Attributes:
        places: per query (k,) int64, rows counted through all segments. distances: (k,) float32 cosine, 0 to 2.
    """

    places: tuple[IntArray, ...]
    distances: tuple[FloatArray, ...]


def nearest_rows(
    features: FeatureRows,
    queries: FloatArray,
    count: int,
    *,
    allowed: npt.NDArray[np.bool_] | None = None,
    threads: int = 1,
    progress: Progress = lambda rows: None,
) -> Nearest:
    """The `count` rows of the least cosine distance to each query; of equal ones the first rows.

    Args:
        queries: (Q, D) float32, each of norm 1; Q may be 0.
        allowed: (N,) rows that may be found; None: those that are not erased.
        threads: segments that are compared at a time.

    Raises:
        ValueError: queries of another length than the stored vectors, or a count below 1.
    """
    check(features, queries, count)
    allowed = features.rows["alive"] == 1 if allowed is None else allowed
    best = [Best(count) for _ in queries]
    if not len(queries):
        return finished(best)
    start = 0
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for similarity in _compared(pool, threads, features.vectors, queries):
            may = allowed[start : start + similarity.shape[1]]
            if not may.all():
                similarity[:, ~may] = -np.inf
            for one, own in zip(best, similarity, strict=True):
                one.take(own, start)
            start += similarity.shape[1]
            progress(similarity.shape[1])
    return finished(best)


def _compared(
    pool: ThreadPoolExecutor, threads: int, segments: Sequence[VectorArray], queries: FloatArray
) -> Iterator[FloatArray]:
    """(Q, n) similarities of each segment, in order; at most `threads` segments are compared or wait to be taken."""
    waiting: deque[Future[FloatArray]] = deque()
    for vectors in segments:
        if len(waiting) >= max(1, threads):
            yield waiting.popleft().result()
        waiting.append(pool.submit(similarities, vectors, queries))
    while waiting:
        yield waiting.popleft().result()


def check(features: FeatureRows, queries: FloatArray, count: int) -> None:
    """Raises: ValueError: see `nearest_rows`."""
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    if features.vectors and queries.shape[1:] != features.vectors[0].shape[1:]:
        raise ValueError(f"queries: expected (Q, {features.vectors[0].shape[1]}), got {queries.shape}")


def finished(best: list["Best"]) -> Nearest:
    """What the queries found."""
    found = [one.in_order() for one in best]
    return Nearest(tuple(places for places, _ in found), tuple(distances for _, distances in found))


def similarities(vectors: VectorArray, queries: FloatArray) -> FloatArray:
    """(Q, N) float32 of (N, D) float16 and (Q, D) float32.

    OpenCV converts half precision with the processor's instruction for it: 18 times as fast as NumPy 2.4, which does
    it value by value. Products are taken row by row, without BLAS: what it gains for many queries it loses many times
    over on a busy machine, where its threads wait for each other at every block; and so a result does not depend on
    the number of threads.
    """
    result = np.empty((len(queries), len(vectors)), np.float32)
    block = np.empty((_BLOCK_ROWS, vectors.shape[1]), np.float32)
    halves = np.asarray(vectors).view(np.int16)  # OpenCV's older name of the type
    for start in range(0, len(vectors), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(vectors))
        singles = cv2.convertFp16(halves[start:stop], block[: stop - start])
        np.vecdot(singles[:, None], queries[None], out=result[:, start:stop].T)
    return result


class Best:
    """The most similar rows of one query so far."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._similarity = np.zeros(0, np.float32)
        self._places = np.zeros(0, np.int64)
        self._least = -np.inf  # what a row must exceed to matter

    def take(self, similarity: FloatArray, start: int) -> None:
        """Take the similarities (N,) of the rows from `start` on; -inf: never."""
        better = np.flatnonzero(similarity > self._least)
        if not len(better):
            return
        values = np.concatenate([self._similarity, similarity[better]])
        places = np.concatenate([self._places, better + start])
        if len(values) > self._count:
            kept = _largest(values, self._count)
            values, places = values[kept], places[kept]
            self._least = float(values.min())
        self._similarity, self._places = values, places

    def in_order(self) -> tuple[IntArray, FloatArray]:
        """Places and distances, nearest first."""
        order = np.lexsort((self._places, -self._similarity))
        distances = np.clip(1.0 - self._similarity[order], 0.0, 2.0).astype(np.float32)
        return self._places[order], distances


def _largest(values: FloatArray, count: int) -> IntArray:
    """(count,) rising places of the largest; of equal ones at the limit the first."""
    limit = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > limit)
    equal = np.flatnonzero(values == limit)[: count - len(above)]
    return np.sort(np.concatenate([above, equal]))
