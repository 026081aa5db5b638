"""One person taken out of a bus recording: messages, orders by number, and the states of matchers that started."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.bus.codec import decode
from pipeline.bus.message_log import MESSAGE, LogReader, LogWriter
from pipeline.config import CameraConfig, Config
from pipeline.ports import Delivery
from pipeline.replay.erase_bus_recording import erase_bus_recordings
from pipeline.replay.from_bus import BusRecording, replay_bus
from pipeline.runtime.bus_recording import START, BusRecorder, MatcherSettings
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import ClipFeature, ClipMessage, Forget, Merge, Rename, Tick, TrackKey, Tracklet

SETTINGS = MatcherSettings.of(Config(cameras=(CameraConfig("door", "door.mp4"),)), 0.4, [], "test")
COLOURS = np.eye(8, dtype=np.float32)


def key(track_id: int) -> TrackKey:
    return TrackKey("door", "1", track_id)


def clip(sequence: int, track_id: int, at_s: float) -> ClipFeature:
    colour = COLOURS[track_id]
    parts = np.tile(colour, (4, 1))
    args = (key(track_id), sequence, 0.0, 0.0, at_s, at_s, colour, parts, np.ones(4), np.ones((1, 4)), 0.8, "test")
    return ClipFeature(*args)


def ended(sequence: int, track_id: int, at_s: float) -> Tracklet:
    boxes = np.array([[5.0, 5, 25, 65]] * 2)
    return Tracklet(key(track_id), sequence, at_s, False, [1, 2], [at_s - 1, at_s], boxes, np.ones(2))


def tick(sequence: int, at_s: float) -> Tick:
    return Tick("door", "1", sequence, at_s, (1, 2))


class Life:
    """A matcher whose life is recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored: dict[str, bytes] = {}
        self.start()

    def start(self) -> None:
        self.matcher = SETTINGS.make(self.stored)
        self.recorder = BusRecorder(self.path, "lobby", SETTINGS, self.stored)

    def step(self, *messages: ClipMessage) -> None:
        deliveries = [Delivery(str(n), message) for n, message in enumerate(messages)]
        for delivery in deliveries:
            self.matcher.receive(delivery.id, delivery.message)  # type: ignore[arg-type]
        step = self.matcher.advance()
        self.recorder.step(deliveries, 1000.0)
        for name, value in step.changes.items():
            self.stored.pop(name, None)
            if value is not None:
                self.stored[name] = value


@pytest.fixture
def two_lives(tmp_path: Path) -> Path:
    """Two people, orders about both, a restart, and one more clip of each."""
    life = Life(tmp_path / "bus.mcplog")
    life.step(clip(1, 1, 0.4), clip(2, 2, 0.4), clip(3, 1, 1.4), clip(4, 2, 1.4), tick(5, 2.0), tick(6, 4.0))
    life.step(Rename(2, "Ann", 1), Rename(1, "Bob", 2), tick(7, 4.5))
    life.recorder.close()
    life.start()
    life.step(clip(8, 1, 5.0), clip(9, 2, 5.0), tick(10, 5.5), Rename(2, "Eve", 3))
    life.step(ended(11, 1, 6.0), tick(12, 6.5), ended(13, 2, 7.0), tick(14, 8.0))
    life.recorder.close()
    assert {f"identity:{n}" for n in (1, 2)} <= life.stored.keys()
    return tmp_path


def messages(path: Path) -> list[object]:
    fields = [dict(r.fields) for r in LogReader(path).records() if r.kind == MESSAGE]
    return [decode({name: value for name, value in one.items() if name != b"id"}) for one in fields]


def test_a_person_goes_and_the_other_is_matched_as_before(two_lives: Path) -> None:
    path = two_lives / "bus.mcplog"
    counts, notes = erase_bus_recordings(two_lives, {key(1)}, {1})
    assert counts == {"bus_messages": 4, "bus_orders": 3, "bus_states": 1} and notes == []
    left = messages(path)
    assert {m.key for m in left if isinstance(m, ClipFeature | Tracklet)} == {key(2)}
    assert not any(isinstance(m, Rename) for m in left)
    assert sum(isinstance(m, Tick) for m in left) == 6
    assert b"Bob" not in b"".join(v for r in LogReader(path).records() for v in r.fields.values())
    states = [r.fields for r in LogReader(path).records() if r.kind == START]
    assert len(states) == 2
    assert b"s:identity:2" in states[1] and b"s:identity:1" not in states[1] and b"s:track:door:1:1" not in states[1]
    recording = BusRecording(path)
    out = two_lives / "again"
    result = replay_bus(recording, RunRecorder(out, recording.settings.cameras, crops=None, references=None))
    assert result.starts == 2 and (out / "tracks" / "door.txt").read_text().count("\n") == 2


def test_erasing_twice_changes_nothing_more(two_lives: Path) -> None:
    erase_bus_recordings(two_lives, {key(1)}, {1})
    before = (two_lives / "bus.mcplog").read_bytes()
    assert erase_bus_recordings(two_lives, {key(1)}, {1}) == ({}, [])
    assert (two_lives / "bus.mcplog").read_bytes() == before and [p.name for p in two_lives.iterdir()] == ["bus.mcplog"]


def test_the_file_stays_its_owners_only(two_lives: Path) -> None:
    erase_bus_recordings(two_lives, {key(1)}, {1})
    assert (two_lives / "bus.mcplog").stat().st_mode & 0o777 == 0o600


def test_somebody_who_is_not_in_it_changes_no_byte(two_lives: Path) -> None:
    before = (two_lives / "bus.mcplog").read_bytes()
    assert erase_bus_recordings(two_lives, {key(9)}, {9}) == ({}, [])
    (two_lives / "damaged.mcplog").touch()
    assert erase_bus_recordings(two_lives, set(), {1}) == ({}, [])  # nobody who was in this folder
    assert (two_lives / "damaged.mcplog").exists()
    assert (two_lives / "bus.mcplog").read_bytes() == before


def test_orders_that_came_before_the_first_missing_message_stay(tmp_path: Path) -> None:
    life = Life(tmp_path / "bus.mcplog")
    life.step(clip(1, 2, 0.4), clip(2, 2, 1.4), tick(3, 4.0))
    life.step(Forget(1, 1), tick(4, 4.2))
    life.step(clip(5, 1, 4.4), tick(6, 5.0), Merge(2, 1, 2))
    life.recorder.close()
    erase_bus_recordings(tmp_path, {key(1)}, {2})
    assert [type(m) for m in messages(tmp_path / "bus.mcplog") if not isinstance(m, Tick | ClipFeature)] == [Forget]


def test_a_recording_that_is_being_written_is_left_alone_and_said_so(tmp_path: Path) -> None:
    life = Life(tmp_path / "bus.mcplog")
    life.step(clip(1, 1, 0.4), tick(2, 2.0))
    before = (tmp_path / "bus.mcplog").read_bytes()
    counts, notes = erase_bus_recordings(tmp_path, {key(1)}, {1})
    assert counts == {} and "bus.mcplog is being written" in notes[0]
    assert (tmp_path / "bus.mcplog").read_bytes() == before
    life.recorder.close()


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_recording_that_cannot_be_read_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bus.mcplog").write_bytes(content)
    assert erase_bus_recordings(tmp_path, {key(1)}, {1}) == ({"recordings_removed": 1}, [])
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_log_is_not_touched(tmp_path: Path) -> None:
    LogWriter(tmp_path / "a.mcplog", {"log": "features", "schema": 1}).close()
    assert erase_bus_recordings(tmp_path, {key(1)}, {1}) == ({}, [])
    assert (tmp_path / "a.mcplog").exists()
