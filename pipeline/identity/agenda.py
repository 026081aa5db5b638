"""What is due when: an entry that has been overtaken is passed over by whoever put it there."""

import heapq
from typing import Literal, TypeAlias

from pipeline.identity.order import microseconds
from pipeline.types import TrackKey

Task: TypeAlias = Literal["decide", "fold", "left", "expire", "review"]
Subject: TypeAlias = tuple[str, str, int]  # camera, epoch and track; or camera, nothing and identity


class Agenda:
    """Tasks by message time; what is put in twice comes once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, Task, Subject]] = []
        self._known: set[tuple[int, Task, Subject]] = set()

    def put(self, at_s: float, task: Task, subject: Subject) -> None:
        entry = (microseconds(at_s), task, subject)
        if entry not in self._known:
            self._known.add(entry)
            heapq.heappush(self._heap, entry)

    def first_s(self) -> float | None:
        return self._heap[0][0] / 1e6 if self._heap else None

    def take(self, now_s: float) -> list[tuple[float, Task, Subject]]:
        """Everything that is due before now, in order; it is forgotten here."""
        taken = []
        while self._heap and self._heap[0][0] < microseconds(now_s):
            entry = heapq.heappop(self._heap)
            self._known.discard(entry)
            taken.append((entry[0] / 1e6, *entry[1:]))
        return taken


def track_subject(key: TrackKey) -> Subject:
    return (key.camera_id, key.epoch, key.track_id)


def visit_subject(camera_id: str, identity_id: int) -> Subject:
    return (camera_id, "", identity_id)
