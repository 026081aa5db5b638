from pathlib import Path

import numpy as np
import pytest
from background_scene import Keep

from pipeline.background import files, retention
from pipeline.background.crops import CropStore
from pipeline.background.retention import clear_kept, sweep
from pipeline.config import RetentionConfig
from pipeline.errors import OutputError

CONFIG = RetentionConfig(crops_s=100, references_s=50)


def reference(folder: Path, at_s: float, camera: str = "door") -> None:
    stem = f"references/{camera}_{at_s:.3f}"
    for ending in (".png", "_mask.png"):
        files.write_bytes(folder / f"{stem}{ending}", b"png")
    line = f'{{"schema":1,"captured_at_s":{at_s},"image":"{stem}.png"}}'
    files.append_line(folder / "references/references.jsonl", line)


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*") if p.is_file())


def test_an_empty_folder_has_nothing_to_remove(tmp_path: Path) -> None:
    assert sweep(tmp_path, CONFIG, 1e9).total == 0 and clear_kept(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_too_old_goes(tmp_path: Path) -> None:
    store = CropStore(tmp_path, 5)
    for identity, at_s in ((1, 0), (1, 150), (2, 0)):
        store.add(identity, "door", at_s, np.zeros((40, 20, 3), np.uint8), 0.5)
    reference(tmp_path, 100)
    reference(tmp_path, 180)
    report = sweep(tmp_path, CONFIG, 200)
    assert (report.crops, report.references, report.reference_lines, report.kept_frames) == (2, 1, 1, 0)
    assert left(tmp_path) == [
        "crops/1/door_150.000_0.500.jpg",
        "references/door_180.000.png",
        "references/door_180.000_mask.png",
        "references/references.jsonl",
    ]
    assert (tmp_path / "references/references.jsonl").read_text().count("\n") == 1
    assert not (tmp_path / "crops/2").exists()
    assert sweep(tmp_path, CONFIG, 200).total == 0


def test_lines_that_cannot_be_read_stay(tmp_path: Path) -> None:
    reference(tmp_path, 0)
    path = tmp_path / "references/references.jsonl"
    path.write_bytes(b'{"torn\n[1]\n' + path.read_bytes())
    assert sweep(tmp_path, CONFIG, 200).reference_lines == 1
    assert path.read_bytes() == b'{"torn\n[1]\n'


def test_files_of_other_names_are_not_touched(tmp_path: Path) -> None:
    for name in ("references/notes.png", "crops/1/me.jpg", "kept/door/plate.png", "kept/door/x.jpg"):
        files.write_bytes(tmp_path / name, b"x")
    assert sweep(tmp_path, CONFIG, 1e9).total == 0 and clear_kept(tmp_path) == 0
    assert len(left(tmp_path)) == 4


def test_kept_frames_of_dead_workers_go_and_at_the_end_all(tmp_path: Path, keep: Keep) -> None:
    keep(at_s=10)
    keep(at_s=5000)
    files.write_bytes(tmp_path / "kept/door/plate.png", b"x")
    assert sweep(tmp_path, CONFIG, 5001).kept_frames == 1
    assert clear_kept(tmp_path) == 1
    assert left(tmp_path) == ["kept/door/plate.png"]


def test_when_the_lines_cannot_be_rewritten_the_pictures_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference(tmp_path, 0)

    def full(path: Path, content: bytes) -> None:
        raise OutputError("disk full")

    monkeypatch.setattr(retention, "write_bytes", full)
    with pytest.raises(OutputError):
        sweep(tmp_path, CONFIG, 200)
    assert len(left(tmp_path)) == 3
