"""IDF1 and links of final ids in milliseconds, for sweeps: what `pipeline.scoring` gives, from matches made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pipeline.scoring.alignment import MATCH_IOU
from pipeline.scoring.appearances import TracedCamera
from pipeline.scoring.links import Links as JudgedLinks
from pipeline.scoring.links import find_links
from pipeline.types import IntArray, TrackKey

SHOWN_SHARE = 0.1  # of a track's boxes, with which it shows somebody


@dataclass(frozen=True)
class Links:
    """How many decisions about tracks were what (`pipeline.scoring.links`)."""

    correct: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: "Links") -> "Links":
        return Links(self.correct + other.correct, self.false + other.false, self.missed + other.missed)

    @property
    def found_share(self) -> float:
        """Of the true links; 1 when there was none to find."""
        return self.correct / max(1, self.correct + self.missed) if self.correct + self.missed else 1.0

    @property
    def false_share(self) -> float:
        """Of all links made; 0 when none was."""
        return self.false / max(1, self.correct + self.false)


def counted(links: JudgedLinks) -> Links:
    return Links(len(links.correct), len(links.false), len(links.missed))


@dataclass(frozen=True, eq=False)
class _CameraRows:
    """One camera's boxes.

    Attributes:
        frame: (R,) int64, different in every camera. track: (R,) int64.
        row, person: (P,) int64 each, pairs of a box and somebody it lies on.
    """

    frame: IntArray
    track: IntArray
    row: IntArray
    person: IntArray


def _rows_of(
    one: TracedCamera, number: int, cameras: int, place: Mapping[TrackKey, int], keys: Mapping[int, TrackKey]
) -> _CameraRows:
    track = np.array([place[keys[n]] for n in one.rows.ids.tolist()], np.int64)
    row, person = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for shown in one.camera.frames:
        people, boxes = np.nonzero(shown.iou >= MATCH_IOU)
        row.append(one.camera.kept[shown.result[boxes]])
        person.append(one.camera.truth.ids[shown.truth[people]])
    return _CameraRows(one.rows.frames * cameras + number, track, np.concatenate(row), np.concatenate(person))


class QuickScore:
    """IDF1 and links from what the ids cannot change: which boxes lie on whom."""

    def __init__(self, traced: Sequence[TracedCamera], keys: Mapping[str, Mapping[int, TrackKey]]) -> None:
        self._appearances = [a for one in traced for a in one.appearances]
        self._key_of = {(a.camera_id, a.unit): keys[a.camera_id][a.unit] for a in self._appearances}
        self._keys = sorted({key for of_camera in keys.values() for key in of_camera.values()})
        self.people = {self._key_of[a.camera_id, a.unit]: a.person_id for a in self._appearances}
        self._truth_count = sum(len(one.camera.truth) for one in traced)
        place = {key: i for i, key in enumerate(self._keys)}
        parts = [_rows_of(one, number, len(traced), place, keys[one.camera_id]) for number, one in enumerate(traced)]
        first = np.cumsum([0, *(len(one.rows) for one in traced)])
        nothing = np.zeros(0, np.int64)
        self._frame = np.concatenate([nothing, *(part.frame for part in parts)])
        self._track = np.concatenate([nothing, *(part.track for part in parts)])
        self._confidence = np.concatenate([np.zeros(0), *(one.rows.confidence for one in traced)])
        self._scored = np.concatenate([np.zeros(0, bool), *(one.places >= 0 for one in traced)])
        self._row = np.concatenate([nothing, *(part.row + start for part, start in zip(parts, first, strict=False))])
        people = np.concatenate([nothing, *(p.person for p in parts)])
        self.shown = self._shown(people)
        _, self._person = np.unique(people, return_inverse=True)

    def _shown(self, people: IntArray) -> dict[TrackKey, frozenset[int]]:
        """Track -> everybody on whom a tenth of its boxes lie; a track may change over from one to another."""
        boxes = np.bincount(self._track, minlength=len(self._keys))
        pairs, counts = np.unique(np.stack([self._track[self._row], people]), axis=1, return_counts=True)
        shown: dict[TrackKey, set[int]] = {key: set() for key in self._keys}
        for track, person, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            if count >= SHOWN_SHARE * boxes[track]:
                shown[self._keys[track]].add(person)
        return {key: frozenset(whom) for key, whom in shown.items()}

    def idf1(self, final: Mapping[TrackKey, int]) -> float:
        """Over all cameras; 0 where no box lies on anybody."""
        known = [final.get(key, 0) for key in self._keys]
        free = max(known, default=0) + 1
        ids = np.array([identity or free + i for i, identity in enumerate(known)], np.int64)
        of_row = ids[self._track]
        counts = self._scored & self._once(of_row)
        boxes = int(counts.sum())
        if not len(self._row) or not (boxes or self._truth_count):
            return 0.0
        kept = counts[self._row]
        _, column = np.unique(of_row[self._row[kept]], return_inverse=True)
        matches = np.zeros((int(self._person.max()) + 1, int(column.max(initial=-1)) + 1))
        np.add.at(matches, (self._person[kept], column), 1)
        rows, columns = linear_sum_assignment(matches, maximize=True)
        return float(2 * matches[rows, columns].sum() / (boxes + self._truth_count))

    def _once(self, of_row: IntArray) -> npt.NDArray[np.bool_]:
        """(R,) bool: of two boxes of one id in one frame only the surer one, as `TrackWriter` writes them."""
        order = np.lexsort((-self._confidence, of_row, self._frame))
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(self._frame[order]) != 0) | (np.diff(of_row[order]) != 0)
        once = np.zeros(len(order), bool)
        once[order[first]] = True
        return once

    def links(self, final: Mapping[TrackKey, int]) -> Links:
        """Of whole tracks, in order of time."""
        free = max(final.values(), default=0) + 1
        named = [
            replace(a, identity_id=final.get(self._key_of[a.camera_id, a.unit], 0) or free + i)
            for i, a in enumerate(self._appearances)
        ]
        return counted(find_links(named))
