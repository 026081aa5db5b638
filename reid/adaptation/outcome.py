"""What an adaptation came to, in values that can be shown and written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.types import IntArray
from reid.adaptation.judge import Comparison
from reid.aligned import AlignedParameters


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """One stage; without a comparison it was not tried.

    Attributes:
        name: `closed form`, `links 1` to `links 3`, `refinement` or `backbone`.
        reason: a sentence for people.
    """

    name: str
    comparison: Comparison | None
    kept: bool
    reason: str

    def to_plain(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {"stage": self.name, "kept": self.kept, "reason": self.reason, **plain_comparison(self.comparison)}


@dataclass(frozen=True, eq=False, slots=True)
class Adaptation:
    """The result of `reid.adaptation.adapt.adapt`.

    Attributes:
        parameters: of the head; None: use the untouched one. They belong to the tuned backbone where there is one.
        backbone: weights of the tuned backbone; None: the backbone is as it was.
        comparison: with the untouched encoder, on held-back people; None: it could not be judged.
        reason: sentences for people: what was kept and what it is worth, or why nothing was.
        stopped: it was told to stop; what was accepted before stands.
        seconds: how long it took.
        held_back: numbers of the material with a head that was fitted by the same stages without them; what it says of
            them holds for people to come. Empty where nothing was kept, and with a tuned backbone.
    """

    parameters: AlignedParameters | None
    backbone: Path | None
    stages: tuple[StageOutcome, ...]
    comparison: Comparison | None
    reason: str
    stopped: bool
    seconds: float
    held_back: tuple[tuple[IntArray, AlignedParameters], ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Values that JSON can hold, for fit.json."""
        return {
            "kept": self.parameters is not None,
            "backbone": None if self.backbone is None else str(self.backbone),
            "reason": self.reason,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 1),
            **plain_comparison(self.comparison),
            "stages": [stage.to_plain() for stage in self.stages],
        }


def plain_comparison(comparison: Comparison | None) -> dict[str, Any]:
    """The figures of a comparison; empty without one."""
    if comparison is None:
        return {}
    return {
        "before": round(comparison.before, 4),
        "after": round(comparison.after, 4),
        "gain": round(comparison.gain, 4),
        "interval": [round(end, 4) for end in comparison.interval],
        "average_precision": [round(value, 4) for value in comparison.average_precision],
        "people": comparison.people,
    }


def say(comparison: Comparison) -> str:
    """The figures in a sentence."""
    low, high = comparison.interval
    return (
        f"crops of {comparison.people} held-back people (who comes back counts again) are nearer to their own than to "
        f"others in {comparison.before:.1%} -> {comparison.after:.1%} of cases "
        f"({comparison.gain:+.1%}, 95 % interval {low:+.1%} to {high:+.1%})"
    )
