"""CMC, both average precisions and mINP of a ranking against the plain definitions, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_scores import plain_figures

from pipeline.retrieval import QueryScores, cmc_and_average_precision, rank_queries
from reid.evaluation import bootstrap_interval, figures


def labels(*pairs):
    people, cameras = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(people, np.int64), np.array(cameras, np.int64)


def random_case(seed: int, tied: bool):
    rng = np.random.default_rng(seed)
    q, g = int(rng.integers(1, 12)), int(rng.integers(1, 40))
    distance = rng.integers(0, 5, (q, g)).astype(np.float32) if tied else rng.random((q, g), np.float32)
    query = [(int(rng.integers(0, 5)), int(rng.integers(0, 3))) for _ in range(q)]
    gallery = [(int(rng.integers(-1, 5)), int(rng.integers(0, 3))) for _ in range(g)]
    return distance, query, gallery


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 100_000), tied=st.booleans())
def test_all_figures_are_those_of_the_plain_definitions(seed: int, tied: bool):
    distance, query, gallery = random_case(seed, tied)
    found = figures(rank_queries(distance, labels(*query), labels(*gallery)))
    wanted = plain_figures(distance.tolist(), query, gallery)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


def test_the_inverse_negative_penalty_is_matches_over_the_rank_of_the_last_one():
    # matches at ranks 1, 3 and 6; and all three in front
    distance = np.array([[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 5, 2]], np.float32)
    gallery = labels((1, 1), (2, 1), (1, 2), (3, 1), (4, 1), (1, 1))
    scores = rank_queries(distance, labels((1, 0), (1, 0)), gallery)
    assert scores.inverse_negative_penalty.tolist() == [3 / 6, 1.0]
    assert scores.mean_inverse_negative_penalty == 0.75
    assert scores.first_match.tolist() == [1, 1]


def test_junk_before_the_last_match_costs_nothing():
    gallery = labels((-1, 1), (1, 0), (2, 1), (1, 1))  # junk, own camera, wrong, right
    scores = rank_queries(np.array([[0, 1, 2, 3]], np.float32), labels((1, 0)), gallery)
    assert scores.first_match.tolist() == [2]
    assert scores.inverse_negative_penalty.tolist() == [0.5]


def test_a_query_without_a_match_has_no_figures_and_lowers_none():
    gallery = labels((1, 1), (2, 1))
    scores = rank_queries(np.zeros((2, 2), np.float32), labels((1, 0), (7, 0)), gallery)
    assert scores.valid.tolist() == [True, False]
    assert np.isnan(scores.inverse_negative_penalty[1]) and np.isnan(scores.rectangle[1])
    assert figures(scores) == dict.fromkeys(figures(scores), 1.0)


@pytest.mark.parametrize(("queries", "entries"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_rank_gives_no_figures(queries: int, entries: int):
    ones = [(1, 0)] * 3
    scores = rank_queries(np.zeros((queries, entries), np.float32), labels(*ones[:queries]), labels(*ones[:entries]))
    assert figures(scores) == dict.fromkeys(figures(scores), None)


def test_blocks_of_queries_joined_are_the_whole():
    distance, query, gallery = random_case(3, tied=False)
    whole = rank_queries(distance, labels(*query), labels(*gallery))
    parts = [rank_queries(distance[i : i + 1], labels(query[i]), labels(*gallery)) for i in range(len(query))]
    joined = QueryScores.joined(parts)
    for name in ("first_match", "rectangle", "trapezoid", "inverse_negative_penalty"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_no_blocks_joined_are_no_queries():
    assert len(QueryScores.joined([]).valid) == 0


@pytest.mark.parametrize("definition", ["rectangle", "trapezoid"])
def test_the_scores_in_one_definition_carry_the_same_figures(definition):
    distance, query, gallery = random_case(5, tied=True)
    both = rank_queries(distance, labels(*query), labels(*gallery))
    one = cmc_and_average_precision(distance, labels(*query), labels(*gallery), definition, ranks=7)
    np.testing.assert_array_equal(one.average_precision, both.average_precision(definition))
    np.testing.assert_array_equal(one.cmc, both.cmc(7))
    assert one.mean_inverse_negative_penalty == both.mean_inverse_negative_penalty


def scores_of(average_precision):
    values = np.array(average_precision, float)
    return QueryScores(np.ones(len(values), np.int64), values, values, values)


def test_the_interval_over_people_holds_the_figure_and_is_the_same_every_time():
    rng = np.random.default_rng(0)
    scores, people = scores_of(rng.random(60)), np.repeat(np.arange(20), 3)
    low, high = bootstrap_interval(scores, people)
    assert low < scores.mean_average_precision() < high
    assert bootstrap_interval(scores, people) == (low, high)


def test_queries_of_one_person_do_not_make_the_interval_narrower():
    values = np.random.default_rng(1).random(20)
    once = bootstrap_interval(scores_of(values), np.arange(20))
    five_times = bootstrap_interval(scores_of(np.repeat(values, 5)), np.repeat(np.arange(20), 5))
    assert five_times == pytest.approx(once)


def test_one_person_has_no_interval():
    assert bootstrap_interval(scores_of([0.5, 0.7]), np.array([4, 4])) is None
