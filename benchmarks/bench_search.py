"""Exact search over stored features, as `run_pipeline.py search` does it, beside FAISS's flat index.

    python benchmarks/bench_search.py [--rows 1000000] [--dimensions 576] [--queries 1,10,100] [--top 1000]
                                      [--threads 1] [--rounds 5] [--environments DIR]

Both search the same vectors on the same processor threads, in turns, in one process: ours in the files that the
recorder writes (half precision, mapped from the disk), FAISS (`IndexFlatIP`, single precision) in memory. `first` is a
process's first search: ours maps the files anew, FAISS reads its index from a file. The median of the rounds counts.
Vectors are random: a person for every 20 rows, each row its person's direction under noise; 576 values are what the
default head makes. `goal` is FAISS's time times 1.5. FAISS is installed into a folder of its own (`uv` or `pip`).
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers.environments import default_folder

from pipeline.retrieval import normalise_rows
from pipeline.runtime.feature_files import ROW, SEGMENT_ROWS, FeatureRows, read_features
from pipeline.runtime.feature_store import FeatureStore
from pipeline.search.nearest import nearest_rows
from pipeline.search.ranking import ROWS_PER_QUERY
from pipeline.types import ClipFeature, FloatArray, TrackKey

FAISS = "faiss-cpu==1.15.1"
PER_PERSON = 20  # rows
NOISE = 2.5  # deviation of a row's noise, in lengths of its person's direction per dimension
GOAL = 1.5
MODEL = "random@0/none"
INSTALL_LIMIT_S = 600

Work = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=576)
    parser.add_argument("--queries", default="1,10,100", metavar="N,N,…")
    parser.add_argument("--top", type=int, default=ROWS_PER_QUERY, help="rows wanted per query")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=default_folder(), metavar="DIR")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)  # for the process that measures; in this one NumPy is up already
    processes = multiprocessing.get_context("spawn")
    with processes.Pool(1) as pool:
        pool.apply(bench, (options,))
    with processes.Pool(1) as pool:
        print(f"memory of a search for 100, mapped files left out: {pool.apply(memory_mb, (options,)):.0f} MB")
    return 0


def bench(options: argparse.Namespace) -> None:
    """Print the table."""
    print(f"{options.rows:,} rows of {options.dimensions} values, {options.top} wanted, {options.threads} thread(s)\n")
    faiss = load_faiss(options.environments)
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        folder = Path(name)
        queries = write_store(folder, options.rows, options.dimensions, max(map(int, options.queries.split(","))))
        features = read_features(folder, MODEL)
        index = make_index(faiss, features, options.threads) if faiss is not None else None
        print("| queries | | ours (s) | FAISS (s) | ours / FAISS | same rows |\n|---|---|---|---|---|---|", flush=True)
        for count in map(int, options.queries.split(",")):
            asked = np.ascontiguousarray(queries[:count])
            ours = partial(nearest_rows, features, asked, options.top, threads=options.threads)
            theirs = [partial(index.search, asked, options.top)] if index is not None else []
            row("in memory", count, ours, theirs, options.rounds, agreement(ours, theirs))
        if faiss is not None:
            faiss.write_index(index, str(folder / "index"))
            index = None

        one = queries[:1].copy()

        def first() -> Any:
            return nearest_rows(read_features(folder, MODEL), one, options.top, threads=options.threads)

        def first_of_faiss() -> Any:
            return faiss.read_index(str(folder / "index")).search(one, options.top)

        row("first", 1, first, [first_of_faiss] if faiss is not None else [], min(options.rounds, 3), "")
        print(f"\nfiles: {sum(p.stat().st_size for p in folder.rglob('*.vectors')) / 1e6:.0f} MB of vectors")


def row(what: str, count: int, ours: Work, theirs: Sequence[Work], rounds: int, same: str) -> None:
    """Measure in turns, and print."""
    works = {"ours": ours, **({"faiss": theirs[0]} if theirs else {})}
    took = in_turns(works, rounds)
    mine, other = took["ours"], took.get("faiss")
    ratio = "–" if other is None else f"{mine / other:.2f} ({'meets' if mine <= GOAL * other else 'misses'} the goal)"
    shown = "–" if other is None else f"{other:.3f}"
    print(f"| {count} | {what} | {mine:.3f} | {shown} | {ratio} | {same} |", flush=True)


def in_turns(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Median wall seconds of each; every other round backwards."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name in list(works) if turn % 2 == 0 else reversed(list(works)):
            began_s = time.perf_counter()
            works[name]()
            if turn:  # the first one warms up
                taken[name].append(time.perf_counter() - began_s)
    return {name: float(np.median(times)) for name, times in taken.items()}


def agreement(ours: Work, theirs: Sequence[Work]) -> str:
    """Share of the rows that both found."""
    if not theirs:
        return "–"
    _, places = theirs[0]()
    shared = [len(set(a.tolist()) & set(b.tolist())) / len(b) for a, b in zip(ours().places, places, strict=True)]
    return f"{np.mean(shared):.4f}"


# -- the store --------------------------------------------------------------------------------------------------------


def write_store(folder: Path, rows: int, dimensions: int, queries: int) -> FloatArray:
    """Write features in the recorder's files, block by block; returns queries (Q, D) of people who are in them."""
    rng = np.random.default_rng(0)
    begin(folder, dimensions)
    model = next((folder / "features").iterdir())
    for path in [*model.glob("*.vectors"), *model.glob("*.rows")]:
        path.unlink()
    asked: list[FloatArray] = []
    for number, start in enumerate(range(0, rows, SEGMENT_ROWS), start=1):
        count = min(SEGMENT_ROWS, rows - start)
        people = rng.standard_normal((max(1, count // PER_PERSON), dimensions), np.float32)
        whom = rng.integers(0, len(people), count)
        directions = normalise_rows(people)[whom]
        noise = rng.standard_normal((count, dimensions), np.float32) * np.float32(NOISE)
        vectors = normalise_rows(directions + noise / np.float32(np.sqrt(dimensions)))
        vectors.astype("<f2").tofile(model / f"{number:06d}.vectors")
        table = np.zeros(count, ROW)
        table["alive"], table["track_id"], table["sequence"] = 1, start + whom, np.arange(start, start + count)
        table["start_s"] = table["end_s"] = np.arange(start, start + count) * 0.0036  # an hour's worth
        table.tofile(model / f"{number:06d}.rows")
        if sum(map(len, asked)) < queries:
            more = rng.standard_normal((queries, dimensions), np.float32) * np.float32(NOISE / np.sqrt(dimensions))
            asked.append(normalise_rows(directions[:queries] + more[: len(directions)]))
    return np.concatenate(asked)[:queries]


def begin(folder: Path, dimensions: int) -> None:
    """Let the store itself make its folder, with one clip."""
    vector, none = np.zeros(dimensions, np.float32), np.zeros((1, 1), np.float32)
    vector[0] = 1
    clip = ClipFeature(TrackKey("door", "1", 1), 1, 0, 0, 0, 0, vector, none, np.ones(1, np.float32), none, 0.5, MODEL)
    store = FeatureStore(folder)
    store.add(clip)
    store.close()


# -- FAISS ------------------------------------------------------------------------------------------------------------


def load_faiss(environments: Path) -> Any:
    """FAISS from a folder of its own, installed when it is not there; None, with a line, when it cannot be."""
    folder = environments / FAISS.replace("==", "-")
    if not (folder / "faiss").is_dir():
        uv = shutil.which("uv")
        tool = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
        command = [*tool, "install", "-q", "--no-deps", "--target", str(folder), FAISS]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"FAISS is left out: it could not be installed ({error})\n")
            return None
    sys.path.append(str(folder))  # last: everything else is the project's own
    return importlib.import_module("faiss")


def make_index(faiss: Any, features: FeatureRows, threads: int) -> Any:
    """The flat inner-product index of all rows."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(features.vectors[0].shape[1])
    for vectors in features.vectors:
        index.add(np.asarray(vectors, np.float32))
    return index


# -- memory -----------------------------------------------------------------------------------------------------------


def memory_mb(options: argparse.Namespace) -> float:
    """Peak of what a search for 100 adds to a process, pages of mapped files left out: the system may drop those."""
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        queries = write_store(Path(name), options.rows, options.dimensions, 100)
        before = anonymous_mb()
        features = read_features(Path(name), MODEL)
        most = [before]
        nearest_rows(
            features, queries, options.top, threads=options.threads, progress=lambda n: most.append(anonymous_mb())
        )
        return max(most) - before


def anonymous_mb() -> float:
    """What the process holds besides files; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
