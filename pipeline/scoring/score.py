"""Scores a result against the ground truth: the dictionary of metrics.json, and the mistakes to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.scoring.alignment import ScoredCamera, align_camera, truth_after
from pipeline.scoring.appearances import Appearance, TracedCamera, trace_camera
from pipeline.scoring.ceiling import ceiling, ceiling_appearances
from pipeline.scoring.find_mistakes import find_mistakes
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.scoring.links import Links, find_links, joined
from pipeline.scoring.mistakes import Mistake
from pipeline.scoring.reentry import (
    Reentries,
    TrueReturn,
    judge_returns,
    living_ids,
    returns_in_rows,
    said_returns,
    short_absences,
    true_returns,
    unknown_figures,
)
from pipeline.scoring.rows import NOBODY, Float64Array, Rows
from pipeline.scoring.times import FrameTimes, site_times
from pipeline.scoring.tracking_metrics import identity_mapping, score_each, score_site
from pipeline.types import IdentityEvent, ReferenceFrame


@dataclass(frozen=True, eq=False, slots=True)
class SiteResults:
    """What is scored, camera → rows; everything but `final` may be absent.

    Attributes:
        final: with the identities as finally known.
        online: the same boxes with the identity known when the frame was published, `NOBODY` before.
        local: the same boxes under each camera's own track numbers.
        events: the identity log; None: returns are read from the gaps in `final`.
        references: the reference frames that were taken.
        times: camera → (F,) seconds, frame n at index n - 1. fps: where only the rate is known, frames/s.
        frame_counts: frames of the recordings; rows after them are not scored.
    """

    final: Mapping[str, Rows]
    online: Mapping[str, Rows] | None = None
    local: Mapping[str, Rows] | None = None
    events: Sequence[IdentityEvent] | None = None
    references: Sequence[ReferenceFrame] | None = None
    times: Mapping[str, Float64Array] = field(default_factory=dict)
    fps: Mapping[str, float] = field(default_factory=dict)
    frame_counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """The figures as plain values in a fixed order, fractions 0 to 1, undefined = None; and the worst mistakes."""

    metrics: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def score_results(truth: GroundTruth, results: SiteResults, *, absence_s: float, independent: bool = False) -> Score:
    """Score a site.

    Every camera of the ground truth is scored, one without results as all missed; results of other cameras are not.

    Args:
        absence_s: how long somebody must be away for a re-entry.
        independent: the sequences share no identities: there is no `cross_camera`, and links, re-entries and the
            ceiling are judged in each sequence by itself (`links` and `reentry` are their sums).
    """
    return _Scoring(truth, results, absence_s, independent).score()


class _Scoring:
    """One scoring: what its parts share."""

    def __init__(self, truth: GroundTruth, results: SiteResults, absence_s: float, independent: bool) -> None:
        self._truth = truth
        self._results = results
        self._absence_s = absence_s
        self._independent = independent
        fps = {camera: results.fps.get(camera) or of_truth.fps for camera, of_truth in truth.cameras.items()}
        self._times = site_times(list(truth.cameras), results.times, fps)
        self._warnings = [*truth.warnings, *(t.doubt for t in self._times.values() if t.doubt), *self._missing()]

    def score(self) -> Score:
        final = self._traced(self._results.final, None)
        links = self._links([one.appearances for one in final])
        reentries = self._reentries(final)
        metrics = {
            **self._tracking([one.camera for one in final], None),
            "online": self._online(),
            "links": links.figures(),
            "reentry": unknown_figures() if reentries is None else reentries.figures(),
            "ceiling": self._ceiling(final),
            "scored": {one.camera_id: _scored(one.camera) for one in final},
            "warnings": self._warnings,
        }
        return Score(metrics, find_mistakes(final, links, reentries))

    def _missing(self) -> list[str]:
        """Cameras that only one side has, or for which there is nothing."""
        final, online = self._results.final, self._results.online
        warnings = [f"{c}: no results: everybody there counts as missed" for c in self._truth.cameras if c not in final]
        warnings += [
            f"{c}: the results have no rows: everybody there counts as missed"
            for c in self._truth.cameras
            if c in final and not len(final[c])
        ]
        warnings += [f"{c}: no ground truth: not scored" for c in sorted(final) if c not in self._truth.cameras]
        for camera, count in self._results.frame_counts.items():
            late = truth_after(self._truth.cameras[camera], count) if camera in self._truth.cameras else 0
            if late:
                warnings.append(f"{camera}: {late} ground-truth rows after the last frame ({count}): left out")
        if online is not None:
            lost = [c for c in self._truth.cameras if c in final and c not in online]
            warnings += [f"{c}: no online rows: everybody there counts as missed online" for c in lost]
        return warnings

    def _traced(self, results: Mapping[str, Rows], nobody: int | None) -> list[TracedCamera]:
        local = self._results.local or {}
        traced = []
        for camera_id, truth in self._truth.cameras.items():
            rows = results.get(camera_id, Rows.empty())
            camera = align_camera(camera_id, truth, rows, self._results.frame_counts.get(camera_id))
            times = self._times[camera_id]
            traced.append(trace_camera(camera, rows, times, local=local.get(camera_id), nobody=nobody))
        return traced

    def _tracking(self, cameras: Sequence[ScoredCamera], nobody: int | None) -> dict[str, Any]:
        """per_camera, combined and cross_camera (None for sequences that share no identities)."""
        per_camera, combined = score_each(cameras, nobody)
        cross_camera = None if self._independent else score_site(cameras, nobody)
        return {"per_camera": per_camera, "combined": combined, "cross_camera": cross_camera}

    def _online(self) -> dict[str, Any] | None:
        if self._results.online is None:
            return None
        online = self._traced(self._results.online, NOBODY)
        links = self._links([one.appearances for one in online])
        return {**self._tracking([one.camera for one in online], NOBODY), "links": links.figures()}

    def _ceiling(self, final: Sequence[TracedCamera]) -> dict[str, Any]:
        links = self._links(ceiling_appearances(final))
        return {**self._tracking(ceiling(final), None), "links": links.figures()}

    def _links(self, appearances: Sequence[Sequence[Appearance]]) -> Links:
        if self._independent:
            return joined(find_links(of_camera) for of_camera in appearances)
        return find_links(a for of_camera in appearances for a in of_camera)

    def _reentries(self, final: Sequence[TracedCamera]) -> Reentries | None:
        """None where no times are known; cameras whose times are unknown are left out."""
        timed = [one for one in final if one.times.is_known]
        if not timed:
            return None
        times: dict[str, FrameTimes] = {one.camera_id: one.times for one in timed}
        short = short_absences(self._truth, times, self._absence_s)
        if short:
            self._warnings.append(
                f"visits.csv: {len(short)} returns less than absence_s ({self._absence_s:g} s) after the last visit: "
                "by definition no re-entries, counted as likely ones"
            )
        true = [r for r in true_returns(self._truth, times, self._absence_s) if self._is_recorded(r)]
        events = self._results.events
        if events is not None:
            said = said_returns(events, times)
        else:
            said = [r for one in timed for r in returns_in_rows(one.camera_id, one.rows, one.times, self._absence_s)]
        traced = {one.camera_id: one for one in timed}
        references = self._results.references or ()
        return judge_returns(true, said, traced, self._mapping(final), references, living_ids(events or ()))

    def _is_recorded(self, back: TrueReturn) -> bool:
        """Whether the return is not after the end of the recording, as far as that is known."""
        camera_id = back.camera_id
        last = self._results.frame_counts.get(camera_id, self._truth.cameras[camera_id].frame_count)
        return last is None or back.first_frame <= last

    def _mapping(self, final: Sequence[TracedCamera]) -> dict[str, dict[int, int]]:
        """Camera → identity → person: the site's one mapping, or each sequence's own."""
        if self._independent:
            return {one.camera_id: _person_of([one.camera]) for one in final}
        mapping = _person_of([one.camera for one in final])
        return {one.camera_id: mapping for one in final}


def _person_of(cameras: Sequence[ScoredCamera]) -> dict[int, int]:
    """`identity_mapping`, where ties do not depend on what the identities are called: by who is seen first."""
    seen: dict[int, int] = {}
    for camera in sorted(cameras, key=lambda c: c.camera_id):
        rows = camera.result
        in_order = rows.ids[np.lexsort((*rows.xywh.T[::-1], rows.frames))].tolist()
        for identity_id in dict.fromkeys(in_order):
            seen.setdefault(identity_id, len(seen) if identity_id >= 0 else identity_id)  # below 0: nobody known
    numbered = [c.with_ids(np.array([seen[i] for i in c.result.ids.tolist()], np.int64)) for c in cameras]
    mapping = identity_mapping(numbered)
    return {identity_id: mapping[number] for identity_id, number in seen.items() if number in mapping}


def _scored(camera: ScoredCamera) -> dict[str, Any]:
    """What the figures of one camera rest on."""
    return {
        "frames": len(camera.frames),
        "gt_boxes": len(camera.truth),
        "boxes": len(camera.result),
        "left_out": dict(sorted(camera.left_out.items())),
    }
