"""Tracks that a detector and a tracker would make of people who were never rendered.

What is modelled, with figures measured on rendered sites (docs/scenes.md): how often somebody is found who is partly
hidden, how boxes shake, tracks that break when somebody is lost for too long, and tracks that change over to the other
person where two cross.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.scenes.silhouettes import Sighting
from pipeline.types import FloatArray, IntArray

# Share of boxes that YOLO11n (int8) finds with a confidence of at least 0.5, by visible share, on a rendered site.
_VISIBLE = (0.0, 0.25, 0.35, 0.45, 0.55, 0.7, 0.9, 1.0)
_FOUND = (0.0, 0.23, 0.45, 0.54, 0.62, 0.75, 0.97, 0.98)
_KEEPS_S = 0.6  # s for which somebody who is missed stays missed: what hides them moves at walking speed
_SHAKE = (0.005, 0.004, 0.006)  # standard deviation of middle, lower edge and height, shares of the height
_NEAR_CROSSING = 0.35  # visible share below which a tracker may mistake one for the other
_CHANGES_OVER = (
    0.35  # of those times, so that one track in 20 is of two people; on rendered sites it is one in 15 to 30
)
_CONFIDENCE = 0.85


@dataclass(frozen=True, eq=False, slots=True)
class UnseenTrack:
    """One track, (N,) frames without gaps.

    Attributes:
        person_ids: (N,) whom the box is on. progress, visibility: (N,) as of that person's `Sighting`.
        found: (N,) whether the detector saw the box; else it was filled in by the tracker.
        left_picture: the last box touched the picture's edge.
    """

    frames: IntArray
    xyxy: FloatArray
    person_ids: IntArray
    progress: FloatArray
    visibility: FloatArray
    found: npt.NDArray[np.bool_]
    left_picture: bool

    @property
    def confidence(self) -> FloatArray:
        """(N,) 0 for boxes that were filled in."""
        return np.where(self.found, _CONFIDENCE, 0).astype(np.float32)


def make_tracks(
    seen: Sequence[Sighting], fps: float, lost_s: float, picture_px: tuple[int, int], rng: np.random.Generator
) -> list[UnseenTrack]:
    """The tracks of one camera, by first frame.

    Args:
        seen: of that camera. lost_s: a track unseen for longer has ended.
    """
    whole = [track for sighting in seen for track in _pieces(sighting, fps, lost_s, picture_px, rng)]
    for i, j, frame in _crossings(whole):
        if rng.random() < _CHANGES_OVER:
            whole[i], whole[j] = _changed_over(whole[i], whole[j], frame)
    return sorted(whole, key=lambda track: (int(track.frames[0]), int(track.person_ids[0])))


def _pieces(
    sighting: Sighting, fps: float, lost_s: float, picture_px: tuple[int, int], rng: np.random.Generator
) -> list[UnseenTrack]:
    """What is left of one person's sighting: the tracks between the gaps that are too long."""
    count = len(sighting.frames)
    block = max(round(_KEEPS_S * fps), 1)
    luck = np.repeat(rng.random(-(-count // block)), block)[:count]
    found = np.interp(sighting.visibility, _VISIBLE, _FOUND) > luck
    places = np.flatnonzero(found)
    if len(places) < 2:
        return []
    cuts = np.flatnonzero(np.diff(places) > lost_s * fps) + 1
    boxes = _shaken(sighting.xyxy, picture_px, rng)
    return [
        _piece(sighting, boxes, found, slice(int(own[0]), int(own[-1]) + 1), picture_px)
        for own in np.split(places, cuts)
        if len(own) > 1
    ]


def _piece(
    sighting: Sighting, boxes: FloatArray, found: npt.NDArray[np.bool_], part: slice, picture_px: tuple[int, int]
) -> UnseenTrack:
    frames, seen = sighting.frames[part], found[part]
    filled = [np.interp(frames, frames[seen], side) for side in boxes[part][seen].T]
    last = boxes[part][-1]
    return UnseenTrack(
        frames,
        np.stack(filled, axis=1).astype(np.float32),
        np.full(len(frames), sighting.person_id, np.int64),
        sighting.progress[part],
        sighting.visibility[part],
        seen,
        bool(last[0] <= _EDGE_PX or last[2] >= picture_px[0] - _EDGE_PX),
    )


_EDGE_PX = 12.0  # within a frame's walk (at 5 frames per second) of the edge: the way leads out


def _shaken(xyxy: FloatArray, picture_px: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    height = xyxy[:, 3] - xyxy[:, 1]
    middle, foot, taller = (rng.normal(0, share, len(xyxy)) * height for share in _SHAKE)
    moved = xyxy + np.stack([middle, foot - taller, middle, foot], axis=1)
    return np.clip(moved, 0, [*picture_px, *picture_px]).astype(np.float32)


def _crossings(tracks: Sequence[UnseenTrack]) -> list[tuple[int, int, int]]:
    """(track, track, frame) of every time that one was nearly hidden while the other was next to it."""
    found = []
    for i, track in enumerate(tracks):
        hidden = np.flatnonzero(track.visibility < _NEAR_CROSSING)
        inside = hidden[(hidden > 0) & (hidden < len(track.frames) - 1)]
        if not len(inside):
            continue
        frame = int(track.frames[inside[np.argmin(track.visibility[inside])]])
        j = _nearest(tracks, i, frame)
        if j is not None:
            found.append((i, j, frame))
    return found


def _nearest(tracks: Sequence[UnseenTrack], i: int, frame: int) -> int | None:
    """The track whose box overlaps most with track i's in a frame; None when none does."""
    own = _box_at(tracks[i], frame)
    best, shared = None, 0.0
    for j, other in enumerate(tracks):
        if j != i and other.frames[0] < frame < other.frames[-1] and other.person_ids[0] != tracks[i].person_ids[0]:
            box = _box_at(other, frame)
            sides = np.maximum(np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2]), 0)
            if float(sides.prod()) > shared:
                best, shared = j, float(sides.prod())
    return best


def _box_at(track: UnseenTrack, frame: int) -> FloatArray:
    return track.xyxy[frame - int(track.frames[0])]


def _changed_over(a: UnseenTrack, b: UnseenTrack, frame: int) -> tuple[UnseenTrack, UnseenTrack]:
    """The two tracks, each going on as the other one from a frame on."""
    cut_a, cut_b = frame - int(a.frames[0]), frame - int(b.frames[0])
    if not (0 < cut_a < len(a.frames) and 0 < cut_b < len(b.frames)):
        return a, b
    return _joined(a, cut_a, b, cut_b), _joined(b, cut_b, a, cut_a)


def _joined(before: UnseenTrack, cut: int, after: UnseenTrack, start: int) -> UnseenTrack:
    names = ("frames", "xyxy", "person_ids", "progress", "visibility", "found")
    both = {name: np.concatenate([getattr(before, name)[:cut], getattr(after, name)[start:]]) for name in names}
    return UnseenTrack(**both, left_picture=after.left_picture)
