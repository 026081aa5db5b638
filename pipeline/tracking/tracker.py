"""Follows persons in one camera: births, confirmations, losses and deaths, all in seconds."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.config import TrackerConfig
from pipeline.tracking.association import TIME_SLACK_S, UNMATCHED, Candidates, associate, in_canonical_order
from pipeline.tracking.departure import Polygon, left_picture
from pipeline.tracking.kalman import BoxKalman, state_boxes
from pipeline.tracking.table import NO_ID, TrackPath, TrackTable
from pipeline.types import Detections, Frame, IntArray, TrackKey, Tracklet, Tracks


class PersonTracker:
    """The `Tracker` of one camera and one epoch; ids count from 1 in every instance.

    A track is tentative from its first confident detection on, and confirmed, with an id, once it is seen at least
    `confirm_s` after it; a tentative track unseen for more than `confirm_s` is dropped without a trace. A confirmed
    track unseen for more than `lost_s` ends. When it is found again before, the frames between are filled on a straight
    line with confidence 0 in its tracklet (never in `Tracks`, which only holds what was detected).

    Time: a frame that is not later than the one before is ignored, as repeated or reordered. A clock that jumps back by
    more than `lost_s` ends all tracks and starts again, and so does, by the rule above, a gap longer than `lost_s`.

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
        self._paths: dict[int, TrackPath] = {}  # by serial
        self._frames: deque[tuple[int, float]] = deque()  # (index, time) of the last lost_s, for filling gaps
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
        dt_s = captured_at_s - self._frames[-1][1] if self._frames else 0.0
        if dt_s < -self._config.lost_s:
            ended = self.finish()
            self._frames.clear()
        elif self._frames and dt_s <= 0:
            return Tracks.empty(), []
        ended += self._end(captured_at_s - self._table.last_s > self._config.lost_s + TIME_SLACK_S, captured_at_s)
        self._size_px = (width_px, height_px)
        self._predict(max(dt_s, 0.0))
        self._remember(index, captured_at_s)
        ordered = in_canonical_order(detections)
        detection_of, newborn = self._match(ordered, captured_at_s)
        self._correct(detection_of, ordered, index, captured_at_s)
        self._confirm(captured_at_s)
        tracks = self._visible(detection_of, ordered)
        silent_s = captured_at_s - self._table.last_s
        self._end(~self._table.confirmed & (silent_s > self._config.confirm_s + TIME_SLACK_S), captured_at_s)
        self._start(newborn, ordered, index, captured_at_s)
        return tracks, ended

    def finish(self) -> list[Tracklet]:
        """End everything that is open, at the time of the last frame."""
        now_s = self._frames[-1][1] if self._frames else 0.0
        return self._end(np.ones(len(self._table), bool), now_s)

    def predicted(self, captured_at_s: float) -> Tracks:
        """Where the tracks seen in the last frame are `captured_at_s`, with confidence 0: for frames without detection.

        Changes nothing; a time before the last frame gives the boxes of the last frame.
        """
        if not self._frames:
            return Tracks.empty()
        now_s = self._frames[-1][1]
        shown = self._table.where(self._table.confirmed & (self._table.last_s == now_s))
        mean, _ = self._kalman.predict(shown.mean, shown.covariance, max(captured_at_s - now_s, 0.0))
        return _sorted(shown.ids, state_boxes(mean), np.zeros(len(shown), np.float32))

    def births(self) -> dict[int, float]:
        """When each open confirmed track was first visible: id to time of its first box."""
        table = self._table.where(self._table.confirmed)
        return dict(zip(table.ids.tolist(), table.first_s.tolist(), strict=True))

    def _predict(self, dt_s: float) -> None:
        mean, covariance = self._kalman.predict(self._table.mean, self._table.covariance, dt_s)
        self._table = replace(self._table, mean=mean, covariance=covariance)

    def _remember(self, index: int, captured_at_s: float) -> None:
        self._frames.append((index, captured_at_s))
        while self._frames[0][1] < captured_at_s - self._config.lost_s - TIME_SLACK_S:
            self._frames.popleft()

    def _match(self, detections: Detections, now_s: float) -> tuple[IntArray, IntArray]:
        table = self._table
        candidates = Candidates(state_boxes(table.mean), table.confirmed, now_s - table.last_s)
        matches = associate(candidates, detections, self._config)
        return matches.detection_of, matches.newborn

    def _correct(self, detection_of: IntArray, detections: Detections, index: int, now_s: float) -> None:
        rows = np.flatnonzero(detection_of != UNMATCHED)
        xyxy, confidence = detections.xyxy[detection_of[rows]], detections.confidence[detection_of[rows]]
        table = self._table
        mean, covariance, last_s = table.mean.copy(), table.covariance.copy(), table.last_s.copy()
        mean[rows], covariance[rows] = self._kalman.correct(mean[rows], covariance[rows], xyxy, confidence)
        # A Python loop, because every track keeps its own list of boxes; all arithmetic is above.
        for i, row in enumerate(rows):
            path = self._paths[int(table.serial[row])]
            path.fill_to(self._frames, now_s, xyxy[i])
            path.add(index, now_s, xyxy[i], float(confidence[i]))
        last_s[rows] = now_s
        self._table = replace(table, mean=mean, covariance=covariance, last_s=last_s)

    def _confirm(self, now_s: float) -> None:
        table = self._table
        old_enough = table.last_s - table.first_s >= max(self._config.confirm_s - TIME_SLACK_S, TIME_SLACK_S)
        ready = np.flatnonzero(~table.confirmed & (table.last_s == now_s) & old_enough)
        ids = table.ids.copy()
        ids[ready] = np.arange(self._next_id, self._next_id + len(ready))
        self._next_id += len(ready)
        self._table = replace(table, ids=ids)

    def _visible(self, detection_of: IntArray, detections: Detections) -> Tracks:
        rows = np.flatnonzero(self._table.confirmed & (detection_of != UNMATCHED))
        seen = detection_of[rows]
        return _sorted(self._table.ids[rows], detections.xyxy[seen], detections.confidence[seen])

    def _start(self, newborn: IntArray, detections: Detections, index: int, now_s: float) -> None:
        count = len(newborn)
        serials = np.arange(self._next_serial, self._next_serial + count)
        self._next_serial += count
        mean, covariance = self._kalman.start(detections.xyxy[newborn])
        for serial, i in zip(serials.tolist(), newborn, strict=True):
            self._paths[serial] = TrackPath()
            self._paths[serial].add(index, now_s, detections.xyxy[i], float(detections.confidence[i]))
        now = np.full(count, now_s)
        born = TrackTable(mean, covariance, serials, np.full(count, NO_ID, np.int64), now, now)
        self._table = self._table.joined(born)

    def _end(self, mask: npt.NDArray[np.bool_], now_s: float) -> list[Tracklet]:
        """Take the tracks of `mask` (T,) out; the confirmed ones come back as tracklets, by id."""
        if not mask.any():
            return []
        gone = self._table.where(mask)
        self._table = self._table.where(~mask)
        rows = {serial: self._paths.pop(serial).rows() for serial in gone.serial.tolist()}
        last_boxes = np.array([path[-1, 2:6] for path in rows.values()], np.float32)
        state_at_s = self._frames[-1][1]  # the means were predicted to the last frame
        left = left_picture(last_boxes, gone.mean, gone.last_s - state_at_s, self._size_px, self._exits)
        tracklets = [
            self._tracklet(track_id, path, now_s, bool(gone_out))
            for track_id, path, gone_out in zip(gone.ids.tolist(), rows.values(), left, strict=True)
            if track_id != NO_ID
        ]
        return sorted(tracklets, key=lambda tracklet: tracklet.key.track_id)

    def _tracklet(self, track_id: int, rows: npt.NDArray[np.float64], now_s: float, left: bool) -> Tracklet:
        return Tracklet(
            key=TrackKey(self._camera_id, self._epoch, track_id),
            sequence=0,
            ended_at_s=now_s,
            left_picture=left,
            frame_index=rows[:, 0].astype(np.int64),
            captured_at_s=rows[:, 1],
            xyxy=rows[:, 2:6].astype(np.float32),
            confidence=rows[:, 6].astype(np.float32),
        )


def _sorted(ids: IntArray, xyxy: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32]) -> Tracks:
    order = np.argsort(ids)
    return Tracks(ids[order], xyxy[order], confidence[order])
