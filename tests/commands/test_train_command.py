"""`train` from the command line's arguments to weights that are used, over generated people."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluate_people import write_people

from pipeline.commands.train import options_from, train
from pipeline.commands.train_arguments import add_train_arguments
from pipeline.errors import ConfigError, OutputError
from reid.training.reading import load_recipe, parse_recipe

RECIPE = """
pictures: {height_px: 64, width_px: 32, readers: 1}
batch: {people: 2, tracklets: 2, frames: 2, sampling: even}
model: {backbone: osnet_x0_25, weights: null, head: {name: sta, stripes: 4, fusion: global}}
schedule: {epochs: 3, milestones: [2], rate: 0.001}
run: {save_every_steps: 2, evaluate_every_epochs: 2, tensorboard: false}
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Four people to train on, three to test with."""
    root = tmp_path_factory.mktemp("people")
    everybody = write_people(root / "all", people=7, cameras=2, pictures=3)
    for number, folder in enumerate(sorted(everybody.iterdir())):
        for part in ("train",) if number < 4 else ("query", "gallery"):
            (root / part).mkdir(exist_ok=True)
            (root / part / folder.name).symlink_to(folder)
    for part in ("train", "query", "gallery"):
        (root / "set" / part).parent.mkdir(exist_ok=True)
        (root / part).rename(root / "set" / part)
    return root / "set"


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def said():
    return []


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    return options_from(parser.parse_args([*map(str, arguments), "--quiet"]))


def of_people(root, recipe, out, *more):
    return parsed("--dataset", "plain", "--root", root, "--config", recipe, "--out", out, *more)


def test_a_recipe_becomes_weights_that_are_scored_and_can_be_used(people, recipe, tmp_path, said):
    out = tmp_path / "out"
    assert train(of_people(people, recipe, out), said.append) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "recipe.yaml",
        "state.safetensors",
        "training.jsonl",
        "model.safetensors",
        "head.safetensors",
        "evaluation.json",
    }
    assert load_recipe(out / "recipe.yaml") == load_recipe(recipe)
    figures = json.loads((out / "evaluation.json").read_text())["heads"][0]["figures"]
    assert figures["rank1"] is not None
    log = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert ["figures" in line for line in log] == [False, True, False]
    assert any(line.startswith("  weights:") for line in said)
    assert any(line.startswith("  head_weights:") for line in said)


def test_a_run_that_is_stopped_is_resumed_to_the_same_bits(people, recipe, tmp_path, said, monkeypatch):
    from contextlib import contextmanager

    from pipeline.commands import train as command

    assert train(of_people(people, recipe, tmp_path / "whole"), said.append) == 0
    asked = iter([False, False, True])

    @contextmanager
    def stop_on_third():
        yield lambda: next(asked)

    with monkeypatch.context() as patched:
        patched.setattr(command, "stop_on_interrupt", stop_on_third)
        assert train(of_people(people, recipe, tmp_path / "cut"), said.append) == 0
    assert "stopped after 3 of 6 steps" in said[-1]
    assert train(of_people(people, recipe, tmp_path / "cut", "--resume"), said.append) == 0
    for name in ("state.safetensors", "training.jsonl", "model.safetensors", "head.safetensors", "evaluation.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_folder_that_holds_something_is_left_alone(people, recipe, tmp_path, said):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    for more in ([], ["--overwrite"], ["--resume"]):
        with pytest.raises(OutputError):
            train(of_people(people, recipe, out, *more), said.append)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_another_recipe_is_not_resumed(people, recipe, tmp_path, said):
    out = tmp_path / "out"
    train(of_people(people, recipe, out), said.append)
    recipe.write_text(RECIPE.replace("epochs: 3", "epochs: 4"))
    with pytest.raises(ConfigError, match="another seed, recipe or training part"):
        train(of_people(people, recipe, out, "--resume"), said.append)


def test_a_training_part_without_test_people_is_trained_on_all_the_same(people, recipe, tmp_path, said):
    root = tmp_path / "only"
    root.mkdir()
    (root / "train").symlink_to(people / "train")
    assert train(of_people(root, recipe, tmp_path / "out"), said.append) == 0
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_a_data_set_without_a_training_part_is_refused(recipe, tmp_path, said):
    folder = tmp_path / "own" / "1" / "a" / "t"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(ConfigError, match="two people"):
        train(of_people(tmp_path / "own", recipe, tmp_path / "out"), said.append)


def test_without_a_recipe_the_default_one_is_meant(people, tmp_path):
    options = parsed("--dataset", "mars", "--root", people, "--out", tmp_path)
    assert options.recipe == parse_recipe("")


@pytest.mark.parametrize("wrong", [("--seed", "-1"), ("--threads", "0"), ("--dataset", "imagenet")])
def test_arguments_that_make_no_sense_are_refused(people, tmp_path, wrong, capsys):
    with pytest.raises(SystemExit):
        parsed("--dataset", "mars", "--root", people, "--out", tmp_path, *wrong)
    assert wrong[0] in capsys.readouterr().err
