"""Tries a stage of the adaptation where it cannot cheat: fitted on some people, judged on the others, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import FloatArray, IntArray
from reid.adaptation.judge import Comparison, Judge, Judgement, compare
from reid.adaptation.links import different_distances, person_vectors
from reid.adaptation.material import Material
from reid.aligned import AlignedHead, AlignedParameters


class AdaptationStopped(Exception):
    """`should_stop` said so; what was accepted before stays."""


def _unchanged(material: Material) -> Material:
    return material


@dataclass(frozen=True, eq=False, slots=True)
class Learned:
    """What the stages so far have made of some footage.

    Attributes:
        material: what is learned from; links and another backbone change it.
        parameters: the head so far. start: the untouched head, which the closed form begins with every time.
        encode: how other tracks come by the crop features of `encoder`.
    """

    material: Material
    encoder: EncoderDescription
    parameters: AlignedParameters
    start: AlignedParameters
    encode: Callable[[Material], Material] = _unchanged

    @property
    def seen(self) -> tuple[Material, EncoderDescription, AlignedParameters]:
        """What the head makes vectors of."""
        return self.material, self.encoder, self.parameters

    @property
    def head(self) -> AlignedHead:
        return AlignedHead(self.encoder, self.parameters)


Stage: TypeAlias = Callable[[Learned, np.random.Generator], Learned]


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A stage fitted without each fold in turn, and what the folds say of it."""

    learned: tuple[Learned, ...]
    judgement: Judgement
    comparison: Comparison


class CrossValidation:
    """Folds of held-back people, each with what was learned from all others."""

    def __init__(self, start: Learned, folds: Sequence[IntArray], rng: np.random.Generator) -> None:
        """
        Args:
            folds: numbers of `start.material`, as `person_folds` makes them.
        """
        self._everything = start.material
        self._held = [start.material.of_people(fold) for fold in folds]
        self._judges = [Judge(held, rng) for held in self._held]
        everybody = start.material.people
        fitted = [start.material.of_people(everybody[~np.isin(everybody, fold)]) for fold in folds]
        self._learned = [Learned(part, start.encoder, start.parameters, start.start) for part in fitted]
        self._rng = rng
        self._judgement = self._judge(self._learned)
        self._start = self._judgement

    def __len__(self) -> int:
        return len(self._held)

    @property
    def people(self) -> int:
        """How many can be judged."""
        return sum(len(judge.people) for judge in self._judges)

    def attempt(self, stage: Stage, on_fold: Callable[[int], None], should_stop: Callable[[], bool]) -> Trial:
        """Fit the stage without each fold in turn, and compare with what was accepted before it.

        Raises:
            AdaptationStopped: before a fold was done.
        """
        learned = []
        for done, before in enumerate(self._learned):
            if should_stop():
                raise AdaptationStopped
            learned.append(stage(before, self._rng.spawn(1)[0]))
            on_fold(done + 1)
        if should_stop():
            raise AdaptationStopped
        judgement = self._judge(learned)
        return Trial(tuple(learned), judgement, compare(self._judgement, judgement, self._rng))

    def accept(self, trial: Trial) -> None:
        """Later stages begin with what this one made."""
        self._learned = list(trial.learned)
        self._judgement = trial.judgement

    def against_start(self) -> Comparison:
        """What all accepted stages together are worth."""
        return compare(self._start, self._judgement, self._rng)

    def held_back(self) -> tuple[tuple[IntArray, AlignedParameters], ...]:
        """The numbers of each fold, and the head by all accepted stages that was fitted without them."""
        return tuple((held.people, of.parameters) for held, of in zip(self._held, self._learned, strict=True))

    def different_distances(self) -> FloatArray:
        """Distances of pairs that are certainly apart, seen by a head that does not know one of them, or both."""
        found = [np.zeros(0, np.float32)]
        for held, learned in zip(self._held, self._learned, strict=True):
            unknown = {int(number) for number in held.people}
            pairs = frozenset(pair for pair in self._everything.apart if unknown.intersection(pair))
            numbers, vectors = person_vectors(learned.encode(self._everything), learned.encoder, learned.parameters)
            found.append(different_distances(numbers, vectors, pairs))
        return np.concatenate(found)

    def _judge(self, learned: Sequence[Learned]) -> Judgement:
        parts = [
            judge.judge(of_fold.head, of_fold.encode(held))
            for judge, held, of_fold in zip(self._judges, self._held, learned, strict=True)
        ]
        return Judgement.joined(parts)
