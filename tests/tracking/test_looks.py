"""How a track looks, and what distances mean in a camera."""

import numpy as np
import pytest

from pipeline.tracking.looks import (
    LEAST_KNOWN_DIFFERENT,
    LEAST_KNOWN_SAME,
    REMEMBERED,
    KnownDistances,
    distances,
    look_of,
    nearest,
)
from pipeline.types import CropFeature, CropQuality, FusedClip

QUALITY = CropQuality(200.0, 500.0, 0.0, 0.0, 0.9)


class WholeHead:
    """The mean of the crops' stripes as one vector; says of its parts that they are invisible."""

    clip_model_id = "model/whole"

    def fuse(self, crops):
        mean = np.mean([crop.stripes for crop in crops], axis=0).ravel()
        shape = crops[0].stripes.shape
        attention = np.full((len(crops), shape[0]), 1 / len(crops))
        return FusedClip(mean / np.linalg.norm(mean), np.zeros(shape), np.zeros(shape[0]), attention)


def crop(at_s, *values):
    return CropFeature(at_s, np.array([values], np.float32), np.ones(1, np.float32), QUALITY, "model")


def look(*values, at_s=0.0):
    return look_of([crop(at_s, *values)], WholeHead())


def test_a_look_spans_its_crops_and_keeps_them():
    crops = [crop(1.0, 1, 0), crop(1.5, 0, 1)]
    made = look_of(crops, WholeHead())
    assert (made.start_s, made.end_s, made.crops) == (1.0, 1.5, tuple(crops))
    np.testing.assert_allclose(made.vector, np.sqrt([0.5, 0.5]), rtol=1e-6)


def test_looks_are_as_far_apart_as_their_vectors():
    table = distances([look(1, 0), look(0, 1)], [look(1, 0), look(1, 1), look(-1, 0)])
    np.testing.assert_allclose(table, [[0, 1 - np.sqrt(0.5), 2], [1, 1 - np.sqrt(0.5), 1]], atol=1e-6)


def test_the_nearest_of_no_looks_is_infinitely_far_away():
    assert nearest(look(1, 0), []) == float("inf")
    assert nearest(look(1, 0), [look(0, 1), look(1, 1)]) == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)


def known(same, different):
    distances = KnownDistances()
    for value in same:
        distances.add_same(value)
    for value in different:
        distances.add_different(value)
    return distances.limits()


def test_nothing_is_known_of_a_camera_that_has_seen_little():
    for limits in (known([], []), known([0.1] * (LEAST_KNOWN_SAME - 1), [0.7] * 100)):
        assert (limits.ordinary, limits.stranger, limits.clear_stranger) == (float("inf"),) * 3
    limits = known([0.1] * LEAST_KNOWN_SAME, [0.7] * (LEAST_KNOWN_DIFFERENT - 1))
    assert limits.ordinary == pytest.approx(0.1)
    assert limits.stranger == float("inf")


def test_limits_are_quantiles_of_what_was_seen():
    limits = known(np.linspace(0, 0.2, 101), np.linspace(0.5, 1.0, 101))
    assert limits.ordinary == pytest.approx(0.19)
    assert limits.stranger == pytest.approx(0.55)
    assert limits.clear_stranger == pytest.approx(0.625)


def test_where_people_can_hardly_be_told_apart_a_stranger_is_further_than_anybody_from_himself():
    limits = known(np.linspace(0, 0.6, 101), np.linspace(0, 1.0, 101))
    assert limits.stranger == limits.clear_stranger == limits.ordinary == pytest.approx(0.57)


def test_what_lies_long_ago_is_forgotten():
    limits = known([0.9] * REMEMBERED + [0.1] * REMEMBERED, [0.2] * REMEMBERED + [0.8] * REMEMBERED)
    assert limits.ordinary == pytest.approx(0.1)
    assert limits.stranger == pytest.approx(0.8)
