import numpy as np
import pytest
from identity_site import COLOURS, near

from pipeline.identity.gallery import MatrixGallery


def test_the_distance_is_the_mean_of_the_two_smallest():
    gallery = MatrixGallery(5)
    for distance in (0.1, 0.3, 0.9):
        gallery.add(1, near(COLOURS[0], distance), 0.5, 0.0)
    assert gallery.nearest(COLOURS[:1], [1])[0, 0] == pytest.approx(0.2, abs=1e-3)


def test_one_feature_is_its_own_distance_and_equal_ones_count_twice():
    gallery = MatrixGallery(5)
    gallery.add(1, near(COLOURS[0], 0.3), 0.5, 0.0)
    assert gallery.nearest(COLOURS[:1], [1])[0, 0] == pytest.approx(0.3, abs=1e-3)
    gallery.add(1, near(COLOURS[0], 0.3), 0.5, 0.0)
    gallery.add(1, COLOURS[5], 0.5, 0.0)
    assert gallery.nearest(COLOURS[:1], [1])[0, 0] == pytest.approx(0.3, abs=1e-3)


def test_nobody_and_nothing_are_answered():
    gallery = MatrixGallery(5)
    assert gallery.nearest(COLOURS[:2], []).shape == (2, 0)
    assert np.isinf(gallery.nearest(COLOURS[:2], [7])).all()
    gallery.add(1, COLOURS[0], 0.5, 0.0)
    assert gallery.nearest(COLOURS[:0], [1]).shape == (0, 1)
    assert gallery.features(7) == ()


def test_of_the_two_most_alike_the_worse_one_goes():
    gallery = MatrixGallery(2)
    gallery.add(1, COLOURS[0], 0.9, 0.0)
    gallery.add(1, COLOURS[1], 0.2, 0.0)
    gallery.add(1, near(COLOURS[0], 0.01), 0.5, 0.0)
    assert sorted(f.quality for f in gallery.features(1)) == [0.2, 0.9]


def test_room_of_removed_features_is_used_again():
    gallery = MatrixGallery(3)
    for identity_id in range(2000):
        gallery.add(identity_id, COLOURS[identity_id % 16], 0.5, 0.0)
        if identity_id >= 10:
            gallery.remove(identity_id - 10)
    assert len(gallery._rows) == 256
    assert gallery.nearest(COLOURS[15:], [1999])[0, 0] == pytest.approx(0.0)
    assert np.isinf(gallery.nearest(COLOURS[:1], [5])[0, 0])


def test_old_features_go_and_identities_without_any_are_named():
    gallery = MatrixGallery(3)
    gallery.add(1, COLOURS[0], 0.5, 10.0)
    gallery.add(2, COLOURS[1], 0.5, 10.0)
    gallery.add(2, COLOURS[2], 0.5, 20.0)
    assert gallery.forget_before(20.0) == [1]
    assert [f.at_s for f in gallery.features(2)] == [20.0] and gallery.features(1) == ()


def test_features_of_another_model_may_have_another_length():
    gallery = MatrixGallery(3)
    short = np.eye(4, dtype=np.float32)
    gallery.add(1, short[0], 0.5, 0.0)
    gallery.add(2, COLOURS[0], 0.5, 0.0)
    gallery.add(3, short[1], 0.5, 0.0)
    assert gallery.nearest(short[:1], [1, 3])[0].tolist() == [0.0, 1.0]
    assert gallery.nearest(COLOURS[:1], [2])[0, 0] == 0.0
    gallery.remove(2)
    gallery.add(4, short[2], 0.5, 0.0)  # in the longer one's place
    assert gallery.nearest(short[2:3], [4])[0, 0] == 0.0
