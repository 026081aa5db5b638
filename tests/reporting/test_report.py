import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import OutputError
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
        self.words.append(data)

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
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
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
        "detect 1,201 20.0 31.5 –",
        "frames skipped 3",
        "HOTA IDSW door 0.712 2",
        "IDF1 –",
        "1 min 1 s",
    ):
        assert words in page.text, words
    assert page.tags.count("img") == 3 + 1 and page.tags.count("rect") == 3
    assert (full / "report.html").read_text().count('class="reentered"') == 2  # in its own table and among all events


def test_the_page_stands_alone_and_runs_no_script(full: Path) -> None:
    page = page_of(full)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.sources and all(source.startswith("data:image/jpeg") for source in page.sources)
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
    for name in ("identities.jsonl", "metrics.json"):
        (full / name).unlink()
    (full / "identities.jsonl").write_text("")
    for file in (full / "crops" / "1").iterdir():
        file.unlink()
    text = page_of(full).text
    assert "door 600" in text and "Nobody was identified." in text


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "identities.jsonl", "references/references.jsonl"])
@pytest.mark.parametrize(
    "content", [b"{", b"[1, 2]", b'"text"', b"\xff\xfe\x00", b"null", b"[" * 100_000, b'{"a": NaN}']
)
def test_damaged_inputs_leave_their_part_out(full: Path, name: str, content: bytes) -> None:
    (full / name).write_bytes(content)
    assert "report of the run" in page_of(full).text


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
    (tmp_path / "metrics.json").write_text(json.dumps({NASTY: {NASTY: {NASTY: NASTY}}}))
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
    for file in [*full.glob("crops/1/*.jpg"), full / "references" / "door_30.png"]:
        file.write_bytes(b"no picture")
    page = page_of(full)
    assert "img" not in page.tags and "picture missing" in page.text and "no pictures kept" in page.text


def test_a_mask_is_drawn_on_its_reference_frame(full: Path) -> None:
    with_mask = page_of(full).sources[-1]
    (full / "references" / "door_30_mask.png").unlink()
    page = page_of(full)
    assert page.sources[-1] != with_mask and "(no mask)" in page.text


def test_thousands_of_events_and_identities_are_cut_with_a_word(tmp_path: Path) -> None:
    lines = []
    for i in range(1, 3001):
        lines += [event(2 * i - 1, "entered", i, float(i)), event(2 * i, "left", i, i + 5.0)]
    write_lines(tmp_path / "identities.jsonl", lines)
    page = page_of(tmp_path)
    assert f"{6000 - MAX_EVENTS:,} more events are not shown" in page.text
    assert f"{3000 - MAX_IDENTITIES} more identities are not shown" in page.text
    assert "more rows are not drawn" in page.text
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no folder"):
        write_report(tmp_path / "absent")


def test_an_unwritable_target_is_an_error_and_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
