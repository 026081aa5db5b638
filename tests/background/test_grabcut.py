import numpy as np
import pytest
from background_scene import HEIGHT_PX, PEOPLE, WIDTH_PX, Person, draw, frame_of, iou, room

from pipeline.background.background_model import Plate
from pipeline.background.grabcut import GrabCutSegmenter, nearest_first

PLATE = Plate(room(), np.ones((HEIGHT_PX, WIDTH_PX), bool))


def with_plate() -> GrabCutSegmenter:
    return GrabCutSegmenter(lambda camera: PLATE)


@pytest.mark.parametrize("seed", [1, 2])
def test_free_standing_people_are_cut_out_with_a_plate(seed: int) -> None:
    image, truth, boxes = draw(PEOPLE, seed=seed)
    masks = with_plate().segment(frame_of(image), boxes)
    scores = [iou(a, b) for a, b in zip(masks, truth, strict=True)]
    assert np.mean(scores) >= 0.93 and min(scores) >= 0.88, scores


def test_the_box_alone_must_do_without_a_plate() -> None:
    image, truth, boxes = draw(PEOPLE)
    for segmenter in (GrabCutSegmenter(), GrabCutSegmenter(lambda camera: None)):
        masks = segmenter.segment(frame_of(image), boxes)
        assert np.mean([iou(a, b) for a, b in zip(masks, truth, strict=True)]) >= 0.85


def test_boxes_that_are_a_little_off_do(rng_seed: int = 3) -> None:
    image, truth, boxes = draw(PEOPLE)
    off = boxes + np.random.default_rng(rng_seed).normal(0, 4, boxes.shape).astype(np.float32)
    masks = with_plate().segment(frame_of(image), off)
    assert np.mean([iou(a, b) for a, b in zip(masks, truth, strict=True)]) >= 0.9


def test_people_who_overlap_share_no_pixel_and_the_nearer_one_is_whole() -> None:
    near = PEOPLE[0]
    far = Person(near.x_px + 40, near.foot_px - 20, near.height_px, (60, 200, 60), (20, 120, 160))
    image, truth, boxes = draw((far, near))
    masks = with_plate().segment(frame_of(image), boxes)
    assert masks.sum(axis=0).max() == 1
    assert iou(masks[1], truth[1]) >= 0.85 and iou(masks[0], truth[0]) >= 0.75


def test_masks_repeat_exactly_and_do_not_depend_on_what_was_cut_before() -> None:
    image, _, boxes = draw(PEOPLE)
    segmenter = with_plate()
    first = segmenter.segment(frame_of(image), boxes)
    other, _, more = draw(PEOPLE[:1], seed=9)
    segmenter.segment(frame_of(other), more)
    assert (segmenter.segment(frame_of(image), boxes) == first).all()
    assert (with_plate().segment(frame_of(image), boxes) == first).all()


def test_no_boxes_give_no_masks() -> None:
    masks = with_plate().segment(frame_of(room()), np.zeros((0, 4), np.float32))
    assert masks.shape == (0, HEIGHT_PX, WIDTH_PX) and masks.dtype == bool


@pytest.mark.parametrize(
    "box",
    [
        [700, 10, 800, 200],  # outside
        [-50, -50, 0, 0],
        [100, 100, 100, 200],  # without area
        [200, 100, 100, 50],  # inside out
        [100, 100, 104, 106],  # too small
    ],
)
def test_boxes_that_hold_nobody_give_empty_masks(box: list[float]) -> None:
    masks = with_plate().segment(frame_of(room()), np.array([box], np.float32))
    assert not masks.any()


@pytest.mark.parametrize("box", [[-30, -20, 90, 200], [560, 200, 700, 420], [0, 0, WIDTH_PX, HEIGHT_PX]])
def test_boxes_over_the_edge_work(box: list[float]) -> None:
    for segmenter in (with_plate(), GrabCutSegmenter()):
        assert segmenter.segment(frame_of(room()), np.array([box], np.float32)).shape == (1, HEIGHT_PX, WIDTH_PX)


def test_somebody_cut_by_the_edge_is_cut_out() -> None:
    image, truth, boxes = draw((Person(5, 340, 220, (40, 40, 190), (90, 50, 40)),))
    assert iou(with_plate().segment(frame_of(image), boxes)[0], truth[0]) >= 0.8


def test_a_tall_person_in_a_large_picture_is_worked_on_small(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    sizes = []
    real = cv2.grabCut
    monkeypatch.setattr(cv2, "grabCut", lambda image, *more: sizes.append(image.shape) or real(image, *more))
    image, truth, boxes = draw(PEOPLE[:1])
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    whole = cv2.resize(truth[0].astype(np.uint8), (WIDTH_PX * 4, HEIGHT_PX * 4)) > 0
    masks = with_plate().segment(frame_of(large), boxes * 4)
    assert not sizes and masks.shape[1:] == whole.shape and iou(masks[0], whole) >= 0.88
    masks = GrabCutSegmenter().segment(frame_of(large), boxes * 4)
    assert max(h for h, _, _ in sizes) <= 320 and iou(masks[0], whole) >= 0.8


def test_light_that_has_changed_since_the_plate_does_no_harm() -> None:
    image, truth, boxes = draw(PEOPLE)
    dark = (image * 0.75).astype(np.uint8)
    holes = np.ones((HEIGHT_PX, WIDTH_PX), bool)
    holes[200:260, 480:520] = False  # behind the third person: GrabCut's way
    for seen in (PLATE.seen, holes):
        masks = GrabCutSegmenter(lambda camera, seen=seen: Plate(PLATE.image, seen)).segment(frame_of(dark), boxes)
        assert np.mean([iou(a, b) for a, b in zip(masks, truth, strict=True)]) >= 0.88


def test_a_plate_of_another_size_and_with_holes_is_fitted() -> None:
    seen = np.ones((HEIGHT_PX // 2, WIDTH_PX // 2), bool)
    seen[:, 100:200] = False
    plate = Plate(np.ascontiguousarray(room()[::2, ::2]), seen)
    image, truth, boxes = draw(PEOPLE)
    masks = GrabCutSegmenter(lambda camera: plate).segment(frame_of(image), boxes)
    assert np.mean([iou(a, b) for a, b in zip(masks, truth, strict=True)]) >= 0.88


def test_the_lower_foot_point_is_nearer() -> None:
    boxes = np.array([[5, 0, 9, 10], [1, 0, 3, 20], [0, 0, 2, 10]], np.float32)
    assert nearest_first(boxes).tolist() == [1, 2, 0]
    assert nearest_first(boxes[:0]).tolist() == []
