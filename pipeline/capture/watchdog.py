"""What state a live camera is in, decided from times alone: no threads, no clock, no video.

    CONNECTING ──► LIVE ──► STALLED (no packet for stalled_s) ──► LIVE, or OFFLINE when it cannot be opened again
         │          ├─────► FROZEN  (the same picture for frozen_s) ──► LIVE as soon as the picture changes
         │          └─────► OFFLINE (the connection broke)
         └──► OFFLINE, REFUSED; CLOSED is final.

No library time-out detects a stall, so the age of the last packet is watched from outside. A stall ends its
connection: what a stalled connection delivers afterwards is old.
"""

import random
from collections.abc import Sequence
from enum import Enum, StrEnum

from pipeline.config import CaptureConfig

JITTER_SHARE = 0.2  # ±20 %, so that cameras behind one switch do not come back all at once


class CameraCondition(StrEnum):
    """The state of a live camera; `docs/capture.md` says what each means to an operator."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    FROZEN = "frozen"
    OFFLINE = "offline"
    REFUSED = "refused"
    CLOSED = "closed"


class Verdict(Enum):
    """What becomes of a picture. NEW_EPOCH: deliver it, as the first after a gap."""

    DELIVER = "deliver"
    NEW_EPOCH = "new epoch"
    DROP = "drop"


class BackOff:
    """Rising waits between attempts, each with ±20 % jitter; the last one repeats.

    Raises:
        ValueError: no waits.
    """

    def __init__(self, waits_s: Sequence[float], jitter: random.Random) -> None:
        if not waits_s:
            raise ValueError("back-off: expected at least one wait in seconds, got none")
        self._waits_s = tuple(waits_s)
        self._jitter = jitter
        self._attempts = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        wait_s = self._waits_s[min(self._attempts, len(self._waits_s) - 1)]
        self._attempts += 1
        return wait_s * self._jitter.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)

    def reset(self) -> None:
        self._attempts = 0


class Watchdog:
    """The state machine of one live camera. Every time is a reading of one monotonic clock, in seconds."""

    def __init__(self, config: CaptureConfig, jitter: random.Random) -> None:
        self._config = config
        self._reconnect = BackOff(config.reconnect_s, jitter)
        self._refused = BackOff(config.refused_s, jitter)
        self._condition = CameraCondition.CONNECTING
        self._changes = [CameraCondition.CONNECTING]
        self._packet_at_s: float | None = None  # None: no connection whose packets could be late
        self._given_up = False  # this connection stalled; it is of no use any more
        self._live_since_s: float | None = None
        self._fingerprint: int | None = None
        self._unchanged_since_s = 0.0
        self._gap = True

    @property
    def condition(self) -> CameraCondition:
        return self._condition

    def take_changes(self) -> list[CameraCondition]:
        """The conditions entered since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def opened(self, now_s: float) -> None:
        """A connection stands; the age of its packets counts from here."""
        self._packet_at_s = now_s
        self._given_up = False

    def packet(self, now_s: float) -> bool:
        """A packet came. False: it came after a gap, so it is old and the connection has to be given up."""
        self.tick(now_s)
        if self._packet_at_s is None:
            return False
        self._packet_at_s = now_s
        return True

    def picture(self, now_s: float, fingerprint: int) -> Verdict:
        """A picture was decoded; `fingerprint` is equal for equal pictures."""
        if self._packet_at_s is None:
            return Verdict.DROP
        if fingerprint != self._fingerprint:
            self._fingerprint, self._unchanged_since_s = fingerprint, now_s
        if now_s - self._unchanged_since_s >= self._config.frozen_s:
            self._enter(CameraCondition.FROZEN)
            return Verdict.DROP
        if self._condition is not CameraCondition.LIVE:
            self._enter(CameraCondition.LIVE)
            self._live_since_s = now_s
            self._refused.reset()
        verdict = Verdict.NEW_EPOCH if self._gap else Verdict.DELIVER
        self._gap = False
        return verdict

    def tick(self, now_s: float) -> None:
        """Look at the age of the last packet."""
        if self._packet_at_s is not None and now_s - self._packet_at_s >= self._config.stalled_s:
            self._note_health(self._packet_at_s)
            self._packet_at_s = None
            self._given_up = True
            self._enter(CameraCondition.STALLED)

    def lost(self, now_s: float) -> float:
        """The connection broke or could not be made; gives the seconds to wait before the next attempt.

        A connection that was given up after a stall is still STALLED until opening it again fails.
        """
        if self._packet_at_s is not None:
            self._note_health(now_s)
        given_up, self._given_up = self._given_up, False
        self._packet_at_s = None
        self._live_since_s = None
        if not given_up:
            self._enter(CameraCondition.OFFLINE)
        return self._reconnect.next_s()

    def refused(self) -> float:
        """The camera refused the credentials; gives the seconds to wait before the next attempt."""
        self._packet_at_s = None
        self._live_since_s = None
        self._enter(CameraCondition.REFUSED)
        return self._refused.next_s()

    def close(self) -> None:
        self._packet_at_s = None
        self._enter(CameraCondition.CLOSED)

    def _note_health(self, until_s: float) -> None:
        if self._live_since_s is not None and until_s - self._live_since_s >= self._config.healthy_s:
            self._reconnect.reset()

    def _enter(self, condition: CameraCondition) -> None:
        if condition is self._condition or self._condition is CameraCondition.CLOSED:
            return
        self._condition = condition
        self._changes.append(condition)
        self._gap = self._gap or condition is not CameraCondition.LIVE
