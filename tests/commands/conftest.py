import os
import uuid

import pytest
from ordered_site import BLUE, RED, RunningMatcher, clip

from pipeline.bus.server import EmbeddedServer, find_server
from pipeline.bus.streams import CLIPS
from pipeline.config import BusConfig, CameraConfig, Config, MatcherConfig
from pipeline.errors import BusUnavailable
from pipeline.types import Tick


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


@pytest.fixture
def said():
    """What a command printed."""
    return []


@pytest.fixture
def site(command_server):
    """A configuration of a site of its own."""
    return Config(
        site=f"orders-{uuid.uuid4().hex[:12]}",
        cameras=(CameraConfig("door", "door.mp4"),),
        matcher=MatcherConfig(threshold=0.4),
        bus=BusConfig(url=command_server.url),
    )


@pytest.fixture
def two_people(site):
    """A matcher that has seen two people, and has their tracks open."""
    running = RunningMatcher(site)
    messages = [clip(1, 1, RED, 0.4), clip(2, 2, BLUE, 0.4), clip(3, 1, RED, 1.4), clip(4, 2, BLUE, 1.4)]
    for message in [*messages, Tick("door", "1", 5, 2.0)]:
        running.bus.publish(CLIPS, message)
    running.step()
    assert [(e.kind, e.identity_id) for e in running.events] == [("entered", 1), ("entered", 2)]
    return running
