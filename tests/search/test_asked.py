"""Who is asked for: a whole picture that shows one person, or the people of a scene."""

import cv2
import numpy as np
import pytest

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError
from pipeline.search.asked import (
    MOST_PEOPLE,
    encode_people,
    looks_like_a_crop,
    people_boxes,
    read_picture,
    require_people,
)
from pipeline.types import Detections
from reid.handcrafted import HandcraftedEncoder
from reid.load import load_head

SCENE = np.full((240, 320, 3), 90, np.uint8)
UPRIGHT = np.full((300, 120, 3), 90, np.uint8)


class Found:
    """A detector that finds what it is told."""

    def __init__(self, *boxes, confidence=0.9):
        self.boxes, self.confidence = boxes, confidence

    def detect(self, frames):
        n = len(self.boxes)
        return [Detections(np.array(self.boxes).reshape(-1, 4), np.full(n, self.confidence)) for _ in frames]


def boxes_in(image, *boxes, **how):
    return people_boxes(image, Found(*boxes, **how), 0.5).tolist()


def test_the_people_of_a_scene_are_asked_for_the_largest_first():
    small, large = [10, 10, 40, 90], [100, 20, 180, 220]
    assert boxes_in(SCENE, small, large) == [large, small]


def test_a_scene_without_anybody_has_nobody():
    assert boxes_in(SCENE) == []
    assert boxes_in(SCENE, [10, 10, 40, 90], confidence=0.3) == []
    assert boxes_in(SCENE, [10, 10, 20, 30]) == []  # too small to be told apart


def test_only_the_largest_people_of_a_crowd_are_asked_for():
    crowd = [[10 * n, 10, 10 * n + 20, 60 + n] for n in range(20)]
    assert boxes_in(SCENE, *crowd) == [crowd[n] for n in range(19, 19 - MOST_PEOPLE, -1)]


def test_a_picture_of_a_persons_aspect_is_that_person_as_a_whole():
    whole = [[0, 0, 120, 300]]
    assert boxes_in(UPRIGHT) == whole  # the detector need not find somebody who fills the picture
    assert boxes_in(UPRIGHT, [10, 5, 110, 295]) == whole


def test_an_upright_picture_of_a_scene_is_a_scene():
    assert boxes_in(UPRIGHT, [10, 10, 40, 90]) == [[10, 10, 40, 90]]


def test_boxes_are_cut_at_the_pictures_edge():
    assert boxes_in(SCENE, [-20, -10, 60, 200]) == [[0, 0, 60, 200]]


@pytest.mark.parametrize(
    ("shape", "may_be"), [((300, 120), True), ((240, 320), False), ((140, 100), True), ((600, 100), False)]
)
def test_a_persons_aspect(shape, may_be):
    assert looks_like_a_crop(np.zeros((*shape, 3), np.uint8)) is may_be


def test_each_person_becomes_one_vector_and_a_picture():
    encoder = HandcraftedEncoder(4)
    head = load_head(ReidConfig(backbone="handcrafted", fusion="global"), encoder.describe())
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    boxes = np.array([[100, 20, 180, 220], [10, 10, 40, 90]], np.float32)
    people = encode_people(image, boxes, encoder, head)
    assert [person.picture.shape for person in people] == [(200, 80, 3), (80, 30, 3)]
    for person in people:
        assert person.query.vectors.shape == (1, len(people[0].query.vectors[0]))
        assert np.linalg.norm(person.query.vectors) == pytest.approx(1, abs=1e-3)
        assert 0 < person.query.qualities[0] <= 1
    assert people[0].xyxy == (100, 20, 180, 220)
    assert encode_people(image, boxes[:0], encoder, head) == []


def test_a_picture_is_read_as_it_is(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), SCENE)
    assert (read_picture(tmp_path / "a.png") == SCENE).all()


def test_pictures_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_picture(tmp_path / "none.png")
    for content in (b"", b"no picture"):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ConfigError, match="not a picture that can be read"):
            read_picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="directory"):
        read_picture(tmp_path)


def test_nobody_to_look_for_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="nobody was found in it"):
        require_people([], tmp_path / "a.png")
