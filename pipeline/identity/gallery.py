"""The features of every track and identity, in one matrix, for exact search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.retrieval import comparable_vector, part_distances
from pipeline.types import ClipFeature, FloatArray, TimeArray, TrackKey

_FIRST_ROWS = 256
_BLOCK_ROWS = 256  # 0.6 MB of float32 at 576 values: stays in a core's cache
_BLOCK_FEATURES = 4  # rows of the other side: as many as a track keeps
_SAME_QUALITY = 0.05  # of two features alike the newer one stays, unless it is worse by more than this

Owner: TypeAlias = TrackKey | int  # a track's own features, or what an identity keeps of tracks that are long over
HalfArray: TypeAlias = npt.NDArray[np.float16]
Rows = TypeVar("Rows", HalfArray, FloatArray)


@dataclass(frozen=True, eq=False, slots=True)
class Feature:
    """What one clip says of how somebody looks, as it is compared.

    `pipeline.retrieval.comparable_vector` says how two are compared.

    Attributes:
        vector: (D,) float32: the parts, each of norm 1 times the root of its visibility, one after the other.
        seen: (K,) float32, the roots of the visibilities.
        quality: 0 to 1. at_s: message time.
    """

    vector: FloatArray
    seen: FloatArray
    quality: float
    at_s: float


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """Several features: vectors (M, D), seen (M, K) and qualities (M,) float32, at_s (M,) float64."""

    vectors: FloatArray
    seen: FloatArray
    qualities: FloatArray
    at_s: TimeArray

    def __len__(self) -> int:
        return len(self.vectors)

    def feature(self, index: int) -> Feature:
        return Feature(self.vectors[index], self.seen[index], float(self.qualities[index]), float(self.at_s[index]))

    def distances(self, others: "Features") -> FloatArray:
        """(M, N) cosine distances, part by part where both are seen; 1 where nothing of both is."""
        return part_distances(self.vectors, self.seen, others.vectors, others.seen)

    @staticmethod
    def of(features: Sequence[Feature]) -> "Features":
        """
        Raises:
            ValueError: no features, or features of different shapes.
        """
        return Features(
            np.stack([f.vector for f in features]).astype(np.float32),
            np.stack([f.seen for f in features]).astype(np.float32),
            np.array([f.quality for f in features], np.float32),
            np.array([f.at_s for f in features], np.float64),
        )


def feature_of(clip: ClipFeature) -> Feature:
    """A clip's feature, as `comparable_vector` makes it."""
    vector, seen = comparable_vector(clip.embedding, clip.parts, clip.visibility)
    return Feature(vector, seen, clip.quality, clip.end_s)


class MatrixGallery:
    """A few good and different features of each owner, rows of one float16 matrix.

    Two sets are as far apart as the nearest third of all pairs of theirs on average: one stray feature cannot pull a
    stranger in, and a person who was seen from two sides is as near as from the nearer one. It is the same either way.
    """

    def __init__(self) -> None:
        self._rows: HalfArray = np.zeros((0, 0), np.float16)
        self._seen: HalfArray = np.zeros((0, 0), np.float16)  # roots of visibilities, a row for each of `_rows`
        self._block = self._block_seen = np.zeros((0, 0), np.float32)
        self._free: list[int] = []
        self._slots: dict[Owner, list[int]] = {}
        self._about: dict[Owner, list[tuple[float, float]]] = {}  # quality, time of each feature
        self._shapes: dict[Owner, tuple[int, int]] = {}  # D and K of an owner's features, which are of one model

    def __len__(self) -> int:
        """How many features are kept."""
        return sum(map(len, self._slots.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix."""
        return int(self._rows.nbytes + self._seen.nbytes)

    def nearest(self, features: Features, groups: Sequence[Sequence[Owner]]) -> FloatArray:
        """(G,) distance of a set of features to what each group of owners has; inf where either has nothing.

        Ask for owners of the features' own model only: those of other models mean something else.
        """
        result = np.full(len(groups), np.inf, np.float32)
        slots: list[int] = []
        ends = [0]
        for group in groups:
            for owner in group:
                slots += self._slots.get(owner, ())
            ends.append(len(slots))
        sizes = np.diff(ends)
        known = sizes > 0
        if not slots or not len(features):
            return result
        rows = np.array(slots, np.int64)
        result[known] = nearest_third(self._distances(features, rows), sizes[known])
        return result

    def _distances(self, features: Features, rows: npt.NDArray[np.int64]) -> FloatArray:
        """(M, N) distances of features from rows of the matrix, in blocks of one shape.

        A product of matrices may round a value differently in another shape; so a pair's distance is the same to the
        last bit whatever else is asked at once, and a matcher that restarts decides as one that did not.
        """
        length, parts = features.vectors.shape[1], features.seen.shape[1]
        most = -(-len(features) // _BLOCK_FEATURES) * _BLOCK_FEATURES
        vectors, seen = _lengthened(features.vectors, most), _lengthened(features.seen, most)
        result = np.empty((most, len(rows)), np.float32)
        block, block_seen = self._scratch(length, parts)
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            block[: len(part)] = self._rows[part, :length]
            block_seen[: len(part)] = self._seen[part, :parts]
            for at in range(0, most, _BLOCK_FEATURES):
                few = slice(at, at + _BLOCK_FEATURES)
                distances = part_distances(vectors[few], seen[few], block, block_seen)
                result[few, start : start + len(part)] = distances[:, : len(part)]
        return result[: len(features)]

    def _scratch(self, length: int, parts: int) -> tuple[FloatArray, FloatArray]:
        """Room for one block: made anew for each question it would cost more than the comparison."""
        if self._block.shape[1] != length or self._block_seen.shape[1] != parts:
            self._block = np.zeros((_BLOCK_ROWS, length), np.float32)
            self._block_seen = np.zeros((_BLOCK_ROWS, parts), np.float32)
        return self._block, self._block_seen

    def add(self, owner: Owner, feature: Feature, most: int) -> None:
        """Keep a feature; beyond `most`, of the two most alike the older one goes, or the clearly worse one."""
        self._slots.setdefault(owner, []).append(self._put(feature))
        self._about.setdefault(owner, []).append((feature.quality, feature.at_s))
        self._shapes[owner] = (len(feature.vector), len(feature.seen))
        if len(self._slots[owner]) > most:
            self._drop(owner, self._most_redundant(owner))

    def put_back(self, owner: Owner, features: Features) -> None:
        """What `features` gave, of an owner that has nothing yet."""
        count = len(features)
        self._make_room(features.vectors.shape[1], features.seen.shape[1], count)
        slots = [self._free.pop() for _ in range(count)]
        for matrix, values in ((self._rows, features.vectors), (self._seen, features.seen)):
            matrix[slots, : values.shape[1]] = values
            matrix[slots, values.shape[1] :] = 0
        self._slots[owner] = slots
        self._about[owner] = list(zip(features.qualities.tolist(), features.at_s.tolist(), strict=True))
        self._shapes[owner] = (features.vectors.shape[1], features.seen.shape[1])

    def features(self, owner: Owner) -> "Features":
        """All features of an owner, in the order in which they came; none of an owner nobody knows."""
        slots = self._slots.get(owner, [])
        length, parts = self._shapes.get(owner, (0, 0))
        vectors, seen = self._rows[slots, :length].astype(np.float32), self._seen[slots, :parts].astype(np.float32)
        about = np.array(self._about.get(owner, ()), np.float64).reshape(-1, 2)
        return Features(vectors, seen, about[:, 0].astype(np.float32), about[:, 1])

    def count(self, owner: Owner) -> int:
        return len(self._slots.get(owner, ()))

    def oldest_s(self, owner: Owner) -> float:
        """Time of an owner's oldest feature; inf when it has none."""
        return min((at_s for _, at_s in self._about.get(owner, ())), default=np.inf)

    def move(self, owner: Owner, to: Owner, most: int) -> None:
        """Give all features of one owner to another."""
        slots, abouts = self._slots.pop(owner, []), self._about.pop(owner, [])
        if owner in self._shapes:
            self._shapes[to] = self._shapes.pop(owner)
        for slot, about in zip(slots, abouts, strict=True):
            self._slots.setdefault(to, []).append(slot)
            self._about.setdefault(to, []).append(about)
            if len(self._slots[to]) > most:
                self._drop(to, self._most_redundant(to))

    def remove(self, owner: Owner) -> None:
        self._free.extend(self._slots.pop(owner, ()))
        self._about.pop(owner, None)
        self._shapes.pop(owner, None)

    def forget_before(self, owner: Owner, at_s: float) -> int:
        """Drop an owner's features older than this; returns how many are left."""
        for index in reversed(range(self.count(owner))):
            if self._about[owner][index][1] < at_s:
                self._drop(owner, index)
        if not self.count(owner):
            self.remove(owner)
        return self.count(owner)

    def _drop(self, owner: Owner, index: int) -> None:
        del self._about[owner][index]
        self._free.append(self._slots[owner].pop(index))

    def _put(self, feature: Feature) -> int:
        self._make_room(len(feature.vector), len(feature.seen), 1)
        slot = self._free.pop()
        for matrix, values in ((self._rows, feature.vector), (self._seen, feature.seen)):
            matrix[slot, : len(values)] = values
            matrix[slot, len(values) :] = 0
        return slot

    def _make_room(self, length: int, parts: int, count: int) -> None:
        """Rows as wide and as many as are needed."""
        self._rows, self._seen = _widened(self._rows, length), _widened(self._seen, parts)
        while len(self._free) < count:
            old = len(self._rows)
            size = max(_FIRST_ROWS, old + old // 2)  # twice would cost a gigabyte at a million features
            self._rows, self._seen = _lengthened(self._rows, size), _lengthened(self._seen, size)
            self._free = [*range(size - 1, old - 1, -1), *self._free]

    def _most_redundant(self, owner: Owner) -> int:
        """Index of the feature that says least beside the others."""
        features = self.features(owner)
        distances = features.distances(features)
        np.fill_diagonal(distances, np.inf)
        older, newer = sorted(divmod(int(distances.argmin()), len(features)))
        worse = features.qualities[newer] < features.qualities[older] - _SAME_QUALITY
        return newer if worse else older


def _widened(matrix: HalfArray, width: int) -> HalfArray:
    more = width - matrix.shape[1]  # another model's features: they are never compared with the ones that are here
    return np.pad(matrix, ((0, 0), (0, more))) if more > 0 else matrix


def _lengthened(matrix: Rows, size: int) -> Rows:
    longer = np.zeros((size, matrix.shape[1]), matrix.dtype)
    longer[: len(matrix)] = matrix
    return longer  # type: ignore[return-value]


def nearest_third(distances: FloatArray, sizes: npt.NDArray[np.int64]) -> FloatArray:
    """(G,) mean of the nearest third (rounded up) of the pairs of M rows and each group of columns."""
    count, most = len(distances), int(sizes.max())
    padded = np.full((count, len(sizes), most), np.inf, np.float32)
    padded[:, np.arange(most) < sizes[:, None]] = distances
    pairs = np.sort(padded.transpose(1, 0, 2).reshape(len(sizes), count * most), axis=1)
    taken = -(-(sizes * count) // 3)
    counts = np.arange(count * most) < taken[:, None]
    return np.asarray(np.where(counts, pairs, 0).sum(axis=1, dtype=np.float64) / taken, np.float32)
