from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from capture_clips import encode_clip, needs_encoder, picture
from faulty_rtsp import FaultyRtsp
from watched_camera import FAST

from pipeline.capture.probe import SourceInfo, probe, source_kind
from pipeline.errors import SourceRefused, SourceUnavailable


def test_kinds_of_sources_are_told_apart(tmp_path: Path) -> None:
    assert source_kind("0") == "webcam"
    assert source_kind("rtsp://10.0.0.1/x") == "rtsp"
    assert source_kind("RTSPS://10.0.0.1/x") == "rtsp"
    assert source_kind(str(tmp_path)) == "folder"
    assert source_kind(str(tmp_path / "none.mp4")) == "file"


@pytest.mark.parametrize(
    "source", ["", "http://user:hunter2@cam/x", "file:///etc/passwd", "concat://a", "udp://@1.2.3.4:5"]
)
def test_other_schemes_are_refused_without_their_credentials(source: str) -> None:
    with pytest.raises(SourceUnavailable) as error:
        source_kind(source)
    assert "hunter2" not in str(error.value)
    assert "rtsp" in str(error.value)


def test_a_file_says_what_it_holds(clip: Path) -> None:
    info = probe(str(clip), FAST)
    assert info == SourceInfo("file", 160, 120, 25.0, 50, info.duration_s)
    assert info.duration_s == pytest.approx(2.0, abs=0.05)


def test_the_number_of_frames_is_worked_out_where_the_container_does_not_say(tmp_path: Path) -> None:
    needs_encoder()
    info = probe(str(encode_clip(tmp_path / "clip.mkv")), FAST)
    assert info.frame_count == pytest.approx(50, abs=1)


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index))
    assert probe(str(tmp_path), FAST) == SourceInfo("folder", 160, 120, 25.0, 5, 0.2)


def test_a_camera_says_its_size(server: FaultyRtsp) -> None:
    info = probe(server.url, FAST)
    assert (info.kind, info.width_px, info.height_px) == ("rtsp", 160, 120)
    assert info.fps == pytest.approx(25, rel=0.1)
    assert info.frame_count is None
    assert info.duration_s is None


def test_a_camera_that_is_not_there_is_one_redacted_line() -> None:
    with pytest.raises(SourceUnavailable) as error:
        probe("rtsp://admin:hunter2@127.0.0.1:9/x", FAST)
    assert str(error.value).startswith("rtsp://***@127.0.0.1:9/x: connection refused")
    assert "\n" not in str(error.value)


def test_wrong_credentials_are_refused(clip: Path) -> None:
    server = FaultyRtsp(clip, auth="a:b").start()
    try:
        with pytest.raises(SourceRefused):
            probe(server.url, FAST)
    finally:
        server.stop()


def test_a_camera_that_never_answers_is_given_up_in_time(server: FaultyRtsp) -> None:
    server.fault.update(no_reply=True)
    with pytest.raises(SourceUnavailable, match="no answer within"):
        probe(server.url, replace(FAST, open_timeout_s=0.5))


@pytest.mark.parametrize("content", [b"", b"noise" * 1000])
def test_files_without_video_are_unavailable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(SourceUnavailable, match=r"bad\.mp4"):
        probe(str(tmp_path / "bad.mp4"), FAST)


def test_a_webcam_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(SourceUnavailable, match="webcam 97"):
        probe("97", FAST)
