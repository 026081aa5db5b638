from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import small_recipe, write_data_set

from pipeline.errors import ConfigError, DecodeError, OutputError, WeightsError
from reid.datasets.tracklets import ImageTracklet
from reid.training.files import write_whole
from reid.training.loop import choose_precision
from reid.training.pictures import BatchMaker, PictureStore, ahead
from reid.training.recipe import PicturesRecipe, ScheduleRecipe
from reid.training.schedule import make_optimiser, rate_at
from reid.training.state import Progress, load_state, read_progress, save_state
from reid.training.watch import NoScalars, Pace, TrainingLog, open_scalars

CPU = torch.device("cpu")


# --- the rate --------------------------------------------------------------------------------------------------------


def test_the_rate_falls_at_its_milestones():
    recipe = ScheduleRecipe(rate=1.0, milestones=(2, 4), factor=0.1)
    rates = [rate_at(step, 10, recipe) for step in (0, 19, 20, 39, 40, 99)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_rate_warms_up_from_a_hundredth():
    recipe = ScheduleRecipe(rate=1.0, milestones=(), warm_up_epochs=2)
    rates = [rate_at(step, 10, recipe) for step in (0, 10, 20)]
    np.testing.assert_allclose(rates, [0.01, 0.505, 1.0])


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_optimiser_is_the_one_that_was_named(kind):
    optimiser = make_optimiser([torch.nn.Parameter(torch.zeros(2))], ScheduleRecipe(optimiser=kind))
    assert type(optimiser).__name__.lower() == kind


def test_half_precision_is_refused_on_a_cpu():
    with pytest.raises(ConfigError, match="float16"):
        choose_precision("float16", CPU)
    assert choose_precision("auto", CPU) is None
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("auto", torch.device("cuda")) == torch.float16


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_come_in_one_size_and_are_kept_up_to_a_limit(tmp_path: Path):
    data_set = write_data_set(tmp_path)
    path = data_set.train[0].images[0]
    kept, forgetful = (PictureStore(PicturesRecipe(32, 16, cache_mb=mb)) for mb in (1, 0))
    assert kept.read(path).shape == (32, 16, 3)
    assert kept.read(path) is kept.read(path)
    assert forgetful.read(path) is not forgetful.read(path)


def test_a_damaged_picture_is_replaced_by_its_neighbour(tmp_path: Path):
    tracklet = write_data_set(tmp_path).train[0]
    tracklet.images[1].write_bytes(b"no picture")
    clip = PictureStore(PicturesRecipe(32, 16)).read_clip(tracklet, np.array([1, 0]))
    np.testing.assert_array_equal(clip[0], clip[1])


def test_a_tracklet_without_a_readable_picture_is_an_error_that_names_it(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DecodeError, match=r"a\.jpg"):
        PictureStore(PicturesRecipe(32, 16)).read_clip(ImageTracklet(1, 0, (tmp_path / "a.jpg",)), np.array([0]))


def test_a_missing_picture_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(DecodeError, match=r"gone\.jpg"):
        PictureStore(PicturesRecipe(32, 16)).read(tmp_path / "gone.jpg")


def test_batches_made_ahead_are_those_made_one_by_one(tmp_path: Path):
    data_set = write_data_set(tmp_path)
    maker = BatchMaker(data_set.train, small_recipe(), 3)
    threaded = list(ahead(maker.batch, 2, 9, readers=3))
    for number, batch in enumerate(threaded, start=2):
        alone = BatchMaker(data_set.train, small_recipe(), 3).batch(number)
        np.testing.assert_array_equal(batch.pictures, alone.pictures)
        np.testing.assert_array_equal(batch.labels, alone.labels)
    assert len(threaded) == 7
    assert list(ahead(maker.batch, 4, 4, readers=2)) == []


def test_an_error_of_a_reader_arrives(tmp_path: Path):
    data_set = write_data_set(tmp_path)
    maker = BatchMaker(data_set.train, small_recipe(augment={"camera_style": 0.0}), 3)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(DecodeError):
        list(ahead(maker.batch, 0, 3, readers=2))


# --- states ----------------------------------------------------------------------------------------------------------


def network_with_a_step() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.randn(5, 3)).square().sum().backward()
    optimiser.step()
    return network, optimiser


def test_a_state_comes_back_to_the_bit(tmp_path: Path):
    network, optimiser = network_with_a_step()
    progress = Progress(7, 3, "abc", {"scale": 2.0})
    save_state(tmp_path / "s.safetensors", network, optimiser, progress)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    second = torch.optim.Adam(other.parameters())
    assert load_state(tmp_path / "s.safetensors", other, second) == progress
    assert read_progress(tmp_path / "s.safetensors") == progress
    for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for place, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            assert torch.equal(value, second.state_dict()["state"][place][name])


def test_equal_states_are_equal_bytes(tmp_path: Path):
    network, optimiser = network_with_a_step()
    for name in ("a", "b"):
        save_state(tmp_path / name, network, optimiser, Progress(1, 0, "", {"b": 1.0, "a": 2.0}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_state_of_another_network_is_refused(tmp_path: Path):
    network, optimiser = network_with_a_step()
    save_state(tmp_path / "s", network, optimiser, Progress(1, 0, "", {}))
    other = torch.nn.Linear(9, 9)
    with pytest.raises(WeightsError, match="another model"):
        load_state(tmp_path / "s", other, torch.optim.Adam(other.parameters()))


@pytest.mark.parametrize("content", [b"", b"abc", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(WeightsError):
        read_progress(tmp_path / "s")


def test_a_file_is_whole_or_as_it_was(tmp_path: Path):
    write_whole(tmp_path / "sub" / "f", b"old")
    (tmp_path / "sub" / ".f.part").write_bytes(b"half of what a killed run wr")
    write_whole(tmp_path / "sub" / "f", b"new")
    assert (tmp_path / "sub" / "f").read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["f"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "file" / "f", b"x")


# --- what is seen ----------------------------------------------------------------------------------------------------


def test_a_resumed_log_forgets_what_will_be_written_again(tmp_path: Path):
    log = TrainingLog(tmp_path / "log", 0)
    for step in (2, 4, 6):
        log.add({"step": step})
    TrainingLog(tmp_path / "log", 4).add({"step": 5})
    assert (tmp_path / "log").read_text().split() == ['{"step":', "2}", '{"step":', "4}", '{"step":', "5}"]


def test_a_new_log_does_not_carry_on_an_old_one(tmp_path: Path):
    (tmp_path / "log").write_text('{"step": 1}\n')
    TrainingLog(tmp_path / "log", 0).add({"step": 2})
    assert (tmp_path / "log").read_text() == '{"step": 2}\n'


def test_the_time_left_follows_the_pace():
    times = iter([0.0, 2.0, 4.0])
    pace = Pace(lambda: next(times))
    assert pace.left_s(10) is None
    assert pace.left_s(9) == pytest.approx(18.0)
    assert pace.left_s(8) == pytest.approx(16.0)


def test_tensorboard_that_is_not_installed_is_a_warning_that_names_it(tmp_path, monkeypatch, caplog):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    scalars = open_scalars(tmp_path, True, 0)
    assert isinstance(scalars, NoScalars) and "tensorboard" in caplog.text
    scalars.add("x", 1.0, 1)
    scalars.close()


def test_tensorboard_that_is_not_wanted_is_not_missed(tmp_path, caplog):
    assert isinstance(open_scalars(tmp_path, False, 0), NoScalars) and not caplog.text


def test_a_recipe_changes_by_section():
    assert small_recipe(batch={"people": 2}).batch == replace(small_recipe().batch, people=2)
