"""Where the open tracks of a camera were seen, for the matcher, which compares places."""

import numpy as np

from pipeline.types import FloatArray, TimeArray, Tracks

_EVERY_S = 0.2  # a walker moves 0.3 m
_SLACK_S = 1e-4  # frame times are rounded


class SeenBoxes:
    """The boxes of each track since its last clip, thinned to one each `_EVERY_S`."""

    def __init__(self) -> None:
        self._boxes: dict[int, list[tuple[float, FloatArray]]] = {}
        self._last_s: dict[int, float] = {}

    def add(self, now_s: float, tracks: Tracks) -> None:
        """The boxes of one frame, in order of time."""
        for track_id, xyxy in zip(tracks.ids.tolist(), tracks.xyxy, strict=True):
            if now_s >= self._last_s.get(track_id, -np.inf) + _EVERY_S - _SLACK_S:
                self._boxes.setdefault(track_id, []).append((now_s, xyxy))
                self._last_s[track_id] = now_s

    def take(self, track_id: int, until_s: float = np.inf) -> tuple[TimeArray, FloatArray]:
        """(T,) s and (T, 4) px of what was not taken yet, up to a time; T may be 0."""
        boxes = self._boxes.pop(track_id, [])
        if later := [box for box in boxes if box[0] > until_s]:
            self._boxes[track_id] = later
        taken = [box for box in boxes if box[0] <= until_s]
        times = np.array([at_s for at_s, _ in taken], np.float64)
        return times, np.array([xyxy for _, xyxy in taken], np.float32).reshape(-1, 4)

    def split(self, track_id: int, new_id: int, after_s: float) -> None:
        """What was not taken yet of a track after a moment is another one's."""
        boxes = self._boxes.pop(track_id, [])
        for owner, part in (
            (track_id, [box for box in boxes if box[0] <= after_s]),
            (new_id, [box for box in boxes if box[0] > after_s]),
        ):
            if part:
                self._boxes[owner] = part
        if track_id in self._last_s:
            self._last_s[new_id] = self._last_s[track_id]

    def forget(self, track_id: int) -> None:
        """The track ended; an unknown one is fine."""
        self._boxes.pop(track_id, None)
        self._last_s.pop(track_id, None)
