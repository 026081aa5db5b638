import numpy as np
import pytest

from pipeline.tracking.departure import edge_margin_px, left_picture

SIZE = (640, 360)
MIDDLE = (300.0, 100.0, 340.0, 220.0)


def gone(box, velocity=(0.0, 0.0), seen_s=0.0, exits=()):
    box = np.array([box], np.float32)
    mean = np.zeros((1, 4, 2))
    mean[0, :, 0] = [(box[0, 0] + box[0, 2]) / 2, (box[0, 1] + box[0, 3]) / 2, *(box[0, 2:] - box[0, :2])]
    mean[0, :2, 1] = velocity
    mean[..., 0] -= mean[..., 1] * seen_s  # the state is the one at time 0, the box was seen before
    return bool(left_picture(box, mean, np.array([seen_s]), SIZE, exits)[0])


def test_standing_in_the_middle_is_hidden_not_gone():
    assert not gone(MIDDLE)


@pytest.mark.parametrize("box", [(1, 100, 41, 220), (598, 100, 638, 220), (300, 1, 340, 120), (300, 240, 340, 359)])
def test_a_box_at_any_edge_has_left(box):
    assert gone(box)


def test_a_box_just_beside_the_margin_has_not_left():
    margin = edge_margin_px(SIZE)
    assert not gone((margin + 1, 100, margin + 41, 220))


def test_a_path_that_soon_leads_out_has_left():
    assert gone((540, 100, 580, 220), velocity=(100, 0))
    assert not gone((540, 100, 580, 220), velocity=(-100, 0))
    assert not gone(MIDDLE, velocity=(100, 0))


def test_the_path_is_judged_from_the_last_sighting_not_from_the_time_it_was_given_up():
    assert not gone((400, 100, 440, 220), velocity=(100, 0), seen_s=-2.0)  # at 500 after a second, at 600 after two


def test_feet_in_an_exit_polygon_have_left():
    door = [(280, 200), (360, 200), (360, 240), (280, 240)]
    assert gone(MIDDLE, exits=[door])
    assert not gone(MIDDLE, exits=[[(0, 0), (100, 0), (100, 100)]])
    assert not gone(MIDDLE, exits=[[(280, 200), (360, 200)]])  # two corners hold nothing


def test_nobody_gone_gives_nothing():
    nobody = left_picture(
        np.zeros((0, 4), np.float32), np.zeros((0, 4, 2)), np.zeros(0), SIZE, [[(0, 0), (9, 0), (9, 9)]]
    )
    assert nobody.shape == (0,)
