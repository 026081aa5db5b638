import json
from pathlib import Path

import av
import numpy as np
import pytest
from background_scene import HEIGHT_PX, PEOPLE, WIDTH_PX, Keep, draw, frame_of, room

from pipeline.background import erase_rows
from pipeline.background.background_model import BackgroundModel
from pipeline.background.crops import CropStore
from pipeline.background.erase import erase_identity_files
from pipeline.background.files import append_line, encode_png, read_image, write_bytes
from pipeline.background.local_tracks import read_local_keys, write_local_keys
from pipeline.background.references import reference_json
from pipeline.errors import OutputError
from pipeline.types import ReferenceFrame, ReferenceSubject, TrackKey

IMAGE, MASKS, BOXES = draw(PEOPLE[:2])
PICTURES = 12


def event(sequence: int, kind: str, identity: int, **more: object) -> dict[str, object]:
    key = more.pop("key", ["door", "1", identity])
    return {"schema": 1, "sequence": sequence, "kind": kind, "identity_id": identity, "key": key, **more}


def write_lines(path: Path, values: list[dict[str, object]]) -> None:
    for value in values:
        append_line(path, json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "identities.jsonl").read_text().splitlines()]


def row(frame: int, identity: int, person: int, shift: float = 0.0) -> str:
    x1, y1, x2, y2 = BOXES[person]
    return f"{frame},{identity},{x1 + shift:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},0.900,-1,-1,-1\n"


def write_rows(folder: Path, kind: str, rows: list[str]) -> None:
    write_bytes(folder / kind / "door.txt", "".join(rows).encode())


def reference(folder: Path, ids: tuple[int, int], taken_for: int, at_s: float = 10.0) -> ReferenceFrame:
    labels = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    subjects = []
    for i, identity in enumerate(ids):
        labels[MASKS[i]] = i + 1
        x1, y1, x2, y2 = (float(v) for v in BOXES[i])
        subjects.append(ReferenceSubject(identity, i + 1, (x1, y1, x2, y2), 0.8))
    stem = f"references/door_{at_s:.3f}"
    one = ReferenceFrame(
        "door", at_s, f"{stem}.png", f"{stem}_mask.png", "entered", taken_for, "grabcut", tuple(subjects)
    )
    write_bytes(folder / one.image, encode_png(IMAGE))
    write_bytes(folder / one.mask, encode_png(labels))
    append_line(folder / "references/references.jsonl", reference_json(one))
    return one


def video(folder: Path) -> Path:
    path = folder / "overlay/door.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "10"}
        for _ in range(PICTURES):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(IMAGE, format="bgr24")))
        target.mux(stream.encode(None))
    return path


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as source:
        return [frame.to_ndarray(format="bgr24") for frame in source.decode(video=0)]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith(".lock")
    }


def test_an_empty_folder_has_nothing_to_erase(tmp_path: Path) -> None:
    report = erase_identity_files(tmp_path, 5)
    assert report.identity_ids == (5,) and report.counts == {} and report.files == () and report.notes == ()
    assert list(tmp_path.iterdir()) == []


def test_no_identity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="identity"):
        erase_identity_files(tmp_path, 0)


def test_rows_of_others_keep_their_bytes(tmp_path: Path) -> None:
    theirs = [row(1, 6, 1), row(2, 6, 1), "not a row\n", "3,inf,1,1,1,1\n"]
    write_rows(tmp_path, "tracks", [row(1, 5, 0), *theirs, row(2, 5, 0)])
    report = erase_identity_files(tmp_path, 5)
    assert (tmp_path / "tracks/door.txt").read_text() == "".join(theirs)
    assert report.counts == {"track_rows": 2} and report.files == ("tracks/door.txt",)


def test_online_rows_before_the_person_was_known_go_and_mistaken_ones_lose_the_id(tmp_path: Path) -> None:
    write_rows(tmp_path, "tracks", [row(1, 5, 0), row(1, 6, 1), row(2, 5, 0), row(2, 6, 1), row(3, 6, 1)])
    online = [row(1, 0, 0), row(1, 0, 1), row(2, 5, 0), row(2, 5, 1), row(3, 6, 1), row(4, 5, 0)]
    write_rows(tmp_path, "tracks_online", online)
    erase_identity_files(tmp_path, 5)
    assert (tmp_path / "tracks_online/door.txt").read_text() == row(1, 0, 1) + row(2, 0, 1) + row(3, 6, 1)


def test_local_tracks_of_the_person_go_by_their_keys_even_where_no_other_row_shows_them(tmp_path: Path) -> None:
    keys = [(1, TrackKey("door", "1", 5)), (2, TrackKey("door", "1", 6)), (3, TrackKey("door", "2", 5))]
    write_local_keys(tmp_path, [*keys, (3, TrackKey("hall", "1", 5))])
    write_rows(tmp_path, "tracks_local", [row(1, 1, 0), row(1, 2, 1), "not a row\n", row(9, 3, 0)])
    write_lines(tmp_path / "identities.jsonl", [event(1, "entered", 5), event(2, "entered", 6)])
    report = erase_identity_files(tmp_path, 5)
    assert (tmp_path / "tracks_local/door.txt").read_text() == row(1, 2, 1) + "not a row\n" + row(9, 3, 0)
    assert read_local_keys(tmp_path) == [*keys[1:], (3, TrackKey("hall", "1", 5))]
    assert report.counts["local_rows"] == 1
    before = snapshot(tmp_path)
    assert "local_rows" not in erase_identity_files(tmp_path, 5).counts and snapshot(tmp_path) == before


def test_events_of_the_person_go_and_others_lose_only_the_mention(tmp_path: Path) -> None:
    evidence = {"distance": 0.1, "runner_up": [5, 0.4], "excluded": [[5, "overlaps"], [7, "é too fast"]]}
    plain = event(3, "left", 6)
    write_lines(
        tmp_path / "identities.jsonl",
        [
            event(1, "entered", 5),
            event(2, "entered", 6, evidence=evidence),
            plain,
            event(4, "renamed", 5, name="Ann"),
            event(5, "split", 6, other_identity_id=5),
            event(6, "forgotten", 5, key=None),
        ],
    )
    before = (tmp_path / "identities.jsonl").read_bytes().splitlines()
    report = erase_identity_files(tmp_path, 5)
    after = (tmp_path / "identities.jsonl").read_bytes().splitlines()
    assert [e["sequence"] for e in events(tmp_path)] == [2, 3, 5, 6]
    assert events(tmp_path)[0]["evidence"] == {"distance": 0.1, "runner_up": None, "excluded": [[7, "é too fast"]]}
    assert events(tmp_path)[2]["other_identity_id"] is None
    assert before[2] in after and before[5] in after and "é".encode() in after[0]
    assert report.counts == {"event_lines": 2, "events_scrubbed": 2}


def test_a_track_that_was_only_taken_for_the_person_stays(tmp_path: Path) -> None:
    write_local_keys(tmp_path, [(1, TrackKey("door", "1", 5)), (2, TrackKey("door", "1", 6))])
    write_rows(tmp_path, "tracks_local", [row(1, 1, 0), row(1, 2, 1)])
    taken_for = event(3, "reassigned", 6, key=["door", "1", 6], other_identity_id=5)
    write_lines(
        tmp_path / "identities.jsonl",
        [event(1, "entered", 5), event(2, "continued", 5, key=["door", "1", 6]), taken_for],
    )
    erase_identity_files(tmp_path, 5)
    assert events(tmp_path) == [{**taken_for, "other_identity_id": None}]
    assert read_local_keys(tmp_path) == [(2, TrackKey("door", "1", 6))]


def test_what_was_said_of_the_persons_tracks_under_another_number_goes_with_its_pictures(tmp_path: Path) -> None:
    pointer = {"host": "h", "camera_id": "door", "captured_at_s": 10.0, "file": "kept/a.jpg"}
    key = ["door", "1", 7]
    write_lines(
        tmp_path / "identities.jsonl",
        [
            event(1, "entered", 5),
            event(2, "entered", 6, key=key, at_s=9.0, frame=pointer),
            event(3, "reassigned", 5, key=key, at_s=9.0, other_identity_id=6),
            event(4, "reentered", 6, key=["door", "1", 8], at_s=30.0, previous_key=key),
        ],
    )
    store = CropStore(tmp_path, 3)
    store.add(6, "door", 10.0, IMAGE[:50, :20], 0.5)
    store.add(6, "door", 31.0, IMAGE[:50, :20], 0.5)
    reference(tmp_path, (6, 0), taken_for=6, at_s=10.0)
    erase_identity_files(tmp_path, 5)
    (left,) = events(tmp_path)
    assert left["sequence"] == 4 and left["previous_key"] is None
    assert [crop.captured_at_s for crop in store.of(6)] == [31.0] and store.of(5) == []
    assert not list((tmp_path / "references").glob("*.png"))


def test_search_results_in_the_folder_go_and_other_files_stay(tmp_path: Path) -> None:
    write_lines(tmp_path / "identities.jsonl", [event(1, "entered", 5)])
    for name in ("found.html", "sheet.JPG", "sheet.png", "notes.txt", "other.json", "metrics.json"):
        (tmp_path / name).write_text('{"asked": 1}')
    (tmp_path / "found.json").write_text('{"schema": 1, "asked": {}, "sections": [], "why": null}')
    before = snapshot(tmp_path)
    assert "search_results" not in erase_identity_files(tmp_path, 6).counts and snapshot(tmp_path) == before
    report = erase_identity_files(tmp_path, 5)
    assert report.counts["search_results"] == 4 and len(report.notes) == 3
    assert sorted(p.name for p in tmp_path.glob("*.*") if p.suffix != ".lock") == [
        "identities.jsonl",
        "metrics.json",
        "notes.txt",
        "other.json",
    ]


def test_tracks_that_only_somebody_else_knew_of_go_too(tmp_path: Path) -> None:
    write_local_keys(tmp_path, [(1, TrackKey("door", "1", 5)), (2, TrackKey("door", "1", 6))])
    write_rows(tmp_path, "tracks_local", [row(1, 1, 0), row(1, 2, 1)])
    erase_identity_files(tmp_path, 5, known=frozenset({TrackKey("door", "1", 5)}))
    assert (tmp_path / "tracks_local/door.txt").read_text() == row(1, 2, 1)


@pytest.mark.parametrize("named", [3, 5, 8])
def test_ids_that_were_merged_are_one_person(tmp_path: Path, named: int) -> None:
    merges = [event(4, "merged", 5, other_identity_id=3), event(5, "merged", 8, other_identity_id=5)]
    write_lines(tmp_path / "identities.jsonl", [event(i, "entered", i) for i in (3, 5, 6, 8)] + merges)
    store = CropStore(tmp_path, 3)
    for identity in (3, 5, 6, 8):
        store.add(identity, "door", 1, IMAGE[:50, :20], 0.5)
    report = erase_identity_files(tmp_path, named)
    assert report.identity_ids == (3, 5, 8)
    assert [e["identity_id"] for e in events(tmp_path)] == [6]
    assert sorted(p.name for p in (tmp_path / "crops").iterdir()) == ["6"]


def test_a_shared_reference_stays_usable_for_the_other_person(tmp_path: Path) -> None:
    model = BackgroundModel()
    model.update(frame_of(room()), np.zeros((0, 4), np.float32))
    model.save(tmp_path, "door")
    one = reference(tmp_path, (5, 6), taken_for=6)
    report = erase_identity_files(tmp_path, 5)
    image, labels = read_image(tmp_path / one.image), read_image(tmp_path / one.mask, grey=True)
    assert (image[MASKS[1]] == IMAGE[MASKS[1]]).all() and (labels == 2).sum() == MASKS[1].sum()
    assert not (labels == 1).any()
    assert np.abs(image[MASKS[0]].astype(int) - room()[MASKS[0]]).mean() < 1
    (line,) = map(json.loads, (tmp_path / "references/references.jsonl").read_text().splitlines())
    assert [s["identity_id"] for s in line["subjects"]] == [6] and line["identity_id"] == 6
    assert report.counts == {"reference_lines": 1, "references_changed": 1}


def test_without_a_plate_the_person_is_pixelated(tmp_path: Path) -> None:
    one = reference(tmp_path, (5, 6), taken_for=5)
    erase_identity_files(tmp_path, 5)
    image = read_image(tmp_path / one.image)
    assert (image[MASKS[1]] == IMAGE[MASKS[1]]).all()
    x1, y1, x2, y2 = BOXES[0].astype(int)
    colours = np.unique(image[y1:y2, x1:x2].reshape(-1, 3), axis=0)
    assert len(colours) < 150  # blocks; the person had thousands
    (line,) = map(json.loads, (tmp_path / "references/references.jsonl").read_text().splitlines())
    assert line["identity_id"] == 0


def test_a_reference_of_nobody_else_goes_whole(tmp_path: Path) -> None:
    reference(tmp_path, (5, 0), taken_for=5)
    other = reference(tmp_path, (0, 6), taken_for=6, at_s=20)
    erase_identity_files(tmp_path, 5)
    assert sorted(p.name for p in (tmp_path / "references").glob("*.png")) == [
        "door_20.000.png",
        "door_20.000_mask.png",
    ]
    assert (tmp_path / "references/references.jsonl").read_text() == reference_json(other) + "\n"


def test_the_person_is_erased_from_references_taken_before_anybody_knew_them(tmp_path: Path) -> None:
    one = reference(tmp_path, (0, 6), taken_for=6)
    write_rows(tmp_path, "tracks", [row(1, 5, 0, shift=3), row(1, 6, 1)])
    erase_identity_files(tmp_path, 5)
    assert not (read_image(tmp_path / one.mask, grey=True) == 1).any()


def test_an_unreadable_reference_of_the_person_goes_whole(tmp_path: Path) -> None:
    one = reference(tmp_path, (5, 6), taken_for=6)
    (tmp_path / one.mask).write_bytes(b"broken")
    erase_identity_files(tmp_path, 5)
    assert not list((tmp_path / "references").glob("*.png"))
    assert (tmp_path / "references/references.jsonl").read_bytes() == b""


def test_kept_frames_with_the_persons_tracks_go(tmp_path: Path, keep: Keep) -> None:
    mine = keep(at_s=10, first_id=1)
    other = keep(at_s=20, first_id=3)
    unknown = keep(at_s=30, first_id=8)
    (tmp_path / unknown.file).with_suffix(".json").write_text("{")
    orphan = keep(at_s=40, first_id=9)
    (tmp_path / orphan.file).with_suffix(".json").unlink()
    write_lines(tmp_path / "identities.jsonl", [event(1, "entered", 5, key=["door", "1", 2])])
    assert erase_identity_files(tmp_path, 5).counts["kept_frames"] == 3
    assert [p.name for p in (tmp_path / "kept/door").glob("*.jpg")] == [Path(other.file).name]
    assert not (tmp_path / mine.file).exists()


def test_the_overlay_is_pixelated_where_the_person_is_and_nowhere_else(tmp_path: Path) -> None:
    path = video(tmp_path)
    before = pictures(path)
    write_rows(tmp_path, "tracks", [row(7, 5, 0), *(row(n, 6, 1) for n in range(1, PICTURES + 1))])
    report = erase_identity_files(tmp_path, 5, {"door": PICTURES})
    after = pictures(path)
    assert len(after) == PICTURES and report.counts["videos_pixelated"] == 1 and report.counts["video_pictures"] == 5
    change = [np.abs(a.astype(int) - b)[MASKS[0]].mean() for a, b in zip(after, before, strict=True)]
    assert [c > 8 for c in change] == [4 <= n <= 8 for n in range(PICTURES)]  # row 7 is picture 6, and two around it
    theirs = [np.abs(a.astype(int) - b)[MASKS[1]].mean() for a, b in zip(after, before, strict=True)]
    assert max(theirs) < 4


@pytest.mark.parametrize("frames", [None, {"door": PICTURES + 3}])
def test_an_overlay_that_cannot_be_matched_with_the_rows_is_removed_with_a_word(
    tmp_path: Path, frames: dict[str, int] | None
) -> None:
    path = video(tmp_path)
    write_rows(tmp_path, "tracks", [row(7, 5, 0)])
    report = erase_identity_files(tmp_path, 5, frames)
    assert not path.exists() and report.counts["videos_removed"] == 1
    assert report.notes == (
        "overlay/door.mp4 was removed, not pixelated: its pictures cannot be matched with the rows' frame numbers",
    )


def test_a_broken_overlay_is_removed_and_other_cameras_videos_stay(tmp_path: Path) -> None:
    write_bytes(tmp_path / "overlay/door.mp4", b"no video")
    write_bytes(tmp_path / "overlay/hall.mp4", b"no video")
    write_rows(tmp_path, "tracks", [row(7, 5, 0)])
    report = erase_identity_files(tmp_path, 5, {"door": 12, "hall": 12})
    assert [p.name for p in (tmp_path / "overlay").iterdir()] == ["hall.mp4"]
    assert "cannot be read" in report.notes[0]


def whole_folder(folder: Path, keep: Keep) -> None:
    """Persons 5 and 6, overlapping in time, in every file."""
    video(folder)
    rows = [row(n, i, i - 5) for n in range(1, PICTURES + 1) for i in (5, 6)]
    write_rows(folder, "tracks", rows)
    write_rows(folder, "tracks_online", [r.replace(",5,", ",0,", 1) if r.startswith("1,") else r for r in rows])
    write_lines(folder / "identities.jsonl", [event(1, "entered", 5), event(2, "entered", 6)])
    reference(folder, (5, 6), taken_for=6)
    reference(folder, (0, 6), taken_for=6, at_s=30)
    for identity in (5, 6):
        CropStore(folder, 3).add(identity, "door", 1, IMAGE[:50, :20], 0.5)
    keep(at_s=10, first_id=5)
    for name in ("report.html", "mistakes.json", "mistakes/0.jpg", "mistakes/0b.jpg"):
        write_bytes(folder / name, b"pictures of everybody")
    write_bytes(folder / "run.json", b"{}")


def test_erasing_twice_changes_nothing_more(tmp_path: Path, keep: Keep) -> None:
    whole_folder(tmp_path, keep)
    first = erase_identity_files(tmp_path, 5, {"door": PICTURES})
    assert set(first.counts) >= {"crops", "kept_frames", "reports", "track_rows", "event_lines", "videos_pixelated"}
    after = snapshot(tmp_path)
    second = erase_identity_files(tmp_path, 5, {"door": PICTURES})
    assert second.counts == {} and second.files == ()
    assert snapshot(tmp_path) == after


def test_nothing_of_the_person_is_left_and_the_other_keeps_everything(tmp_path: Path, keep: Keep) -> None:
    whole_folder(tmp_path, keep)
    before = snapshot(tmp_path)
    report = erase_identity_files(tmp_path, 5, {"door": PICTURES})
    after = snapshot(tmp_path)
    for name in (n for n in after if n.endswith((".txt", ".jsonl"))):
        text = after[name].decode()
        assert ",5," not in text and '"identity_id":5' not in text
    theirs = [line for line in before["tracks/door.txt"].splitlines() if b",6," in line]
    assert after["tracks/door.txt"].splitlines() == theirs
    for name in ("crops/6/door_1.000_0.500.jpg", "run.json"):
        assert after[name] == before[name]
    assert not any(n.startswith(("report.html", "mistakes", "crops/5")) for n in after)
    changed = {n for n in before if before[n] != after.get(n)}
    assert {n for n in changed if not n.startswith("kept/")} == {n for n in report.files if not n.startswith("kept/")}
    assert not [n for n in after if ".tmp" in n]


def test_an_erasure_that_was_interrupted_can_be_run_again(
    tmp_path: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_folder(tmp_path, keep)

    def full(work: object) -> None:
        raise OutputError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.background.erase.erase_rows", full)
        with pytest.raises(OutputError):
            erase_identity_files(tmp_path, 5, {"door": PICTURES})
    assert erase_rows.read_rows(tmp_path / "tracks/door.txt").of(frozenset({5})).sum() == PICTURES
    erase_identity_files(tmp_path, 5, {"door": PICTURES})
    assert not erase_rows.read_rows(tmp_path / "tracks/door.txt").of(frozenset({5})).any()
    assert [e["identity_id"] for e in events(tmp_path)] == [6]


def test_cut_outs_of_cameras_that_saw_the_person_go_and_others_stay(tmp_path: Path) -> None:
    write_rows(tmp_path, "tracks", [row(1, 5, 0)])
    folder = tmp_path / "background"
    for name in (
        "door_green.mp4",
        "door_green.json",
        "door_alpha/000001.png",
        "hall_removed.mp4",
        "back_door_green.mp4",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture")
    report = erase_identity_files(tmp_path, 5)
    assert sorted(p.name for p in folder.iterdir()) == ["back_door_green.mp4", "hall_removed.mp4"]
    assert report.counts["cut_outs"] == 3 and any("door_alpha" in note for note in report.notes)
    assert "cut_outs" not in erase_identity_files(tmp_path, 5).counts
