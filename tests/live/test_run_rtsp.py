"""Live cameras over RTSP: one dies and comes back, one is never there, one goes on undisturbed."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "rtsp"))

from faulty_rtsp import FaultyRtsp
from live_site import RunThread, events_of, wait_until, with_sources, with_url

from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.config import CameraConfig, Config
from pipeline.types import CameraState, ClipFeature, Health, Tick, Tracklet


class Clips:
    """Everything on a stream, with the server's time of arrival (Unix seconds)."""

    def __init__(self, url: str, stream: str) -> None:
        self._bus = RedisBus(url, "lobby", consumer="test")
        self._stream = stream
        self._after = "0"
        self.seen: list[tuple[float, object]] = []

    def read(self) -> list[tuple[float, object]]:
        for delivery in self._bus.read(self._stream, self._after, 0.0, count=100_000):
            self._after = delivery.id
            self.seen.append((int(delivery.id.split("-")[0]) / 1e3, delivery.message))
        return self.seen

    def of(self, kind: type, camera_id: str, after_s: float = 0.0) -> list:
        return [m for at_s, m in self.read() if isinstance(m, kind) and m.camera_id == camera_id and at_s >= after_s]

    def close(self) -> None:
        self._bus.close()


@pytest.fixture
def cameras(site: Config) -> Iterator[dict[str, FaultyRtsp]]:
    servers = {c.id: FaultyRtsp(c.source, fps=10).start() for c in site.cameras}
    yield servers
    for server in servers.values():
        server.stop()


@pytest.mark.slow
def test_a_camera_that_dies_is_offline_and_comes_back_in_a_new_epoch_while_others_go_on(
    site: Config, cameras: dict[str, FaultyRtsp], tmp_path: Path
) -> None:
    config = with_sources(site, **{name: server.url for name, server in cameras.items()})
    gate = CameraConfig("gate", "rtsp://admin:hunter2@127.0.0.1:9/never")
    config = config.with_cameras((*config.cameras, gate))
    with EmbeddedServer() as server:
        config = with_url(config, server.url)
        run = RunThread(config, tmp_path / "out", duration_s=25.0)
        clips, health = Clips(server.url, "clips"), Clips(server.url, "health")
        wait_until(lambda: len(clips.of(ClipFeature, "street")) > 0, 40, "a clip of the street")
        key = clips.of(ClipFeature, "street")[-1].key
        cameras["street"].stop(rst=True)
        died_s = time.time()
        wait_until(lambda: bool(clips.of(CameraState, "street", died_s)), 2.0, "the street is offline")
        ended = [t.key for t in clips.of(Tracklet, "street")]
        assert key in ended
        assert clips.of(CameraState, "street", died_s)[0].status == "offline"
        assert not clips.of(Tick, "street", died_s + 1.0)
        cameras["street"].restart()
        back_s = time.time()
        wait_until(lambda: bool(clips.of(Tick, "street", back_s)), 4.0, "the street is back")
        assert clips.of(Tick, "street", back_s)[0].epoch != key.epoch
        assert len(clips.of(CameraState, "street", died_s)) == 1
        lobby = [at_s for at_s, m in clips.read() if isinstance(m, Tick) and m.camera_id == "lobby"]
        assert max(b - a for a, b in pairwise(lobby)) < 1.5
        assert clips.of(CameraState, "gate")[0].status == "offline"
        wait_until(lambda: len(events_of(tmp_path / "out")) > 0, 10, "an identity, although the gate never came")
        for camera in cameras.values():
            camera.fault.update(stall=True)  # the end comes while all cameras are silent
        assert run.wait(60) == 0
        states = {m.state for _, m in health.read() if isinstance(m, Health) and m.name == "street"}
        assert {"LIVE", "OFFLINE"} <= states
        clips.close()
        health.close()
    assert any("gate cannot be reached" in line for line in run.lines)
    assert "hunter2" not in "".join(run.lines) + (tmp_path / "out" / "run.json").read_text()
    assert (tmp_path / "out" / "tracks" / "street.txt").read_text()


@pytest.mark.slow
def test_a_file_and_a_camera_share_a_run(site: Config, cameras: dict[str, FaultyRtsp], tmp_path: Path) -> None:
    config = with_sources(site, lobby=cameras["lobby"].url)
    config = replace(config, runtime=replace(config.runtime, cameras_per_worker=2))
    run = RunThread(config, tmp_path, duration_s=9.0)
    assert run.wait(60) == 0
    assert list(run.started.pids) == ["recorder", "matcher", "inference", "lobby+street"]
    assert {e["key"]["camera_id"] for e in events_of(tmp_path)} == {"lobby", "street"}
