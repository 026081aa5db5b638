import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import OutputError, SourceLost
from pipeline.replay.mistake_pictures import MAX_WIDTH_PX, draw_mistakes, draw_view
from pipeline.scoring.mistakes import MarkedBox, Mistake, View
from pipeline.types import Frame
from pipeline.view.colours import identity_colour

TRUTH = MarkedBox((100, 60, 40, 90), "person 3", True)
RESULT = MarkedBox((104, 62, 40, 90), "#7", False)


def view(frame: int, camera_id: str = "door", boxes: tuple[MarkedBox, ...] = (TRUTH, RESULT)) -> View:
    return View(camera_id, frame, boxes)


def mistake(*views: View) -> Mistake:
    return Mistake("wrong_link", "door", views[0].frame if views else 1, "Person 3 was taken for #7.", 12, views)


class Camera:
    """Grey frames, each as bright as its number, counted as they are read."""

    def __init__(self, count: int = 50, size: tuple[int, int] = (240, 320), breaks_at: int | None = None) -> None:
        self.count, self.size, self.breaks_at = count, size, breaks_at
        self.read: list[str] = []
        self.closed = 0

    def frames(self, camera_id: str) -> Iterator[Frame]:
        try:
            for index in range(self.count):
                if index == self.breaks_at:
                    raise SourceLost("the file ends early")
                self.read.append(camera_id)
                yield Frame(camera_id, "1", index, index / 10, np.full((*self.size, 3), index, np.uint8))
        finally:
            self.closed += 1


def test_each_view_becomes_a_picture_named_by_its_place_in_the_list(tmp_path: Path) -> None:
    mistakes = [mistake(view(5), view(3, "hall")), mistake(view(9)), mistake()]
    written = draw_mistakes(mistakes, Camera().frames, tmp_path)
    assert {p.name for p in written} == {"0.jpg", "0b.jpg", "1.jpg"}
    assert {p.name for p in (tmp_path / "mistakes").iterdir()} == {"0.jpg", "0b.jpg", "1.jpg"}
    corner = cv2.imread(str(tmp_path / "mistakes" / "1.jpg"))[-1, -1]
    assert np.abs(corner.astype(int) - 8).max() <= 3  # frame 9 is the one with index 8


def test_a_camera_is_read_once_up_to_the_last_frame_needed_and_closed(tmp_path: Path) -> None:
    camera = Camera()
    draw_mistakes([mistake(view(5)), mistake(view(9)), mistake(view(9))], camera.frames, tmp_path)
    assert len(camera.read) == 9 and camera.closed == 1
    assert len(list((tmp_path / "mistakes").iterdir())) == 3


def test_the_list_is_written_as_plain_values(tmp_path: Path) -> None:
    draw_mistakes([mistake(view(5))], Camera().frames, tmp_path)
    written = json.loads((tmp_path / "mistakes.json").read_text())["mistakes"]
    assert written[0]["kind"] == "wrong_link" and written[0]["frames_wrong"] == 12
    assert written[0]["views"][0]["boxes"][0] == {"xywh": [100, 60, 40, 90], "label": "person 3", "is_truth": True}


def test_no_mistakes_read_no_camera_and_leave_an_empty_list(tmp_path: Path) -> None:
    camera = Camera()
    assert draw_mistakes([], camera.frames, tmp_path) == [] and camera.read == []
    assert json.loads((tmp_path / "mistakes.json").read_text()) == {"mistakes": []}
    assert not (tmp_path / "mistakes").exists()


def test_pictures_of_an_earlier_list_do_not_stay(tmp_path: Path) -> None:
    draw_mistakes([mistake(view(5)), mistake(view(6))], Camera().frames, tmp_path)
    draw_mistakes([mistake(view(5))], Camera().frames, tmp_path)
    assert [p.name for p in (tmp_path / "mistakes").iterdir()] == ["0.jpg"]


@pytest.mark.parametrize("camera", [Camera(count=4), Camera(breaks_at=4), Camera(count=0)])
def test_frames_that_do_not_come_have_no_picture(tmp_path: Path, camera: Camera) -> None:
    draw_mistakes([mistake(view(2)), mistake(view(5)), mistake(view(10_000))], camera.frames, tmp_path)
    names = [p.name for p in (tmp_path / "mistakes").iterdir()]
    assert names == ([] if camera.count == 0 else ["0.jpg"])


@pytest.mark.parametrize(
    "boxes",
    [
        (),
        (MarkedBox((0, 0, 0, 0), "", True),),
        (MarkedBox((-500, -500, 10, 10), "#1", False),),
        (MarkedBox((1e30, 5, 1e30, 5), "#1", False), RESULT),
        (MarkedBox((float("nan"), 5, 5, 5), "#1", False),),
        (MarkedBox((-50, -50, 5000, 5000), "a very long label " * 9, True), RESULT),
        tuple(MarkedBox((10 * i, 5, 30, 80), f"#{i}", False) for i in range(25)),
    ],
)
@pytest.mark.parametrize("size", [(240, 320), (1080, 1920), (7, 5), (1, 1), (2000, 50)])
def test_any_boxes_on_any_picture_give_a_picture_of_a_bounded_size(
    boxes: tuple[MarkedBox, ...], size: tuple[int, int]
) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    drawn = draw_view(image, view(1, boxes=boxes))
    assert 0 < drawn.shape[1] <= MAX_WIDTH_PX and 0 < drawn.shape[0] <= 480
    assert (image == 90).all()


def test_results_wear_the_identitys_colour_and_the_annotation_is_dashed() -> None:
    drawn = draw_view(np.full((480, 640, 3), 90, np.uint8), view(1))
    assert (drawn == np.array(identity_colour(7))).all(axis=2).sum() > 200
    only_truth = draw_view(np.full((480, 640, 3), 90, np.uint8), view(1, boxes=(TRUTH,)))
    green = (only_truth == np.array((110, 230, 90))).all(axis=2)
    column = green[:, green.sum(axis=0).argmax()]  # a side of the box: dashes and gaps in turn
    assert (np.diff(column.astype(int)) == 1).sum() > 5


def test_a_small_person_is_enlarged_and_stays_in_the_middle() -> None:
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[500:540, 900:916] = 255
    drawn = draw_view(image, view(1, boxes=(MarkedBox((890, 490, 36, 60), "#2", False),)))
    ys, xs = np.nonzero((drawn > 250).all(axis=2))
    assert np.ptp(ys) > 80 and abs(xs.mean() / drawn.shape[1] - 0.5) < 0.1


def test_a_target_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mistakes").write_text("in the way")
    with pytest.raises(OutputError, match="mistakes"):
        draw_mistakes([mistake(view(5))], Camera().frames, tmp_path)
