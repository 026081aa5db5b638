from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from site_examples import Site, make_site

from pipeline.errors import OutputError
from pipeline.ports import EncoderDescription
from reid.adaptation.augment import augment
from reid.adaptation.backbone import (
    BackboneToTrain,
    encode_again,
    load_trainable,
    save_backbone,
    train_backbone,
    why_not_trainable,
)
from reid.adaptation.closed_form import fit_prototypes
from reid.adaptation.material import Material
from reid.checkpoints import load_osnet
from reid.osnet import OSNet

SITE = Site(people=2, crops=3)


@pytest.fixture(scope="module")
def osnet_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({n: v.contiguous() for n, v in OSNet("osnet_x0_25").state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def options(osnet_file) -> BackboneToTrain:
    return BackboneToTrain(
        "osnet_x0_25", osnet_file, osnet_file.with_name("tuned.safetensors"), steps=2, people=2, clips=2, crops=1
    )


@pytest.fixture(scope="module")
def trained(options):
    """The network, the tracks as it encodes them, its head, and a tuned copy."""
    network, projection = load_trainable(options)
    encoder = EncoderDescription("random@1", 16, network.channels, projection)
    material = encode_again(network, make_site(SITE, pictures=True), 16)
    start = fit_prototypes(np.concatenate([t.stripes for t in material.tracks]), encoder, 4, origin="example")
    tuned = train_backbone(network, material, (encoder, start), options, rng=np.random.default_rng(0))
    return network, material, (encoder, start), tuned


def changed(before: OSNet, after: OSNet) -> set[str]:
    other = after.state_dict()
    return {
        name.partition(".")[0] for name, value in before.state_dict().items() if not torch.equal(value, other[name])
    }


def test_tuning_changes_the_last_stages_alone_and_leaves_the_given_network_as_it_was(trained, options):
    network, _, _, tuned = trained
    assert changed(network, tuned) == {"conv4", "conv5"}
    assert changed(network, load_trainable(options)[0]) == set()


def test_batch_norms_keep_their_statistics(trained):
    network, _, _, tuned = trained
    after = tuned.state_dict()
    for name, value in network.state_dict().items():
        if "running" in name or "num_batches" in name:
            assert torch.equal(value, after[name]), name


def test_a_tuned_network_is_written_so_that_it_can_be_loaded_like_any_other(trained, options):
    tuned = trained[-1]
    path = save_backbone(tuned, options)
    assert changed(tuned, load_osnet("osnet_x0_25", path)) == set()


def test_tuning_is_the_same_for_the_same_seed(trained, options):
    network, material, head, tuned = trained
    again = train_backbone(network, material, head, options, rng=np.random.default_rng(0))
    assert changed(tuned, again) == set()


def test_tuning_stops_when_told_to_and_needs_pairs(trained, options):
    network, material, head, _ = trained
    rng = np.random.default_rng(0)
    stopped = train_backbone(network, material, head, options, rng=rng, should_stop=lambda: True)
    alone = Material(material.tracks, material.person_of, frozenset())
    unpaired = train_backbone(network, alone, head, options, rng=rng)
    assert changed(network, stopped) == changed(network, unpaired) == set()


def test_crops_encoded_again_equal_those_of_the_encoder(trained, options):
    from reid.encoder import TorchCropEncoder
    from reid.sta_torch import pool_stripes as pool

    _, material, _, _ = trained
    track = material.tracks[0]
    encoder = TorchCropEncoder(load_trainable(options)[0], None, "x@1", 16, "cpu")
    means, energy = pool(encoder.maps(track.pictures), 16)
    np.testing.assert_allclose(track.stripes, means.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(track.energy, energy.numpy(), rtol=1e-4, atol=1e-4)


def test_encoding_no_tracks_gives_none(options):
    nothing = Material((), np.zeros(0, np.int64), frozenset())
    assert encode_again(load_trainable(options)[0], nothing, 16).tracks == ()


def test_what_cannot_be_trained_is_said(options, tmp_path):
    from dataclasses import replace

    with_pictures = make_site(SITE, pictures=True)
    assert why_not_trainable(options, with_pictures) is None
    assert "pictures" in why_not_trainable(options, make_site(SITE))
    assert "pictures" in why_not_trainable(options, Material((), np.zeros(0, np.int64), frozenset()))
    for name, file in (
        ("onnx", "a.onnx"),
        ("resnet50", "a.onnx"),
        ("osnet_x1_0", "a.engine"),
        ("handcrafted", "a.pth"),
    ):
        assert "cannot be trained" in why_not_trainable(replace(options, name=name, weights=Path(file)), with_pictures)


def test_a_place_that_cannot_be_written_is_said(trained, options, tmp_path):
    from dataclasses import replace

    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_backbone(trained[-1], replace(options, out=tmp_path / "file" / "x.safetensors"))


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_augmented_pictures_keep_shape_and_type_and_the_given_ones_their_values():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (12, 64, 32, 3), np.uint8)
    before = pictures.copy()
    changed_ones = augment(pictures, pictures, rng)
    assert changed_ones.shape == pictures.shape
    assert changed_ones.dtype == np.uint8
    np.testing.assert_array_equal(pictures, before)
    assert all((a != b).any() for a, b in zip(pictures, changed_ones, strict=True))


def test_augmenting_is_the_same_for_the_same_seed_and_nothing_gives_nothing():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 64, 32, 3), np.uint8)
    a, b = (augment(pictures, pictures, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert augment(pictures[:0], pictures, np.random.default_rng(0)).shape == (0, 64, 32, 3)


def test_covers_come_from_other_pictures():
    white = np.full((40, 32, 16, 3), 255, np.uint8)
    black = np.zeros((1, 32, 16, 3), np.uint8)
    shown = augment(white, black, np.random.default_rng(0))
    covered = [(picture.sum(axis=2) == 0).mean() for picture in shown]
    assert 0.2 < np.mean([share > 0 for share in covered]) < 0.7
    assert max(covered) < 0.6


# --- as a stage of the adaptation -------------------------------------------------------------------------------------


def tuning_of(trained, options, stop=lambda: False):
    from reid.adaptation.adapt import _closed_form
    from reid.adaptation.trial import Learned
    from reid.adaptation.tuning import BackboneTuning

    network, material, (encoder, start), _ = trained
    stages = BackboneTuning(network, encoder.projection, options, (_closed_form,), stop)
    return stages, Learned(material, encoder, start, start)


def test_the_last_fit_writes_the_weights_and_names_the_encoder_by_them(trained, options, tmp_path):
    from dataclasses import replace

    from reid.aligned import AlignedHead
    from reid.weights import model_id

    stages, learned = tuning_of(trained, replace(options, out=tmp_path / "new" / "tuned.safetensors"))
    found = stages.final(learned, np.random.default_rng(0))
    path = tmp_path / "new" / "tuned.safetensors"
    name = model_id(path)
    assert {found.encoder.model_id, found.parameters.encoder, found.start.encoder} == {name}
    again = encode_again(load_osnet("osnet_x0_25", path), learned.material, 16)
    for one, other in zip(found.material.tracks, again.tracks, strict=True):
        np.testing.assert_allclose(one.stripes, other.stripes, rtol=1e-4, atol=1e-4)
    AlignedHead(found.encoder, found.parameters)


def test_a_trial_writes_nothing_and_encodes_other_tracks_as_the_tuned_network_does(trained, options, tmp_path):
    from dataclasses import replace

    stages, learned = tuning_of(trained, replace(options, out=tmp_path / "tuned.safetensors"))
    found = stages.trial(learned, np.random.default_rng(0))
    assert list(tmp_path.iterdir()) == []
    assert found.encoder.model_id == learned.encoder.model_id
    for one, other in zip(found.encode(learned.material).tracks, found.material.tracks, strict=True):
        np.testing.assert_array_equal(one.stripes, other.stripes)
    assert any(
        (a.stripes != b.stripes).any() for a, b in zip(found.material.tracks, learned.material.tracks, strict=True)
    )


def test_told_to_stop_it_writes_nothing(trained, options, tmp_path):
    from dataclasses import replace

    from reid.adaptation.trial import AdaptationStopped

    stages, learned = tuning_of(trained, replace(options, out=tmp_path / "tuned.safetensors"), stop=lambda: True)
    with pytest.raises(AdaptationStopped):
        stages.final(learned, np.random.default_rng(0))
    assert list(tmp_path.iterdir()) == []
