"""How good a head is, judged by what is certain about people it was not fitted on; nobody's name is known.

Each clip looks for the other clips of its own number among those of numbers that are certainly apart from it. Both
kinds are nearer than what a matcher meets (one walk, one light; people beside each other), so the figures are not those
of a data set; two heads can be compared by them, and that is all they are used for.

Clips of several crops make hardly a mistake here (.97 to .99 on real footage, before any adaptation), and then nothing
can be seen of what is gained across cameras. So single crops are compared, and the figure is the separation: on the
same footage its gain stands out from its scatter by 1.3 to 2.5 standard errors, that of the average precision of clips
of four by -2.3 to 1.7, while across cameras unseen people
gain .05 to .08 mAP (docs/sta.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, IntArray
from reid.adaptation.clips import BoolArray, ClipTable, cut_clips, different_people, embed_clips, same_person
from reid.adaptation.material import Material
from reid.heads import BatchHead

CROPS = 1  # of a judged clip
CLIPS_PER_TRACK = 16
LEAST_PEOPLE = 4  # compared with somebody: with fewer, all may gain by chance more often than one time in ten
MOST_CLIPS = 2000  # of a judgement; more are thinned out evenly, to bound time and memory (2000: 100 MB)
RESAMPLES = 2000  # of the bootstrap
INTERVAL = 0.95

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Judgement:
    """What a head is worth on held-back people; P people who could be judged.

    Attributes:
        people: (P,) their numbers.
        average_precision: (P,) of each, the mean over its clips.
        separation: (P,) how often a clip of the same person is nearer than one of another, over all clips of the
            person at once; a tie counts half.
    """

    people: IntArray
    average_precision: Array64
    separation: Array64

    @property
    def figure(self) -> float:
        """The mean separation, every person counting the same; NaN for nobody."""
        return float(self.separation.mean()) if len(self.people) else float("nan")

    @staticmethod
    def joined(parts: Sequence["Judgement"]) -> "Judgement":
        """Judgements of different people as one."""
        people = np.concatenate([np.zeros(0, np.int64), *(part.people for part in parts)])
        precision = np.concatenate([np.zeros(0), *(part.average_precision for part in parts)])
        return Judgement(people, precision, np.concatenate([np.zeros(0), *(part.separation for part in parts)]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two heads on the same held-back people.

    Attributes:
        before, after: `Judgement.figure` of each. people: how many were judged.
        interval: of the gain, paired bootstrap over people.
        average_precision: before and after, mean over people.
    """

    before: float
    after: float
    people: int
    interval: tuple[float, float]
    average_precision: tuple[float, float]

    @property
    def gain(self) -> float:
        return self.after - self.before

    @property
    def is_better(self) -> bool:
        """The whole interval of the gain lies above zero."""
        return self.gain > 0 and self.interval[0] > 0


class Judge:
    """Compares heads on the same clips of the same people."""

    def __init__(self, material: Material, rng: np.random.Generator, clip_crops: int = CROPS) -> None:
        self._material = _thinned(material, clip_crops, rng)
        table = cut_clips(self._material, clip_crops, CLIPS_PER_TRACK)
        everybody = np.arange(len(table))
        same = same_person(table, everybody)
        different = different_people(table, everybody, self._material.apart)
        (self._queries,) = np.nonzero(same.any(axis=1) & different.any(axis=1))
        self._table: ClipTable = table
        self._same: BoolArray = same[self._queries]
        self._different: BoolArray = different[self._queries]

    @property
    def people(self) -> IntArray:
        """(P,) numbers that can be judged: they have clips far enough apart, and somebody certainly apart."""
        return np.unique(self._table.person[self._queries])

    def judge(self, head: BatchHead, material: Material | None = None) -> Judgement:
        """What the head is worth.

        Args:
            material: the same tracks encoded by another backbone; None: those given at the beginning.
        """
        if not len(self._queries):
            return Judgement.joined([])
        vectors = embed_clips(self._same_tracks(material), self._table, head)
        distance = 1.0 - vectors[self._queries] @ vectors.T
        precision = average_precision(distance, self._same, self._different)
        numbers, place = np.unique(self._table.person[self._queries], return_inverse=True)
        mean = np.bincount(place, precision) / np.bincount(place)
        auc = [self._separation(distance, place == i) for i in range(len(numbers))]
        return Judgement(numbers, mean, np.array(auc))

    def _same_tracks(self, material: Material | None) -> Material:
        if material is None:
            return self._material
        by_key = {track.key: track for track in material.tracks}
        tracks = tuple(by_key[track.key] for track in self._material.tracks)
        return Material(tracks, self._material.person_of, self._material.apart)

    def _separation(self, distance: FloatArray, own: BoolArray) -> float:
        same, different = distance[own][self._same[own]], distance[own][self._different[own]]
        ordered = np.sort(different)
        below = np.searchsorted(ordered, same, "left")
        ties = np.searchsorted(ordered, same, "right") - below
        return float(1.0 - (below + 0.5 * ties).mean() / len(ordered))


def average_precision(distance: FloatArray, same: BoolArray, different: BoolArray) -> Array64:
    """(Q,) mean over a query's matches of the precision at each; of equal distances the wrong one comes first.

    Args:
        distance: (Q, G), lower is closer. same, different: (Q, G), never both; what is neither is not ranked.

    Returns:
        NaN for a query without a match.
    """
    ranked = np.where(same | different, distance, np.inf)
    order = np.lexsort((same, ranked), axis=-1)
    hit = np.take_along_axis(same, order, axis=1)
    precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    matches = hit.sum(axis=1)
    total = np.where(hit, precision, 0.0).sum(axis=1)
    return np.divide(total, matches, out=np.full(len(total), np.nan), where=matches > 0)


def compare(before: Judgement, after: Judgement, rng: np.random.Generator) -> Comparison:
    """
    Raises:
        ValueError: they judged different people, or nobody.
    """
    if not len(before.people) or not np.array_equal(before.people, after.people):
        raise ValueError("expected judgements of the same people, at least one")
    gain = after.separation - before.separation
    drawn = rng.integers(0, len(gain), (RESAMPLES, len(gain)))
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(gain[drawn].mean(axis=1), [tail, 1 - tail])
    precision = (float(before.average_precision.mean()), float(after.average_precision.mean()))
    return Comparison(before.figure, after.figure, len(gain), (float(low), float(high)), precision)


def _thinned(material: Material, clip_crops: int, rng: np.random.Generator) -> Material:
    """Only people who can be in a certain pair, and of these as many as make about `MOST_CLIPS` clips."""
    concerned = np.array(sorted({number for pair in material.apart for number in pair}), np.int64)
    part = material.of_people(concerned)
    clips = len(cut_clips(part, clip_crops, CLIPS_PER_TRACK))
    if clips <= MOST_CLIPS:
        return part
    start = int(rng.integers(0, len(part.people)))  # neighbours in number were seen together: keep them together
    share = max(int(len(part.people) * MOST_CLIPS / clips), 2)
    return part.of_people(np.roll(part.people, -start)[:share])
