"""One generated site for all tests of the live run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live_site import write_site

from pipeline.config import Config
from pipeline.inference.shared_frames import sweep


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two cameras, 7 s, one person each."""
    return write_site(tmp_path_factory.mktemp("site"), seconds=7.0)


@pytest.fixture(autouse=True)
def leaves_no_shared_memory():
    """Whatever a test does, no frames of its dead processes may stay in shared memory."""
    sweep()
    yield
    assert sweep() == []
