"""The generated data set in the layout of MARS."""

from pathlib import Path

import cv2
import pytest
from generated_mars.make import make

from reid.datasets.load import load_data_set


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    root = tmp_path_factory.mktemp("mars")
    return root, make(root, people=4, cameras=2, seed=3)


def test_it_is_read_as_mars_with_nobody_in_train_and_in_test(made):
    root, counts = made
    data_set = load_data_set("mars", root)
    train, test = ({t.person_id for t in part} for part in (data_set.train, data_set.gallery))
    assert train == {1, 2} and test <= {3, 4}
    assert len(data_set.train) == counts["train tracklets"]
    assert len(data_set.gallery) == counts["test tracklets"]
    assert set(data_set.query) <= set(data_set.gallery)
    assert all(len(tracklet.images) >= 4 for tracklet in data_set.train)


def test_every_query_has_a_match_in_another_camera(made):
    data_set = load_data_set("mars", made[0])
    assert len(data_set.query) == made[1]["queries"] > 0
    for query in data_set.query:
        assert any(
            entry.person_id == query.person_id and entry.camera_id != query.camera_id for entry in data_set.gallery
        )


def test_pictures_have_the_size_of_mars(made):
    picture = cv2.imread(str(next((made[0] / "bbox_train").rglob("*.jpg"))))
    assert picture.shape == (256, 128, 3)


def test_the_same_arguments_write_the_same_bytes(made, tmp_path):
    make(tmp_path, people=4, cameras=2, seed=3)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(made[0]) for path in made[0].rglob("*") if path.is_file())
    assert all((tmp_path / file).read_bytes() == (made[0] / file).read_bytes() for file in files)


@pytest.mark.parametrize(("people", "cameras"), [(3, 3), (8, 1), (8, 10)])
def test_too_few_people_or_cameras_without_a_digit_are_refused(tmp_path, people: int, cameras: int):
    with pytest.raises(ValueError, match="expected"):
        make(tmp_path, people, cameras)
