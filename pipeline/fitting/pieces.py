"""Pieces of tracks that show one person for certain.

A tracker may go over from one person to another where it has lost sight of one, where two boxes coincide, and where the
detector is not sure; and the longer a track, the likelier that is. So tracks are cut there, and pieces of one track
are not said to be one person.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.boxes import box_iou
from pipeline.types import TrackKey, Tracklet

LONGEST_PIECE_S = 30.0  # most people cross a picture in less; who stays longer gives several pieces
MOST_UNSEEN_S = 1.0  # half of tracker.lost_s: what comes back after this may be somebody else
COINCIDE_IOU = 0.5  # of two people's boxes: from here on either box fits either track (association takes 0.2)
WEAK_S = 0.5  # so long only weak boxes: the track may have gone on with something else

Places = npt.NDArray[np.int64]


def cut_tracks(tracklets: Sequence[Tracklet], high_confidence: float) -> list[Tracklet]:
    """The tracks in pieces, in order; a piece of a track that was cut has an epoch of its own, so keys stay unique.

    Args:
        high_confidence: `tracker.high_confidence`; boxes below are weak.
    """
    nearest = _nearest_other(tracklets)
    return [
        piece
        for track, near in zip(tracklets, nearest, strict=True)
        for piece in _pieces(track, _cuts(track, near, high_confidence))
    ]


def origin_of(piece: TrackKey) -> TrackKey:
    """The track that a piece was cut from."""
    return piece._replace(epoch=piece.epoch.partition(_MARK)[0])


_MARK = "/piece "  # epochs of the pipeline have no slash


def _pieces(track: Tracklet, cuts: Places) -> list[Tracklet]:
    """One piece before the first cut, one from each cut on; a cut is the place of a box."""
    if not len(cuts):
        return [track]
    pieces = []
    for number, rows in enumerate(np.split(np.arange(len(track.captured_at_s)), cuts), start=1):
        key = track.key._replace(epoch=f"{track.key.epoch}{_MARK}{number}")
        pieces.append(
            replace(
                track,
                key=key,
                frame_index=track.frame_index[rows],
                captured_at_s=track.captured_at_s[rows],
                xyxy=track.xyxy[rows],
                confidence=track.confidence[rows],
            )
        )
    return pieces


def _cuts(track: Tracklet, near: npt.NDArray[np.float64], high_confidence: float) -> Places:
    """Places of boxes, each within the track, rising."""
    cuts = {*_after_gaps(track), *_in_meetings(near), *_in_weak_stretches(track, high_confidence)}
    sure = sorted(cuts - {0, len(track.captured_at_s)})
    return np.array(sorted({*sure, *_by_length(track, sure)}), np.int64)


def _after_gaps(track: Tracklet) -> list[int]:
    """The first box that was seen after a time without one."""
    (seen,) = np.nonzero(track.confidence > 0)
    gaps = np.diff(track.captured_at_s[seen]) > MOST_UNSEEN_S
    return [int(place) for place in seen[1:][gaps]]


def _in_meetings(near: npt.NDArray[np.float64]) -> list[int]:
    """Where two boxes are nearest, of each stretch in which they coincide."""
    runs = _runs(near >= COINCIDE_IOU)
    return [int(run[near[run].argmax()]) for run in runs]


def _in_weak_stretches(track: Tracklet, high_confidence: float) -> list[int]:
    """The middle of each."""
    runs = _runs((track.confidence > 0) & (track.confidence < high_confidence))
    return [
        int(run[len(run) // 2]) for run in runs if track.captured_at_s[run[-1]] - track.captured_at_s[run[0]] >= WEAK_S
    ]


def _by_length(track: Tracklet, cuts: Sequence[int]) -> list[int]:
    """Where what lies between the cuts is too long: in equal parts."""
    times = track.captured_at_s
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(times)], strict=True):
        seconds = float(times[stop - 1] - times[start])
        parts = int(np.ceil(seconds / LONGEST_PIECE_S))
        edges = times[start] + seconds * np.arange(1, parts) / max(parts, 1)
        found += [int(start + np.searchsorted(times[start:stop], edge)) for edge in edges.tolist()]
    return found


def _runs(where: npt.NDArray[np.bool_]) -> list[Places]:
    """Each stretch of True, as its places."""
    (places,) = np.nonzero(where)
    return [run for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]


def _nearest_other(tracklets: Sequence[Tracklet]) -> list[npt.NDArray[np.float64]]:
    """For every box of every track, the largest IoU with a box of another track in its frame; 0 without one."""
    nearest = [np.zeros(len(track.captured_at_s)) for track in tracklets]
    streams: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, track in enumerate(tracklets):
        streams[track.camera_id, track.epoch].append(i)
    for own in streams.values():
        track_of = np.concatenate([np.full(len(tracklets[i].frame_index), i) for i in own])
        row_of = np.concatenate([np.arange(len(tracklets[i].frame_index)) for i in own])
        frames = np.concatenate([tracklets[i].frame_index for i in own])
        order = np.argsort(frames, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(frames[order])) + 1):  # the rows of one frame
            if len(rows) < 2:
                continue
            boxes = np.stack([tracklets[track_of[r]].xyxy[row_of[r]] for r in rows.tolist()])
            overlap = box_iou(boxes, boxes)
            np.fill_diagonal(overlap, 0)
            for r, value in zip(rows.tolist(), overlap.max(axis=1).tolist(), strict=True):
                nearest[track_of[r]][row_of[r]] = value
    return nearest
