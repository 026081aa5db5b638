"""One clip cut into two cameras with a blind gap and other colours."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from matching import make_half_views as half_views_module
from matching.make_half_views import HalfView, half_rows, half_views, make_half_views, recolour
from matching_site import (
    FPS,
)

from pipeline.capture.files import VideoFileSource
from pipeline.errors import ConfigError
from pipeline.scoring.ground_truth import CameraTruth, read_ground_truth
from pipeline.scoring.roles import Role
from pipeline.scoring.rows import Rows
from pipeline.view.video import VideoWriter


def test_halves_are_alike_even_and_leave_a_gap() -> None:
    left, right = half_views(480)
    assert (left.start_px, right.end_px) == (0, 480)
    assert left.end_px == right.end_px - right.start_px == 210
    assert right.start_px - left.end_px == 60
    assert right.recoloured and not left.recoloured


def test_another_camera_shows_other_colours() -> None:
    image = np.full((4, 6, 3), (90, 60, 160), np.uint8)
    before = image.copy()
    shown = recolour(image)
    assert shown.shape == image.shape and shown.dtype == np.uint8
    assert (image == before).all()
    assert np.abs(shown.astype(int) - image).max() > 20
    assert (recolour(np.zeros((2, 2, 3), np.uint8)) == 0).all()


def truth_of(boxes: Sequence[Sequence[float]], roles: Sequence[Role]) -> CameraTruth:
    """One box each of persons 1, 2, …, all in frame 1."""
    count = len(boxes)
    rows = Rows(np.ones(count, int), np.arange(1, count + 1), np.array(boxes, float), np.ones(count))
    return CameraTruth(rows, np.array(roles, np.int8))


def test_boxes_are_clipped_to_their_half() -> None:
    truth = truth_of(
        [[10, 5, 20, 40], [90, 5, 20, 40], [94, 5, 20, 40], [150, 5, 20, 40], [10, 5, 20, 40]],
        [Role.PERSON, Role.PERSON, Role.PERSON, Role.PERSON, Role.DISTRACTOR],
    )
    rows = list(half_rows(truth, HalfView("left", 0, 100, False)))
    assert rows == [
        "1,1,10.0,5.0,20.0,40.0,1,1,1\n",
        "1,2,90.0,5.0,10.0,40.0,1,1,1\n",  # half inside: still to be found
        "1,3,94.0,5.0,6.0,40.0,0,1,1\n",
        "1,5,10.0,5.0,20.0,40.0,0,1,1\n",
    ]
    assert list(half_rows(truth, HalfView("right", 140, 240, True))) == ["1,4,10.0,5.0,20.0,40.0,1,1,1\n"]


def test_a_clip_becomes_two_cameras_with_their_ground_truth(tmp_path: Path) -> None:
    video, truth = tmp_path / "video.mp4", tmp_path / "gt"
    truth.mkdir()
    (truth / "frames").mkdir()
    (truth / "frames" / "video.txt").write_text("1\n3\n")
    (truth / "video.txt").write_text("1,1,8,10,20,40,1,1,1\n3,1,120,10,20,40,1,1,1\n")
    with VideoWriter(video, FPS) as writer:
        for n in range(3):
            image = np.full((96, 160, 3), 60, np.uint8)
            cv2.rectangle(image, (8 + 56 * n, 10), (28 + 56 * n, 50), (40, 90, 200), -1)
            writer.write(image, n / FPS)
    make_half_views(video, truth, tmp_path / "out")
    frames = {s: list(VideoFileSource(s, tmp_path / "out" / f"{s}.mp4").frames()) for s in ("left", "right")}
    assert [len(of_side) for of_side in frames.values()] == [3, 3]
    assert frames["left"][0].image.shape == frames["right"][0].image.shape == (96, 70, 3)
    assert frames["right"][2].captured_at_s == pytest.approx(0.2)
    person, red = frames["left"][0].image[30, 18].astype(int), frames["right"][2].image[30, 40].astype(int)
    assert person[2] > person[0] + 60 and red[2] > red[0] + 60  # it is the person in both
    assert np.abs(person - red).max() > 15  # in other colours
    halves = read_ground_truth(tmp_path / "out" / "gt", ["left", "right"])
    assert {name: camera.rows.frames.tolist() for name, camera in halves.cameras.items()} == {"left": [1], "right": [3]}
    assert halves.cameras["right"].rows.xywh.tolist() == [[30.0, 10.0, 20.0, 40.0]]
    assert all(
        camera.annotated is not None and camera.annotated.tolist() == [1, 3] for camera in halves.cameras.values()
    )


def test_a_clip_without_annotation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "other.txt").write_text("1,1,8,10,20,40,1,1,1\n")
    with pytest.raises(ConfigError, match="no camera in common"):
        make_half_views(tmp_path / "video.mp4", tmp_path / "gt", tmp_path / "out")


def media() -> Path:
    folder = Path(os.environ.get("MEDIA_DIR", ""))
    if not os.environ.get("MEDIA_DIR") or not (folder / "pets_s2l1_view1" / "gt" / "video.txt").is_file():
        pytest.skip("MEDIA_DIR names no folder with pets_s2l1_view1")
    return folder


def test_the_real_halves_show_everybody_somewhere() -> None:
    truth = read_ground_truth(media() / "pets_s2l1_view1" / "gt", ["video"]).cameras["video"]
    people = [
        {int(row.split(",")[1]) for row in half_rows(truth, view) if row.split(",")[6] == "1"}
        for view in half_views_module.half_views(480)
    ]
    assert people[0] | people[1] == set(range(1, 12))
    assert len(people[0] & people[1]) >= 8  # most of them cross the gap
