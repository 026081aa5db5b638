from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_examples import ENCODER, Site, first_people, make_site, plain_start, without_pairs

from pipeline.types import TrackKey
from reid.adaptation.links import different_distances, link_limit, link_people, person_vectors, renumbered
from reid.adaptation.material import Material, TrackCrops


def stub_tracks(count):
    return tuple(
        TrackCrops(TrackKey("door", "1", i), np.array([float(i)]), np.ones((1, 1, 2), np.float32),
                   np.ones((1, 1), np.float32), np.ones(1, np.float32))
        for i in range(count)
    )  # fmt: skip


def unit(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def link(angles, apart, limit=2.0):
    material = Material(stub_tracks(len(angles)), np.arange(len(angles)), frozenset(apart))
    return link_people(material, material.people, unit(np.array(angles)), limit)


def test_two_who_are_each_others_nearest_become_one_with_the_lower_number():
    found = link([0.0, 1.5, 0.1], [])
    assert found.material.person_of.tolist() == [0, 1, 0]
    assert found.joined == 1


def test_nobody_is_joined_at_or_above_the_limit():
    assert link([0.0, np.pi / 2], [], limit=1.0).joined == 0
    assert link([0.0, np.pi / 2], [], limit=1.01).joined == 1
    assert link([0.0, 0.0], [], limit=0.0).joined == 0


def test_two_who_are_apart_are_never_joined_however_alike():
    assert link([0.0, 0.0], [(0, 1)]).joined == 0


def test_who_is_apart_from_one_is_apart_from_all_he_was_joined_with():
    found = link([0.0, 1.5, 0.1, 3.0], [(1, 2)])
    assert found.material.person_of.tolist()[:3] == [0, 1, 0]
    assert (0, 1) in found.material.apart


def test_nobody_alone_or_nobody_at_all_gives_the_material_as_it_was():
    for angles in ([], [0.3]):
        found = link(angles, [])
        assert found.joined == 0
        assert len(found.material.tracks) == len(angles)


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_no_round_of_links_contradicts_what_is_certain_even_in_a_roundabout_way(count, seed, density):
    rng = np.random.default_rng(seed)
    apart = {pair for pair in combinations(range(count), 2) if rng.random() < density}
    material = Material(stub_tracks(count), np.arange(count), frozenset(apart))
    vectors = unit(rng.random(count) * 0.5)
    for _ in range(4):  # rounds
        people = material.people
        centres = np.stack([vectors[material.person_of == p].mean(axis=0) for p in people])
        found = link_people(material, people, centres, 2.0)
        assert len(found.material.people) == len(people) - found.joined
        material = found.material
        for a, b in apart:
            one, other = int(material.person_of[a]), int(material.person_of[b])
            assert one != other
            assert material.are_apart(one, other)


def test_numbers_that_would_join_two_who_are_apart_are_refused():
    material = Material(stub_tracks(3), np.arange(3), frozenset({(0, 2)}))
    with pytest.raises(ValueError, match="apart"):
        renumbered(material, {1: 0, 2: 0})


def test_the_limit_lies_below_all_but_one_in_a_hundred_different_pairs_and_is_zero_for_too_few():
    rng = np.random.default_rng(0)
    different = rng.random(1000)
    assert (different < link_limit(different)).mean() <= 0.01
    assert link_limit(different[:50]) == different[:50].min()
    assert link_limit(different[:19]) == 0.0
    assert link_limit(np.zeros(0)) == 0.0


def test_vectors_of_people_are_unit_and_in_the_order_of_their_numbers():
    material = make_site(Site(people=4))
    numbers, vectors = person_vectors(material, ENCODER, plain_start())
    assert numbers.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(different_distances(numbers, vectors, material.apart)) == 6
    assert len(different_distances(numbers, vectors, without_pairs(material).apart)) == 0


def test_nobody_has_no_vector():
    numbers, vectors = person_vectors(first_people(make_site(), 0), ENCODER, plain_start())
    assert (len(numbers), len(vectors)) == (0, 0)


def test_visits_of_the_same_people_find_each_other():
    material = make_site(Site(people=6, visits=2, disturbance=0.1), together=6)
    numbers, vectors = person_vectors(material, ENCODER, plain_start())
    found = link_people(material, numbers, vectors, link_limit(different_distances(numbers, vectors, material.apart)))
    assert found.joined == 6
    np.testing.assert_array_equal(found.material.person_of, np.tile(np.arange(6), 2))
