"""From a stream's time stamps to the time a picture was captured, for files and for live cameras."""

# A camera's stamps are smoother than the arrival of its packets, but they drift, stand still and jump.
JUMP_S = 1.0  # a stamp this far off cannot be network jitter over TCP on a working link
LATE_S = 2.0  # later than this after its stamp, a picture's stamp is no longer believed
FOLLOW_SHARE = 0.01  # of the lag, per picture: follows a clock that is 4 % off (25 fps stamped as 24) 0.16 s behind
STEP_S = 0.001  # least time between two pictures of one epoch, the resolution of most containers


class LiveClock:
    """Capture times of one live camera: its own stamps, held to the arrival clock.

    Time = stamp + offset. The offset is the least delay seen (packets come late, never early), follows slow drift,
    and starts again when the stamps jump.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._stamp_s: float | None = None
        self._last_s = float("-inf")

    def restart(self) -> None:
        """Forget everything: the next picture begins an epoch."""
        self._offset_s = None
        self._stamp_s = None
        self._last_s = float("-inf")

    def time_of(self, stamp_s: float | None, arrival_s: float) -> tuple[float, bool]:
        """The capture time of the next picture, Unix seconds, and whether the stamps jumped.

        Without a stamp, or with one that stands still, it is the arrival time. Times rise until a jump, which asks for
        a new epoch. In a burst they may run ahead of arrival by `STEP_S` a picture.
        """
        jumped = self._jumped(stamp_s, arrival_s)
        if jumped:
            self.restart()
        captured_s = max(self._mapped(stamp_s, arrival_s), self._last_s + STEP_S)
        if stamp_s is not None:
            self._stamp_s = stamp_s
        self._last_s = captured_s
        return captured_s, jumped

    def _jumped(self, stamp_s: float | None, arrival_s: float) -> bool:
        if stamp_s is None or self._stamp_s is None or self._offset_s is None:
            return False
        back = stamp_s < self._stamp_s - JUMP_S
        ahead = stamp_s + self._offset_s > arrival_s + JUMP_S
        return back or ahead

    def _mapped(self, stamp_s: float | None, arrival_s: float) -> float:
        stands_still = stamp_s is None or (self._stamp_s is not None and stamp_s <= self._stamp_s)
        if stamp_s is None or stands_still:
            return arrival_s
        delay_s = arrival_s - stamp_s
        if self._offset_s is None or stamp_s + self._offset_s < self._last_s:
            self._offset_s = delay_s
        lag_s = delay_s - self._offset_s
        self._offset_s += FOLLOW_SHARE * lag_s if 0.0 <= lag_s <= LATE_S else lag_s
        return stamp_s + self._offset_s


class PresentationClock:
    """Times of the pictures of a file: start + time stamp relative to the first one.

    A picture whose stamp is missing or does not rise comes one average picture time after the one before;
    `repaired` counts them.
    """

    def __init__(self, start_s: float, fps: float) -> None:
        self._start_s = start_s
        self._period_s = 1.0 / fps
        self._first_stamp_s: float | None = None
        self._last_s: float | None = None
        self.repaired = 0

    def time_of(self, stamp_s: float | None) -> float:
        """The time of the next picture; always later than the one before."""
        at_s = self._stamped(stamp_s)
        if at_s is None or (self._last_s is not None and at_s <= self._last_s):
            at_s = self._start_s if self._last_s is None else self._last_s + self._period_s
            self.repaired += 1
        self._last_s = at_s
        return at_s

    def _stamped(self, stamp_s: float | None) -> float | None:
        if stamp_s is None:
            return None
        if self._first_stamp_s is None:  # pictures before the first stamp keep their times
            before_s = 0.0 if self._last_s is None else self._last_s + self._period_s - self._start_s
            self._first_stamp_s = stamp_s - before_s
        return self._start_s + (stamp_s - self._first_stamp_s)
