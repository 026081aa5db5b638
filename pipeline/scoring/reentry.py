"""Re-entries: who truly came back, who was said to come back, and how soon it was said (DESIGN, "Ground truth")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.resolution import IdentityBook
from pipeline.scoring.appearances import TracedCamera, assign
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth, Role, TrueVisit
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes
from pipeline.types import IdentityEvent, IntArray, ReferenceFrame

NEAR_S = 1.0  # an event is right within this time of the true first frame (DESIGN)
SOON_S = 1.0 + 1e-6  # a person who is back is to be known, and pictured, within a second
_ROUNDING_S = 1e-6  # time stamps are written with microseconds


@dataclass(frozen=True, slots=True)
class TrueReturn:
    """A person comes back into a camera.

    Attributes:
        first_frame, last_frame: of the stay that begins. at_s: time of the first.
        is_sure: False ("likely", or sooner than `absence_s`): neither a miss nor a false alarm.
    """

    camera_id: str
    person_id: int
    first_frame: int
    last_frame: int
    at_s: float
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class SaidReturn:
    """An identity is said to be back: first visible, and when it was said. `identity_id`: as finally known."""

    camera_id: str
    identity_id: int
    at_s: float
    decided_at_s: float


@dataclass(frozen=True, slots=True)
class FoundReturn:
    """A true return that was said. `reference_latency_s`: None when no reference frame was taken for it."""

    true: TrueReturn
    said: SaidReturn
    latency_s: float
    reference_latency_s: float | None


@dataclass(frozen=True, slots=True)
class Reentries:
    """All returns of a site, judged. `found` and `missed` are sure ones; `likely` ones are only counted."""

    found: tuple[FoundReturn, ...] = ()
    missed: tuple[TrueReturn, ...] = ()
    false: tuple[SaidReturn, ...] = ()
    likely: int = 0
    likely_found: int = 0

    def figures(self) -> dict[str, Any]:
        """Counts, precision, recall and percentiles of the latencies; what is undefined is None.

        `told_within_1_s` and `pictured_within_1_s` are shares of all true returns: percentiles are of those that were
        found, and who finds only what is easy has low ones.
        """
        found, missed, false = len(self.found), len(self.missed), len(self.false)
        reference_s = [f.reference_latency_s for f in self.found if f.reference_latency_s is not None]
        return {
            "precision": _share(found, found + false),
            "recall": _share(found, found + missed),
            "true": found + missed,
            "found": found,
            "false": false,
            **_percentiles("latency_s", [f.latency_s for f in self.found]),
            **_percentiles("reference_latency_s", reference_s),
            "told_within_1_s": _share(sum(f.latency_s <= SOON_S for f in self.found), found + missed),
            "pictured_within_1_s": _share(sum(s <= SOON_S for s in reference_s), found + missed),
            "likely": {"true": self.likely, "found": self.likely_found},
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def unknown_figures() -> dict[str, Any]:
    """The figures where no times are known: all None."""
    return {**dict.fromkeys(Reentries().figures()), "likely": {"true": None, "found": None}}


def _percentiles(name: str, values: Sequence[float]) -> dict[str, float | None]:
    return {f"{name}_p{p}": float(np.percentile(values, p)) if len(values) else None for p in (50, 95)}


def true_returns(truth: GroundTruth, times: Mapping[str, FrameTimes], absence_s: float) -> list[TrueReturn]:
    """The re-entries of the ground truth in the cameras of `times`: from visits.csv, else from gaps."""
    if truth.visits is not None:
        short = set(short_absences(truth, times, absence_s))
        visits = (v for v in truth.visits if v.visit >= 2 and v.camera_id in times)
        return [_from_visit(v, times[v.camera_id], v.is_sure and v not in short) for v in visits]
    cameras = [camera for camera in truth.cameras if camera in times]
    return [r for camera in cameras for r in _from_gaps(camera, truth.cameras[camera], times[camera], absence_s)]


def _from_visit(visit: TrueVisit, times: FrameTimes, is_sure: bool) -> TrueReturn:
    first, last = visit.entry_frame, visit.exit_frame
    return TrueReturn(visit.camera_id, visit.person_id, first, last, times.second(first), is_sure)


def short_absences(truth: GroundTruth, times: Mapping[str, FrameTimes], absence_s: float) -> list[TrueVisit]:
    """The visits of visits.csv that begin sooner than `absence_s` after the person's last one.

    By the definition of a re-entry they are none; measured from other boxes they may be. They count as likely ones.
    """
    exits = {(v.camera_id, v.person_id, v.visit): v.exit_frame for v in truth.visits or ()}
    short = []
    for visit in truth.visits or ():
        left = exits.get((visit.camera_id, visit.person_id, visit.visit - 1))
        if left is None or visit.camera_id not in times:
            continue
        of_camera = times[visit.camera_id]
        if of_camera.second(visit.entry_frame) - of_camera.second(left) < absence_s - _ROUNDING_S:
            short.append(visit)
    return short


def _from_gaps(camera_id: str, truth: CameraTruth, times: FrameTimes, absence_s: float) -> Iterable[TrueReturn]:
    """Returns after gaps of at least `absence_s` in a person's rows, with an annotated frame without the person inside.

    Rows with `Role.DISTRACTOR` (unsure boxes) and rows in frames that are not listed as annotated count as presence; a
    stay that has no others is not sure.
    """
    rows, roles = truth.rows, truth.roles
    to_be_found = roles == Role.PERSON
    if truth.annotated is not None:
        to_be_found &= np.isin(rows.frames, truth.annotated)
    for person in np.unique(rows.ids[to_be_found]):
        mine = (rows.ids == person) & (roles != Role.OTHER)
        frames = np.unique(rows.frames[mine])
        sure = np.isin(frames, rows.frames[mine & to_be_found])
        away = np.diff(times.seconds(frames)) >= absence_s - _ROUNDING_S
        starts = np.flatnonzero(away & _looked_between(frames, truth.annotated)) + 1
        for first, end in pairwise([*starts.tolist(), len(frames)]):
            at_s = times.second(int(frames[first]))
            is_sure = bool(sure[first:end].any())
            yield TrueReturn(camera_id, int(person), int(frames[first]), int(frames[end - 1]), at_s, is_sure)


def _looked_between(frames: IntArray, annotated: IntArray | None) -> npt.NDArray[np.bool_]:
    """(F - 1,) whether an annotated frame lies between each frame and the next."""
    if annotated is None:
        return np.diff(frames) > 1
    after = np.searchsorted(annotated, frames[:-1], side="right")
    return np.asarray(np.searchsorted(annotated, frames[1:], side="left") > after)


def said_returns(events: Sequence[IdentityEvent], cameras: Iterable[str]) -> list[SaidReturn]:
    """The `reentered` events in these cameras, under the identity that the track finally has.

    One that was corrected counts from the correction: only then it was known who had come back.
    """
    book, known = IdentityBook(events), set(cameras)
    corrected_s = {
        (e.key, book.living(e.identity_id)): e.decided_at_s
        for e in events
        if e.kind in ("reassigned", "split") and e.key is not None
    }
    returns = []
    for e in events:
        if e.kind != "reentered" or e.key is None or e.key.camera_id not in known:
            continue
        final = book.final(e.key)
        was_right = book.living(e.identity_id) == final
        known_s = e.decided_at_s if was_right else corrected_s.get((e.key, final), e.decided_at_s)
        returns.append(SaidReturn(e.key.camera_id, final, e.at_s, known_s))
    return returns


def living_ids(events: Iterable[IdentityEvent]) -> dict[int, int]:
    """Merged identity → the one that lives on in the end."""
    into = {
        e.identity_id: e.other_identity_id for e in events if e.kind == "merged" and e.other_identity_id is not None
    }
    living = {}
    for start in into:
        seen, identity_id = {start}, into[start]
        while identity_id in into and identity_id not in seen:
            seen.add(identity_id)
            identity_id = into[identity_id]
        living[start] = identity_id
    return living


def returns_in_rows(camera_id: str, rows: Rows, times: FrameTimes, absence_s: float) -> list[SaidReturn]:
    """What anybody's rows say about returns: the first row of an id after a gap of at least `absence_s`."""
    order = np.lexsort((rows.frames, rows.ids))
    ids, at_s = rows.ids[order], times.seconds(rows.frames[order])
    back = np.flatnonzero((np.diff(ids) == 0) & (np.diff(at_s) >= absence_s - _ROUNDING_S)) + 1
    return [SaidReturn(camera_id, int(ids[i]), float(at_s[i]), float(at_s[i])) for i in back]


def judge_returns(
    true: Sequence[TrueReturn],
    said: Sequence[SaidReturn],
    traced: Mapping[str, TracedCamera],
    person_of: Mapping[str, Mapping[int, int]],
    references: Sequence[ReferenceFrame] = (),
    living: Mapping[int, int] | None = None,
) -> Reentries:
    """Match what was said with what is true, one to one: most sure ones first, then likely ones, then the nearest.

    A said return that matches nothing is false, unless it cannot be judged: no frame near it was annotated, or none of
    the identity's boxes near it is scored (people not to be found, ignore regions).

    Args:
        person_of: camera → identity → person, the mapping that the site's IDF1 uses.
        living: merged identity → the one that lives on, for the references' identities.
    """
    pairs = _matched(true, said, person_of)
    hit_true, hit_said = {n for n, _ in pairs}, {m for _, m in pairs}
    found = [
        _found(true[n], said[m], _taken_for(said[m], true[n], said, references, living or {}))
        for n, m in pairs
        if true[n].is_sure
    ]
    return Reentries(
        found=tuple(found),
        missed=tuple(t for n, t in enumerate(true) if t.is_sure and n not in hit_true),
        false=tuple(s for m, s in enumerate(said) if m not in hit_said and _can_be_judged(s, traced[s.camera_id])),
        likely=sum(not t.is_sure for t in true),
        likely_found=sum(not true[n].is_sure for n in hit_true),
    )


def _matched(
    true: Sequence[TrueReturn], said: Sequence[SaidReturn], person_of: Mapping[str, Mapping[int, int]]
) -> list[tuple[int, int]]:
    score = np.zeros((len(true), len(said)))
    likely_worth = 2.0 * (len(true) + 1)  # one more pair outweighs any nearness, which is worth at most 1 each
    sure_worth = likely_worth * (len(true) + 1)
    for n, t in enumerate(true):
        for m, s in enumerate(said):
            apart_s = abs(t.at_s - s.at_s)
            same = t.camera_id == s.camera_id and person_of.get(s.camera_id, {}).get(s.identity_id) == t.person_id
            if same and apart_s <= NEAR_S + _ROUNDING_S:
                score[n, m] = (sure_worth if t.is_sure else likely_worth) + NEAR_S - apart_s / 2
    rows, columns = assign(score)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _can_be_judged(said: SaidReturn, traced: TracedCamera) -> bool:
    annotated = np.array([frame.frame for frame in traced.camera.frames], np.int64)
    if not _near(said, annotated, traced.times).any():
        return False
    of_identity = np.flatnonzero(traced.rows.ids == said.identity_id)
    near = of_identity[_near(said, traced.rows.frames[of_identity], traced.times)]
    return len(near) == 0 or bool((traced.places[near] >= 0).any())


def _near(said: SaidReturn, frames: IntArray, times: FrameTimes) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = np.abs(times.seconds(frames) - said.at_s) <= NEAR_S + _ROUNDING_S
    return near


def _taken_for(
    said: SaidReturn,
    true: TrueReturn,
    all_said: Sequence[SaidReturn],
    references: Sequence[ReferenceFrame],
    living: Mapping[int, int],
) -> ReferenceFrame | None:
    """The first reference frame taken for this return: of this identity, from now on until it returns once more."""
    mine = (said.camera_id, said.identity_id)
    later = (s.at_s for s in all_said if (s.camera_id, s.identity_id) == mine and s.at_s > said.at_s)
    until_s = min(later, default=float("inf"))
    taken = [
        r
        for r in references
        if (r.camera_id, living.get(r.identity_id, r.identity_id)) == mine
        and r.reason == "reentered"
        and true.at_s - NEAR_S - _ROUNDING_S <= r.captured_at_s < until_s
    ]
    return min(taken, key=lambda r: r.captured_at_s, default=None)


def _found(true: TrueReturn, said: SaidReturn, reference: ReferenceFrame | None) -> FoundReturn:
    ready_s = None if reference is None else max(reference.captured_at_s, said.decided_at_s)
    return FoundReturn(
        true=true,
        said=said,
        latency_s=max(0.0, said.decided_at_s - true.at_s),
        reference_latency_s=None if ready_s is None else max(0.0, ready_s - true.at_s),
    )
