"""Our figures beside those of TrackEval itself, run as a program over the same files."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.scoring.alignment import ScoredCamera, align_camera
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.scoring.rows import read_rows
from pipeline.scoring.tracking_metrics import Figures, score_each

MEDIA = Path(os.environ.get("MEDIA_DIR", "nowhere"))
MOT17 = ("02", "04", "09")
TUD = ("TUD-Campus", "TUD-Stadtmitte")
DRIVER = Path(__file__).with_name("run_trackeval.py")
TOLERANCE = 1e-6
Table = dict[str, dict[str, float]]  # sequence → field → figure

# Ours → TrackEval's column of pedestrian_detailed.csv (HOTA's: the mean over α)
FIELDS = {
    "HOTA": "HOTA___AUC",
    "DetA": "DetA___AUC",
    "AssA": "AssA___AUC",
    "LocA": "LocA___AUC",
    "IDF1": "IDF1",
    "IDP": "IDP",
    "IDR": "IDR",
    "IDTP": "IDTP",
    "IDFP": "IDFP",
    "IDFN": "IDFN",
    "MOTA": "MOTA",
    "IDSW": "IDSW",
    "TP": "CLR_TP",
    "FP": "CLR_FP",
    "FN": "CLR_FN",
    "gt_boxes": "GT_Dets",
    "boxes": "Dets",
    "gt_ids": "GT_IDs",
    "ids": "IDs",
}


def lay_out(folder: Path, benchmark: str, truths: Mapping[str, Path], lengths: Mapping[str, int]) -> None:
    """Ground truth as TrackEval wants it."""
    for name, source in truths.items():
        target = folder / "gt" / f"{benchmark}-train" / name
        (target / "gt").mkdir(parents=True)
        (target / "gt" / "gt.txt").write_bytes(source.read_bytes())
        (target / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength={lengths[name]}\n")
    seqmap = folder / "gt" / "seqmaps" / f"{benchmark}-train.txt"
    seqmap.parent.mkdir()
    seqmap.write_text("\n".join(["name", *truths]) + "\n")


def tracker_file(folder: Path, benchmark: str, tracker: str, name: str) -> Path:
    path = folder / "trackers" / f"{benchmark}-train" / tracker / "data" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def run_trackeval(folder: Path, benchmark: str) -> dict[str, Table]:
    """TrackEval's detailed figures by tracker."""
    command = [sys.executable, str(DRIVER), str(folder), benchmark]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    for path in sorted((folder / "out").glob("*/pedestrian_detailed.csv")):
        with path.open(newline="") as file:
            table = {row.pop("seq"): {k: float(v) for k, v in row.items()} for row in csv.DictReader(file)}
        found[path.parent.name] = table
    return found


def numbered_detections(source: Path) -> str:
    """Detections as a tracker's result: the n-th of a frame is called n."""
    rows = read_rows(source)
    order = np.argsort(rows.frames, kind="stable")
    starts = np.searchsorted(rows.frames[order], rows.frames[order])
    numbers = np.arange(len(order)) - starts + 1
    return "".join(
        f"{frame},{n},{x},{y},{w},{h},1,-1,-1,-1\n"
        for frame, n, (x, y, w, h) in zip(rows.frames[order], numbers, rows.xywh[order].tolist(), strict=True)
    )


@pytest.fixture(scope="session")
def mot17(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Table]]:
    """MOT17-02, -04 and -09 with two results: LIF_T's, and bare detections, many of them on distractors."""
    sources = {f"MOT17-{n}": MEDIA / "mot17" / n for n in MOT17}
    if not all((source / "lif_t.txt").is_file() for source in sources.values()):
        pytest.skip("MEDIA_DIR with mot17/{02,04,09} is not there")
    folder = tmp_path_factory.mktemp("mot17")
    known = read_ground_truth(MEDIA / "mot17", MOT17).cameras
    lengths = {name: known[source.name].frame_count or 0 for name, source in sources.items()}
    lay_out(folder, "MOT17", {name: source / "gt" / "gt.txt" for name, source in sources.items()}, lengths)
    for name, source in sources.items():
        tracker_file(folder, "MOT17", "lif_t", name).write_bytes((source / "lif_t.txt").read_bytes())
        tracker_file(folder, "MOT17", "detections", name).write_text(numbered_detections(source / "det" / "det.txt"))
    return folder, run_trackeval(folder, "MOT17")


@pytest.fixture(scope="session")
def tud(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Table]]:
    """The two sequences of TUD, in MOT15's format: no classes, world coordinates in their place."""
    sources = {name: MEDIA / "tud" / f"{name}-gt.txt" for name in TUD}
    if not all(source.is_file() for source in sources.values()):
        pytest.skip("MEDIA_DIR with tud is not there")
    folder = tmp_path_factory.mktemp("tud")
    lay_out(folder, "MOT15", sources, {"TUD-Campus": 71, "TUD-Stadtmitte": 179})
    for name in TUD:
        source = MEDIA / "tud" / f"{name}-tracker.txt"
        tracker_file(folder, "MOT15", "tracker", name).write_bytes(source.read_bytes())
    return folder, run_trackeval(folder, "MOT15")


def score_folder(folder: Path, benchmark: str, tracker: str) -> tuple[list[ScoredCamera], dict[str, Figures], Figures]:
    """The same files through our own reading, alignment and metrics."""
    truth = read_ground_truth(folder / "gt" / f"{benchmark}-train", None)
    assert truth.warnings == ()
    cameras = [
        align_camera(name, annotation, read_rows(tracker_file(folder, benchmark, tracker, name)))
        for name, annotation in truth.cameras.items()
    ]
    each, combined = score_each(cameras)
    return cameras, each, combined


def assert_equal_figures(each: Mapping[str, Figures], combined: Figures, expected: Table) -> None:
    assert set(expected) == {*each, "COMBINED"}
    for name, wanted in expected.items():
        got = combined if name == "COMBINED" else each[name]
        for ours, theirs in FIELDS.items():
            assert got[ours] == pytest.approx(wanted[theirs], abs=TOLERANCE), (name, ours)


def test_figures_on_mot17_are_trackevals(mot17: tuple[Path, dict[str, Table]]) -> None:
    folder, expected = mot17
    _, each, combined = score_folder(folder, "MOT17", "lif_t")
    assert_equal_figures(each, combined, expected["lif_t"])
    assert 0.5 < expected["lif_t"]["COMBINED"]["HOTA___AUC"] < 0.8  # that something was measured


def test_distractors_of_mot17_are_trackevals(mot17: tuple[Path, dict[str, Table]]) -> None:
    folder, expected = mot17
    cameras, each, combined = score_folder(folder, "MOT17", "detections")
    assert sum(camera.left_out["on a distractor"] for camera in cameras) > 100
    assert_equal_figures(each, combined, expected["detections"])


def test_figures_on_tud_are_trackevals(tud: tuple[Path, dict[str, Table]]) -> None:
    folder, expected = tud
    _, each, combined = score_folder(folder, "MOT15", "tracker")
    assert_equal_figures(each, combined, expected["tracker"])
