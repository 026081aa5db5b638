"""Which tests run with nothing beside them: those that measure real time, or need the machine for themselves."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
_ALONE = ("live/", "capture/test_rtsp", "capture/test_webcam", "capture/test_latest_slot", "bus/test_redis_faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(_ROOT).as_posix().startswith(_ALONE):
            item.add_marker(pytest.mark.alone)
