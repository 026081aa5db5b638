"""Ground truth from folders: layouts, roles, what is left out, and what is said about it."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, DecodeError
from pipeline.scoring.ground_truth import Role, TrueVisit, natural_order, read_ground_truth

PERSON, DISTRACTOR, OTHER = Role.PERSON, Role.DISTRACTOR, Role.OTHER
SEQINFO = "[Sequence]\nname=MOT17-99\nimDir=img1\nframeRate=30\nseqLength=3\nimWidth=640\nimHeight=480\nimExt=.jpg\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def roles(folder: Path, text: str, camera: str = "cam") -> list[int]:
    put(folder / f"{camera}.txt", text)
    return read_ground_truth(folder, None).cameras[camera].roles.tolist()


def test_every_camera_has_a_file_and_other_files_are_none_of_ours(tmp_path: Path) -> None:
    put(tmp_path / "cam10.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "cam2.txt", "1,2,0,0,9,9,1,1,1\n")
    put(tmp_path / "README.md", "not rows")
    put(tmp_path / "img1" / "notes.txt", "not rows")
    put(tmp_path / "frames" / "cam2.txt", "1\n")
    got = read_ground_truth(tmp_path, None)
    assert list(got.cameras) == ["cam2", "cam10"]
    assert got.visits is None
    assert got.warnings == ()


def test_a_dataset_of_sequences_is_read_with_its_seqinfo(tmp_path: Path) -> None:
    put(tmp_path / "MOT17-99-FRCNN" / "gt" / "gt.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "MOT17-99-FRCNN" / "seqinfo.ini", SEQINFO)
    put(tmp_path / "MOT17-98" / "gt" / "gt.txt", "1,1,0,0,9,9,1,1,1\n")
    cameras = read_ground_truth(tmp_path, None).cameras
    assert list(cameras) == ["MOT17-98", "MOT17-99-FRCNN"]
    known, unknown = cameras["MOT17-99-FRCNN"], cameras["MOT17-98"]
    assert (known.fps, known.frame_count, known.size_px) == (30.0, 3, (640, 480))
    assert (unknown.fps, unknown.frame_count, unknown.size_px) == (None, None, None)


def test_a_folder_that_is_one_sequence_goes_by_its_own_name(tmp_path: Path) -> None:
    put(tmp_path / "TUD-Campus" / "gt" / "gt.txt", "1,1,0,0,9,9,1,-1,-1,-1\n")
    put(tmp_path / "TUD-Campus" / "seqinfo.ini", SEQINFO)
    got = read_ground_truth(tmp_path / "TUD-Campus", None).cameras
    assert list(got) == ["TUD-Campus"]
    assert got["TUD-Campus"].frame_count == 3


def test_classes_of_mot17_tell_people_distractors_and_things(tmp_path: Path) -> None:
    lines = [f"1,{c},0,0,9,9,1,{c},1" for c in range(1, 14)]
    lines += ["2,1,0,0,9,9,0,1,1", "2,7,0,0,9,9,0,7,1", "2,3,0,0,9,9,0,3,1"]
    want = [PERSON if c == 1 else DISTRACTOR if c in (2, 7, 8, 12) else OTHER for c in range(1, 14)]
    assert roles(tmp_path, "\n".join(lines)) == [*want, DISTRACTOR, DISTRACTOR, OTHER]


def test_mot20_takes_vehicles_without_a_motor_for_distractors(tmp_path: Path) -> None:
    assert roles(tmp_path, "1,1,0,0,9,9,0,6,1\n", "MOT20-01") == [DISTRACTOR]
    assert roles(tmp_path, "1,1,0,0,9,9,0,6,1\n", "MOT17-01") == [OTHER]


@pytest.mark.parametrize("rest", [",-1,-1,-1", ",4.4852,5.5016,0", ""])
def test_without_classes_everybody_is_a_person_unless_not_considered(tmp_path: Path, rest: str) -> None:
    assert roles(tmp_path, f"1,1,0,0,9,9,1{rest}\n1,2,0,0,9,9,0{rest}\n1,3,0,0,9,9,-1{rest}\n") == [
        PERSON,
        DISTRACTOR,
        PERSON,
    ]


def test_rows_without_a_consider_flag_are_people(tmp_path: Path) -> None:
    assert roles(tmp_path, "1,1,0,0,9,9\n") == [PERSON]


def test_somebody_without_a_track_number_is_not_looked_for(tmp_path: Path) -> None:
    put(tmp_path / "cam.txt", "1,-1,0,0,9,9,1,1,1\n1,-1,50,0,9,9,1,1,1\n1,0,90,0,9,9,1,1,1\n")
    got = read_ground_truth(tmp_path, None)
    assert got.cameras["cam"].roles.tolist() == [DISTRACTOR, DISTRACTOR, PERSON]
    assert got.warnings == ("cam: 2 ground-truth rows without a track number (id below 0): nobody is looked for there",)


def cvat_roles(folder: Path, labels: str, *classes: int) -> list[int]:
    """Roles of a folder as CVAT exports it as "MOT 1.1": decimals, and classes that are lines of labels.txt."""
    put(folder / "hall" / "gt" / "labels.txt", labels)
    rows = [f"{n},1,10.5,20.25,30.0,40.0,1,{c},1.0\n" for n, c in enumerate(classes, start=1)]
    put(folder / "hall" / "gt" / "gt.txt", "".join(rows))
    return read_ground_truth(folder, None).cameras["hall"].roles.tolist()


def test_labels_of_cvat_are_numbered_by_their_lines(tmp_path: Path) -> None:
    labels = "car\nPerson\nstatic_person\nPerson on-vehicle\nreflection\nPEDESTRIAN"
    want = [OTHER, PERSON, DISTRACTOR, DISTRACTOR, DISTRACTOR, PERSON, OTHER]
    assert cvat_roles(tmp_path, labels, 1, 2, 3, 4, 5, 6, 7) == want


def test_the_only_label_of_cvat_means_people(tmp_path: Path) -> None:
    assert cvat_roles(tmp_path, "Mensch\n", 1, 1) == [PERSON, PERSON]


def test_labels_without_people_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels\.txt: no label means people, got cat, dog; name .* `person`"):
        cvat_roles(tmp_path, "cat\ndog", 1)


def test_annotated_frames_and_ignored_regions_stand_beside(tmp_path: Path) -> None:
    put(tmp_path / "cam.txt", "1,1,0,0,9,9,1,1,1\n2,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "frames" / "cam.txt", "5\n1\n3\n1\n")
    put(tmp_path / "ignore" / "cam.txt", "1,100,10,20,30,40\n")
    got = read_ground_truth(tmp_path, None)
    camera = got.cameras["cam"]
    assert camera.annotated is not None
    assert camera.annotated.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(camera.ignored, [[1, 100, 10, 20, 30, 40]])
    assert got.warnings == ("cam: 1 ground-truth rows in frames that are not listed as annotated: left out",)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("frames/cam.txt", "1\nx\n", r"frames/cam\.txt:2: expected numbers, got 'x'"),
        ("frames/cam.txt", "1\n0\n", r"frames/cam\.txt:2: expected the number of a frame, from 1, got 0"),
        ("ignore/cam.txt", "5,4,0,0,9,9\n", r"ignore/cam\.txt:1: expected frame_to at or after frame_from, got 4"),
        ("ignore/cam.txt", "1,4,0,0,0,9\n", r"ignore/cam\.txt:1: expected a region with width and height above 0"),
        ("ignore/cam.txt", "1,4,0,0\n", r"ignore/cam\.txt:1: expected at least 6 columns, got 4"),
        ("cam.txt", "1,1,0,0,9,9,1\n1,1,50,0,9,9,1\n", r"cam\.txt:2: expected every id once a frame"),
        ("notes.txt", "what I did today\n", r"notes\.txt:1: expected numbers, got 'what'"),
        ("visits.csv", "camera,person_id\n", r"visits\.csv:1: expected columns camera, .*, got no visit"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    put(tmp_path / "cam.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / file, text)
    with pytest.raises(DecodeError, match=message):
        read_ground_truth(tmp_path, None)


def test_a_broken_seqinfo_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a" / "gt" / "gt.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "a" / "seqinfo.ini", "seqLength=3\n")
    with pytest.raises(DecodeError, match=r"seqinfo\.ini: is not a MOTChallenge seqinfo"):
        read_ground_truth(tmp_path, None)


def test_only_wanted_cameras_are_read_and_the_others_are_told(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "b.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "notes.txt", "what I did today\n")
    got = read_ground_truth(tmp_path, ["c", "a"])
    assert list(got.cameras) == ["a"]
    assert got.warnings == (
        "no ground truth for c: not scored",
        "ground truth of b is not used: no such camera in the results",
    )


def test_no_camera_in_common_lists_what_was_found_and_wanted(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1,1,0,0,9,9,1,1,1\n")
    with pytest.raises(ConfigError, match=r"no camera in common: ground truth for a; wanted x, y"):
        read_ground_truth(tmp_path, ["y", "x"])
    with pytest.raises(ConfigError, match=r"no camera in common: ground truth for a; wanted none"):
        read_ground_truth(tmp_path, [])


def test_a_folder_without_ground_truth_says_what_is_expected(tmp_path: Path) -> None:
    put(tmp_path / "README.md", "nothing here")
    with pytest.raises(ConfigError, match=r"no ground truth; expected `<camera>\.txt`"):
        read_ground_truth(tmp_path, None)
    with pytest.raises(ConfigError, match="no such folder"):
        read_ground_truth(tmp_path / "missing", None)


def test_two_files_of_one_camera_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "a" / "gt" / "gt.txt", "1,1,0,0,9,9,1,1,1\n")
    with pytest.raises(ConfigError, match="two files for a"):
        read_ground_truth(tmp_path, None)


def test_odd_rows_are_told_with_what_becomes_of_them(tmp_path: Path) -> None:
    put(tmp_path / "a" / "seqinfo.ini", SEQINFO)
    put(
        tmp_path / "a" / "gt" / "gt.txt",
        "1,1,0,0,9,9,1,1,1\n4,1,0,0,9,9,1,1,1\n2,1,5,5,0,9,1,1,1\n3,1,-20,5,20,9,1,1,1\n3,2,640,5,20,9,1,1,1\n",
    )
    put(tmp_path / "b.txt", "1,1,0,0,9,9,0,1,1\n")
    put(tmp_path / "c.txt", "")
    assert read_ground_truth(tmp_path, None).warnings == (
        "a: 1 ground-truth rows after the last frame (3): left out",
        "a: 1 ground-truth rows without area: nothing can match them, they count as missed",
        "a: 2 ground-truth rows wholly outside the picture: they count as missed unless a result is there",
        "b: no people in the ground truth: every result box is a false alarm",
        "c: no people in the ground truth: every result box is a false alarm",
    )


def test_visits_are_read_and_only_sure_ones_are_sure(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "b.txt", "1,1,0,0,9,9,1,1,1\n")
    put(
        tmp_path / "visits.csv",
        "camera,person_id,visit,entry_frame,exit_frame,certainty,appearance\n"
        'a,1,1,10,20,sure,"hat, coat"\na,1,2,50,60,likely,\n\na,2,1,5,5,Sure,x\nb,2,1,5,9,sure,x\nz,1,1,5,9,sure,x\n',
    )
    got = read_ground_truth(tmp_path, ["a"])
    assert got.visits == (
        TrueVisit("a", 1, 1, 10, 20, True),
        TrueVisit("a", 1, 2, 50, 60, False),
        TrueVisit("a", 2, 1, 5, 5, True),
    )
    assert "visits.csv: z has visits and no ground truth: left out" in got.warnings


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,1,20,10,sure", "expected exit_frame at or after entry_frame 20, got 10"),
        ("a,1,1,x,10,sure", "expected a whole number from 1 as entry_frame, got 'x'"),
        ("a,1,0,1,10,sure", "expected a whole number from 1 as visit, got '0'"),
        ("a,,1,1,10,sure", "expected a whole number from 0 as person_id, got ''"),
        ("a,1,1,1", "expected a whole number from 1 as exit_frame, got ''"),
    ],
)
def test_a_wrong_visit_is_named_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    put(tmp_path / "a.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "visits.csv", f"camera,person_id,visit,entry_frame,exit_frame,certainty\na,1,1,1,2,sure\n{row}\n")
    with pytest.raises(DecodeError) as error:
        read_ground_truth(tmp_path, None)
    assert str(error.value) == f"{tmp_path}/visits.csv:3: {message}"


def test_natural_order_counts_numbers_and_keeps_names_that_are_alike_apart() -> None:
    assert natural_order(["b2", "b10", "a", "b2", "10", "9", "b02"]) == ["9", "10", "a", "b02", "b2", "b10"]
