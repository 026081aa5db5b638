import json
from pathlib import Path

import numpy as np
import pytest
from background_scene import frame_of

from pipeline.background import kept_frames
from pipeline.background.kept_frames import FrameKeeper, kept_of_track, read_kept
from pipeline.errors import DecodeError, OutputError
from pipeline.types import Frame, Tracks

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)


def tracks(*ids: int) -> Tracks:
    boxes = np.array([[10 * i, 5, 10 * i + 20, 80.126] for i in ids], np.float32).reshape(-1, 4)
    return Tracks(np.array(ids, np.int64), boxes, np.full(len(ids), 0.75, np.float32))


def see(keeper: FrameKeeper, at_s: float, qualities: dict[int, float], **more: bool) -> None:
    keeper.observe(frame_of(IMAGE, at_s, round(at_s * 10), **more), tracks(*qualities), qualities)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def keeper(tmp_path: Path) -> FrameKeeper:
    return FrameKeeper(tmp_path, "door", "here")


def test_the_first_frame_of_a_track_is_kept_with_everybody_in_it(tmp_path: Path, keeper: FrameKeeper) -> None:
    keeper.observe(frame_of(IMAGE, 12.3456, 7), tracks(1, 2), {1: 0.5})
    pointer = keeper.pointer(1)
    assert pointer is not None and pointer.file == "kept/door/12.346_000007.jpg"
    assert (pointer.host, pointer.camera_id, pointer.captured_at_s) == ("here", "door", 12.3456)
    assert keeper.pointer(2) is None and keeper.pointer(99) is None
    kept = read_kept(tmp_path, pointer.file)
    assert kept.tracks.ids.tolist() == [1, 2] and kept.qualities == (0.5, 0.0)
    assert kept.tracks.xyxy[1].tolist() == pytest.approx([20, 5, 40, 80.13])
    assert (kept.frame.epoch, kept.frame.index, kept.frame.image.shape) == ("1", 7, (90, 160, 3))
    assert (kept.row("1", 2), kept.row("1", 3), kept.row("2", 2)) == (1, None, None)
    assert str(tmp_path) not in (tmp_path / "kept/door/12.346_000007.json").read_text()


def test_nothing_is_kept_without_tracks_or_quality(tmp_path: Path, keeper: FrameKeeper) -> None:
    keeper.observe(frame_of(IMAGE), Tracks.empty(), {})
    see(keeper, 11, {1: 0.0})
    assert files(tmp_path) == []


def test_damaged_frames_are_never_kept(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.9}, damaged=True)
    assert files(tmp_path) == [] and keeper.pointer(1) is None


def test_only_a_clearly_better_frame_takes_the_place(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.4})
    see(keeper, 11, {1: 0.49})
    assert keeper.pointer(1).captured_at_s == 10  # type: ignore[union-attr]
    see(keeper, 12, {1: 0.51})
    assert keeper.pointer(1).captured_at_s == 12  # type: ignore[union-attr]
    assert keeper.counters["written"] == 2


def test_a_young_track_is_written_five_times_a_second_at_most_and_later_twice(keeper: FrameKeeper) -> None:
    written = []
    for step in range(31):  # 0.1 s apart, every one much better than the one before
        see(keeper, 10 + step / 10, {1: 0.001 * 1.25**step * 1.01})
        written.append(keeper.pointer(1).captured_at_s)  # type: ignore[union-attr]
    assert sorted(set(written)) == pytest.approx([10, 10.2, 10.4, 10.6, 10.8, 11.0, 11.5, 12.0, 12.5, 13.0])


def test_tracks_share_one_file(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.5, 2: 0.5})
    assert keeper.pointer(1).file == keeper.pointer(2).file  # type: ignore[union-attr]
    see(keeper, 11, {1: 0.9, 2: 0.55, 3: 0.2})  # written for 1 and 3; shows 2 at least as well as before
    assert {keeper.pointer(i).captured_at_s for i in (1, 2, 3)} == {11}  # type: ignore[union-attr]
    assert keeper.counters["written"] == 2


def test_a_file_goes_a_while_after_its_last_track(tmp_path: Path) -> None:
    keeper = FrameKeeper(tmp_path, "door", "here", kept_s=5)
    see(keeper, 10, {1: 0.5, 2: 0.5})
    keeper.finish(1)
    assert keeper.sweep(100) == 0
    see(keeper, 100, {2: 0.1})
    keeper.finish(2)
    keeper.finish(77)  # was never kept
    assert keeper.sweep(104.9) == 0 and keeper.pointer(2) is not None
    assert keeper.sweep(105) == 1
    assert files(tmp_path) == [] and keeper.pointer(2) is None


def test_a_replaced_file_stays_for_events_that_are_under_way(tmp_path: Path) -> None:
    keeper = FrameKeeper(tmp_path, "door", "here", kept_s=5)
    see(keeper, 10, {1: 0.3})
    first = keeper.pointer(1)
    see(keeper, 11, {1: 0.9})
    assert first is not None and keeper.sweep(15) == 0 and read_kept(tmp_path, first.file).frame.captured_at_s == 10
    assert keeper.sweep(16) == 1 and keeper.pointer(1).captured_at_s == 11  # type: ignore[union-attr]


def test_a_long_stay_gets_a_newer_picture(keeper: FrameKeeper) -> None:
    see(keeper, 0, {1: 0.8})
    see(keeper, 100, {1: 0.8})
    assert keeper.pointer(1).captured_at_s == 0  # type: ignore[union-attr]
    see(keeper, 600, {1: 0.8})
    assert keeper.pointer(1).captured_at_s == 600  # type: ignore[union-attr]


def test_track_ids_of_a_new_epoch_are_other_tracks(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.9})
    again = Frame("door", "2", 0, 20.0, IMAGE)
    keeper.observe(again, tracks(1), {1: 0.1})
    assert keeper.pointer(1).captured_at_s == 20  # type: ignore[union-attr]
    assert keeper.sweep(20.0 + kept_frames.KEPT_S) == 1


def test_files_of_a_killed_worker_go_after_the_same_while(tmp_path: Path) -> None:
    see(FrameKeeper(tmp_path, "door", "here"), 10, {1: 0.5})
    (tmp_path / "kept/door/.x.jpg.1.tmp").write_bytes(b"half")
    (tmp_path / "kept/door/plate.png").write_bytes(b"not a kept frame")
    keeper = FrameKeeper(tmp_path, "door", "here", kept_s=5)
    assert keeper.sweep(500) == 0
    assert keeper.sweep(505) == 1
    assert files(tmp_path) == ["kept/door/plate.png"]


def test_a_full_disk_is_counted_and_gives_no_pointer(
    tmp_path: Path, keeper: FrameKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OutputError("cannot write: disk full")

    monkeypatch.setattr(kept_frames, "write_bytes", full)
    see(keeper, 10, {1: 0.5})
    see(keeper, 11, {1: 0.6})
    assert keeper.pointer(1) is None and keeper.counters["write_failed"] == 2
    assert len(caplog.records) == 1


def test_frames_of_other_cameras_are_refused(keeper: FrameKeeper) -> None:
    with pytest.raises(ValueError, match="hall"):
        keeper.observe(frame_of(IMAGE, camera="hall"), tracks(1), {1: 0.5})
    with pytest.raises(ValueError, match="camera id"):
        FrameKeeper(Path("x"), "../door", "here")
    with pytest.raises(ValueError, match="better"):
        FrameKeeper(Path("x"), "door", "here", better=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"width_px": 5},
        {"tracks": 3},
        {"tracks": [{"track_id": 1}]},
        {"index": None},
    ],
)
def test_a_sidecar_that_does_not_fit_is_a_decode_error(
    tmp_path: Path, keeper: FrameKeeper, change: dict[str, object]
) -> None:
    see(keeper, 10, {1: 0.5})
    sidecar = next((tmp_path / "kept/door").glob("*.json"))
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    with pytest.raises(DecodeError):
        read_kept(tmp_path, f"kept/door/{sidecar.stem}.jpg")


def test_a_cut_off_picture_or_sidecar_is_a_decode_error(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.5})
    pointer = keeper.pointer(1)
    assert pointer is not None
    (tmp_path / pointer.file).write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DecodeError):
        read_kept(tmp_path, pointer.file)
    (tmp_path / pointer.file).with_suffix(".json").write_text("{")
    with pytest.raises(DecodeError):
        read_kept(tmp_path, pointer.file)
    assert kept_of_track(tmp_path, "door", "1", 1) == []


def test_all_frames_of_a_track_are_found_best_first(tmp_path: Path, keeper: FrameKeeper) -> None:
    see(keeper, 10, {1: 0.3, 2: 0.9})
    see(keeper, 11, {1: 0.6})
    found = kept_of_track(tmp_path, "door", "1", 1)
    assert found == [(0.6, "kept/door/11.000_000110.jpg"), (0.3, "kept/door/10.000_000100.jpg")]
    assert kept_of_track(tmp_path, "door", "2", 1) == [] and kept_of_track(tmp_path, "hall", "1", 1) == []
