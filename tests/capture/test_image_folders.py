from pathlib import Path

import cv2
import numpy as np
import pytest
from capture_clips import picture

from pipeline.capture.folders import ImageFolderSource, natural_key
from pipeline.errors import SourceUnavailable
from pipeline.types import Frame


def write_pictures(folder: Path, names: list[str], size_px: tuple[int, int] = (160, 120)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(index, size_px))
    return folder


def read(folder: Path) -> tuple[list[Frame], ImageFolderSource]:
    source = ImageFolderSource("hall", folder, start_time_s=100.0, clock_offset_s=1.0)
    return list(source.frames()), source


def test_a_mot_folder_is_read_at_its_frame_rate(tmp_path: Path) -> None:
    write_pictures(tmp_path / "img1", [f"{i + 1:06d}.png" for i in range(12)])
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=x\nimDir=img1\nframeRate=10\nseqLength=12\n")
    frames, _ = read(tmp_path)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.captured_at_s for frame in frames] == pytest.approx([101.0 + 0.1 * i for i in range(12)])
    assert {frame.epoch for frame in frames} == {"1"}
    assert all((frame.image == picture(frame.index)).all() for frame in frames)


def test_a_missing_picture_of_a_mot_folder_leaves_a_gap(tmp_path: Path) -> None:
    write_pictures(tmp_path / "img1", ["000001.jpg", "000002.jpg", "000005.jpg"])
    frames, _ = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 1, 4]
    assert [frame.captured_at_s for frame in frames] == pytest.approx([101.0, 101.04, 101.16])


def test_a_plain_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["shot 2.png", "shot 10.png", "shot 1.png"])
    (tmp_path / "notes.txt").write_text("not a picture")
    frames, _ = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [np.abs(frame.image.astype(int) - picture(i)).max() for frame, i in zip(frames, (2, 0, 1), strict=True)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["b", "a"], ["a", "b"]),
        (["10", "9", "a1", "1a"], ["1a", "9", "10", "a1"]),
        (["x10y2", "x10y10", "x2"], ["x2", "x10y2", "x10y10"]),
        ([], []),
    ],
)
def test_natural_order_counts_numbers_as_numbers(names: list[str], ordered: list[str]) -> None:
    assert sorted(names, key=natural_key) == ordered


def test_an_unreadable_picture_leaves_a_gap_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    (tmp_path / "2.png").write_bytes(b"broken")
    (tmp_path / "3.png").write_bytes(b"")
    frames, source = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 3]
    assert source.counters == {"delivered": 2, "corrupt": 2}
    assert caplog.text.count("cannot be read") == 1


def test_a_change_of_size_begins_an_epoch(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "2.png"])
    write_pictures(tmp_path, ["3.png"], size_px=(80, 64))
    frames, _ = read(tmp_path)
    assert [(frame.epoch, frame.index) for frame in frames] == [("1", 0), ("1", 1), ("2", 2)]


def test_grey_pictures_come_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(0)[:, :, 0])
    frames, _ = read(tmp_path)
    assert frames[0].image.shape == (120, 160, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[Sequence]\nframeRate=fast\n", "frameRate"),
        ("[Sequence]\nframeRate=0\n", "frameRate"),
        ("[Other]\nx=1\n", "seqinfo.ini"),
        ("not an ini", "seqinfo.ini"),
        ("[Sequence]\nframeRate=nan\n", "frameRate"),
    ],
)
def test_a_broken_seqinfo_is_one_clear_line(tmp_path: Path, content: str, reason: str) -> None:
    write_pictures(tmp_path / "img1", ["1.png"])
    (tmp_path / "seqinfo.ini").write_text(content)
    with pytest.raises(SourceUnavailable, match=reason) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_folders_without_readable_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="is not a folder"):
        read(tmp_path / "none")
    with pytest.raises(SourceUnavailable, match="holds no pictures"):
        read(tmp_path)
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(SourceUnavailable, match="not one of 1"):
        read(tmp_path)


def test_closing_ends_the_frames(tmp_path: Path) -> None:
    source = ImageFolderSource("hall", write_pictures(tmp_path, ["1.png", "2.png", "3.png"]))
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []
