from pathlib import Path

import numpy as np
import pytest

from pipeline.background.files import (
    append_line,
    checked_camera,
    encode_png,
    inside,
    read_image,
    remove_torn,
    write_bytes,
)
from pipeline.errors import DecodeError, OutputError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.png"
    write_bytes(place, b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"a\.png: No space"):
        write_bytes(place, b"new")
    assert place.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a.jpg", "kept/../../a.jpg", "kept\\..\\a.jpg", "a\0b"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="inside the output folder"):
        inside(Path("out"), name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.b", "-a", "x" * 65])
def test_camera_ids_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="camera id"):
        checked_camera(name)


def test_a_line_after_a_torn_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "x" / "lines.jsonl"
    append_line(path, '{"a":1}')
    with path.open("ab") as handle:
        handle.write(b'{"torn')
    append_line(path, '{"a":2}')
    assert path.read_bytes() == b'{"a":1}\n{"torn\n{"a":2}\n'


def test_pictures_come_back_as_written_and_damaged_ones_say_so(tmp_path: Path) -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    write_bytes(tmp_path / "a.png", encode_png(image))
    assert (read_image(tmp_path / "a.png") == image).all()
    for content in (b"", b"no picture"):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(DecodeError, match=r"b\.png"):
            read_image(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "c.png")


def test_only_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    for name in (".a.jpg.12.tmp", "a.jpg", ".lines.lock"):
        (tmp_path / name).write_bytes(b"x")
    remove_torn(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lines.lock", "a.jpg"]
