"""The matcher's quality gate: below which quality a comparison is so often wrong that it is better not made."""

from dataclasses import dataclass

import numpy as np

from pipeline.fitting.comparisons import Comparisons

_GATES = tuple(
    np.round(np.arange(0.0, 0.4001, 0.05), 2).tolist()
)  # qualities tried; a whole, sharp, large person has 1
_LEAST_BELOW = 20  # comparisons of each kind that a gate must cut off before it can be judged
_MOST_LOST = 0.25  # share of the looks that a gate may cost
_REPEATS = 200  # of the bootstrap


@dataclass(frozen=True, slots=True)
class QualityFit:
    """The gate and what speaks for it.

    Attributes:
        min_quality: None when the data do not speak for another than the configured one.
        reason: why, for people.
        errors: gate -> mean of missed and false shares at the threshold, of the looks that it lets through.
    """

    min_quality: float | None
    reason: str
    errors: dict[float, float]


def fit_quality(compared: Comparisons, threshold: float | None, now: float, rng: np.random.Generator) -> QualityFit:
    """The smallest gate of whose error the best one is not clearly better (one standard error).

    Args:
        now: the gate that is configured.
        rng: draws the bootstrap over people.
    """
    if threshold is None or not len(compared.same):
        return QualityFit(None, f"left at {now:g}: there is no threshold to judge by", {})
    if compared.basis != "ground truth":
        return QualityFit(
            None, f"left at {now:g}: how often a poor picture goes wrong is seen with ground truth only", {}
        )
    gates = [gate for gate in _GATES if _keeps_enough(compared, gate)]
    errors = {gate: _error(compared, threshold, gate, np.ones(compared.units)) for gate in gates}
    enough = [gate for gate in gates if gate == 0 or _cuts_enough(compared, gate)]
    if len(enough) < 2:
        return QualityFit(None, f"left at {now:g}: hardly any picture here is poor", errors)
    best = min(enough, key=lambda gate: (errors[gate], gate))
    gains = _gains(compared, threshold, enough, best, rng)
    chosen = next(gate for gate in enough if errors[gate] - errors[best] <= gains[gate])
    if chosen == 0:
        reason = f"left at {now:g}: leaving out poor pictures does not make the comparisons clearly better"
        return QualityFit(None, reason, errors)
    told = f"the error falls from {errors[0.0]:.3f} without a gate to {errors[chosen]:.3f}"
    return QualityFit(chosen, f"{told}; higher gates are not clearly better", errors)


def _keeps_enough(compared: Comparisons, gate: float) -> bool:
    return all(
        len(quality) and float((quality < gate).mean()) <= _MOST_LOST
        for quality in (compared.same_quality, compared.different_quality)
    )


def _cuts_enough(compared: Comparisons, gate: float) -> bool:
    cut = min(int((quality < gate).sum()) for quality in (compared.same_quality, compared.different_quality))
    return cut >= _LEAST_BELOW


def _error(compared: Comparisons, threshold: float, gate: float, drawn: np.ndarray) -> float:
    """Mean of the missed and the false share of what the gate lets through; people weighted by `drawn`."""
    of_same, of_different = compared.weights(drawn)
    same = of_same * (compared.same_quality >= gate)
    different = of_different * (compared.different_quality >= gate)
    if same.sum() <= 0 or different.sum() <= 0:
        return float("nan")
    missed = float((same * (compared.same > threshold)).sum() / same.sum())
    false = float((different * (compared.different <= threshold)).sum() / different.sum())
    return (missed + false) / 2


def _gains(
    compared: Comparisons, threshold: float, gates: list[float], best: float, rng: np.random.Generator
) -> dict[float, float]:
    """Standard error of how much better the best gate is than each one."""
    units = compared.units
    gains: dict[float, list[float]] = {gate: [] for gate in gates}
    for _ in range(_REPEATS):
        drawn = np.bincount(rng.integers(0, units, units), minlength=units).astype(float)
        at_best = _error(compared, threshold, best, drawn)
        for gate in gates:
            gains[gate].append(_error(compared, threshold, gate, drawn) - at_best)
    return {gate: float(np.nan_to_num(np.nanstd(values))) for gate, values in gains.items()}
