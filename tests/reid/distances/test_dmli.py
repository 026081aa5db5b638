"""DMLI against the recursion of the paper, cell by cell, and as a re-ranking of the nearest few."""

import math

import numpy as np
import pytest
import torch

from reid.distances import dmli_torch
from reid.distances.dmli import DmliReranker, DmliSettings, dmli, dmli_pairs, shortest_path


def written_out(a: np.ndarray, b: np.ndarray) -> float:
    """D of two bodies (H, L) by the paper's equations, in double precision."""
    height, width = len(a), len(b)
    d = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            x = math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a[i], b[j], strict=True)))
            d[i, j] = (math.exp(x) - 1) / (math.exp(x) + 1)
    s = np.zeros_like(d)
    for i in range(height):
        for j in range(width):
            if i == 0 and j == 0:
                s[i, j] = d[i, j]
            elif j == 0:
                s[i, j] = s[i - 1, j] + d[i, j]
            elif i == 0:
                s[i, j] = s[i, j - 1] + d[i, j]
            else:
                s[i, j] = min(s[i - 1, j], s[i, j - 1]) + d[i, j]
    return float(s[-1, -1])


def bodies(count: int, stripes: int = 8, length: int = 6, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, stripes, length))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 1), (1, 5), (4, 1), (3, 6)])
def test_distances_are_those_of_the_recursion(height, width):
    a, b = bodies(4, height, seed=1), 3 * bodies(5, width, seed=2)
    wanted = [[written_out(x, y) for y in b] for x in a]
    np.testing.assert_allclose(dmli(a, b), wanted, rtol=1e-4, atol=1e-4)
    pairs = dmli_torch.dmli_pairs(torch.from_numpy(a), torch.from_numpy(b[:4]))
    np.testing.assert_allclose(pairs, np.diagonal(wanted), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dmli_pairs(a, b[:4]), np.diagonal(wanted), rtol=1e-4, atol=1e-4)


def test_distances_that_overflow_the_formula_as_it_is_written_are_close_to_a_step_each():
    a, b = np.full((1, 8, 3), 1e4, np.float32), np.zeros((1, 8, 3), np.float32)
    assert dmli(a, b)[0, 0] == pytest.approx(15)


def test_nobody_gives_an_empty_table():
    assert dmli(bodies(0), bodies(3)).shape == (0, 3)
    assert dmli(bodies(2), bodies(0)).shape == (2, 0)


def test_it_is_symmetric_and_an_equal_body_is_nearest_but_not_at_zero():
    a = bodies(6)
    table = dmli(a, a)
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    assert (table.argmin(axis=1) == np.arange(6)).all()
    assert (table.diagonal() > 0).all()


def test_a_body_that_is_cut_off_stays_near_to_itself_when_it_is_aligned():
    """The lower half of the body, enlarged: rows no longer say which part they show."""
    whole, others = bodies(1, 8, 16), bodies(20, 8, 16, seed=5)
    cut = np.repeat(whole[:, 4:], 2, axis=1)
    by_rows = np.tanh(0.5 * np.linalg.norm(whole - cut, axis=2)).sum()
    aligned = float(dmli(cut, whole)[0, 0])
    assert aligned < dmli(cut, others).min()
    assert aligned < by_rows + 7 * np.tanh(0.5 * np.sqrt(2))


def test_the_path_is_the_cheapest_of_all_paths():
    rng = np.random.default_rng(3)
    cells = rng.random((4, 4)).astype(np.float32)

    def cheapest(i: int, j: int) -> float:
        ways = [cheapest(p, q) for p, q in ((i - 1, j), (i, j - 1)) if p >= 0 and q >= 0]
        return float(cells[i, j]) + (min(ways) if ways else 0.0)

    assert float(shortest_path(cells)) == pytest.approx(cheapest(3, 3), rel=1e-6)


def test_the_gradient_in_torch_runs_along_the_path_and_is_finite_where_stripes_are_equal():
    a = torch.from_numpy(bodies(2)).double().requires_grad_()
    b = torch.from_numpy(bodies(2, seed=4)).double()
    assert torch.autograd.gradcheck(lambda x: dmli_torch.dmli_pairs(x, b), (a,), atol=1e-5)
    dmli_torch.dmli_pairs(a, a.detach().clone()).sum().backward()
    assert torch.isfinite(a.grad).all()


# --- re-ranking ------------------------------------------------------------------------------------------------------


def people(count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    stripes = bodies(count, seed=seed)
    flat = stripes.reshape(count, stripes[0].size if count else 48)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True), stripes


def test_only_the_nearest_get_a_new_place_and_the_others_follow_in_their_old_order():
    query, gallery = people(3, 1), people(12, 2)
    old = 1 - query[0] @ gallery[0].T
    new = DmliReranker(query, gallery, DmliSettings(top_k=5, share=1.0)).distances()
    for before, after, own in zip(old, new, query[1], strict=True):
        first, rest = np.argsort(before)[:5], np.argsort(before)[5:]
        paths = dmli(own[None], gallery[1][first])[0]
        np.testing.assert_array_equal(np.argsort(after)[:5], first[np.argsort(paths)])
        np.testing.assert_array_equal(np.argsort(after)[5:], rest)


def test_without_a_share_nothing_changes_but_the_scale():
    query, gallery = people(3, 1), people(12, 2)
    old = 1 - query[0] @ gallery[0].T
    new = DmliReranker(query, gallery, DmliSettings(top_k=4, share=0.0)).distances()
    np.testing.assert_array_equal(np.argsort(new), np.argsort(old))


def test_a_block_of_queries_is_those_rows_and_more_than_there_are_may_be_asked_for():
    query, gallery = people(6, 1), people(4, 2)
    reranker = DmliReranker(query, gallery, DmliSettings(top_k=50))
    np.testing.assert_array_equal(reranker.distances(2, 5), reranker.distances()[2:5])


@pytest.mark.parametrize(("queries", "entries"), [(0, 3), (3, 0)])
def test_an_empty_side_gives_an_empty_table(queries, entries):
    assert DmliReranker(people(queries), people(entries)).distances().shape == (queries, entries)


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"share": 1.5}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        DmliSettings(**settings)
