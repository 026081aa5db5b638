"""The parts of a live run without processes."""

import math
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.bus.lines import event_to_json
from pipeline.capture.watchdog import CameraCondition
from pipeline.config import BusConfig, CameraConfig, Config
from pipeline.errors import InferenceUnavailable
from pipeline.runtime.camera import FrameResult
from pipeline.runtime.figures import Figures, merged_latency, read_figures, total, write_figures
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.matching import Gaps
from pipeline.runtime.overlaying import IdentityFollower, OverlayFeed, OverlayParts
from pipeline.runtime.recording import TrackJournal, complete_tracks, journal_path
from pipeline.runtime.summary import run_summary
from pipeline.runtime.worker import CameraParts, CameraWork, PacedSource
from pipeline.types import CameraState, Frame, IdentityEvent, Tick, TrackedFrame, TrackKey, Tracklet, Tracks
from pipeline.view.overlay import OverlayDrawer


def frame(at_s: float, index: int = 0, epoch: str = "1") -> Frame:
    return Frame("door", epoch, index, at_s, np.zeros((40, 60, 3), np.uint8))


class Recorded:
    """A file of ten frames a second from a given time."""

    def __init__(self, start_s: float, count: int) -> None:
        self._frames = [frame(start_s + i / 10, i) for i in range(count)]
        self.counters = {"damaged": 2}

    def frames(self):
        yield from self._frames

    def close(self) -> None:
        self._frames = []


class Tape:
    def __init__(self) -> None:
        self.messages: list[tuple[str, object]] = []

    def publish(self, stream: str, message: object) -> None:
        self.messages.append((stream, message))

    def of(self, kind: type) -> list:
        return [m for _, m in self.messages if isinstance(m, kind)]


class OneTick:
    """A pipeline that says a tick per frame; without an inference process while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.lost_crops = 0
        self.epoch = "none"

    def process(self, one: Frame) -> FrameResult:
        if self.away:
            raise InferenceUnavailable("the inference process is away")
        self.epoch = one.epoch
        shown = TrackedFrame(one.camera_id, one.epoch, one.index, one.captured_at_s, 60, 40, Tracks.empty())
        return FrameResult([Tick(one.camera_id, one.epoch, one.index + 1, one.captured_at_s)], shown)

    def idle(self, now_s: float) -> list:
        return [Tick("door", self.epoch, 99, now_s)]

    def finish(self, status, at_s=None) -> list:
        epoch, self.epoch = self.epoch, "none"
        return [CameraState("door", epoch, 100, at_s or 0.0, status)]


def work(*, live: bool = True, now_s: float = 1000.0) -> tuple[CameraWork, Tape, OneTick, list[float]]:
    tape, pipeline, now = Tape(), OneTick(), [now_s]
    parts = CameraParts("door", live, pipeline, tape, LatencyRecorder(), clock=lambda: now[0], monotonic=lambda: now[0])
    return CameraWork(parts), tape, pipeline, now


def test_a_recorded_frame_is_released_at_its_time_and_none_is_lost() -> None:
    released: list[float] = []
    import time

    start_s = time.time() + 0.1
    paced = PacedSource(Recorded(start_s, 4), shift_s=0.0, epoch="e")
    for one in paced.frames():
        released.append(time.time() - one.captured_at_s)
        assert one.epoch == "e-1"
    assert len(released) == 4
    assert all(-0.001 < late < 0.25 for late in released)


def test_a_restarted_worker_leaves_out_what_was_due_before_it_came_and_counts_it() -> None:
    paced = PacedSource(Recorded(1000.0, 10), shift_s=0.0, epoch="e", from_s=1000.55, clock=lambda: 2000.0)
    assert [one.index for one in paced.frames()] == [6, 7, 8, 9]
    assert paced.left_out == 6


def test_closing_a_paced_source_ends_its_wait() -> None:
    paced = PacedSource(Recorded(1e6, 3), shift_s=0.0, epoch="e", clock=lambda: 0.0)
    timer = threading.Timer(0.05, paced.close)
    timer.start()
    assert list(paced.frames()) == []
    timer.join()


def test_frame_age_is_counted_and_the_end_is_said() -> None:
    one, tape, _, now = work(live=False, now_s=1000.7)
    one.run(Recorded(1000.0, 5))
    assert one.failure is None
    assert [m.status for m in tape.of(CameraState)] == ["end"]
    assert len(tape.of(Tick)) == len(tape.of(TrackedFrame)) == 5
    figures = one.figures()
    assert figures.frames == 5
    assert figures.footage_s == pytest.approx(0.5)
    assert merged_latency([figures]).summary()["frame_age"]["max_s"] == pytest.approx(0.7)
    assert figures.losses == {"frames_damaged": 2.0}
    assert now == [1000.7]


def test_a_camera_that_is_away_is_said_to_be_offline_once_however_it_went() -> None:
    one, tape, _, _ = work()
    for condition in ("CONNECTING", "OFFLINE", "REFUSED", "OFFLINE"):
        one.on_state(CameraCondition[condition])
    first = tape.of(CameraState)
    assert [(m.status, m.at_s) for m in first] == [("offline", 1000.0)]
    one.on_state(CameraCondition.LIVE)
    one.on_state(CameraCondition.STALLED)
    one.on_state(CameraCondition.OFFLINE)
    said = tape.of(CameraState)
    assert len(said) == 2
    assert len({m.epoch for m in said}) == 2 and all(m.epoch.startswith("away-") for m in said)


def test_a_live_camera_that_shows_nothing_new_ticks_behind_the_clock_and_an_away_one_does_not() -> None:
    one, tape, _, now = work()
    one.on_state(CameraCondition.LIVE)
    one.idle()
    assert tape.of(Tick) == []
    now[0] += 1.0
    one.idle()
    assert [m.processed_until_s for m in tape.of(Tick)] == [1000.5]
    one.on_state(CameraCondition.FROZEN)
    one.idle()
    assert len(tape.of(Tick)) == 1


def test_frames_without_an_inference_process_are_counted_and_the_camera_goes_on() -> None:
    one, tape, pipeline, _ = work(live=False)
    pipeline.away, pipeline.lost_crops = True, 2
    one.run(Recorded(1000.0, 3))
    assert one.failure is None
    assert one.losses()["crops_without_inference"] == 2
    assert one.losses()["frames_without_inference"] == 3
    assert [m.status for m in tape.of(CameraState)] == ["end"]
    assert one.figures().frames == 0


def test_holes_in_a_producers_numbers_are_counted_as_lost_messages() -> None:
    gaps = Gaps()
    for sequence in (7, 8, 8, 11, 9, 12):
        gaps.note("door", "e1", sequence)
    gaps.note("door", "e2", 4)
    assert gaps.lost == 2


def tracklet(track_id: int, first: int = 0) -> Tracklet:
    return Tracklet(
        TrackKey("door", "e", track_id),
        track_id,
        5.0,
        True,
        np.arange(first, first + 3),
        np.arange(first, first + 3) / 10,
        np.tile(np.array([10, 10, 30, 60], np.float32), (3, 1)),
        np.full(3, 0.9, np.float32),
    )


def entered(identity_id: int, track_id: int) -> IdentityEvent:
    return IdentityEvent(identity_id, "entered", identity_id, TrackKey("door", "e", track_id), 0.0, 0.05)


def test_tracks_are_completed_from_the_journal_of_a_recorder_that_was_killed_while_writing(tmp_path: Path) -> None:
    journal = TrackJournal(tmp_path)
    assert journal.add(tracklet(1)) and journal.add(tracklet(2, first=5))
    assert not journal.add(tracklet(1))
    journal.close()
    with journal_path(tmp_path).open("ab") as file:
        file.write(journal_path(tmp_path).read_bytes()[:100])  # torn
    (tmp_path / "identities.jsonl").write_text(event_to_json(entered(1, 1)) + "\n" + '{"schema":1,"seq')
    again = TrackJournal(tmp_path)
    assert not again.add(tracklet(2)) and again.add(tracklet(3, first=20))
    again.close()
    book = complete_tracks(tmp_path, ["door", "hall"])
    assert book.identities() == {1}
    rows = (tmp_path / "tracks" / "door.txt").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[:4]] == [["1", "1"], ["2", "1"], ["3", "1"], ["6", "1000000"]]
    assert len(rows) == 9
    online = (tmp_path / "tracks_online" / "door.txt").read_text().splitlines()
    assert [row.split(",")[1] for row in online[:3]] == ["0", "1", "1"]
    assert (tmp_path / "tracks" / "hall.txt").read_text() == ""
    assert not journal_path(tmp_path).exists()


def test_figures_of_killed_and_living_processes_are_added_up(tmp_path: Path) -> None:
    recorder = LatencyRecorder()
    recorder.record("detect", 0.02)
    one = Figures("worker", "door", "door", frames=3, losses={"a": 1}, latency=recorder.to_json(), at_s=1.0)
    write_figures(tmp_path, one)
    write_figures(tmp_path, replace(one, name="hall", camera_id="hall", losses={"a": 2, "b": 1}, at_s=2.0))
    found = read_figures(tmp_path)
    assert [f.name for f in found] == ["door", "hall"]
    assert total(f.losses for f in found) == {"a": 3, "b": 1}
    assert merged_latency(found).summary()["detect"]["count"] == 2
    assert read_figures(tmp_path / "nowhere") == []


def test_a_summary_holds_no_password_and_undefined_rates_are_null() -> None:
    config = Config(
        cameras=(CameraConfig("door", "rtsp://admin:hunter2@10.0.0.5/s"), CameraConfig("hall", "hall.mp4")),
        bus=BusConfig(url="redis://:hunter2@10.0.0.6/0"),
    )
    summary = run_summary(
        config,
        started_s=5.0,
        duration_s=2.0,
        frames={"door": 20, "hall": 0},
        latency=LatencyRecorder(),
        losses={"a": 0, "b": 3.0},
        models={"detector": "hog"},
        warnings=["rtsp://admin:hunter2@10.0.0.5/s is away"],
        seconds_of_footage={"door": 2.0},
        memory_peak_mb=120.26,
    )
    assert "hunter2" not in repr(summary) and "10.0.0.5" in repr(summary)
    assert summary["fps"] == {"door": 10.0, "hall": None}
    assert summary["losses"] == {"b": 3}
    assert summary["throughput_fps"] == 10.0
    assert summary["memory_peak_mb"] == 120.3
    assert summary["queue_wait_ms"] is None, "nothing waited"


def test_the_overlay_knows_a_tracks_identity_through_merging_and_forgetting() -> None:
    follower = IdentityFollower(None)
    follower.take(entered(1, 11))
    follower.take(entered(2, 12))
    assert follower.identities("door", "e", [11, 12, 13]) == {11: 1, 12: 2}
    follower.take(IdentityEvent(3, "merged", 2, None, 0.0, 0.0, other_identity_id=1))
    assert follower.identities("door", "e", [12]) == {12: 1}
    follower.take(IdentityEvent(4, "forgotten", 1, None, 0.0, 0.0))
    assert follower.identities("door", "e", [11, 12]) == {}
    assert follower.identities("door", "other", [11]) == {}


def test_the_overlay_follows_splits_names_and_those_who_were_merged_before() -> None:
    follower = IdentityFollower(None)
    for event in (
        entered(1, 11),
        entered(2, 12),
        IdentityEvent(3, "renamed", 2, None, 0.0, 0.0, name="Ann"),
        IdentityEvent(4, "merged", 2, None, 0.0, 0.0, other_identity_id=1),
        entered(2, 13),  # decided before the merge was known
        IdentityEvent(5, "split", 3, TrackKey("door", "e", 12), 0.0, 0.0, other_identity_id=1),
        IdentityEvent(6, "reassigned", 1, TrackKey("door", "e", 14), 0.0, 0.0, other_identity_id=0),
    ):
        follower.take(event)
    assert follower.identities("door", "e", [11, 12, 13, 14]) == {11: 1, 12: 3, 13: 1, 14: 1}
    assert follower.names() == {1: "Ann"}
    follower.take(IdentityEvent(7, "renamed", 1, None, 0.0, 0.0))
    assert follower.names() == {}


class Shelf:
    """Previews that somebody wants; the drawing thread waits for `go` at the first."""

    def __init__(self, wanted: bool, go: threading.Event) -> None:
        self._wanted = wanted
        self._go = go
        self.taken: list[bytes] = []

    def wanted(self) -> bool:
        return self._wanted

    def publish(self, jpeg: bytes) -> None:
        self.taken.append(jpeg)
        assert self._go.wait(10)


def feed(shelf: Shelf, losses: Counter[str], lossless: bool = False) -> OverlayFeed:
    drawer = OverlayDrawer("door")
    parts = OverlayParts("door", IdentityFollower(None), drawer, previews=shelf, preview_fps=math.inf)
    parts.losses, parts.lossless = losses, lossless
    return OverlayFeed(parts)


def shown(one: Frame) -> TrackedFrame:
    return TrackedFrame(one.camera_id, one.epoch, one.index, one.captured_at_s, 60, 40, Tracks.empty())


def test_a_slow_overlay_drops_frames_and_counts_them_instead_of_holding_up_the_camera() -> None:
    go, losses = threading.Event(), Counter()
    shelf = Shelf(True, go)
    overlay = feed(shelf, losses)
    for i in range(20):
        overlay.offer(frame(float(i), i), shown(frame(float(i), i)))
    go.set()
    overlay.close()
    assert losses["overlay_frames_skipped"] >= 16
    assert 1 <= len(shelf.taken) == 20 - losses["overlay_frames_skipped"]
    assert all(jpeg[:2] == b"\xff\xd8" for jpeg in shelf.taken)


def test_nothing_is_drawn_for_nobody() -> None:
    shelf = Shelf(False, threading.Event())
    overlay = feed(shelf, Counter(), lossless=True)
    for i in range(20):
        overlay.offer(frame(float(i), i), shown(frame(float(i), i)))
    overlay.close()
    assert shelf.taken == []
