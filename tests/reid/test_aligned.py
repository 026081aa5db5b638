from dataclasses import fields, replace

import numpy as np
import pytest
from aligned_equations import fuse_by_hand
from reid_examples import crop_features, describe, random_maps, random_projection

from pipeline.errors import WeightsError
from reid.adaptation.closed_form import fit_prototypes
from reid.aligned import AlignedHead, AlignedParameters, assign_rows, pool_parts
from reid.attention import even_attention, temporal_attention
from reid.heads import MeanHead

ROWS, CHANNELS = 8, 12


def random_parameters(parts=4, projection=True, seed=0, even=False, dimensions=5):
    """Parameters of an arbitrary site, and the encoder they are for."""
    rng = np.random.default_rng(seed)
    encoder = describe(ROWS, CHANNELS, random_projection(CHANNELS) if projection else None)
    start = fit_prototypes(rng.gamma(1.0, 1.0, (30, ROWS, CHANNELS)).astype(np.float32), encoder, parts, origin="x")
    length = start.offset.shape[1]
    return encoder, replace(
        start,
        offset=(rng.normal(size=(1 + parts, length)) * 0.1).astype(np.float32),
        basis=rng.normal(size=(1 + parts, 7, length)).astype(np.float32),
        weight=rng.random(1 + parts).astype(np.float32) + 0.1,
        dimensions=dimensions,
        even=even,
    )


def random_clips(clips=3, frames=4, seed=1):
    maps = random_maps(clips * frames, channels=CHANNELS, seed=seed)
    crops = crop_features(maps, ROWS)
    stripes = np.stack([crop.stripes for crop in crops]).reshape(clips, frames, ROWS, CHANNELS)
    return stripes, np.stack([crop.energy for crop in crops]).reshape(clips, frames, ROWS)


@pytest.mark.parametrize("parts", [0, 1, 2, 8])
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("even", [True, False])
def test_the_head_equals_its_equations_written_out(parts, projection, even):
    encoder, parameters = random_parameters(parts, projection, even=even)
    stripes, energy = random_clips()
    weights = np.random.default_rng(2).random((3, 4)).astype(np.float32) + 0.1
    found = AlignedHead(encoder, parameters).fuse_batch(stripes, energy, weights)
    for b in range(3):
        wanted = fuse_by_hand(parameters, encoder.projection, stripes[b], energy[b], weights[b])
        for one, other in zip(wanted, (values[b] for values in found), strict=True):
            np.testing.assert_allclose(other, one.reshape(other.shape), atol=2e-5)


def test_the_order_of_frames_changes_nothing():
    head = AlignedHead(*random_parameters())
    stripes, energy = random_clips()
    turned = [2, 0, 3, 1]
    a, b = head.fuse_batch(stripes, energy), head.fuse_batch(stripes[:, turned], energy[:, turned])
    np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-5)
    np.testing.assert_allclose(a.attention[:, turned], b.attention, atol=1e-6)


def test_identical_frames_count_the_same_and_give_what_one_of_them_gives():
    head = AlignedHead(*random_parameters())
    stripes, energy = random_clips(clips=2, frames=1)
    many = head.fuse_batch(np.repeat(stripes, 5, axis=1), np.repeat(energy, 5, axis=1))
    np.testing.assert_allclose(many.attention, 0.2, atol=1e-6)
    np.testing.assert_allclose(many.embedding, head.fuse_batch(stripes, energy).embedding, atol=1e-5)


def test_a_batch_equals_its_clips_one_by_one_and_may_be_empty():
    head = AlignedHead(*random_parameters())
    stripes, energy = random_clips(clips=5)
    together = head.fuse_batch(stripes, energy)
    for b in range(5):
        alone = head.fuse_batch(stripes[b : b + 1], energy[b : b + 1])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[b], other[0], atol=1e-6)
    nothing = head.fuse_batch(stripes[:0], energy[:0])
    assert [values.shape for values in nothing] == [(0, 25), (0, 4, 5), (0, 4), (0, 4, 4)]


def test_a_frame_of_weight_zero_does_not_exist():
    head = AlignedHead(*random_parameters())
    stripes, energy = random_clips()
    weights = np.array([[1, 1, 0, 0]] * 3, np.float32)
    padded, short = head.fuse_batch(stripes, energy, weights), head.fuse_batch(stripes[:, :2], energy[:, :2])
    np.testing.assert_allclose(padded.embedding, short.embedding, atol=1e-5)
    np.testing.assert_allclose(padded.visibility, short.visibility, atol=1e-5)


def test_clips_of_crops_equal_clips_as_arrays():
    head = AlignedHead(*random_parameters())
    crops = crop_features(random_maps(3, channels=CHANNELS), ROWS)
    arrays = head.fuse_batch(np.stack([c.stripes for c in crops])[None], np.stack([c.energy for c in crops])[None])
    np.testing.assert_allclose(head.fuse(crops).embedding, arrays.embedding[0], atol=1e-6)


def test_a_clip_in_which_nothing_was_seen_has_no_parts_and_is_far_from_nothing_in_particular():
    head = AlignedHead(*random_parameters())
    nothing = head.fuse_batch(np.zeros((2, 3, ROWS, CHANNELS), np.float32), np.zeros((2, 3, ROWS), np.float32))
    assert not nothing.visibility.any()
    assert not nothing.parts.any()
    np.testing.assert_allclose(np.linalg.norm(nothing.embedding, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(nothing.embedding[0], nothing.embedding[1])


def test_a_crop_in_which_nothing_was_seen_beside_one_in_which_something_was_counts_nothing():
    head = AlignedHead(*random_parameters())
    stripes, energy = random_clips(clips=1, frames=2)
    stripes[:, 1], energy[:, 1] = 0, 0
    alone = head.fuse_batch(stripes[:, :1], energy[:, :1])
    np.testing.assert_allclose(head.fuse_batch(stripes, energy).embedding, alone.embedding, atol=1e-5)


def test_vectors_and_parts_have_norm_one_and_visibility_lies_between_zero_and_one():
    found = AlignedHead(*random_parameters()).fuse_batch(*random_clips(clips=6))
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.parts, axis=2), 1, atol=1e-5)
    assert (found.visibility > 0).all()
    assert (found.visibility <= 1).all()
    np.testing.assert_allclose(found.attention.sum(axis=1), 1, atol=1e-5)


def test_rows_share_one_out_among_the_parts():
    _, parameters = random_parameters()
    assignment = assign_rows(parameters, random_clips()[0])
    np.testing.assert_allclose(assignment.sum(axis=-1), 1, atol=1e-6)


def test_hard_places_make_parts_the_stripes_of_sta():
    """STA's P2 where A is 1 for one stripe's rows and 0 for others."""
    encoder, parameters = random_parameters(4)
    rows = np.arange(ROWS)[:, None] // 2 == np.arange(4)
    hard = replace(parameters, position=np.where(rows, 0.0, -1e4).astype(np.float32), sharpness=0.0)
    stripes, energy = random_clips()
    attention = temporal_attention(energy)
    pooled, _, visibility = pool_parts(hard, stripes, attention)
    weighed = (attention[..., None] * stripes).sum(axis=1)
    np.testing.assert_allclose(pooled, weighed.reshape(3, 4, 2, CHANNELS).mean(axis=2), atol=1e-5)
    np.testing.assert_allclose(visibility, 1, atol=1e-6)
    assert encoder.stripes == ROWS


def test_a_body_moved_up_by_some_rows_leaves_the_parts_alike_when_place_says_nothing():
    _, parameters = random_parameters(4)
    free = replace(parameters, position=np.zeros_like(parameters.position), sharpness=20.0)
    stripes, energy = random_clips(clips=1, frames=1)
    moved = np.roll(stripes, 3, axis=2)
    a, b = (pool_parts(free, s, even_attention(energy))[0] for s in (stripes, moved))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_without_parts_the_vector_is_the_mean_of_the_maps_through_the_projection():
    encoder = describe(ROWS, CHANNELS, random_projection(CHANNELS))
    stripes, energy = random_clips()
    plain = fit_prototypes(stripes[0], encoder, 0, origin="x")
    assert plain.even
    found = AlignedHead(encoder, plain).fuse_batch(stripes, energy)
    np.testing.assert_allclose(found.embedding, MeanHead(encoder).fuse_batch(stripes, energy).embedding, atol=1e-5)
    assert found.parts.shape[1] == 0


def test_parts_of_weight_zero_leave_the_whole_body_alone():
    encoder, parameters = random_parameters(4)
    alone = replace(parameters, weight=np.array([1, 0, 0, 0, 0], np.float32))
    found = AlignedHead(encoder, alone).fuse_batch(*random_clips())
    assert not found.embedding[:, 5:].any()
    np.testing.assert_allclose(np.linalg.norm(found.embedding[:, :5], axis=1), 1, atol=1e-5)


def test_unused_dimensions_change_no_vector():
    encoder, parameters = random_parameters(4, dimensions=5)
    cut = replace(parameters, basis=parameters.basis[:, :5])
    stripes, energy = random_clips()
    a, b = (AlignedHead(encoder, p).fuse_batch(stripes, energy).embedding for p in (parameters, cut))
    np.testing.assert_array_equal(a, b)


# --- files and names -------------------------------------------------------------------------------------------------


def test_parameters_come_back_from_a_file_as_rounded_says(tmp_path):
    _, parameters = random_parameters()
    parameters.save(tmp_path / "head.safetensors")
    back, rounded = AlignedParameters.load(tmp_path / "head.safetensors"), parameters.rounded()
    assert back.digest == rounded.digest == rounded.rounded().digest
    for field in fields(back):
        one, other = getattr(back, field.name), getattr(rounded, field.name)
        np.testing.assert_array_equal(one, other) if isinstance(one, np.ndarray) else None
        assert isinstance(one, np.ndarray) or one == other


@pytest.mark.parametrize("name", ["centre", "prototypes", "position", "offset", "basis", "weight"])
def test_every_value_changes_the_digest(name):
    _, parameters = random_parameters()
    value = getattr(parameters, name).copy()
    value.flat[0] += 0.5
    assert replace(parameters, **{name: value}).digest != parameters.digest


def test_settings_change_the_digest_too_and_so_the_name_of_the_vectors():
    encoder, parameters = random_parameters()
    others = [replace(parameters, **change) for change in ({"sharpness": 1.0}, {"even": True}, {"dimensions": 4})]
    names = {AlignedHead(encoder, p).clip_model_id for p in (parameters, *others)}
    assert len(names) == 4
    assert all(name.startswith(encoder.model_id) for name in names)


def test_a_file_that_is_no_head_is_refused_by_name(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "other.safetensors")
    for name in ("text", "other", "absent"):
        with pytest.raises(WeightsError, match=name):
            AlignedParameters.load(tmp_path / f"{name}.safetensors")


def test_a_head_for_another_encoder_or_another_map_is_refused():
    encoder, parameters = random_parameters()
    with pytest.raises(WeightsError, match="made for"):
        AlignedHead(replace(encoder, model_id="example@2"), parameters)
    with pytest.raises(WeightsError, match=r"reid\.stripes: 8"):
        AlignedHead(replace(encoder, stripes=4), parameters)


def test_a_head_that_names_no_hash_fits_every_copy_of_its_encoder():
    encoder, parameters = random_parameters()
    shared = replace(parameters, encoder=encoder.model_id.partition("@")[0])
    AlignedHead(replace(encoder, model_id=encoder.model_id + "0"), shared)
    with pytest.raises(WeightsError, match="made for"):
        AlignedHead(replace(encoder, model_id="another@1"), shared)


@pytest.mark.parametrize("name", ["centre", "prototypes", "position", "offset", "basis", "weight"])
def test_values_that_do_not_fit_or_are_not_finite_are_refused(name):
    _, parameters = random_parameters()
    value = getattr(parameters, name)
    with pytest.raises(ValueError, match=r"fit|expected"):
        replace(parameters, **{name: value[..., :-1]})
    with pytest.raises(ValueError, match="finite"):
        replace(parameters, **{name: np.full_like(value, np.nan)})


@pytest.mark.parametrize("dimensions", [0, 8])
def test_more_dimensions_than_there_are_or_none_are_refused(dimensions):
    with pytest.raises(ValueError, match="dimensions"):
        random_parameters(dimensions=dimensions)
