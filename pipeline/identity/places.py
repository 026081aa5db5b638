"""Where tracks were seen, and what their places say about who is who: at one time on the ground, and one after another.

Everything said is a natural logarithm of a likelihood ratio: P(places | one person) / P(places | two people). 0 says
nothing; ratios of independent evidence add up.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.boxes import box_iou
from pipeline.errors import DecodeError
from pipeline.ground import GroundPlane
from pipeline.identity.following import FollowEvidence, follow_in_picture, follow_on_ground
from pipeline.identity.standing import PlaceEvidence, compare_places, ground_rows
from pipeline.types import FloatArray, TimeArray, TrackKey, Tracklet

Table = npt.NDArray[np.float64]
Size = tuple[int, int]

KEEP_S = 30.0  # of a track's newest places: what is longer ago hardly adds to what one person would show
_EVERY_S = 0.4  # one box each: a walker moves 0.5 m, nearly straight
_SLACK_S = 1e-4  # frame times are rounded
_SAME_BOX_IOU = 0.5  # two boxes of one person; two people who overlap as much are hardly both detected
_START_S = 1.0  # of a track's first boxes: how it began
_END_S = 1.6  # of its last ones: where it was going
_MOST_MOMENTS = 400  # boxes of one track, however long it is kept


class _Trail:
    """One track: boxes as rows of (time, x1, y1, x2, y2), and what they say of the ground (`ground_rows`)."""

    def __init__(self, picture_px: Size | None) -> None:
        self.picture_px = picture_px
        self.boxes: Table = np.zeros((0, 5))
        self.on_ground: Table = np.zeros((0, 0))


class TrackPlaces:
    """The places of all tracks that are open or ended not long ago.

    Args:
        grounds: calibration by camera; without any, only tracks of one camera can be compared.
        keep_s: how long a place is remembered, for tracks of calibrated cameras.
    """

    def __init__(self, grounds: Mapping[str, GroundPlane], keep_s: float = KEEP_S) -> None:
        self._grounds = dict(grounds)
        self._keep_s = keep_s
        self._trails: dict[TrackKey, _Trail] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._trails

    def __len__(self) -> int:
        return len(self._trails)

    def __iter__(self) -> Iterator[TrackKey]:
        return iter(self._trails)

    def add(self, key: TrackKey, seen_s: TimeArray, seen_xyxy: FloatArray, picture_px: Size | None) -> None:
        """Boxes (T, 4) px of one track at (T,) s; what is not newer than all before is known already."""
        trail = self._trails.get(key) or _Trail(picture_px)
        trail.picture_px = picture_px or trail.picture_px
        newest_s = trail.boxes[-1, 0] if len(trail.boxes) else -np.inf
        at_s = np.asarray(seen_s, np.float64)
        new = at_s > np.maximum.accumulate(np.concatenate([[newest_s], at_s]))[:-1]
        if not new.any():
            return
        rows = np.concatenate([at_s[new, None], np.asarray(seen_xyxy, np.float64)[new]], axis=1)
        self._trails[key] = trail
        self._store(key, trail, np.concatenate([trail.boxes, rows]))

    def close(self, tracklet: Tracklet) -> None:
        """What was seen of a track after its last clip; a track without any clip is not taken up."""
        if tracklet.key in self._trails:
            seen = tracklet.confidence > 0
            self.add(tracklet.key, tracklet.captured_at_s[seen], tracklet.xyxy[seen], None)

    def forget(self, key: TrackKey) -> None:
        """An unknown track is fine."""
        self._trails.pop(key, None)

    def forget_before(self, at_s: float) -> None:
        """Forgets the tracks that were last seen before this time."""
        self._trails = {key: trail for key, trail in self._trails.items() if trail.boxes[-1, 0] >= at_s}

    def together(self, a: TrackKey, b: TrackKey) -> PlaceEvidence | None:
        """What the places of two tracks say that two calibrated cameras saw at the same time; None: nothing.

        The same for (b, a).
        """
        if a.camera_id == b.camera_id:
            return None
        if b < a:  # sums in one order: the same figure to the last digit
            a, b = b, a
        here, there = self._trails.get(a), self._trails.get(b)
        if here is None or there is None:
            return None
        return compare_places(here.on_ground, there.on_ground)

    def follows(self, before: TrackKey, after: TrackKey) -> FollowEvidence | None:
        """What it says that one track began where and when it did, after another one had ended; None: nothing.

        In the picture of one camera, else on the ground of two calibrated ones.
        """
        here, there = self._trails.get(before), self._trails.get(after)
        if here is None or there is None or here is there:
            return None
        gap_s = float(there.boxes[0, 0] - here.boxes[-1, 0])
        if gap_s <= 0:
            return None
        if before.camera_id == after.camera_id:
            if before.epoch != after.epoch or here.picture_px is None:
                return None
            return follow_in_picture(_end(here.boxes), _start(there.boxes), here.picture_px)
        if not (len(here.on_ground) and len(there.on_ground)):
            return None
        return follow_on_ground(_end(here.on_ground), _start(there.on_ground))

    def picture_px(self, key: TrackKey) -> Size | None:
        """(width, height) of the pictures that a track's boxes lie in; None where it was not said."""
        trail = self._trails.get(key)
        return trail.picture_px if trail is not None else None

    def first_box(self, key: TrackKey) -> Table | None:
        """(5,) time and xyxy px of a track's first box; None for an unknown one."""
        trail = self._trails.get(key)
        return trail.boxes[0] if trail is not None else None

    def box_near(self, key: TrackKey, at_s: float, within_s: float) -> Table | None:
        """(5,) the box of a track that is nearest to a time; None where it is farther than `within_s`."""
        trail = self._trails.get(key)
        if trail is None:
            return None
        away_s = np.abs(trail.boxes[:, 0] - at_s)
        nearest = int(away_s.argmin())
        return trail.boxes[nearest] if away_s[nearest] <= within_s else None

    def coincide(self, before: TrackKey, after: TrackKey) -> bool:
        """Whether one track of a camera begins with the box with which another one ends: one person, told twice."""
        here, there = self._trails.get(before), self._trails.get(after)
        if here is None or there is None or before.camera_id != after.camera_id:
            return False
        last, first = (boxes[:, 1:].astype(np.float32) for boxes in (here.boxes[-1:], there.boxes[:1]))
        return bool(box_iou(last, first)[0, 0] >= _SAME_BOX_IOU)

    def to_json(self, key: TrackKey) -> dict[str, Any] | None:
        """All that is remembered of one track, at most about 3 kB; None for an unknown one."""
        trail = self._trails.get(key)
        if trail is None:
            return None
        at_s = np.ascontiguousarray(trail.boxes[:, 0], "<f8")
        xyxy = np.ascontiguousarray(trail.boxes[:, 1:], "<f4")
        return {
            "at_s": base64.b64encode(at_s.tobytes()).decode(),
            "xyxy": base64.b64encode(xyxy.tobytes()).decode(),
            "picture_px": list(trail.picture_px) if trail.picture_px else None,
        }

    def restore(self, key: TrackKey, value: Mapping[str, Any]) -> None:
        """Takes up what `to_json` gave.

        Raises:
            DecodeError: something else.
        """
        try:
            at_s = np.frombuffer(base64.b64decode(value["at_s"]), "<f8")
            xyxy = np.frombuffer(base64.b64decode(value["xyxy"]), "<f4").reshape(len(at_s), 4)
            size = value["picture_px"]
            trail = _Trail((int(size[0]), int(size[1])) if size else None)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DecodeError(f"places of track {'/'.join(map(str, key))}: cannot be read ({error})") from None
        if len(at_s):
            self._trails[key] = trail
            self._store(key, trail, np.concatenate([at_s[:, None], xyxy], axis=1))

    def _store(self, key: TrackKey, trail: _Trail, boxes: Table) -> None:
        ground = self._grounds.get(key.camera_id)
        size_px = trail.picture_px
        usable = ground is not None and size_px is not None and ground.fits(size_px)
        trail.boxes = _thinned(boxes, self._keep_s if usable else _END_S)
        if ground is not None and size_px is not None and usable:
            trail.on_ground = ground_rows(trail.boxes, ground, size_px)


def _thinned(boxes: Table, keep_s: float) -> Table:
    """The start and the last `keep_s`, one box each `_EVERY_S`, and the newest one in any case."""
    at_s = boxes[:, 0]
    kept, last_s = [], -np.inf
    for i, moment_s in enumerate(at_s.tolist()):
        remembered = moment_s <= at_s[0] + _START_S or moment_s >= at_s[-1] - keep_s
        if i == len(at_s) - 1 or (remembered and moment_s >= last_s + _EVERY_S - _SLACK_S):
            kept.append(i)
            last_s = moment_s
    return boxes[kept[:2] + kept[2:][-_MOST_MOMENTS:]]


def _start(rows: Table) -> Table:
    return rows[rows[:, 0] <= rows[0, 0] + _START_S]


def _end(rows: Table) -> Table:
    return rows[rows[:, 0] >= rows[-1, 0] - _END_S]
