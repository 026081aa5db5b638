import os

import pytest

from pipeline.bus.server import EmbeddedServer, find_server
from pipeline.errors import BusUnavailable


@pytest.fixture(scope="session")
def command_server():
    """One server for all commands; each test takes a site of its own."""
    try:
        find_server()
    except BusUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a server: {error}")
        pytest.skip(str(error))
    with EmbeddedServer() as server:
        yield server
