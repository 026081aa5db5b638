"""Sparse re-ranking against the definitions written out set by set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reranking import plain_rerank

from pipeline.retrieval import cosine_distance, normalise_rows, rank_queries
from reid.rerank import Reranker, RerankSettings, rerank


def clusters(people: int, each: int, noise: float, seed: int, dimensions: int = 16):
    """(people * each, D) vectors and whom they show; in 64ths, so that single precision knows their distances exactly.

    So they have norm 1 to a few percent, which is all one to neighbours and shares.
    """
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((people, dimensions))
    ids = np.repeat(np.arange(people), each)
    vectors = normalise_rows((centre[ids] + noise * rng.standard_normal((len(ids), dimensions))).astype(np.float32))
    return np.round(vectors * 64) / np.float32(64), ids


def tied_vectors(count: int, seed: int) -> np.ndarray:
    """Unit vectors of four entries of ±0.5: distances are 0, 0.5, 1, 1.5 and 2 to the bit, mostly tied."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((count, 6), np.float32)
    for row in vectors:
        row[rng.permutation(6)[:4]] = rng.choice([-0.5, 0.5], 4)
    return vectors


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k1=st.integers(1, 12), k2=st.integers(1, 6), noise=st.floats(0.2, 2.0))
def test_agrees_with_the_definitions_written_out(seed: int, k1: int, k2: int, noise: float):
    vectors, _ = clusters(6, 5, noise, seed)
    order = np.random.default_rng(seed).permutation(len(vectors))
    query, gallery = vectors[order[:7]], vectors[order[7:]]
    found = rerank(query, gallery, RerankSettings(k1, k2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain_rerank(query, gallery, k1, k2), atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k1=st.integers(1, 8), k2=st.integers(1, 5))
def test_agrees_with_the_definitions_where_most_distances_are_tied(seed: int, k1: int, k2: int):
    vectors = tied_vectors(24, seed)
    found = rerank(vectors[:6], vectors[6:], RerankSettings(k1, k2))
    np.testing.assert_allclose(found, plain_rerank(vectors[:6], vectors[6:], k1, k2), atol=2e-5)


@pytest.mark.parametrize("original_share", [0.0, 0.3, 1.0])
def test_the_shares_of_both_distances_are_as_asked_for(original_share: float):
    vectors, _ = clusters(4, 4, 0.8, seed=3)
    found = rerank(vectors[:4], vectors[4:], RerankSettings(5, 3, original_share))
    np.testing.assert_allclose(found, plain_rerank(vectors[:4], vectors[4:], 5, 3, original_share), atol=2e-5)


@pytest.mark.parametrize(("queries", "entries"), [(1, 1), (1, 2), (3, 1), (2, 5)])
def test_a_pool_smaller_than_the_neighbourhoods_is_no_error(queries: int, entries: int):
    vectors, _ = clusters(queries + entries, 1, 1.0, seed=1)
    found = rerank(vectors[:queries], vectors[queries:])  # k1 20, k2 6
    np.testing.assert_allclose(found, plain_rerank(vectors[:queries], vectors[queries:]), atol=2e-5)


@pytest.mark.parametrize(("queries", "entries"), [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("top_k", [None, 2])
def test_nothing_gives_an_empty_matrix(queries: int, entries: int, top_k: int | None):
    vectors, _ = clusters(6, 1, 1.0, seed=1)
    found = rerank(vectors[:queries], vectors[:entries], RerankSettings(top_k=top_k))
    assert found.shape == (queries, entries) and found.dtype == np.float32


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (3, 2), (20, 6)])
def test_a_vector_is_its_own_nearest_neighbour_also_before_its_duplicates(k1: int, k2: int):
    same = np.tile(np.float32([[0.5, 0.5, 0.5, 0.5]]), (9, 1))
    found = rerank(same[:2], same[2:], RerankSettings(k1, k2))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, plain_rerank(same[:2], same[2:], k1, k2), atol=2e-5)


def test_blocks_of_queries_are_rows_of_the_whole():
    vectors, _ = clusters(10, 6, 1.0, seed=4)
    reranker = Reranker(vectors[:20], vectors[20:])
    whole = reranker.distances()
    np.testing.assert_allclose(np.concatenate([reranker.distances(0, 7), reranker.distances(7, 20)]), whole, atol=1e-6)


def test_small_blocks_of_the_search_for_neighbours_change_nothing(monkeypatch):
    vectors, _ = clusters(10, 6, 1.0, seed=4)
    whole = rerank(vectors[:20], vectors[20:])
    monkeypatch.setattr("reid.rerank._BLOCK", 100)  # one row of 60 distances at a time
    np.testing.assert_allclose(rerank(vectors[:20], vectors[20:]), whole, atol=1e-6)


def test_people_in_clusters_are_found_better_after_re_ranking():
    vectors, ids = clusters(30, 8, 0.8, seed=5)
    query, gallery = np.arange(0, 240, 8), np.delete(np.arange(240), np.arange(0, 240, 8))

    def mean_average_precision(distance):
        scores = rank_queries(
            distance, (ids[query], np.zeros(30, int)), (ids[gallery], np.ones(len(gallery), dtype=int))
        )
        return scores.mean_average_precision()

    before = mean_average_precision(cosine_distance(vectors[query], vectors[gallery]))
    after = mean_average_precision(rerank(vectors[query], vectors[gallery]))
    assert 0.4 < before < 0.95 and after > before + 0.02


def test_only_the_top_of_a_list_is_put_into_a_new_order_when_asked_so():
    vectors, _ = clusters(12, 5, 1.0, seed=6)
    query, gallery = vectors[::5], np.delete(vectors, np.arange(0, 60, 5), axis=0)
    found = rerank(query, gallery, RerankSettings(5, 3, top_k=8))
    plain = cosine_distance(query, gallery)
    for i in range(len(query)):
        top, rest = np.split(np.argsort(plain[i], kind="stable"), [8])
        in_new_order = np.argsort(found[i], kind="stable")
        assert set(in_new_order[:8]) == set(top)
        assert in_new_order[8:].tolist() == rest.tolist()
        np.testing.assert_allclose(found[i, top], plain_rerank(query[i : i + 1], gallery[top], 5, 3)[0], atol=2e-5)


def test_with_a_top_no_query_depends_on_another():
    vectors, _ = clusters(12, 5, 1.0, seed=7)
    how = RerankSettings(5, 3, top_k=10)
    together = rerank(vectors[:6], vectors[6:], how)
    np.testing.assert_array_equal(rerank(vectors[2:3], vectors[6:], how)[0], together[2])


def test_progress_ends_with_the_whole_pool():
    vectors, _ = clusters(5, 5, 1.0, seed=8)
    told = []
    Reranker(vectors[:5], vectors[5:], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (25, 25)


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"top_k": 0}, {"original_share": 1.5}])
def test_settings_that_make_no_sense_are_refused(wrong: dict):
    with pytest.raises(ValueError, match="expected"):
        RerankSettings(**wrong)
