"""A whole live run on generated files: what it writes, and what it survives."""

import json
import os
import socket
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from live_site import RunThread, events_of, run_quietly, wait_until, with_sources, with_url

from pipeline.bus.server import EmbeddedServer
from pipeline.config import Config


def rows_of(path: Path) -> list[list[float]]:
    return [[float(v) for v in line.split(",")] for line in path.read_text().splitlines()]


def loaded(pid: int) -> set[str]:
    """The packages of which a process has mapped a shared library."""
    paths = [Path(m.path).parts for m in psutil.Process(pid).memory_maps()]
    return {parts[parts.index("site-packages") + 1] for parts in paths if "site-packages" in parts}


def test_a_run_over_two_files_leaves_identities_tracks_figures_and_a_report(site: Config, tmp_path: Path) -> None:
    code, lines = run_quietly(site, tmp_path, overlay=True)
    assert code == 0
    events = events_of(tmp_path)
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    assert Counter(e["kind"] for e in events)["entered"] == 2
    assert {e["key"]["camera_id"] for e in events} == {"lobby", "street"}
    assert all(abs(e["emitted_at_s"] - e["decided_at_s"]) < 30 for e in events)
    for camera in ("lobby", "street"):
        final, online = (
            rows_of(tmp_path / "tracks" / f"{camera}.txt"),
            rows_of(tmp_path / f"tracks_online/{camera}.txt"),
        )
        assert len(final) == len(online) > 10
        assert {row[1] for row in final} <= {1.0, 2.0}
        assert min(row[0] for row in final) >= 1 and max(row[0] for row in final) <= 70
        assert (tmp_path / "overlay" / f"{camera}.mp4").stat().st_size > 10_000
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["frames"] == {"lobby": 70, "street": 70}
    assert run["fps"]["lobby"] == pytest.approx(10.0, abs=0.1)
    assert run["latency_ms"]["frame_age"]["count"] == 140
    assert {"detect", "track", "inference_detect", "match"} <= run["latency_ms"].keys()
    assert run["models"]["clips"].startswith("handcrafted")
    assert "redis" in run["versions"] and socket.gethostname() not in json.dumps(run["versions"])
    assert run["config"]["bus"]["url"] is None or "***" in run["config"]["bus"]["url"]
    assert (tmp_path / "report.html").exists()
    assert list((tmp_path / "references").glob("*_mask.png"))
    assert not list(tmp_path.rglob("*.part*")) and not list(tmp_path.rglob(".journal"))
    text = "\n".join(lines)
    assert "lobby:            70 frames" in text and "2 identities" in text and str(tmp_path / "report.html") in text


def test_a_killed_worker_and_a_killed_matcher_come_back_and_no_event_is_lost_or_doubled(
    site: Config, tmp_path: Path
) -> None:
    run = RunThread(site, tmp_path)
    wait_until(lambda: len(events_of(tmp_path)) >= 1, 40, "the first identity")
    assert loaded(run.pid("street")) & {"cv2", "torch", "openvino", "onnxruntime", "ultralytics"} == {"cv2"}
    run.kill("matcher")
    run.kill("lobby")
    assert run.wait(60) == 0
    assert len(run.started.pids["matcher"]) == 2 and len(run.started.pids["lobby"]) == 2
    assert len(run.started.pids["street"]) == 1
    events = events_of(tmp_path)
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    entered = [e["identity_id"] for e in events if e["kind"] == "entered"]
    assert len(entered) == len(set(entered)) and sorted(entered) == list(range(1, len(entered) + 1))
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary["losses"]["restarts_worker"] == 1 and summary["losses"]["restarts_matcher"] == 1
    assert summary["frames"]["street"] == 70
    assert 0 < summary["frames"]["lobby"] <= 70
    assert {row[0] for row in rows_of(tmp_path / "tracks" / "street.txt")}


def test_a_wrong_password_ends_the_run_at_once_with_one_line(
    site: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedServer() as server:
        url = f"redis://:wrong-secret@{server.address}/0"
        started_s = time.monotonic()
        code, lines = run_quietly(with_url(site, url), tmp_path)
        assert time.monotonic() - started_s < 2.0
    assert code == 2 and lines == []
    assert_one_error(capfd, "refuses the user or password")
    assert list(tmp_path.iterdir()) == []


def test_a_redis_that_is_not_there_ends_the_run_with_one_line(
    site: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{taken.getsockname()[1]}/0"
        assert run_quietly(with_url(site, url), tmp_path)[0] == 1
    assert_one_error(capfd, "does not answer")


def test_missing_and_damaged_files_are_one_line_each_before_anything_starts(
    site: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(os.urandom(2000))
    broken = with_sources(site, lobby=str(tmp_path / "nowhere.mp4"), street=str(damaged))
    assert run_quietly(broken, tmp_path / "out")[0] == 1
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("error: camera lobby: ") and errors[1].startswith("error: camera street: ")
    assert not (tmp_path / "out").exists()


def test_a_config_without_cameras_is_a_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_quietly(Config(), tmp_path)[0] == 2
    assert_one_error(capfd, "names no cameras")


def test_named_weights_that_are_missing_are_a_mistake(
    site: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(site, detector=replace(site.detector, kind="yolo", weights=str(tmp_path / "no.pt")))
    assert run_quietly(config, tmp_path)[0] == 2
    assert_one_error(capfd, "no.pt")


def assert_one_error(capfd: pytest.CaptureFixture[str], text: str) -> None:
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ") and text in errors[0]
    assert "secret" not in errors[0]
