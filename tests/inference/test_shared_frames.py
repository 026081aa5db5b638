import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.inference.shared_frames import FrameReader, FrameRing, SlotRef, StaleFrame, run_prefix, sweep


@pytest.fixture
def run_id(tmp_path):
    yield f"test{os.getpid()}"
    assert sweep(run_prefix(f"test{os.getpid()}")) == [], "a test left shared memory behind"


def picture(value, height_px=48, width_px=64):
    return np.full((height_px, width_px, 3), value, np.uint8)


def test_a_reader_sees_the_very_picture_that_was_put(run_id):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with FrameRing(run_id, "door") as ring:
        ref = ring.put(image)
        reader = FrameReader()
        seen = reader.view(SlotRef.from_json(ref.to_json()))
        np.testing.assert_array_equal(seen, image)
        assert reader.is_current(ref)


def test_a_view_is_not_a_copy_and_cannot_be_written(run_id):
    with FrameRing(run_id, "door", slots=1) as ring:
        reader = FrameReader()
        view = reader.view(ring.put(picture(1)))
        ring.put(picture(2))
        assert view[0, 0, 0] == 2
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0, 0] = 3


def test_an_overwritten_slot_is_noticed_before_and_after_the_view(run_id):
    with FrameRing(run_id, "door", slots=2) as ring:
        reader = FrameReader()
        ref = ring.put(picture(1))
        reader.view(ref)
        ring.put(picture(2))
        assert reader.is_current(ref) and ring.is_current(ref)
        ring.put(picture(3))
        assert not reader.is_current(ref) and not ring.is_current(ref)
        with pytest.raises(StaleFrame):
            reader.view(ref)


def test_a_picture_that_is_not_contiguous_is_copied_right(run_id):
    image = np.random.default_rng(1).integers(0, 256, (48, 128, 3), np.uint8)[:, ::2]
    with FrameRing(run_id, "door") as ring:
        np.testing.assert_array_equal(FrameReader().view(ring.put(image)), image)


def test_a_larger_picture_makes_a_new_segment_and_a_smaller_one_uses_the_old(run_id):
    with FrameRing(run_id, "door") as ring:
        reader = FrameReader()
        small = ring.put(picture(1, 40, 40))
        old_view = reader.view(small)
        large = ring.put(picture(2, 480, 640))
        assert large.segment != small.segment
        assert reader.view(large).shape == (480, 640, 3)
        assert (old_view == 1).all(), "a view of the old segment stays valid"
        with pytest.raises(StaleFrame, match="gone"):
            reader.view(small)
        again = ring.put(picture(3, 10, 20))
        assert again.segment == large.segment
        assert reader.view(again).shape == (10, 20, 3)


def test_closing_removes_the_segment_and_two_rings_do_not_meet(run_id, tmp_path):
    with FrameRing(run_id, "a", folder=tmp_path) as a, FrameRing(run_id, "b", folder=tmp_path) as b:
        first, second = a.put(picture(1)), b.put(picture(2))
        reader = FrameReader(folder=tmp_path)
        assert reader.view(first)[0, 0, 0] == 1
        assert reader.view(second)[0, 0, 0] == 2
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_same_camera_twice_in_one_run_is_refused(run_id, tmp_path):
    with FrameRing(run_id, "door", folder=tmp_path) as first:
        first.put(picture(1))
        with FrameRing(run_id, "door", folder=tmp_path) as second, pytest.raises(OutputError, match="another process"):
            second.put(picture(2))


def test_too_little_shared_memory_is_a_clear_error_before_anything_is_written(tmp_path, monkeypatch):
    class Room:
        f_bavail = 10
        f_frsize = 4096

    monkeypatch.setattr(os, "statvfs", lambda folder: Room)
    with FrameRing("run", "door", folder=tmp_path) as ring, pytest.raises(OutputError, match="shm-size"):
        ring.put(picture(1, 480, 640))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path):
    with FrameRing("run", "door", folder=tmp_path / "none") as ring, pytest.raises(OutputError, match="door"):
        ring.put(picture(1))


@pytest.mark.parametrize("camera_id", ["", "../x", "a/b", "a b"])
def test_a_camera_id_that_is_no_file_name_is_refused(camera_id):
    if camera_id:
        with pytest.raises(ValueError, match="letters"):
            FrameRing("run", camera_id)
    with pytest.raises(ValueError, match="uint8"), FrameRing("run", "door") as ring:
        ring.put(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["x", 0, 2, 4, 4],
        ["mcp_../../etc/passwd", 0, 2, 4, 4],
        ["mcp_a", -1, 2, 4, 4],
        ["mcp_a", 0, 2, 4, True],
    ],
)
def test_a_reference_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="slot reference"):
        SlotRef.from_json(value)


def test_a_reference_beyond_the_segment_is_refused(run_id):
    with FrameRing(run_id, "door") as ring:
        ref = ring.put(picture(1))
        reader = FrameReader()
        for bad in (
            SlotRef(ref.segment, 99, ref.generation, 48, 64),
            SlotRef(ref.segment, 0, ref.generation, 4000, 64),
            SlotRef(ref.segment, 0, ref.generation, 0, 64),
        ):
            with pytest.raises(ValueError, match="does not fit"):
                reader.view(bad)


def test_a_foreign_file_is_not_taken_for_a_ring(tmp_path):
    (tmp_path / "mcp_run_door_0").write_bytes(bytes(10000))
    with pytest.raises(ValueError, match="not a frame ring"):
        FrameReader(folder=tmp_path).view(SlotRef("mcp_run_door_0", 0, 2, 4, 4))
    (tmp_path / "mcp_run_door_1").write_bytes(b"")
    with pytest.raises(StaleFrame):
        FrameReader(folder=tmp_path).view(SlotRef("mcp_run_door_1", 0, 2, 4, 4))


_HOLDER = """
import sys, time, numpy as np
from pathlib import Path
from pipeline.inference.shared_frames import FrameRing
ring = FrameRing("old", "door", folder=Path(sys.argv[1]))
print(ring.put(np.ones((40, 40, 3), np.uint8)).segment, flush=True)
time.sleep(60)
"""


def test_a_sweep_takes_what_a_killed_worker_left_and_nothing_in_use(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        name = child.stdout.readline().strip()
        (tmp_path / "other").write_text("foreign")
        with FrameRing("new", "door", folder=tmp_path) as ring:
            ring.put(picture(1))
            assert sweep(folder=tmp_path) == [], "both creators live"
            child.send_signal(signal.SIGKILL)
            child.wait(10)
            assert (tmp_path / name).exists(), "a killed creator leaves its segment"
            assert sweep("mcp_new_", tmp_path) == []
            assert sweep(folder=tmp_path) == [name]
            assert sorted(p.name for p in tmp_path.iterdir()) == ["mcp_new_door_0", "other"]
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def test_a_restarted_worker_takes_its_predecessors_place(tmp_path):
    (tmp_path / "mcp_run_door_0").write_bytes(b"left by a killed worker")
    with FrameRing("run", "door", folder=tmp_path) as ring:
        assert ring.put(picture(5)).segment == "mcp_run_door_0"


def test_a_reader_that_ends_does_not_remove_the_segment(run_id):
    with FrameRing(run_id, "door") as ring:
        ref = ring.put(picture(9))
        code = (
            "import sys, json; from pipeline.inference.shared_frames import *;"
            "print(FrameReader().view(SlotRef.from_json(json.loads(sys.argv[1])))[0, 0, 0])"
        )
        import json

        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(ref.to_json())], capture_output=True, text=True, timeout=30
        )
        assert (done.stdout.strip(), done.stderr) == ("9", "")
        assert (FrameReader().view(ref) == 9).all()


def test_a_sweep_of_anything_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mcp_"):
        sweep("", tmp_path)
    assert sweep(folder=tmp_path / "none") == []
