"""The whole pipeline through its command line: the demo on the generated scene, determinism, a real clip, bad input."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.boxes import box_iou, xywh_to_xyxy
from pipeline.bus.lines import event_from_json
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import demo_scenario, random_scenario

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 6


def run_command(*arguments, timeout_s=200, **environment):
    """The command line in a process of its own; environment None removes a variable."""
    env = {**os.environ, **{k: v for k, v in environment.items() if v is not None}}
    for name in [k for k, v in environment.items() if v is None]:
        env.pop(name, None)
    command = [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=env, cwd=ROOT)


def mot_rows(path):
    return np.loadtxt(path, delimiter=",", ndmin=2) if path.stat().st_size else np.zeros((0, 10))


def boxes_of(rows):
    return xywh_to_xyxy(rows[:, 2:6].astype(np.float32))


def people_of_identities(out_dir, truth_dir, tracks="tracks"):
    """identity -> Counter of the people it lies on; 0 for boxes on nobody."""
    found = defaultdict(Counter)
    for path in sorted((out_dir / tracks).glob("*.txt")):
        rows, truth = mot_rows(path), mot_rows(truth_dir / path.name)
        for number in np.unique(truth[:, 0]):
            here, people = rows[rows[:, 0] == number], truth[truth[:, 0] == number]
            overlap = box_iou(boxes_of(here), boxes_of(people))
            for row, shares in zip(here, overlap, strict=True):
                best = int(shares.argmax())
                found[int(row[1])][int(people[best, 1]) if shares[best] >= 0.4 else 0] += 1
    return found


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo as on a fresh machine: no MODELS_DIR, an empty cache."""
    folder = tmp_path_factory.mktemp("demo")
    cache = str(folder / "cache")
    done = run_command("demo", "--out", folder / "out", MODELS_DIR=None, XDG_CACHE_HOME=cache, timeout_s=235)
    return folder / "out", done


def test_the_demo_ends_well_and_says_where_everything_is(demo):
    out_dir, done = demo
    assert done.returncode == 0, done.stderr
    for name in ("overlay", "identities.jsonl", "report.html", "references", "tracks"):
        assert str(out_dir / name) in done.stdout
        assert (out_dir / name).exists()
    assert done.stdout.count("no YOLO weights") == 1
    assert done.stdout.count("no re-ID weights") == 1
    assert "Traceback" not in done.stderr


def test_the_demo_scores_itself(demo):
    out_dir, done = demo
    metrics = json.loads((out_dir / "metrics.json").read_text())
    assert metrics["reentry"]["found"] == metrics["reentry"]["true"] == 6
    assert metrics["cross_camera"]["IDF1"] > 0.8
    assert "re-entries: 6 of 6 found" in done.stdout


def test_the_demo_finds_as_many_identities_as_there_are_people_and_keeps_them_apart(demo):
    out_dir, _ = demo
    found = {i: people for i, people in people_of_identities(out_dir, out_dir / "scene/gt").items() if i < 1_000_000}
    assert len(found) == PEOPLE
    leaders = [people.most_common(1)[0] for people in found.values()]
    assert {person for person, _ in leaders} == set(range(1, PEOPLE + 1))
    assert sum(count for _, count in leaders) / sum(sum(p.values()) for p in found.values()) > 0.9


def test_the_demo_follows_people_over_cameras_and_notices_every_return(demo):
    out_dir, _ = demo
    events = [event_from_json(line) for line in (out_dir / "identities.jsonl").read_text().splitlines()]
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    kinds = Counter(e.kind for e in events)
    assert kinds["entered"] - kinds["merged"] == PEOPLE  # somebody may be taken for new, and be corrected
    assert kinds["handed_over"] >= 6
    returns = true_returns(out_dir / "scene/gt")
    said = [(e.key.camera_id, e.at_s) for e in events if e.kind == "reentered"]
    assert len(said) == len(returns)
    for camera_id, at_s in returns:
        assert any(c == camera_id and abs(t - at_s) <= 1.0 for c, t in said), (camera_id, at_s, said)


def true_returns(truth_dir, absence_s=5.0, fps=10.0):
    """(camera, time) of every visit that begins after an absence, from visits.csv."""
    left, returns = {}, []
    for line in (truth_dir / "visits.csv").read_text().splitlines()[1:]:
        camera_id, person, _, entry, leave, _ = line.split(",")
        gone_s = (int(entry) - left.get((camera_id, person), int(entry))) / fps
        if gone_s >= absence_s:
            returns.append((camera_id, (int(entry) - 1) / fps))
        left[camera_id, person] = int(leave)
    return returns


def test_a_re_entry_of_the_demo_has_a_reference_frame_with_a_mask_of_the_person(demo):
    out_dir, _ = demo
    references = [json.loads(line) for line in (out_dir / "references/references.jsonl").read_text().splitlines()]
    taken = [r for r in references if r["reason"] == "reentered"]
    assert taken
    for reference in taken:
        image = cv2.imread(str(out_dir / reference["image"]))
        mask = cv2.imread(str(out_dir / reference["mask"]), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == mask.shape
        (subject,) = [s for s in reference["subjects"] if s["identity_id"] == reference["identity_id"]]
        x1, y1, x2, y2 = (int(v) for v in subject["xyxy"])
        of_person = mask == subject["value"]
        assert of_person.sum() > 0.2 * (x2 - x1) * (y2 - y1)
        assert of_person[max(y1, 0) : y2, max(x1, 0) : x2].sum() > 0.8 * of_person.sum()


def test_the_demos_overlays_are_videos_of_every_frame(demo):
    out_dir, _ = demo
    for camera in demo_scenario().cameras:
        with av.open(str(out_dir / f"overlay/{camera.id}.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == demo_scenario().frame_count


def test_online_ids_are_not_known_before_they_are_decided(demo):
    out_dir, _ = demo
    events = [event_from_json(line) for line in (out_dir / "identities.jsonl").read_text().splitlines()]
    corrected = {e.identity_id for e in events if e.kind == "merged"}  # they have no rows in the end
    entered = [e for e in events if e.kind == "entered" and e.identity_id not in corrected]
    decided = {(e.key.camera_id, e.identity_id): e.decided_at_s for e in reversed(entered)}
    for (camera_id, identity_id), decided_s in decided.items():
        rows = mot_rows(out_dir / f"tracks_online/{camera_id}.txt")
        assert ((rows[rows[:, 1] == identity_id][:, 0] - 1) / 10.0).min() >= decided_s - 1e-6
        final = mot_rows(out_dir / f"tracks/{camera_id}.txt")
        assert ((final[final[:, 1] == identity_id][:, 0] - 1) / 10.0).min() < decided_s


def test_the_run_file_tells_versions_models_latencies_and_losses(demo):
    out_dir, _ = demo
    run = json.loads((out_dir / "run.json").read_text())
    assert run["frames"] == {c.id: demo_scenario().frame_count for c in demo_scenario().cameras}
    assert {"detect", "track", "encode", "fuse", "match"} <= run["latency_ms"].keys()
    assert len(run["warnings"]) == 2
    assert run["models"]["clips"].startswith("handcrafted")


def spin(stop):
    while not stop.is_set():
        pass


@pytest.mark.alone
def test_two_replays_are_equal_to_the_byte_also_under_load(tmp_path):
    scene = write_scene(random_scenario(3, 2, 6.0, seed=5), tmp_path / "scene")
    assert run_command("replay", "--config", scene.config, "--out", tmp_path / "a", MODELS_DIR=None).returncode == 0
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    load = [context.Process(target=spin, args=(stop,)) for _ in range(2)]
    try:
        for process in load:
            process.start()
        done = run_command("replay", "--config", scene.config, "--out", tmp_path / "b", MODELS_DIR=None)
        assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        for process in load:
            process.join()
    names = ["identities.jsonl", *(f"{d}/{c}.txt" for d in ("tracks", "tracks_online") for c in scene.sources)]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert (tmp_path / "a/identities.jsonl").stat().st_size > 0


def test_detecting_on_every_third_frame_still_gives_every_frame_a_row(tmp_path):
    scene = write_scene(random_scenario(2, 1, 6.0, seed=3), tmp_path / "scene")
    text = scene.config.read_text().replace("source:", "detect_every_s: 0.3\n  source:")
    scene.config.write_text(text)
    assert run_command("replay", "--config", scene.config, "--out", tmp_path / "out", MODELS_DIR=None).returncode == 0
    (path,) = (tmp_path / "out/tracks").glob("*.txt")
    rows = mot_rows(path)
    longest = Counter(rows[:, 1]).most_common(1)[0][0]
    frames = rows[rows[:, 1] == longest][:, 0]
    assert len(frames) > 10
    assert (np.diff(frames) == 1).mean() > 0.9


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Two overlapping cameras of a real clip, with YOLO and OSNet."""
    models, media = os.environ.get("MODELS_DIR"), os.environ.get("MEDIA_DIR")
    if not models or not (Path(models) / "osnet_x0_25_msmt17.onnx").exists():
        pytest.skip("MODELS_DIR with osnet_x0_25_msmt17.onnx and yolo11n_int8_openvino_model is not set")
    if not media or not (Path(media) / "lab4cam").exists():
        pytest.skip("MEDIA_DIR with lab4cam is not set")
    folder = tmp_path_factory.mktemp("lab")
    clips = Path(media).resolve() / "lab4cam"
    cameras = "\n".join(f"  - {{id: cam{n}, source: {clips}/cam{n}.mp4}}" for n in (2, 3))
    (folder / "site.yaml").write_text(f"site: lab\ncameras:\n{cameras}\n")
    done = run_command("replay", "--config", folder / "site.yaml", "--out", folder / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    return folder / "out", clips / "gt", done


def test_a_real_clip_runs_with_yolo_and_osnet_and_says_nothing_of_fallbacks(lab):
    out_dir, _, done = lab
    run = json.loads((out_dir / "run.json").read_text())
    assert run["models"]["clips"].startswith("osnet_x0_25_msmt17")
    assert run["models"]["detector"].startswith("yolo11n")
    assert run["warnings"] == []
    assert "warning" not in done.stdout


def test_people_of_a_real_clip_are_linked_over_two_cameras_and_never_mixed_up(lab):
    out_dir, truth, _ = lab
    cameras_of = {
        identity: {p.stem for p in (out_dir / "tracks").glob("*.txt") if identity in mot_rows(p)[:, 1]}
        for identity in people_of_identities(out_dir, truth)
    }
    linked = {i: p for i, p in people_of_identities(out_dir, truth).items() if len(cameras_of[i]) == 2}
    leaders = {p.most_common(1)[0][0] for p in linked.values()}
    assert leaders & {1, 2}  # the other of them lies .004 beyond the stored threshold, which this clip may not choose
    for people in linked.values():
        on_people = {person: n for person, n in people.items() if person}
        assert max(on_people.values()) / sum(on_people.values()) > 0.9


def test_an_identity_is_never_twice_in_one_frame(lab, demo):
    for out_dir in (lab[0], demo[0]):
        for path in (out_dir / "tracks").glob("*.txt"):
            rows = mot_rows(path)
            assert len(np.unique(rows[:, :2], axis=0)) == len(rows), path


# -- bad input ------------------------------------------------------------------------------------------------------


def expect_one_line(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in done.stderr


def replay_of(tmp_path, source, extra="", out="out", **environment):
    config = tmp_path / "site.yaml"
    config.write_text(f"site: s\ncameras:\n  - {{id: a, source: '{source}'}}\n{extra}\n")
    return run_command("replay", "--config", config, "--out", tmp_path / out, MODELS_DIR=None, **environment)


def encode_clip(path, sizes, frames=12):
    """A raw H.264 stream of moving noise, one part per size."""
    with path.open("wb") as file:
        for width, height in sizes:
            codec = av.CodecContext.create("libx264", "w")
            codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
            codec.time_base, codec.framerate = Fraction(1, 10), 10
            codec.options = {"bf": "0", "g": "5", "tune": "zerolatency"}
            for index in range(frames):
                image = np.full((height, width, 3), 40 + 5 * index, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts = index
                for packet in codec.encode(frame):
                    file.write(bytes(packet))
            for packet in codec.encode(None):
                file.write(bytes(packet))


def test_a_mistake_in_the_config_is_named_with_its_line(tmp_path):
    done = replay_of(tmp_path, "a.mp4", extra="detector: {knid: hog}")
    expect_one_line(done, 2, "site.yaml:4", "knid", "kind")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_missing_are_named_with_what_to_do(tmp_path):
    encode_clip(tmp_path / "a.h264", [(160, 120)])
    done = replay_of(
        tmp_path, tmp_path / "a.h264", extra="detector: {kind: yolo}", XDG_CACHE_HOME=str(tmp_path / "cache")
    )
    expect_one_line(done, 2, "yolo11n.pt", "MODELS_DIR")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a video at all" * 100], ids=["missing", "empty", "corrupt"])
def test_a_video_that_cannot_be_read_is_one_clear_line_and_nothing_is_written(tmp_path, content):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    expect_one_line(replay_of(tmp_path, tmp_path / "a.mp4"), 1, "a.mp4")
    assert not (tmp_path / "out").exists()


def test_a_video_that_changes_size_goes_on_in_a_new_epoch(tmp_path):
    encode_clip(tmp_path / "a.h264", [(320, 240), (640, 360)])
    done = replay_of(tmp_path, tmp_path / "a.h264")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/run.json").read_text())["frames"] == {"a": 24}


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    encode_clip(tmp_path / "a.h264", [(160, 120)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    expect_one_line(replay_of(tmp_path, tmp_path / "a.h264"), 1, "not empty", "--overwrite")
    done = run_command("demo", "--out", tmp_path / "out", "--overwrite", MODELS_DIR=None)
    expect_one_line(done, 1, "thesis.txt")
    assert (tmp_path / "out/thesis.txt").read_text() == "mine"


def test_a_live_camera_cannot_be_replayed(tmp_path):
    done = replay_of(tmp_path, "rtsp://user:secret@127.0.0.1:9/x")
    expect_one_line(done, 2, "live")
    assert "secret" not in done.stdout + done.stderr


def test_a_config_without_cameras_is_one_clear_line_and_nothing_is_written(tmp_path):
    (tmp_path / "site.yaml").write_text("site: s\n")
    done = run_command("replay", "--config", tmp_path / "site.yaml", "--out", tmp_path / "out")
    expect_one_line(done, 2, "no cameras", "init")
    assert not (tmp_path / "out").exists()
