"""Ranks the people of a site by how alike they are to somebody: nearest features, then sets, then re-ranked sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.retrieval import cosine_distance, normalise_rows
from pipeline.runtime.feature_files import FeatureRows, are_of, by_stream
from pipeline.search.history import History
from pipeline.search.nearest import Filter, Nearest
from pipeline.types import FloatArray, TrackKey

ROWS_PER_QUERY = 1000  # nearest rows that name who is compared as a whole; a track of a minute has about 60
_MOST_TRACKS = 200  # that are compared as a whole, those with the nearest rows
_MOST_ROWS = 256  # of one track that are compared, the best ones: four minutes of clips
_LEAST_WEIGHT = 0.05  # of a feature without any quality; the matcher's rule

Rerank = Callable[[FloatArray, FloatArray], FloatArray]  # (1, D), (T, D) → (T,) distances in a new order


class NearestSearch(Protocol):
    """Finds nearest rows: `nearest_rows`, or the same on a GPU."""

    def __call__(
        self, features: FeatureRows, queries: FloatArray, count: int, *, allowed: npt.NDArray[np.bool_]
    ) -> Nearest: ...


@dataclass(frozen=True, eq=False, slots=True)
class Query:
    """Whom to look for: (Q, D) float32 vectors of norm 1, and (Q,) how good each is, 0 to 1."""

    vectors: FloatArray
    qualities: FloatArray


@dataclass(frozen=True, slots=True)
class FoundTrack:
    """A track beside the query; distances as in `FoundPerson`."""

    key: TrackKey
    distance: float
    reranked: float
    clips: int


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """An identity beside the query, or a track without one.

    Attributes:
        identity_id: as finally known; 0: a track that was never identified.
        distance: mean over the query's vectors, by quality, of the mean of the two smallest cosine distances to the
            person's features: the matcher's rule, 0 to 2.
        reranked: of the nearest of its tracks after k-reciprocal re-ranking; only its order counts.
        tracks: nearest first.
    """

    identity_id: int
    distance: float
    reranked: float
    tracks: tuple[FoundTrack, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """People in order.

    Attributes:
        searched: rows that were compared.
        complete_to: nobody else has a feature nearer than this; None: everybody was compared as a whole.
    """

    people: tuple[FoundPerson, ...]
    searched: int
    complete_to: float | None


def rank_people(
    features: FeatureRows,
    history: History,
    query: Query,
    *,
    search: NearestSearch,
    wanted: Filter,
    without: int = 0,
    rerank: Rerank | None = None,
) -> Ranking:
    """The people nearest to the query, nearest first.

    Args:
        wanted: which clips may speak.
        without: an identity that is left out, because the query is of it.
        rerank: None leaves the order of distances.
    """
    allowed = wanted.passes(features)
    if without:
        allowed &= ~rows_of(features, history.book.tracks_of(without))
    found = search(features, query.vectors, ROWS_PER_QUERY, allowed=allowed)
    keys = _nearest_tracks(features, found)
    sets = _sets(features, keys, allowed)
    if not sets:
        return Ranking((), int(allowed.sum()), None)
    tracks = _compared(query, sets, rerank)
    people = _people(query, sets, tracks, history)
    full = [d[-1] for d in found.distances if len(d) >= ROWS_PER_QUERY]
    return Ranking(tuple(people), int(allowed.sum()), float(min(full)) if full else None)


def query_of(features: FeatureRows, keys: Sequence[TrackKey], most: int) -> Query:
    """The features of some tracks as a query, the `most` best ones."""
    places = np.flatnonzero(rows_of(features, keys) & Filter().passes(features))
    qualities = features.rows["quality"][places]
    best = np.sort(np.argsort(-qualities, kind="stable")[:most])
    return Query(features.gather(places[best]), qualities[best].astype(np.float32))


def rows_of(features: FeatureRows, keys: Sequence[TrackKey] | frozenset[TrackKey]) -> npt.NDArray[np.bool_]:
    """(N,) the rows of some tracks."""
    tracks = by_stream(keys)
    return are_of(features.rows, {n: tracks[s] for n, s in enumerate(features.streams) if s in tracks})


def _nearest_tracks(features: FeatureRows, found: Nearest) -> list[TrackKey]:
    """The tracks of the nearest rows, by their nearest one, each once."""
    rows = features.rows
    places = np.concatenate([np.zeros(0, np.int64), *found.places])
    distances = np.concatenate([np.zeros(0, np.float32), *found.distances])
    order = np.lexsort((places, distances))
    keys = dict.fromkeys(features.key(rows[place]) for place in places[order])
    return list(keys)[:_MOST_TRACKS]


@dataclass(frozen=True, eq=False, slots=True)
class _Set:
    """The features of one track: (N, D) and (N,) qualities."""

    vectors: FloatArray
    qualities: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(D,) of norm 1, weighted by quality."""
        weights = np.maximum(self.qualities, _LEAST_WEIGHT)
        return normalise_rows((weights[:, None] * self.vectors).sum(axis=0))


def _sets(features: FeatureRows, keys: Sequence[TrackKey], allowed: npt.NDArray[np.bool_]) -> dict[TrackKey, _Set]:
    """The features of each track that may speak, in the order of `keys`."""
    rows = features.rows
    places = np.flatnonzero(rows_of(features, keys) & allowed)
    by_track: dict[TrackKey, list[int]] = {key: [] for key in keys}
    for place in places.tolist():
        by_track[features.key(rows[place])].append(place)
    sets = {}
    for key, mine in by_track.items():
        own = np.array(mine, np.int64)
        qualities = rows["quality"][own].astype(np.float32)
        best = np.argsort(-qualities, kind="stable")[:_MOST_ROWS]
        sets[key] = _Set(features.gather(own[best]), qualities[best])
    return sets


def _compared(query: Query, sets: Mapping[TrackKey, _Set], rerank: Rerank | None) -> dict[TrackKey, FoundTrack]:
    distances = {key: set_distance(query, one.vectors) for key, one in sets.items()}
    reranked = dict(distances)
    if rerank is not None:
        weights = np.maximum(query.qualities, _LEAST_WEIGHT)
        asked = normalise_rows((weights[:, None] * query.vectors).sum(axis=0, keepdims=True))
        new = rerank(asked, np.stack([one.mean for one in sets.values()]))
        reranked = {key: float(value) for key, value in zip(sets, new, strict=True)}
    return {key: FoundTrack(key, distances[key], reranked[key], len(one.vectors)) for key, one in sets.items()}


def set_distance(query: Query, vectors: FloatArray) -> float:
    """From a query to a set: for each vector the mean of the two smallest distances, averaged by quality."""
    each = np.sort(cosine_distance(query.vectors, vectors), axis=1)[:, :2].mean(axis=1)
    weights = np.maximum(query.qualities, _LEAST_WEIGHT)
    return float((weights * each).sum() / weights.sum())


def _people(
    query: Query, sets: Mapping[TrackKey, _Set], tracks: Mapping[TrackKey, FoundTrack], history: History
) -> list[FoundPerson]:
    groups: dict[tuple[int, TrackKey | None], list[FoundTrack]] = {}
    for key, track in tracks.items():
        if history.book.is_forgotten(key):
            continue
        identity_id = history.book.final(key)
        groups.setdefault((identity_id, None if identity_id else key), []).append(track)
    people = []
    for (identity_id, _), own in groups.items():
        joined = np.concatenate([sets[track.key].vectors for track in own])
        ordered = tuple(sorted(own, key=lambda t: (t.distance, t.key)))
        distance, reranked = set_distance(query, joined), min(track.reranked for track in own)
        people.append(FoundPerson(identity_id, distance, reranked, ordered))
    return sorted(people, key=lambda p: (p.reranked, p.distance, p.identity_id, p.tracks[0].key))
