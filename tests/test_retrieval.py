"""Distances and retrieval metrics against hand-worked rankings and a plain transcription of the protocol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.retrieval import ApDefinition, cmc_and_average_precision, cosine_distance, normalise_rows


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    return normalise_rows(np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32))


def test_cosine_distance_runs_from_zero_over_one_to_two():
    axes = np.eye(2, dtype=np.float32)
    distance = cosine_distance(axes[:1], np.stack([axes[0], axes[1], -axes[0]]))
    assert distance.tolist() == [[0.0, 1.0, 2.0]]
    assert distance.dtype == np.float32


def test_cosine_distance_stays_in_range_under_rounding():
    rows = unit_rows(200) * np.float32(1 + 1e-6)
    distance = cosine_distance(rows, np.concatenate([rows, -rows]))
    assert distance.min() >= 0 and distance.max() <= 2


def test_cosine_distance_is_half_the_squared_euclidean_distance_of_unit_rows():
    a, b = unit_rows(5, 1), unit_rows(7, 2)
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(cosine_distance(a, b), squared / 2, atol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_cosine_distance_of_nothing_is_an_empty_matrix(n: int, m: int):
    assert cosine_distance(unit_rows(n), unit_rows(m)).shape == (n, m)


def test_a_row_of_zeros_stays_zero_when_normalised():
    rows = normalise_rows(np.array([[0, 0], [3, 4]], np.float32))
    np.testing.assert_allclose(rows, [[0, 0], [0.6, 0.8]])


@pytest.mark.parametrize(("definition", "expected"), [("rectangle", 1 / 3), ("trapezoid", 1 / 6)])
def test_a_single_match_at_rank_three_scores_by_its_definition(definition: ApDefinition, expected: float):
    scores = cmc_and_average_precision(
        np.array([[0.1, 0.2, 0.3]], np.float32), (ids(1), ids(0)), (ids(2, 3, 1), ids(1, 1, 1)), definition
    )
    assert scores.average_precision.tolist() == pytest.approx([expected])
    assert scores.cmc[:4].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("definition", ["rectangle", "trapezoid"])
def test_a_match_at_rank_one_is_perfect_under_both_definitions(definition: ApDefinition):
    scores = cmc_and_average_precision(
        np.array([[0.1, 0.2]], np.float32), (ids(1), ids(0)), (ids(1, 2), ids(1, 1)), definition
    )
    assert scores.mean_average_precision == 1.0


def test_same_person_in_same_camera_and_junk_neither_help_nor_harm():
    gallery = (ids(1, -1, 2, 1), ids(0, 1, 1, 1))  # own camera, junk, wrong, right
    scores = cmc_and_average_precision(np.array([[0.0, 0.1, 0.2, 0.3]], np.float32), (ids(1), ids(0)), gallery)
    assert scores.average_precision.tolist() == [0.5]
    assert scores.cmc[:2].tolist() == [0, 1]


def test_a_distractor_is_always_wrong():
    scores = cmc_and_average_precision(np.array([[0.1, 0.2]], np.float32), (ids(1), ids(0)), (ids(0, 1), ids(0, 1)))
    assert scores.average_precision.tolist() == [0.5]


def test_queries_without_a_match_are_left_out_of_the_average():
    distance = np.array([[0.1, 0.2], [0.1, 0.2]], np.float32)
    scores = cmc_and_average_precision(distance, (ids(1, 9), ids(0, 0)), (ids(1, 2), ids(1, 1)))
    assert scores.valid.tolist() == [True, False]
    assert scores.mean_average_precision == 1.0
    assert np.isnan(scores.average_precision[1])


@pytest.mark.parametrize(("queries", "entries"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_rank_gives_nan_and_no_valid_query(queries: int, entries: int):
    def labels(count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(count, np.int64), np.arange(count)

    distance = np.zeros((queries, entries), np.float32)
    scores = cmc_and_average_precision(distance, labels(queries), labels(entries), ranks=5)
    assert np.isnan(scores.mean_average_precision)
    assert scores.cmc.shape == (5,) and np.isnan(scores.cmc).all()


def test_equal_distances_are_ranked_in_gallery_order():
    distance = np.zeros((1, 3), np.float32)
    wrong_first = cmc_and_average_precision(distance, (ids(1), ids(0)), (ids(2, 1, 2), ids(1, 1, 1)))
    right_first = cmc_and_average_precision(distance, (ids(1), ids(0)), (ids(1, 2, 2), ids(1, 1, 1)))
    assert wrong_first.average_precision.tolist() == [0.5]
    assert right_first.average_precision.tolist() == [1.0]


def test_a_curve_longer_than_the_gallery_keeps_its_last_value():
    scores = cmc_and_average_precision(np.array([[0.1]], np.float32), (ids(1), ids(0)), (ids(1), ids(1)), ranks=10)
    assert scores.cmc.tolist() == [1.0] * 10


def test_labels_that_do_not_fit_the_distances_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(1, 2\), got \(1, 3\)"):
        cmc_and_average_precision(np.zeros((1, 3), np.float32), (ids(1), ids(0)), (ids(1, 2), ids(1, 1)))


def plain_average_precision(distance, query_id, query_camera, gallery_ids, gallery_cameras, definition):
    """One query, one entry after the other, as the protocol is written down."""
    place, found, total = 0, 0, 0.0
    for g in sorted(range(len(distance)), key=lambda i: (distance[i], i)):
        if gallery_ids[g] == -1 or (gallery_ids[g] == query_id and gallery_cameras[g] == query_camera):
            continue
        place += 1
        before = found / (place - 1) if place > 1 else 1.0
        if gallery_ids[g] == query_id:
            found += 1
            now = found / place
            total += now if definition == "rectangle" else (before + now) / 2
    return total / found if found else float("nan")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), definition=st.sampled_from(["rectangle", "trapezoid"]))
def test_agrees_with_the_protocol_written_out_entry_by_entry(seed: int, definition: ApDefinition):
    rng = np.random.default_rng(seed)
    q, g = rng.integers(1, 6), rng.integers(1, 20)
    distance = rng.integers(0, 6, (q, g)).astype(np.float32)  # whole numbers: many ties
    query = (rng.integers(0, 4, q), rng.integers(0, 3, q))
    gallery = (rng.integers(-1, 4, g), rng.integers(0, 3, g))
    scores = cmc_and_average_precision(distance, query, gallery, definition)
    plain = [plain_average_precision(distance[i], query[0][i], query[1][i], *gallery, definition) for i in range(q)]
    np.testing.assert_allclose(scores.average_precision, plain, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_rectangle_is_never_below_the_trapezoid(seed: int):
    rng = np.random.default_rng(seed)
    distance = rng.random((4, 15), np.float32)
    query, gallery = (rng.integers(0, 3, 4), np.zeros(4, int)), (rng.integers(0, 3, 15), np.ones(15, int))
    rectangle = cmc_and_average_precision(distance, query, gallery, "rectangle").average_precision
    trapezoid = cmc_and_average_precision(distance, query, gallery, "trapezoid").average_precision
    assert (rectangle >= trapezoid - 1e-12)[~np.isnan(rectangle)].all()
