"""The sets of features of tracks and identities, and how far one set is from another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_site import COLOURS, Camera, near

from pipeline.identity.gallery import Feature, Features, MatrixGallery, feature_of, nearest_third
from pipeline.types import TrackKey

RED, BLUE, GREEN = COLOURS[:3]
TRACK = TrackKey("door", "1", 1)


def whole(vector, quality=0.5, at_s=0.0):
    return Feature(vector, np.ones(1, np.float32), quality, at_s)


def in_parts(parts, visibility, quality=0.5, at_s=0.0):
    """What a clip says whose vector is nothing but its parts side by side."""
    parts = np.asarray(parts, np.float32)
    clip = Camera("door").clip(
        1,
        parts.ravel() / np.sqrt(len(parts)),
        0.0,
        at_s,
        quality,
        parts=parts,
        visibility=np.asarray(visibility),
        attention=np.ones((1, len(parts))),
    )
    return feature_of(clip)


def one(*features):
    return Features.of(features)


def kept(*features, owner=TRACK, most=9):
    gallery = MatrixGallery()
    for feature in features:
        gallery.add(owner, feature, most)
    return gallery


# -- features


def test_a_clip_whose_vector_is_its_parts_is_compared_part_by_part():
    both, upper = in_parts([RED, BLUE], [1, 1]), in_parts([RED, GREEN], [1, 0])
    assert both.seen.tolist() == [1, 1] and upper.seen.tolist() == [1, 0]
    assert one(upper).distances(one(both))[0, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_body_that_is_cut_off_is_compared_by_what_both_see():
    person, other = in_parts([RED, BLUE], [1, 1]), in_parts([GREEN, BLUE], [1, 1])
    legs_hidden = in_parts([RED, GREEN], [1, 0])
    assert one(legs_hidden).distances(one(person, other))[0] == pytest.approx([0.0, 1.0], abs=1e-6)


def test_two_that_show_nothing_in_common_are_as_far_apart_as_strangers():
    upper, lower = in_parts([RED, BLUE], [1, 0]), in_parts([RED, BLUE], [0, 1])
    assert one(upper).distances(one(lower))[0, 0] == 1.0


def test_what_is_half_visible_counts_half():
    person, seen = in_parts([RED, BLUE], [1, 1]), in_parts([RED, GREEN], [1, 0.25])
    assert one(seen).distances(one(person))[0, 0] == pytest.approx(1 / 3, abs=1e-6)  # weights 1 and root of 0.25


def test_a_clip_of_one_vector_is_one_whole_whatever_its_parts_say():
    clip = Camera("door").clip(1, RED, 0.0, 2.0, 0.7, visibility=np.zeros(2))
    feature = feature_of(clip)
    assert feature.seen.tolist() == [1.0] and feature.vector.tolist() == RED.tolist()
    assert (feature.quality, feature.at_s) == (0.7, 2.0)


def test_a_clip_of_which_nothing_is_visible_is_compared_as_a_whole():
    assert in_parts([RED, BLUE], [0, 0]).seen.tolist() == [1.0]


def test_a_vector_that_has_the_whole_body_beside_its_parts_is_compared_by_its_parts():
    parts = np.stack([RED, BLUE])
    vector = np.concatenate([RED, RED, BLUE]) / np.sqrt(3)
    clip = Camera("door").clip(1, vector, 0.0, 1.0, parts=parts, visibility=np.ones(2))
    assert feature_of(clip).vector.tolist() == parts.ravel().tolist()


def test_no_features_and_features_of_two_shapes_are_no_set():
    with pytest.raises(ValueError):
        Features.of([])
    with pytest.raises(ValueError):
        Features.of([whole(RED), whole(RED[:8])])


# -- distances of sets


@pytest.mark.parametrize(
    ("distances", "expected"), [([0.3], 0.3), ([0.1, 0.9], 0.1), ([0.1, 0.3, 0.9], 0.1), ([0.1, 0.3, 0.8, 0.9], 0.2)]
)
def test_the_distance_is_the_mean_of_the_nearest_third_of_all_pairs_rounded_up(distances, expected):
    gallery = kept(*(whole(near(RED, d)) for d in distances))
    assert gallery.nearest(one(whole(RED)), [[TRACK]])[0] == pytest.approx(expected, abs=1e-3)


def test_a_group_of_owners_is_one_set_and_empty_owners_add_nothing():
    gallery = kept(whole(near(RED, 0.6)))
    gallery.add(7, whole(near(RED, 0.2)), 9)
    nobody = TrackKey("door", "1", 99)
    found = gallery.nearest(one(whole(RED)), [[TRACK], [7], [7, TRACK], [nobody, 7], [nobody], []])
    assert found.tolist() == pytest.approx([0.6, 0.2, 0.2, 0.2, np.inf, np.inf], abs=1e-3)


def test_no_groups_and_no_features_give_no_distances():
    gallery = kept(whole(RED))
    nothing = gallery.features(TrackKey("door", "1", 99))
    assert len(nothing) == 0 and nothing.vectors.shape == (0, 0)
    assert gallery.nearest(one(whole(RED)), []).shape == (0,)
    assert np.isinf(gallery.nearest(nothing, [[TRACK]])).all()
    assert np.isinf(MatrixGallery().nearest(one(whole(RED)), [[TRACK], [1]])).all()


vectors = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=6).astype(np.float16).astype(np.float32)
)
sets = st.lists(vectors.map(lambda v: (v / np.linalg.norm(v)).astype(np.float16)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(sets, sets)
def test_two_sets_are_as_far_apart_from_either_side(here, there):
    gallery = MatrixGallery()
    for owner, vectors in ((1, here), (2, there)):
        for vector in vectors:
            gallery.add(owner, whole(vector), 9)
    there_from_here = gallery.nearest(gallery.features(1), [[2]])[0]
    assert there_from_here == pytest.approx(gallery.nearest(gallery.features(2), [[1]])[0], abs=1e-6)
    pairs = np.sort(1 - np.stack(here).astype(np.float64) @ np.stack(there).astype(np.float64).T, axis=None)
    assert there_from_here == pytest.approx(pairs[: -(-len(pairs) // 3)].mean(), abs=1e-5)


def test_groups_of_different_sizes_are_told_apart_side_by_side():
    distances = np.array([[0.1, 0.5, 0.2, 0.3], [0.4, 0.6, 0.8, 0.7]], np.float32)
    assert nearest_third(distances, np.array([1, 3])).tolist() == pytest.approx([0.1, 0.25])


# -- keeping


def test_of_two_alike_the_older_one_goes_unless_the_newer_is_clearly_worse():
    for quality, times in ((0.5, [1.0, 2.0]), (0.46, [1.0, 2.0]), (0.4, [0.0, 1.0])):
        features = whole(RED, 0.5, 0.0), whole(BLUE, 0.2, 1.0), whole(near(RED, 0.01), quality, 2.0)
        assert kept(*features, most=2).features(TRACK).at_s.tolist() == times


def test_features_are_kept_in_the_order_in_which_they_came_with_all_they_say():
    features = [in_parts([RED, GREEN], [1, 0.5], 0.3, 4.0), in_parts([BLUE, GREEN], [0, 1], 0.6, 5.0)]
    found = kept(*features).features(TRACK)
    assert found.at_s.tolist() == [4.0, 5.0] and found.qualities.tolist() == pytest.approx([0.3, 0.6])
    for index, feature in enumerate(features):
        assert found.feature(index).vector == pytest.approx(feature.vector, abs=1e-3)
        assert found.feature(index).seen == pytest.approx(feature.seen, abs=1e-3)


def test_room_of_removed_features_is_used_again_and_holds_nothing_of_them():
    gallery = MatrixGallery()
    for owner in range(2000):
        gallery.add(owner, whole(COLOURS[owner % 16]), 3)
        if owner >= 10:
            gallery.remove(owner - 10)
    assert len(gallery) == 10 and gallery.nbytes == 256 * (16 + 1) * 2
    found = gallery.nearest(one(whole(COLOURS[15])), [[1999], [1998], [5]])
    assert found.tolist() == [0.0, 1.0, np.inf]


def test_more_features_than_there_is_room_for_make_more_room():
    gallery = MatrixGallery()
    for owner in range(600):
        gallery.add(owner, whole(near(RED, owner / 1000, towards=1 + owner % 15)), 3)
    assert len(gallery) == 600
    found = gallery.nearest(one(whole(RED)), [[owner] for owner in range(600)])
    assert found.tolist() == pytest.approx([owner / 1000 for owner in range(600)], abs=2e-3)


def test_moved_features_are_the_new_owners_beside_its_own():
    gallery = kept(whole(RED, at_s=1.0), whole(GREEN, at_s=2.0))
    gallery.add(7, whole(BLUE, at_s=0.0), 9)
    gallery.move(TRACK, 7, 9)
    assert gallery.count(TRACK) == 0 and gallery.features(7).at_s.tolist() == [0.0, 1.0, 2.0]
    assert gallery.nearest(one(whole(GREEN)), [[7], [TRACK]]).tolist() == [0.0, np.inf]
    gallery.move(TRACK, 7, 9)  # nothing more to move
    assert gallery.count(7) == 3


def test_who_gets_more_features_than_he_may_keep_loses_those_that_say_least():
    gallery = kept(whole(RED, at_s=0.0), whole(BLUE, at_s=1.0), owner=7)
    for at_s, colour in ((2.0, near(RED, 0.02)), (3.0, GREEN)):
        gallery.add(TRACK, whole(colour, at_s=at_s), 9)
    gallery.move(TRACK, 7, 3)
    assert gallery.features(7).at_s.tolist() == [1.0, 2.0, 3.0] and len(gallery) == 3


def test_old_features_go_and_the_oldest_one_is_known():
    gallery = kept(whole(RED, at_s=10.0), whole(BLUE, at_s=30.0), whole(GREEN, at_s=20.0))
    assert gallery.oldest_s(TRACK) == 10.0
    assert gallery.forget_before(TRACK, 20.0) == 2, "what is as old as that stays"
    assert gallery.features(TRACK).at_s.tolist() == [30.0, 20.0] and gallery.oldest_s(TRACK) == 20.0
    assert gallery.forget_before(TRACK, 99.0) == 0 and gallery.oldest_s(TRACK) == np.inf
    assert gallery.forget_before(TRACK, 99.0) == 0 and len(gallery) == 0


def test_features_of_two_models_lie_side_by_side_whatever_their_widths():
    gallery, short = MatrixGallery(), np.eye(4, dtype=np.float32)
    gallery.add(1, whole(short[0]), 3)
    gallery.add(2, in_parts([RED, BLUE], [1, 0.5]), 3)
    gallery.add(3, whole(short[1]), 3)
    assert gallery.nearest(one(whole(short[0])), [[1], [3]]).tolist() == [0.0, 1.0]
    assert gallery.nearest(one(in_parts([RED, BLUE], [1, 1])), [[2]])[0] == pytest.approx(0.0, abs=1e-3)
    gallery.remove(2)
    gallery.add(4, whole(short[2]), 3)  # in the wider one's place
    assert gallery.nearest(one(whole(short[2])), [[4]])[0] == 0.0
    assert gallery.features(4).vectors.shape == (1, 4) and gallery.features(4).seen.shape == (1, 1)
