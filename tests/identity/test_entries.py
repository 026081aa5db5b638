"""Who begins in the middle of the picture came in behind somebody."""

import numpy as np
import pytest

from pipeline.identity.entries import came_in_with
from pipeline.identity.places import TrackPlaces
from pipeline.identity.state import TrackState
from pipeline.types import TrackKey

SIZE_PX = (640, 360)


@pytest.fixture
def places():
    return TrackPlaces({})


def walk(places, number, first_s, last_s, start_x, speed_px_s, size_px=SIZE_PX):
    """A box of 30 × 80 px that walks along; a place every 0.2 s."""
    times_s = np.arange(first_s, last_s + 1e-6, 0.2)
    x = start_x + speed_px_s * (times_s - first_s)
    boxes = np.stack([x, np.full_like(x, 200), x + 30, np.full_like(x, 280)], axis=1).astype(np.float32)
    key = TrackKey("door", "1", number)
    places.add(key, times_s, boxes, size_px)
    return TrackState(key, first_s, last_s)


def test_who_steps_out_from_behind_somebody_came_in_with_them(places):
    host = walk(places, 1, 10.0, 16.0, 0.0, 60.0)
    hidden = walk(places, 2, 15.0, 16.0, 290.0, 60.0)
    assert came_in_with(hidden, [host, hidden], places) == 10.0


def test_the_later_of_two_is_the_one_they_came_in_with(places):
    first, second = walk(places, 1, 10.0, 16.0, 0.0, 60.0), walk(places, 2, 11.0, 16.0, 0.0, 75.0)
    hidden = walk(places, 3, 15.0, 16.0, 295.0, 60.0)
    assert came_in_with(hidden, [first, second], places) == 11.0


def test_nobody_beside_or_nobody_at_all_tells_nothing(places):
    far = walk(places, 1, 10.0, 16.0, 0.0, 20.0)
    alone = walk(places, 2, 15.0, 16.0, 400.0, 0.0)
    assert came_in_with(alone, [far], places) is None
    assert came_in_with(alone, [], places) is None
    assert came_in_with(alone, [alone], places) is None


def test_somebody_near_the_edge_came_in_alone(places):
    host = walk(places, 1, 10.0, 11.4, 0.0, 60.0)
    beside = walk(places, 2, 11.0, 12.0, 70.0, 60.0)  # less than 1.5 heights from the edge
    assert came_in_with(beside, [host], places) is None


def test_somebody_who_did_not_come_in_over_the_edge_brings_nobody_in(places):
    host = walk(places, 1, 10.0, 16.0, 250.0, 10.0)
    assert came_in_with(walk(places, 2, 15.0, 16.0, 305.0, 0.0), [host], places) is None


def test_somebody_seen_last_too_long_before_says_nothing(places):
    host = walk(places, 1, 10.0, 15.0, 0.0, 60.0)
    assert came_in_with(walk(places, 2, 18.0, 19.0, 300.0, 0.0), [host], places) is None


def test_without_places_or_a_pictures_size_nothing_is_known(places):
    unknown = TrackState(TrackKey("door", "1", 9), 15.0, 16.0)
    host = walk(places, 1, 10.0, 16.0, 0.0, 60.0)
    assert came_in_with(unknown, [host], places) is None
    assert came_in_with(walk(places, 2, 15.0, 16.0, 290.0, 60.0, size_px=None), [host], places) is None
