"""`run_pipeline.py train`: a recipe on a data set, to weights that are used live; and how good they are."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import write_bytes
from pipeline.commands.evaluate import summary_lines, table_lines
from pipeline.commands.interrupting import stop_on_interrupt
from pipeline.commands.output import prepare_output
from reid.datasets.load import load_data_set
from reid.datasets.tracklets import DataSet
from reid.encoder import choose_device
from reid.evaluation import Evaluation, EvaluationOptions, as_json, evaluate_heads, figures
from reid.load import limit_threads
from reid.tracklet_vectors import Sampling
from reid.training.heads import PLAIN
from reid.training.live import HEAD_FILE, MODEL_FILE, load_trained_encoder, load_trained_head, save_trained
from reid.training.loop import STATE_FILE, Training, TrainingRun
from reid.training.model import ReidModel
from reid.training.reading import load_recipe, recipe_yaml
from reid.training.recipe import Recipe
from reid.training.state import Progress, read_progress
from reid.training.watch import Scalars, StepReport, open_scalars

Echo = Callable[[str], None]

RECIPE_FILE, EVALUATION_FILE = "recipe.yaml", "evaluation.json"
_TEST_FRAMES = 4  # pictures of a clip in evaluation, as `evaluate` takes by default


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train, and how.

    Attributes:
        resume: go on in `out`; without a state there it begins.
    """

    dataset: str
    root: Path
    out: Path
    recipe: Recipe
    recipe_file: Path | None = None
    split: int = 0
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    resume: bool = False
    overwrite: bool = False
    progress: bool = True


def options_from(arguments: argparse.Namespace) -> TrainOptions:
    """The options of a command line that `add_train_arguments` has parsed.

    Raises:
        ConfigError: a recipe that cannot be read.
    """
    return TrainOptions(
        dataset=arguments.dataset,
        root=arguments.root,
        out=arguments.out,
        recipe=load_recipe(arguments.config) if arguments.config else Recipe(),
        recipe_file=arguments.config,
        split=arguments.split,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
    )


def train(options: TrainOptions, echo: Echo) -> int:
    """Train, write the weights, and score them on the data set's queries and gallery where it has them.

    Ctrl-C ends it after the step in hand with everything saved that `--resume` needs.

    Raises:
        ConfigError, WeightsError: what to train, and from what. DecodeError: pictures. OutputError: `out`.
    """
    limit_threads(options.threads)
    device = choose_device(options.device)
    data_set = load_data_set(options.dataset, options.root, split=options.split)  # whatever the seed: runs compare
    _prepare(options)
    scalars = open_scalars(options.out / "tensorboard", options.recipe.run.tensorboard, _resumed_step(options))
    with logging_redirect_tqdm(), _Bar(options.progress) as bar, stop_on_interrupt() as should_stop:
        between = _between_epochs(options, data_set, scalars)
        run = TrainingRun(options.out, options.seed, device, options.resume, bar.show, scalars, between, should_stop)
        training = Training(data_set, options.recipe, run)
        echo(_describe(data_set, training))
        model, progress = training.run()
    scalars.close()
    for path in _keep(options, data_set, model, progress.step):
        echo(f"written: {path}")
    if progress.step < training.steps:
        echo(f"stopped after {progress.step} of {training.steps} steps; --resume goes on")
    elif data_set.query:
        _report(score(data_set, options.out, options.device), options.out, echo)
    return 0


def score(data_set: DataSet, out: Path, device: str = "auto") -> Evaluation:
    """How good the weights in `out` are, as they are used live.

    Raises:
        WeightsError: there are none. ConfigError: no queries or no gallery. DecodeError: pictures.
    """
    encoder = load_trained_encoder(out / MODEL_FILE, device=device)
    head = load_trained_head(out / MODEL_FILE, encoder.describe())
    name = head.clip_model_id.partition("/")[2]
    how = EvaluationOptions(Sampling(frames=_TEST_FRAMES), lists=0)
    return evaluate_heads(data_set, encoder, {name: head}, how)


def _prepare(options: TrainOptions) -> None:
    out, recipe = options.out, recipe_yaml(options.recipe)
    if options.resume and (out / RECIPE_FILE).is_file():
        return
    prepare_output(out, options.overwrite, (options.recipe_file, options.root))
    write_bytes(out / RECIPE_FILE, recipe.encode())


def _resumed_step(options: TrainOptions) -> int:
    state = options.out / STATE_FILE
    return read_progress(state).step if options.resume and state.is_file() else 0


def _people(data_set: DataSet) -> int:
    return len({tracklet.person_id for tracklet in data_set.train if tracklet.person_id > 0})


def _keep(options: TrainOptions, data_set: DataSet, model: ReidModel, step: int) -> tuple[Path, ...]:
    progress = Progress(step, options.seed, "", {})
    return save_trained(options.out, model, progress, _people(data_set), data_set.name)


def _between_epochs(
    options: TrainOptions, data_set: DataSet, scalars: Scalars
) -> Callable[[int, int, ReidModel], dict[str, Any] | None]:
    """Scores the weights as often as the recipe says; after the last epoch they are scored anyway."""
    every = options.recipe.run.evaluate_every_epochs

    def after_epoch(epoch: int, step: int, model: ReidModel) -> dict[str, Any] | None:
        if not every or epoch % every or epoch == options.recipe.schedule.epochs or not data_set.query:
            return None
        _keep(options, data_set, model, step)
        found = figures(score(data_set, options.out, options.device).results[0].plain)
        for name, value in found.items():
            scalars.add(f"test/{name}", value or 0.0, step)
        return {"figures": found}

    return after_epoch


def _describe(data_set: DataSet, training: Training) -> str:
    pictures = sum(len(tracklet.images) for tracklet in data_set.train)
    return (
        f"{data_set.name}: {_people(data_set)} people, {len(data_set.train)} tracklets, {pictures} pictures to train "
        f"on; {training.steps} steps, {training.steps_per_epoch} an epoch"
    )


def _report(evaluation: Evaluation, out: Path, echo: Echo) -> None:
    for line in (*summary_lines(evaluation), "", *table_lines(evaluation)):
        echo(line)
    content = json.dumps(as_json(evaluation), indent=2, allow_nan=False) + "\n"
    write_bytes(out / EVALUATION_FILE, content.encode())
    echo(f"written: {out / EVALUATION_FILE}")
    for line in _live_lines(out):
        echo(line)


def _live_lines(out: Path) -> list[str]:
    """What to write into a configuration."""
    model = load_recipe(out / RECIPE_FILE).model
    lines = [f"  backbone: {model.backbone}", f"  weights: {out / MODEL_FILE}"]
    fusion = model.head.options.get("fusion", "mean")
    if (out / HEAD_FILE).is_file():
        lines += [f"  head: {model.head.name}", f"  head_weights: {out / HEAD_FILE}"]
    elif model.head.name == PLAIN and fusion != "mean":
        lines += ["  head: sta", f"  fusion: {fusion}"]
    else:
        lines.append("  head: mean")
    return ["to use it:", "reid:", *lines]


class _Bar:
    """A progress bar with the loss and the time that is left."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, report: StepReport) -> None:
        if self._bar is None:
            start = report.step - 1
            self._bar = tqdm(
                total=report.steps, initial=start, unit="step", disable=not self._shown, mininterval=1.0, smoothing=0.1
            )
        losses = " ".join(f"{name} {value:.3f}" for name, value in report.terms.items() if name != "total")
        self._bar.set_description_str(f"epoch {report.epoch}", refresh=False)
        self._bar.set_postfix_str(f"{losses} left {_duration(report.left_s)}", refresh=False)
        self._bar.update(report.step - self._bar.n)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
