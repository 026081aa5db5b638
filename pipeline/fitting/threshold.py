"""The matcher's threshold, from how far apart one person's tracks are, and those of two people.

With ground truth it is the distance at which the missed share plus twice the false share is least (a missed link can be
made up for, because a track has more clips to be linked by; a false link is seen through only where later clips speak
clearly against it, and is what operators suffer from), and in the middle where several are as good. It is the rule by
which the stored thresholds were chosen (docs/sta.md).

Certain pairs of one person are nearer than what the matcher meets, so they may not be weighed against the others:
without ground truth the threshold is the largest distance that takes at most 2 % of the certain pairs of two people for
one person. On two real sites that gave .36 and .62 (two heads), where ground truth gave .425 and .61.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.fitting.comparisons import Comparisons
from pipeline.scoring.clips import PairDistances
from pipeline.types import FloatArray

FALSE_LINK_COST = 2.0  # against a missed link
_MOST_FALSE = {
    "ground truth": 0.1,
    "certain pairs": 0.02,
}  # share of the comparisons of two people within the threshold
_CANDIDATES = np.round(np.arange(0.0, 1.5001, 0.005), 4)  # cosine distances; finer is noise
_REPEATS = 500  # of the bootstrap
_INTERVAL = (0.05, 0.95)  # quantiles of the bootstrap that are told
_WIDE = 0.1  # of the interval: twice the distance between a careful and a generous threshold
_LEAST_DIFFERENT = 30  # comparisons of two people; fewer say nothing about their near ones
_LEAST_SAME = 10
_LEAST_UNITS = 3  # people (or tracks)
_FEW_UNITS = 10
_FEW_DIFFERENT = 150  # 2 % of fewer is less than three comparisons

ALL_CLIPS, HELD_BACK, LEARNED_FROM = "all clips", "people held back", "people learned from"

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ThresholdFit:
    """The threshold and what speaks for it; shares are of the comparisons it was chosen on.

    Attributes:
        threshold: None when there is too little to choose it by.
        interval: 5 % and 95 % of the thresholds chosen on people drawn anew (bootstrap).
        false_share, missed_share: of comparisons. newcomer_share: of looks at a track that have at least one other
            person's view within the threshold: how often a stranger would be taken for somebody.
        warnings: for people.
        chosen_on: `ALL_CLIPS` of a head that has not learned from them; else clips of `HELD_BACK` people, each fused by
            a head that has not learned from them, or all clips of a head that has: `LEARNED_FROM`.
    """

    threshold: float | None
    interval: tuple[float, float] | None
    false_share: float | None
    missed_share: float | None
    newcomer_share: float | None
    same: int
    different: int
    units: int
    unit: str
    basis: str
    warnings: tuple[str, ...]
    chosen_on: str = ALL_CLIPS


def fit_threshold(compared: Comparisons, rng: np.random.Generator) -> ThresholdFit:
    """Choose the threshold; `rng` draws the bootstrap."""
    too_little = _too_little(compared)
    if too_little:
        return _fit(compared, None, None, (too_little,))
    threshold = _chosen(_Counted(compared).shares(np.ones(compared.units)), compared.basis)
    interval = _interval(compared, rng)
    return _fit(compared, threshold, interval, tuple(_doubts(compared, threshold, interval)))


def _fit(
    compared: Comparisons,
    threshold: float | None,
    interval: tuple[float, float] | None,
    warnings: tuple[str, ...],
) -> ThresholdFit:
    def share(distances: FloatArray, beyond: bool) -> float | None:
        if threshold is None or not len(distances):
            return None
        within = float((distances <= threshold).mean())
        return 1 - within if beyond else within

    return ThresholdFit(
        threshold,
        interval,
        share(compared.different, False),
        share(compared.same, True),
        share(compared.nearest_other, False),
        len(compared.same),
        len(compared.different),
        compared.units,
        compared.unit,
        compared.basis,
        warnings,
    )


def _too_little(compared: Comparisons) -> str | None:
    units = len(np.unique(compared.different_of))
    if units < _LEAST_UNITS or len(compared.different) < _LEAST_DIFFERENT:
        return (
            f"too little to choose a threshold by: {len(compared.different)} comparisons of different people, of "
            f"{units} {_plural(compared.unit, units)}; wanted {_LEAST_DIFFERENT} of {_LEAST_UNITS}"
        )
    if compared.basis == "ground truth" and len(compared.same) < _LEAST_SAME:
        return (
            f"too little to choose a threshold by: nobody, or hardly anybody, is seen in two cameras or twice "
            f"({len(compared.same)} comparisons, wanted {_LEAST_SAME})"
        )
    return None


def _doubts(compared: Comparisons, threshold: float, interval: tuple[float, float] | None) -> list[str]:
    doubts = []
    if interval and interval[1] - interval[0] > _WIDE:
        doubts.append(f"the threshold is uncertain: other footage like this gives {interval[0]:g} to {interval[1]:g}")
    if compared.units < _FEW_UNITS:
        doubts.append(
            f"the threshold rests on {compared.units} {_plural(compared.unit, compared.units)} only; "
            "others may look more alike"
        )
    if len(compared.different) < _FEW_DIFFERENT:
        doubts.append(
            f"only {len(compared.different)} comparisons of different people: "
            "the share of false links is not known to 2 %"
        )
    missed = float((compared.same > threshold).mean()) if len(compared.same) else 0.0
    if missed > 0.5 and len(compared.same) >= _LEAST_SAME:
        doubts.append(
            f"at this threshold {missed:.0%} of the comparisons of one person are missed: "
            "this model does not tell the people of this site apart well"
        )
    if compared.basis == "certain pairs" and not len(compared.same):
        doubts.append("no track is long enough to say how often one person is missed")
    return doubts


def _plural(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return "people" if unit == "person" else f"{unit}s"


@dataclass(frozen=True, eq=False, slots=True)
class _Shares:
    """(C,) missed and false share at each candidate; missed is 0 everywhere without a pair of one person."""

    missed: Weights
    false: Weights


class _Counted:
    """Comparisons sorted into the candidates once, to be weighed many times."""

    def __init__(self, compared: Comparisons) -> None:
        self._compared = compared
        self._same, self._different = _bins(compared.same), _bins(compared.different)

    def shares(self, drawn: Weights) -> _Shares:
        """With people weighted by `drawn` (U,)."""
        of_same, of_different = self._compared.weights(drawn)
        return _Shares(1 - _within(self._same, of_same, 1.0), _within(self._different, of_different, 0.0))


def _bins(distances: FloatArray) -> npt.NDArray[np.int64]:
    """(N,) the first candidate that each distance is within."""
    return np.searchsorted(_CANDIDATES, distances, side="left")


def _within(bins: npt.NDArray[np.int64], weights: Weights, empty: float) -> Weights:
    """(C,) share of the weight within each candidate distance."""
    total = weights.sum()
    if total <= 0:
        return np.full(len(_CANDIDATES), empty)
    counted = np.bincount(bins, weights, minlength=len(_CANDIDATES) + 1)
    return np.asarray(np.cumsum(counted)[: len(_CANDIDATES)] / total)


def _chosen(shares: _Shares, basis: str) -> float:
    allowed = shares.false <= _MOST_FALSE[basis] + 1e-9
    if basis == "certain pairs":
        return float(_CANDIDATES[allowed].max(initial=0.0))
    cost = np.where(allowed, shares.missed + FALSE_LINK_COST * shares.false, np.inf)
    return _middle_of_the_best(cost)


def _middle_of_the_best(cost: Weights) -> float:
    """The middle of the first run of candidates with the least cost."""
    best = np.flatnonzero(cost <= cost.min() + 1e-9)
    run = best[: int(np.argmax(np.append(np.diff(best) > 1, True))) + 1]
    return round(float(_CANDIDATES[run].mean()), 4)


def _interval(compared: Comparisons, rng: np.random.Generator) -> tuple[float, float] | None:
    """Thresholds chosen on as many people, drawn with replacement."""
    chosen = []
    counted = _Counted(compared)
    for _ in range(_REPEATS):
        drawn = np.bincount(rng.integers(0, compared.units, compared.units), minlength=compared.units).astype(float)
        if np.count_nonzero(drawn) > 1:
            chosen.append(_chosen(counted.shares(drawn), compared.basis))
    if not chosen:
        return None
    low, high = np.quantile(chosen, _INTERVAL)
    return round(float(low), 4), round(float(high), 4)


def leave_one_out(clips: Mapping[str, PairDistances]) -> list[dict[str, Any]]:
    """A threshold for each footage chosen on all others, and how it does there; the last row leaves out none.

    Each footage counts the same. Rows: left_out (None in the last), threshold, missed, false, and quantiles.
    """
    rows: list[dict[str, Any]] = []
    for left_out in [*clips, None]:
        threshold = threshold_for([pairs for name, pairs in clips.items() if name != left_out])
        row: dict[str, Any] = {"left_out": left_out, "threshold": threshold}
        if left_out is not None and threshold is not None:
            row |= _rates(clips[left_out], threshold)
        rows.append(row)
    return rows


def threshold_for(footages: Sequence[PairDistances]) -> float | None:
    """One threshold for several footages by the rule for ground truth; None without a pair of two people."""
    different = [_within(_bins(p.different), np.ones(len(p.different)), 0.0) for p in footages if len(p.different)]
    same = [_within(_bins(p.same), np.ones(len(p.same)), 1.0) for p in footages if len(p.same)]
    if not different:
        return None
    missed = 1 - np.mean(same, axis=0) if same else np.zeros(len(_CANDIDATES))
    return _middle_of_the_best(missed + FALSE_LINK_COST * np.mean(different, axis=0))


def _rates(pairs: PairDistances, threshold: float) -> dict[str, float | None]:
    def quantile(values: FloatArray, q: float) -> float | None:
        return round(float(np.quantile(values, q)), 4) if len(values) else None

    return {
        "missed": float((pairs.same > threshold).mean()) if len(pairs.same) else None,
        "false": float((pairs.different <= threshold).mean()) if len(pairs.different) else None,
        "same_p50": quantile(pairs.same, 0.5),
        "same_p90": quantile(pairs.same, 0.9),
        "different_p01": quantile(pairs.different, 0.01),
        "different_p10": quantile(pairs.different, 0.1),
    }
