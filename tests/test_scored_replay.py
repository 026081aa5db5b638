"""Replays with ground truth through the command line: figures, recordings, and the commands that work on rows."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario

ROOT = Path(__file__).resolve().parents[1]
SAME = ("identities.jsonl", "tracks", "tracks_online", "tracks_local", "frame_times")


def run_command(*arguments, timeout_s=200):
    command = [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "MODELS_DIR"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd=ROOT)


def metrics_of(path):
    return json.loads(path.read_text())


def numbers_in(value):
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers_in(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers_in(inner)]
    return [value] if isinstance(value, int | float) else []


def files_of(folder):
    """Everything that must be the same in two replays, by name."""
    found = [folder / SAME[0], *(p for name in SAME[1:] for p in sorted((folder / name).iterdir()))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A generated site of two cameras, replayed with its ground truth and recorded."""
    folder = tmp_path_factory.mktemp("scored")
    scene = write_scene(random_scenario(3, 2, 10.0, seed=5), folder / "scene")
    done = run_command(
        "replay", "--config", scene.config, "--out", folder / "out", "--gt", scene.ground_truth, "--record", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    return folder, scene, done


def test_a_replay_with_ground_truth_writes_every_figure_and_no_nan(site):
    folder, scene, done = site
    metrics = metrics_of(folder / "out/metrics.json")
    for camera in scene.sources:
        assert {"HOTA", "IDF1", "MOTA", "IDSW"} <= metrics["per_camera"][camera].keys()
    for group in (metrics, metrics["online"], metrics["ceiling"], metrics["gt_boxes"], metrics["gt_boxes"]["ceiling"]):
        assert 0 < group["cross_camera"]["IDF1"] <= 1
        assert 0 < group["cross_camera"]["HOTA"] <= 1
        assert {"IDP", "IDR"} <= group["cross_camera"].keys()
    assert {"correct", "false", "missed"} <= metrics["links"].keys()
    wanted = {"precision", "recall", "latency_s_p50", "latency_s_p95", "reference_latency_s_p50"}
    assert wanted <= metrics["reentry"].keys()
    assert 0 < metrics["retrieval"]["cross_camera"]["mAP"] <= 1
    assert sum(metrics["distances"]["same"]) > 0
    assert all(math.isfinite(n) for n in numbers_in(metrics))
    assert "over cameras" in done.stdout
    assert "IDF1" in done.stdout


def test_no_figure_beats_its_ceiling(site):
    folder, _, _ = site
    metrics = metrics_of(folder / "out/metrics.json")
    for group in (metrics, metrics["gt_boxes"]):
        assert group["cross_camera"]["IDF1"] <= group["ceiling"]["cross_camera"]["IDF1"] + 1e-9
        assert group["ceiling"]["links"]["false"] == 0
    assert metrics["gt_boxes"]["ceiling"]["cross_camera"]["HOTA"] > 0.9, "on true boxes with true ids little is wrong"


def test_the_report_holds_the_figures_and_pictures_of_the_mistakes(site):
    folder, _, _ = site
    page = (folder / "out/report.html").read_text()
    assert "Scores" in page
    assert not re.search(r">\s*-?(nan|inf)\b", page, re.IGNORECASE)
    mistakes = metrics_of(folder / "out/mistakes.json")["mistakes"]
    pictures = {path.name for path in (folder / "out/mistakes").glob("*.jpg")} if mistakes else set()
    assert {f"{n}.jpg" for n in range(len(mistakes))} <= pictures
    assert not (folder / "out/.gt_boxes").exists()


def test_a_replay_from_features_needs_no_video_and_gives_the_same_bytes(site, tmp_path):
    folder, scene, _ = site
    text = scene.config.read_text()
    for source in scene.sources.values():
        text = text.replace(source.name, "gone-" + source.name)
    (tmp_path / "site.yaml").write_text(text)
    done = run_command(
        "replay", "--config", tmp_path / "site.yaml", "--out", tmp_path / "out", "--features", folder / "out",
        "--gt", scene.ground_truth, "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no crops, no reference frames" in done.stdout
    assert files_of(tmp_path / "out") == files_of(folder / "out")
    before, after = (metrics_of(place / "out/metrics.json") for place in (folder, tmp_path))
    assert after["cross_camera"] == before["cross_camera"]
    assert after["links"] == before["links"]


def test_a_replay_from_detections_gives_the_same_bytes(site, tmp_path):
    folder, scene, _ = site
    done = run_command(
        "replay", "--config", scene.config, "--out", tmp_path / "out", "--detections", folder / "out", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    assert "HOG" not in done.stdout, "nothing is detected"
    assert files_of(tmp_path / "out") == files_of(folder / "out")


def test_options_that_need_a_video_are_refused_with_features(site, tmp_path):
    folder, scene, _ = site
    done = run_command(
        "replay", "--config", scene.config, "--out", tmp_path / "out", "--features", folder / "out", "--overlay"
    )
    assert done.returncode == 2
    assert "--overlay needs the video" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_a_replay_reads_is_never_overwritten(site):
    folder, scene, _ = site
    before = files_of(folder / "out")
    for option in ("--features", "--detections"):
        done = run_command(
            "replay", "--config", scene.config, "--out", folder / "out", option, folder / "out", "--overwrite"
        )
        assert done.returncode == 1
        assert "choose another --out" in done.stderr
    assert files_of(folder / "out") == before


def test_scoring_a_replays_folder_gives_the_replays_figures(site, tmp_path):
    folder, scene, _ = site
    done = run_command(
        "score", "--results", folder / "out", "--gt", scene.ground_truth, "--out", tmp_path / "scores.json"
    )
    assert done.returncode == 0, done.stderr
    found, before = metrics_of(tmp_path / "scores.json"), metrics_of(folder / "out/metrics.json")
    for name in ("per_camera", "combined", "cross_camera", "online", "links", "reentry", "ceiling", "scored"):
        assert found[name] == before[name], name


def test_two_results_are_compared_as_table_and_page(site, tmp_path):
    folder, scene, _ = site
    (tmp_path / "perfect").mkdir()
    for camera in scene.sources:
        rows = (scene.ground_truth / f"{camera}.txt").read_text()
        (tmp_path / "perfect" / f"{camera}.txt").write_text(rows)
    done = run_command(
        "score", "--results", folder / "out", tmp_path / "perfect", "--gt", scene.ground_truth,
        "--out", tmp_path / "change.json", "--fps", 10,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "perfect" in done.stdout
    results = metrics_of(tmp_path / "change.json")["results"]
    assert results["perfect"]["cross_camera"]["IDF1"] > 0.999
    page = (tmp_path / "change.html").read_text()
    assert "perfect" in page
    assert "<script" not in page


def test_the_tracker_alone_writes_rows_that_can_be_scored(site, tmp_path):
    _, scene, _ = site
    camera = sorted(scene.sources)[0]
    sequence = tmp_path / "gt" / camera
    for name in ("det/det.txt", "gt/gt.txt"):
        file = sequence / name
        file.parent.mkdir(parents=True)
        file.write_text((scene.ground_truth / f"{camera}.txt").read_text())
    (sequence / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\nimWidth=640\nimHeight=360\nseqLength=100\n")
    (tmp_path / "rows").mkdir()
    done = run_command("track", "--sequence", sequence, "--out", tmp_path / "rows" / f"{camera}.txt", "--quiet")
    assert done.returncode == 0, done.stderr
    done = run_command("score", "--results", tmp_path / "rows", "--gt", tmp_path / "gt", "--out", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert metrics_of(tmp_path / "s.json")["per_camera"][camera]["HOTA"] > 0.9
    online = run_command("track", "--sequence", sequence, "--out", tmp_path / "o.txt", "--online", "--quiet")
    assert online.returncode == 0
    rows = [
        np.loadtxt(path, delimiter=",", ndmin=2) for path in (tmp_path / "o.txt", tmp_path / "rows" / f"{camera}.txt")
    ]
    assert 0 < len(rows[0]) <= len(rows[1]), "gaps and the first frames of a track are not in the online rows"


# -- ground truth and results that are not as they should be -----------------------------------------------------------


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def scored(tmp_path, capsys):
    """Exit code, standard output and standard error of scoring tmp_path/rows, in this process."""
    arguments = ["score", "--results", tmp_path / "rows", "--gt", tmp_path / "gt", "--out", tmp_path / "s.json"]
    code = run_pipeline.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("truth", "rows"),
    [
        ({"a": "", "b": "1,1,0,0,9,9,1,1,1\n"}, {"a": "1,1,0,0,9,9,1\n", "b": "1,1,0,0,9,9,1\n"}),
        ({"a": ""}, {"a": ""}),
        ({"a": "1,1,0,0,9,9,1,1,1\n", "b": "1,2,0,0,9,9,1,1,1\n"}, {"a": "1,1,0,0,9,9,1\n", "b": "1,2,0,0,9,9,1\n"}),
        ({"a": "900,1,0,0,9,9,1,1,1\n"}, {"a": "1,1,0,0,9,9,1\n"}),
        ({"a": "1,1,-500,-500,9,9,1,1,1\n"}, {"a": "1,1,5000,0,9,9,1\n"}),
        ({"a": "1,1,0,0,0,0,1,1,1\n"}, {"a": "1,1,0,0,0,0,1\n"}),
    ],
    ids=["nobody in one camera", "no rows at all", "ids in one camera only", "after the end", "outside", "no area"],
)
def test_degenerate_ground_truth_gives_defined_figures(tmp_path, capsys, truth, rows):
    for folder, files in (("gt", truth), ("rows", rows)):
        for camera, text in files.items():
            put(tmp_path / folder / f"{camera}.txt", text)
    code, said, errors = scored(tmp_path, capsys)
    assert code == 0, errors
    assert "nan" not in said.lower()
    assert all(math.isfinite(n) for n in numbers_in(metrics_of(tmp_path / "s.json")))


def test_no_camera_in_common_is_one_clear_line(tmp_path, capsys):
    put(tmp_path / "gt/door.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "rows/hall.txt", "1,1,0,0,9,9,1\n")
    code, _, errors = scored(tmp_path, capsys)
    assert code == 2
    assert "door" in errors
    assert "hall" in errors
    assert len(errors.splitlines()) == 1


def test_a_row_that_cannot_be_read_is_named_with_its_line(tmp_path, capsys):
    put(tmp_path / "gt/a.txt", "1,1,0,0,9,9,1,1,1\n")
    put(tmp_path / "rows/a.txt", "1,1,0,0,9,9,1\n2,one,0,0,9,9,1\n")
    code, _, errors = scored(tmp_path, capsys)
    assert code == 1
    assert "a.txt:2" in errors


def test_a_ground_truth_that_is_not_there_is_said_before_anything_is_written(site, tmp_path):
    _, scene, _ = site
    done = run_command("replay", "--config", scene.config, "--out", tmp_path / "out", "--gt", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "out").exists()
