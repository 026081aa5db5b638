"""Exact nearest-neighbour search on a GPU, block by block: for many queries over millions of stored features."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pipeline.types import FloatArray, IntArray

_BLOCK_ROWS = 262_144  # 300 MB of half precision at 576 values on the GPU, and as much again twice in single


def gpu_is_there() -> bool:
    """Whether PyTorch can use a CUDA device."""
    return bool(torch.cuda.is_available())


def nearest_on_device(
    vectors: Sequence[npt.NDArray[np.float16]],
    queries: FloatArray,
    count: int,
    *,
    allowed: npt.NDArray[np.bool_],
    device: str = "cuda",
) -> tuple[tuple[IntArray, ...], tuple[FloatArray, ...]]:
    """Places (k,) and cosine distances (k,) of the nearest rows of each query, nearest first; k <= count.

    Compared in single precision, as on the CPU; the order of rows that are equal to the last bit may differ.

    Args:
        vectors: segments (n, D) float16, rows counted through. queries: (Q, D) float32 of norm 1.
        allowed: (N,) rows that may be found.
    """
    asked = torch.from_numpy(np.ascontiguousarray(queries)).to(device)
    best = torch.full((len(queries), 0), 0.0, device=device)
    places = torch.zeros((len(queries), 0), dtype=torch.int64, device=device)
    start = 0
    for block in _blocks(vectors):
        similarity = asked @ torch.from_numpy(block).to(device).float().T  # (Q, n)
        may = torch.from_numpy(allowed[start : start + len(block)]).to(device)
        similarity = similarity.masked_fill(~may, -torch.inf)
        own = torch.arange(start, start + len(block), device=device).expand(len(queries), -1)
        best, places = torch.cat([best, similarity], dim=1), torch.cat([places, own], dim=1)
        best, kept = best.topk(min(count, best.shape[1]), dim=1)
        places = places.gather(1, kept)
        start += len(block)
    return _in_order(best.cpu().numpy(), places.cpu().numpy())


def _blocks(vectors: Sequence[npt.NDArray[np.float16]]) -> Iterator[npt.NDArray[np.float16]]:
    """Copies of at most `_BLOCK_ROWS` rows, in order."""
    for segment in vectors:
        for start in range(0, len(segment), _BLOCK_ROWS):
            yield np.array(segment[start : start + _BLOCK_ROWS])


def _in_order(
    similarity: npt.NDArray[np.float32], places: npt.NDArray[np.int64]
) -> tuple[tuple[IntArray, ...], tuple[FloatArray, ...]]:
    """Nearest first, without those that may not be found."""
    found_places, found_distances = [], []
    for own, where in zip(similarity, places, strict=True):
        usable = np.isfinite(own)
        own, where = own[usable], where[usable]
        order = np.lexsort((where, -own))
        found_places.append(where[order])
        found_distances.append(np.clip(1.0 - own[order], 0.0, 2.0).astype(np.float32))
    return tuple(found_places), tuple(found_distances)
