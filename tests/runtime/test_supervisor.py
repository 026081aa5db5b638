import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import child_inference
import child_targets
import numpy as np
import psutil
import pytest

from pipeline.config import RuntimeConfig
from pipeline.errors import BusUnavailable, InferenceUnavailable
from pipeline.inference.client import InferenceClient
from pipeline.inference.shared_frames import FrameRing
from pipeline.runtime import children
from pipeline.runtime.children import ChildSpec
from pipeline.runtime.restarts import RestartPolicy
from pipeline.runtime.supervisor import Supervisor
from pipeline.types import Frame

QUICK = (0.05,)  # back-off of the tests, s


def wait_for(condition, limit_s=15.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def lines(folder: Path, name: str, word: str = "start") -> list[list[str]]:
    file = folder / name
    return [line.split() for line in file.read_text().splitlines() if word in line] if file.exists() else []


def pids(folder: Path, name: str) -> list[int]:
    return [int(line[0]) for line in lines(folder, name)]


@contextmanager
def running(supervisor: Supervisor):
    """`run` in a thread; the result's `code` is there after the block, which ends with a stop."""
    result = type("Result", (), {"code": None})()
    thread = threading.Thread(target=lambda: setattr(result, "code", supervisor.run()))
    thread.start()
    try:
        yield result
    finally:
        supervisor.request_stop()
        thread.join(15)
    assert not thread.is_alive()


def state_of(supervisor: Supervisor, name: str) -> str:
    return next(s.state for s in supervisor.status() if s.name == name)


def worker(name: str, target, folder: Path, *args, **more) -> ChildSpec:
    return ChildSpec(name, target, (str(folder), *args), **more)


def test_a_killed_child_is_restarted_and_the_others_are_left_alone(tmp_path):
    ends = []
    specs = [worker(name, child_targets.beat_until_stopped, tmp_path) for name in ("door", "hall")]
    supervisor = Supervisor(
        specs, config=RuntimeConfig(), clock=lambda: 1234.5, on_exit=ends.append, backoff_s=QUICK, log_level="WARNING"
    )
    with running(supervisor) as result:
        wait_for(lambda: all(s.state == "running" for s in supervisor.status()))
        os.kill(pids(tmp_path, "door")[0], signal.SIGKILL)
        wait_for(lambda: len(pids(tmp_path, "door")) == 2 and state_of(supervisor, "door") == "running")
        assert [(s.name, s.restarts) for s in supervisor.status()] == [("door", 1), ("hall", 0)]
        assert len(pids(tmp_path, "hall")) == 1
    first = ends[0]
    assert (first.spec.name, first.code, first.state, first.at_s) == ("door", -9, "backoff", 1234.5)
    assert first.reason == "killed by SIGKILL" and first.restart_in_s == 0.05
    assert result.code == 0
    assert [(e.spec.name, e.state, e.code) for e in ends[1:]] == [("hall", "stopped", 0), ("door", "stopped", 0)]


def test_a_hung_child_is_killed_and_restarted(tmp_path):
    ends = []
    supervisor = Supervisor(
        [worker("door", child_targets.beat_until_stopped, tmp_path)],
        config=RuntimeConfig(hang_s=1.0),
        on_exit=ends.append,
        backoff_s=QUICK,
    )
    with running(supervisor) as result:
        wait_for(lambda: state_of(supervisor, "door") == "running")
        os.kill(pids(tmp_path, "door")[0], signal.SIGSTOP)
        wait_for(lambda: len(pids(tmp_path, "door")) == 2)
        wait_for(lambda: state_of(supervisor, "door") == "running")
    assert ends[0].state == "backoff" and ends[0].reason.startswith("no heartbeat for ")
    assert result.code == 0


def test_a_child_that_does_not_get_ready_in_time_is_restarted(tmp_path):
    ends = []
    supervisor = Supervisor(
        [worker("door", child_targets.never_ready, tmp_path, ready_s=0.5)],
        config=RuntimeConfig(restarts_per_minute=0),
        on_exit=ends.append,
    )
    assert supervisor.run() == 1
    assert [e.state for e in ends] == ["gave_up"] and ends[0].reason.startswith("not ready for")


def test_a_child_that_fails_again_and_again_is_given_up_while_the_others_go_on(tmp_path):
    ends = []
    specs = [
        worker("door", child_targets.lost, tmp_path),
        worker("hall", child_targets.beat_until_stopped, tmp_path),
    ]
    supervisor = Supervisor(
        specs, config=RuntimeConfig(restarts_per_minute=2), on_exit=ends.append, backoff_s=(0.01,), log_level="CRITICAL"
    )
    with running(supervisor) as result:
        wait_for(lambda: state_of(supervisor, "door") == "gave_up")
        wait_for(lambda: state_of(supervisor, "hall") == "running")
        assert len(pids(tmp_path, "door")) == 3
        assert [e.state for e in ends] == ["backoff", "backoff", "gave_up"]
        assert ends[0].reason == "rtsp://***@10.0.0.5/stream ended", "no password in a reason"
        assert supervisor.status()[0].reason == ends[0].reason
    assert result.code == 1


def test_a_run_ends_when_its_work_is_done_and_stops_the_services_in_reverse_order(tmp_path):
    specs = [
        worker("inference", child_targets.slow_to_be_ready, tmp_path, role="inference", service=True, wait_ready=True),
        worker("matcher", child_targets.beat_until_stopped, tmp_path, role="matcher", service=True),
        worker("door", child_targets.end, tmp_path),
        worker("hall", child_targets.end, tmp_path, 0),
    ]
    supervisor = Supervisor(specs, config=RuntimeConfig())
    assert supervisor.run() == 0
    assert [s.state for s in supervisor.status()] == ["stopped", "stopped", "done", "done"]
    (stopped_first,), (stopped_last,) = lines(tmp_path, "matcher", "stop"), lines(tmp_path, "inference", "stop")
    assert float(stopped_first[1]) < float(stopped_last[1])
    ready_at_s = float(lines(tmp_path, "inference")[0][1])
    assert all(float(lines(tmp_path, name)[0][1]) > ready_at_s for name in ("matcher", "door", "hall"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (child_targets.bad_config, "site.yaml:3: unknown key 'kamera'"),
        (child_targets.wrong_password, "redis://***@host refused the password"),
    ],
)
def test_a_mistake_that_no_restart_can_mend_stops_the_run(tmp_path, target, reason):
    ends = []
    specs = [
        worker("hall", child_targets.beat_until_stopped, tmp_path, wait_ready=True),
        worker("door", target, tmp_path),
    ]
    assert Supervisor(specs, config=RuntimeConfig(), on_exit=ends.append, log_level="CRITICAL").run() == 2
    assert [(e.spec.name, e.state, e.reason) for e in ends] == [
        ("door", "fatal", reason),
        ("hall", "stopped", "exit code 0"),
    ]


def test_a_run_with_a_duration_ends_by_itself(tmp_path):
    supervisor = Supervisor([worker("door", child_targets.beat_until_stopped, tmp_path)], config=RuntimeConfig())
    started_s = time.monotonic()
    assert supervisor.run(duration_s=1.0) == 0
    assert 1.0 <= time.monotonic() - started_s < 8.0


def test_a_child_that_hears_nothing_is_killed_within_the_promised_time_and_the_run_says_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.runtime.supervisor.GROUP_STOP_S", 0.5)
    specs = [
        worker("matcher", child_targets.beat_until_stopped, tmp_path, role="matcher"),
        worker("door", child_targets.deaf, tmp_path),
    ]
    supervisor = Supervisor(specs, config=RuntimeConfig())
    with running(supervisor) as result:
        wait_for(lambda: all(s.state == "running" for s in supervisor.status()))
        os.kill(pids(tmp_path, "door")[0], signal.SIGSTOP)
        started_s = time.monotonic()
    assert result.code == 1
    assert 0.5 <= time.monotonic() - started_s < 3
    assert lines(tmp_path, "matcher", "stop"), "the others still stop cleanly"
    assert not psutil.pid_exists(pids(tmp_path, "door")[0])


def test_asking_twice_kills_at_once(tmp_path):
    supervisor = Supervisor([worker("door", child_targets.deaf, tmp_path)], config=RuntimeConfig())
    with running(supervisor) as result:
        wait_for(lambda: state_of(supervisor, "door") == "running")
        started_s = time.monotonic()
        supervisor.request_stop()
    assert result.code == 1 and time.monotonic() - started_s < 3


def test_a_killed_inference_process_comes_back_and_its_clients_go_on(tmp_path):
    socket_path = tmp_path / "private" / "s"
    socket_path.parent.mkdir(mode=0o700)
    spec = worker("inference", child_inference.serve, tmp_path, str(socket_path), role="inference")
    supervisor = Supervisor([spec], config=RuntimeConfig(), backoff_s=(0.3,), log_level="WARNING")
    run_id = f"test{os.getpid()}"
    frame = Frame("door", "e", 0, 1.0, np.zeros((480, 640, 3), np.uint8))
    with running(supervisor), FrameRing(run_id, "door") as ring:
        client = InferenceClient(socket_path, ring)
        client.wait_until_ready(15, threading.Event())
        assert client.detect([frame])[0].xyxy.tolist() == [[0, 0, 640, 480]]
        os.kill(pids(tmp_path, "inference")[0], signal.SIGKILL)
        with pytest.raises(InferenceUnavailable):
            while True:
                client.detect([frame])
        client.wait_until_ready(15, threading.Event())
        wait_for(lambda: len(pids(tmp_path, "inference")) == 2)
        wait_for(lambda: _answers(client, frame))
        client.close()
    assert not socket_path.exists()


def _answers(client: InferenceClient, frame: Frame) -> bool:
    try:
        return len(client.detect([frame])[0]) == 1
    except InferenceUnavailable:
        return False


def test_a_report_that_fails_does_not_end_the_run(tmp_path):
    def unreachable(_):
        raise BusUnavailable("Redis is away")

    supervisor = Supervisor(
        [worker("door", child_targets.end, tmp_path)],
        config=RuntimeConfig(),
        on_exit=unreachable,
        on_status=unreachable,
    )
    assert supervisor.run() == 0


def test_status_is_told_every_heartbeat(tmp_path):
    told = []
    supervisor = Supervisor(
        [worker("door", child_targets.beat_until_stopped, tmp_path)],
        config=RuntimeConfig(heartbeat_s=0.3),
        on_status=lambda status: told.append(status[0].state),
    )
    assert supervisor.run(duration_s=1.5) == 0
    assert 2 <= len(told) <= 6
    assert told[0] == "starting"


def test_a_supervisor_without_children_is_done():
    assert Supervisor([], config=RuntimeConfig()).run() == 0


def test_a_process_that_cannot_be_started_is_tried_again_and_then_given_up(tmp_path, monkeypatch):
    tries = []

    def refuse(spec, log_level):
        tries.append(spec.name)
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("pipeline.runtime.supervisor.start_child", refuse)
    spec = worker("door", child_targets.end, tmp_path)
    supervisor = Supervisor(
        [spec], config=RuntimeConfig(restarts_per_minute=2), backoff_s=(0.01,), log_level="CRITICAL"
    )
    assert supervisor.run() == 1
    assert tries == ["door"] * 3
    assert "temporarily" in supervisor.status()[0].reason


def test_two_children_of_one_name_are_refused(tmp_path):
    spec = worker("door", child_targets.end, tmp_path)
    with pytest.raises(ValueError, match="unique"):
        Supervisor([spec, spec], config=RuntimeConfig())


def test_a_target_that_cannot_be_named_is_refused(tmp_path):
    with pytest.raises(ValueError, match="top level"):
        children.start_child(ChildSpec("door", lambda context: None))


@contextmanager
def supervisor_process(folder: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, child_targets.__file__, str(folder)],
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: pids(folder, "polite") and pids(folder, "deaf"))
        yield process
    finally:
        for pid in (process.pid, *pids(folder, "polite"), *pids(folder, "deaf")):
            if psutil.pid_exists(pid) and is_alive(psutil.Process(pid)):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)
        process.stderr.close()


def is_alive(process: psutil.Process) -> bool:
    """Zombies do not count: who adopts orphans in a container may never bury them."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nobody_is_left_two_seconds_after_a_supervisor_was_killed(tmp_path):
    with supervisor_process(tmp_path) as process:
        offspring = psutil.Process(process.pid).children(recursive=True)
        assert len(offspring) >= 2
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not any(is_alive(p) for p in offspring), limit_s=2.0)
        assert lines(tmp_path, "polite", "stop"), "whoever listens could still finish"


def test_ctrl_c_on_the_whole_group_stops_within_ten_seconds(tmp_path):
    with supervisor_process(tmp_path) as process:
        offspring = psutil.Process(process.pid).children(recursive=True)
        started_s = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 1, "a deaf child had to be killed"
        assert time.monotonic() - started_s < 10
        assert lines(tmp_path, "polite", "stop")
        wait_for(lambda: not any(is_alive(p) for p in offspring), limit_s=2.0)
        errors = process.stderr.read()
        assert "Traceback" not in errors and "leaked" not in errors
        assert "deaf did not stop" in errors


def test_pauses_between_restarts_grow_until_there_were_too_many_in_a_minute():
    policy = RestartPolicy(3, (0.5, 1.0))
    assert [policy.next_delay_s(t) for t in (0.0, 1.0, 2.0, 3.0)] == [0.5, 1.0, 1.0, None]
    assert policy.next_delay_s(59.9) is None
    assert policy.next_delay_s(60.0) == 1.0, "the first is a minute old"
    assert policy.next_delay_s(500.0) == 0.5


def test_no_restarts_allowed_means_none():
    assert RestartPolicy(0).next_delay_s(0.0) is None
