"""What the figures of background removal are counted from."""

import numpy as np
import pytest
from background.footage import Shot, empty_pictures, shots
from background.masks import kinds_of, mask_iou, score_masks
from background.returns import StayBook, missing

from pipeline.scenes.scene import GroundTruth
from pipeline.scenes.walks import demo_scenario
from pipeline.types import Frame


def truth(*people: tuple[int, list[float], float]) -> GroundTruth:
    """(person, box, visibility) rows; labels are the boxes, the last one on top."""
    labels = np.zeros((100, 200), np.uint8)
    for person_id, (x1, y1, x2, y2), _ in people:
        labels[int(y1) : int(y2), int(x1) : int(x2)] = person_id
    ids, boxes, visible = zip(*people, strict=True) if people else ((), (), ())
    return GroundTruth(
        np.array(ids, np.int64), np.array(boxes, np.float32).reshape(-1, 4), np.array(visible, np.float32), labels
    )


def shot(at_s: float, *people: tuple[int, list[float], float]) -> Shot:
    frame = Frame("door", "1", round(at_s * 10), at_s, np.zeros((100, 200, 3), np.uint8))
    return Shot(frame, truth(*people), (), {})


BOX = [20.0, 20.0, 50.0, 80.0]


def test_people_are_sorted_by_what_hides_them() -> None:
    beside = [45.0, 15.0, 80.0, 75.0]
    assert kinds_of(truth((1, BOX, 1.0))) == ["free"]
    assert kinds_of(truth((1, BOX, 0.7), (2, beside, 1.0))) == ["overlapped", "in front"]
    assert kinds_of(truth((1, BOX, 0.3), (2, beside, 0.9))) == ["hidden", "other"]
    assert kinds_of(truth((1, [0.0, 20.0, 30.0, 80.0], 1.0))) == ["at the edge"]
    assert kinds_of(truth()) == []


def test_iou_of_nothing_with_nothing_is_whole() -> None:
    nothing, one = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert mask_iou(nothing, nothing) == 1.0 and mask_iou(nothing, one) == 0.0 and mask_iou(one, one) == 1.0


def test_a_return_is_missing_until_its_first_mask() -> None:
    book = StayBook()
    whole = {1: truth((1, BOX, 1.0)).mask(1)}
    for k in range(10):
        book.take(shot(k / 10, (1, BOX, 1.0)), whole)
    for k in range(20):  # back after 9 s, without a mask for 0.7 s
        book.take(shot(10 + k / 10, (1, BOX, 1.0)), whole if k >= 7 else {})
    figures = missing(book.stays, 10.0)
    assert figures.returns == 1 and figures.never == 0
    assert figures.mean_s == pytest.approx(0.7) and figures.mean_iou == pytest.approx(13 / 20)


def test_a_short_absence_is_no_return_and_a_mask_that_never_comes_is_counted() -> None:
    book = StayBook()
    for at_s in [*np.arange(0, 2, 0.1), *np.arange(4, 6, 0.1)]:
        book.take(shot(at_s, (1, BOX, 1.0)), {})
    assert missing(book.stays, 10.0).returns == 0
    for at_s in np.arange(20, 22, 0.1):
        book.take(shot(at_s, (1, BOX, 1.0), (2, [100.0, 10.0, 120.0, 60.0], 0.1)), {})
    figures = missing(book.stays, 10.0)
    assert figures.returns == 1 and figures.never == 1 and figures.mean_s == pytest.approx(2.0)
    assert len(book.stays) == 2  # the person of whom next to nothing shows was never there


def test_masks_are_scored_against_the_person_whose_track_they_are() -> None:
    one = shot(0.0, (3, BOX, 1.0))
    scores, _, frames = score_masks(
        lambda s: {7: s.truth.mask(3), 8: s.truth.mask(3)}, [Shot(one.frame, one.truth, (), {7: 0})]
    )
    assert dict(scores) == {"free": [1.0]} and frames == 1


def test_empty_pictures_are_the_scene_without_people_and_noise() -> None:
    scenario = demo_scenario()
    pair = zip(shots(scenario, "lobby"), empty_pictures(scenario, "lobby"), strict=False)
    for number, (seen, empty) in enumerate(pair):
        free = seen.truth.labels == 0
        assert np.abs(seen.frame.image[free].astype(int) - empty[free]).mean() < 4
        if number == 12:
            break
