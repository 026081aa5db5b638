import os
import signal
import subprocess
import sys
import threading
import time

import child_targets
import pytest

from pipeline.runtime import children
from pipeline.runtime.children import ChildBoard, ChildContext, ChildSpec, run_target, start_child, stop_children


def wait_for(condition, limit_s=15.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def context():
    return ChildContext("door", "worker", threading.Event(), ChildBoard())


def test_a_child_beats_stops_on_sigterm_and_ignores_ctrl_c(tmp_path):
    child = start_child(ChildSpec("door", child_targets.beat_until_stopped, (str(tmp_path),)))
    wait_for(lambda: child.is_ready)
    first_s = child.last_beat_s
    assert child.started_s < first_s <= time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    os.kill(child.pid, signal.SIGHUP)
    wait_for(lambda: child.last_beat_s > first_s + 0.1)
    assert child.exit_code is None
    assert stop_children([child], 5.0) == []
    assert (child.exit_code, child.reason) == (0, "exit code 0")
    child.process.close()


def test_a_child_with_a_thread_that_does_not_end_ends_all_the_same(tmp_path):
    child = start_child(ChildSpec("door", child_targets.end_but_leave_a_thread, (str(tmp_path),)))
    child.process.join(15)
    assert child.exit_code == 0
    child.process.close()


def test_stopping_nobody_is_fine():
    assert stop_children([], 1.0) == []


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        (child_targets.bad_config, 2, "site.yaml:3: unknown key 'kamera'"),
        (child_targets.wrong_password, 2, "redis://***@host refused the password"),
        (child_targets.lost, 1, "rtsp://***@10.0.0.5/stream ended"),
        (child_targets.surprise, 1, "RuntimeError: one line | and another"),
    ],
)
def test_an_error_becomes_an_exit_code_and_a_reason_without_password(tmp_path, target, code, reason):
    child = context()
    assert run_target(child, target, (str(tmp_path),)) == code
    assert child.board.reason.decode() == reason


def test_what_a_target_returns_is_its_exit_code(tmp_path):
    assert run_target(context(), child_targets.end, (str(tmp_path),)) == 0
    assert run_target(context(), child_targets.end, (str(tmp_path), 3)) == 3


def test_a_reason_too_long_is_cut(tmp_path):
    child = context()

    def fail(_):
        raise ValueError("é" * 1000)

    assert run_target(child, fail) == 1
    assert child.board.reason.decode(errors="replace").startswith("ValueError: ééé")


_STANDALONE = """
import sys, time
from pipeline.runtime.children import standalone_context
context = standalone_context("worker", "door")
print("up", flush=True)
context.ready(); context.beat()
if sys.argv[1] == "stuck":
    import threading
    threading.Thread(target=lambda: (context.stop.wait(), print("heard", flush=True)), daemon=True).start()
    import ctypes
    ctypes.CDLL(None).sleep(3)  # a call into C that signals interrupt, but that Python code is not told about
    ctypes.CDLL(None).sleep(1)
else:
    context.stop.wait()
print("clean", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_role_of_its_own_stops_on_signals(number):
    process = subprocess.Popen([sys.executable, "-c", _STANDALONE, "waiting"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.read() == "clean\n"
    assert process.returncode == 0


def test_a_signal_is_heard_while_the_main_thread_is_in_a_call_into_c():
    process = subprocess.Popen([sys.executable, "-c", _STANDALONE, "stuck"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "up\n"
        time.sleep(0.2)  # into the C call; earlier would pass as well
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "heard\n"
        process.kill()


def test_exit_codes_are_those_of_the_command_line():
    assert (children.DONE, children.FAILED, children.FATAL) == (0, 1, 2)
