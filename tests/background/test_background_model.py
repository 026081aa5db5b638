from pathlib import Path

import numpy as np
import pytest
from background_scene import Person, draw, frame_of, room

from pipeline.background.background_model import BackgroundModel, Plate, PlateFolder, enlarged, relit
from pipeline.errors import DecodeError

NOBODY = np.zeros((0, 4), np.float32)


def walked(steps: int = 12) -> BackgroundModel:
    model = BackgroundModel()
    for k in range(steps):
        image, _, boxes = draw((Person(60 + 45 * k, 330, 200, (40, 40, 190), (90, 50, 40)),), seed=k)
        model.update(frame_of(image, float(k), k), boxes)
    return model


def test_a_walk_through_the_picture_leaves_no_trace_in_the_plate() -> None:
    plate = walked().plate()
    assert plate is not None and plate.seen.all()
    error = np.abs(plate.image.astype(int) - room()).max(axis=2)
    assert error.mean() < 5 and np.quantile(error, 0.99) < 20


def test_pixels_behind_a_person_who_stays_are_not_seen_and_are_guessed() -> None:
    image, masks, boxes = draw((Person(300, 320, 200, (0, 0, 255), (0, 0, 255)),))
    model = BackgroundModel()
    for k in range(4):
        model.update(frame_of(image, float(k), k), boxes)
    plate = model.plate()
    assert plate is not None and not plate.seen[masks[0]].any()
    assert 0.8 < model.coverage < 0.99
    assert np.abs(plate.image[masks[0]].astype(int) - (0, 0, 255)).max(axis=1).min() > 60  # nothing of the person in it


def test_before_the_first_frame_there_is_no_plate(tmp_path: Path) -> None:
    model = BackgroundModel()
    assert model.plate() is None and model.coverage == 0 and model.age_s(5).size == 0
    model.save(tmp_path, "door")
    assert list(tmp_path.rglob("*")) == []


def test_a_picture_full_of_people_teaches_nothing() -> None:
    model = BackgroundModel()
    model.update(frame_of(room()), np.array([[0, 0, 640, 360]], np.float32))
    assert model.plate() is None and model.coverage == 0


def test_damaged_frames_teach_nothing() -> None:
    model = BackgroundModel()
    model.update(frame_of(room(), damaged=True), NOBODY)
    assert model.plate() is None


def test_somebody_whom_no_box_covers_fades_slowly_and_light_is_followed_fast() -> None:
    model = BackgroundModel()
    for k in range(6):
        model.update(frame_of(room(), float(k), k), NOBODY)
    image, masks, _ = draw((Person(300, 320, 200, (0, 0, 255), (255, 0, 0)),), shadow=0)
    model.update(frame_of(image, 6.0, 6), NOBODY)
    ghost = model.plate().image[masks[0]].astype(int) - room()[masks[0]]  # type: ignore[union-attr]
    assert np.abs(ghost).max() < 12
    dark = (room() * 0.6).astype(np.uint8)
    for k in range(20):
        model.update(frame_of(dark, 7.0 + k, 7 + k), NOBODY)
    assert np.abs(model.plate().image.astype(int) - dark).mean() < 6  # type: ignore[union-attr]


def test_age_tells_when_each_pixel_was_last_seen() -> None:
    model = BackgroundModel()
    box = np.array([[100, 100, 150, 200]], np.float32)
    model.update(frame_of(room(), 10.0), box)
    assert model.age_s(12.0)[0, 0] == 2 and model.age_s(12.0)[150, 125] == np.inf


def test_another_picture_size_begins_anew_and_large_pictures_are_modelled_small() -> None:
    model = BackgroundModel()
    model.update(frame_of(room()), NOBODY)
    large = np.full((1080, 1920, 3), 90, np.uint8)
    model.update(frame_of(large), NOBODY)
    plate = model.plate()
    assert plate is not None and plate.image.shape == (1080, 1920, 3) and (plate.image == 90).all() and plate.seen.all()
    assert model.age_s(10).shape == (540, 960)


def test_a_saved_model_goes_on_where_it_was(tmp_path: Path) -> None:
    model = walked(3)
    model.save(tmp_path, "door")
    assert sorted(p.name for p in (tmp_path / "kept/door").iterdir()) == ["plate.npz", "plate.png"]
    again = BackgroundModel.load(tmp_path, "door")
    before, after = model.plate(), again.plate()
    assert before is not None and after is not None
    assert (before.image == after.image).all() and (before.seen == after.seen).all()
    assert again.coverage == model.coverage


def test_a_damaged_model_is_a_decode_error_and_the_folder_then_has_no_plate(tmp_path: Path) -> None:
    folder = PlateFolder(tmp_path)
    assert folder("door") is None
    with pytest.raises(FileNotFoundError):
        BackgroundModel.load(tmp_path, "door")
    walked(2).save(tmp_path, "door")
    assert folder("door") is folder("door") is not None
    for name in ("plate.npz", "plate.png"):
        walked(2).save(tmp_path, "door")
        (tmp_path / "kept/door" / name).write_bytes(b"PK")
        with pytest.raises(DecodeError):
            BackgroundModel.load(tmp_path, "door")
    assert folder("door") is None


def test_the_folder_gives_the_newest_plate(tmp_path: Path) -> None:
    folder = PlateFolder(tmp_path)
    model = BackgroundModel()
    for level in (50, 200):
        image = np.full((36, 64, 3), level, np.uint8)
        model = BackgroundModel()
        model.update(frame_of(image), NOBODY)
        model.save(tmp_path, "door")
        assert (folder("door").image == level).all()  # type: ignore[union-attr]


def test_a_plate_fits_itself_to_another_size() -> None:
    plate = Plate(np.full((36, 64, 3), 7, np.uint8), np.ones((36, 64), bool))
    assert plate.scaled_to(64, 36) is plate
    assert plate.scaled_to(128, 72).image.shape == (72, 128, 3)


def test_boxes_grow_on_every_side_and_none_stay_none() -> None:
    assert enlarged(NOBODY).shape == (0, 4)
    grown = enlarged(np.array([[0, 0, 10, 100]], np.float32), (0.5, 0.1))
    assert grown[0].tolist() == [-5, -10, 15, 110]


def taught(*pictures: tuple[float, np.ndarray]) -> BackgroundModel:
    model = BackgroundModel()
    for k, (at_s, image) in enumerate(pictures):
        model.update(frame_of(image, at_s, k), NOBODY)
    return model


def error(model: BackgroundModel, image: np.ndarray) -> float:
    plate = model.plate()
    assert plate is not None
    return float(np.abs(plate.image.astype(int) - image).mean())


def test_light_that_changes_everywhere_is_followed_at_once_also_behind_people() -> None:
    model = taught(*((float(k), room()) for k in range(5)))
    dark = (room() * 0.7).astype(np.uint8)
    model.update(frame_of(dark, 5.0, 5), np.array([[200, 60, 300, 340]], np.float32))
    assert error(model, dark) < 2


def test_a_lamp_over_a_part_of_the_picture_is_followed_within_half_a_minute() -> None:
    lit = room().copy()
    lit[:, :256] = np.clip(lit[:, :256].astype(int) + 60, 0, 255)
    model = taught(*((float(k), room()) for k in range(5)), *((5.0 + k, lit) for k in range(25)))
    assert error(model, lit) < 3


def test_what_flickers_is_not_adopted() -> None:
    image, masks, _ = draw((Person(300, 320, 200, (0, 0, 255), (255, 0, 0)),), shadow=0)
    model = taught(*((float(k), room()) for k in range(6)))
    for k in range(20):
        model.update(frame_of(image if k % 4 == 0 else room(), 6.0 + k, 6 + k), NOBODY)
    plate = model.plate()
    assert plate is not None
    assert np.abs(plate.image[masks[0]].astype(int) - room()[masks[0]]).mean() < 20


def test_a_plate_is_brought_into_the_light_of_a_picture() -> None:
    plate = Plate(room(), np.ones(room().shape[:2], bool))
    bright = np.clip(room() * 1.2, 0, 255).astype(np.uint8)
    moved = relit(plate, bright, NOBODY)
    assert np.abs(moved.image.astype(int) - bright).mean() < 3 and (plate.image == room()).all()
    unknown = Plate(room(), np.zeros(room().shape[:2], bool))
    assert (relit(unknown, bright, NOBODY).image == room()).all()  # nothing to compare with
