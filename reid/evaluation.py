"""How well an encoder and its heads find people again: CMC, mAP and mINP over a data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.ports import ClipHead, CropEncoder
from pipeline.retrieval import JUNK_ID, QueryScores, cosine_distance, rank_queries
from pipeline.types import FloatArray, IntArray
from reid.datasets.tracklets import DataSet, ImageTracklet
from reid.ranked_lists import RankedList, choose_queries, ranked_list
from reid.rerank import Reranker, RerankSettings
from reid.tracklet_vectors import Sampling, TrackletVectors, embed_tracklets

Progress = Callable[[str, int, int], None]  # stage, done, in all

RANKS = (1, 5, 10, 20)

# Reasons in `skipped`, beside the data set's own.
UNREADABLE_PICTURE = "picture that cannot be read"
UNREADABLE_TRACKLET = "tracklet without a readable picture"

_BLOCK = 1_000_000  # places in rankings scored at a time: about 70 MB
_BOOTSTRAP_ROUNDS = 1000
_INTERVAL = (2.5, 97.5)  # percentiles: 95 % of the rounds lie between


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        sampling: which pictures of a tracklet speak.
        rerank: also score after re-ranking; None: not.
        lists: queries whose ranked lists are kept, for a picture.
        seed: of the bootstrap over people.
    """

    sampling: Sampling = field(default_factory=Sampling)
    rerank: RerankSettings | None = None
    lists: int = 9
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class HeadResult:
    """What one head reached.

    Attributes:
        model_id: of its vectors. dimensions: their length.
        plain: by cosine distance. reranked: after re-ranking, if that was asked for.
        interval: 95 % interval of `plain`'s mAP over resampled people; None with fewer than two people.
        lists: some of the rankings by cosine distance.
    """

    name: str
    model_id: str
    dimensions: int
    plain: QueryScores
    reranked: QueryScores | None
    interval: tuple[float, float] | None
    lists: tuple[RankedList, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """Figures of several heads over one data set; the crop features under all of them are the same.

    Attributes:
        encoder: its model id.
        counts: of what was ranked. skipped: why -> how many tracklets or pictures were left out.
        query_ids: (Q,) the people asked for, in the order of every `QueryScores`.
    """

    data_set: str
    protocol: str
    encoder: str
    sampling: Sampling
    rerank: RerankSettings | None
    counts: Mapping[str, int]
    skipped: Mapping[str, int]
    query_ids: IntArray
    results: tuple[HeadResult, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Side:
    """Queries, or gallery: T tracklets with their labels, and vectors (T, D) under each head."""

    tracklets: tuple[ImageTracklet, ...]
    ids: IntArray
    cameras: IntArray
    vectors: Mapping[str, FloatArray]

    @property
    def labels(self) -> tuple[IntArray, IntArray]:
        return self.ids, self.cameras


def evaluate(
    data_set: DataSet,
    encoder: CropEncoder,
    head: ClipHead,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """`evaluate_heads` for one head, which gets the name in its model id."""
    name = head.clip_model_id.partition("/")[2]
    return evaluate_heads(data_set, encoder, {name: head}, options, progress)


def evaluate_heads(
    data_set: DataSet,
    encoder: CropEncoder,
    heads: Mapping[str, ClipHead],
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Encode queries and gallery once, and score the vectors of each head.

    Deterministic with one device and one number of threads. Tracklets of which nothing can be read are left out.

    Raises:
        ConfigError: no queries or no gallery. DecodeError: a missing picture, or none that can be read.
    """
    options = options or EvaluationOptions()
    _check_parts(data_set)
    tracklets = tuple(dict.fromkeys((*data_set.query, *data_set.gallery)))  # MARS has its queries in the gallery
    encoding = None if progress is None else _stage(progress, "encode")
    vectors = embed_tracklets(tracklets, encoder, heads, options.sampling, encoding)
    place = {tracklet: i for i, tracklet in enumerate(tracklets)}
    query = _side([place[t] for t in data_set.query], tracklets, vectors)
    gallery = _side([place[t] for t in data_set.gallery], tracklets, vectors)
    results = [_score(name, head, query, gallery, options, progress) for name, head in heads.items()]
    return Evaluation(
        data_set=data_set.name,
        protocol=data_set.protocol,
        encoder=encoder.describe().model_id,
        sampling=options.sampling,
        rerank=options.rerank,
        counts=_counts(query, gallery, vectors, results),
        skipped=_skipped(data_set, vectors),
        query_ids=query.ids,
        results=tuple(results),
    )


def figures(scores: QueryScores) -> dict[str, float | None]:
    """rank1 to rank20, mAP (rectangle), mAP_trapezoid and mINP, 0 to 1; all None without a valid query."""
    curve = scores.cmc(max(RANKS))
    found = {f"rank{rank}": _number(curve[rank - 1]) for rank in RANKS}
    return {
        **found,
        "mAP": _number(scores.mean_average_precision("rectangle")),
        "mAP_trapezoid": _number(scores.mean_average_precision("trapezoid")),
        "mINP": _number(scores.mean_inverse_negative_penalty),
    }


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation for `evaluation.json`, as docs/evaluate.md describes it; nothing in it is NaN."""
    sampling, rerank = evaluation.sampling, evaluation.rerank
    return {
        "schema": 1,
        "data_set": evaluation.data_set,
        "protocol": evaluation.protocol,
        "encoder": evaluation.encoder,
        "distance": "cosine",
        "sampling": {
            "kind": sampling.kind,
            "frames": sampling.frames,
            "most": sampling.most,
            "text": sampling.describe(),
        },
        "rerank": rerank
        and {
            "k1": rerank.k1,
            "k2": rerank.k2,
            "lambda": rerank.original_share,
            "top_k": rerank.top_k,
            "text": rerank.describe(),
        },
        "average_precision": {"mAP": "rectangle", "mAP_trapezoid": "trapezoid"},
        "counts": dict(evaluation.counts),
        "skipped": dict(evaluation.skipped),
        "heads": [_result_json(result) for result in evaluation.results],
    }


def bootstrap_interval(scores: QueryScores, people: IntArray, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of mAP (rectangle) when people are drawn with replacement, each with all of their valid queries.

    Args:
        people: (Q,) whom each query asks for: queries of one person are not independent, people nearly are.

    Returns:
        Low and high end; None with fewer than two people.
    """
    _, group = np.unique(people[scores.valid], return_inverse=True)
    count = np.bincount(group)
    if len(count) < 2:
        return None
    total = np.bincount(group, scores.rectangle[scores.valid])
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(_BOOTSTRAP_ROUNDS):  # a loop: all rounds at once need people x rounds of memory
        drawn = rng.integers(len(count), size=len(count))
        means.append(total[drawn].sum() / count[drawn].sum())
    low, high = np.percentile(means, _INTERVAL)
    return float(low), float(high)


# -- parts ------------------------------------------------------------------------------------------------------------


def _check_parts(data_set: DataSet) -> None:
    for part, tracklets in (("queries", data_set.query), ("gallery entries", data_set.gallery)):
        if not tracklets:
            why = "; ".join(f"{count} × {reason}" for reason, count in data_set.skipped.items())
            left_out = f" (left out: {why})" if why else ""
            raise ConfigError(f"{data_set.name} has no {part}{left_out}; check --root and --split")


def _stage(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)


def _side(places: Sequence[int], tracklets: Sequence[ImageTracklet], found: TrackletVectors) -> _Side:
    kept = [place for place in places if found.readable[place]]
    own = tuple(tracklets[place] for place in kept)
    ids = np.array([tracklet.person_id for tracklet in own], np.int64)
    cameras = np.array([tracklet.camera_id for tracklet in own], np.int64)
    return _Side(own, ids, cameras, {name: vectors[kept] for name, vectors in found.vectors.items()})


def _score(
    name: str, head: ClipHead, query: _Side, gallery: _Side, options: EvaluationOptions, progress: Progress | None
) -> HeadResult:
    asked, held = query.vectors[name], gallery.vectors[name]
    plain = _rank_blocks(lambda start, stop: cosine_distance(asked[start:stop], held), query, gallery)
    reranked = None
    if options.rerank is not None:
        told = None if progress is None else _stage(progress, "re-rank")
        reranked = _rank_blocks(Reranker(asked, held, options.rerank, told).distances, query, gallery)
    lists = tuple(
        ranked_list(
            kind,
            query.tracklets[i],
            float(plain.rectangle[i]),
            gallery.tracklets,
            cosine_distance(asked[i : i + 1], held)[0],
        )
        for kind, i in choose_queries(plain, options.lists)
    )
    interval = bootstrap_interval(plain, query.ids, options.seed)
    return HeadResult(name, head.clip_model_id, held.shape[1], plain, reranked, interval, lists)


def _rank_blocks(distances: Callable[[int, int], FloatArray], query: _Side, gallery: _Side) -> QueryScores:
    """`rank_queries`, as many queries at a time as memory is meant for."""
    rows = max(1, _BLOCK // max(1, len(gallery.ids)))
    parts = []
    for start in range(0, len(query.ids), rows):
        stop = min(start + rows, len(query.ids))
        labels = query.ids[start:stop], query.cameras[start:stop]
        parts.append(rank_queries(distances(start, stop), labels, gallery.labels))
    return QueryScores.joined(parts)


def _counts(query: _Side, gallery: _Side, found: TrackletVectors, results: Sequence[HeadResult]) -> dict[str, int]:
    people = np.concatenate([query.ids, gallery.ids])
    return {
        "queries": len(query.ids),
        "queries_with_a_match": int(results[0].plain.valid.sum()) if results else 0,
        "gallery": len(gallery.ids),
        "gallery_junk": int((gallery.ids == JUNK_ID).sum()),
        "people_asked_for": len(np.unique(query.ids)),
        "people": len(np.unique(people[people != JUNK_ID])),
        "cameras": len(np.unique(np.concatenate([query.cameras, gallery.cameras]))),
        "pictures": found.pictures,
    }


def _skipped(data_set: DataSet, found: TrackletVectors) -> dict[str, int]:
    skipped = dict(data_set.skipped)
    if found.unreadable:
        skipped[UNREADABLE_PICTURE] = len(found.unreadable)
    if not found.readable.all():
        skipped[UNREADABLE_TRACKLET] = int((~found.readable).sum())
    return skipped


def _result_json(result: HeadResult) -> dict[str, Any]:
    return {
        "head": result.name,
        "model_id": result.model_id,
        "dimensions": result.dimensions,
        "figures": figures(result.plain),
        "mAP_interval": None if result.interval is None else list(result.interval),
        "reranked": None if result.reranked is None else figures(result.reranked),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
