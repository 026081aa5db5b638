"""A run that is killed at any moment and resumed ends with the same bits as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import SMALL, small_recipe, write_data_set

from pipeline.errors import ConfigError, WeightsError
from reid.datasets.tracklets import DataSet
from reid.training.loop import LOG_FILE, STATE_FILE, TrainingRun, train
from reid.training.recipe import Recipe
from reid.training.watch import StepReport

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """As sudden as a signal: nothing is saved behind it."""


def run_to_end(data_set: DataSet, recipe: Recipe, out: Path, **more) -> bytes:
    train(data_set, recipe, TrainingRun(out, 1, CPU, **more))
    return (out / STATE_FILE).read_bytes()


def kill_after(steps: int):
    made = []

    def report(step: StepReport) -> None:
        made.append(step)
        if len(made) == steps:
            raise Killed

    return report


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> DataSet:
    return write_data_set(tmp_path_factory.mktemp("people"), people=8)


VARIANTS = {
    "plain": {},
    "bfloat16": {"run": {"precision": "bfloat16"}},
    "accumulated, SGD": {"batch": {"accumulate": 2, "people": 2}, "schedule": {"optimiser": "sgd", "clip_norm": 1.0}},
    "read ahead": {"pictures": {"readers": 2}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(name: str, data_set: DataSet, tmp_path: Path):
    recipe = small_recipe(**VARIANTS[name])
    whole = run_to_end(data_set, recipe, tmp_path / "whole")
    for steps in (2, 4, 1):  # killed before the first state, after it, and right after resuming
        with pytest.raises(Killed):
            train(data_set, recipe, TrainingRun(tmp_path / "cut", 1, CPU, resume=True, report=kill_after(steps)))
    assert run_to_end(data_set, recipe, tmp_path / "cut", resume=True) == whole
    assert (tmp_path / "cut" / LOG_FILE).read_bytes() == (tmp_path / "whole" / LOG_FILE).read_bytes()


def test_a_run_depends_on_its_seed_alone(data_set: DataSet, tmp_path: Path):
    torch.manual_seed(int(time.time()))
    first = run_to_end(data_set, small_recipe(schedule={"epochs": 1}), tmp_path / "a")
    np.random.default_rng().random()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert run_to_end(data_set, small_recipe(schedule={"epochs": 1}), tmp_path / "b") == first
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stop_saves_what_resuming_needs(data_set: DataSet, tmp_path: Path):
    recipe = small_recipe()
    whole = run_to_end(data_set, recipe, tmp_path / "whole")
    _, progress = train(data_set, recipe, TrainingRun(tmp_path / "cut", 1, CPU, should_stop=lambda: True))
    assert progress.step == 1
    assert run_to_end(data_set, recipe, tmp_path / "cut", resume=True) == whole


def test_a_finished_run_that_is_resumed_does_nothing_more(data_set: DataSet, tmp_path: Path):
    whole = run_to_end(data_set, small_recipe(), tmp_path)
    steps = []
    assert run_to_end(data_set, small_recipe(), tmp_path, resume=True, report=steps.append) == whole
    assert steps == []


def test_how_it_is_saved_and_read_may_change_when_it_is_resumed(data_set: DataSet, tmp_path: Path):
    whole = run_to_end(data_set, small_recipe(), tmp_path / "whole")
    train(data_set, small_recipe(), TrainingRun(tmp_path / "cut", 1, CPU, should_stop=lambda: True))
    changed = small_recipe(run={"save_every_steps": 100}, pictures={"readers": 1, "cache_mb": 0})
    assert run_to_end(data_set, changed, tmp_path / "cut", resume=True) == whole


def test_another_seed_recipe_or_training_part_is_not_resumed(data_set: DataSet, tmp_path: Path):
    run_to_end(data_set, small_recipe(), tmp_path / "out")
    fewer = write_data_set(tmp_path / "fewer", people=5)
    for data, recipe, seed in (
        (data_set, small_recipe(), 2),
        (data_set, small_recipe(schedule={"epochs": 5}), 1),
        (fewer, small_recipe(), 1),
    ):
        with pytest.raises((ConfigError, WeightsError), match="another"):
            train(data, recipe, TrainingRun(tmp_path / "out", seed, CPU, resume=True))


PROGRAM = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from small_training import parse_recipe, write_data_set
from reid.training.loop import TrainingRun, train
torch.set_num_threads(1)
data_set = write_data_set(Path(sys.argv[1]), people=8)
recipe = parse_recipe(Path(sys.argv[4]).read_text())
train(data_set, recipe, TrainingRun(Path(sys.argv[2]), 1, torch.device("cpu"), resume=True,
      report=lambda step: print(step.step, flush=True)))
"""


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_nothing(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(
        SMALL.replace("epochs: 4", "epochs: 40").replace("every_steps: 3", "every_steps: 2")
    )
    run_program(tmp_path, "whole", None)
    rng, kills = np.random.default_rng(), 0
    for _ in range(5):
        kills += run_program(tmp_path, "cut", float(rng.uniform(0.0, 1.5)))
    run_program(tmp_path, "cut", None)
    assert kills >= 2
    assert (tmp_path / "cut" / STATE_FILE).read_bytes() == (tmp_path / "whole" / STATE_FILE).read_bytes()
    assert (tmp_path / "cut" / LOG_FILE).read_bytes() == (tmp_path / "whole" / LOG_FILE).read_bytes()


def run_program(folder: Path, out: str, kill_after_s: float | None) -> bool:
    """Whether the process was killed before it ended, so long after its first step."""
    command = [sys.executable, "-c", PROGRAM, folder / "people", folder / out, Path(__file__).parent, folder / "r.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE) as process:
        if kill_after_s is None:
            process.communicate(timeout=120)
            assert process.returncode == 0
            return False
        assert process.stdout is not None
        process.stdout.readline()  # the first step is made
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        return process.returncode == -signal.SIGKILL
