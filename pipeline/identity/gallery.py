"""The features of every identity, in one matrix, for exact search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import FloatArray

_FIRST_ROWS = 256


@dataclass(frozen=True, eq=False, slots=True)
class Feature:
    """One kept feature of an identity: embedding (D,) float32 norm 1, quality 0 to 1, message time."""

    embedding: FloatArray
    quality: float
    at_s: float


class MatrixGallery:
    """`ports.Gallery`: up to `per_identity` good and different features of each identity.

    The distance to an identity is the mean of the two smallest cosine distances to its features: one stray feature
    cannot pull a stranger in, and a person seen from two sides keeps both.
    """

    def __init__(self, per_identity: int) -> None:
        self._per_identity = per_identity
        self._rows = np.zeros((0, 0), np.float32)
        self._free: list[int] = []
        self._slots: dict[int, list[int]] = {}
        self._kept: dict[int, list[Feature]] = {}

    def nearest(self, embeddings: FloatArray, identity_ids: Sequence[int]) -> FloatArray:
        """(M, I) distance of M embeddings to each identity; inf for identities without features.

        Ask for identities of the embeddings' own model only: features of other models mean something else.
        """
        result = np.full((len(embeddings), len(identity_ids)), np.inf, np.float32)
        known = [i for i, identity in enumerate(identity_ids) if self._slots.get(identity)]
        if not known or not len(embeddings):
            return result
        groups = [self._slots[identity_ids[i]] for i in known]
        starts = np.cumsum([0, *map(len, groups[:-1])])
        rows = np.concatenate([np.asarray(g) for g in groups])
        distances = 1.0 - embeddings @ self._rows[rows, : embeddings.shape[1]].T
        result[:, known] = _two_smallest(distances, starts, np.array([len(g) for g in groups]))
        return result

    def add(self, identity_id: int, embedding: FloatArray, quality: float, at_s: float) -> None:
        """Keep the feature; when there are too many, of the two most alike the worse one goes."""
        kept = self._kept.setdefault(identity_id, [])
        kept.append(Feature(embedding, quality, at_s))
        self._slots.setdefault(identity_id, []).append(self._put(embedding))
        if len(kept) > self._per_identity:
            self._drop(identity_id, _most_redundant(kept))

    def features(self, identity_id: int) -> tuple[Feature, ...]:
        return tuple(self._kept.get(identity_id, ()))

    def remove(self, identity_id: int) -> None:
        self._free.extend(self._slots.pop(identity_id, ()))
        self._kept.pop(identity_id, None)

    def forget_before(self, at_s: float) -> list[int]:
        """Drop features older than this; returns the identities that have none left, in order of id."""
        empty = []
        for identity_id in sorted(self._kept):
            for index in reversed(range(len(self._kept[identity_id]))):
                if self._kept[identity_id][index].at_s < at_s:
                    self._drop(identity_id, index)
            if not self._kept[identity_id]:
                self.remove(identity_id)
                empty.append(identity_id)
        return empty

    def _drop(self, identity_id: int, index: int) -> None:
        del self._kept[identity_id][index]
        self._free.append(self._slots[identity_id].pop(index))

    def _put(self, embedding: FloatArray) -> int:
        wider = len(embedding) - self._rows.shape[1]
        if wider > 0:  # another model's features: they are never compared with the ones that are here
            self._rows = np.pad(self._rows, ((0, 0), (0, wider)))
        if not self._free:
            old = len(self._rows)
            grown = np.zeros((max(_FIRST_ROWS, 2 * old), self._rows.shape[1]), np.float32)
            grown[:old] = self._rows
            self._rows = grown
            self._free = list(range(len(grown) - 1, old - 1, -1))
        slot = self._free.pop()
        self._rows[slot, : len(embedding)] = embedding
        self._rows[slot, len(embedding) :] = 0
        return slot


def _two_smallest(distances: FloatArray, starts: np.ndarray, sizes: np.ndarray) -> FloatArray:
    """(M, G) mean of the two smallest of each group of columns; the only one where there is one."""
    first = np.minimum.reduceat(distances, starts, axis=1)
    owner = np.repeat(np.arange(len(starts)), sizes)
    is_first = distances == first[:, owner]
    # only one of several equal smallest ones is taken away
    rank = np.cumsum(is_first, axis=1) - (np.cumsum(is_first, axis=1) - is_first)[:, starts][:, owner]
    second = np.minimum.reduceat(np.where(is_first & (rank == 1), np.inf, distances), starts, axis=1)
    return np.where(np.isfinite(second), (first + second) / 2, first).astype(np.float32)


def _most_redundant(kept: Sequence[Feature]) -> int:
    """Index of the feature that says least beside the others."""
    matrix = np.stack([f.embedding for f in kept])
    similarity = matrix @ matrix.T
    np.fill_diagonal(similarity, -np.inf)
    a, b = divmod(int(similarity.argmax()), len(kept))
    return a if kept[a].quality < kept[b].quality else b
