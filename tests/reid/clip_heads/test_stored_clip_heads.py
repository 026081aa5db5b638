"""Trained clip heads as files: what comes back, what is refused, and how a configuration chooses one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_head_examples import CHANNELS, STRIPES, VARIANTS, clips, live, trained

from pipeline.errors import OutputError, WeightsError
from pipeline.ports import EncoderDescription
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import load_clip_head, store_clip_head
from reid.clip_heads.stored import StoredClipHead, is_clip_head

ENCODER = EncoderDescription("example@1", STRIPES, CHANNELS)


def stored(variant: str = "temporal", encoder: str = "example@1") -> StoredClipHead:
    return store_clip_head(trained(variant), encoder=encoder, origin="a test", recipe={"epochs": 3, "rates": [0.1]})


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_head_comes_back_from_a_file_as_it_was_with_its_recipe(variant, tmp_path):
    written = stored(variant)
    written.save(tmp_path / "head.safetensors")
    read = StoredClipHead.load(tmp_path / "head.safetensors")
    assert read.digest == written.digest
    assert read.recipe == {"epochs": 3, "rates": [0.1]}
    assert read.origin == "a test"
    stripes, energy = (values.numpy() for values in clips(2, 3))
    found = (LiveClipHead(ENCODER, each).fuse_batch(stripes, energy).embedding for each in (written, read))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("with_projection", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_head_from_a_file_can_be_trained_further(variant, with_projection, tmp_path):
    head = trained(variant, with_projection)
    store_clip_head(head, encoder="example@1", origin="a test").save(tmp_path / "head.safetensors")
    again = load_clip_head(tmp_path / "head.safetensors").eval()
    stripes, energy = clips(2, 3)
    np.testing.assert_allclose(again(stripes, energy).identity.detach(), head(stripes, energy).identity.detach())


def test_a_head_whose_weights_do_not_fit_its_settings_cannot_be_trained_further(tmp_path):
    head = stored("mean-64")
    broken = replace(head, options={**head.options, "made_of": {"dimensions": 5}})
    broken.save(tmp_path / "head.safetensors")
    with pytest.raises(WeightsError, match="cannot be trained further"):
        load_clip_head(tmp_path / "head.safetensors")


def test_every_weight_and_setting_changes_the_digest_and_the_name_of_the_vectors():
    head = stored()
    names = {LiveClipHead(ENCODER, head).clip_model_id}
    for name, value in head.arrays.items():
        changed = value.copy()
        changed.flat[0] += 0.5
        names.add(LiveClipHead(ENCODER, replace(head, arrays={**head.arrays, name: changed})).clip_model_id)
    names.add(LiveClipHead(ENCODER, replace(head, options={**head.options, "relu": True})).clip_model_id)
    names.add(LiveClipHead(ENCODER, head, quality_weights=True).clip_model_id)
    assert len(names) == len(head.arrays) + 3
    assert all(name.startswith("example@1/temporal@") for name in names)


def test_where_it_comes_from_does_not_change_the_digest():
    assert replace(stored(), origin="elsewhere", recipe={}, encoder="example").digest == stored().digest


def test_a_file_that_is_no_clip_head_is_refused_by_name(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "other.safetensors")
    for name in ("text", "other", "absent"):
        with pytest.raises(WeightsError, match=name):
            StoredClipHead.load(tmp_path / f"{name}.safetensors")
    assert not is_clip_head(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="cannot read"):
        is_clip_head(tmp_path / "text.safetensors")


def test_a_file_that_cannot_be_written_is_said_so(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        stored().save(tmp_path / "absent" / "head.safetensors")


def test_weights_that_are_not_finite_are_refused():
    head = trained("temporal")
    with torch.no_grad():
        head.spatial.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"spatial\.bias"):
        store_clip_head(head, encoder="example@1", origin="a test")


def test_a_head_for_another_encoder_or_map_is_refused():
    with pytest.raises(WeightsError, match="trained on crop features of example@1"):
        LiveClipHead(replace(ENCODER, model_id="example@2"), stored())
    with pytest.raises(WeightsError, match="12 channels"):
        LiveClipHead(replace(ENCODER, channels=5), stored())
    LiveClipHead(replace(ENCODER, model_id="example@2"), stored(encoder="example"))


def test_a_head_of_a_kind_that_this_program_does_not_know_is_refused():
    with pytest.raises(WeightsError, match="no head is called 'tcn'"):
        LiveClipHead(ENCODER, replace(stored(), name="tcn"))


@pytest.mark.parametrize("variant", ["sta", "temporal", "rnn", "lstm", "quality", "stgcn"])
def test_a_file_that_lacks_weights_or_has_those_of_another_head_is_refused_before_it_is_used(variant):
    head = stored(variant)
    for name, value in head.arrays.items():
        without = {other: array for other, array in head.arrays.items() if other != name}
        if (
            not name.endswith(".bias")
            and ".layers." not in name
            and not name.startswith(("embed.", "neck.norm.weight"))
        ):
            with pytest.raises(WeightsError, match="not weights of a head"):
                LiveClipHead(ENCODER, replace(head, arrays=without))
        if value.ndim == 2:
            with pytest.raises(WeightsError, match="not weights of a head"):
                LiveClipHead(ENCODER, replace(head, arrays={**without, name: value[:, :-1]}))


def test_two_heads_do_not_share_what_they_learned():
    first, second = (trained("rnn", seed=seed) for seed in (0, 1))
    stripes, energy = (values.numpy() for values in clips(2, 3))
    assert not np.allclose(*(live(head).fuse_batch(stripes, energy).embedding for head in (first, second)))
