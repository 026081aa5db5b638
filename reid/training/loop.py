"""The training loop: batches in order, gradients, steps, states to resume from.

A step depends on the weights, the optimiser and its own number: batches and the generators of PyTorch are drawn afresh
from (seed, number). A run that is killed at any moment and resumed therefore ends with the same bits, on one device and
with one number of threads, as one that was not (tests/reid/training/test_resuming.py kills one).
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ConfigError
from reid.datasets.tracklets import DataSet
from reid.training.batches import FrozenCrops, encode_pictures, pictures_to_input
from reid.training.heads import CropTensors
from reid.training.model import ReidModel
from reid.training.pictures import BatchMaker, ClipBatch, ahead
from reid.training.reading import recipe_yaml
from reid.training.recipe import Precision, Recipe
from reid.training.schedule import make_optimiser, rate_at
from reid.training.state import Progress, digest, load_state, save_state
from reid.training.watch import NoScalars, Pace, Report, Scalars, StepReport, TrainingLog

STATE_FILE, LOG_FILE = "state.safetensors", "training.jsonl"
_START, _STEP = 5, 6  # streams of random numbers, beside those of `samplers` and `pictures`
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Where and how one training runs.

    Attributes:
        out: of state and log. seed: all randomness follows from it.
        resume: go on from the state in `out`, if there is one.
        after_epoch: (epochs made, step, model) -> entries of the log, or None.
        should_stop: asked after every step; a state is saved before it ends.
        clock: of the time left.
        frozen: crop features that an earlier training with the same frozen backbone has made.
    """

    out: Path
    seed: int
    device: torch.device
    resume: bool = False
    report: Report = lambda step: None
    scalars: Scalars = field(default_factory=NoScalars)
    after_epoch: Callable[[int, int, ReidModel], dict[str, Any] | None] = lambda epoch, step, model: None
    should_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    frozen: FrozenCrops | None = None


def train(data_set: DataSet, recipe: Recipe, run: TrainingRun) -> tuple[ReidModel, Progress]:
    """Train on `data_set.train`; the model in use mode, and how far it has come (`should_stop` may have ended it).

    Raises:
        ConfigError: a recipe that cannot be carried out, or a training part without two people.
        WeightsError: weights to start from, or a state that does not belong to this training.
        DecodeError: pictures. OutputError: states and log.
    """
    return Training(data_set, recipe, run).run()


class Training:
    """One training in progress: `run` it."""

    def __init__(self, data_set: DataSet, recipe: Recipe, run: TrainingRun) -> None:
        self._recipe, self._run, self._data_set = recipe, run, data_set
        try:
            self._maker = BatchMaker(data_set.train, recipe, run.seed)
        except ValueError as error:
            raise ConfigError(f"{data_set.name}: the training part: {error}") from None
        with torch.random.fork_rng(_cuda_devices(run.device)):
            torch.manual_seed(_seed_of(run.seed, _START, 0))
            people = self._maker.sampler.people
            self.model = ReidModel(recipe, len(people), people).to(run.device)
        self._optimiser = make_optimiser(self.model.parameters(), recipe.schedule)
        self._dtype = choose_precision(recipe.run.precision, run.device)
        self._scaler = torch.amp.GradScaler(run.device.type, enabled=self._dtype == torch.float16)
        self._origin = digest(recipe_yaml(what_counts(recipe)), describe_part(data_set))
        self.frozen = (run.frozen or FrozenCrops(self._encode, run.device)) if recipe.model.freeze else None

    @property
    def steps_per_epoch(self) -> int:
        return max(self._maker.sampler.batches_per_epoch // self._recipe.batch.accumulate, 1)

    @property
    def steps(self) -> int:
        """In all."""
        return self.steps_per_epoch * self._recipe.schedule.epochs

    def run(self) -> tuple[ReidModel, Progress]:
        """See `train`."""
        first = self._resumed_step()
        log = TrainingLog(self._run.out / LOG_FILE, first)
        pace = Pace(self._run.clock)
        accumulate, step = self._recipe.batch.accumulate, first
        batches = ahead(
            self._maker.batch if self.frozen is None else self._maker.without_pictures,
            first * accumulate,
            self.steps * accumulate,
            self._recipe.pictures.readers if self.frozen is None else 0,
        )
        with closing(batches), torch.random.fork_rng(_cuda_devices(self._run.device)):
            self.model.train()
            while step < self.steps:
                terms = self._step(step, [next(batches) for _ in range(accumulate)])
                step += 1
                self._tell(step, terms, pace)
                if step % self.steps_per_epoch == 0:
                    self._end_epoch(step, terms, log)
                stop = self._run.should_stop()
                if stop or step == self.steps or step % self._recipe.run.save_every_steps == 0:
                    self._save(step)
                if stop:
                    break
        return self.model.eval(), self._progress(step)

    def _step(self, step: int, batches: list[ClipBatch]) -> dict[str, float]:
        """One step of the optimiser over several batches; their mean loss terms."""
        rate = rate_at(step, self.steps_per_epoch, self._recipe.schedule)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.model.begin_stage(self._stage(step))
        found: dict[str, float] = {}
        for part, batch in enumerate(batches):
            torch.manual_seed(_seed_of(self._run.seed, _STEP, step * len(batches) + part))
            with self._autocast():
                terms = self._terms(batch)
                total = self.model.total(terms) / len(batches)
            self._scaler.scale(total).backward()
            for name, value in {**terms, "total": total * len(batches)}.items():
                found[name] = found.get(name, 0.0) + float(value.detach()) / len(batches)
        self._check_finite(found, step)
        if self._recipe.schedule.clip_norm is not None:
            self._scaler.unscale_(self._optimiser)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.schedule.clip_norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)
        return found

    def _stage(self, step: int) -> int:
        epoch = step // self.steps_per_epoch
        return sum(epoch >= begins for begins in self._recipe.schedule.stages)

    def _terms(self, batch: ClipBatch) -> dict[str, Tensor]:
        labels = torch.from_numpy(batch.labels).to(self._run.device)
        return self.model.terms(self._crops(batch), labels)

    def _crops(self, batch: ClipBatch) -> CropTensors:
        if self.frozen is None:
            return self.model.crops(pictures_to_input(batch, self._run.device))
        clips = zip(batch.tracklets.tolist(), torch.from_numpy(batch.frames), strict=True)
        return self.frozen.of(list(clips))

    def _encode(self, place: int) -> tuple[Tensor, Tensor]:
        frames = np.arange(len(self._data_set.train[place].images))
        return encode_pictures(self.model, self._maker.plain_clip(place, frames), self._run.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._run.device.type, self._dtype)

    def _check_finite(self, terms: dict[str, float], step: int) -> None:
        wrong = [name for name, value in terms.items() if not np.isfinite(value)]
        if wrong and self._dtype != torch.float16:  # there the scaler leaves such a step out
            raise ConfigError(f"step {step + 1}: {wrong[0]} is not finite; lower schedule.rate or set clip_norm")

    def _tell(self, step: int, terms: dict[str, float], pace: Pace) -> None:
        epoch = (step - 1) // self.steps_per_epoch + 1
        rate = rate_at(step - 1, self.steps_per_epoch, self._recipe.schedule)
        left_s = pace.left_s(self.steps - step)
        self._run.report(StepReport(step, self.steps, epoch, rate, terms, left_s))
        for name, value in terms.items():
            self._run.scalars.add(f"loss/{name}", value, step)
        self._run.scalars.add("rate", rate, step)

    def _end_epoch(self, step: int, terms: dict[str, float], log: TrainingLog) -> None:
        epoch = step // self.steps_per_epoch
        rate = rate_at(step - 1, self.steps_per_epoch, self._recipe.schedule)
        last = {
            "step": step,
            "epoch": epoch,
            "rate": rate,
            "terms": {name: round(value, 6) for name, value in terms.items()},
        }
        found = self._run.after_epoch(epoch, step, self.model)
        self.model.train()
        log.add(last if found is None else {**last, **found})

    def _resumed_step(self) -> int:
        path = self._run.out / STATE_FILE
        if not self._run.resume or not path.is_file():
            return 0
        progress = load_state(path, self.model, self._optimiser)
        if (progress.seed, progress.recipe) != (self._run.seed, self._origin):
            raise ConfigError(
                f"{path}: was trained with another seed, recipe or training part; give the same to --resume, or "
                "--overwrite to start again"
            )
        if progress.scaler:
            self._scaler.load_state_dict(dict(progress.scaler))
        return progress.step

    def _save(self, step: int) -> None:
        save_state(self._run.out / STATE_FILE, self.model, self._optimiser, self._progress(step))

    def _progress(self, step: int) -> Progress:
        return Progress(step, self._run.seed, self._origin, self._scaler.state_dict())


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """What the forward pass is computed in; None: single precision.

    Raises:
        ConfigError: half precision on a CPU, which PyTorch does not train in.
    """
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else None
    if precision == "float16" and device.type == "cpu":
        raise ConfigError("run.precision: float16 is not for CPUs; use bfloat16, float32 or auto")
    return _DTYPES.get(precision)


def what_counts(recipe: Recipe) -> Recipe:
    """The recipe without what changes no weight: how often it is saved and scored, how pictures are read."""
    default = Recipe()
    reading = {"cache_mb": default.pictures.cache_mb, "readers": default.pictures.readers}
    run = replace(default.run, precision=recipe.run.precision)
    return replace(recipe, run=run, pictures=replace(recipe.pictures, **reading))


def describe_part(data_set: DataSet) -> str:
    """Who is in the training part and in which files, by name; wherever the folder lies."""
    rows = (f"{t.person_id} {t.camera_id} {' '.join(image.name for image in t.images)}" for t in data_set.train)
    return "\n".join(rows)


def _seed_of(seed: int, stream: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0] >> 1)


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
