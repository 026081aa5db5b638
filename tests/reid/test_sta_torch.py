"""STA in PyTorch: equal to NumPy and to the equations, safe in half precision, with finite gradients."""

from itertools import product

import numpy as np
import pytest
import torch
from reid_examples import crop_features, describe, random_maps, random_projection
from sta_equations import attention_of, clip_vector, option_scores, paper_g, paper_scores, regulariser
from test_head_options import ALL_OPTIONS

from reid import attention as in_numpy
from reid import sta_torch as in_torch
from reid.attention import AttentionOptions
from reid.crop_stack import stack_clips
from reid.heads import FUSIONS, MeanHead, StaHead
from reid.sta_torch import (
    StaFusion,
    frame_distance,
    inter_frame_regulariser,
    pool_stripes,
    random_pairs,
    select_stripes,
    spatial_attention,
    temporal_attention,
)

PROJECTION = random_projection(12)
ENCODER = describe(4, 12, PROJECTION)
ALL_FUSIONS = ("mean", *FUSIONS)


def numpy_head(fusion, options):
    return MeanHead(ENCODER) if fusion == "mean" else StaHead(ENCODER, fusion, options)


def to_torch(maps: np.ndarray, dtype=torch.float32) -> torch.Tensor:
    """(..., H, W, C) -> (..., C, H, W)."""
    return torch.from_numpy(maps).movedim(-1, -3).to(dtype)


def clips(batch: int = 3, frames: int = 4, seed: int = 0) -> np.ndarray:
    """(B, N, H, W, C)."""
    return random_maps(batch * frames, seed=seed).reshape(batch, frames, 16, 8, 12)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_torch_equals_numpy_from_crop_features_and_from_maps(fusion, options):
    maps = clips()
    weights = np.array([[1, 0.5, 2, 0], [0, 1, 0, 0], [1, 1, 1, 1]], np.float32)
    stripes, energy, _ = stack_clips([crop_features(clip) for clip in maps], ENCODER)
    module = StaFusion(fusion, options, projection=PROJECTION)
    for frame_weights in (None, weights):
        wanted = numpy_head(fusion, options).fuse_batch(stripes, energy, frame_weights)
        given = None if frame_weights is None else torch.from_numpy(frame_weights)
        of_features = module.fuse(torch.from_numpy(stripes), torch.from_numpy(energy), given)
        of_maps = module(to_torch(maps), given)
        for ours, features, full in zip(wanted, of_features, of_maps, strict=True):
            np.testing.assert_allclose(features.detach().numpy(), ours, atol=1e-5)
            np.testing.assert_allclose(full.detach().numpy(), ours, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_torch_equals_the_paper_on_full_maps(fusion):
    for frames, seed in ((1, 1), (5, 2)):
        maps = random_maps(frames, seed=seed)
        fused = StaFusion(fusion, projection=PROJECTION)(to_torch(maps[None]))
        attention = attention_of(paper_scores(maps, 4))
        np.testing.assert_allclose(fused.attention[0].numpy(), attention, atol=1e-5)
        wanted = clip_vector(maps, attention, fusion, PROJECTION)
        np.testing.assert_allclose(fused.embedding[0].detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_fused_in_single_precision(fusion, dtype):
    rounded = to_torch(clips() * np.float32(50), dtype)  # the frame's energy is about 1e7: half precision ends at 65504
    module = StaFusion(fusion)
    half, single = module(rounded), module(rounded.float())
    assert {values.dtype for values in half} == {torch.float32}
    for a, b in zip(half, single, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_give_nearly_the_vector_of_single_precision_maps(dtype):
    maps = clips()
    for fusion in ("mean", "global", "stripes"):  # P1 may choose another frame where two are nearly as strong
        half = StaFusion(fusion)(to_torch(maps, dtype)).embedding
        single = StaFusion(fusion)(to_torch(maps)).embedding
        torch.testing.assert_close(half, single, atol=3e-3, rtol=0)


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
def test_energies_that_overflow_half_precision_stay_finite_in_every_option(options):
    loud = torch.full((1, 3, 12, 16, 8), 60000.0, dtype=torch.float16)
    loud[0, 1] = 0.001
    fused = StaFusion("stripes", options)(loud)
    assert all(bool(values.isfinite().all()) for values in fused)
    torch.testing.assert_close(fused.attention.sum(1), torch.ones(1, 4))


def test_under_autocast_the_attention_stays_in_single_precision():
    maps = to_torch(clips())
    module = StaFusion("global", projection=PROJECTION)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = module(maps)
    plain = module(maps)
    torch.testing.assert_close(cast.attention, plain.attention)
    torch.testing.assert_close(cast.embedding, plain.embedding, atol=1e-2, rtol=0)
    assert cast.embedding.dtype == torch.float32


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_takes_any_memory_layout_and_leading_axes(layout):
    flat = to_torch(clips()).flatten(0, 1).clone(memory_format=layout).requires_grad_()
    means, energy = pool_stripes(flat.unflatten(0, (3, 4)), 4)
    assert means.shape == (3, 4, 4, 12) and energy.shape == (3, 4, 4)
    wanted = stack_clips([crop_features(clip) for clip in clips()], ENCODER)
    np.testing.assert_allclose(means.detach().numpy(), wanted.stripes, rtol=1e-5)
    np.testing.assert_allclose(energy.detach().numpy(), wanted.energy, rtol=1e-5)
    (means.sum() * 32 + energy.sum() / 2).backward()
    torch.testing.assert_close(flat.grad, flat.detach() + 1)


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_one_clip_in_torch_equals_the_same_clip_in_a_batch(fusion):
    maps = to_torch(clips(5))
    module = StaFusion(fusion, projection=PROJECTION)
    for whole, alone in zip(module(maps), module(maps[2:3]), strict=True):
        torch.testing.assert_close(whole[2:3], alone, atol=1e-6, rtol=0)


def test_stripes_that_do_not_divide_the_map_are_refused():
    with pytest.raises(ValueError, match="expected a divisor of the map's 16 rows, got 5"):
        pool_stripes(torch.zeros(1, 12, 16, 8), 5)


def test_no_clips_give_no_vectors_in_torch():
    for fusion in ALL_FUSIONS:
        fused = StaFusion(fusion)(torch.zeros(0, 4, 12, 16, 8))
        assert fused.embedding.shape[0] == 0 and fused.attention.shape == (0, 4, 4)


def test_an_unknown_fusion_is_refused_in_torch():
    with pytest.raises(ValueError, match=r"expected one of paper, .*mean; got 'sum'"):
        StaFusion("sum")


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_gradients_are_finite_with_frames_stripes_and_clips_of_zeros(fusion, options):
    maps = to_torch(clips(4))
    maps[0, 1] = 0  # a frame
    maps[1, :, :, 12:] = 0  # a stripe in all frames
    maps[2] = 0  # a clip
    maps.requires_grad_()
    module = StaFusion(fusion, options, projection=PROJECTION)
    fused = module(maps, torch.tensor([[1.0, 1, 1, 0]]).expand(4, 4))
    sum(values.square().sum() for values in fused).backward()
    assert all(bool(values.isfinite().all()) for values in fused)
    assert bool(maps.grad.isfinite().all()) and bool(module.projection.weight.grad.isfinite().all())
    assert not maps.grad[:, 3].any(), "a frame that does not exist learns nothing"


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=lambda o: f"{o.energy}-{o.normalisation}")
def test_gradients_are_those_of_the_function(options):
    maps = to_torch(random_maps(3, height=4, width=2, channels=3)[None], torch.float64)
    maps = (maps + 0.1).requires_grad_()
    for fusion in ("global", "paper"):
        module = StaFusion(fusion, options, stripes=2)
        assert torch.autograd.gradcheck(lambda x, m=module: m(x).embedding, maps)
    assert torch.autograd.gradcheck(lambda x: frame_distance(x, torch.tensor([[0, 2]])), maps)


def test_the_choice_of_frames_has_no_gradient_but_the_weights_have_one():
    stripes, energy = pool_stripes(to_torch(clips()), 4)
    for fusion, flows in (("discriminative", False), ("global", True)):
        leaf = energy.clone().requires_grad_()
        StaFusion(fusion).fuse(stripes.clone().requires_grad_(), leaf).embedding[:, 0].sum().backward()
        assert (leaf.grad is not None and bool(leaf.grad.any())) == flows


def test_only_the_chosen_frames_learn_from_the_selection():
    stripes, energy = pool_stripes(to_torch(clips()), 4)
    stripes.requires_grad_()
    attention = temporal_attention(energy)
    select_stripes(attention, stripes).sum().backward()
    chosen = torch.nn.functional.one_hot(attention.argmax(1), 4).movedim(-1, 1)  # (B, N, K)
    torch.testing.assert_close(stripes.grad, chosen[..., None].expand(stripes.shape).float())


# --- the regulariser -------------------------------------------------------------------------------------------------


def test_the_spatial_attention_equals_the_paper_and_sums_to_one():
    maps = random_maps(3)
    g = spatial_attention(to_torch(maps))
    np.testing.assert_allclose(g.numpy(), np.stack([paper_g(frame) for frame in maps]), atol=1e-7)
    half = spatial_attention(to_torch(maps * np.float32(100), torch.float16))
    np.testing.assert_allclose(half.numpy(), g.numpy(), atol=1e-4)
    np.testing.assert_allclose(half.sum((-2, -1)).numpy(), np.ones(3), atol=1e-5)


def test_the_regulariser_equals_the_paper_for_given_pairs():
    maps = clips(4)
    pairs = torch.tensor([[0, 1], [3, 2], [1, 1], [0, 3]])
    wanted = [regulariser(clip, int(i), int(j)) for clip, (i, j) in zip(maps, pairs, strict=True)]
    np.testing.assert_allclose(frame_distance(to_torch(maps), pairs).numpy(), wanted, atol=1e-6)


def test_the_regulariser_lies_between_zero_for_equal_frames_and_the_root_of_two():
    points = torch.zeros(2, 2, 12, 16, 8)
    points[:, 0, :, 3, 3] = 5.0
    points[0, 1, :, 9, 1] = 0.1  # all energy elsewhere
    points[1, 1, :, 3, 3] = 0.1  # in the same place, however strong
    pair = torch.tensor([[0, 1], [0, 1]])
    torch.testing.assert_close(frame_distance(points, pair), torch.tensor([2**0.5, 0.0]))
    uniform = spatial_attention(torch.ones(12, 16, 8))
    assert float(torch.linalg.vector_norm(uniform)) == pytest.approx(0.0884, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_gradient_of_the_regulariser_is_finite_where_frames_are_equal_or_empty(dtype):
    maps = to_torch(np.repeat(clips(2, 1), 3, axis=1), dtype)
    maps[1] = 0
    maps.requires_grad_()
    distance = frame_distance(maps, torch.tensor([[0, 2], [0, 1]]))
    distance.sum().backward()
    assert not distance.any() and bool(maps.grad.isfinite().all())


def test_random_pairs_are_two_different_frames_and_every_pair_comes_up():
    there = torch.ones(3000, 4, dtype=torch.bool)
    pairs = random_pairs(there, torch.Generator().manual_seed(0))
    assert pairs.shape == (3000, 2) and bool((pairs[:, 0] != pairs[:, 1]).all())
    counts = torch.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    expected = 3000 / 12
    assert int((counts > 0).sum()) == 12
    assert float((counts[counts > 0] - expected).abs().max()) < 5 * expected**0.5


def test_random_pairs_leave_filling_out_and_repeat_a_lonely_frame():
    there = torch.tensor([[True, False, True, False], [False, False, True, False]])
    for seed in range(10):
        pairs = random_pairs(there, torch.Generator().manual_seed(seed))
        assert sorted(pairs[0].tolist()) == [0, 2] and pairs[1].tolist() == [2, 2]
    with pytest.raises(ValueError, match="at least one frame"):
        random_pairs(torch.zeros(1, 4, dtype=torch.bool), torch.Generator())


def test_the_regulariser_of_random_frames_comes_from_the_generator_alone():
    maps = to_torch(clips(8))
    first, again, other = (inter_frame_regulariser(maps, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again)
    assert bool((first != other).any()) and bool((first > 0).all()) and bool((first < 2**0.5).all())
    pairs = random_pairs(torch.ones(8, 4, dtype=torch.bool), torch.Generator().manual_seed(1))
    torch.testing.assert_close(first, frame_distance(maps, pairs))


def test_a_clip_of_one_frame_has_no_regulariser_and_no_gradient():
    maps = to_torch(clips(2, 1)).requires_grad_()
    values = inter_frame_regulariser(maps, torch.Generator().manual_seed(0))
    values.sum().backward()
    torch.testing.assert_close(values.detach(), torch.zeros(2))
    assert not maps.grad.any()


def test_scores_and_attention_agree_function_by_function():
    energy = np.random.default_rng(3).gamma(0.5, 1e6, (2, 5, 4)).astype(np.float32)
    energy[0, 0] = 0
    weights = np.random.default_rng(4).random((2, 5)).astype(np.float32)
    tensors = torch.from_numpy(energy), torch.from_numpy(weights)
    for energy_kind, normalisation in product(("squares", "norm"), ("sum", "l2", "none")):
        options = AttentionOptions(energy_kind, normalisation)
        ours, theirs = in_numpy.stripe_scores(energy, options), in_torch.stripe_scores(tensors[0], options)
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-5)
        ours = in_numpy.temporal_attention(energy, weights, options)
        np.testing.assert_allclose(temporal_attention(*tensors, options).numpy(), ours, atol=1e-6)
        if normalisation == "sum":
            maps = random_maps(5)
            scores = option_scores(maps, 4, energy_kind, normalisation)
            of_maps = in_torch.stripe_scores(pool_stripes(to_torch(maps), 4)[1], options)
            np.testing.assert_allclose(of_maps.numpy(), scores, atol=1e-6)
    even = in_numpy.even_attention(energy, weights)
    np.testing.assert_allclose(in_torch.even_attention(*tensors).numpy(), even, atol=1e-6)
