"""Detections from MOTChallenge files."""

import os
from pathlib import Path

import numpy as np
import pytest

from detectors.recorded import RecordedDetector
from pipeline.errors import DecodeError
from pipeline.types import Frame

IMAGE = np.zeros((4, 4, 3), np.uint8)


def frame(number: int, camera_id: str = "a") -> Frame:
    return Frame(camera_id, "1", number - 1, 0.0, IMAGE)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "det.txt"
    path.write_text(text)
    return path


def test_rows_in_any_order_are_found_by_frame(tmp_path: Path) -> None:
    path = write(tmp_path, "7,-1,10,20,30,40,0.5\n2,-1,1,2,3,4,0.9,-1,-1,-1\n\n7,-1,0,0,5,5,1\n")
    seven, two, none = RecordedDetector({"a": path}).detect([frame(7), frame(2), frame(3)])
    assert seven.xyxy.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]]
    assert np.allclose(seven.confidence, [0.5, 1])
    assert two.xyxy.tolist() == [[1, 2, 4, 6]]
    assert len(none) == 0


def test_confidences_outside_zero_to_one_are_stretched_over_it(tmp_path: Path) -> None:
    path = write(tmp_path, "1,-1,0,0,5,5,-1\n1,-1,0,0,5,5,3\n1,-1,0,0,5,5,1\n")
    (found,) = RecordedDetector({"a": path}).detect([frame(1)])
    assert found.confidence.tolist() == [0, 1, 0.5]
    path.write_text("1,-1,0,0,5,5,30\n")
    assert RecordedDetector({"a": path}).detect([frame(1)])[0].confidence.tolist() == [1]


def test_weak_rows_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "1,-1,0,0,5,5,0.2\n1,-1,9,0,5,5,0.8\n")
    (found,) = RecordedDetector({"a": path}, confidence=0.5).detect([frame(1)])
    assert found.xyxy[:, 0].tolist() == [9]


def test_an_empty_file_has_nobody(tmp_path: Path) -> None:
    (found,) = RecordedDetector({"a": write(tmp_path, "")}).detect([frame(1)])
    assert len(found) == 0


@pytest.mark.parametrize(
    "row",
    ["2,-1,0,0,5", "2,-1,0,0,x,5,1", "0,-1,0,0,5,5,1", "1.5,-1,0,0,5,5,1", "2,-1,0,0,-5,5,1", "2,-1,nan,0,5,5,1"],
)
def test_a_bad_row_is_an_error_with_file_and_line(tmp_path: Path, row: str) -> None:
    path = write(tmp_path, f"1,-1,0,0,5,5,1\n{row}\n")
    with pytest.raises(DecodeError, match=r"det\.txt:2: expected frame,id,x,y,w,h,confidence") as caught:
        RecordedDetector({"a": path})
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_camera_are_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"absent\.txt"):
        RecordedDetector({"a": tmp_path / "absent.txt"})
    with pytest.raises(DecodeError, match=r"'b'.*for: a"):
        RecordedDetector({"a": write(tmp_path, "")}).detect([frame(1, "b")])


def test_a_real_motchallenge_file_is_read() -> None:
    folder = os.environ.get("MEDIA_DIR")
    path = Path(folder or "") / "mot17" / "02" / "det" / "det.txt"
    if not folder or not path.is_file():
        pytest.skip("MEDIA_DIR has no mot17/02")
    rows = np.loadtxt(path, delimiter=",")
    (found,) = RecordedDetector({"a": path}).detect([frame(69)])
    assert len(found) == (rows[:, 0] == 69).sum() > 0
