import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import boxes as b

NOTHING = np.zeros((0, 4), np.float32)
COORDINATES = st.floats(-500, 500, width=32)
BOXES = st.integers(0, 5).flatmap(lambda n: arrays(np.float32, (n, 4), elements=COORDINATES))


def box(*xyxy):
    return np.array([xyxy], np.float32)


def test_no_boxes_give_empty_answers():
    one = box(0, 0, 2, 2)
    assert b.box_area(NOTHING).shape == (0,)
    assert b.box_iou(NOTHING, one).shape == (0, 1) and b.box_iou(one, NOTHING).shape == (1, 0)
    assert b.covered_share(NOTHING).shape == b.outside_share(NOTHING, 9, 9).shape == (0,)
    assert b.touches_edge(NOTHING, 9, 9).shape == (0,) and b.clip_boxes(NOTHING, 9, 9).shape == (0, 4)
    assert b.xywh_to_xyxy(NOTHING).shape == b.xyxy_to_xywh(NOTHING).shape == (0, 4)


def test_two_boxes_without_area_score_zero():
    flat, inside_out = box(1, 1, 1, 5), box(5, 5, 1, 1)
    for one in (flat, inside_out):
        assert b.box_area(one)[0] == 0
        assert b.box_iou(one, one)[0, 0] == b.box_iou(one, box(0, 0, 9, 9))[0, 0] == 0


def test_touching_boxes_share_nothing_and_half_overlap_is_a_third():
    assert b.box_iou(box(0, 0, 2, 2), box(2, 0, 4, 2))[0, 0] == 0
    assert b.box_iou(box(0, 0, 2, 2), box(1, 0, 3, 2))[0, 0] == pytest.approx(1 / 3)


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_between_0_and_1(one, other):
    iou = b.box_iou(one, other)
    assert np.isfinite(iou).all() and (iou >= 0).all() and (iou <= 1 + 1e-5).all()
    np.testing.assert_allclose(iou, b.box_iou(other, one).T, rtol=1e-5)


@given(BOXES)
def test_a_box_is_itself(one):
    iou = np.diag(b.box_iou(one, one))
    np.testing.assert_allclose(iou, (b.box_area(one) > 0).astype(np.float32), atol=1e-5)


@given(BOXES)
def test_shares_lie_between_0_and_1(one):
    for share in (b.covered_share(one), b.outside_share(one, 320, 240)):
        assert share.shape == (len(one),) and (share >= 0).all() and (share <= 1 + 1e-5).all()


@given(BOXES)
def test_clipped_boxes_lie_in_the_picture_and_have_nothing_outside(one):
    inside = b.clip_boxes(one, 320, 240)
    assert (inside >= 0).all() and (inside <= [320, 240, 320, 240]).all()
    np.testing.assert_allclose(b.outside_share(inside, 320, 240), np.where(b.box_area(inside) > 0, 0, 1), atol=1e-5)


@given(arrays(np.float32, (3, 4), elements=st.integers(-100, 100).map(float)))
def test_width_and_height_and_back(one):
    np.testing.assert_array_equal(b.xywh_to_xyxy(b.xyxy_to_xywh(one)), one)


def test_a_box_that_another_one_hides_is_wholly_covered_and_not_by_itself():
    small_in_large = np.array([[2, 2, 4, 4], [0, 0, 10, 10]], np.float32)
    assert b.covered_share(small_in_large).tolist() == pytest.approx([1.0, 0.04])
    assert b.covered_share(small_in_large[:1]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("xyxy", "touches"),
    [((10, 10, 20, 20), False), ((2, 10, 20, 20), True), ((10, 10, 98, 20), True), ((10, 10, 97.9, 20), False)],
)
def test_the_edge_is_two_pixels_wide(xyxy, touches):
    assert b.touches_edge(box(*xyxy), 100, 100)[0] == touches


def test_points_in_a_polygon():
    points = np.array([[1, 1], [6, 6], [8, 1], [-1, 1], [4, 4]], np.float32)
    triangle = [(0, 0), (10, 0), (0, 10)]
    assert b.inside_polygon(points, triangle).tolist() == [True, False, True, False, True]
    assert not b.inside_polygon(points, triangle[:2]).any() and not b.inside_polygon(points, []).any()
    assert b.inside_polygon(np.zeros((0, 2), np.float32), triangle).shape == (0,)
