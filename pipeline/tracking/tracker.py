"""Follows persons in one camera: births, confirmations, losses and deaths, all in seconds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.config import TrackerConfig
from pipeline.tracking.association import (
    TIME_SLACK_S,
    UNMATCHED,
    Candidates,
    Matches,
    OrderedDetections,
    associate,
    in_canonical_order,
)
from pipeline.tracking.departure import Polygon, left_picture
from pipeline.tracking.history import Path, TrackHistory
from pipeline.tracking.kalman import BoxKalman, state_corners
from pipeline.tracking.table import NO_ID, TrackTable
from pipeline.types import Detections, FloatArray, Frame, IntArray, TrackKey, Tracklet, Tracks


class PersonTracker:
    """The `Tracker` of one camera and one epoch; ids count from 1 in every instance.

    A track is tentative from its first confident detection on, and confirmed, with an id, once it is seen at least
    `confirm_s` after it; a tentative track unseen for more than `confirm_s` is dropped without a trace. A confirmed
    track unseen for more than `lost_s` ends. When it is found again before, the frames between are filled on a straight
    line with confidence 0 in its tracklet (never in `Tracks`, which only holds what was detected).

    Time: a frame that is not later than the one before is ignored, as repeated or reordered. A clock that jumps back by
    more than `lost_s` ends all tracks and starts again, and so does, by the rule above, a gap longer than `lost_s`.

    Boxes alone cannot tell two people who cross: whoever can, cuts a track with `split`.

    Args:
        exits: polygons of (x, y) px inside which a vanishing person has left the picture.
    """

    def __init__(self, camera_id: str, epoch: str, config: TrackerConfig, *, exits: Sequence[Polygon] = ()) -> None:
        self._camera_id = camera_id
        self._epoch = epoch
        self._config = config
        self._exits = tuple(exits)
        self._kalman = BoxKalman()
        self._table = TrackTable.empty()
        self._history = TrackHistory()
        self._begun = False
        self._now_s = 0.0  # time of the last frame
        self._size_px = (0, 0)
        self._next_id = 1
        self._next_serial = 1

    def update(self, frame: Frame, detections: Detections) -> tuple[Tracks, list[Tracklet]]:
        """The tracks visible in this frame, and the tracklets that ended with it.

        Raises:
            ValueError: the frame is another camera's or epoch's.
        """
        if (frame.camera_id, frame.epoch) != (self._camera_id, self._epoch):
            expected, got = (self._camera_id, self._epoch), (frame.camera_id, frame.epoch)
            raise ValueError(f"frame: expected camera and epoch {expected}, got {got}")
        height_px, width_px = frame.image.shape[:2]
        return self.update_boxes(frame.index, frame.captured_at_s, width_px, height_px, detections)

    def update_boxes(
        self, index: int, captured_at_s: float, width_px: int, height_px: int, detections: Detections
    ) -> tuple[Tracks, list[Tracklet]]:
        """`update` without a picture: its number, time and size are enough."""
        ended: list[Tracklet] = []
        dt_s = captured_at_s - self._now_s if self._begun else 0.0
        if dt_s < -self._config.lost_s:
            ended, dt_s = self.finish(), 0.0
        elif self._begun and dt_s <= 0:
            return Tracks.empty(), []
        ended += self._end(captured_at_s - self._table.last_s > self._config.lost_s + TIME_SLACK_S, captured_at_s)
        self._size_px = (width_px, height_px)
        self._begun, self._now_s = True, captured_at_s
        self._history.add_frame(index, captured_at_s)
        self._table.states = self._kalman.predict(self._table.states, dt_s)
        ordered = in_canonical_order(detections)
        matches = self._match(ordered)
        tracks = self._continue(matches.detection_of, ordered)
        self._drop_flickers()
        self._start(matches.newborn, ordered)
        return tracks, ended

    def finish(self) -> list[Tracklet]:
        """End everything that is open, at the time of the last frame."""
        return self._end(np.ones(len(self._table), bool), self._now_s)

    def split(self, track_id: int, after_s: float) -> tuple[Tracklet, int] | None:
        """End an open track at a moment in the past, and let it go on from there as a new one: its person has changed.

        Returns:
            What it was until then, and the new id; None, and no change, where the track is not open or has no box
            before or none after.
        """
        table = self._table
        rows = np.flatnonzero(table.ids == track_id)
        parts = None
        if track_id != NO_ID and rows.size:
            parts = self._history.split(int(table.serial[rows[0]]), self._next_serial, after_s)
        if parts is None:
            return None
        path, first_s = parts
        table.serial[rows], table.ids[rows], table.first_s[rows] = self._next_serial, self._next_id, first_s
        self._next_serial += 1
        self._next_id += 1
        return self._tracklet(track_id, path, self._now_s, False), self._next_id - 1

    def predicted(self, captured_at_s: float) -> Tracks:
        """Where the tracks seen in the last frame are `captured_at_s`, with confidence 0: for frames without detection.

        Changes nothing; a time before the last frame gives the boxes of the last frame.
        """
        shown = self._table.take(np.flatnonzero(self._table.confirmed & (self._table.last_s == self._now_s)))
        states = self._kalman.predict(shown.states, max(captured_at_s - self._now_s, 0.0))
        return _by_id(shown.ids, state_corners(states[0]).T, np.zeros(len(shown), np.float32))

    def births(self) -> dict[int, float]:
        """When each open confirmed track was first visible: id to time of its first box."""
        confirmed = self._table.confirmed
        return dict(zip(self._table.ids[confirmed].tolist(), self._table.first_s[confirmed].tolist(), strict=True))

    def _match(self, detections: OrderedDetections) -> Matches:
        table = self._table
        candidates = Candidates(state_corners(table.states[0]).T, table.confirmed, self._now_s - table.last_s)
        return associate(candidates, detections, self._config)

    def _continue(self, detection_of: IntArray, detections: OrderedDetections) -> Tracks:
        """Give the detections to their tracks; the confirmed ones of these are visible."""
        table = self._table
        rows = (detection_of != UNMATCHED).nonzero()[0]
        if rows.size == 0:
            return Tracks.empty()
        seen = detection_of.take(rows)
        xyxy, confidence = detections.xyxy.take(seen, axis=0), detections.confidence.take(seen)
        table.states[..., rows] = self._kalman.correct(table.states.take(rows, axis=-1), xyxy.T, confidence)
        table.last_s[rows] = self._now_s
        self._history.add(table.serial.take(rows), xyxy, confidence)
        if table.has_tentative:
            self._confirm()
        return _by_id(table.ids.take(rows), xyxy, confidence)

    def _confirm(self) -> None:
        table = self._table
        old_enough = table.last_s - table.first_s >= max(self._config.confirm_s - TIME_SLACK_S, TIME_SLACK_S)
        ready = np.flatnonzero(~table.confirmed & (table.last_s == self._now_s) & old_enough)
        table.ids[ready] = np.arange(self._next_id, self._next_id + len(ready))
        self._next_id += len(ready)

    def _drop_flickers(self) -> None:
        table = self._table
        if table.has_tentative:
            silent_s = self._now_s - table.last_s
            self._end(~table.confirmed & (silent_s > self._config.confirm_s + TIME_SLACK_S), self._now_s)

    def _start(self, newborn: IntArray, detections: OrderedDetections) -> None:
        count = len(newborn)
        if count == 0:
            return
        serials = np.arange(self._next_serial, self._next_serial + count)
        self._next_serial += count
        xyxy = detections.xyxy[newborn]
        self._history.start(serials)
        self._history.add(serials, xyxy, detections.confidence[newborn])
        now = np.full(count, self._now_s)
        born = TrackTable(self._kalman.start(xyxy.T), serials, np.full(count, NO_ID), now, now)
        self._table = self._table.joined(born)

    def _end(self, mask: npt.NDArray[np.bool_], now_s: float) -> list[Tracklet]:
        """Take the tracks of `mask` (T,) out; the confirmed ones come back as tracklets, by id."""
        if np.count_nonzero(mask) == 0:
            return []
        table = self._table
        gone = table.take(np.flatnonzero(mask & table.confirmed))
        self._history.drop(table.serial[mask & ~table.confirmed])
        self._table = table.take(np.flatnonzero(~mask))
        if len(gone) == 0:
            return []
        paths = self._history.take(gone.serial)
        last_boxes = np.stack([path.xyxy[-1] for path in paths])
        since_s = gone.last_s - self._now_s  # the states were predicted to the last frame
        left = left_picture(last_boxes, gone.states[:2].T, since_s, self._size_px, self._exits)
        ended = zip(gone.ids.tolist(), paths, left.tolist(), strict=True)
        return [self._tracklet(i, path, now_s, gone_out) for i, path, gone_out in sorted(ended, key=lambda e: e[0])]

    def _tracklet(self, track_id: int, path: Path, now_s: float, left: bool) -> Tracklet:
        return Tracklet(TrackKey(self._camera_id, self._epoch, track_id), 0, now_s, left, *path)


def _by_id(ids: IntArray, xyxy: FloatArray, confidence: FloatArray) -> Tracks:
    """The rows that have an id, by id."""
    order = ids.argsort()[len(ids) - np.count_nonzero(ids) :]
    return Tracks(*(_frozen(a.take(order, axis=0)) for a in (ids, xyxy, confidence)))


def _frozen(array: npt.NDArray) -> npt.NDArray:
    array.flags.writeable = False
    return array
