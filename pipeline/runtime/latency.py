"""Latencies per stage with percentiles, in bounded memory, mergeable over processes."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_LEAST_S = 1e-5  # faster is not told apart
_RATIO = 1.05  # between bucket edges: a percentile is at most 2.5 % off
_LOG_RATIO = math.log(_RATIO)
_BUCKETS = 380  # 10 µs × 1.05^379 = 1,070 s; longer falls into the last bucket


class _Stage:
    """Counts of one stage in buckets of equal ratio."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.sum_s = 0.0
        self.min_s = math.inf
        self.max_s = -math.inf

    def add(self, seconds: float) -> None:
        bucket = _bucket(seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.count += 1
        self.sum_s += seconds
        self.min_s = min(self.min_s, seconds)
        self.max_s = max(self.max_s, seconds)

    def merge(self, other: "_Stage") -> None:
        for bucket, n in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + n
        self.count += other.count
        self.sum_s += other.sum_s
        self.min_s = min(self.min_s, other.min_s)
        self.max_s = max(self.max_s, other.max_s)

    def quantile(self, share: float) -> float:
        """The smallest recorded value with at least `share` of all at or below it, to the width of a bucket."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                middle = _LEAST_S * _RATIO ** (bucket - 0.5)
                return min(max(middle, self.min_s), self.max_s)
        return self.max_s


class LatencyRecorder:
    """Collects (stage, seconds) from any thread.

    A stage keeps counts in buckets of equal ratio (1.05 from 10 µs to 1,000 s): at most 380 numbers, whatever is
    recorded. A negative time (a camera's clock ahead of ours) counts as the smallest and shows in `min_s`.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stages: dict[str, _Stage] = {}
        self._lock = threading.Lock()
        self._monotonic = monotonic

    def record(self, stage: str, seconds: float) -> None:
        """Add one time.

        Raises:
            ValueError: not a finite number.
        """
        if not math.isfinite(seconds):
            raise ValueError(f"latency of {stage}: expected a finite number of seconds, got {seconds}")
        with self._lock:
            self._stages.setdefault(stage, _Stage()).add(seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Record how long the block takes; nothing when it raises."""
        started_s = self._monotonic()
        yield
        self.record(stage, self._monotonic() - started_s)

    def summary(self) -> dict[str, dict[str, float]]:
        """For each stage: count, mean_s, p50_s, p95_s, p99_s, min_s, max_s."""
        with self._lock:
            return {name: _summary(stage) for name, stage in sorted(self._stages.items())}

    def to_json(self) -> dict[str, Any]:
        """Everything, for `merge` in another process."""
        with self._lock:
            return {
                name: {
                    "counts": {str(bucket): n for bucket, n in sorted(s.counts.items())},
                    "sum_s": s.sum_s,
                    "min_s": s.min_s,
                    "max_s": s.max_s,
                }
                for name, s in sorted(self._stages.items())
            }

    def merge(self, recorded: Mapping[str, Any]) -> None:
        """Add what another recorder's `to_json` gave.

        Raises:
            ValueError: it is not such a value; nothing of it is added.
        """
        stages = {str(name): _read_stage(name, value) for name, value in recorded.items()}
        with self._lock:
            for name, stage in stages.items():
                self._stages.setdefault(name, _Stage()).merge(stage)


def _bucket(seconds: float) -> int:
    """0 for the least; bucket b holds (least × ratio^(b-1), least × ratio^b]."""
    if seconds <= _LEAST_S:
        return 0
    return min(_BUCKETS - 1, math.ceil(math.log(seconds / _LEAST_S) / _LOG_RATIO))


def _summary(stage: _Stage) -> dict[str, float]:
    return {
        "count": stage.count,
        "mean_s": stage.sum_s / stage.count,
        "p50_s": stage.quantile(0.50),
        "p95_s": stage.quantile(0.95),
        "p99_s": stage.quantile(0.99),
        "min_s": stage.min_s,
        "max_s": stage.max_s,
    }


def _read_stage(name: str, value: Any) -> _Stage:
    stage = _Stage()
    try:
        stage.counts = {int(bucket): int(n) for bucket, n in value["counts"].items()}
        stage.sum_s, stage.min_s, stage.max_s = (float(value[k]) for k in ("sum_s", "min_s", "max_s"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"latency of {name}: expected counts, sum_s, min_s and max_s ({error!r})") from None
    stage.count = sum(stage.counts.values())
    if stage.count < 1 or not all(0 <= b < _BUCKETS and n > 0 for b, n in stage.counts.items()):
        raise ValueError(f"latency of {name}: expected positive counts in buckets 0 to {_BUCKETS - 1}")
    return stage
