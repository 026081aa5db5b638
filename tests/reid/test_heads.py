"""STA on crop features against the paper's equations on full maps, and its properties."""

import numpy as np
import pytest
from reid_examples import crop_features, describe, random_maps, random_projection
from sta_equations import apply, attention_of, clip_parts, clip_vector, paper_scores, unit

from pipeline.ports import Projection
from reid.attention import stripe_scores, temporal_attention
from reid.heads import FUSIONS, MeanHead, StaHead

HEADS = ("mean", *FUSIONS)


def make_head(name: str, stripes: int = 4, channels: int = 12, projection: Projection | None = None):
    description = describe(stripes, channels, projection)
    return MeanHead(description) if name == "mean" else StaHead(description, name)


@pytest.mark.parametrize("projection", [None, random_projection(12), random_projection(12, relu=False)])
@pytest.mark.parametrize("stripes", [1, 2, 4, 8])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusing_crop_features_equals_the_paper_on_full_maps(fusion, stripes, projection):
    for frames, seed in ((1, 1), (4, 2), (7, 3)):
        maps = random_maps(frames, seed=seed) * np.float32(0.1 + seed)
        fused = make_head(fusion, stripes, 12, projection).fuse(crop_features(maps, stripes))
        attention = attention_of(paper_scores(maps, stripes))
        np.testing.assert_allclose(fused.attention, attention, atol=1e-5)
        np.testing.assert_allclose(fused.embedding, clip_vector(maps, attention, fusion, projection), atol=1e-5)
        np.testing.assert_allclose(fused.parts, clip_parts(maps, attention, fusion, projection), atol=1e-5)


def test_the_mean_head_equals_pooling_the_mean_of_the_maps():
    maps, projection = random_maps(4), random_projection(12)
    fused = make_head("mean", projection=projection).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.embedding, unit(apply(projection, maps.mean(axis=(0, 1, 2)))), atol=1e-5)
    np.testing.assert_allclose(fused.attention, np.full((4, 4), 0.25))


@pytest.mark.parametrize("name", HEADS)
def test_the_order_of_the_frames_does_not_matter(name):
    crops = crop_features(random_maps(5))
    forward, backward = make_head(name).fuse(crops), make_head(name).fuse(crops[::-1])
    np.testing.assert_allclose(forward.embedding, backward.embedding, atol=1e-6)
    np.testing.assert_allclose(forward.attention, backward.attention[::-1], atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_identical_frames_share_the_attention_evenly(name):
    maps = np.repeat(random_maps(1), 4, axis=0)
    fused = make_head(name).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.attention, np.full((4, 4), 0.25), atol=1e-6)
    np.testing.assert_allclose(fused.embedding, make_head(name).fuse(crop_features(maps[:1])).embedding, atol=1e-6)


def test_one_frame_gives_equal_representations():
    fused = make_head("paper").fuse(crop_features(random_maps(1)))
    first, second = np.split(fused.embedding, 2)
    np.testing.assert_allclose(first, second, atol=1e-7)
    np.testing.assert_allclose(fused.attention, np.ones((1, 4)))


def test_attention_does_not_change_when_one_frame_is_scaled():
    maps = random_maps(4)
    dimmed = maps * np.array([1e-3, 1.0, 50.0, 1.0], np.float32)[:, None, None, None]
    before, after = (make_head("global").fuse(crop_features(m)).attention for m in (maps, dimmed))
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_every_column_of_the_attention_sums_to_one_and_scores_to_one_over_stripes():
    energy = np.random.default_rng(0).random((6, 4), np.float32)
    np.testing.assert_allclose(temporal_attention(energy).sum(axis=0), np.ones(4), atol=1e-6)
    np.testing.assert_allclose(stripe_scores(energy).sum(axis=1), np.ones(6), atol=1e-6)


def test_the_discriminative_stripe_comes_from_the_frame_with_most_attention():
    maps = np.ones((2, 16, 8, 3), np.float32)
    maps[0, :4] *= 3  # frame 0 has its energy in the first stripe, so frame 1 leads in the others
    maps[1, ..., 1] = 2
    fused = make_head("discriminative", channels=3).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.parts[0], unit(np.array([1, 1, 1])), atol=1e-6)
    np.testing.assert_allclose(fused.parts[1], unit(np.array([1, 2, 1])), atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_a_frame_without_energy_does_not_count_beside_others(name):
    maps = random_maps(3)
    with_black = np.concatenate([maps, np.zeros_like(maps[:1])])
    projection = random_projection(12)
    fused = make_head(name, projection=projection).fuse(crop_features(with_black))
    np.testing.assert_allclose(fused.attention[-1], np.zeros(4))
    without = make_head(name, projection=projection).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.embedding, without.embedding, atol=1e-6)


@pytest.mark.parametrize("projection", [None, random_projection(12)])
@pytest.mark.parametrize("name", HEADS)
def test_a_clip_without_any_energy_matches_nobody_and_shows_nothing(name, projection):
    empty = make_head(name, projection=projection).fuse(crop_features(np.zeros((2, 16, 8, 12), np.float32)))
    np.testing.assert_allclose(empty.attention, np.full((2, 4), 0.5))
    assert np.linalg.norm(empty.embedding) == pytest.approx(1, abs=1e-6)
    assert not empty.visibility.any() and not empty.parts.any()
    somebody = make_head(name, projection=projection).fuse(crop_features(random_maps(4)))
    assert 1 - float(empty.embedding @ somebody.embedding) >= 1


def test_a_stripe_that_no_frame_shows_is_invisible_and_its_part_is_zero():
    maps = random_maps(3)
    maps[:, 12:] = 0  # cut off at the knees
    fused = make_head("stripes", projection=random_projection(12)).fuse(crop_features(maps))
    assert fused.visibility[3] == 0 and (fused.visibility[:3] > 0.5).all()
    assert not fused.parts[3].any()
    np.testing.assert_allclose(np.linalg.norm(fused.parts[:3], axis=1), np.ones(3), atol=1e-6)
    np.testing.assert_allclose(fused.attention[:, 3], np.full(3, 1 / 3), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "length"), [("mean", 20), ("paper", 40), ("global", 20), ("discriminative", 20), ("stripes", 100)]
)
def test_each_head_states_its_shapes(name, length):
    fused = make_head(name, projection=random_projection(12)).fuse(crop_features(random_maps(3)))
    assert fused.embedding.shape == (length,) and fused.embedding.dtype == np.float32
    assert fused.parts.shape == (4, 20)
    assert fused.visibility.shape == (4,) and fused.attention.shape == (3, 4)


def test_energies_that_span_many_decades_do_not_overflow():
    maps = random_maps(2) * np.array([1e-15, 1e15], np.float32)[:, None, None, None]
    fused = make_head("global").fuse(crop_features(maps))
    assert np.isfinite(fused.embedding).all() and np.isfinite(fused.attention).all()


@pytest.mark.parametrize("name", HEADS)
def test_no_crops_are_refused(name):
    with pytest.raises(ValueError, match="at least one"):
        make_head(name).fuse([])


@pytest.mark.parametrize("name", HEADS)
def test_crops_of_another_model_are_refused(name):
    crops = crop_features(random_maps(1)) + crop_features(random_maps(1), model_id="other@2")
    with pytest.raises(ValueError, match=r"expected features of example@1, got other@2"):
        make_head(name).fuse(crops)


def test_crops_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected stripes of shape \(4, 12\), got \(2, 12\)"):
        make_head("global").fuse(crop_features(random_maps(1), stripes=2))


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="expected one of paper, global"):
        StaHead(describe(), "sum")


def test_heads_name_themselves_so_that_vectors_are_not_mixed():
    names = {make_head(name).clip_model_id for name in HEADS}
    assert names == {f"example@1/{head}" for head in ("mean", *(f"sta-{fusion}" for fusion in FUSIONS))}
