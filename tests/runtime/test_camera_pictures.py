"""What pictures a camera keeps: of whom, and never a stale one."""

import numpy as np
import pytest

from pipeline.runtime.camera import PictureKeeping
from pipeline.types import Frame, Tracks

RNG = np.random.default_rng(0)
BACKGROUND = RNG.integers(60, 200, (180, 320, 3), np.uint8)
TRACKS = Tracks(np.array([1]), np.array([[100, 20, 150, 160]], np.float32), np.array([0.9], np.float32))


def frame(step, noise=True, damaged=False):
    """Ten a second; a sensor's noise makes every picture another one."""
    image = BACKGROUND.copy()
    if noise:
        image = np.clip(image + np.random.default_rng(step).integers(-2, 3, image.shape), 0, 255).astype(np.uint8)
    return Frame("door", "1", step, step / 10, image, damaged)


@pytest.fixture
def keeping(tmp_path):
    return PictureKeeping(tmp_path, "door", "here")


def test_a_picture_is_kept_from_the_birth_on(keeping):
    keeping.observe(frame(0), TRACKS)
    assert keeping.pointer(1).captured_at_s == 0.0
    assert keeping.pointer(1, until_s=-1.0) is None and keeping.pointer(2) is None


def test_nothing_is_kept_of_a_camera_that_repeats_one_picture(keeping):
    nobody = Tracks.empty()
    keeping.observe(frame(0), nobody)
    for step in range(1, 30):  # frozen before somebody is "seen" in it
        keeping.observe(frame(step, noise=False), TRACKS if step > 8 else nobody)
    assert keeping.pointer(1) is None and keeping.frozen_frames == 29 - 5
    keeping.observe(frame(30), TRACKS)
    assert keeping.pointer(1).captured_at_s == 3.0


def test_two_equal_pictures_in_a_row_are_no_freeze(keeping):
    keeping.observe(frame(0, noise=False), Tracks.empty())
    keeping.observe(frame(1, noise=False), TRACKS)
    assert keeping.pointer(1).captured_at_s == 0.1 and keeping.frozen_frames == 0


def test_nothing_is_kept_of_a_damaged_picture(keeping):
    keeping.observe(frame(0, damaged=True), TRACKS)
    assert keeping.pointer(1) is None
    keeping.observe(frame(1), TRACKS)
    assert keeping.pointer(1).captured_at_s == 0.1


def test_a_sharp_picture_takes_the_place_of_a_blurred_one(keeping):
    flat = Frame("door", "1", 0, 0.0, np.full((180, 320, 3), 120, np.uint8))
    keeping.observe(flat, TRACKS)
    for step in (2, 4):
        keeping.observe(frame(step), TRACKS)
    assert keeping.pointer(1).captured_at_s == 0.2


def test_a_whole_person_takes_the_place_of_one_whom_the_edge_cuts_off(keeping):
    at_edge = Tracks(np.array([1]), np.array([[0, 20, 30, 160]], np.float32), np.array([0.9], np.float32))
    keeping.observe(frame(0), at_edge)
    keeping.observe(frame(1), at_edge)
    keeping.observe(frame(3), TRACKS)
    assert keeping.pointer(1).captured_at_s == 0.3
