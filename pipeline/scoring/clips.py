"""Clips of tracks with the people they show: retrieval figures, and how far apart same and different people are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.boxes import box_iou, xywh_to_xyxy
from pipeline.retrieval import ApDefinition, cmc_and_average_precision, cosine_distance
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth
from pipeline.scoring.roles import Role
from pipeline.types import ClipFeature, FloatArray, IntArray, TimeArray, TrackKey, Tracklet

_LEAST_IOU = 0.5  # of a track's box with a person's (identity metrics use the same)
_LEAST_SHARE = 0.5  # of a clip's annotated frames that must lie on its person; the others lie on nobody
_NEAR_S = 0.5  # a clip between two annotated frames is judged by the nearest one of its track
_TIME_SLACK_S = 1e-4  # frame times are rounded
_USUAL_FPS = 25.0  # of footage that does not say
_RANKS = (1, 5, 10, 20)
_MOST_PER_VISIT = 10  # clips of one visit that count: neighbours are too alike to say more
_MOST_CLIPS = 4000  # that enter pairs: 8 million pairs
_MOST_QUERIES = 2000  # that enter retrieval: 4 million places in rankings, each with several figures
_BIN = 0.02  # width of a histogram's bins, cosine distance


@dataclass(frozen=True, eq=False, slots=True)
class LabelledClip:
    """A clip and the person it shows.

    Attributes:
        visit: number of the person's stay in that camera, from 1.
    """

    clip: ClipFeature
    person_id: int
    visit: int

    @property
    def camera_id(self) -> str:
        return self.clip.camera_id

    @property
    def key(self) -> TrackKey:
        return self.clip.key

    @property
    def embedding(self) -> FloatArray:
        return self.clip.embedding

    @property
    def view(self) -> tuple[str, int]:
        """The stay it belongs to, of its person."""
        return self.camera_id, self.visit


@dataclass(frozen=True, eq=False, slots=True)
class PairDistances:
    """Cosine distances, (N,) float32 each, of pairs that are one person and of pairs that are two."""

    same: FloatArray
    different: FloatArray


def label_clips(
    clips: Sequence[ClipFeature], tracklets: Sequence[Tracklet], truth: GroundTruth, *, absence_s: float
) -> tuple[list[LabelledClip], int]:
    """Give every clip the person on whose boxes its track lies (IoU of at least 0.5) during the clip.

    Frame n of the ground truth is `Frame.index` n - 1. Between two boxes of a track (`detect_every_s`) its way is taken
    to be straight. A clip of an unannotated moment is judged by the nearest annotated frame of its track, at most 0.5 s
    away.

    Args:
        absence_s: without visits.csv, a gap this long in a person's rows of one camera begins a new visit.

    Returns:
        The clips that show exactly one person, in the order given; and how many do not: two people or nobody, a track
        without a tracklet, a camera without ground truth.
    """
    people = _PeopleOfTracks(tracklets, truth, absence_s)
    found = [people.label(clip) for clip in clips]
    labelled = [clip for clip in found if clip is not None]
    return labelled, len(clips) - len(labelled)


@dataclass(frozen=True, eq=False, slots=True)
class _Judged:
    """Annotated frames of one track: frame numbers from 1, times, whether somebody is under the box, and whom; (F,)."""

    frames: IntArray
    at_s: TimeArray
    on_somebody: npt.NDArray[np.bool_]
    people: IntArray

    def during(self, start_s: float, end_s: float) -> IntArray:
        """Places of the frames of a clip; else of the one frame that is near it."""
        within = np.flatnonzero((self.at_s >= start_s - _TIME_SLACK_S) & (self.at_s <= end_s + _TIME_SLACK_S))
        if len(within) or not len(self.at_s):
            return within
        away_s = np.maximum(start_s - self.at_s, self.at_s - end_s)
        nearest = int(away_s.argmin())
        return np.array([nearest] if away_s[nearest] <= _NEAR_S else [], np.int64)


class _PeopleOfTracks:
    """Who is under the boxes of each track, worked out once per track."""

    def __init__(self, tracklets: Sequence[Tracklet], truth: GroundTruth, absence_s: float) -> None:
        self._tracklets = {t.key: t for t in tracklets}
        self._truth = truth
        self._judged: dict[TrackKey, _Judged] = {}
        self._people_in = {c: _people_by_frame(camera) for c, camera in truth.cameras.items()}
        self._visits = _Visits(truth, seconds_per_frame(tracklets, truth), absence_s)

    def label(self, clip: ClipFeature) -> LabelledClip | None:
        tracklet = self._tracklets.get(clip.key)
        if tracklet is None or clip.camera_id not in self._truth.cameras:
            return None
        if clip.key not in self._judged:
            self._judged[clip.key] = self._judge(tracklet)
        judged = self._judged[clip.key]
        within = judged.during(clip.start_s, clip.end_s)
        on_somebody = within[judged.on_somebody[within]]
        people = np.unique(judged.people[on_somebody])
        if len(people) != 1 or len(on_somebody) < _LEAST_SHARE * len(within):
            return None
        person = int(people[0])
        frame = int(judged.frames[on_somebody[len(on_somebody) // 2]])
        visit = self._visits.number(clip.camera_id, person, frame)
        return LabelledClip(clip, person, visit)

    def _judge(self, tracklet: Tracklet) -> _Judged:
        annotated = self._truth.cameras[tracklet.camera_id].annotated
        own = tracklet.frame_index + 1
        frames = own if annotated is None else annotated[(annotated >= own[0]) & (annotated <= own[-1])]
        boxes = np.stack([np.interp(frames, own, side) for side in tracklet.xyxy.T], axis=1).astype(np.float32)
        people_in = self._people_in[tracklet.camera_id]
        people, on_somebody = np.zeros(len(frames), np.int64), np.zeros(len(frames), bool)
        for i, frame in enumerate(frames.tolist()):  # each frame has people of its own
            if (here := people_in.get(frame)) is None:
                continue
            iou = box_iou(boxes[i : i + 1], here[1])[0]
            best = int(iou.argmax())
            on_somebody[i], people[i] = iou[best] >= _LEAST_IOU, here[0][best]
        return _Judged(frames, np.interp(frames, own, tracklet.captured_at_s), on_somebody, people)


def _people_by_frame(camera: CameraTruth) -> dict[int, tuple[IntArray, FloatArray]]:
    """Frame -> ids and boxes of the people in it."""
    places = np.flatnonzero(camera.roles == Role.PERSON)
    places = places[np.argsort(camera.rows.frames[places], kind="stable")]
    frames = camera.rows.frames[places]
    numbers, starts = np.unique(frames, return_index=True)
    boxes = xywh_to_xyxy(camera.rows.xywh.astype(np.float32))
    groups = np.split(places, starts[1:]) if len(places) else []
    return {int(n): (camera.rows.ids[g], boxes[g]) for n, g in zip(numbers, groups, strict=True)}


def seconds_per_frame(tracklets: Sequence[Tracklet], truth: GroundTruth) -> dict[str, float]:
    """The time between two frames of each camera of the ground truth: as the tracks show it, else as it is stated."""
    steps = {}
    for camera_id, camera in truth.cameras.items():
        own = [t for t in tracklets if t.camera_id == camera_id]
        first = min(((int(t.frame_index[0]), float(t.captured_at_s[0])) for t in own), default=(0, 0.0))
        last = max(((int(t.frame_index[-1]), float(t.captured_at_s[-1])) for t in own), default=(0, 0.0))
        frames, seconds = last[0] - first[0], last[1] - first[1]
        steps[camera_id] = seconds / frames if frames > 0 and seconds > 0 else 1 / (camera.fps or _USUAL_FPS)
    return steps


class _Visits:
    """Which stay of a person in a camera a frame belongs to."""

    def __init__(self, truth: GroundTruth, step_s: dict[str, float], absence_s: float) -> None:
        self._truth = truth
        self._step_s = step_s
        self._absence_s = absence_s
        self._spans: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        for visit in truth.visits or ():
            span = (visit.entry_frame, visit.exit_frame, visit.visit)
            self._spans.setdefault((visit.camera_id, visit.person_id), []).append(span)

    def number(self, camera_id: str, person_id: int, frame: int) -> int:
        """The visit that the frame lies in, or nearest to."""
        key = (camera_id, person_id)
        if key not in self._spans:
            self._spans[key] = self._by_gaps(camera_id, person_id)
        return min(self._spans[key], key=lambda s: (max(s[0] - frame, frame - s[1], 0), s[2]))[2]

    def _by_gaps(self, camera_id: str, person_id: int) -> list[tuple[int, int, int]]:
        camera = self._truth.cameras[camera_id]
        frames = np.unique(camera.rows.frames[(camera.roles == Role.PERSON) & (camera.rows.ids == person_id)])
        cuts = np.flatnonzero(np.diff(frames) * self._step_s[camera_id] >= self._absence_s) + 1
        return [(int(s[0]), int(s[-1]), n) for n, s in enumerate(np.split(frames, cuts), start=1)]


# -- retrieval --------------------------------------------------------------------------------------------------------


def retrieval_figures(labelled: Sequence[LabelledClip]) -> dict[str, dict[str, float | int | None]]:
    """Clip retrieval, every clip as a query against all others, by the protocol of Market-1501 and MARS.

    `cross_camera`: clips of the query's person in its camera are junk. `other_visit`: only those of the same visit are,
    so that a site of one camera has a figure too. Queries without a match are not counted in `queries`, and without any
    valid query every figure is None. `mAP` is the rectangle definition, `mAP_trapezoid` that of the official programs.
    At most 10 clips of a visit take part, evenly spread, and at most 2000 in all.
    """
    labelled = _spread_over_visits(labelled, _MOST_QUERIES)
    cameras = [clip.camera_id for clip in labelled]
    visits = [f"{clip.camera_id}/{clip.visit}" for clip in labelled]
    distance = _all_distances(labelled)
    return {
        "cross_camera": _retrieval(labelled, distance, cameras),
        "other_visit": _retrieval(labelled, distance, visits),
    }


def _retrieval(
    labelled: Sequence[LabelledClip], distance: FloatArray, views: Sequence[str]
) -> dict[str, float | int | None]:
    names = {name: i for i, name in enumerate(sorted(set(views)))}
    ids = np.array([clip.person_id for clip in labelled], np.int64)
    places = np.array([names[view] for view in views], np.int64)
    definitions: tuple[ApDefinition, ApDefinition] = ("rectangle", "trapezoid")
    rectangle, trapezoid = (
        cmc_and_average_precision(distance, (ids, places), (ids, places), definition, ranks=max(_RANKS))
        for definition in definitions
    )
    figures: dict[str, float | int | None] = {f"rank{r}": _number(rectangle.cmc[r - 1]) for r in _RANKS}
    figures["mAP"] = _number(rectangle.mean_average_precision)
    figures["mAP_trapezoid"] = _number(trapezoid.mean_average_precision)
    return figures | {"queries": int(rectangle.valid.sum()), "gallery": len(labelled)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _all_distances(labelled: Sequence[LabelledClip]) -> FloatArray:
    if not labelled:
        return np.zeros((0, 0), np.float32)
    embeddings = np.stack([clip.embedding for clip in labelled])
    return cosine_distance(embeddings, embeddings)


# -- pairs ------------------------------------------------------------------------------------------------------------


def pair_distances(labelled: Sequence[LabelledClip]) -> PairDistances:
    """Distances of pairs of clips: of one person in two visits (or cameras), and of two people anywhere.

    At most 10 clips of a visit count, evenly spread, and at most 4000 in all.
    """
    chosen = _spread_over_visits(labelled, _MOST_CLIPS)
    distance = _all_distances(chosen)
    ids = np.array([clip.person_id for clip in chosen], np.int64)
    views = {view: i for i, view in enumerate(dict.fromkeys(clip.view for clip in chosen))}
    places = np.array([views[clip.view] for clip in chosen], np.int64)
    upper = np.triu(np.ones(distance.shape, bool), 1)
    one_person = ids[:, None] == ids
    same = distance[upper & one_person & (places[:, None] != places)]
    return PairDistances(same, distance[upper & ~one_person])


def _spread_over_visits(labelled: Sequence[LabelledClip], most: int) -> list[LabelledClip]:
    groups: dict[tuple[str, int, int], list[int]] = {}
    for i, clip in enumerate(labelled):
        groups.setdefault((clip.camera_id, clip.visit, clip.person_id), []).append(i)
    chosen = sorted(i for members in groups.values() for i in evenly_spread(members, _MOST_PER_VISIT))
    return [labelled[i] for i in evenly_spread(chosen, most)]


def evenly_spread(places: Sequence[int], most: int) -> list[int]:
    """At most `most` of the places, the first and the last among them."""
    if len(places) <= most:
        return list(places)
    return [places[i] for i in np.linspace(0, len(places) - 1, most).round().astype(int)]


def histogram(pairs: PairDistances, basis: str = "ground truth") -> dict[str, Any]:
    """Counts of same and different pairs over bins of 0.02: `edges` has one value more than `same` and `different`.

    The bins begin at 0 and end where the last pair lies; without any pair there is one empty bin.
    """
    everything = np.concatenate([pairs.same, pairs.different])
    bins = max(1, math.ceil(round(float(everything.max(initial=0.0)) / _BIN, 4)))
    edges = np.round(np.arange(bins + 1) * _BIN, 6)
    limits = np.append(edges[:-1], np.inf)  # a distance on the last edge belongs to the last bin
    same, different = (np.histogram(part, limits)[0].tolist() for part in (pairs.same, pairs.different))
    return {"edges": edges.tolist(), "same": same, "different": different, "basis": basis}
