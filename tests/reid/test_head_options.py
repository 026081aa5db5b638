"""The heads' options: energy, normalisation, quality weights, each against equations on full maps."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from reid_examples import crop_features, describe, random_maps, random_projection
from sta_equations import (
    agrl_scores,
    apply,
    attention_of,
    clip_parts,
    clip_vector,
    option_scores,
    simple_sta_scores,
    unit,
)

from pipeline.config import ReidConfig
from pipeline.types import CropFeature, CropQuality
from reid.attention import PAPER, AttentionOptions, temporal_attention
from reid.heads import FUSIONS, MeanHead, StaHead
from reid.load import load_head

ENERGIES = ("squares", "norm")
NORMALISATIONS = ("sum", "l2", "none")
ALL_OPTIONS = [AttentionOptions(e, n) for e, n in product(ENERGIES, NORMALISATIONS)]
HEIGHTS_PX = (120.0, 40.0, 80.0, 10.0)


def with_heights(crops: list[CropFeature], heights_px=HEIGHTS_PX) -> list[CropFeature]:
    """The crops with a quality that differs by the size of the person."""
    return [
        replace(crop, quality=CropQuality(height, 100.0, 0.1, 0.2, 0.8))
        for crop, height in zip(crops, heights_px, strict=True)
    ]


def scores_of(crops: list[CropFeature]) -> list[float]:
    return [crop.quality.score for crop in crops]


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_option_equals_its_equations_on_full_maps(fusion, options, weighted):
    projection = random_projection(12)
    for stripes, seed in ((1, 1), (4, 2), (8, 3)):
        maps = random_maps(4, seed=seed) * np.array([0.5, 1, 2, 4], np.float32)[:, None, None, None]
        crops = with_heights(crop_features(maps, stripes))
        fused = StaHead(describe(stripes, 12, projection), fusion, options, quality_weights=weighted).fuse(crops)
        scores = option_scores(maps, stripes, options.energy, options.normalisation)
        attention = attention_of(scores, scores_of(crops) if weighted else None)
        np.testing.assert_allclose(fused.attention, attention, atol=1e-5)
        np.testing.assert_allclose(fused.embedding, clip_vector(maps, attention, fusion, projection), atol=1e-5)
        np.testing.assert_allclose(fused.parts, clip_parts(maps, attention, fusion, projection), atol=1e-5)


def test_the_weighted_mean_equals_the_weighted_mean_of_the_maps():
    maps, projection = random_maps(4), random_projection(12)
    crops = with_heights(crop_features(maps))
    fused = MeanHead(describe(4, 12, projection), quality_weights=True).fuse(crops)
    weights = np.array(scores_of(crops)) / sum(scores_of(crops))
    pooled = sum(w * frame.mean(axis=(0, 1)) for w, frame in zip(weights, maps, strict=True))
    np.testing.assert_allclose(fused.attention, np.repeat(weights[:, None], 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(fused.embedding, unit(apply(projection, pooled)), atol=1e-5)


def evenly_strong_maps() -> np.ndarray:
    """Maps whose stripes are equally strong in all their places, with directions that vary from place to place."""
    maps = random_maps(4)
    maps /= np.linalg.norm(maps, axis=3, keepdims=True)
    strength = np.random.default_rng(1).uniform(0.5, 3, (4, 4)).astype(np.float32)
    return maps * np.repeat(strength, 4, axis=1)[:, :, None, None]


def test_norm_and_l2_are_the_public_re_implementation_where_stripes_are_evenly_strong():
    maps = evenly_strong_maps()
    fused = StaHead(describe(), "global", AttentionOptions("norm", "l2")).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.attention, attention_of(agrl_scores(maps, 4)), atol=1e-5)


def test_norm_and_l2_stay_within_the_stated_bound_of_the_public_re_implementation():
    maps = random_maps(4)
    maps[0, :4, 1:] = 0  # one stripe has all its energy in a column of 4 of its 32 places
    ratio = option_scores(maps, 4, "norm", "l2") / (agrl_scores(maps, 4) * np.sqrt(32))
    assert (ratio >= 1 - 1e-9).all() and (ratio <= np.sqrt(32)).all()
    assert ratio[0, 0] > 2 > ratio[1:].max(), "and it is the uneven stripe that differs"


def test_norm_without_normalisation_is_simple_sta_where_stripes_are_uniform():
    maps = np.repeat(np.repeat(random_maps(4, height=4, width=1), 4, axis=1), 8, axis=2)
    fused = StaHead(describe(), "global", AttentionOptions("norm", "none")).fuse(crop_features(maps))
    np.testing.assert_allclose(fused.attention, attention_of(simple_sta_scores(maps, 4)), atol=1e-5)


@pytest.mark.parametrize("energy", ENERGIES)
def test_a_frame_s_strength_counts_only_without_normalisation(energy):
    maps = random_maps(4)
    dimmed = maps * np.array([0.01, 1.0, 50.0, 1.0], np.float32)[:, None, None, None]
    for normalisation in NORMALISATIONS:
        head = StaHead(describe(), "global", AttentionOptions(energy, normalisation))
        before, after = (head.fuse(crop_features(m)).attention for m in (maps, dimmed))
        if normalisation == "none":
            assert (after[0] < 0.1 * before[0]).all() and (after[2] > before[2]).all()
        else:
            np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
def test_with_every_option_identical_frames_share_evenly_and_order_does_not_matter(options):
    head = StaHead(describe(), "paper", options)
    identical = head.fuse(crop_features(np.repeat(random_maps(1), 5, axis=0)))
    np.testing.assert_allclose(identical.attention, np.full((5, 4), 0.2), atol=1e-6)
    np.testing.assert_allclose(*np.split(identical.embedding, 2), atol=1e-6)  # P1 = P2
    crops = crop_features(random_maps(5))
    forward, backward = head.fuse(crops), head.fuse(crops[::-1])
    np.testing.assert_allclose(forward.embedding, backward.embedding, atol=1e-6)
    np.testing.assert_allclose(forward.attention, backward.attention[::-1], atol=1e-6)
    one = head.fuse(crops[:1])
    np.testing.assert_allclose(one.attention, np.ones((1, 4)))
    np.testing.assert_allclose(*np.split(one.embedding, 2), atol=1e-7)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
def test_with_every_option_frames_of_zeros_do_not_count_and_decades_do_not_overflow(options):
    maps = random_maps(3)
    head = StaHead(describe(), "global", options)
    with_black = head.fuse(crop_features(np.concatenate([maps, np.zeros_like(maps[:1])])))
    np.testing.assert_allclose(with_black.attention[-1], np.zeros(4))
    np.testing.assert_allclose(with_black.embedding, head.fuse(crop_features(maps)).embedding, atol=1e-6)
    black = head.fuse(crop_features(np.zeros_like(maps)))
    np.testing.assert_allclose(black.attention, np.full((3, 4), 1 / 3), atol=1e-6)
    wide = head.fuse(crop_features(maps * np.array([1e-15, 1e15, 1], np.float32)[:, None, None, None]))
    assert np.isfinite(wide.attention).all() and np.isfinite(wide.embedding).all()
    np.testing.assert_allclose(wide.attention.sum(axis=0), np.ones(4), atol=1e-6)


# --- quality ---------------------------------------------------------------------------------------------------------


def heads_with_quality():
    return [
        MeanHead(describe(), quality_weights=True),
        *(StaHead(describe(), f, o, quality_weights=True) for f in FUSIONS for o in ALL_OPTIONS),
    ]


def test_crops_without_any_quality_count_evenly():
    crops = crop_features(random_maps(4))  # as an encoder leaves them
    for head in heads_with_quality():
        plain = MeanHead(describe()) if isinstance(head, MeanHead) else StaHead(describe(), head._fusion, head._options)
        np.testing.assert_allclose(head.fuse(crops).attention, plain.fuse(crops).attention, atol=1e-7)


def test_a_better_crop_counts_more_in_every_stripe_and_columns_still_sum_to_one():
    crops = crop_features(np.repeat(random_maps(1), 4, axis=0))
    weights = np.array(scores_of(with_heights(crops)))
    for head in heads_with_quality():
        attention = head.fuse(with_heights(crops)).attention
        np.testing.assert_allclose(attention, np.repeat((weights / weights.sum())[:, None], 4, axis=1), atol=1e-6)


def test_a_crop_of_quality_zero_beside_others_counts_nothing():
    crops = with_heights(crop_features(random_maps(4)))
    spoiled = [*crops[:3], replace(crops[3], quality=replace(crops[3].quality, overlap=1.0))]
    for head in heads_with_quality():
        with_it, without = head.fuse(spoiled), head.fuse(crops[:3])
        np.testing.assert_allclose(with_it.attention[3], np.zeros(4))
        np.testing.assert_allclose(with_it.embedding, without.embedding, atol=1e-6)


def test_a_stripe_that_only_worthless_crops_show_is_shared_out_by_quality():
    energy = np.array([[0.0, 2.0], [3.0, 1.0], [0.0, 1.0]], np.float32)
    attention = temporal_attention(energy, np.array([3.0, 0.0, 1.0], np.float32))
    np.testing.assert_allclose(attention[:, 0], [0.75, 0.0, 0.25])


def test_without_the_option_quality_does_not_matter():
    crops = crop_features(random_maps(4))
    for head in (MeanHead(describe()), *(StaHead(describe(), f) for f in FUSIONS)):
        np.testing.assert_array_equal(head.fuse(crops).embedding, head.fuse(with_heights(crops)).embedding)


# --- names and settings ----------------------------------------------------------------------------------------------


def test_options_that_change_the_vectors_change_the_name_and_the_defaults_do_not():
    names = {
        StaHead(describe(), f, o, quality_weights=q).clip_model_id
        for f in FUSIONS
        for o in ALL_OPTIONS
        for q in (False, True)
    } | {MeanHead(describe(), quality_weights=q).clip_model_id for q in (False, True)}
    assert len(names) == len(FUSIONS) * len(ALL_OPTIONS) * 2 + 2
    assert {"example@1/mean", "example@1/sta-global", "example@1/mean+quality"} <= names
    assert "example@1/sta-paper+norm+l2+quality" in names and "example@1/sta-stripes+unnormalised" in names
    assert PAPER.suffix == ""


def test_the_settings_reach_the_head():
    config = ReidConfig(fusion="paper", energy="norm", normalisation="none", quality_weights=True)
    assert load_head(config, describe()).clip_model_id == "example@1/sta-paper+norm+unnormalised+quality"
    assert load_head(replace(config, head="mean"), describe()).clip_model_id == "example@1/mean+quality"
    assert load_head(ReidConfig(), describe()).clip_model_id == "example@1/sta-global"


@pytest.mark.parametrize(("field", "value"), [("energy", "cubes"), ("normalisation", "max")])
def test_an_unknown_option_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"{field}: expected one of .*; got '{value}'"):
        AttentionOptions(**{field: value})
