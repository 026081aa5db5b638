"""What the processes of a run have in common."""

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.bus.redis_streams import RedisBus
from pipeline.config import Config
from pipeline.runtime.plan import RunPlan

FIGURES_EVERY_S = 1.0


def open_bus(plan: RunPlan, consumer: str) -> RedisBus:
    """The bus of the run's site.

    Raises:
        ConfigError: no bus.url. BusRefused: it cannot be used.
    """
    return RedisBus(plan.url, plan.config.site, max_messages=plan.config.bus.max_messages, consumer=consumer)


class Pulse:
    """Calls a function at most once every so many seconds."""

    def __init__(self, every_s: float, call: Callable[[], None]) -> None:
        self._every_s = every_s
        self._call = call
        self._next_s = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self._every_s
            self._call()


def detector_name(config: Config) -> str:
    return Path(config.detector.weights).name if config.detector.kind == "yolo" else config.detector.kind


def lease_owner(host: str, pid: int) -> str:
    """How a matcher signs its lease; its supervisor knows it by this."""
    return f"{host} {pid}"
