"""identities.csv: one number per person over cameras whose tracks were numbered apart."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, DecodeError
from pipeline.scoring.ground_truth import read_ground_truth

ROWS = "1,1,0,0,9,9,1,1,1\n2,1,0,0,9,9,1,1,1\n5,7,0,0,9,9,1,1,1\n"


def site(folder: Path, identities: str | None, export: bool = False) -> Path:
    for camera in ("door", "hall"):
        place = folder / camera / "gt"
        place.mkdir(parents=True)
        (place / "gt.txt").write_text(ROWS)
        if export:
            (place / "labels.txt").write_text("person\n")
    if identities is not None:
        (folder / "identities.csv").write_text("camera,id,person_id\n" + identities)
    return folder


def test_tracks_of_all_cameras_go_by_the_number_of_their_person(tmp_path: Path) -> None:
    truth = read_ground_truth(site(tmp_path, "door,1,4\nhall,7,4\ndoor,7,4\nhall, 1, 9\n"), None)
    assert truth.cameras["door"].rows.ids.tolist() == [4, 4, 4]
    assert truth.cameras["hall"].rows.ids.tolist() == [9, 9, 4]
    assert truth.warnings == ()


def test_a_track_that_is_not_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracks 7 of camera door are missing"):
        read_ground_truth(site(tmp_path, "door,1,4\nhall,7,4\nhall,1,9\n"), None)


def test_two_tracks_at_the_same_time_cannot_be_one_person(tmp_path: Path) -> None:
    folder = site(tmp_path, "door,1,4\ndoor,7,4\nhall,1,1\nhall,7,7\n")
    (folder / "door" / "gt" / "gt.txt").write_text("3,1,0,0,9,9,1,1,1\n3,7,50,0,9,9,1,1,1\n")
    with pytest.raises(ConfigError, match=r"person 4 would be twice in frame 3 of camera door"):
        read_ground_truth(folder, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("door,x,4\n", r"identities\.csv:2: expected a whole number from 0 as id, got 'x'"),
        ("door,1,\n", r"identities\.csv:2: expected a whole number from 0 as person_id, got ''"),
        ("door,1,4\ndoor,1,5\n", r"identities\.csv:3: track 1 of door is listed twice"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read_ground_truth(site(tmp_path, text), None)


def test_a_file_without_the_columns_is_named(tmp_path: Path) -> None:
    folder = site(tmp_path, None)
    (folder / "identities.csv").write_text("camera,person_id\n")
    with pytest.raises(DecodeError, match="expected columns camera, id, person_id, got no id"):
        read_ground_truth(folder, None)


def test_exports_of_several_cameras_without_the_file_are_doubted(tmp_path: Path) -> None:
    truth = read_ground_truth(site(tmp_path, None, export=True), None)
    assert any("CVAT numbers the tracks of each task on its own" in warning for warning in truth.warnings)
    assert read_ground_truth(tmp_path, ["door"]).warnings[0].startswith("ground truth of hall is not used")
