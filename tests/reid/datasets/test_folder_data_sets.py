"""Market-1501, DukeMTMC-VideoReID and the plain layout."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_layouts import make_duke, make_ilids, make_market, make_prid, touch

from pipeline.errors import ConfigError
from pipeline.retrieval import JUNK_ID
from reid.datasets import folders
from reid.datasets.folders import natural_key
from reid.datasets.load import DATA_SETS, NO_SECOND_CAMERA, load_data_set


def who(tracklets):
    return [(t.person_id, t.camera_id) for t in tracklets]


# -- Market-1501 ------------------------------------------------------------------------------------------------------


def test_market_pictures_are_tracklets_of_one(tmp_path):
    data = load_data_set("market1501", make_market(tmp_path))
    assert who(data.train) == [(2, 1), (2, 2), (7, 3)]
    assert who(data.query) == [(1, 1), (3, 4)]
    assert who(data.gallery) == [(0, 2), (1, 1), (1, 10), (3, 6), (JUNK_ID, 1)]
    assert all(len(t.images) == 1 for t in (*data.train, *data.query, *data.gallery))
    assert data.skipped == {"not a picture": 1}, "Thumbs.db"


def test_market_pictures_with_another_name_are_counted(tmp_path):
    make_market(tmp_path)
    touch(tmp_path / "query" / "somebody.jpg")
    touch(tmp_path / "query" / "._0001_c1s1_001051_00.jpg")
    data = load_data_set("market1501", tmp_path)
    assert data.skipped == {"hidden file": 1, "name not understood": 1, "not a picture": 1}
    assert len(data.query) == 2


def test_market_is_found_in_the_folder_of_its_archive(tmp_path):
    make_market(tmp_path / "Market-1501-v15.09.15")
    assert len(load_data_set("market1501", tmp_path).gallery) == 5


def test_a_market_folder_without_any_picture_is_named(tmp_path):
    make_market(tmp_path)
    for path in (tmp_path / "query").iterdir():
        path.unlink()
    with pytest.raises(ConfigError) as error:
        load_data_set("market1501", tmp_path)
    assert str(tmp_path / "query") in str(error.value)


def test_a_query_whose_person_is_in_no_other_camera_is_left_out_and_counted(tmp_path):
    make_market(tmp_path)
    (tmp_path / "bounding_box_test" / "0003_c6s1_000001_01.jpg").rename(
        tmp_path / "bounding_box_test" / "0003_c4s1_000009_01.jpg"
    )
    data = load_data_set("market1501", tmp_path)
    assert who(data.query) == [(1, 1)]
    assert data.skipped[NO_SECOND_CAMERA] == 1
    assert (3, 4) in who(data.gallery)


# -- DukeMTMC-VideoReID -----------------------------------------------------------------------------------------------


def test_duke_frames_are_in_order_and_both_ways_of_naming_are_read(tmp_path):
    data = load_data_set("duke-video", make_duke(tmp_path))
    assert who(data.train) == [(1, 5), (1, 2)]
    assert [path.name[8:13] for path in data.train[0].images] == ["F0099", "F0100", "F0101"]
    assert who(data.query) == [(2, 6)]
    assert who(data.gallery) == [(2, 6), (2, 1), (3, 1)], "a person of one camera is a distractor"
    assert data.skipped == {}


def test_duke_says_that_it_was_withdrawn(tmp_path):
    assert "withdrawn by its authors" in load_data_set("duke-video", make_duke(tmp_path)).protocol


def test_duke_oddities_are_counted(tmp_path):
    root = make_duke(tmp_path / "DukeMTMC-VideoReID")
    (root / "gallery" / "0002" / "0099").mkdir()
    touch(root / "gallery" / "README.md")
    touch(root / "gallery" / "0003" / "0012" / "cover.jpg")
    touch(root / "gallery" / "notes" / "0001" / "0003_C1_F0001_X33000.jpg")
    for camera in (1, 2):
        touch(root / "gallery" / "0003" / "0013" / f"0003_C{camera}_F0001_X33000.jpg")
    data = load_data_set("duke-video", tmp_path)
    assert len(data.gallery) == 3
    assert data.skipped == {
        "empty tracklet": 1,
        "name not understood": 2,
        "not a picture": 1,
        "tracklet with pictures of several cameras": 1,
    }


@pytest.mark.parametrize("part", ["train", "query", "gallery"])
def test_a_part_of_duke_that_is_missing_is_named(tmp_path, part):
    make_duke(tmp_path)
    (tmp_path / part).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError) as error:
        load_data_set("duke-video", tmp_path)
    assert str(tmp_path / part) in str(error.value)


# -- plain ------------------------------------------------------------------------------------------------------------


def make_plain(root: Path, *tracklets: str, pictures: int = 2) -> Path:
    for tracklet in tracklets:
        for number in range(1, pictures + 1):
            touch(root / tracklet / f"{number}.jpg")
    return root


def test_plain_tracklets_ask_and_are_in_the_gallery(tmp_path):
    make_plain(tmp_path, "0001/door/1-1", "0001/hall/1-1", "0001/hall/1-2", "0007/door/1-9", "0007/hall/2-1")
    data = load_data_set("plain", tmp_path)
    assert data.train == ()
    assert data.query == data.gallery
    assert who(data.gallery) == [(1, 0), (1, 1), (1, 1), (7, 0), (7, 1)]
    assert data.cameras == {0: "door", 1: "hall"} and data.people == {}
    assert data.skipped == {}
    assert data.name == f"plain, {tmp_path.name}"


def test_people_with_names_get_numbers_and_keep_their_names(tmp_path):
    make_plain(tmp_path, "anna/1/a", "anna/2/a", "bob10/1/a", "bob10/2/b", "bob2/1/a", "bob2/2/a")
    data = load_data_set("plain", tmp_path)
    assert data.people == {1: "anna", 2: "bob2", 3: "bob10"}
    assert who(data.query) == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert data.cameras == {}, "cameras that are numbers keep them"


def test_numbers_that_would_fall_together_are_numbered_anew(tmp_path):
    data = load_data_set("plain", make_plain(tmp_path, "1/a/x", "1/b/x", "001/a/x", "001/b/x"))
    assert sorted({t.person_id for t in data.gallery}) == [1, 2]
    assert data.people == {1: "001", 2: "1"}


def test_junk_and_distractors_do_not_ask(tmp_path):
    make_plain(tmp_path, "-1/a/x", "-1/b/x", "0000/a/x", "0000/b/x", "0003/a/x", "0003/b/x")
    data = load_data_set("plain", tmp_path)
    assert who(data.query) == [(3, 0), (3, 1)]
    assert sorted({t.person_id for t in data.gallery}) == [-1, 0, 3]
    assert data.people == {}


def test_a_person_of_one_camera_stays_in_the_gallery_and_is_counted_as_a_query(tmp_path):
    data = load_data_set("plain", make_plain(tmp_path, "1/a/x", "1/b/x", "2/a/x", "2/a/y"))
    assert who(data.query) == [(1, 0), (1, 1)]
    assert len(data.gallery) == 4
    assert data.skipped == {NO_SECOND_CAMERA: 2}


def test_only_one_camera_leaves_nobody_to_ask_and_says_so(tmp_path):
    data = load_data_set("plain", make_plain(tmp_path, "1/a/x", "2/a/x"))
    assert data.query == () and len(data.gallery) == 2
    assert data.skipped == {NO_SECOND_CAMERA: 2}


def test_plain_parts_share_their_ids(tmp_path):
    make_plain(tmp_path, "train/eve/a/x", "query/bob/a/x", "gallery/bob/b/x", "gallery/ada/b/x", "pictures/z/z/z")
    data = load_data_set("plain", tmp_path)
    assert data.people == {1: "ada", 2: "bob", 3: "eve"}
    assert who(data.train) == [(3, 0)]
    assert who(data.query) == [(2, 0)]
    assert who(data.gallery) == [(1, 1), (2, 1)]
    assert data.skipped == {"folder beside train, query and gallery": 1}
    assert data.protocol == "query and gallery as given"


@pytest.mark.parametrize("part", ["query", "gallery"])
def test_one_test_part_alone_serves_as_both(tmp_path, part):
    make_plain(tmp_path, "train/9/a/x", f"{part}/1/a/x", f"{part}/1/b/x")
    data = load_data_set("plain", tmp_path)
    assert data.query == data.gallery and who(data.query) == [(1, 0), (1, 1)]
    assert who(data.train) == [(9, 0)]


def test_train_alone_is_read_and_says_that_nothing_can_be_tested(tmp_path):
    data = load_data_set("plain", make_plain(tmp_path, "train/9/a/x"))
    assert len(data.train) == 1 and data.query == data.gallery == ()
    assert "nothing to test" in data.protocol


def test_what_is_no_picture_is_counted_by_reason(tmp_path):
    make_plain(tmp_path, "1/a/x", "1/b/x")
    touch(tmp_path / "readme.txt")
    touch(tmp_path / ".DS_Store")
    touch(tmp_path / "1" / "portrait.JPG")
    touch(tmp_path / "1" / "a" / "x" / "notes.txt")
    touch(tmp_path / "1" / "a" / "x" / "without_ending")
    (tmp_path / "1" / "a" / "x" / "deeper.jpg").mkdir()
    (tmp_path / "1" / "b" / "empty").mkdir()
    data = load_data_set("plain", tmp_path)
    assert data.skipped == {
        "empty tracklet": 1,
        "hidden file": 1,
        "not a picture": 4,
        "picture outside of a tracklet folder": 1,
    }
    assert [len(t.images) for t in data.gallery] == [2, 2]


def test_pictures_of_a_tracklet_are_in_natural_order_of_any_ending(tmp_path):
    names = ["2.jpg", "10.jpg", "1.png", "100.JPEG", "11.webp"]
    random.Random(3).shuffle(names)
    for name in names:
        touch(tmp_path / "1" / "a" / "x" / name)
    (tracklet,) = load_data_set("plain", tmp_path).gallery
    assert [path.name for path in tracklet.images] == ["1.png", "2.jpg", "10.jpg", "11.webp", "100.JPEG"]


@pytest.mark.parametrize("layout", ["", "1/x.jpg", "1/a/x.jpg", "1/a/x/readme.txt"])
def test_a_folder_without_one_tracklet_is_an_error_that_shows_the_layout(tmp_path, layout):
    if layout:
        touch(tmp_path / layout)
    with pytest.raises(ConfigError, match="<person>/<camera>/<tracklet>") as error:
        load_data_set("plain", tmp_path)
    assert str(tmp_path) in str(error.value)


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_root_that_is_missing_or_a_file_or_empty_is_an_error_that_names_it(tmp_path, name):
    file = touch(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "nowhere", file, tmp_path / "empty"):
        with pytest.raises(ConfigError) as error:
            load_data_set(name, root)
        assert str(root) in str(error.value)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="market1501, plain"):
        load_data_set("viper", tmp_path)


@pytest.mark.parametrize("name", ["duke-video", "market1501", "prid2011", "ilids-vid", "plain"])
def test_the_order_in_which_the_disk_lists_its_files_changes_nothing(tmp_path, monkeypatch, name):
    make = {"duke-video": make_duke, "market1501": make_market, "prid2011": make_prid, "ilids-vid": make_ilids}
    make.get(name, lambda root: make_plain(root, "b/y/2", "b/y/10", "a/x/1", "a/y/1", "b/x/1", pictures=12))(tmp_path)
    in_order = load_data_set(name, tmp_path)
    listing = folders.list_folder

    def shuffled(folder):
        return random.Random(1).sample(found := listing(folder), len(found))

    monkeypatch.setattr(folders, "list_folder", shuffled)
    assert load_data_set(name, tmp_path) == in_order


def test_names_differing_in_zeros_only_have_a_fixed_order():
    assert sorted(["01", "1", "001", "a", "2"], key=natural_key) == ["001", "01", "1", "2", "a"]


def test_reading_a_data_set_loads_no_network_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from reid.datasets.load import load_data_set; "
        f"load_data_set('market1501', Path({str(make_market(tmp_path))!r})); "
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'cv2'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
