"""From pictures to the losses, and from a trained model to what runs live: every head, every loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import small_recipe, write_data_set

from pipeline.errors import ConfigError, WeightsError
from pipeline.types import Frame
from reid.clip_heads.make import CLIP_HEADS
from reid.crop_stack import stack_clips
from reid.datasets.tracklets import DataSet
from reid.part_heads.make import PART_HEADS
from reid.sta_torch import unit_or_zero
from reid.training.about import read_trained
from reid.training.batches import pictures_to_input
from reid.training.heads import ClipTrainingHead, PartTrainingHead, PlainHead
from reid.training.live import load_trained_encoder, load_trained_head, save_trained
from reid.training.loop import TrainingRun, train
from reid.training.model import ReidModel
from reid.training.pictures import BatchMaker, ClipBatch
from reid.training.reading import load_recipe
from reid.training.recipe import HeadRecipe, LossRecipe, ModelRecipe, Recipe

CPU = torch.device("cpu")
METHODS = sorted((Path(__file__).parents[3] / "configs" / "methods").glob("*.yaml"))
OWN = (LossRecipe("own"),)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> DataSet:
    return write_data_set(tmp_path_factory.mktemp("people"), people=5)


def recipe_of(head: HeadRecipe, **model: object) -> Recipe:
    recipe = small_recipe(losses=OWN) if head.name in PART_HEADS else small_recipe()
    return replace(recipe, model=ModelRecipe("osnet_x0_25", None, head=head, **model))


def trained(data_set: DataSet, recipe: Recipe, out: Path, epochs: int = 1) -> ReidModel:
    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))
    model, progress = train(data_set, recipe, TrainingRun(out, 0, CPU))
    save_trained(out, model, progress, 3, data_set.name)
    return model


def expected_vectors(model: ReidModel, batch: ClipBatch) -> np.ndarray:
    """(B, D) of the batch's clips, from the model in training's own words."""
    with torch.no_grad():
        crops = model.crops(pictures_to_input(batch, CPU))
        if isinstance(model.head, PlainHead):
            vectors = model.head(crops, torch.zeros(len(batch.labels))).before[0]
        elif isinstance(model.head, ClipTrainingHead):
            vectors = model.head.head(crops.stripes, crops.energy).embedding
        else:
            assert isinstance(model.head, PartTrainingHead) and crops.maps is not None
            frames = crops.maps.shape[1]
            vectors = model.head.embed(crops.maps.flatten(0, 1)).unflatten(0, (-1, frames)).mean(1)
        return unit_or_zero(vectors).numpy()


def live_vectors(out: Path, batch: ClipBatch, stripes: int | None = None) -> np.ndarray:
    encoder = load_trained_encoder(out / "model.safetensors", stripes)
    head = load_trained_head(out / "model.safetensors", encoder.describe())
    clips = []
    for pictures in batch.pictures:
        frames = [Frame("c", "1", i, float(i), picture) for i, picture in enumerate(pictures)]
        whole = [np.array([[0, 0, p.shape[1], p.shape[0]]], np.float32) for p in pictures]
        clips.append([crop for (crop,) in encoder.encode(frames, whole)])
    return head.fuse_batch(*stack_clips(clips, encoder.describe())).embedding


@pytest.mark.parametrize("head", ["plain", *CLIP_HEADS])
def test_a_trained_model_gives_live_what_it_gave_in_training(head: str, data_set: DataSet, tmp_path: Path):
    model = trained(data_set, recipe_of(HeadRecipe(head, 2)), tmp_path)
    batch = BatchMaker(data_set.train, small_recipe(), 0).batch(0)
    np.testing.assert_allclose(live_vectors(tmp_path, batch), expected_vectors(model, batch), atol=2e-4)


@pytest.mark.parametrize("head", PART_HEADS)
def test_a_part_head_gives_live_what_it_gave_in_training(head: str, data_set: DataSet, tmp_path: Path):
    model = trained(data_set, recipe_of(HeadRecipe(head, 2)), tmp_path)
    batch = BatchMaker(data_set.train, small_recipe(batch={"frames": 1}), 0).batch(0)
    np.testing.assert_allclose(live_vectors(tmp_path, batch), expected_vectors(model, batch), atol=2e-4)


def test_refined_parts_pass_through_their_stages_and_live_as_one_vector_a_crop(data_set: DataSet, tmp_path: Path):
    recipe = recipe_of(HeadRecipe("pcb", 2, {"rpp": True}))
    recipe = replace(recipe, schedule=replace(recipe.schedule, stages=(1, 2)))
    backbones = []
    for epochs in (1, 2, 3):
        model = trained(data_set, recipe, tmp_path / str(epochs), epochs)
        backbones.append({name: value.clone() for name, value in model.backbone.state_dict().items()})
    first, refined, everything = ([b[name] for name in b] for b in backbones)
    assert all(torch.equal(a, b) for a, b in zip(first, refined, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(refined, everything, strict=True))
    batch = BatchMaker(data_set.train, small_recipe(), 0).batch(0)
    np.testing.assert_allclose(live_vectors(tmp_path / "3", batch), expected_vectors(model, batch), atol=2e-4)
    with pytest.raises(ConfigError, match="one vector"):
        load_trained_encoder(tmp_path / "3" / "model.safetensors", 4)


def test_training_makes_the_loss_fall(data_set: DataSet, tmp_path: Path):
    totals = []
    run = TrainingRun(tmp_path, 0, CPU, report=lambda step: totals.append(step.terms["total"]))
    recipe = small_recipe(augment={"erase": 0.0, "camera_style": 0.0}, schedule={"epochs": 40, "milestones": (30,)})
    train(data_set, recipe, run)
    assert np.mean(totals[-5:]) < 0.5 * np.mean(totals[:5])


def test_a_frozen_backbone_stays_as_it_is_and_its_head_learns(data_set: DataSet, tmp_path: Path):
    trained(data_set, recipe_of(HeadRecipe("plain", 2)), tmp_path / "first")
    weights = str(tmp_path / "first" / "model.safetensors")
    recipe = recipe_of(HeadRecipe("stgcn", 2), freeze=True)
    recipe = replace(recipe, model=replace(recipe.model, weights=weights))
    model = trained(data_set, recipe, tmp_path / "second", epochs=3)
    start = load_trained_encoder(Path(weights)).describe().projection
    assert start is not None
    before = ReidModel(recipe, 3)
    kept = [n for n in model.backbone.state_dict() if not n.startswith("fc.")]
    assert all(torch.equal(model.backbone.state_dict()[n], before.backbone.state_dict()[n]) for n in kept)
    assert not torch.equal(
        model.head.state_dict()["head.temporal.layers.0.weight"],
        before.head.state_dict()["head.temporal.layers.0.weight"],
    )
    np.testing.assert_array_equal(before.head.state_dict()["head.projection.weight"].numpy(), start.weight)


def test_the_layer_of_a_backbone_that_a_clip_head_trained_is_not_started_from(data_set: DataSet, tmp_path: Path):
    trained(data_set, recipe_of(HeadRecipe("mean", 2)), tmp_path)
    recipe = recipe_of(HeadRecipe("sta", 2))
    recipe = replace(recipe, model=replace(recipe.model, weights=str(tmp_path / "model.safetensors")))
    assert "head.projection.weight" not in ReidModel(recipe, 3).head.state_dict()


def test_the_file_holds_its_recipe_and_the_live_encoder_the_size_of_its_crops(data_set: DataSet, tmp_path: Path):
    model = trained(data_set, recipe_of(HeadRecipe("plain", 2)), tmp_path)
    about = read_trained(tmp_path / "model.safetensors")
    assert about is not None and about.recipe == model.recipe
    assert (about.people, about.data_set, about.step) == (3, "small", 1)
    encoder = load_trained_encoder(tmp_path / "model.safetensors", 4)
    assert (encoder.crop_input.height_px, encoder.crop_input.width_px) == (64, 32)
    assert encoder.describe().stripes == 4
    with pytest.raises(ConfigError, match="stripes"):
        load_trained_encoder(tmp_path / "model.safetensors", 3)


def test_other_files_are_told_apart_from_trained_ones(tmp_path: Path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"abc")
    assert read_trained(tmp_path / "other.safetensors") is None
    assert read_trained(tmp_path / "other.pth") is None
    with pytest.raises(WeightsError, match="cannot read"):
        read_trained(tmp_path / "damaged.safetensors")
    with pytest.raises(WeightsError, match="train"):
        load_trained_encoder(tmp_path / "other.safetensors")


def test_attributes_are_learned_from_a_table(tmp_path: Path):
    (tmp_path / "a.csv").write_text("person,hat,pattern\n7,1,\n3,0,2\n99,1,4\n")
    (tmp_path / "r.yaml").write_text("losses: [{name: attributes, file: a.csv}]\nmodel: {weights: null}\n")
    recipe = load_recipe(tmp_path / "r.yaml")
    recipe = replace(recipe, model=replace(recipe.model, backbone="osnet_x0_25"))
    model = ReidModel(recipe, 3, [3, 7, 8]).train()
    assert model.attributes.tolist() == [[0, 2], [1, -1], [-1, -1]]
    assert [layer.out_features for layer in model.losses[0].classifiers] == [2, 5]
    terms = model.terms(model.crops(torch.randn(4, 1, 3, 64, 32)), torch.tensor([0, 1, 2, -1]))
    terms["attributes"].backward()
    assert terms["attributes"] > 0 and "attributes" not in model.state_dict()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "cannot be read"),
        ("name,hat\n", "a.csv:1"),
        ("person,hat\n1,x\n", "a.csv:2"),
        ("person,hat\n1\n", "a.csv:2"),
    ],
)
def test_a_table_of_attributes_that_is_none_is_refused(tmp_path: Path, content: str, expected: str):
    (tmp_path / "a.csv").write_text(content)
    recipe = replace(small_recipe(), losses=(LossRecipe("attributes", 1.0, {"file": str(tmp_path / "a.csv")}),))
    with pytest.raises(ConfigError) as caught:
        ReidModel(recipe, 3, [1, 2, 3])
    assert expected in str(caught.value)


def test_attributes_without_a_table_are_refused():
    with pytest.raises(ConfigError, match="one option, file"):
        ReidModel(replace(small_recipe(), losses=(LossRecipe("attributes"),)), 3)


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_every_example_makes_a_loss_with_gradients(path: Path, tmp_path: Path):
    recipe = load_recipe(path)
    (tmp_path / "attributes.csv").write_text("person,hat\n1,0\n2,1\n")
    losses = [
        replace(x, options={"file": str(tmp_path / "attributes.csv")}) if "file" in x.options else x
        for x in recipe.losses
    ]
    height = 192 if recipe.model.head.stripes == 6 else 128  # of the map 12 and 8 rows
    recipe = replace(
        recipe,
        losses=tuple(losses),
        pictures=replace(recipe.pictures, height_px=height, width_px=32),
        model=replace(recipe.model, backbone="osnet_x0_25", weights=None),
    )
    torch.manual_seed(0)
    model = ReidModel(recipe, 4, [1, 2, 3, 4]).train()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, *([-1] * min(recipe.batch.unlabelled, 1))])
    terms = model.terms(model.crops(torch.randn(len(labels), 2, 3, height, 32)), labels)
    total = model.total(terms)
    total.backward()
    assert len(terms) == len(recipe.losses) and torch.isfinite(total)
    learned = [value for value in model.parameters() if value.grad is not None]
    assert learned and all(torch.isfinite(value.grad).all() for value in learned)
    assert any(value.grad.abs().max() > 0 for value in learned)


@pytest.mark.parametrize(
    ("head", "losses", "expected"),
    [
        (HeadRecipe("nonsense"), None, "model.head: expected one of plain"),
        (HeadRecipe("plain", 2, {"fusion": "paper"}), None, "model.head: no option"),
        (HeadRecipe("sta", 2, {"frames": 2}), None, "unknown option 'frames'"),
        (HeadRecipe("pcb", 2), (LossRecipe("identity"),), "classifiers of its own"),
        (HeadRecipe("plain", 2), OWN, "losses[0]: own is what"),
        (HeadRecipe("plain", 2), (LossRecipe("tripet"),), "losses[0]: loss: expected one of"),
        (HeadRecipe("plain", 2), (LossRecipe("msml", 1.0, {"margn": 1}),), "unknown option 'margn'"),
    ],
)
def test_heads_and_losses_that_there_are_not_are_named(head, losses, expected: str):
    recipe = recipe_of(head)
    recipe = replace(recipe, losses=losses or recipe.losses)
    with pytest.raises(ConfigError) as caught:
        ReidModel(recipe, 3)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("head", "loss"), [("pcb", "own"), ("plain", "inter_frame")])
def test_what_needs_maps_cannot_be_trained_on_a_frozen_backbone(head: str, loss: str):
    recipe = recipe_of(HeadRecipe(head, 2), freeze=True)
    with pytest.raises(ConfigError, match="freeze"):
        ReidModel(replace(recipe, losses=(LossRecipe(loss),)), 3)


def test_two_losses_of_one_name_are_told_apart():
    recipe = replace(small_recipe(), losses=(LossRecipe("triplet"), LossRecipe("triplet", 2.0), LossRecipe("msml")))
    model = ReidModel(recipe, 3)
    assert [model.term_name(n) for n in range(3)] == ["triplet_0", "triplet_1", "msml"]
    total = model.total({"triplet_0": torch.tensor(1.0), "triplet_1": torch.tensor(10.0), "msml": torch.tensor(0.5)})
    assert float(total) == 21.5
