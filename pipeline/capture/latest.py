"""The hand-over between a thread that reads a camera and the one that consumes it: the newest value wins."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """One place: `put` replaces what nobody took, so that a slow consumer gets fewer values, never older ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: T | None = None
        self._closed = False
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """How many values were replaced or cleared before anybody took them."""
        return self._skipped

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, value: T) -> None:
        """Hand over a value; after `close` it is let go."""
        with self._changed:
            if self._closed:
                return
            self._drop()
            self._value = value
            self._changed.notify()

    def take(self, timeout_s: float) -> T | None:
        """The newest value, once; None when none came in time or the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._value is not None or self._closed, timeout_s)
            value, self._value = self._value, None
            return value

    def clear(self) -> None:
        """Let go of a value that is no longer true."""
        with self._changed:
            self._drop()

    def close(self) -> None:
        """Wake the consumer; nothing is handed over from now on. May be called twice."""
        with self._changed:
            self._closed = True
            self._value = None
            self._changed.notify_all()

    def _drop(self) -> None:
        self._skipped += self._value is not None
        self._value = None
