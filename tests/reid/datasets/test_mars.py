import numpy as np
import pytest
from dataset_layouts import MARS_TEST, MARS_TRAIN, make_mars
from scipy.io import savemat

from pipeline.errors import ConfigError, DecodeError
from pipeline.retrieval import JUNK_ID, cmc_and_average_precision
from reid.datasets.load import load_data_set


def rows(tracklets):
    return [(t.person_id, t.camera_id, len(t.images)) for t in tracklets]


def test_tracklets_come_with_the_people_cameras_and_pictures_of_the_lists(tmp_path):
    data = load_data_set("mars", make_mars(tmp_path))
    assert data.name == "mars"
    assert rows(data.train) == MARS_TRAIN
    assert rows(data.gallery) == MARS_TEST
    assert rows(data.query) == [(2, 1, 3), (2, 4, 2), (4, 1, 2), (4, 2, 1)]
    assert data.skipped == {}
    assert all(image.is_file() for t in (*data.train, *data.gallery) for image in t.images)
    assert [image.name for image in data.train[1].images] == ["0001C2T0002F001.jpg", "0001C2T0002F002.jpg"]


def test_the_gallery_holds_the_queries_so_that_every_query_has_something_to_find(tmp_path):
    data = load_data_set("mars", make_mars(tmp_path))
    assert set(data.query) <= set(data.gallery)
    query, gallery = (
        tuple(np.array([getattr(t, name) for t in part]) for name in ("person_id", "camera_id"))
        for part in (data.query, data.gallery)
    )
    distance = np.ones((len(data.query), len(data.gallery)), np.float32)
    assert cmc_and_average_precision(distance, query, gallery).valid.all()
    others = [i for i, t in enumerate(data.gallery) if t not in data.query]
    without = cmc_and_average_precision(distance[:, others], query, tuple(x[others] for x in gallery))
    assert without.valid.tolist() == [False, False, False, True], "the usual mistake loses queries"


def test_junk_and_distractors_stay_in_the_gallery_under_their_ids(tmp_path):
    data = load_data_set("mars", make_mars(tmp_path))
    junk, distractor = data.gallery[:2]
    assert junk.person_id == JUNK_ID and junk.images[0].parent.name == "00-1"
    assert distractor.person_id == 0 and distractor.images[0].parent.name == "0000"
    assert "queries" in data.protocol and "junk" in data.protocol


def test_the_folder_that_the_archive_unpacks_to_may_be_inside_of_the_root(tmp_path):
    make_mars(tmp_path / "mars")
    assert len(load_data_set("mars", tmp_path).query) == 4


def test_a_picture_that_the_lists_name_and_the_disk_lacks_is_an_error_that_names_it(tmp_path):
    make_mars(tmp_path)
    gone = tmp_path / "bbox_test" / "0002" / "0002C4T0004F002.jpg"
    gone.unlink()
    with pytest.raises(DecodeError, match="unpack") as error:
        load_data_set("mars", tmp_path)
    assert str(gone) in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "bbox_test",
        "bbox_train/0003",
        "info/query_IDX.mat",
        "info/test_name.txt",
        "info/tracks_train_info.mat",
        "info",
    ],
)
def test_a_file_or_folder_that_is_missing_is_named(tmp_path, name):
    make_mars(tmp_path)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError) as error:
        load_data_set("mars", tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_a_root_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such folder") as error:
        load_data_set("mars", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a matlab file", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_damaged_mat_file_is_named(tmp_path, content):
    make_mars(tmp_path)
    file = tmp_path / "info" / "tracks_test_info.mat"
    file.write_bytes(content)
    with pytest.raises(DecodeError) as error:
        load_data_set("mars", tmp_path)
    assert str(file) in str(error.value)


def test_a_mat_file_that_was_cut_off_is_named(tmp_path):
    make_mars(tmp_path)
    file = tmp_path / "info" / "tracks_test_info.mat"
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(DecodeError) as error:
            load_data_set("mars", tmp_path)
        assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ({"another": np.ones((2, 4))}, "track_test_info"),
        ({"track_test_info": np.ones((2, 3))}, "4 columns"),
        ({"track_test_info": np.full((2, 4), 0.5)}, "whole numbers"),
        ({"track_test_info": np.array([[1.0, np.nan, 1, 1]])}, "whole numbers"),
        ({"track_test_info": np.array([["a", "b"]])}, "whole numbers"),
        ({"track_test_info": np.array([[1, 99, 2, 1]])}, "1 to 99"),
        ({"track_test_info": np.array([[0, 1, 2, 1]])}, "0 to 1"),
        ({"track_test_info": np.array([[3, 2, 2, 1]])}, "3 to 2"),
    ],
)
def test_a_table_that_cannot_be_of_the_lists_is_refused(tmp_path, matrix, message):
    make_mars(tmp_path)
    savemat(tmp_path / "info" / "tracks_test_info.mat", matrix)
    with pytest.raises(DecodeError, match=message):
        load_data_set("mars", tmp_path)


def test_a_table_and_a_list_of_names_that_do_not_belong_together_are_refused(tmp_path):
    make_mars(tmp_path)
    names = tmp_path / "info" / "train_name.txt"
    names.write_text("\n".join(reversed(names.read_text().split())))
    with pytest.raises(DecodeError, match="one release"):
        load_data_set("mars", tmp_path)


def test_a_query_beyond_the_table_is_refused(tmp_path):
    make_mars(tmp_path)
    savemat(tmp_path / "info" / "query_IDX.mat", {"query_IDX": np.array([[1, 8]])})
    with pytest.raises(DecodeError, match="1 to 7"):
        load_data_set("mars", tmp_path)


def test_a_list_that_is_no_text_is_named(tmp_path):
    make_mars(tmp_path)
    (tmp_path / "info" / "train_name.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DecodeError, match=r"train_name\.txt"):
        load_data_set("mars", tmp_path)


def test_another_split_than_the_only_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="one split"):
        load_data_set("mars", make_mars(tmp_path), split=1)
