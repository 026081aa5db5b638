from pathlib import Path

import numpy as np
import pytest
from background_scene import Keep

from pipeline.background.crops import CropStore, cut, read_name
from pipeline.types import FramePointer, TrackKey

IMAGE = np.full((120, 50, 3), 90, np.uint8)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder / "crops").as_posix() for p in (folder / "crops").rglob("*.jpg"))


def test_a_crop_is_named_by_camera_time_and_quality(tmp_path: Path) -> None:
    path = CropStore(tmp_path, 3).add(7, "back_door", 12.34567, IMAGE, 0.5)
    assert path == tmp_path / "crops/7/back_door_12.346_0.500.jpg"
    crop = read_name(path)
    assert crop is not None and (crop.camera_id, crop.captured_at_s, crop.quality) == ("back_door", 12.346, 0.5)
    assert read_name(tmp_path / "notes.txt") is None and read_name(tmp_path / "x.jpg") is None


def test_the_best_stay_and_a_worse_one_is_not_written(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 2)
    for at_s, quality in ((0, 0.5), (100, 0.3), (200, 0.9)):
        store.add(1, "a", at_s, IMAGE, quality)
    assert store.add(1, "a", 300, IMAGE, 0.1) is None
    assert names(tmp_path) == ["1/a_0.000_0.500.jpg", "1/a_200.000_0.900.jpg"]
    assert [c.quality for c in store.of(1)] == [0.9, 0.5]


def test_pictures_are_spread_over_cameras_and_times(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 3)
    for at_s, quality in ((0, 0.9), (0.5, 0.85), (1.0, 0.8), (600, 0.6)):
        store.add(1, "a", at_s, IMAGE, quality)
    store.add(1, "b", 2.0, IMAGE, 0.5)
    assert names(tmp_path) == ["1/a_0.000_0.900.jpg", "1/a_600.000_0.600.jpg", "1/b_2.000_0.500.jpg"]


def test_the_order_of_adding_does_not_matter_for_pictures_of_one_visit(tmp_path: Path) -> None:
    pictures = [(float(t), q) for t, q in zip(range(0, 300, 50), (0.2, 0.9, 0.4, 0.7, 0.3, 0.5), strict=True)]
    for run, order in ((1, pictures), (2, pictures[::-1])):
        for at_s, quality in order:
            CropStore(tmp_path / str(run), 3).add(1, "a", at_s, IMAGE, quality)
    assert names(tmp_path / "1") == names(tmp_path / "2")


def test_the_same_moment_again_replaces_its_picture(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 3)
    store.add(1, "a", 5, IMAGE, 0.5)
    store.add(1, "a", 5, IMAGE, 0.6)
    assert names(tmp_path) == ["1/a_5.000_0.600.jpg"]


def test_a_merge_moves_pictures_and_keeps_the_best(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 2)
    store.add(1, "a", 0, IMAGE, 0.4)
    store.add(2, "a", 100, IMAGE, 0.9)
    store.add(2, "b", 100, IMAGE, 0.8)
    store.merge(2, 1)
    store.merge(2, 1)
    store.merge(1, 1)
    store.merge(9, 1)
    assert names(tmp_path) == ["1/a_100.000_0.900.jpg", "1/b_100.000_0.800.jpg"]
    assert not (tmp_path / "crops/2").exists()
    store.merge(1, 3)
    assert len(store.of(3)) == 2 and store.of(1) == []


def test_forgetting_removes_the_folder(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 2)
    store.add(1, "a", 0, IMAGE, 0.4)
    assert (store.forget(1), store.forget(1)) == (1, 0)
    assert not (tmp_path / "crops/1").exists()


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 2)
    with pytest.raises(ValueError, match="identity"):
        store.add(0, "a", 0, IMAGE, 0.4)
    with pytest.raises(ValueError, match="picture"):
        store.add(1, "a", 0, IMAGE[:0], 0.4)
    with pytest.raises(ValueError, match="camera id"):
        store.add(1, "../a", 0, IMAGE, 0.4)
    with pytest.raises(ValueError, match="per_identity"):
        CropStore(tmp_path, 0)


def test_a_cut_has_a_little_margin_and_stays_in_the_picture() -> None:
    image = np.zeros((200, 100, 3), np.uint8)
    whole = cut(image, np.array([-20, -20, 300, 300], np.float32))
    inner = cut(image, np.array([20, 50, 60, 150], np.float32))
    assert whole is not None and whole.shape == (200, 100, 3)
    assert inner is not None and inner.shape == (112, 44, 3)


@pytest.mark.parametrize("box", [[0, 0, 50, 20], [200, 0, 260, 100], [10, 10, 10, 150], [50, 100, 10, 10]])
def test_nothing_is_cut_from_boxes_without_a_person(box: list[float]) -> None:
    assert cut(np.zeros((200, 100, 3), np.uint8), np.array(box, np.float32)) is None


def test_a_track_is_cut_from_its_kept_frame(tmp_path: Path, keep: Keep) -> None:
    pointer = keep()
    store = CropStore(tmp_path, 2, "here")
    path = store.add_from_kept(4, TrackKey("door", "1", 2), pointer)
    assert path is not None and path.name == "door_10.000_0.800.jpg"
    assert store.add_from_kept(4, TrackKey("door", "1", 3), pointer) is None
    assert store.add_from_kept(4, TrackKey("hall", "1", 1), pointer) is None
    away = FramePointer("there", "door", 10, pointer.file)
    assert store.add_from_kept(4, TrackKey("door", "1", 1), away) is None
    (tmp_path / pointer.file).unlink()
    assert store.add_from_kept(4, TrackKey("door", "1", 1), pointer) is None
    assert store.counters == {"nothing_to_cut": 2, "other_host": 1, "frame_gone": 1}
