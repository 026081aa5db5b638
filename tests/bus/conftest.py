import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answer_eater import AnswerEater

from pipeline.bus.server import EmbeddedServer, find_server
from pipeline.errors import BusUnavailable


@pytest.fixture(scope="session")
def shared_server() -> Iterator[EmbeddedServer]:
    """One server for tests that leave it alive; each takes a site of its own."""
    _need_a_server()
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with an append-only file that the test may stop, kill and start again."""
    _need_a_server()
    with EmbeddedServer(tmp_path / "server", persist=True) as server:
        yield server


def _need_a_server() -> None:
    try:
        find_server()
    except BusUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a server: {error}")
        pytest.skip(str(error))


@pytest.fixture
def wait_for() -> Callable[..., None]:
    def wait(condition: Callable[[], object], limit_s: float = 15.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"not reached within {limit_s} s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def answer_eater(shared_server: EmbeddedServer) -> Iterator[tuple[AnswerEater, str]]:
    """The proxy and the URL through it."""
    port = shared_server.address.rpartition(":")[2]
    eater = AnswerEater(int(port))
    yield eater, shared_server.url.replace(port, str(eater.port))
    eater.close()
