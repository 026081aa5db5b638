"""Many clips at once: a batch equals its clips one by one, whatever their lengths."""

from itertools import product

import numpy as np
import pytest
from reid_examples import crop_features, describe, random_maps, random_projection
from test_head_options import ALL_OPTIONS, with_heights

from pipeline.errors import ConfigError
from pipeline.ports import EncoderDescription
from reid.attention import AttentionOptions
from reid.crop_stack import stack_clips
from reid.heads import FUSIONS, FusedClips, MeanHead, StaHead

ENCODER = describe(4, 12, random_projection(12))
HEADS = [
    MeanHead(ENCODER),
    MeanHead(ENCODER, quality_weights=True),
    *(StaHead(ENCODER, f, o) for f, o in product(FUSIONS, ALL_OPTIONS)),
    *(StaHead(ENCODER, f, quality_weights=True) for f in FUSIONS),
]


def name(head) -> str:
    return head.clip_model_id.partition("/")[2]


def clips_of(lengths) -> list:
    """Clips of crops whose quality varies, one without a crop that shows anything, one without qualities."""
    clips = []
    for seed, length in enumerate(lengths):
        maps = random_maps(length, seed=seed) * (0.0 if seed == 2 else 1.0 + seed)
        crops = crop_features(maps.astype(np.float32))
        heights = np.random.default_rng(seed).uniform(5, 200, length)
        clips.append(crops if seed == 1 else with_heights(crops, heights))
    return clips


@pytest.mark.parametrize("head", HEADS, ids=name)
@pytest.mark.parametrize("lengths", [(4,) * 6, (1, 3, 2, 5, 4, 1), (1,)], ids=["equal", "unequal", "one"])
def test_a_batch_equals_its_clips_one_by_one(head, lengths):
    clips = clips_of(lengths)
    together = head.fuse_clips(clips)
    assert together.attention.shape == (len(clips), max(lengths), 4)
    for b, (clip, length) in enumerate(zip(clips, lengths, strict=True)):
        alone = head.fuse(clip)
        np.testing.assert_allclose(together.embedding[b], alone.embedding, atol=1e-6)
        np.testing.assert_allclose(together.parts[b], alone.parts, atol=1e-6)
        np.testing.assert_allclose(together.visibility[b], alone.visibility, atol=1e-6)
        np.testing.assert_allclose(together.attention[b, :length], alone.attention, atol=1e-6)
        np.testing.assert_array_equal(together.attention[b, length:], 0)


@pytest.mark.parametrize("head", HEADS, ids=name)
def test_frames_of_weight_zero_do_not_exist_whatever_they_hold(head):
    stripes, energy, weights = stack_clips(clips_of((2, 2, 2)), ENCODER)
    loud = [np.concatenate([x, 100 + x[:, :1]], axis=1) for x in (stripes, energy)]
    weights_with_zero = np.concatenate([weights, np.zeros((3, 1), np.float32)], axis=1)
    with_more, without = head.fuse_batch(*loud, weights_with_zero), head.fuse_batch(stripes, energy, weights)
    np.testing.assert_allclose(with_more.embedding, without.embedding, atol=1e-6)
    np.testing.assert_allclose(with_more.visibility, without.visibility, atol=1e-6)
    np.testing.assert_array_equal(with_more.attention[:, 2], 0)


@pytest.mark.parametrize("head", HEADS, ids=name)
def test_no_clips_give_no_vectors(head):
    nothing = head.fuse_clips([])
    some = head.fuse_clips(clips_of((2,)))
    assert isinstance(nothing, FusedClips)
    for empty, values in zip((nothing.embedding, nothing.parts, nothing.visibility), some, strict=False):
        assert empty.shape == (0, *values.shape[1:]) and empty.dtype == values.dtype == np.float32


@pytest.mark.parametrize("head", HEADS[:4], ids=name)
def test_a_clip_without_crops_is_refused_in_a_batch_too(head):
    with pytest.raises(ValueError, match="expected at least one, got none"):
        head.fuse_clips([*clips_of((2,)), []])
    with pytest.raises(ValueError, match="with N >= 1"):
        head.fuse_batch(np.zeros((2, 0, 4, 12), np.float32), np.zeros((2, 0, 4), np.float32))


def test_weights_that_make_no_sense_are_refused():
    head = StaHead(ENCODER)
    stripes, energy, _ = stack_clips(clips_of((2, 2)), ENCODER)
    for wrong, message in (
        (np.array([[1, 1], [0, 0]]), "a frame that counts in every clip"),
        (np.array([[1, 1], [1, -1]]), "from 0 up, got -1"),
        (np.array([[1, 1], [1, np.nan]]), "finite"),
        (np.ones((2, 3)), r"expected shape \(B, N\) with N >= 1, got \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            head.fuse_batch(stripes, energy, wrong)


def test_arrays_that_do_not_fit_are_refused():
    head = StaHead(ENCODER)
    stripes, energy, _ = stack_clips(clips_of((2, 2)), ENCODER)
    with pytest.raises(ValueError, match=r"stripes: expected shape \(B, N, 4, 12\) with N >= 1, got \(2, 2, 4, 11\)"):
        head.fuse_batch(stripes[..., 1:], energy)
    with pytest.raises(ValueError, match=r"energy: expected shape \(B, N, 4\) with N >= 1, got \(2, 1, 4\)"):
        head.fuse_batch(stripes, energy[:, 1:])
    with pytest.raises(ValueError, match="stripes: expected shape"):
        head.fuse_batch(stripes[0], energy[0])


def test_a_head_leaves_its_input_alone():
    stack = stack_clips(clips_of((3, 3)), ENCODER, quality_weights=True)
    before = [values.copy() for values in stack]
    StaHead(ENCODER, "stripes", AttentionOptions("norm", "l2")).fuse_batch(*stack)
    for old, new in zip(before, stack, strict=True):
        np.testing.assert_array_equal(old, new)


def test_stacked_qualities_are_the_crops_scores_and_one_where_a_clip_has_none():
    clips = clips_of((2, 3))  # the second has no qualities
    weights = stack_clips(clips, ENCODER, quality_weights=True).frame_weights
    np.testing.assert_allclose(weights[0], [*(crop.quality.score for crop in clips[0]), 0], atol=1e-7)
    np.testing.assert_array_equal(weights[1], [1, 1, 1])
    np.testing.assert_array_equal(stack_clips(clips, ENCODER).frame_weights, [[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize("head", [MeanHead, StaHead])
def test_finer_stripes_are_gathered_to_what_a_coarser_pooling_gives(head):
    rng = np.random.default_rng(3)
    rows, energy = rng.random((2, 3, 8, 5), np.float32), rng.random((2, 3, 8), np.float32)
    fine, coarse = (EncoderDescription("e@1", k, 5) for k in (8, 4))
    gathered = rows.reshape(2, 3, 4, 2, 5).mean(axis=3), energy.reshape(2, 3, 4, 2).sum(axis=3)
    for found, wanted in zip(
        head(fine, stripes=4).fuse_batch(rows, energy), head(coarse).fuse_batch(*gathered), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_stripes_that_cannot_be_gathered_are_refused():
    with pytest.raises(ConfigError, match="8 stripes cannot be gathered into 3"):
        StaHead(EncoderDescription("e@1", 8, 5), stripes=3)
