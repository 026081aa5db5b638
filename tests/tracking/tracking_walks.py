"""Synthetic walks: boxes as functions of time, so that the same walk can be seen at any frame rate."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import TrackerConfig
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, Tracklet, Tracks

WIDTH_PX, HEIGHT_PX = 640, 360
START_S = 1_700_000_000.0  # Unix seconds, as live: float rounding is part of the test

# seconds since the start -> (x1, y1, x2, y2, confidence), or None when the detector does not see the person
Walk = Callable[[float], tuple[float, float, float, float, float] | None]


def walker(
    x_px: float,
    speed_px_s: float,
    y_px: float = 100.0,
    confidence: float = 0.9,
    born_s: float = 0.0,
    gone_s: float = 1e9,
) -> Walk:
    """A person 40 x 120 px who walks to the right (left: negative speed) between two times."""

    def at(time_s: float) -> tuple[float, float, float, float, float] | None:
        if not born_s - 1e-6 <= time_s <= gone_s + 1e-6:
            return None
        x = x_px + speed_px_s * time_s
        return x, y_px, x + 40, y_px + 120, confidence

    return at


def hidden(walk: Walk, from_s: float, to_s: float) -> Walk:
    """The walk with nothing detected from (inclusive) to (exclusive)."""
    return lambda time_s: None if from_s - 1e-6 <= time_s < to_s - 1e-6 else walk(time_s)


def detections_at(walks: Sequence[Walk], time_s: float) -> Detections:
    rows = np.array([row for row in (walk(time_s) for walk in walks) if row is not None], np.float32).reshape(-1, 5)
    return Detections(rows[:, :4], rows[:, 4])


@dataclass
class Story:
    """What a tracker said: the tracks of each frame, by time since the start, and the finished tracklets by id."""

    frames: dict[float, Tracks]
    tracklets: dict[int, Tracklet]

    def ids_at(self, time_s: float) -> list[int]:
        return self.frames[min(self.frames, key=lambda t: abs(t - time_s))].ids.tolist()


def follow(
    walks: Sequence[Walk],
    times_s: Iterable[float],
    tracker: PersonTracker | None = None,
    start_s: float = START_S,
    first_index: int = 0,
) -> Story:
    """Run a tracker over the walks at the given times, and finish it."""
    tracker = tracker or PersonTracker("cam", "1", TrackerConfig())
    story = Story({}, {})
    ended: list[Tracklet] = []
    for index, time_s in enumerate(times_s, first_index):
        detections = detections_at(walks, time_s)
        story.frames[time_s], gone = tracker.update_boxes(index, start_s + time_s, WIDTH_PX, HEIGHT_PX, detections)
        ended += gone
    for tracklet in ended + tracker.finish():
        assert tracklet.key.track_id not in story.tracklets
        story.tracklets[tracklet.key.track_id] = tracklet
    return story


def every(dt_s: float, until_s: float) -> list[float]:
    return [i * dt_s for i in range(round(until_s / dt_s) + 1)]
