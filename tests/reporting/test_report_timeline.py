import base64
from pathlib import Path

import pytest

from pipeline.reporting.presence import Presence, joined, read_presence
from pipeline.reporting.timeline import MAX_ROWS, time_marks, timeline_of
from pipeline.view.visits import Visit


def rows(*frames_and_ids: tuple[int, int]) -> str:
    return "".join(f"{frame},{identity},5,5,10,20,0.9,-1,-1,-1\n" for frame, identity in frames_and_ids)


def write(out_dir: Path, name: str, text: str) -> None:
    (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
    (out_dir / name).write_text(text)


def visit(identity_id: int, start_s: float, end_s: float, camera_id: str = "door", kind: str = "entered") -> Visit:
    return Visit(identity_id, camera_id, start_s, end_s, kind, (camera_id, "1", 1))


def drawing(shown: tuple[str, str] | None) -> str:
    assert shown is not None
    return base64.b64decode(shown[0].split(",")[1]).decode()


def test_rows_become_spans_in_any_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "tracks/door.txt", rows((7, 1), (8, 1), (1, 1), (2, 2), (2, 1), (9, 1), (3, 1)))
    presence = read_presence(tmp_path, [])
    assert presence.spans == {("door", 1): [(1, 3), (7, 9)], ("door", 2): [(2, 2)]}
    assert presence.boxes == {("door", 1): 6, ("door", 2): 1}


def test_rows_that_are_none_are_skipped_and_files_that_are_none_are_a_warning(tmp_path: Path) -> None:
    write(
        tmp_path,
        "tracks/a.txt",
        "nonsense\n1,2\nx,y,1,1,1,1\nnan,1,1,1,1,1\n0,1,1,1,1,1\n4,-1,1,1,1,1\n" + rows((5, 1)),
    )
    (tmp_path / "tracks" / "b.txt").mkdir()
    write(tmp_path, "frame_times/a.txt", "0.0\nsoon\n")
    write(tmp_path, "frame_times/b.txt", "0.0\nnan\n")
    warnings: list[str] = []
    presence = read_presence(tmp_path, warnings)
    assert presence.spans == {("a", 1): [(5, 5)]} and presence.times == {}
    assert [w.split(" ")[0] for w in warnings] == ["tracks/b.txt", "frame_times/a.txt"]


def test_an_absent_folder_has_nobody(tmp_path: Path) -> None:
    assert read_presence(tmp_path, []) == Presence()


def test_frames_have_the_time_of_their_line_and_beyond_it_the_last_one(tmp_path: Path) -> None:
    write(tmp_path, "tracks/door.txt", rows((2, 1), (3, 1), (9, 1)))
    write(tmp_path, "frame_times/door.txt", "10.0\n10.5\n11.5\n")
    presence = read_presence(tmp_path, [])
    assert presence.seconds("door", presence.spans["door", 1]) == [(10.5, 11.5), (11.5, 11.5)]
    assert presence.seconds("hall", [(1, 2)]) == []


def test_spans_closer_than_the_gap_are_one() -> None:
    assert joined([(5, 6), (0, 1), (1.5, 3), (2, 2.5)], 0.5) == [(0, 3), (5, 6)]
    assert joined([], 1) == []


@pytest.mark.parametrize("start_s", [0.0, -3.0, 1.7e9])
@pytest.mark.parametrize("span_s", [0.0, 0.3, 7, 100, 5000, 86400 * 30, 86400 * 4000])
def test_the_time_axis_has_a_few_round_marks_at_any_length(start_s: float, span_s: float) -> None:
    marks = time_marks(start_s, start_s + span_s)
    assert 1 <= len(marks) <= 9 and marks == sorted(set(marks))
    assert all(start_s <= mark <= start_s + span_s for mark in marks)


def test_nobody_makes_no_timeline() -> None:
    assert timeline_of(Presence(), [], {}) is None
    assert timeline_of(Presence(), [visit(1, 1e300, 1e300)], {}) is None


def test_boxes_count_before_events_and_strangers_share_the_last_row(tmp_path: Path) -> None:
    write(tmp_path, "tracks/door.txt", rows((1, 2), (2, 2), (3, 1000000), (4, 1000007), (5, 1)))
    write(tmp_path, "frame_times/door.txt", "".join(f"{i}\n" for i in range(10)))
    shown = timeline_of(read_presence(tmp_path, []), [visit(5, 0, 9, "hall")], {1: "Ann"})
    text = drawing(shown)
    assert shown is not None and "has boxes" in shown[1]
    assert "hall" not in text and text.index(">#2<") < text.index(">Ann<") < text.index(">no identity<")
    assert text.count(">no identity<") == 1


def test_without_times_of_frames_the_events_are_drawn(tmp_path: Path) -> None:
    write(tmp_path, "tracks/door.txt", rows((1, 2)))
    shown = timeline_of(
        read_presence(tmp_path, []), [visit(5, 0, 9, "hall"), visit(5, 20, 29, "hall", "reentered")], {}
    )
    assert shown is not None and "from arrival to leaving" in shown[1] and ">hall<" in drawing(shown)


def test_dates_are_named_and_cameras_are_in_natural_order() -> None:
    text = drawing(timeline_of(Presence(), [visit(1, 1.7e9, 1.7e9 + 9, name) for name in ("cam10", "cam2")], {}))
    assert "2023-11-14, UTC" in text and text.index(">cam2<") < text.index(">cam10<")


def test_rows_that_do_not_fit_are_counted_and_those_seen_longest_stay() -> None:
    visits = [visit(i, i, 2 * i + 1) for i in range(1, MAX_ROWS + 3)]
    shown = timeline_of(Presence(), visits, {})
    assert shown is not None and "2 more rows" in shown[1]
    assert ">#2<" not in drawing(shown) and ">#3<" in drawing(shown)
    many = timeline_of(Presence(), [visit(i, i, i + 1, f"cam{i % 100}") for i in range(1, 1001)], {})
    assert many is not None and "800 more rows" in many[1]
