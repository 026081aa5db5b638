"""Drives a matcher through the messages of a site and measures what each step costs it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from pipeline.identity.matcher import Matcher, Step
from pipeline.types import ClipFeature, ClipMessage, TrackKey
from scale.links import Links

MINUTE_S = 60.0  # message time of one point of the curve


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of message time: CPU seconds, clips handled, and identities known at its end."""

    at_s: float
    cpu_s: float
    clips: int
    identities: int


@dataclass(slots=True)
class Cost:
    """What the matcher has cost so far, in CPU time of its thread.

    Attributes:
        clip_ns: per clip, its share of the work. Every receive and advance is charged: those that handle no clip to
            the next step that handles some, and a step's cost in equal shares to the clips that it handled. The sum
            is the matcher's whole CPU time, up to its last clip.
        wait_ns: per clip, the whole step that handled it: what it adds to the clip's way, with nothing shared.
    """

    clip_ns: list[float] = field(default_factory=list)
    wait_ns: list[int] = field(default_factory=list)
    total_ns: int = 0
    messages: int = 0
    message_s: float = 0.0  # newest message time
    state_bytes: int = 0  # written for the store, in all
    largest_state: int = 0  # of one step
    minutes: list[Minute] = field(default_factory=list)
    _owed_ns: int = 0

    def charge(self, spent_ns: int, clips: int) -> None:
        """One step: it took so long and handled so many clips."""
        self.total_ns += spent_ns
        self._owed_ns += spent_ns
        if clips:
            self.clip_ns += [self._owed_ns / clips] * clips
            self.wait_ns += [spent_ns] * clips
            self._owed_ns = 0

    @property
    def cpu_s(self) -> float:
        return self.total_ns / 1e9

    @property
    def load(self) -> float:
        """CPU seconds per second of message time."""
        return self.cpu_s / self.message_s if self.message_s else 0.0

    def per_clip_ms(self) -> dict[str, float]:
        """p50, p95, p99 and max of a clip's share; zeros when there was no clip."""
        return _spread(self.clip_ns)

    def step_ms(self) -> dict[str, float]:
        """p50, p95, p99 and max of the whole step that handled a clip; zeros when there was no clip."""
        return _spread(self.wait_ns)


@dataclass(slots=True)
class Outcome:
    """A driven matcher: its cost, its links, and the state that a store would hold."""

    cost: Cost
    links: Links
    state: dict[str, bytes]
    complete: bool


def drive(
    matcher: Matcher,
    messages: Iterable[ClipMessage],
    person_of: Mapping[TrackKey, int],
    *,
    batch: int = 1,
    limit_s: float = np.inf,
    clock_ns: Callable[[], int] = time.thread_time_ns,
    on_minute: Callable[[Cost], None] = lambda cost: None,
) -> Outcome:
    """Hand over the messages, `batch` of them before each advance; only receive and advance are timed.

    Args:
        batch: 1 asks most of the matcher; live it takes up to 256 at once, whatever has come.
        limit_s: break off when the matcher has used so much CPU time; the outcome is then not complete.
    """
    outcome = Outcome(Cost(), Links(), {}, True)
    cost, stream = outcome.cost, iter(messages)
    on_the_way: set[str] = set()  # delivery ids of clips
    minute = _MinuteCounter()
    while taken := list(islice(stream, batch)):
        numbered = [(str(cost.messages + i), message) for i, message in enumerate(taken)]
        on_the_way.update(n for n, message in numbered if isinstance(message, ClipFeature))
        began_ns = clock_ns()
        for number, message in numbered:
            matcher.receive(number, message)
        step = matcher.advance()
        spent_ns = clock_ns() - began_ns
        cost.messages += len(taken)
        cost.message_s = taken[-1].at_s
        done = [n for n in step.done if n in on_the_way]
        on_the_way.difference_update(done)
        cost.charge(spent_ns, len(done))
        _store(step, outcome)
        outcome.links.take(step.events, person_of)
        if minute.passed(cost, outcome.state):
            on_minute(cost)
        if cost.cpu_s > limit_s:
            outcome.complete = False
            break
    return outcome


class _MinuteCounter:
    """Closes a minute of message time when its end has come."""

    def __init__(self) -> None:
        self._end_s = MINUTE_S
        self._cpu_s = 0.0
        self._clips = 0

    def passed(self, cost: Cost, state: Mapping[str, bytes]) -> bool:
        if cost.message_s < self._end_s:
            return False
        identities = sum(name.startswith("identity:") for name in state)
        cost.minutes.append(
            Minute(cost.message_s, cost.cpu_s - self._cpu_s, len(cost.clip_ns) - self._clips, identities)
        )
        self._cpu_s, self._clips = cost.cpu_s, len(cost.clip_ns)
        self._end_s += MINUTE_S
        return True


def _store(step: Step, outcome: Outcome) -> None:
    """What `RedisState.commit` would do to the hash."""
    written = 0
    for name, value in step.changes.items():
        if value is None:
            outcome.state.pop(name, None)
        else:
            outcome.state[name] = value
            written += len(name) + len(value)
    outcome.cost.state_bytes += written
    outcome.cost.largest_state = max(outcome.cost.largest_state, written)


def _spread(values_ns: list[float] | list[int]) -> dict[str, float]:
    if not values_ns:
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    values_ms = np.asarray(values_ns, np.float64) / 1e6
    p50, p95, p99 = np.percentile(values_ms, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": float(values_ms.max())}
