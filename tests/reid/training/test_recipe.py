from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from reid.losses.make import LOSSES
from reid.training.reading import load_recipe, parse_recipe, recipe_yaml
from reid.training.recipe import HeadRecipe, LossRecipe, Recipe

CONFIGS = Path(__file__).parents[3] / "configs"


def test_an_empty_recipe_is_the_default_one():
    assert parse_recipe("") == Recipe()


def test_the_example_shows_every_setting_with_its_default():
    assert load_recipe(CONFIGS / "train.yaml") == Recipe()
    shown = (CONFIGS / "train.yaml").read_text(encoding="utf-8")
    keys = [line.strip(" -").partition(":")[0] for line in recipe_yaml(Recipe()).splitlines() if ":" in line]
    assert [key for key in keys if f"{key}:" not in shown] == []


def test_the_default_is_the_schedule_of_ap3d():
    recipe = Recipe()
    assert (recipe.schedule.rate, recipe.schedule.weight_decay, recipe.schedule.epochs) == (3e-4, 5e-4, 240)
    assert (recipe.schedule.milestones, recipe.schedule.factor) == ((60, 120, 180), 0.1)
    assert (recipe.batch.people, recipe.batch.tracklets, recipe.batch.frames, recipe.batch.stride) == (8, 4, 4, 8)


def test_options_of_losses_and_heads_stand_beside_their_names():
    recipe = parse_recipe(
        "model: {head: {name: stgcn, stripes: 8, residual: true}}\n"
        "losses:\n  - {name: trihard, weight: 0.5, margin: null}\n  - {name: identity, smoothing: 0.2}\n"
    )
    assert recipe.model.head == HeadRecipe("stgcn", 8, {"residual": True})
    assert recipe.losses == (
        LossRecipe("trihard", 0.5, {"margin": None}),
        LossRecipe("identity", 1.0, {"smoothing": 0.2}),
    )


def test_what_a_checkpoint_carries_reads_as_the_same_recipe():
    recipe = parse_recipe("model: {head: {name: sta, fusion: paper}}\nlosses: [{name: msml, margin: 0.5}]\n")
    recipe = replace(recipe, augment=replace(recipe.augment, erase_area=(0.1, 0.2)))
    assert parse_recipe(recipe_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch:\n  peple: 8\n", "r.yaml:2: unknown key 'batch.peple'; did you mean 'people'?"),
        ("schedule: {rate: fast}\n", "r.yaml:1: schedule.rate: expected a number, got 'fast'"),
        ("augment:\n  flip: 2\n", "r.yaml:2: augment.flip: expected 0 to 1, got 2"),
        ("pictures: {height_px: 100}\n", "r.yaml:1: pictures: expected multiples of 32 and 16 px, got 100 and 128"),
        ("augment: {erase_area: [0.5, 0.1]}\n", "rising shares"),
        ("losses: []\n", "losses: expected at least one"),
        ("losses:\n  - {weight: 2}\n", "r.yaml:2: losses[0]: 'name' is missing"),
        ("losses: [{name: trihard, margin: {a: 1}}]\n", "losses[0].margin: expected a plain value"),
        ("losses: [{name: trihard, margin: 1, margin: 2}]\n", "'losses[0].margin' is given twice"),
        ("losses: [{name: a, x: !!python/object:os.system 1}]\n", "losses[0].x: expected a plain value"),
        ("a: [\n", "not YAML"),
    ],
)
def test_mistakes_name_their_place(text: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, "r.yaml")
    assert expected in str(caught.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_recipe("batch: {people: 1}\nschedule: {epochs: 0}\n")
    assert len(caught.value.mistakes) == 2


def test_weights_are_looked_for_beside_the_recipe(tmp_path: Path):
    (tmp_path / "start.pth").touch()
    (tmp_path / "r.yaml").write_text("model: {weights: start.pth}\n")
    assert load_recipe(tmp_path / "r.yaml").model.weights == str(tmp_path / "start.pth")


def test_a_recipe_that_is_not_there_is_said_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_recipe(tmp_path / "none.yaml")


def test_every_loss_has_an_example():
    named = {loss.name for path in (CONFIGS / "methods").glob("*.yaml") for loss in load_recipe(path).losses}
    assert set(LOSSES) <= named
