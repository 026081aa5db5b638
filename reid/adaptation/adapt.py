"""Teaches an encoder its site: stages from cheap to dear, each kept only if people who were held back gain by it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import IntArray
from reid.adaptation.closed_form import fit_closed_form
from reid.adaptation.folds import person_folds
from reid.adaptation.judge import LEAST_PEOPLE, Comparison
from reid.adaptation.links import Linked, different_distances, link_limit, link_people, person_vectors
from reid.adaptation.material import Material
from reid.adaptation.outcome import Adaptation, StageOutcome, say
from reid.adaptation.thinning import thin
from reid.adaptation.trial import AdaptationStopped, CrossValidation, Learned, Stage
from reid.aligned import AlignedParameters, check_encoder

if TYPE_CHECKING:
    from reid.adaptation.backbone import BackboneToTrain

MOST_TRACKS = 300  # that are learned from; more are thinned out evenly: a thousand then take minutes on one core
MOST_CROPS = 32  # of a track
ROUNDS = 3  # of links
LOOK_ALIKE_ROUNDS = 10  # for folds, where a wrong link costs no more than a little footage
# How much worse a stage of the closed form may be at the lower end of its interval. It brings unseen people .05 to .08
# mAP across cameras where that could be measured (docs/sta.md), but held-back certain pairs are easy and show little
# of it, so it must gain and not be surely better; gradients, which can learn people by heart, must be.
SLACK = 0.01

Progress: TypeAlias = Callable[[str, int, int], None]  # stage, steps done, steps in all


def adapt(
    material: Material,
    encoder: EncoderDescription,
    start: AlignedParameters,
    *,
    rng: np.random.Generator,
    backbone: "BackboneToTrain | None" = None,
    on_progress: Progress = lambda name, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Adaptation:
    """The head, and where it pays the backbone, fitted to this footage; what does not pay is left out.

    Closed form; links and the closed form again, up to three times; gradients on the head; gradients on the backbone's
    last stages. Each is tried by cross-validation over people and kept by `_pays`; what is kept is then fitted on
    everything. Deterministic for a state of `rng`, on a CPU with a number of threads.

    Args:
        start: the untouched head; everything is compared with it.
        backbone: None: only the head is adapted.
        should_stop: asked between steps; what was accepted until then is the result, marked `stopped`.

    Raises:
        WeightsError: `start` belongs to another encoder, or the backbone's file to another network.
        OutputError: the tuned backbone cannot be written.
    """
    began_s = clock()
    check_encoder(encoder, start)
    used = thin(material, MOST_TRACKS, MOST_CROPS)
    note = "" if used is material or len(used.tracks) == len(material.tracks) else _thinned_note(material, used)
    everything = Learned(used, encoder, start, start)
    reason = why_unjudgeable(used)
    if reason is not None:
        return Adaptation(None, None, (), None, reason + note, False, clock() - began_s)
    tracks = person_folds(used)
    trials = CrossValidation(everything, tracks, rng)
    reason = _why_not_held_back(len(tracks), trials.people)
    if reason is not None:
        return Adaptation(None, None, (), None, reason + note, False, clock() - began_s)
    people = folds_of_people(everything, rng)
    course = _Course(trials, people, everything, rng, on_progress, should_stop)
    stopped = course.run(backbone)
    note += " Tracks were held back: other tracks of the same people may be known."
    if any(stage.kept for stage in course.stages[1:]):
        note += " Later stages were judged on held-back people." if people else " The people were too few to hold back."
    return course.outcome(note, stopped, clock() - began_s)


def why_unjudgeable(material: Material) -> str | None:
    """Why nothing can be learned from this footage with proof, and what would help; None: it can be tried."""
    if len(material.people) < 2:
        found = "nobody was" if not len(material.tracks) else "one person alone was"
        return f"{found} seen long and clearly enough; footage with several people would help."
    if not material.apart:
        return (
            "no two people were in view at once, so nobody is certain to be somebody else and nothing can be judged; "
            "footage in which people are seen beside each other would help."
        )
    return None


def _why_not_held_back(folds: int, people: int) -> str | None:
    if folds < 2:
        return (
            "all who were seen beside somebody were seen beside the same person, or are three at most, so that no pair "
            "can be held back while another one is learned from; footage with more people at once would help."
        )
    if people < LEAST_PEOPLE:
        return (
            f"{people} of those who were seen beside somebody can be judged, with crops a second and more apart; "
            f"{LEAST_PEOPLE} are needed: longer or busier footage would help."
        )
    return None


@dataclass(eq=False)
class _Course:
    """The stages in their order, and what has been accepted of them.

    The closed form is three statistics and cannot learn a person: `trials` hold back tracks. What comes after it can,
    and is judged on `people`, folds of tracks that look alike, where there are enough.
    """

    trials: CrossValidation
    people: list[IntArray]
    everything: Learned
    rng: np.random.Generator
    on_progress: Progress
    should_stop: Callable[[], bool]
    stages: list[StageOutcome] = field(default_factory=list)
    comparison: Comparison | None = None  # of the closed form with the start, on held-back tracks
    saved: Path | None = None

    def __post_init__(self) -> None:
        self.untouched = self.everything

    def run(self, backbone: "BackboneToTrain | None") -> bool:
        """Whether it was stopped."""
        try:
            if self._try("closed form", _closed_form, SLACK):
                self._hold_back_people()
                self._links()
                refined = self._try("refinement", self._refinement, None)
                if backbone is not None:
                    self._backbone(backbone, refined)
        except AdaptationStopped:
            return True
        return False

    def _hold_back_people(self) -> None:
        self.comparison = self.trials.against_start()
        if self.people:
            self.trials = CrossValidation(self.untouched, self.people, self.rng)
            self.trials.accept(self.trials.attempt(_closed_form, lambda done: None, self.should_stop))

    def outcome(self, note: str, stopped: bool, seconds: float) -> Adaptation:
        comparison = self.comparison or self.trials.against_start()
        if not any(stage.kept for stage in self.stages) or comparison.gain <= 0:
            why = "stopped before anything was accepted" if stopped and not self.stages else "nothing gained enough"
            tried = [f"{stage.name} {stage.reason}" for stage in self.stages if not stage.kept]
            reason = (
                f"The encoder stays as it was: {'; '.join([why, *tried] if tried else [why, say(comparison)])}.{note}"
            )
            return Adaptation(None, None, tuple(self.stages), comparison, reason, stopped, seconds)
        kept = ", ".join(stage.name for stage in self.stages if stage.kept)
        reason = f"Adapted by {kept}: {say(comparison)}.{note}"
        parameters = self.everything.parameters
        held_back = self.trials.held_back() if self.saved is None else ()  # a fold's own backbone is not kept
        stages = tuple(self.stages)
        return Adaptation(parameters, self.saved, stages, comparison, reason, stopped, seconds, held_back)

    def _try(self, name: str, stage: Stage, slack: float | None, final: Stage | None = None) -> bool:
        """Try a stage, note what came of it, and fit it on everything if it pays.

        Args:
            slack: see `_pays`. final: what fits it on everything, where that is another function.
        """
        steps = len(self.trials) + 1
        self.on_progress(name, 0, steps)
        trial = self.trials.attempt(stage, lambda done: self.on_progress(name, done, steps), self.should_stop)
        kept = _pays(trial.comparison, slack)
        if kept:
            fitted = (final or stage)(self.everything, self.rng.spawn(1)[0])
            self.everything = fitted
            self.trials.accept(trial)
        why = say(trial.comparison) if kept else f"not kept: {say(trial.comparison)}"
        self.stages.append(StageOutcome(name, trial.comparison, kept, why))
        self.on_progress(name, steps, steps)
        return kept

    def _links(self) -> None:
        for number in range(1, ROUNDS + 1):
            name = f"links {number}"
            limit = link_limit(self.trials.different_distances())
            if not _linked(self.everything, limit).joined:
                why = "no two tracks are surely one person" if limit > 0 else "too few people seen beside each other"
                self.stages.append(StageOutcome(name, None, False, f"not tried: {why}"))
                return
            if not self._try(name, partial(_link_and_fit, limit), SLACK):
                return

    def _refinement(self, learned: Learned, rng: np.random.Generator) -> Learned:
        from reid.adaptation.refine import refine_head  # PyTorch only here

        refined = refine_head(
            learned.material, learned.encoder, learned.parameters, rng=rng, should_stop=self.should_stop
        )
        if self.should_stop():
            raise AdaptationStopped  # it may have been cut short
        return replace(learned, parameters=refined)

    def _backbone(self, options: "BackboneToTrain", refined: bool) -> None:
        from reid.adaptation.backbone import load_trainable, why_not_trainable
        from reid.adaptation.tuning import BackboneTuning

        why = why_not_trainable(options, self.everything.material)
        if why is not None:
            self.stages.append(StageOutcome("backbone", None, False, f"not tried: {why}"))
            return
        network, projection = load_trainable(options)
        after = [_closed_form, *([self._refinement] if refined else [])]
        tuning = BackboneTuning(network, projection, options, tuple(after), self.should_stop)
        if self._try("backbone", tuning.trial, None, tuning.final):
            self.saved = options.out


def _pays(comparison: Comparison, slack: float | None) -> bool:
    """Whether a stage is kept: surely better (slack None), or better, and surely not worse by more than `slack`."""
    if slack is None:
        return comparison.is_better
    return comparison.gain > 0 and comparison.interval[0] > -slack


def _closed_form(learned: Learned, rng: np.random.Generator) -> Learned:
    return replace(learned, parameters=fit_closed_form(learned.material, learned.encoder, learned.start))


def _linked(learned: Learned, limit: float) -> Linked:
    return link_people(learned.material, *person_vectors(*learned.seen), limit)


def _link_and_fit(limit: float, learned: Learned, rng: np.random.Generator) -> Learned:
    linked = _linked(learned, limit)
    return _closed_form(replace(learned, material=linked.material), rng) if linked.joined else learned


def folds_of_people(everything: Learned, rng: np.random.Generator) -> list[IntArray]:
    """Folds that share no person, as far as looks can say; none where people are too few for that.

    A person who comes back has another number, and would be known from the fitted part; so tracks that look alike are
    held back together, as long as enough people are left to be judged, and to be learned from.
    """
    rough = _closed_form(everything, rng)
    limit = link_limit(different_distances(*person_vectors(*rough.seen), rough.material.apart))
    for _ in range(LOOK_ALIKE_ROUNDS):
        linked = _linked(rough, limit)
        if not linked.joined:
            break
        rough = replace(rough, material=linked.material)
    own, group = everything.material.person_of, rough.material.person_of
    alike = person_folds(rough.material)
    folds = [np.unique(own[np.isin(group, fold)]) for fold in alike]
    left = len(rough.material.people) - max((len(fold) for fold in alike), default=0)
    if len(folds) >= 2 and left >= LEAST_PEOPLE and CrossValidation(everything, folds, rng).people >= LEAST_PEOPLE:
        return folds
    return []


def _thinned_note(material: Material, used: Material) -> str:
    return f" {len(used.tracks)} of {len(material.tracks)} tracks were used, evenly chosen."
