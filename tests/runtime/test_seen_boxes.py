"""The boxes of each track since its last clip."""

import numpy as np
import pytest

from pipeline.runtime.seen_boxes import SeenBoxes
from pipeline.types import Tracks


def seen(until_s, dt_s=0.1, track_id=1):
    boxes = SeenBoxes()
    for i in range(round(until_s / dt_s) + 1):
        box = np.array([[10 * i, 0, 10 * i + 40, 100]], np.float32)
        boxes.add(i * dt_s, Tracks(np.array([track_id]), box, np.array([0.9])))
    return boxes


def test_boxes_are_thinned_and_given_once():
    boxes = seen(1.0)
    times, xyxy = boxes.take(1)
    assert times.tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert xyxy[:, 0].tolist() == [0, 20, 40, 60, 80, 100]
    times, xyxy = boxes.take(1)
    assert times.shape == (0,) and xyxy.shape == (0, 4)


def test_what_may_not_be_told_yet_stays():
    boxes = seen(1.0)
    assert boxes.take(1, 0.5)[0].tolist() == pytest.approx([0.0, 0.2, 0.4])
    assert boxes.take(1)[0].tolist() == pytest.approx([0.6, 0.8, 1.0])


def test_a_split_track_gives_its_later_boxes_to_the_new_one():
    boxes = seen(1.0)
    boxes.split(1, 2, after_s=0.5)
    box = Tracks(np.array([2]), np.array([[0, 0, 40, 100]], np.float32), np.array([0.9]))
    boxes.add(1.1, box)  # too soon after the box at 1.0
    assert boxes.take(1)[0].tolist() == pytest.approx([0.0, 0.2, 0.4])
    assert boxes.take(2)[0].tolist() == pytest.approx([0.6, 0.8, 1.0])


def test_an_unknown_track_can_be_taken_split_and_forgotten():
    boxes = SeenBoxes()
    boxes.split(1, 2, after_s=0.0)
    boxes.forget(1)
    assert len(boxes.take(2)[0]) == 0


def test_a_forgotten_track_leaves_nothing():
    boxes = seen(1.0)
    boxes.forget(1)
    assert len(boxes.take(1)[0]) == 0
