"""What a live matcher received, matched once more: the same identity log, whatever was late or killed."""

import json
import random
import signal
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from live_site import ROOT, RunThread, events_of, python, wait_until

from pipeline.background.local_tracks import read_local_keys
from pipeline.bus.lines import event_to_json
from pipeline.bus.message_log import LogReader
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.streams import CLIPS, IDENTITIES
from pipeline.config import CameraConfig, Config, MatcherConfig, TopologyConfig
from pipeline.entry import run_site
from pipeline.errors import BusRefused, DecodeError
from pipeline.ports import Delivery
from pipeline.replay.from_bus import BusRecording, BusReplayResult, RecordedStep, replay_bus
from pipeline.runtime.bus_recording import BusRecorder, MatcherSettings
from pipeline.runtime.matching import Matching
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import Forget, IdentityEvent, Tracklet

sys.path.insert(0, str(ROOT / "tests" / "identity"))

from identity_site import COLOURS, Camera, near

CONFIG = Config(
    site="lobby",
    cameras=(CameraConfig("door", "rtsp://admin:hunter2@127.0.0.1/a"), CameraConfig("hall", "rtsp://127.0.0.1/b")),
    matcher=MatcherConfig(absence_s=2.0, occlusion_s=3.0, lateness_s=1.0),
    topology=(TopologyConfig(from_camera="door", to_camera="hall", transit_s=(0.5, 20.0)),),
)
SETTINGS = MatcherSettings.of(CONFIG, 0.4, ["door", "hall"], "test")


def site_messages(seconds: int = 30) -> dict[str, list]:
    """Camera → what it publishes: two people who go to and fro."""
    streams: dict[str, list] = {"door": [], "hall": []}
    for place, camera_id in enumerate(streams):
        camera, track = Camera(camera_id, f"{camera_id}-e1"), 0
        for tenth in range(0, seconds * 10, 5):
            at_s = 100.0 + tenth / 10
            phase = (tenth // 5 + 6 * place) % 12
            if phase == 2:
                track += 1
            if 3 <= phase <= 7:
                colour = near(COLOURS[(track + place) % 2], 0.1 if phase % 2 else 0.2)
                streams[camera_id].append(camera.clip(track, colour, at_s - 0.5 * (phase - 2), at_s))
            if phase == 8:
                streams[camera_id].append(camera.tracklet(track, at_s - 3.0, at_s))
            streams[camera_id].append(camera.tick(at_s))
        streams[camera_id].append(camera.state(100.0 + seconds))
    return streams


def batches_of(streams: dict[str, list], seed: int) -> list[list]:
    """Arrivals in steps; each camera in its own order, one of them at times far behind the other."""
    rng, left = random.Random(seed), {camera: list(messages) for camera, messages in streams.items()}
    batches = []
    while any(left.values()):
        batch = []
        for camera, ahead in zip(sorted(left), rng.choice([(1, 12), (12, 1), (4, 4), (0, 9)]), strict=True):
            batch += [left[camera].pop(0) for _ in range(min(ahead, len(left[camera])))]
        if batch:
            batches.append(batch)
    return batches


@dataclass
class Live:
    """A matcher's process as `Matching` runs it, with a store that survives it."""

    path: Path
    stored: dict[str, bytes] = field(default_factory=dict)
    told: list[IdentityEvent] = field(default_factory=list)
    pending: dict[str, object] = field(default_factory=dict)
    now_s: float = 1000.0
    number: int = 0

    def start(self) -> None:
        self.matcher = SETTINGS.make(self.stored)
        self.recorder = BusRecorder(self.path, "lobby", SETTINGS, self.stored)

    def kill(self) -> None:
        self.recorder._log._file.close()
        self.start()
        if self.pending:
            self.step([])

    def step(self, messages: list, killed: str = "") -> None:
        """One pass; `killed` before or after the commit, but after it was written down."""
        self.now_s += 0.125
        again = [Delivery(i, m) for i, m in self.pending.items()] if not messages else []  # type: ignore[arg-type]
        for message in messages:
            self.number += 1
            self.pending[str(self.number)] = message
            again.append(Delivery(str(self.number), message))
        for delivery in again:
            self.matcher.receive(delivery.id, delivery.message)  # type: ignore[arg-type]
        step = self.matcher.emitted(self.matcher.advance(), self.now_s)
        self.recorder.step(again, self.now_s)
        if killed != "before":
            for name, value in step.changes.items():
                self.stored.pop(name, None)
                if value is not None:
                    self.stored[name] = value
            for delivery_id in step.done:
                del self.pending[delivery_id]
            self.told += step.events
        if killed:
            self.kill()

    @property
    def lines(self) -> list[str]:
        return [event_to_json(event) for event in self.told]


def replayed(path: Path, out_dir: Path, settings: MatcherSettings | None = None) -> tuple[list[str], BusReplayResult]:
    recording = BusRecording(path)
    recorder = RunRecorder(out_dir, recording.settings.cameras, crops=None, references=None)
    result = replay_bus(recording, recorder, settings=settings)
    return (out_dir / "identities.jsonl").read_text().splitlines(), result


@pytest.mark.parametrize("seed", range(4))
def test_late_arrivals_are_late_again_and_the_log_is_the_same(tmp_path: Path, seed: int) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    for batch in batches_of(site_messages(), seed):
        live.step(batch)
    live.recorder.close()
    lines, result = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    assert lines == live.lines and len(lines) > 5
    assert result.late == live.matcher.late > 0
    assert any(json.loads(line)["evidence"]["late"] for line in lines if json.loads(line)["evidence"])
    assert (result.starts, result.undone, result.warnings) == (1, 0, ())
    assert result.messages == sum(map(len, site_messages().values())) and result.events == len(lines)


def test_where_the_steps_ended_is_part_of_the_recording(tmp_path: Path) -> None:
    batches = batches_of(site_messages(), seed=1)
    logs = []
    for name, parts in (("as it was", batches), ("in one go", [[m for batch in batches for m in batch]])):
        live = Live(tmp_path / f"{name}.mcplog")
        live.start()
        for batch in parts:
            live.step(batch)
        live.recorder.close()
        lines, _ = replayed(tmp_path / f"{name}.mcplog", tmp_path / name)
        assert lines == live.lines
        logs.append([{**json.loads(line), "emitted_at_s": 0} for line in lines])
    assert logs[0] != logs[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_matcher_killed_before_or_after_a_commit_leaves_a_recording_that_tells_which(
    tmp_path: Path, seed: int, killed: str
) -> None:
    rng = random.Random(seed)
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    undone = 0
    for batch in batches_of(site_messages(), seed):
        told, kill = len(live.told), killed if rng.random() < 0.3 else ""
        live.step(batch, kill)
        undone += bool(kill == "before" and len(live.told) > told)
    live.recorder.close()
    lines, result = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    assert lines == live.lines and len(lines) > 5
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    tracks = [key for _, key in read_local_keys(tmp_path / "out")]
    assert sorted(tracks) == sorted(m.key for s in site_messages().values() for m in s if isinstance(m, Tracklet))
    assert result.starts > 2 and result.warnings == ()
    assert (result.undone > 0) == (undone > 0) == (killed == "before")


def test_a_matcher_killed_for_good_leaves_a_warning_when_its_last_step_told_something(tmp_path: Path) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    for batch in batches_of(site_messages(), seed=2):
        live.step(batch)
        if live.told:
            break
    live.recorder._log._file.close()
    lines, result = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    assert lines == live.lines
    assert "nobody knows" in result.warnings[0]


def test_an_order_to_forget_is_part_of_the_recording(tmp_path: Path) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    for number, batch in enumerate(batches_of(site_messages(), seed=2)):
        live.step([*batch, Forget(1, 1)] if number == 8 else batch)
    live.recorder.close()
    lines, _ = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    assert lines == live.lines and any('"kind":"forgotten"' in line for line in lines)


def test_what_somebody_else_did_to_the_state_meanwhile_is_told(tmp_path: Path) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    for number, batch in enumerate(batches_of(site_messages(), seed=2)):
        live.step(batch, "after" if number == 8 else "")
        if number == 8:  # `forget` in the place of a matcher that does not run
            live.recorder._log._file.close()
            other = SETTINGS.make(live.stored)
            other.receive("", Forget(1, 1))
            step = other.advance()
            live.told += step.events
            live.stored = {n: v for n, v in {**live.stored, **step.changes}.items() if v is not None}
            live.start()
    live.recorder.close()
    lines, result = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    (missing,) = [line for line in live.lines if '"forgotten"' in line]
    assert lines == [line for line in live.lines if line != missing]
    assert "not in the recording" in result.warnings[0]


def test_another_matcher_can_be_tried_on_the_same_arrivals(tmp_path: Path) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    for number, batch in enumerate(batches_of(site_messages(), seed=1)):
        live.step(batch, "before" if number == 9 else "")
    live.recorder.close()
    strict = replace(SETTINGS, threshold=0.0)
    lines, result = replayed(tmp_path / "bus.mcplog", tmp_path / "strict", strict)
    people = [len({json.loads(line)["identity_id"] for line in log}) for log in (lines, live.lines)]
    assert people[0] > people[1]
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    assert result.undone == 0


def test_a_recording_holds_the_settings_and_no_password(tmp_path: Path) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    live.recorder.close()
    assert BusRecording(live.path).settings == SETTINGS
    assert MatcherSettings.from_json(SETTINGS.to_json()) == SETTINGS
    log = LogReader(live.path)
    text = repr(log.header) + repr([dict(r.fields) for r in log.records()])
    assert "hunter2" not in text and "127.0.0.1" not in text and "door" in text


def test_settings_that_a_recording_does_not_know_yet_have_their_defaults() -> None:
    plain = json.loads(SETTINGS.to_json())
    del plain["matcher"]["margin"]
    assert MatcherSettings.from_json(json.dumps(plain).encode()) == SETTINGS
    plain["matcher"]["speed"] = 1
    with pytest.raises(DecodeError, match="unknown key 'speed'"):
        MatcherSettings.from_json(json.dumps(plain).encode())


def test_a_disk_that_fails_ends_the_recording_and_not_the_matcher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = Live(tmp_path / "bus.mcplog")
    live.start()
    batches = batches_of(site_messages(), seed=2)
    for batch in batches[:5]:
        live.step(batch)
    kept = list(live.lines)
    live.recorder._log._file.close()
    live.recorder._log._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    for batch in batches[5:]:
        live.step(batch)
    live.recorder.close()
    assert live.recorder.broke_off and len(live.told) > len(kept)
    assert len([r for r in caplog.records if "the bus recording ends here" in r.message]) == 1
    lines, _ = replayed(tmp_path / "bus.mcplog", tmp_path / "out")
    assert lines == kept


class OneBatch:
    """Stands for the bus: some deliveries, then nothing."""

    site, counters = "lobby", None

    def __init__(self, deliveries: list[Delivery]) -> None:
        self.deliveries = deliveries

    def receive(self, *_: object) -> list[Delivery]:
        found, self.deliveries = self.deliveries, []
        return found


class Refusing:
    """Stands for a state that another matcher has taken over."""

    restored = 0

    def __init__(self) -> None:
        self.asked = 0

    def commit(self, *_: object) -> None:
        self.asked += 1
        raise BusRefused("another matcher writes the state")


def test_a_step_is_on_disk_before_it_is_committed(tmp_path: Path) -> None:
    state = Refusing()
    messages = [m for batch in batches_of(site_messages(), seed=0)[:3] for m in batch]
    matching = Matching(
        OneBatch([Delivery(str(n), m) for n, m in enumerate(messages)]),  # type: ignore[arg-type]
        state,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        SETTINGS.make(),
        beat=lambda: None,
        recording=BusRecorder(tmp_path / "bus.mcplog", "lobby", SETTINGS, {}),
        clock=lambda: 1234.5,
        monotonic=lambda: 0.0,
    )
    with pytest.raises(BusRefused):
        matching.run(threading.Event())
    assert state.asked == 1
    (step,) = [e for e in BusRecording(tmp_path / "bus.mcplog").entries() if isinstance(e, RecordedStep)]
    assert len(step.deliveries) == len(messages) and step.emitted_at_s == 1234.5


# -- with a real Redis and real processes -----------------------------------------------------------------------------

_MATCHER = """
import sys
from pathlib import Path
from pipeline.config import CameraConfig, Config, MatcherConfig
from pipeline.entry import run_matcher
from pipeline.config import BusConfig, CaptureConfig
cameras = (CameraConfig("door", "rtsp://127.0.0.1:9/a"), CameraConfig("hall", "rtsp://127.0.0.1:9/b"))
matcher = MatcherConfig(threshold=0.4, absence_s=2.0, occlusion_s=3.0, lateness_s=1.0)
config = Config(site="lobby", cameras=cameras, matcher=matcher, bus=BusConfig(url=sys.argv[1]))
sys.exit(run_matcher(config, log_level="WARNING", record_bus=Path(sys.argv[2])))
"""


def told_on(bus: RedisBus) -> list[IdentityEvent]:
    return [d.message for d in bus.read(IDENTITIES, "0", 0.0, 10_000) if isinstance(d.message, IdentityEvent)]


def test_a_matcher_that_is_killed_again_and_again_on_a_real_redis_is_replayed_line_by_line(tmp_path: Path) -> None:
    batches = batches_of(site_messages(60), seed=3)
    third = len(batches) // 3
    path, process = tmp_path / "bus.mcplog", None
    with EmbeddedServer() as server:
        bus = RedisBus(server.url, "lobby")
        try:
            for part in range(3):
                process = python(_MATCHER, server.url, str(path))
                before = len(told_on(bus))
                for batch in batches[part * third : (part + 1) * third + 3 * (part == 2)]:
                    for message in batch:
                        bus.publish(CLIPS, message)
                wait_until(lambda count=before: len(told_on(bus)) > count, 20, "an event")  # type: ignore[misc]
                process.send_signal(signal.SIGTERM if part == 2 else signal.SIGKILL)
                _, errors = process.communicate(timeout=20)
                assert "Traceback" not in errors
                bus.client.delete("mcp:{lobby}:state:lease")
            live = [event_to_json(event) for event in told_on(bus)]
        finally:
            bus.close()
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
    lines, result = replayed(path, tmp_path / "out")
    assert lines == live and len(lines) > 8
    assert result.starts == 3
    assert all(json.loads(line)["emitted_at_s"] > 1e9 for line in lines)


def test_a_live_run_with_a_killed_matcher_is_replayed_line_by_line(site: Config, tmp_path: Path) -> None:
    path = tmp_path / "rec" / "bus.mcplog"
    run = RunThread(site, tmp_path / "live", record_bus=path)
    wait_until(lambda: len(events_of(tmp_path / "live")) >= 1, 40, "the first identity")
    run.kill("matcher")
    assert run.wait(60) == 0
    assert f"bus recording:    {path}" in run.lines
    lines, result = replayed(path, tmp_path / "again")
    assert lines == (tmp_path / "live" / "identities.jsonl").read_text().splitlines() and len(lines) >= 2
    assert result.starts == 2 and result.warnings == ()
    for folder in ("tracks", "tracks_online", "tracks_local"):
        for camera in ("lobby", "street"):
            rows = [(tmp_path / out / folder / f"{camera}.txt").read_bytes() for out in ("live", "again")]
            assert rows[0] == rows[1]


def test_a_run_does_not_write_over_a_recording(site: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bus.mcplog").write_bytes(b"kept")
    how = {"display": "none", "duration_s": None, "overlay": False, "log_level": "WARNING"}
    code = run_site(site, None, echo=print, record_bus=tmp_path / "bus.mcplog", **how)  # type: ignore[arg-type]
    assert code == 1 and "exists; choose another file" in capfd.readouterr().err
    assert (tmp_path / "bus.mcplog").read_bytes() == b"kept"


def test_what_is_no_bus_recording_is_named(tmp_path: Path) -> None:
    from pipeline.bus.message_log import LogWriter

    LogWriter(tmp_path / "a", {"log": "features", "schema": 1}).close()
    with pytest.raises(DecodeError, match="expected bus of schema 1, got features"):
        BusRecording(tmp_path / "a")
    LogWriter(tmp_path / "b", {"log": "bus", "schema": 1, "site": "lobby"}).close()
    with pytest.raises(DecodeError, match="does not begin with the start of a matcher"):
        BusRecording(tmp_path / "b")
    (tmp_path / "c").write_text("something else")
    with pytest.raises(DecodeError, match="no recording"):
        BusRecording(tmp_path / "c")
