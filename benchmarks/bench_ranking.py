"""What it costs to rank and to re-rank: processor seconds on one thread, and memory at the peak.

    python benchmarks/bench_ranking.py [--queries 2000] [--gallery 12000] [--dimensions 512]

Vectors are random: a person for every 20 tracklets, each vector its person's direction under noise several times as
large. Each row of the table is a process of its own, so that its peak is its own.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.retrieval import QueryScores, cosine_distance, normalise_rows, rank_queries
from pipeline.types import FloatArray, IntArray
from reid.rerank import Reranker, RerankSettings

NOISE = 2.5  # deviation of a vector's noise, in lengths of its person's direction per dimension
PER_PERSON = 20  # tracklets of a person
BLOCK = 1_000_000  # places in rankings at a time, as reid/evaluation.py takes them
WAYS: dict[str, RerankSettings | None] = {
    "cosine distance": None,
    "re-ranked (k1 20, k2 6)": RerankSettings(),
    "re-ranked, top 100": RerankSettings(top_k=100),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--gallery", type=int, default=12000)
    parser.add_argument("--dimensions", type=int, default=512)
    sizes = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes that measure; in this one NumPy is up already
    print(f"{sizes.queries} queries, {sizes.gallery} in the gallery, {sizes.dimensions} values, one thread\n")
    print("| | distances (s) | scoring (s) | peak of the process (MB) | of it the vectors (MB) | mAP |")
    print("|---|---|---|---|---|---|")
    for name in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (name, sizes.queries, sizes.gallery, sizes.dimensions)), flush=True)
    return 0


def measure(name: str, queries: int, gallery: int, dimensions: int) -> str:
    """One row of the table."""
    vectors, people = random_people(queries + gallery, dimensions)
    asked, held, settings = vectors[:queries], vectors[queries:], WAYS[name]
    began_s = time.process_time()
    distances = of_cosine(asked, held) if settings is None else Reranker(asked, held, settings).distances
    spent_s, scoring_s = time.process_time() - began_s, 0.0
    parts, rows = [], max(1, BLOCK // gallery)
    for start in range(0, queries, rows):
        stop = min(start + rows, queries)
        began_s = time.process_time()
        block = distances(start, stop)
        ready_s = time.process_time()
        labels = people[start:stop], np.zeros(stop - start, np.int64)
        parts.append(rank_queries(block, labels, (people[queries:], np.ones(gallery, np.int64))))
        spent_s += ready_s - began_s
        scoring_s += time.process_time() - ready_s
    found = QueryScores.joined(parts).mean_average_precision()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {name} | {spent_s:.1f} | {scoring_s:.1f} | {peak_mb:.0f} | {vectors.nbytes / 1e6:.0f} | {found:.3f} |"


def of_cosine(asked: FloatArray, held: FloatArray) -> Callable[[int, int], FloatArray]:
    return lambda start, stop: cosine_distance(asked[start:stop], held)


def random_people(count: int, dimensions: int) -> tuple[FloatArray, IntArray]:
    """(count, dimensions) float32 of norm 1, and whom each shows."""
    rng = np.random.default_rng(0)
    people = rng.integers(0, max(1, count // PER_PERSON), count)
    directions = rng.standard_normal((people.max() + 1, dimensions), np.float32)
    noise = rng.standard_normal((count, dimensions), np.float32)
    return normalise_rows(directions[people] + np.float32(NOISE) * noise), people


if __name__ == "__main__":
    sys.exit(main())
