import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from walking import empty_room, frame_of, known_plate

from pipeline.background.removal.compositing import GREEN, alpha, on_green, removed, with_alpha
from pipeline.background.removal.lit_plate import light_of
from pipeline.background.removal.tracks import CutFrame, Cutout

NOBODY = np.zeros((0, 4), np.float32)


def two_people(plate: bool = True) -> CutFrame:
    """Two squares of paint before the room: track 1 to the left, track 2 to the right."""
    image = empty_room().copy()
    image[100:200, 100:160] = (0, 0, 255)
    image[100:200, 400:460] = (255, 0, 0)
    square = np.zeros((140, 100), bool)
    square[20:120, 20:80] = True
    known = known_plate().plate()
    assert known is not None
    boxes = np.array([[100, 100, 160, 200], [400, 100, 460, 200]], np.float32)
    cutouts = {1: Cutout((80, 80, 180, 220), square, boxes[0]), 2: Cutout((380, 80, 480, 220), square, boxes[1])}
    return CutFrame(frame_of(image), cutouts, (), light_of(image, known, boxes) if plate else None)


def test_green_is_everywhere_but_in_the_chosen_masks() -> None:
    picture = on_green(two_people(), {1})
    assert picture[150, 130].tolist() == [0, 0, 255] and picture[150, 430].tolist() == list(GREEN)
    assert (on_green(two_people())[150, 430] == (255, 0, 0)).all()
    assert (on_green(two_people(), set()) == GREEN).all()


def test_alpha_is_whole_inside_soft_at_the_outline_and_nothing_outside() -> None:
    picture = with_alpha(two_people(), {2})
    assert picture.shape[2] == 4 and picture[150, 430].tolist() == [255, 0, 0, 255]
    assert picture[150, 130].tolist() == [0, 0, 0, 0]
    outline = picture[150, 395:405, 3]
    assert outline[0] == 0 and outline[-1] == 255 and ((outline > 0) & (outline < 255)).any()


def test_removed_people_leave_the_background_and_others_stay() -> None:
    picture = removed(two_people(), {1})
    assert np.abs(picture[95:205, 95:165].astype(int) - empty_room()[95:205, 95:165]).mean() < 3
    assert picture[150, 430].tolist() == [255, 0, 0]
    empty = removed(two_people())
    assert np.abs(empty.astype(int) - empty_room()).mean() < 3


def test_without_a_plate_nobody_can_be_removed() -> None:
    cut = two_people(plate=False)
    assert (removed(cut) == cut.frame.image).all()


def test_the_plate_is_shown_in_the_light_of_the_frame() -> None:
    plate = known_plate().plate()
    assert plate is not None
    dark = (empty_room() * 0.7).astype(np.uint8)
    lit = light_of(dark, plate, NOBODY)
    assert np.abs(lit.whole() - dark).mean() < 3 and np.abs(plate.image.astype(int) - dark).mean() > 20


def test_a_mask_without_pixels_has_no_alpha() -> None:
    assert not alpha(np.zeros((4, 5), bool)).any()


def test_the_shadow_at_the_feet_goes_with_the_person() -> None:
    cut = two_people()
    cut.frame.image[198:204, 90:170] //= 2  # a shadow a little wider than the person
    picture = removed(cut, {1})
    assert np.abs(picture[200:204, 92:168].astype(int) - empty_room()[200:204, 92:168]).mean() < 6
