"""MOTChallenge rows: what is read, and what is refused with its place."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.scoring.rows import NOBODY, Rows, first_repeated, read_rows, rows_text


def written(folder: Path, text: str) -> Path:
    path = folder / "cam.txt"
    path.write_text(text)
    return path


def test_reads_commas_and_white_space_alike(tmp_path: Path) -> None:
    with_commas = read_rows(written(tmp_path, "1,2,10.5,20,30,40,0.9,-1,-1,-1\n3, 4, 1, 2, 3, 4, 0.5, -1, -1, -1\n"))
    with_spaces = read_rows(written(tmp_path, "1 2 10.5 20 30 40 0.9 -1 -1 -1\n3\t4  1 2 3 4 0.5 -1 -1 -1\n"))
    for got in (with_commas, with_spaces):
        assert got.frames.tolist() == [1, 3]
        assert got.ids.tolist() == [2, 4]
        assert got.xywh.tolist() == [[10.5, 20, 30, 40], [1, 2, 3, 4]]
        assert got.confidence.tolist() == [0.9, 0.5]


def test_six_columns_are_enough_and_confidence_is_then_one(tmp_path: Path) -> None:
    got = read_rows(written(tmp_path, "1,2,0,0,3,4\n"))
    assert got.confidence.tolist() == [1.0]


def test_whole_numbers_may_be_written_as_decimals(tmp_path: Path) -> None:
    got = read_rows(written(tmp_path, "1.0,7.0,0,0,3,4,1\n2e0,7,0,0,3,4,1\n"))
    assert got.frames.tolist() == [1, 2]
    assert got.ids.tolist() == [7, 7]


@pytest.mark.parametrize("text", ["", "\n\n  \n", "\ufeff"])
def test_an_empty_file_has_no_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cam.txt"
    path.write_text(text, "utf-8")
    assert len(read_rows(path)) == 0


def test_blank_lines_a_byte_order_mark_and_a_last_comma_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "cam.txt"
    path.write_bytes(b"\xef\xbb\xbf1,2,0,0,3,4,\r\n\r\n2,2,0,0,3,4,\r\n")
    assert read_rows(path).frames.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0,0,3,4\n1,x,0,0,3,4\n", ":2: expected numbers, got 'x'"),
        ("1,2,0,,3,4\n", ":1: expected numbers, got ''"),
        ('17 408 572 496 772 0 0 0 0 "PERSON"\n', ":1: expected numbers, got '\"PERSON\"'"),
        ("1,2,0,0,3\n", ":1: expected at least 6 columns, got 5"),
        ("1,2,0,0,3,4,1\n\n2,2,0,0,3,4\n", ":3: expected 7 columns as before, got 6"),
        ("1,2,0,nan,3,4\n", ":1: expected finite numbers, got nan"),
        ("1,2,0,0,inf,4\n", ":1: expected finite numbers, got inf"),
        ("1,2,0,0,3,4\n0,2,0,0,3,4\n", ":2: expected a frame from 1, got 0"),
        ("1.5,2,0,0,3,4\n", ":1: expected a whole number as frame, got 1.5"),
        ("1,2.25,0,0,3,4\n", ":1: expected a whole number as id, got 2.25"),
        ("1700000000,2,0,0,3,4\n", ":1: expected a frame number up to 10000000, got 1.7e+09"),
        ("1,2,0,0,-3,4\n", ":1: expected a width of at least 0, got -3"),
        ("1,2,0,0,3,-4\n", ":1: expected a height of at least 0, got -4"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DecodeError) as error:
        read_rows(path)
    assert str(error.value) == f"{path}{message}"


def test_an_id_twice_in_one_frame_names_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "1,5,0,0,3,4\n\n2,5,0,0,3,4\n1,6,0,0,3,4\n1,5,9,9,3,4\n")
    with pytest.raises(DecodeError) as error:
        read_rows(path)
    assert str(error.value) == f"{path}:5: expected every id once a frame, got id 5 of frame 1 as in line 1"


def test_unknown_people_may_be_many_in_one_frame_only_where_the_caller_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "1,0,0,0,3,4\n1,0,9,9,3,4\n")
    assert len(read_rows(path, nobody=NOBODY)) == 2
    with pytest.raises(DecodeError, match="id 0 of frame 1"):
        read_rows(path)


def test_negative_ids_are_no_identities_and_may_be_many_in_one_frame(tmp_path: Path) -> None:
    assert len(read_rows(written(tmp_path, "1,-1,0,0,3,4\n1,-1,9,9,3,4\n"))) == 2


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"missing\.txt: cannot be read"):
        read_rows(tmp_path / "missing.txt")
    (tmp_path / "video.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DecodeError, match=r"video\.txt: cannot be read as text"):
        read_rows(tmp_path / "video.txt")


def test_rows_are_written_in_order_of_frame_and_id() -> None:
    xywh = np.array([[1.006, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    rows = Rows(np.array([2, 1, 1]), np.array([1, 9, 3]), xywh, np.array([0.12345, 1, 0]))
    assert rows_text(rows) == (
        "1,3,9.00,10.00,11.00,12.00,0.000,-1,-1,-1\n"
        "1,9,5.00,6.00,7.00,8.00,1.000,-1,-1,-1\n"
        "2,1,1.01,2.00,3.00,4.00,0.123,-1,-1,-1\n"
    )


def test_no_rows_make_an_empty_file() -> None:
    assert rows_text(Rows.empty()) == ""
    assert first_repeated(Rows.empty()) is None


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(1, 10_000_000), st.integers(-3, 2**40)),
        st.tuples(*[st.integers(-100_000, 1_000_000)] * 2, *[st.integers(0, 1_000_000)] * 2, st.integers(0, 1000)),
        max_size=20,
    )
)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, boxes: dict[tuple[int, int], tuple[int, int, int, int, int]]
) -> None:
    keys = sorted(boxes)
    values = np.array([boxes[key] for key in keys], np.float64).reshape(-1, 5)
    frames, ids = (np.array([key[i] for key in keys], np.int64) for i in (0, 1))
    rows = Rows(frames, ids, values[:, :4] / 100, values[:, 4] / 1000)
    path = tmp_path_factory.mktemp("rows") / "cam.txt"
    path.write_text(rows_text(rows))
    again = read_rows(path)
    np.testing.assert_array_equal(again.frames, rows.frames)
    np.testing.assert_array_equal(again.ids, rows.ids)
    np.testing.assert_array_equal(again.xywh, rows.xywh)
    np.testing.assert_array_equal(again.confidence, rows.confidence)
