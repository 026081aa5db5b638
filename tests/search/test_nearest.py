"""Exact search: the same rows as a plain sort finds, whatever the segments, threads and filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.retrieval import normalise_rows
from pipeline.runtime.feature_files import ROW, FeatureRows, Stream
from pipeline.search.nearest import Filter, nearest_rows


def features_of(vectors, sizes, rows=None, streams=None):
    if rows is None:
        rows = np.zeros(len(vectors), ROW)
        rows["alive"] = 1
    cuts = np.cumsum(sizes)[:-1]
    named = streams or (Stream("door", "1"),)
    return FeatureRows("m", tuple(np.split(vectors.astype(np.float16), cuts)), rows, named)


def random_rows(count, dimensions, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return normalise_rows(rows).astype(np.float16)


def plainly(vectors, queries, count):
    """Places by a stable sort of all similarities in double precision."""
    similarity = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count]


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 70), st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_nearest_are_those_of_a_plain_sort(count, queries, top, seed, threads):
    vectors = random_rows(count, 16, seed)
    asked = normalise_rows(random_rows(queries, 16, seed + 1).astype(np.float32))
    split = seed % (count + 1)
    found = nearest_rows(features_of(vectors, (split, count - split)), asked, top, threads=threads)
    for own, places, distances in zip(plainly(vectors, asked, top), found.places, found.distances, strict=True):
        assert places.tolist() == own.tolist()
        expected = 1 - vectors[own].astype(np.float64) @ asked[len(found.places) - 1].astype(np.float64)
        assert len(distances) == len(expected) and (np.diff(distances) >= 0).all()
    last = 1 - vectors[found.places[-1]].astype(np.float64) @ asked[-1].astype(np.float64)
    np.testing.assert_allclose(found.distances[-1], last, atol=1e-5)


def test_more_rows_than_a_block_are_all_compared():
    vectors = random_rows(10_000, 4)
    asked = normalise_rows(vectors[[9_999, 4_096, 0]].astype(np.float32))
    found = nearest_rows(features_of(vectors, (5_000, 5_000)), asked, 1)
    assert [p.tolist() for p in found.places] == [[9_999], [4_096], [0]]


def test_of_equal_rows_the_first_come_first():
    vectors = np.repeat(np.eye(2, dtype=np.float16), [5, 5], axis=0)
    found = nearest_rows(features_of(vectors, (3, 7)), np.eye(2, dtype=np.float32), 3)
    assert [p.tolist() for p in found.places] == [[0, 1, 2], [5, 6, 7]]


def test_threads_change_no_bit():
    vectors, asked = random_rows(3_000, 32), normalise_rows(random_rows(7, 32, 5).astype(np.float32))
    features = features_of(vectors, (1_000, 1_000, 1_000))
    one, four = (nearest_rows(features, asked, 50, threads=n) for n in (1, 4))
    assert all((a == b).all() for a, b in zip(one.distances, four.distances, strict=True))
    assert all((a == b).all() for a, b in zip(one.places, four.places, strict=True))


def test_nothing_stored_and_nobody_asked_for_find_nothing():
    empty = FeatureRows("m", (), np.zeros(0, ROW), ())
    found = nearest_rows(empty, np.eye(3, dtype=np.float32), 5)
    assert [len(p) for p in found.places] == [0, 0, 0]
    assert nearest_rows(features_of(random_rows(4, 3), (4,)), np.zeros((0, 3), np.float32), 5).places == ()


def test_erased_rows_are_never_found():
    vectors = random_rows(4, 3)
    features = features_of(vectors, (4,))
    features.rows["alive"][2] = 0
    found = nearest_rows(features, vectors[2:3].astype(np.float32), 4)
    assert 2 not in found.places[0] and len(found.places[0]) == 3


def test_only_rows_that_pass_a_filter_are_found():
    rows = np.zeros(4, ROW)
    rows["alive"] = 1
    rows["stream"] = [0, 1, 0, 1]
    rows["start_s"], rows["end_s"] = [0, 10, 20, 30], [5, 15, 25, 35]
    features = features_of(random_rows(4, 3), (4,), rows, (Stream("door", "1"), Stream("hall", "1")))

    def passing(**wanted):
        return np.flatnonzero(Filter(**wanted).passes(features)).tolist()

    assert passing() == [0, 1, 2, 3]
    assert passing(since_s=15.0) == [1, 2, 3]
    assert passing(until_s=20.0) == [0, 1, 2]
    assert passing(since_s=6.0, until_s=9.0) == []
    assert passing(cameras=frozenset({"hall"})) == [1, 3]
    assert passing(cameras=frozenset({"lift"})) == []
    allowed = Filter(cameras=frozenset({"hall"})).passes(features)
    found = nearest_rows(features, np.eye(3, dtype=np.float32), 9, allowed=allowed)
    assert all(sorted(p.tolist()) == [1, 3] for p in found.places)


def test_progress_counts_every_row_once():
    seen = []
    nearest_rows(features_of(random_rows(7, 3), (3, 4)), np.eye(3, dtype=np.float32), 1, progress=seen.append)
    assert seen == [3, 4]


def test_wrong_questions_say_what_was_expected():
    features = features_of(random_rows(4, 3), (4,))
    with pytest.raises(ValueError, match=r"expected \(Q, 3\)"):
        nearest_rows(features, np.eye(4, dtype=np.float32), 1)
    with pytest.raises(ValueError, match="at least 1"):
        nearest_rows(features, np.eye(3, dtype=np.float32), 0)


def test_the_gpu_path_finds_the_same_rows():
    from reid.nearest import nearest_on_device

    vectors, asked = random_rows(700, 16), normalise_rows(random_rows(3, 16, 9).astype(np.float32))
    features = features_of(vectors, (300, 400))
    allowed = np.ones(700, bool)
    allowed[::3] = False
    expected = nearest_rows(features, asked, 40, allowed=allowed)
    places, distances = nearest_on_device(features.vectors, asked, 40, allowed=allowed, device="cpu")
    for a, b, c, d in zip(places, expected.places, distances, expected.distances, strict=True):
        assert a.tolist() == b.tolist()
        np.testing.assert_allclose(c, d, atol=1e-6)
    few, _ = nearest_on_device(features.vectors, asked, 40, allowed=np.arange(700) < 2, device="cpu")
    assert all(sorted(p.tolist()) == [0, 1] for p in few)
    none, _ = nearest_on_device((), asked, 5, allowed=np.zeros(0, bool), device="cpu")
    assert [len(p) for p in none] == [0, 0, 0]
