"""Notices that the person in a track has changed: boxes alone cannot tell two people who cross.

Every three good crops of a track make a look, which is compared with the track's earlier ones. The person has changed

- when the look is much nearer to that of a track close by (at most `TAKEN_OVER` of the distance to its own) and further
  from its own than looks of one person are here: the two exchanged people, or one took over the other's, and both end;
- when it is as far from its own as two people here are from each other.

The look before the newest is not compared with: it may hold crops of both people. The moment of the change is between
the two crops that part the crops before from those after best; there, where the boxes overlapped most, or before the
gap, or in the middle.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipeline.boxes import box_iou
from pipeline.ports import ClipHead
from pipeline.tracking.looks import KnownDistances, Limits, Look, distances, look_of, nearest
from pipeline.types import CropFeature, FloatArray, Tracks

CROPS_PER_LOOK = 3  # 2: many more wrong cuts; 4: fewer right ones; docs/tracking.md has these figures
MOST_LOOKS = 12  # of a track, the newest; 20 measured alike
TAKEN_OVER = 0.5  # .6: one more wrong cut and no more right ones
MOST_OVERLAP, MOST_TRUNCATION, LEAST_SCORE = 0.3, 0.35, 0.1  # of a good crop (`CropQuality`); an overlap of .5 alike
OVERLAPPED_IOU = 0.1  # from here on the association may exchange two boxes
NEAR = 1.5  # boxes as many times their size touch: a walker is there within a few frames
OCCASION_SLACK_S = 0.3  # between a person's last good crop and the overlap; one crop comes each quarter of a second
REMEMBERED_S = 10.0  # looks of tracks that ended: lost ones live 2 s, and who is hidden comes back within this
HELD_S = 3.0  # crops wait at most so long for a judgement
_MOST_OCCASIONS = 256  # frames that are kept of a track: 10 s at 25 frames a second


@dataclass(frozen=True, slots=True)
class Switch:
    """From `after_s` on, not included, the track shows somebody else."""

    track_id: int
    after_s: float


@dataclass(frozen=True, slots=True)
class _Occasion:
    """A frame in which another box overlapped, or (weight above 1) the last one before a gap."""

    at_s: float
    weight: float


@dataclass(slots=True)
class _Watched:
    """What is known of one track; `near_s`: when each other track was close by last."""

    first_s: float
    last_s: float
    last_frame: int
    looks: list[Look] = field(default_factory=list)
    crops: list[CropFeature] = field(default_factory=list)  # of the look to come
    occasions: deque[_Occasion] = field(default_factory=lambda: deque(maxlen=_MOST_OCCASIONS))
    near_s: dict[int, float] = field(default_factory=dict)

    def occasions_between(self, start_s: float, end_s: float) -> list[_Occasion]:
        return [o for o in self.occasions if start_s <= o.at_s < end_s]


class SwitchWatch:
    """Watches the tracks of one camera and one epoch.

    The order of calls for a frame: `see`, then `accept` each crop that was encoded and `split` what it says.

    Args:
        head: makes looks comparable.
        known: what distances mean in this camera; is added to, and outlives an epoch.
    """

    def __init__(self, head: ClipHead, known: KnownDistances | None = None) -> None:
        self._head = head
        self._known = known or KnownDistances()
        self._tracks: dict[int, _Watched] = {}
        self._frame = 0
        self._now_s = 0.0

    def see(self, now_s: float, tracks: Tracks) -> None:
        """The boxes of a frame on which persons were detected, in order of time."""
        self._frame += 1
        self._now_s = now_s
        self._tracks = {i: track for i, track in self._tracks.items() if track.last_s >= now_s - REMEMBERED_S}
        ids = tracks.ids.tolist()
        for track_id in ids:
            self._seen(track_id)
        overlap = _others(tracks.xyxy)
        for row in np.flatnonzero((overlap >= OVERLAPPED_IOU).any(axis=1)).tolist():
            self._tracks[ids[row]].occasions.append(_Occasion(now_s, float(overlap[row].max())))
        for row, column in np.argwhere(_others(_grown(tracks.xyxy)) > 0).tolist():
            self._tracks[ids[row]].near_s[ids[column]] = now_s

    def accept(self, track_id: int, crop: CropFeature) -> list[Switch]:
        """Take an encoded crop, its quality filled in; the tracks whose person it shows to have changed."""
        track = self._tracks.get(track_id)
        if track is None:
            return []
        track.near_s = {i: at_s for i, at_s in track.near_s.items() if at_s >= self._now_s - REMEMBERED_S}
        if not _is_good(crop):
            return []
        if len(track.crops) == 1 and track.occasions_between(track.crops[0].captured_at_s, crop.captured_at_s):
            track.crops = []  # one crop from before: perhaps of somebody else
        track.crops.append(crop)
        if len(track.crops) < CROPS_PER_LOOK:
            return []
        look, track.crops = look_of(track.crops, self._head), []
        switches = self._judge(track_id, track, look)
        _add_look(track, look)
        return switches

    def settled_until_s(self, track_id: int) -> float:
        """Crops and boxes of a track up to here show the person it is taken for; inf when nothing speaks against later.

        After an overlap or a gap it takes a look to know, or `HELD_S`.
        """
        track = self._tracks.get(track_id)
        if track is None or not track.looks:
            return float("inf")
        waiting = track.occasions_between(track.looks[-1].end_s, float("inf"))
        return waiting[0].at_s if waiting and self._now_s <= waiting[0].at_s + HELD_S else float("inf")

    def doubtful(self) -> list[int]:
        """The tracks seen in this frame of which crops are wanted: those free again after an overlap or a gap, and one
        undisturbed track as long as too little is known of how much a person differs from himself."""
        now = {i: t for i, t in self._tracks.items() if t.last_frame == self._frame and not self._is_overlapped(t)}
        if self._known.needs_same:
            return list(now)
        return [i for i, t in now.items() if t.looks and t.occasions_between(t.looks[-1].end_s, float("inf"))]

    def _is_overlapped(self, track: _Watched) -> bool:
        return bool(track.occasions) and track.occasions[-1].at_s == self._now_s

    def split(self, switch: Switch, new_id: int) -> None:
        """The track went on as another one: what came after the switch is that one's."""
        old, after_s = self._tracks[switch.track_id], switch.after_s
        new = _Watched(np.nextafter(after_s, np.inf), old.last_s, old.last_frame)  # near nobody who was cut with it
        for look in old.looks:
            rest = [crop for crop in look.crops if crop.captured_at_s > after_s]
            if look.start_s > after_s:
                new.looks.append(look)
            elif len(rest) > 1:
                new.looks.append(look_of(rest, self._head))
        new.crops = [crop for crop in old.crops if crop.captured_at_s > after_s]
        new.occasions.extend(o for o in old.occasions if o.at_s > after_s)
        old.looks = [look for look in old.looks if look.end_s <= after_s]
        old.crops, old.last_s = [], min(old.last_s, after_s)
        self._tracks[new_id] = new

    def _seen(self, track_id: int) -> None:
        track = self._tracks.get(track_id)
        if track is None:
            self._tracks[track_id] = _Watched(self._now_s, self._now_s, self._frame)
            return
        if track.last_frame < self._frame - 1:
            track.occasions.append(_Occasion(track.last_s, 1.0 + self._now_s - track.last_s))
        track.last_s, track.last_frame = self._now_s, self._frame

    def _judge(self, track_id: int, track: _Watched, look: Look) -> list[Switch]:
        """Compare a look with the track's earlier ones; learns from it when nothing has changed."""
        own = track.looks[:-1] or track.looks
        if not own:
            self._learn_different(track_id, look)
            return []
        limits, distance = self._known.limits(), nearest(look, own)
        occasion = bool(track.occasions_between(own[-1].end_s - OCCASION_SLACK_S, look.end_s))
        partner, to_partner = self._partner(track, look, own[-1].end_s - OCCASION_SLACK_S)
        taken_over = to_partner <= TAKEN_OVER * distance and distance > limits.ordinary
        if not taken_over and distance < (limits.stranger if occasion else limits.clear_stranger):
            self._learn_different(track_id, look)
            if not occasion:
                self._known.add_same(distance)
            return []
        after_s = self._moment(track, own, look)
        switches = [Switch(track_id, after_s)]
        if taken_over and self._lost_its_person(self._tracks[partner], after_s, limits):
            switches.append(Switch(partner, after_s))
        return switches

    def _learn_different(self, track_id: int, look: Look) -> None:
        for other_id, other in self._tracks.items():
            if other_id != track_id and other.looks and other.last_s >= self._now_s - OCCASION_SLACK_S:
                self._known.add_different(nearest(look, other.looks))

    def _partner(self, track: _Watched, look: Look, since_s: float) -> tuple[int, float]:
        """The track close by since then that looked most like this before, and its distance; (0, inf) without any."""
        found = (0, float("inf"))
        for other_id, other in self._tracks.items():
            if track.near_s.get(other_id, -np.inf) >= since_s:
                distance = nearest(look, [one for one in other.looks if one.end_s <= look.start_s])
                found = (other_id, distance) if distance < found[1] else found
        return found

    @staticmethod
    def _lost_its_person(partner: _Watched, after_s: float, limits: Limits) -> bool:
        """Whether the partner was there before and after, and does not look after as it did before."""
        before = [look for look in partner.looks if look.end_s <= after_s]
        after = [look for look in partner.looks if look.start_s > after_s]
        if not partner.first_s < after_s < partner.last_s:
            return False
        return not (before and after and nearest(after[-1], before) <= limits.ordinary)

    def _moment(self, track: _Watched, own: list[Look], look: Look) -> float:
        """When the person changed."""
        crops = [*track.looks[-1].crops, *look.crops]
        single = [look_of([crop], self._head) for crop in crops]
        before = [one for one in own if one is not track.looks[-1]] or own
        to_before, to_after = distances(single, before).min(axis=1), distances(single, [look])[:, 0]
        gain = np.cumsum(to_after - to_before)[:-1]  # of each place to part them, but for a constant
        start_s, end_s = list(pairwise(crop.captured_at_s for crop in crops))[int(gain.argmax())]
        there = track.occasions_between(start_s, end_s)
        return max(there, key=lambda o: o.weight).at_s if there else (start_s + end_s) / 2


def _is_good(crop: CropFeature) -> bool:
    quality = crop.quality
    whole = quality.overlap <= MOST_OVERLAP and quality.truncation <= MOST_TRUNCATION
    return whole and quality.score >= LEAST_SCORE


def _add_look(track: _Watched, look: Look) -> None:
    """Of earlier looks than the last only what is compared stays."""
    older = [Look(one.start_s, one.end_s, (), one.vector, one.seen) for one in track.looks[:-1]]
    track.looks = [*older, *track.looks[-1:], look][-MOST_LOOKS:]


def _others(xyxy: FloatArray) -> FloatArray:
    """(N, N) IoU of boxes (N, 4), 0 with themselves."""
    iou = box_iou(xyxy, xyxy)
    np.fill_diagonal(iou, 0)
    return iou


def _grown(xyxy: FloatArray) -> FloatArray:
    """Boxes (N, 4) `NEAR` times as wide and high around the same centres."""
    centre, half = (xyxy[:, :2] + xyxy[:, 2:]) / 2, (xyxy[:, 2:] - xyxy[:, :2]) * (NEAR / 2)
    return np.concatenate([centre - half, centre + half], axis=1)
