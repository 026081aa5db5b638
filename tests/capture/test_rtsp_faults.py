"""Every camera fault against a real RTSP server on loopback."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from capture_clips import picture
from faulty_rtsp import FaultyRtsp
from watched_camera import FAST, WatchedCamera

from pipeline.capture.rtsp import RtspSource
from pipeline.capture.watchdog import CameraCondition

LIVE, STALLED, FROZEN = CameraCondition.LIVE, CameraCondition.STALLED, CameraCondition.FROZEN
OFFLINE, REFUSED, CLOSED = CameraCondition.OFFLINE, CameraCondition.REFUSED, CameraCondition.CLOSED
Watch = Callable[..., WatchedCamera]


def with_password(url: str, password: str = "hunter2") -> str:
    return url.replace("rtsp://", f"rtsp://admin:{password}@")


def test_a_healthy_camera_delivers_its_pictures_in_order_and_on_time(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_state(LIVE, 5)
    camera.wait_for_frames(25)
    frames = [frame for _, frame in camera.frames]
    assert camera.epochs == ["e1"]
    assert frames[-1].image.shape == (120, 160, 3)
    steady = [frame.captured_at_s for frame in frames[15:]]
    assert (np.diff([frame.captured_at_s for frame in frames]) > 0).all()
    assert np.median(np.diff(steady)) == pytest.approx(0.04, abs=0.01)
    assert abs(frames[-1].captured_at_s - time.time()) < 2.0
    assert (np.diff([frame.index for frame in frames]) > 0).all()
    assert min(np.abs(frames[-1].image.astype(int) - picture(i)).mean() for i in range(50)) < 12
    assert not any(frame.damaged for frame in frames)


def test_a_slow_consumer_gets_the_newest_frame_and_the_skipped_are_counted(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url, consume_s=0.2)
    camera.wait_for_frames(8)
    late_s = [came_s - camera.frames[0][0] for came_s, _ in camera.frames]
    capture_s = [frame.captured_at_s - camera.frames[0][1].captured_at_s for _, frame in camera.frames]
    assert late_s[-1] - capture_s[-1] < 0.5
    assert camera.source.counters["skipped"] >= 15
    assert camera.source.counters["delivered"] < camera.source.counters["received"] / 3


def test_a_killed_connection_is_offline_within_a_second_and_back_within_three(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url, config=replace(FAST, reconnect_s=(0.2, 60.0)))
    camera.wait_for_frames(5)
    server.stop(rst=True)
    assert camera.wait_for_state(OFFLINE, 1.0) < 1.0
    camera.wait_for(lambda: "refused" in camera.source.detail, 5, "a refused attempt")
    count = len(camera.frames)
    server.restart()
    camera.wait_for_epoch("e2", 3.0)  # although the next attempt was due in a minute
    assert camera.conditions()[1:] == [LIVE, OFFLINE, LIVE]
    assert camera.frames[count][1].epoch == "e2"


def test_the_end_of_the_stream_is_a_fault_of_a_live_source(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.kill(rst=False)
    camera.wait_for(lambda: OFFLINE in camera.conditions(), 1.0, "offline")
    camera.wait_for_epoch("e2", 3.0)
    assert not camera.ended.is_set()


def test_a_stall_is_seen_and_nothing_old_is_delivered_after_it(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(stall=True)
    assert camera.wait_for_state(STALLED, 3) < FAST.stalled_s + 1.0
    count = len(camera.frames)
    camera.wait_for(lambda: camera.source.counters["losses"] > 0, 3, "the connection given up")
    server.fault.clear()
    camera.wait_for_epoch("e2")
    assert camera.frames[count][1].epoch == "e2"
    assert camera.frames[count][1].captured_at_s - camera.frames[count - 1][1].captured_at_s > FAST.stalled_s


def test_a_frozen_picture_is_seen_and_not_delivered_until_it_moves(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(freeze=True)
    camera.wait_for_state(FROZEN, 4)
    received, count = camera.source.counters["received"], len(camera.frames)
    camera.wait_for(lambda: camera.source.counters["received"] > received + 10, 4, "frozen pictures")
    assert len(camera.frames) == count
    assert camera.source.counters["frozen"] > 8
    server.fault.clear()
    camera.wait_for_epoch("e2")
    assert camera.source.counters["connections"] == 1


def test_lost_packets_mark_frames_as_damaged_until_the_next_key_frame(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(drop=0.1)
    camera.wait_for(lambda: camera.source.counters["corrupt"] >= 3, 8, "damaged pictures")
    server.fault.clear()
    camera.wait_for(lambda: not camera.frames[-1][1].damaged, 5, "a whole picture")
    camera.wait_for_frames(6)
    assert any(frame.damaged for _, frame in camera.frames)
    assert not any(frame.damaged for _, frame in camera.frames[-6:])
    assert camera.conditions()[1:] == [LIVE]


def test_flipped_bytes_are_counted_and_do_not_end_the_stream(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(corrupt=0.2)
    camera.wait_for(lambda: camera.source.counters["damaged"] >= 5, 8, "damaged pictures")
    assert not camera.ended.is_set()


@pytest.mark.parametrize("ticks", [-90_000 * 3600, pytest.param(90_000 * 3600, marks=pytest.mark.slow)])
def test_a_jump_of_the_time_stamps_begins_an_epoch_on_the_arrival_clock(
    server: FaultyRtsp, watch: Watch, ticks: int
) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(16)
    server.fault.update(ts_jump=ticks)
    camera.wait_for_epoch("e2")
    camera.wait_for_frames(10)
    times = [frame.captured_at_s for _, frame in camera.frames]
    assert camera.source.counters["jumps"] == 1
    assert camera.source.counters["connections"] == 1
    assert max(np.diff(times)) < 1.0
    assert abs(times[-1] - time.time()) < 2.0


def test_time_stamps_that_stand_still_are_replaced_by_arrival(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(ts_const=True)
    camera.wait_for_frames(25)
    steps = np.diff([frame.captured_at_s for _, frame in camera.frames])
    assert (steps > 0).all()
    assert np.median(steps[-20:]) == pytest.approx(0.04, abs=0.02)
    assert camera.epochs == ["e1"]


def test_a_new_resolution_begins_an_epoch_without_reconnecting(server: FaultyRtsp, watch: Watch) -> None:
    camera = watch(server.url)
    camera.wait_for_frames(5)
    server.fault.update(clip=1)
    camera.wait_for_epoch("e2")
    shapes = {frame.epoch: frame.image.shape for _, frame in camera.frames}
    assert shapes == {"e1": (120, 160, 3), "e2": (160, 200, 3)}
    assert camera.source.counters["connections"] == 1


def test_wrong_credentials_are_refused_and_tried_once_only(
    clip: str, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    server = FaultyRtsp(clip, auth="admin:right").start()
    try:
        with caplog.at_level(logging.DEBUG):
            camera = watch(with_password(server.url))
            camera.wait_for_state(REFUSED, 4)
            attempts = server.requests.count("DESCRIBE")
            time.sleep(1.0)  # three times the wait after any other fault
            assert server.requests.count("DESCRIBE") == attempts
        assert "401" in camera.source.detail
        assert "hunter2" not in camera.source.detail + caplog.text
        assert "admin" not in camera.source.detail + caplog.text
    finally:
        server.stop()


def test_right_credentials_are_used_and_shown_nowhere(
    clip: str, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    server = FaultyRtsp(clip, auth="admin:hunter2").start()
    try:
        with caplog.at_level(logging.DEBUG):
            camera = watch(with_password(server.url))
            camera.wait_for_frames(3)
            server.stop()
            camera.wait_for(lambda: "refused" in camera.source.detail, 4, "a refused attempt")
            camera.wait_for(lambda: "127.0.0.1" in caplog.text, 4, "a word about it in the log")
        assert "hunter2" not in camera.source.detail + caplog.text
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("403 Forbidden", REFUSED, "403"),
        ("404 Not Found", OFFLINE, "no such stream"),
        ("503 Service Unavailable", OFFLINE, "5XX"),
        ("302 Found\r\nLocation: http://127.0.0.1:9/", OFFLINE, "cam: "),
    ],
)
def test_a_status_other_than_ok_says_why(
    server: FaultyRtsp, watch: Watch, status: str, state: CameraCondition, reason: str
) -> None:
    server.fault.update(status=status)
    camera = watch(with_password(server.url))
    camera.wait_for_state(state, 4)
    assert reason in camera.source.detail
    assert "hunter2" not in camera.source.detail
    assert "\n" not in camera.source.detail


def test_a_server_that_never_replies_is_offline_within_the_open_time_out(server: FaultyRtsp, watch: Watch) -> None:
    server.fault.update(no_reply=True)
    camera = watch(server.url, config=replace(FAST, open_timeout_s=0.7))
    assert camera.wait_for_state(OFFLINE, 3) < 1.5
    assert "no answer within" in camera.source.detail


def test_a_server_that_answers_but_sends_no_video_is_offline(server: FaultyRtsp, watch: Watch) -> None:
    server.fault.update(stall=True)
    camera = watch(server.url, config=replace(FAST, open_timeout_s=1.0))
    camera.wait_for_state(OFFLINE, 3)
    assert "sends no video" in camera.source.detail


def test_a_listener_that_does_not_speak_rtsp_is_offline(watch: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = threading.Thread(target=lambda: _say_nonsense(listener), daemon=True)
        answer.start()
        camera = watch(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x", config=replace(FAST, open_timeout_s=1.0))
        camera.wait_for_state(OFFLINE, 4)
    answer.join(5)


def _say_nonsense(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("fault", [{}, {"stall": True}, {"no_reply": True}])
def test_closing_frees_the_consumer_within_two_seconds(
    server: FaultyRtsp, watch: Watch, fault: dict[str, bool]
) -> None:
    if "no_reply" in fault:
        server.fault.update(fault)
    camera = watch(server.url, config=replace(FAST, stalled_s=8.0, open_timeout_s=8.0))
    if "no_reply" not in fault:
        camera.wait_for_frames(3)
        server.fault.update(fault)
    started_s = time.monotonic()
    camera.source.close()
    camera.source.close()
    assert camera.ended.wait(2.0)
    assert time.monotonic() - started_s < 2.0
    assert camera.conditions()[-1] is CLOSED
    assert camera.source.condition is CLOSED
    server.kill()  # lets the reader out of its read


def test_a_source_closed_before_it_is_read_gives_no_frames() -> None:
    source = RtspSource("door", "rtsp://127.0.0.1:9/x", config=FAST, new_epoch=lambda: "e1")
    source.close()
    assert list(source.frames()) == []
    assert source.condition is CLOSED
