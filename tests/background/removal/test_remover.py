import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from walking import GREEN, HEIGHT_PX, RED, WIDTH_PX, Person, empty_room, frame_of, iou, known_plate, scores, walk

from pipeline.background.removal.remover import COAST_S, BackgroundRemover
from pipeline.background.removal.renewal import ByPolling
from pipeline.background.removal.tracks import Reference, Seen


def test_people_who_walk_freely_are_cut_out_in_every_frame() -> None:
    remover = BackgroundRemover(plate=known_plate())
    found = [scores(remover.add(frame, seen), masks) for frame, seen, masks in walk((RED, GREEN), 20, (6, -5))]
    assert np.mean(found) >= 0.93 and np.min(found) >= 0.85, np.array(found)


def test_masks_hold_while_the_light_changes() -> None:
    remover = BackgroundRemover(plate=known_plate())
    found = [scores(remover.add(frame, seen), masks) for frame, seen, masks in walk((RED,), 20, (6,), light=0.75)]
    assert np.mean(found) >= 0.9, np.array(found)


def test_people_who_pass_each_other_share_no_pixel_and_keep_their_own() -> None:
    remover = BackgroundRemover(plate=known_plate())
    near, far = replace(RED, x_px=100), replace(GREEN, x_px=320)
    found = []
    for frame, seen, masks in walk((near, far), 30, (8, -4)):
        cut = remover.add(frame, seen)
        assert not (cut.mask({1}) & cut.mask({2})).any()
        found.append(scores(cut, masks))
    assert np.mean(found) >= 0.85, np.array(found)


def test_without_a_plate_the_surroundings_must_do() -> None:
    remover = BackgroundRemover()
    (frame, seen, masks), *_ = walk((RED,), 1, (0,))
    whole = np.array([[0, 0, WIDTH_PX, HEIGHT_PX]], np.float32)
    assert iou(remover.add(frame, seen).mask(), masks[0]) > 0.5
    remover = BackgroundRemover()  # a box as large as the picture leaves no surroundings either
    assert remover.add(frame, [Seen(1, whole[0])]).mask().shape == (HEIGHT_PX, WIDTH_PX)


def test_nobody_gives_an_empty_mask_and_the_plate_goes_on_learning() -> None:
    remover = BackgroundRemover()
    cut = remover.add(frame_of(empty_room(), 0.0), [])
    assert not cut.mask().any() and cut.cutouts == {} and cut.missing == () and remover.model.coverage == 1.0


@pytest.mark.parametrize(
    "box", [[700, 10, 800, 200], [100, 100, 100, 200], [200, 100, 100, 50], [100, 100, 104, 106], [-60, -80, 2, 3]]
)
def test_a_box_that_holds_nobody_is_missing_and_harmless(box: list[float]) -> None:
    remover = BackgroundRemover(plate=known_plate())
    cut = remover.add(frame_of(empty_room()), [Seen(3, np.array(box, np.float32))])
    assert cut.missing == (3,) and not cut.mask().any()


def test_a_box_around_an_empty_place_cuts_out_next_to_nothing() -> None:
    remover = BackgroundRemover(plate=known_plate())
    cut = remover.add(frame_of(empty_room()), [Seen(3, np.array([200, 80, 280, 300], np.float32))])
    assert cut.mask().mean() < 0.002


def test_a_mask_outlives_a_few_missed_boxes_and_then_ends() -> None:
    remover = BackgroundRemover(plate=known_plate())
    steps = list(walk((RED,), 16, (6,)))
    for frame, seen, _ in steps[:8]:
        remover.add(frame, seen)
    missed = [scores(remover.add(frame, []), masks)[0] for frame, _, masks in steps[8:16]]
    kept = round(COAST_S * 10)
    assert min(missed[: kept - 1]) >= 0.85, missed
    assert missed[-1] == 0


def test_the_end_of_a_track_makes_its_mask_stale_at_once() -> None:
    remover = BackgroundRemover(plate=known_plate())
    steps = list(walk((RED,), 3, (6,)))
    for frame, seen, _ in steps[:2]:
        remover.add(frame, seen)
    remover.end(1)
    remover.end(99)  # nobody
    assert not remover.add(steps[2][0], []).mask().any()


def test_without_the_trigger_who_comes_back_is_missing_until_the_next_look() -> None:
    remover = BackgroundRemover(plate=known_plate(), renewal=ByPolling(2.0))
    steps = list(walk((RED,), 35, (4,)))
    for frame, seen, _ in steps[:5]:
        assert remover.add(frame, seen).mask().any()
    remover.end(1)
    back = [Seen(2, one.xyxy, one.identity_id) for one in steps[5][1]]
    cut = remover.add(steps[5][0], back)
    assert cut.missing == (2,) and not cut.mask().any()
    for frame, (one,), _ in steps[6:22]:
        cut = remover.add(frame, [Seen(2, one.xyxy, one.identity_id)])
    assert cut.missing == () and cut.mask().any()


def test_a_new_epoch_begins_with_nobody() -> None:
    remover = BackgroundRemover(plate=known_plate())
    (frame, seen, _), (later, _, _) = walk((RED,), 2, (6,))
    remover.add(frame, seen)
    assert not remover.add(replace(later, epoch="2"), []).mask().any()


def test_two_removers_know_nothing_of_each_other_and_repeat_exactly() -> None:
    steps = list(walk((RED, GREEN), 4, (6, -5)))
    alone = BackgroundRemover(plate=known_plate())
    first = [alone.add(frame, seen).mask() for frame, seen, _ in steps]
    one, other = BackgroundRemover(plate=known_plate()), BackgroundRemover()
    again = []
    for frame, seen, _ in steps:
        other.add(frame, [])
        again.append(one.add(frame, seen).mask())
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_a_reference_teaches_what_its_person_looks_like() -> None:
    steps = list(walk((RED,), 6, (6,)))
    frame, (one,), masks = steps[0]
    labels = masks[0].astype(np.uint8) * 7
    reference = Reference(frame.captured_at_s, frame.image, labels, ((7, tuple(one.xyxy.tolist()), 11),))
    remover = BackgroundRemover()
    assert remover.renew(reference, {1: one.xyxy}, 0.0) == [1]
    found = scores(remover.add(frame, [one]), masks)[0]
    assert found > scores(BackgroundRemover().add(frame, [one]), masks)[0] and found >= 0.8


def test_a_reference_of_somebody_elsewhere_teaches_nobody() -> None:
    frame, (one,), masks = next(walk((RED,), 1, (6,)))
    reference = Reference(0.0, frame.image, masks[0].astype(np.uint8), ((1, (500.0, 10.0, 560.0, 200.0), 11),))
    remover = BackgroundRemover()
    assert remover.renew(reference, {1: one.xyxy}, 0.0) == [] and remover.renew(reference, {}, 0.0) == []


def test_a_tall_person_in_a_large_picture_is_worked_on_small() -> None:
    import cv2

    frame, (one,), masks = next(walk((Person(300, 340, 300, (40, 40, 190), (90, 50, 40)),), 1, (0,)))
    large = cv2.resize(frame.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    plate = cv2.resize(empty_room(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    remover = BackgroundRemover()
    remover.add(frame_of(plate, 0.0), [])
    cut = remover.add(frame_of(large, 1.0, 1), [Seen(1, one.xyxy * 3)])
    whole = cv2.resize(masks[0].astype(np.uint8), (WIDTH_PX * 3, HEIGHT_PX * 3)) > 0
    assert cut.mask().shape == whole.shape and iou(cut.mask(), whole) >= 0.85
