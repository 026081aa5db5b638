"""The benchmarks' table, the way of a peer's rows through the runner and the scorer, and peers that do not run."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from peers import environments, running
from peers.catalogue import APPEARANCE_PEERS, MOTION_PEERS, Peer
from peers.clips import Clip, mot_rows, read_detections, write_rows
from peers.results import ALL, Result, faster, score_clips, table, versions
from peers.running import bench_peers, describe_job, read_answer

from pipeline.scoring.ground_truth import CameraTruth, Role
from pipeline.scoring.rows import Rows, read_rows

SIZE_PX = (640, 480)
WALK = np.array([[10.0 + 5 * i, 20.0, 30.0, 60.0] for i in range(20)])  # xywh, px, by frame
ECHO_LIBRARY = '''
"""A tracker that gives every box an id by its place in the frame."""

import numpy as np


class Peer:
    def prepare(self, xyxy, confidence):
        return np.column_stack([np.arange(1, len(xyxy) + 1), xyxy, confidence])

    def update(self, given, picture):
        return given

    def rows(self, found):
        return found


def make_tracker(name, clip, weights):
    if name == "broken":
        raise ValueError("first line\\nno such | tracker")
    return Peer()


def version():
    return "echo 1.0"
'''


def figures(hota: float | None) -> dict[str, float | int | None]:
    return {"HOTA": hota, "IDF1": 0.6, "MOTA": 0.5, "IDSW": 7}


def result(name: str, speed: float | None, *, is_peer: bool = True) -> Result:
    return Result(name, {"a": figures(0.4), ALL: figures(0.5)}, speed, version="lib 1", is_peer=is_peer)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """One person, found in every frame but the fifth."""
    frames = np.arange(1, 21)
    truth = CameraTruth(Rows(frames, np.ones(20, int), WALK, np.ones(20)), np.full(20, Role.PERSON, np.int8))
    seen = frames != 5
    xyxy = np.concatenate([WALK[:, :2], WALK[:, :2] + WALK[:, 2:]], axis=1).astype(np.float32)
    write_rows(tmp_path / "det.txt", mot_rows(frames[seen], [-1] * 19, xyxy[seen], [0.9] * 19))
    return Clip("walk", tmp_path / "det.txt", 20, 10.0, SIZE_PX, truth)


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner beside a library that needs no environment of its own."""
    folder = tmp_path / "inside"
    folder.mkdir()
    shutil.copy(environments.FOLDER / "inside" / "run_peer.py", folder)
    (folder / "boxmot_library.py").write_text(ECHO_LIBRARY, encoding="utf-8")
    monkeypatch.setattr(running, "_RUNNER", folder / "run_peer.py")
    monkeypatch.setattr(running, "library_python", lambda *_: Path(sys.executable))


def test_every_line_of_the_table_has_as_many_cells_as_its_title():
    lines = table([result("ours", 10.0), Result("gone", reason="no wheel", is_peer=True)], ["a"]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert cells(lines[0]) == ["tracker", "a HOTA", "HOTA", "IDF1", "MOTA", "IDSW", "frames/s", "× fastest peer"]
    assert set(lines[1]) == {"|", "-"}


def test_figures_are_per_cent_and_speeds_relative_to_the_fastest_peer():
    lines = table([result("ours", 900.0, is_peer=False), result("slow", 100.4), result("fast", 300.0)], ["a"])
    ours, slow, fast = (cells(line) for line in lines.splitlines()[2:])
    assert ours == ["ours", "40.00", "50.00", "60.00", "50.00", "7", "900", "3.00"]
    assert slow[-2:] == ["100", "0.33"]
    assert fast[-1] == "1.00"


def test_without_a_peer_or_a_speed_or_a_figure_the_cell_holds_a_dash():
    alone = cells(table([result("ours", 900.0, is_peer=False)], ["a"]).splitlines()[2])
    assert alone[-2:] == ["900", "–"]
    untimed = Result("ours", {"a": figures(None), ALL: figures(0.5)})
    assert cells(table([untimed, result("peer", 5.0)], ["a"]).splitlines()[2])[1] == "–"
    assert cells(table([untimed], ["a"]).splitlines()[2])[-2:] == ["–", "–"]


def test_a_reason_is_one_short_cell_whatever_is_in_it():
    line = table([Result("gone", reason="no\nsuch | wheel " + "x" * 500)], ["a"]).splitlines()[2]
    assert "no such / wheel" in line
    assert len(line) < 220


def test_versions_are_named_once_and_only_of_what_ran():
    assert versions([result("a", 1.0), result("b", 1.0), Result("c", reason="no")]) == "lib 1"
    assert versions([]) == ""


def test_of_two_rounds_the_faster_counts_and_a_broken_one_shows():
    slow, fast, broken = result("a", 1.0), result("a", 2.0), Result("a", reason="killed")
    assert faster(slow, fast) is fast
    assert faster(fast, slow) is fast
    assert faster(fast, broken) is broken
    assert faster(broken, fast) is broken


@pytest.mark.parametrize("output", ["", "no json", "[]", "3", '{"version": "x"}', '{"version": 1, "seconds": {}}'])
def test_an_answer_of_another_form_is_an_error(output: str):
    with pytest.raises(RuntimeError, match="not what was expected"):
        read_answer(output)


def test_the_answer_is_the_last_line_a_peer_prints():
    answer = read_answer('loading …\n{"version": "a 1", "seconds": {"x": 1.5}}\n')
    assert answer == {"version": "a 1", "seconds": {"x": 1.5}}


def test_a_job_names_everything_and_the_weights_only_where_there_are_some(clip: Clip, tmp_path: Path):
    job = describe_job(Peer("boxmot", "ocsort", "OC-SORT"), [clip], tmp_path, None)
    assert (job["library"], job["tracker"], job["weights"]) == ("boxmot", "ocsort", None)
    (described,) = job["clips"]
    assert described["out"] == str(tmp_path / "walk.txt")
    assert (described["frame_count"], described["size_px"], described["video"]) == (20, [640, 480], None)


@pytest.mark.usefixtures("echo")
def test_rows_of_a_peer_are_scored_as_they_are(clip: Clip, tmp_path: Path):
    (line,) = bench_peers([Peer("boxmot", "echo", "Echo")], [clip], tmp_path / "work", tmp_path, rounds=2)
    assert line.reason == ""
    rows = read_rows(tmp_path / "work" / "boxmot-echo" / "walk.txt")
    assert rows.frames.tolist() == [1, 2, 3, 4, *range(6, 21)]
    np.testing.assert_allclose(rows.xywh[0], WALK[0], atol=1e-3)
    assert line.scores[ALL]["MOTA"] == pytest.approx(0.95)
    assert (line.name, line.version, line.is_peer) == ("boxmot Echo", "echo 1.0", True)
    assert line.frames_per_s is not None
    assert line.frames_per_s > 0


@pytest.mark.usefixtures("echo")
def test_a_clip_without_detections_scores_zero(clip: Clip, tmp_path: Path):
    clip.detections.write_text("", encoding="utf-8")
    (line,) = bench_peers([Peer("boxmot", "echo", "Echo")], [clip], tmp_path / "work", tmp_path)
    assert line.reason == ""
    assert line.scores[ALL]["HOTA"] == 0


@pytest.mark.usefixtures("echo")
def test_a_peer_that_breaks_is_a_line_with_the_last_words_it_said(clip: Clip, tmp_path: Path):
    peers = [Peer("boxmot", "broken", "Broken"), Peer("boxmot", "echo", "Echo")]
    broken, whole = bench_peers(peers, [clip], tmp_path / "work", tmp_path)
    assert "no such | tracker" in broken.reason
    assert whole.reason == ""
    assert "not run: no such / tracker" in table([broken, whole], ["walk"])


def test_a_library_that_cannot_be_installed_is_a_line_with_the_reason(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> str:
        raise RuntimeError("no route to the package index")

    monkeypatch.setattr(environments, "run", refuse)
    (line,) = bench_peers([Peer("boxmot", "ocsort", "OC-SORT")], [clip], tmp_path / "work", tmp_path)
    assert line.reason == "no route to the package index"
    assert not list(tmp_path.glob("requirements-*/installed"))


def test_where_pytorch_without_cuda_is_out_of_reach_the_usual_one_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commands = []

    def run(command: list[str], limit_s: float) -> str:
        commands.append(command)
        if "--torch-backend" in command:
            raise RuntimeError("no such index")
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return ""

    monkeypatch.setattr(environments, "run", run)
    monkeypatch.setattr(environments.shutil, "which", lambda _: "uv")
    python = environments.library_python("boxmot", tmp_path)
    assert [("--torch-backend" in c, "install" in c) for c in commands] == [(False, False), (True, True), (False, True)]
    assert (python.parents[1] / "installed").exists()
    assert environments.library_python("boxmot", tmp_path) == python
    assert len(commands) == 3


def test_a_command_that_fails_says_its_last_line_and_one_that_hangs_how_long(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"^bad thing$"):
        environments.run([sys.executable, "-c", "raise SystemExit('a line\\nbad thing')"], 30)
    with pytest.raises(RuntimeError, match=r"took more than 0\.2 s"):
        environments.run([sys.executable, "-c", "import time; time.sleep(30)"], 0.2)
    with pytest.raises(RuntimeError, match="nowhere"):
        environments.run([str(tmp_path / "nowhere")], 1)


def test_a_result_for_an_identity_not_known_yet_is_no_identity(clip: Clip, tmp_path: Path):
    ids = [0] * 10 + [4] * 10
    xyxy = np.concatenate([WALK[:, :2], WALK[:, :2] + WALK[:, 2:]], axis=1).astype(np.float32)
    write_rows(tmp_path / "online" / "walk.txt", mot_rows(range(1, 21), ids, xyxy, [1.0] * 20))
    found = score_clips([clip], tmp_path / "online", nobody=0)[ALL]
    assert found["IDSW"] == 0
    assert found["IDF1"] == pytest.approx(0.5)


def test_no_tracker_is_measured_twice_and_every_library_has_its_requirements():
    for peers in (MOTION_PEERS, APPEARANCE_PEERS):
        assert len({(p.library, p.tracker) for p in peers}) == len(peers)
        assert len({p.name for p in peers}) == len(peers)
    for library in {p.library for p in (*MOTION_PEERS, *APPEARANCE_PEERS)}:
        text = (environments.FOLDER / f"requirements-{library}.txt").read_text(encoding="utf-8")
        assert f"{library}==" in text
        assert "://" not in text
        assert (environments.FOLDER / "inside" / f"{library}_library.py").is_file()


def test_detections_survive_writing_and_reading(tmp_path: Path):
    xyxy = np.array([[1.25, 2.5, 11.0, 22.0], [0, 0, 5, 5]], np.float32)
    write_rows(tmp_path / "det.txt", mot_rows([3, 3], [-1, -1], xyxy, [0.5, 1.0]))
    found = read_detections(tmp_path / "det.txt")
    assert list(found) == [3]
    np.testing.assert_allclose(found[3].xyxy, xyxy, atol=1e-3)
    np.testing.assert_allclose(found[3].confidence, [0.5, 1.0])


@pytest.mark.parametrize("name", ["bench_tracking", "bench_peers_reid"])
def test_a_benchmark_without_media_says_what_it_needs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("MEDIA_DIR", raising=False)
    monkeypatch.setattr(sys, "argv", [name])
    assert importlib.import_module(name).main() == 1
    assert capsys.readouterr().err.startswith("MEDIA_DIR must name a folder with ")


def test_a_clip_without_any_detection_is_read_as_such(tmp_path: Path):
    write_rows(tmp_path / "det.txt", [])
    assert read_detections(tmp_path / "det.txt") == {}


@pytest.mark.skipif(
    not (Path(os.environ.get("MODELS_DIR", "")) / "osnet_x0_25_msmt17.onnx").is_file()
    or "MODELS_DIR" not in os.environ,
    reason="MODELS_DIR with osnet_x0_25_msmt17.onnx is not there",
)
def test_the_peers_weights_give_the_embeddings_of_the_original(tmp_path: Path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from peers.weights import DEVIATION, MEAN, write_weights

    source = Path(os.environ["MODELS_DIR"]) / "osnet_x0_25_msmt17.onnx"
    written = write_weights(source, tmp_path)
    pictures = np.random.default_rng(0).random((3, 3, 256, 128), np.float32)
    mean, deviation = (np.reshape(v, (1, 3, 1, 1)).astype(np.float32) for v in (MEAN, DEVIATION))
    normalised = (pictures - mean) / deviation

    def embed(path: Path, batch: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: batch})[0]

    wanted = np.concatenate([embed(source, one[None]) for one in normalised])
    np.testing.assert_allclose(embed(written["boxmot"], normalised), wanted, atol=1e-4)
    np.testing.assert_allclose(embed(written["ultralytics"], pictures), wanted, atol=1e-3)
    assert written["boxmot"].name.startswith("osnet_x0_25")
