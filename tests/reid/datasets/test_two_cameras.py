"""PRID2011 and iLIDS-VID."""

import numpy as np
import pytest
from dataset_layouts import make_ilids, make_prid, touch, write_ilids_splits, write_prid_splits
from scipy.io import savemat

from pipeline.errors import ConfigError, DecodeError
from reid.datasets.load import NO_SECOND_CAMERA, load_data_set


def people(tracklets):
    return [t.person_id for t in tracklets]


def cameras(tracklets):
    return {t.camera_id for t in tracklets}


# -- PRID2011 ---------------------------------------------------------------------------------------------------------


def test_prid_asks_in_one_camera_and_searches_in_the_other(tmp_path):
    data = load_data_set("prid2011", make_prid(tmp_path))
    assert people(data.query) == people(data.gallery) and len(data.query) == 4
    assert cameras(data.query) == {0} and cameras(data.gallery) == {1}
    assert data.cameras == {0: "cam_a", 1: "cam_b"}
    assert len(data.train) == 8 and cameras(data.train) == {0, 1}
    assert not set(people(data.train)) & set(people(data.query))
    assert sorted(set(people(data.train)) | set(people(data.query))) == list(range(1, 9))
    assert all(len(t.images) == 27 for t in (*data.train, *data.query, *data.gallery))


def test_prid_leaves_out_the_short_and_those_of_one_camera_and_equal_numbers_of_different_people(tmp_path):
    """Above 0200 a number is another person in each camera: person_0300 must not become a pair."""
    data = load_data_set("prid2011", make_prid(tmp_path))
    assert data.skipped == {"person with fewer than 27 pictures in a camera": 1, "person of one camera": 3}
    assert 300 not in people((*data.train, *data.query, *data.gallery))


def test_random_halves_depend_on_split_and_seed_and_on_nothing_else(tmp_path):
    root = make_prid(tmp_path, people=8)
    halves = {
        (split, seed): tuple(people(load_data_set("prid2011", root, split=split, seed=seed).query))
        for split in range(10)
        for seed in (0, 1)
    }
    again = {key: tuple(people(load_data_set("prid2011", root, split=key[0], seed=key[1]).query)) for key in halves}
    assert again == halves
    assert len(set(halves.values())) > 10
    assert "split 3 of seed 1" in load_data_set("prid2011", root, split=3, seed=1).protocol


@pytest.mark.parametrize("split", [-1, 10])
def test_a_random_half_that_there_is_not_is_refused(tmp_path, split):
    with pytest.raises(ConfigError, match="0 to 9"):
        load_data_set("prid2011", make_prid(tmp_path), split=split)


def test_prid_takes_the_splits_of_the_field_where_they_lie(tmp_path):
    make_prid(tmp_path / "prid_2011")
    write_prid_splits(tmp_path, ([1, 2], [3]), ([3], [2, 1, 9]))
    data = load_data_set("prid2011", tmp_path, split=1, seed=5)
    assert people(data.query) == people(data.gallery) == [2, 1, 9], "nobody is too short for the file"
    assert people(data.train) == [3, 3]
    assert "splits_prid2011.json" in data.protocol and "seed" not in data.protocol
    assert data.name == "prid2011, split 1"
    with pytest.raises(ConfigError, match="0 to 1"):
        load_data_set("prid2011", tmp_path, split=2)


def test_a_person_of_the_splits_who_is_not_on_the_disk_is_named(tmp_path):
    make_prid(tmp_path)
    write_prid_splits(tmp_path, ([1, 2], [3, 10]))
    with pytest.raises(DecodeError) as error:
        load_data_set("prid2011", tmp_path)
    assert str(tmp_path / "multi_shot" / "cam_a" / "person_0010") in str(error.value)


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '[{"train": []}]', "3"])
def test_a_splits_file_that_is_none_is_named(tmp_path, text):
    make_prid(tmp_path, people=2, pictures=1)
    (tmp_path / "splits_prid2011.json").write_text(text)
    with pytest.raises((DecodeError, ConfigError)) as error:
        load_data_set("prid2011", tmp_path)
    assert "split" in str(error.value)


def test_a_split_with_one_person_on_both_sides_is_refused(tmp_path):
    make_prid(tmp_path, people=3, pictures=1)
    write_prid_splits(tmp_path, ([1, 2], [2, 3]))
    with pytest.raises(DecodeError, match="person_0002"):
        load_data_set("prid2011", tmp_path)


def test_a_person_whose_second_folder_is_empty_is_counted_and_asks_nothing(tmp_path):
    make_prid(tmp_path, people=4, pictures=2)
    write_prid_splits(tmp_path, ([1, 2], [3, 4]))
    for picture in (tmp_path / "multi_shot" / "cam_b" / "person_0004").iterdir():
        picture.unlink()
    data = load_data_set("prid2011", tmp_path)
    assert people(data.query) == [3] == people(data.gallery)
    assert data.skipped == {"empty tracklet": 1, NO_SECOND_CAMERA: 1}


@pytest.mark.parametrize("camera", ["cam_a", "cam_b"])
def test_a_camera_folder_that_is_missing_is_named(tmp_path, camera):
    make_prid(tmp_path, people=1, pictures=1)
    (tmp_path / "multi_shot" / camera).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError) as error:
        load_data_set("prid2011", tmp_path)
    assert str(tmp_path / "multi_shot" / camera) in str(error.value)


# -- iLIDS-VID --------------------------------------------------------------------------------------------------------


def test_ilids_tests_on_the_first_half_of_the_authors_row(tmp_path):
    """A row holds places in the sorted folders of cam1, from 1: of people 1, 2, 5, 9 the places 4 and 2 are 9 and 2."""
    write_ilids_splits(make_ilids(tmp_path), [[1, 2, 3, 4], [4, 2, 3, 1]])
    data = load_data_set("ilids-vid", tmp_path, split=1)
    assert people(data.query) == people(data.gallery) == [2, 9]
    assert people(data.train) == [1, 1, 5, 5]
    assert cameras(data.query) == {1} and cameras(data.gallery) == {2}
    assert data.cameras == {1: "cam1", 2: "cam2"}
    assert "train_test_splits_ilidsvid.mat" in data.protocol


def test_pictures_are_in_the_order_of_their_numbers(tmp_path):
    data = load_data_set("ilids-vid", make_ilids(tmp_path))
    assert [path.stem.rsplit("_")[-1] for path in data.query[0].images] == ["99", "100", "101"]


def test_ilids_without_the_authors_file_takes_halves_by_seed(tmp_path):
    root = make_ilids(tmp_path)
    data = load_data_set("ilids-vid", root, split=2, seed=3)
    assert len(data.query) == len(data.gallery) == 2 and len(data.train) == 4
    assert "seed 3" in data.protocol
    assert load_data_set("ilids-vid", root, split=2, seed=3) == data


def test_ilids_people_of_one_camera_are_distractors_of_the_gallery_or_queries_that_are_counted(tmp_path):
    root = make_ilids(tmp_path, numbers=())
    for camera, people_seen in ((1, (1, 2)), (2, (3, 4, 5))):
        for person in people_seen:
            folder = root / "i-LIDS-VID" / "sequences" / f"cam{camera}" / f"person{person:03d}"
            touch(folder / f"cam{camera}_person{person:03d}_1.png")
    data = load_data_set("ilids-vid", root)
    in_test = 5 - len(set(people(data.train)))
    assert data.query == ()
    assert len(data.gallery) + data.skipped[NO_SECOND_CAMERA] == in_test == 3


@pytest.mark.parametrize("row", [[1, 2, 3], [1, 2, 3, 5], [1, 2, 3, 3], [0, 1, 2, 3]])
def test_a_row_that_does_not_order_the_people_on_the_disk_is_refused(tmp_path, row):
    file = write_ilids_splits(make_ilids(tmp_path), [row])
    with pytest.raises(DecodeError, match="4") as error:
        load_data_set("ilids-vid", tmp_path)
    assert str(file) in str(error.value)


def test_a_split_that_the_authors_file_does_not_hold_is_refused(tmp_path):
    write_ilids_splits(make_ilids(tmp_path), [[1, 2, 3, 4]])
    with pytest.raises(ConfigError, match="0 to 0, got 1"):
        load_data_set("ilids-vid", tmp_path, split=1)


def test_a_splits_file_without_its_matrix_is_named(tmp_path):
    file = write_ilids_splits(make_ilids(tmp_path), [[1, 2, 3, 4]])
    savemat(file, {"other": np.ones((1, 4))})
    with pytest.raises(DecodeError, match="ls_set"):
        load_data_set("ilids-vid", tmp_path)


def test_folders_that_are_no_people_are_counted(tmp_path):
    root = make_ilids(tmp_path)
    (root / "i-LIDS-VID" / "sequences" / "cam1" / "notes").mkdir()
    touch(root / "i-LIDS-VID" / "sequences" / "cam2" / "readme.txt")
    data = load_data_set("ilids-vid", root)
    assert data.skipped == {"name not understood": 1, "not a picture": 1}
    assert len(data.query) == 2
