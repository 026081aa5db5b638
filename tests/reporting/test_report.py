import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.reporting.mistake_cards import MAX_PICTURES
from pipeline.reporting.report import MAX_EVENTS, MAX_IDENTITIES, write_report

NASTY = "</td><script>alert(1)</script>\"'&"


def event(sequence: int, kind: str, identity_id: int, at_s: float, key: Any = None, **more: Any) -> dict[str, Any]:
    key = {"camera_id": "door", "epoch": "1", "track_id": identity_id} if key is None else key
    given = {"sequence": sequence, "kind": kind, "identity_id": identity_id, "key": key, "at_s": at_s}
    return {**given, "decided_at_s": at_s + 0.5, "evidence": {"distance": 0.21, "threshold": 0.35}, **more}


def write_lines(file: Path, lines: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_picture(file: Path, value: int | np.ndarray = 120, shape: tuple[int, ...] = (90, 160, 3)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), value if isinstance(value, np.ndarray) else np.full(shape, value, np.uint8))


class Page(HTMLParser):
    """The visible text, the tags and what they point at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.words.append(data)

    def pictures(self, kind: str) -> int:
        return sum(source.startswith(f"data:image/{kind}") for source in self.sources)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(out_dir: Path) -> Page:
    return Page(write_report(out_dir).read_text(encoding="utf-8"))


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A folder with a little of everything."""
    run = {
        "site": "lobby",
        "started": 1.7e9,
        "duration_s": 61.2,
        "frames": {"door": 600, "hall": 601},
        "fps": {"door": 9.87, "hall": 9.9},
        "latency_ms": {"detect": {"p50": 20.04, "p95": 31.5, "p99": None, "count": 1201}},
        "losses": {"frames skipped": 3},
        "throughput_fps": 17.23,
        "memory_peak_mb": 512.4,
        "models": {"detector": "hog"},
        "versions": {"python": "3.11"},
        "config": {"cameras": [{"id": "door", "source": "rtsp://user:secret@10.0.0.5/s"}]},
        "warnings": ["the fallback detector was used"],
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    lines = [
        event(1, "entered", 1, 0.0),
        event(2, "left", 1, 5.0),
        event(3, "handed_over", 1, 8.0, ["hall", "1", 4], via=["door"]),
        event(4, "left", 1, 12.0, ["hall", "1", 4]),
        event(5, "reentered", 1, 30.0, absent_s=25.0, via=["hall"]),
    ]
    write_lines(tmp_path / "identities.jsonl", lines)
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "door.txt").write_text("1,1,5,5,10,20,0.9,-1,-1,-1\n2,1,5,5,10,20,0.9,-1,-1,-1\nnonsense\n")
    for i in range(3):
        write_picture(tmp_path / "crops" / "1" / f"{i}.jpg", shape=(64, 32, 3))
    labels = np.zeros((90, 160), np.uint8)
    labels[30:80, 60:90] = 1
    write_picture(tmp_path / "references" / "door_30.png")
    write_picture(tmp_path / "references" / "door_30_mask.png", labels)
    reference = {"camera_id": "door", "captured_at_s": 30.0, "image": "references/door_30.png", "reason": "reentered"}
    reference |= {"mask": "references/door_30_mask.png", "identity_id": 1, "subjects": [{"identity_id": 1, "value": 1}]}
    write_lines(tmp_path / "references" / "references.jsonl", [reference])
    metrics = {"per_camera": {"door": {"HOTA": 0.7123, "IDSW": 2}}, "cross_camera": {"IDF1": None}, "frames": 12}
    metrics |= {"ceiling": {"per_camera": {"door": {"HOTA": 0.8}}}, "combined": {"HOTA": 0.7}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    mistake = {"kind": "wrong_link", "camera_id": "hall", "frame": 4, "text": "hall: person 2 gets id 1"}
    (tmp_path / "mistakes.json").write_text(json.dumps({"mistakes": [mistake | {"frames_wrong": 7, "views": []}]}))
    for name in ("0.jpg", "0b.jpg"):
        write_picture(tmp_path / "mistakes" / name, 60)
    return tmp_path


def test_the_page_shows_everything_that_the_run_left(full: Path) -> None:
    page = page_of(full)
    for words in (
        "lobby report of the run",
        "the fallback detector was used",
        "door 600 9.9 2 1 2 1",  # frames, rate, boxes, identities, visits, re-entries
        "returned to door after 25 s via hall",
        "went to hall from door",
        "0.210 0.350",
        "detect 1,201 20.04 31.50 –",
        "frames skipped 3",
        "HOTA id switches door 0.712 best 0.800 2",
        "IDF1 final –",
        "frames value 12",
        "frames a second, all cameras 17.2",
        "memory at its peak 512 MB",
        "1 min 1 s",
        "Wrong links",
        "hall: person 2 gets id 1 (7 scored frames)",
    ):
        assert words in page.text, words
    assert page.pictures("jpeg") == 3 + 1 + 2 and page.pictures("svg+xml") == 2  # scores, timeline
    assert (full / "report.html").read_text().count('class="reentered"') == 2  # in its own table and among all events


def test_the_page_stands_alone_and_runs_no_script(full: Path) -> None:
    page = page_of(full)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    drawings = [base64.b64decode(s.split(",")[1]).decode() for s in page.sources if s.startswith("data:image/svg")]
    assert drawings and not any(
        "<script" in d or "<image" in d or "http://www.w3.org/1999/xlink#" in d for d in drawings
    )
    text = (full / "report.html").read_text()
    assert "Content-Security-Policy" in text and not re.search(r"url\(|@import", text)


def test_two_reports_of_one_run_are_equal_and_nothing_else_is_left(full: Path) -> None:
    before = {p.name for p in full.iterdir()}
    first = write_report(full).read_bytes()
    assert write_report(full).read_bytes() == first
    assert {p.name for p in full.iterdir()} == before | {"report.html"}


def test_passwords_in_the_config_are_hidden(full: Path) -> None:
    text = write_report(full).read_text()
    assert "secret" not in text and "10.0.0.5" in text


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    text = page_of(tmp_path).text
    assert "Nobody was identified." in text and "Nothing happened." in text and "No camera delivered" in text


def test_a_run_without_anybody_shows_its_cameras(full: Path) -> None:
    for name in ("identities.jsonl", "metrics.json", "mistakes.json"):
        (full / name).unlink()
    (full / "identities.jsonl").write_text("")
    for file in (full / "crops" / "1").iterdir():
        file.unlink()
    text = page_of(full).text
    assert "door 600" in text and "Nobody was identified." in text


INPUTS = ("run.json", "metrics.json", "mistakes.json", "identities.jsonl", "references/references.jsonl")
DAMAGED = [b"{", b"[1, 2]", b'"text"', b"\xff\xfe\x00", b"null", b"[" * 100_000, b'{"a": NaN}']


@pytest.mark.parametrize("names", [*((name,) for name in INPUTS), INPUTS], ids=len)
def test_damaged_inputs_leave_their_part_out(full: Path, names: tuple[str, ...]) -> None:
    for content in DAMAGED[:: 1 if len(names) > 1 else 3]:
        for name in names:
            (full / name).write_bytes(content)
        assert "report of the run" in page_of(full).text


@pytest.mark.parametrize(
    "mistakes",
    [7, {"mistakes": 7}, {"mistakes": [None, {"kind": 7, "text": "x"}]}, {"mistakes": [{"kind": "x", "text": None}]}],
)
def test_mistakes_of_a_wrong_kind_are_left_out(tmp_path: Path, mistakes: Any) -> None:
    (tmp_path / "mistakes.json").write_text(json.dumps(mistakes))
    assert "Worst mistakes" not in page_of(tmp_path).text


@pytest.mark.parametrize(
    "run",
    [
        {"frames": [1], "fps": 3, "latency_ms": "x", "losses": None, "warnings": "text", "config": []},
        {
            "frames": {"door": None},
            "fps": {"door": "fast"},
            "latency_ms": {"detect": 4},
            "started": "yesterday",
            "site": 7,
        },
        {"duration_s": float("nan"), "frames": {"door": float("inf")}, "latency_ms": {"x": {"p50": float("nan")}}},
    ],
)
def test_values_of_a_wrong_kind_are_tolerated(full: Path, run: dict[str, Any]) -> None:
    (full / "run.json").write_text(json.dumps(run))
    assert "report of the run" in page_of(full).text


def test_damaged_lines_are_counted_and_the_others_shown(full: Path) -> None:
    with (full / "identities.jsonl").open("a") as file:
        file.write('{"broken\n\n{"kind": "entered"}\n')
    text = page_of(full).text
    assert "identities.jsonl: 1 damaged line left out" in text and "cannot be understood" in text
    assert "returned to door after 25 s" in text


def test_every_text_is_escaped(tmp_path: Path) -> None:
    run = {"site": NASTY, "warnings": [NASTY], "frames": {NASTY: 1}, "losses": {NASTY: NASTY}, "config": {NASTY: NASTY}}
    (tmp_path / "run.json").write_text(json.dumps(run | {"latency_ms": {NASTY: {"p50": NASTY}}, "started": NASTY}))
    scored = {NASTY: {"frames": NASTY, "gt_boxes": 1, "left_out": {NASTY: 3}}}
    metrics = {NASTY: {NASTY: {NASTY: NASTY}}, "per_camera": {NASTY: {"HOTA": 0.5}}, "warnings": [NASTY]}
    metrics |= {"retrieval": {NASTY: {"rank1": NASTY}}, "scored": scored, "links": {"false": NASTY}}
    metrics["distances"] = {"edges": [0, 1], "same": [1], "different": [1], "basis": NASTY}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    mistakes = [{"kind": kind, "text": NASTY, "frames_wrong": NASTY} for kind in (NASTY, "id_switch")]
    (tmp_path / "mistakes.json").write_text(json.dumps({"mistakes": mistakes}))
    key = [NASTY, NASTY, 1]
    lines = [
        event(1, "entered", 1, 0.0, key, via=[NASTY], evidence={"distance": NASTY}),
        event(2, NASTY, 1, 1.0, key),
        event(3, "renamed", 1, 2.0, key, name=NASTY),
        event(4, "reentered", 1, 3.0, key, via=[NASTY], absent_s=9.0),
    ]
    write_lines(tmp_path / "identities.jsonl", lines)
    write_lines(
        tmp_path / "references.jsonl", [{"camera_id": NASTY, "reason": NASTY, "image": NASTY, "identity_id": 1}]
    )
    page = page_of(tmp_path)
    assert "script" not in page.tags and page.text.count("alert(1)") > 10


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "references/../../secret.png", "link.png", "\0", ""])
def test_a_reference_outside_of_the_folder_is_not_read(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    write_picture(tmp_path / "secret.png")
    out.mkdir()
    (out / "link.png").symlink_to(tmp_path / "secret.png")
    write_lines(out / "references.jsonl", [{"camera_id": "door", "captured_at_s": 1.0, "image": name, "mask": None}])
    page = page_of(out)
    assert "picture missing" in page.text and "img" not in page.tags


def test_pictures_that_cannot_be_read_are_left_out(full: Path) -> None:
    for file in [*full.glob("crops/1/*.jpg"), *full.glob("mistakes/*.jpg"), full / "references" / "door_30.png"]:
        file.write_bytes(b"no picture")
    page = page_of(full)
    assert (
        page.pictures("jpeg") == 0
        and "no picture hall: person 2" in page.text
        and "picture missing" in page.text
        and "no pictures kept" in page.text
    )


def test_a_mask_is_drawn_on_its_reference_frame(full: Path) -> None:
    with_mask = page_of(full).sources
    (full / "references" / "door_30_mask.png").unlink()
    page = page_of(full)
    assert len(set(page.sources) - set(with_mask)) == 1 and "(no mask)" in page.text


def test_thousands_of_events_and_identities_are_cut_with_a_word(tmp_path: Path) -> None:
    lines = []
    for i in range(1, 3001):
        lines += [event(2 * i - 1, "entered", i, float(i)), event(2 * i, "left", i, i + 5.0)]
    write_lines(tmp_path / "identities.jsonl", lines)
    page = page_of(tmp_path)
    assert f"{6000 - MAX_EVENTS:,} more events are not shown" in page.text
    assert f"{3000 - MAX_IDENTITIES} more identities are not shown" in page.text
    assert "2940 more rows, those seen shortest, are not drawn" in page.text
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no folder"):
        write_report(tmp_path / "absent")


def test_an_unwritable_target_is_an_error_and_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def everything_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: everything_null(v) for k, v in value.items()}
    return None


GROUPS = {
    "per_camera": {"door": {"HOTA": 0.5, "IDF1": 0.5, "MOTA": -3.5, "IDSW": 4, "gt_ids": 0}},
    "combined": {"HOTA": 0.5, "IDF1": 0.5, "MOTA": -3.5},
    "cross_camera": {"HOTA": 0.5, "IDF1": 0.5},
    "links": {"correct": 0, "false": 0, "missed": 0, "precision": 0.1, "recall": 0.2},
    "reentry": {"true": 1, "found": 1, "latency_s_p50": 0.5, "likely": {"true": 0, "found": 0}},
    "retrieval": {"cross_camera": {"rank1": 0.5, "mAP": 0.4}},
    "distances": {"edges": [0.0, 0.5, 1.0], "same": [3, 1], "different": [1, 7]},
    "scored": {"door": {"frames": 0, "gt_boxes": 0, "boxes": 0, "left_out": {"frame not annotated": 4}}},
}
FULL_METRICS = {**GROUPS, "online": GROUPS, "ceiling": GROUPS, "gt_boxes": {**GROUPS, "ceiling": GROUPS}}


@pytest.mark.parametrize(
    "metrics",
    [
        everything_null(FULL_METRICS),
        dict.fromkeys(FULL_METRICS),
        {**FULL_METRICS, "online": None, "gt_boxes": None, "cross_camera": None},
        {"distances": {"edges": [0, 1], "same": [0], "different": [0]}},
        {"distances": {"edges": [1, 0], "same": [1], "different": [1]}},
        {"distances": {"edges": [0, 1e300], "same": [1], "different": [1]}},
        {"distances": {"edges": [0, 1, 2], "same": [1], "different": [-1, 2]}},
        {"distances": {"edges": [float("nan"), 1], "same": [1], "different": [float("inf")]}},
        {"combined": {"HOTA": float("nan"), "MOTA": -1e300}, "links": {"false": float("inf"), "precision": 1e12}},
    ],
)
def test_degenerate_figures_make_a_page_without_nan(full: Path, metrics: dict[str, Any]) -> None:
    (full / "metrics.json").write_text(json.dumps(metrics))
    page = page_of(full)
    drawn = [base64.b64decode(s.split(",")[1]).decode() for s in page.sources if s.startswith("data:image/svg")]
    for text in (page.text, *drawn):
        assert not re.search(r"\b([nN]a[nN]|-?inf|None|null)\b", text)


def test_times_that_no_camera_has_do_not_break_the_drawings(tmp_path: Path) -> None:
    lines = [event(i, "entered", i, at_s) for i, at_s in enumerate((0.0, 1e300, 1e12, 5.0), start=1)]
    lines += [event(10 + i, "reentered", 1, 6.0 + i, decided_at_s=1e300 * (i % 2)) for i in range(12)]
    write_lines(tmp_path / "identities.jsonl", lines)
    assert page_of(tmp_path).pictures("svg+xml") == 3  # timeline, distances, delays


def test_the_most_serious_kinds_of_mistakes_come_first_and_long_lists_are_cut_with_a_word(tmp_path: Path) -> None:
    mistakes = [{"kind": "id_switch", "text": f"switch {i}", "frames_wrong": 100 - i} for i in range(20)]
    mistakes += [{"kind": "wrong_link", "text": "link", "frames_wrong": 1}, {"kind": "unheard_of", "text": "odd"}, 7]
    (tmp_path / "mistakes.json").write_text(json.dumps({"mistakes": mistakes}))
    text = page_of(tmp_path).text
    assert text.index("Wrong links") < text.index("Id switches") < text.index("unheard of")
    assert text.index("switch 0") < text.index("switch 5") and "switch 6" not in text
    assert "14 more of this kind are not shown" in text and "entries that cannot be understood" in text


def test_the_page_stays_small_with_many_large_pictures(tmp_path: Path) -> None:
    kinds = (
        "id_switch",
        "wrong_link",
        "missed_link",
        "missed_person",
        "false_alarm",
        "missed_reentry",
        "false_reentry",
    )
    mistakes = [{"kind": kind, "text": "x"} for kind in kinds for _ in range(12)]
    (tmp_path / "mistakes.json").write_text(json.dumps({"mistakes": mistakes}))
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    for place in range(len(mistakes)):
        for letter in ("", "b"):
            write_picture(tmp_path / "mistakes" / f"{place}{letter}.jpg", noise)
    page = page_of(tmp_path)
    assert page.pictures("jpeg") == MAX_PICTURES


def test_rows_without_times_are_drawn_at_the_frame_rate_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "a.txt").write_text("".join(f"{f},3,5,5,10,20,0.9,-1,-1,-1\n" for f in range(1, 101)))
    assert page_of(tmp_path).pictures("svg+xml") == 0
    (tmp_path / "run.json").write_text(json.dumps({"fps": {"a": 10.0}}))
    assert page_of(tmp_path).pictures("svg+xml") == 1


def test_a_dollar_in_a_name_is_no_formula_and_letters_without_a_glyph_do_no_harm(tmp_path: Path) -> None:
    lines = [
        event(1, "entered", 1, 0.0, ["$x_{", "1", 1]),
        event(2, "renamed", 1, 1.0, ["$x_{", "1", 1], name="王\n\0\ud800"),
    ]
    write_lines(tmp_path / "identities.jsonl", lines)
    drawing = next(s for s in page_of(tmp_path).sources if s.startswith("data:image/svg"))
    text = base64.b64decode(drawing.split(",")[1]).decode()
    assert "$x_{" in text and "王" in text and "\0" not in text


def test_waits_in_queues_are_shown_once(tmp_path: Path) -> None:
    wait = {"count": 9, "p50": 1.5, "p95": 2.5, "p99": 3.5}
    (tmp_path / "run.json").write_text(json.dumps({"latency_ms": {"inference_wait": wait}, "queue_wait_ms": wait}))
    assert page_of(tmp_path).text.count("1.50 2.50 3.50") == 1
    (tmp_path / "run.json").write_text(json.dumps({"queue_wait_ms": {"p50": 1.5, "p95": 2.5, "p99": 3.5}}))
    assert "wait in queue – 1.50 2.50 3.50" in page_of(tmp_path).text
    (tmp_path / "run.json").write_text(json.dumps({"queue_wait_ms": {"clips": wait}}))
    assert "wait: clips 9 1.50 2.50 3.50" in page_of(tmp_path).text


def test_the_time_seen_counts_boxes_where_the_times_of_the_frames_are_known(full: Path) -> None:
    assert "seen 9.5 s" in page_of(full).text  # 5 + 4 + 0.5 by the events
    (full / "frame_times").mkdir()
    (full / "frame_times" / "door.txt").write_text("0.0\n3.0\n")
    assert "seen 3.0 s" in page_of(full).text
