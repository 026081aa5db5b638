"""Clips that the tests encode themselves, and the RTSP test server of `tests/rtsp`."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "rtsp"))  # the server is shared with other test folders
sys.path.insert(0, str(Path(__file__).parent))

from capture_clips import encode_clip, needs_encoder
from faulty_rtsp import FaultyRtsp
from watched_camera import FAST, WatchedCamera

from pipeline.config import CaptureConfig


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 pictures of 160 × 120 px at 25 fps, a key frame every 10."""
    needs_encoder()
    return encode_clip(tmp_path_factory.mktemp("clips") / "small.mp4")


@pytest.fixture(scope="session")
def larger_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same at 200 × 160 px."""
    needs_encoder()
    return encode_clip(tmp_path_factory.mktemp("clips") / "larger.mp4", size_px=(200, 160))


@pytest.fixture
def server(clip: Path, larger_clip: Path) -> Iterator[FaultyRtsp]:
    server = FaultyRtsp(clip, path2=larger_clip).start()
    yield server
    server.stop()


@pytest.fixture
def watch() -> Iterator[Callable[..., WatchedCamera]]:
    """Starts consuming a camera on a thread; everything is closed at the end of the test."""
    cameras: list[WatchedCamera] = []

    def start(url: str, config: CaptureConfig = FAST, consume_s: float = 0.0) -> WatchedCamera:
        cameras.append(WatchedCamera(url, config, consume_s, random.Random(1)))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.close()
