"""HOTA, identity and CLEAR metrics of scored cameras, by the `trackeval` package.

A box whose identity is "not known yet" (`nobody`, and every negative id) counts as an identity of its own: it can be
a true detection, and hardly ever a right association. That such a person gets an id is no switch; a change between two
known ids is one, also across a gap of unknown.

Figures are fractions from 0 to 1 and counts; what is undefined is None, never NaN: AssA and LocA without any match,
IDP without results, IDR and MOTA without people, everything but the counts without either.
"""

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.scoring.alignment import MATCH_IOU, ScoredCamera
from pipeline.scoring.rows import Float64Array, Rows, first_repeated
from pipeline.types import IntArray

Figures = dict[str, float | int | None]
BoolArray = npt.NDArray[np.bool_]
_Fields = dict[str, Any]  # what a metric of trackeval returns: field → number or one number per α


def score_camera(camera: ScoredCamera, nobody: int | None = None) -> Figures:
    """One camera: HOTA, DetA, AssA, LocA, IDF1, IDP, IDR, IDTP, IDFP, IDFN, MOTA, IDSW, TP, FP, FN and counts.

    TP, FP, FN are CLEAR's, at an IoU of 0.5; HOTA and its parts are means over α. The counts are gt_boxes, boxes,
    gt_ids and ids (without `nobody`).

    Raises:
        ValueError: one id twice in one frame.
    """
    return _with_clear([_camera_parts(camera, nobody)])


def score_combined(cameras: Sequence[ScoredCamera], nobody: int | None = None) -> Figures:
    """The figures of `score_camera` over cameras as sequences that share no ids, as TrackEval combines them."""
    return _with_clear([_camera_parts(camera, nobody) for camera in cameras])


def score_each(cameras: Sequence[ScoredCamera], nobody: int | None = None) -> tuple[dict[str, Figures], Figures]:
    """`score_camera` of every camera and `score_combined`, at the cost of one of them."""
    parts = [_camera_parts(camera, nobody) for camera in cameras]
    each = {camera.camera_id: _with_clear([part]) for camera, part in zip(cameras, parts, strict=True)}
    return each, _with_clear(parts)


def score_site(cameras: Sequence[ScoredCamera], nobody: int | None = None) -> Figures:
    """All cameras as one sequence with one mapping of identities: a person is one person everywhere.

    The figures of `score_camera` without CLEAR's (MOTA, IDSW, TP, FP, FN), which make no sense over cameras.
    """
    return _without_clear([_parts(_join(cameras, nobody))])


def identity_mapping(cameras: Sequence[ScoredCamera], nobody: int | None = None) -> dict[int, int]:
    """Result id → person id of the one mapping that IDF1 uses: the most true positives over all cameras.

    Only pairs with at least one true positive; the same for any order of the rows (ties too). Ristani et al. 2016,
    "Performance measures and a data set for multi-target, multi-camera tracking", section 4: minimising false
    positives and false negatives of a one-to-one mapping is maximising its true positives.
    """
    steps = _join(cameras, nobody)
    kept = np.flatnonzero(_identity_rows(steps))
    ids, column_of = np.unique(steps.ids[kept], return_inverse=True)
    columns = np.full(len(steps.ids), -1)
    columns[kept] = column_of
    matches = np.zeros((len(steps.people), len(ids)))
    for truth, result, iou in zip(steps.truth, steps.result, steps.iou, strict=True):
        person, box = np.nonzero(iou >= MATCH_IOU)
        person, column = truth[person], columns[result[box]]
        matches[person[column >= 0], column[column >= 0]] += 1  # a pair occurs once a frame: ids are unique in it
    # Of two as good the known id: all bonuses together stay below one match.
    bonus = 0.5 / (len(steps.people) + 1)
    rows, chosen = linear_sum_assignment(-(matches + bonus * ((matches > 0) & (ids >= 0))))
    pairs = [(int(ids[c]), int(steps.people[r])) for r, c in zip(rows, chosen, strict=True) if matches[r, c] > 0]
    return dict(sorted((known, person) for known, person in pairs if known >= 0))


@dataclass(frozen=True, eq=False, slots=True)
class _Steps:
    """Cameras one after the other as one sequence of time steps.

    Attributes:
        people: (G,) sorted person ids. ids: (M,) id of every result row; below 0, and unique, where not known.
        truth: per step (n,) places in `people`. result: per step (m,) places in `ids`. iou: per step (n, m).
        truth_count: number of ground-truth boxes.
    """

    people: IntArray
    ids: IntArray
    truth: list[IntArray]
    result: list[IntArray]
    iou: list[Float64Array]
    truth_count: int


def _join(cameras: Sequence[ScoredCamera], nobody: int | None) -> _Steps:
    for camera in cameras:
        _refuse_repeated(camera.camera_id, camera.truth, None)
        _refuse_repeated(camera.camera_id, camera.result, nobody)
    none = np.zeros(0, np.int64)
    people, person_of = np.unique(np.concatenate([none, *(c.truth.ids for c in cameras)]), return_inverse=True)
    ids = np.concatenate([none, *(c.result.ids for c in cameras)])
    unknown = (ids < 0) | (ids == (-1 if nobody is None else nobody))
    ids[unknown] = -1 - np.flatnonzero(unknown)
    steps = _Steps(people, ids, [], [], [], len(person_of))
    first_truth = first_result = 0
    for camera in cameras:
        for frame in camera.frames:
            steps.truth.append(person_of[first_truth + frame.truth])
            steps.result.append(first_result + frame.result)
            steps.iou.append(frame.iou)
        first_truth += len(camera.truth)
        first_result += len(camera.result)
    return steps


def _refuse_repeated(camera_id: str, rows: Rows, nobody: int | None) -> None:
    pair = first_repeated(rows, nobody)
    if pair is not None:
        frame, person = rows.frames[pair[0]], rows.ids[pair[0]]
        raise ValueError(f"{camera_id}: expected every id once a frame, got id {person} twice in frame {frame}")


def _overlapping_rows(steps: _Steps) -> BoolArray:
    """(M,) the rows that can matter to HOTA: unknown boxes that touch nobody are false positives at every α."""
    keep = steps.ids >= 0
    for result, iou in zip(steps.result, steps.iou, strict=True):
        keep[result] |= (iou > 0).any(axis=0)
    return keep


def _identity_rows(steps: _Steps) -> BoolArray:
    """(M,) the rows that can matter to the mapping of identities.

    An unknown box is an identity with one box, so people who match the same n persons are alike, and at most n of
    them can be mapped: the others are left out, which keeps the assignment small.
    """
    keep = steps.ids >= 0
    taken: dict[bytes, int] = {}
    for truth, result, iou in zip(steps.truth, steps.result, steps.iou, strict=True):
        matching = iou >= MATCH_IOU
        for box in np.flatnonzero(~keep[result] & matching.any(axis=0)):
            people = np.sort(truth[matching[:, box]])
            taken[people.tobytes()] = taken.get(people.tobytes(), 0) + 1
            keep[result[box]] = taken[people.tobytes()] <= len(people)
    return keep


def _trackeval_data(steps: _Steps, keep: BoolArray) -> _Fields:
    """The rows kept, as the package's metrics want them: ids from 0 without gaps."""
    kept_ids, number_of = np.unique(steps.ids[keep], return_inverse=True)
    numbers = np.zeros(len(steps.ids), np.int64)
    numbers[keep] = number_of
    kept = [keep[result] for result in steps.result]
    return {
        "num_timesteps": len(steps.truth),
        "num_gt_ids": len(steps.people),
        "num_tracker_ids": len(kept_ids),
        "num_gt_dets": steps.truth_count,
        "num_tracker_dets": int(keep.sum()),
        "gt_ids": steps.truth,
        "tracker_ids": [numbers[result[k]] for result, k in zip(steps.result, kept, strict=True)],
        "similarity_scores": [iou[:, k] for iou, k in zip(steps.iou, kept, strict=True)],
    }


@dataclass(frozen=True, eq=False, slots=True)
class _Parts:
    """What the package found in one sequence, ready to be combined with others."""

    hota: _Fields
    identity: _Fields
    clear: _Fields | None
    counts: dict[str, int]


def _camera_parts(camera: ScoredCamera, nobody: int | None) -> _Parts:
    steps = _join([camera], nobody)
    clear = _evaluate("CLEAR", steps, np.ones(len(steps.ids), bool))
    is_known = steps.ids >= 0
    if not is_known.all():
        clear["IDSW"] = _evaluate("CLEAR", steps, is_known)["IDSW"]
    return _parts(steps, clear)


def _parts(steps: _Steps, clear: _Fields | None = None) -> _Parts:
    overlapping, mappable = _overlapping_rows(steps), _identity_rows(steps)
    hota, identity = _evaluate("HOTA", steps, overlapping), _evaluate("Identity", steps, mappable)
    hota["HOTA_FP"] = hota["HOTA_FP"] + (~overlapping).sum()
    identity["IDFP"] = identity["IDFP"] + (~mappable).sum()
    counts = {
        "gt_boxes": steps.truth_count,
        "boxes": len(steps.ids),
        "gt_ids": len(steps.people),
        "ids": len(np.unique(steps.ids[steps.ids >= 0])),
    }
    return _Parts(hota, identity, clear, counts)


def _evaluate(name: str, steps: _Steps, keep: BoolArray) -> _Fields:
    with np.errstate(divide="ignore", invalid="ignore"):
        fields: _Fields = _metric(name).eval_sequence(_trackeval_data(steps, keep))
    return fields


def _metric(name: str) -> Any:
    """One of the package's metrics; it prints when it is imported and made, which is kept from the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trackeval import metrics

        return metrics.HOTA() if name == "HOTA" else getattr(metrics, name)({"PRINT_CONFIG": False})


def _combine(name: str, parts: Sequence[_Fields]) -> _Fields:
    with np.errstate(divide="ignore", invalid="ignore"):
        fields: _Fields = _metric(name).combine_sequences(dict(enumerate(parts)))
    return fields


def _without_clear(parts: Sequence[_Parts]) -> Figures:
    counts = {name: sum(p.counts[name] for p in parts) for name in ("gt_boxes", "boxes", "gt_ids", "ids")}
    people, boxes = counts["gt_boxes"] > 0, counts["boxes"] > 0
    if not (people or boxes):
        return {**dict.fromkeys(("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR")), **_no_identity(), **counts}
    hota = _combine("HOTA", [p.hota for p in parts])
    identity = _combine("Identity", [p.identity for p in parts])
    matched = bool(np.any(hota["HOTA_TP"] > 0))
    return {
        "HOTA": float(np.mean(hota["HOTA"])),
        "DetA": float(np.mean(hota["DetA"])),
        "AssA": float(np.mean(hota["AssA"])) if matched else None,
        "LocA": float(np.mean(hota["LocA"])) if matched else None,
        "IDF1": float(identity["IDF1"]),
        "IDP": float(identity["IDP"]) if boxes else None,
        "IDR": float(identity["IDR"]) if people else None,
        **{name: int(identity[name]) for name in ("IDTP", "IDFP", "IDFN")},
        **counts,
    }


def _no_identity() -> Figures:
    return {"IDTP": 0, "IDFP": 0, "IDFN": 0}


def _with_clear(parts: Sequence[_Parts]) -> Figures:
    figures = _without_clear(parts)
    clear = _combine("CLEAR", [p.clear for p in parts if p.clear is not None]) if parts else {}
    return {
        **figures,
        "MOTA": float(clear["MOTA"]) if figures["gt_boxes"] else None,
        **{name: int(clear.get(field, 0)) for name, field in _CLEAR_COUNTS},
    }


_CLEAR_COUNTS = (("IDSW", "IDSW"), ("TP", "CLR_TP"), ("FP", "CLR_FP"), ("FN", "CLR_FN"))
