"""The ceiling: the same tracks with ids given by the ground truth. What is missing above it is the tracker's and
detector's doing; what lies between a result and its ceiling is the matcher's."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from pipeline.scoring.alignment import ScoredCamera, ScoredFrame
from pipeline.scoring.appearances import Appearance, TracedCamera, person_of
from pipeline.types import IntArray


def ceiling(traced: Sequence[TracedCamera]) -> list[ScoredCamera]:
    """The cameras with the ids that a matcher without a mistake would give.

    Every unit gets the id of the person that most of its boxes lie on; a unit on nobody gets a fresh id. Where two
    units of one person share a frame, the one whose box fits better keeps the id there and the other's box gets a
    fresh id (one for the whole unit). A unit that runs over two people stays whole: that is the tracker's mistake. So
    the figures are an upper end for all practical purposes, not a proven bound.
    """
    highest = max((int(t.camera.truth.ids.max()) for t in traced if len(t.camera.truth)), default=0)
    fresh = count(max(highest, 0) + 1)
    return [one.camera.with_ids(_true_ids(one, fresh)) for one in traced]


def ceiling_appearances(traced: Sequence[TracedCamera]) -> list[list[Appearance]]:
    """Per camera the units as appearances under their persons' ids; units on nobody have an id each.

    Linked, they tell how many links there were to make. The frames in which a unit gives way to a better box (see
    `ceiling`) do not cut it.
    """
    people = [a.person_id for one in traced for a in one.appearances if a.person_id is not None]
    fresh = count(max(people, default=0) + 1)
    return [list(_whole_units(one, fresh)) for one in traced]


def _whole_units(one: TracedCamera, fresh: Iterator[int]) -> Iterator[Appearance]:
    """One appearance per unit, also where its id changed."""
    by_unit: dict[int, list[Appearance]] = {}
    for appearance in one.appearances:
        by_unit.setdefault(appearance.unit, []).append(appearance)
    for parts in by_unit.values():
        scored = np.concatenate([a.scored for a in parts])
        person, matched = person_of(one.camera, one.matches, scored)
        yield replace(
            parts[0],
            identity_id=next(fresh) if person is None else person,
            last_frame=parts[-1].last_frame,
            end_s=parts[-1].end_s,
            person_id=person,
            matched=matched,
            rows=np.concatenate([a.rows for a in parts]),
            scored=scored,
        )


def _true_ids(one: TracedCamera, fresh: Iterator[int]) -> IntArray:
    """(M,) ids of `camera.result` by the ground truth."""
    camera = one.camera
    unit_of = one.units[camera.kept]
    ids = np.zeros(len(camera.result), np.int64)
    boxes_on: Counter[int] = Counter()
    for unit in np.unique(unit_of):
        places = np.flatnonzero(unit_of == unit)
        person, boxes_on[int(unit)] = person_of(camera, one.matches, places)
        ids[places] = next(fresh) if person is None else person
    spare: dict[tuple[int, int], int] = {}
    for frame in camera.frames:
        given: Counter[int] = Counter()
        for place in _second_best(one, frame, ids, unit_of, boxes_on):
            unit = int(unit_of[place])
            key = (unit, given[unit])  # a unit with several boxes in one frame needs as many ids
            given[unit] += 1
            ids[place] = spare.setdefault(key, -1)
            if ids[place] < 0:
                ids[place] = spare[key] = next(fresh)
    return ids


def _second_best(
    one: TracedCamera, frame: ScoredFrame, ids: IntArray, unit_of: IntArray, boxes_on: Counter[int]
) -> Iterator[int]:
    """Places of the boxes of this frame whose id a better fitting box has as well."""
    given = ids[frame.result]
    values, times = np.unique(given, return_counts=True)
    truth_ids = one.camera.truth.ids
    for person in values[times > 1]:
        rivals = np.flatnonzero(given == person)
        places = frame.result[rivals]
        on = one.matches.truth_of[places]
        fits = np.zeros(len(rivals), bool)
        fits[on >= 0] = truth_ids[on[on >= 0]] == person
        overlap = frame.iou[truth_ids[frame.truth] == person].max(axis=0, initial=0.0)[rivals]
        size = np.array([boxes_on[int(unit)] for unit in unit_of[places]])
        best_first = np.lexsort((unit_of[places], -size, -overlap, ~fits))
        yield from places[best_first[1:]].tolist()
