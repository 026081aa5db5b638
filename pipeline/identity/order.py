"""Message time: the watermark over the cameras, and messages in their order up to it.

Arrivals may come in any order over cameras; what is decided may not depend on it. Messages are therefore handled in
(time, camera, epoch, sequence) order, cell by cell of a fixed grid of message time, and a cell is handled when every
camera that counts has said that it is past it.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.types import ClipMessage

_SPARE, _FEW = 4, 64  # overtaken entries that a heap may hold, per camera and in any case
_US = 1_000_000  # message times are compared as whole microseconds: exact, and finer than any time stamp here


def microseconds(at_s: float) -> int:
    return round(at_s * _US)


def is_past(deadline_s: float, now_s: float) -> bool:
    """Whether a deadline lies before now; on the edge of two cells it belongs to the later one, as messages do."""
    return microseconds(deadline_s) < microseconds(now_s)


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of message time: cell n covers [n·step, (n+1)·step)."""

    step_s: float

    def cell_of(self, at_s: float) -> int:
        return microseconds(at_s) // microseconds(self.step_s)

    def start_s(self, cell: int) -> float:
        """The first moment of the cell."""
        return cell * microseconds(self.step_s) / _US

    def end_s(self, cell: int) -> float:
        """The moment at which the cell is decided."""
        return (cell + 1) * microseconds(self.step_s) / _US

    def last_complete(self, watermark_s: float) -> int | None:
        """The newest cell of which nothing more can come; None before there is a watermark."""
        if math.isinf(watermark_s):
            return None
        return (microseconds(watermark_s) + 1) // microseconds(self.step_s) - 1


class _Least:
    """The least of the times of some cameras, as they go on and come and go."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # may hold times that were overtaken

    def put(self, camera_id: str, until_s: float) -> None:
        self._until[camera_id] = until_s
        heapq.heappush(self._heap, (until_s, camera_id))
        if len(self._heap) > _SPARE * len(self._until) + _FEW:  # one that does not speak keeps what was overtaken
            self._heap = sorted((at_s, camera) for camera, at_s in self._until.items())  # a sorted list is a heap

    def drop(self, camera_id: str) -> None:
        self._until.pop(camera_id, None)

    @property
    def value(self) -> float:
        """inf when there is no camera."""
        while self._heap and self._until.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf


class Watermark:
    """The least time up to which every camera that counts has been processed.

    Args:
        cameras: all cameras of the site; nothing is decided until each has spoken once or is known to be away.
        live_cameras: those that are not waited for longer than `lateness_s` behind the newest camera. Recorded
            cameras are waited for, because they lose nothing.
        lateness_s: message time.
    """

    def __init__(self, cameras: Iterable[str], live_cameras: Iterable[str], lateness_s: float) -> None:
        self._live = frozenset(live_cameras)
        self._lateness_s = lateness_s
        self._until: dict[str, float] = {}
        self._of_live, self._of_recorded = _Least(), _Least()
        self._away: set[str] = set()
        self._newest = -math.inf
        self._value = -math.inf
        for camera_id in cameras:
            self._put(camera_id, -math.inf)

    def tick(self, camera_id: str, until_s: float) -> None:
        self._newest = max(self._newest, until_s)
        self._away.discard(camera_id)
        self._put(camera_id, max(until_s, self._until.get(camera_id, -math.inf)))

    def away(self, camera_id: str) -> None:
        """The camera ended or is offline: nobody waits for it until its next tick."""
        self._away.add(camera_id)
        self._group(camera_id).drop(camera_id)

    @property
    def cameras_away(self) -> frozenset[str]:
        return frozenset(self._away)

    @property
    def all_away(self) -> bool:
        return bool(self._until) and len(self._away) >= len(self._until) and self._away >= self._until.keys()

    @property
    def value(self) -> float:
        """Unix seconds, never falling; -inf before every camera has spoken."""
        if self.all_away:
            self._value = max(self._value, self._newest)
        else:
            live_s = max(self._of_live.value, self._newest - self._lateness_s)
            least_s = min(live_s, self._of_recorded.value)
            self._value = max(self._value, least_s if math.isfinite(least_s) else -math.inf)
        return self._value

    def _put(self, camera_id: str, until_s: float) -> None:
        self._until[camera_id] = until_s
        self._group(camera_id).put(camera_id, until_s)

    def _group(self, camera_id: str) -> _Least:
        return self._of_live if camera_id in self._live else self._of_recorded


@dataclass(order=True, slots=True)
class Arrival:
    """A message on its way to being handled; ordered by (time, camera, epoch, sequence)."""

    at_us: int
    camera_id: str
    epoch: str
    sequence: int
    message: ClipMessage = field(compare=False)
    delivery_id: str = field(compare=False)
    late: bool = field(compare=False, default=False)


class Waiting:
    """Messages that wait for the watermark."""

    def __init__(self) -> None:
        self._heap: list[Arrival] = []

    def push(self, delivery_id: str, message: ClipMessage, late: bool) -> None:
        at_us = microseconds(message.at_s)
        arrival = Arrival(at_us, message.camera_id, message.epoch, message.sequence, message, delivery_id, late)
        heapq.heappush(self._heap, arrival)

    def first_s(self) -> float | None:
        return self._heap[0].at_us / _US if self._heap else None

    def pop_until(self, grid: Grid, cell: int) -> Iterator[Arrival]:
        """Everything of this cell and of earlier ones, in order."""
        end_us = microseconds(grid.end_s(cell))
        while self._heap and self._heap[0].at_us < end_us:
            yield heapq.heappop(self._heap)

    def __len__(self) -> int:
        return len(self._heap)
