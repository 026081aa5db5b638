"""Trained clip heads: equal to their equations, the same in PyTorch and in NumPy, and lawful."""

import clip_head_equations as equations
import numpy as np
import pytest
import torch
from clip_head_examples import CHANNELS, STRIPES, VARIANTS, clips, live, projection, trained

from pipeline.retrieval import comparable_vector
from reid.clip_heads.make import CLIP_HEADS, make_clip_head
from reid.heads import MeanHead
from reid.losses.make import make_loss
from reid.sta_torch import StaFusion


def weights_of(head) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in head.state_dict().items()}


def before_the_neck(head, stripes, energy) -> np.ndarray:
    with torch.no_grad():
        return torch.cat(head(stripes, energy).metric, 1).numpy()


# --- equations -------------------------------------------------------------------------------------------------------

WRITTEN_OUT = {
    "mean": lambda f, w: equations.mean(f),
    "mean-apart": lambda f, w: f.mean(axis=0).ravel(),
    "quality-apart": lambda f, w: w["embed.weight"] @ equations.quality_parts(f, w)[0].ravel(),
    "temporal": lambda f, w: equations.temporal_attention(f, w)[0],
    "temporal-5": lambda f, w: equations.temporal_attention(f, w)[0],
    "rnn": equations.rnn,
    "rnn-30": equations.rnn,
    "lstm": equations.lstm,
    "quality": lambda f, w: equations.quality(f, w)[0],
    "stgcn": lambda f, w: np.concatenate(equations.stgcn(f, w)),
    "stgcn-residual": lambda f, w: np.concatenate(equations.stgcn(f, w, residual=True)),
    "stgcn-small": lambda f, w: np.concatenate(equations.stgcn(f, w)),
}


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("variant", WRITTEN_OUT)
def test_a_head_is_what_its_equations_say(variant, frames):
    head = trained(variant)
    stripes, energy = clips(3, frames, seed=9)
    w = weights_of(head)
    wanted = np.stack([WRITTEN_OUT[variant](clip.double().numpy(), w) for clip in stripes])
    np.testing.assert_allclose(before_the_neck(head, stripes, energy), wanted, rtol=1e-4, atol=1e-4)
    if head.neck is None:
        return
    behind = np.stack([equations.neck(vector, w) for vector in wanted])
    with torch.no_grad():
        np.testing.assert_allclose(head(stripes, energy).identity, behind, rtol=1e-3, atol=1e-3)


def test_temporal_attention_and_quality_report_the_weights_of_the_equations():
    stripes, energy = clips(3, 4, seed=2)
    for variant, of in (("temporal", equations.temporal_attention), ("quality", equations.quality)):
        head = trained(variant)
        found = head(stripes, energy).attention.detach().numpy()
        for b, clip in enumerate(stripes):
            wanted = of(clip.double().numpy(), weights_of(head))[1]
            np.testing.assert_allclose(
                found[b], wanted if wanted.ndim == 2 else wanted[:, None] + 0 * found[b], atol=1e-5
            )


@pytest.mark.parametrize("fusion", ["paper", "global", "discriminative"])
def test_sta_is_the_fusion_of_the_rest_of_the_project(fusion):
    stripes, energy = clips(4, 5)
    head = make_clip_head("sta", stripes=STRIPES, channels=CHANNELS, projection=projection(), fusion=fusion, neck=False)
    wanted = StaFusion(fusion, stripes=STRIPES, projection=projection()).fuse(stripes, energy)
    for ours, theirs in zip(head(stripes, energy)[:4], wanted, strict=True):
        if ours.shape == theirs.shape:  # `paper`: parts have both halves here
            np.testing.assert_allclose(ours.detach(), theirs.detach(), atol=1e-5)


def test_rows_of_the_propagation_sum_to_one_and_many_steps_make_all_patches_alike():
    """Why deeper graphs get worse (notes: over-smoothing), and what Â does: the mean of a patch and its neighbours."""
    x = clips(1, 4)[0][0].reshape(16, CHANNELS).double().numpy()
    spread = equations.propagation(x, np.eye(CHANNELS))
    np.testing.assert_allclose(spread.sum(axis=1), 1, atol=1e-9)
    far = np.linalg.matrix_power(spread, 30) @ x
    assert far.std(axis=0).max() < 0.01 * x.std(axis=0).max()


# --- live ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_projection", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_numpy_equals_torch(variant, with_projection):
    head = trained(variant, with_projection)
    stripes, energy = clips(7, 5, seed=4)
    mask = torch.ones(7, 5)
    mask[1, 3:], mask[2, 1], mask[3, 0], mask[4, 2:4] = 0, 0, 0.3, 0
    energy[5], stripes[5] = 0, 0
    for given in (None, mask):
        wanted = head(stripes, energy, given)
        found = live(head).fuse_batch(stripes.numpy(), energy.numpy(), None if given is None else given.numpy())
        for ours, theirs in zip(found, wanted[:4], strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs.detach(), atol=2e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_equals_its_clips_one_by_one_and_may_be_empty(variant):
    head = live(trained(variant))
    stripes, energy = (values.numpy() for values in clips(4, 3))
    together = head.fuse_batch(stripes, energy)
    for b in range(4):
        alone = head.fuse_batch(stripes[b : b + 1], energy[b : b + 1])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[b], other[0], atol=1e-5)
    nothing = head.fuse_batch(stripes[:0], energy[:0])
    assert [values.shape[1:] for values in nothing] == [values.shape[1:] for values in together]
    assert len(nothing.embedding) == 0


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_frames_of_weight_zero_do_not_exist_wherever_they_stand(variant, place):
    head = trained(variant)
    stripes, energy = clips(3, 3)
    loud = [torch.cat([x[:, :place], 50 + x[:, :1], x[:, place:]], 1) for x in (stripes, energy)]
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[:, place] = False
    with_more, without = head(*loud, mask), head(stripes, energy)
    np.testing.assert_allclose(with_more.identity.detach(), without.identity.detach(), rtol=1e-4, atol=1e-4)
    kept = with_more.attention[:, mask[0]].detach()
    np.testing.assert_allclose(kept, without.attention.detach(), atol=1e-6)
    assert not with_more.attention[:, place].detach().any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_vectors_have_norm_one_and_a_clip_that_shows_nothing_is_a_fixed_direction(variant):
    stripes, energy = (values.numpy() for values in clips(3, 2))
    stripes[1:], energy[1:] = 0, 0
    found = live(trained(variant)).fuse_batch(stripes, energy)
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.embedding[1], found.embedding[2])
    assert found.visibility[0].any()
    assert not found.visibility[1:].any()
    assert not found.parts[1:].any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_attention_of_every_stripe_sums_to_one(variant):
    stripes, energy = clips(4, 5)
    mask = torch.tensor([[1, 1, 0, 1, 1]] * 4)
    attention = trained(variant)(stripes, energy, mask).attention
    np.testing.assert_allclose(attention.sum(1).detach(), 1, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_matcher_compares_the_vector_as_a_whole(variant):
    stripes, energy = (values.numpy() for values in clips(1, 3))
    found = live(trained(variant)).fuse_batch(stripes, energy)
    vector, seen = comparable_vector(found.embedding[0], found.parts[0], found.visibility[0])
    np.testing.assert_array_equal(vector, found.embedding[0])
    assert len(seen) == 1


@pytest.mark.parametrize("variant", [v for v in VARIANTS if VARIANTS[v][0] not in ("temporal", "rnn")])
def test_heads_without_a_sense_of_time_do_not_see_the_order_of_frames(variant):
    head = trained(variant)
    stripes, energy = clips(3, 5)
    forward, backward = head(stripes, energy), head(stripes.flip(1), energy.flip(1))
    np.testing.assert_allclose(forward.identity.detach(), backward.identity.detach(), rtol=1e-4, atol=1e-4)


def test_the_order_of_frames_counts_where_it_should():
    stripes, energy = clips(3, 5)
    for variant in ("temporal", "rnn"):
        head = trained(variant)
        assert not torch.allclose(head(stripes, energy).identity, head(stripes.flip(1), energy.flip(1)).identity)


def test_an_encoder_of_finer_stripes_serves_as_well():
    head = trained("stgcn")
    stripes, energy = (values.numpy() for values in clips(3, 2))
    fine = np.repeat(stripes, 4, axis=2), np.repeat(energy, 4, axis=2) / 4
    coarse = live(head).fuse_batch(stripes, energy)
    np.testing.assert_allclose(live(head, rows=16).fuse_batch(*fine).embedding, coarse.embedding, atol=1e-5)


def test_before_any_training_the_mean_head_is_the_plain_mean():
    from pipeline.ports import EncoderDescription

    encoder = EncoderDescription("example@1", STRIPES, CHANNELS, projection())
    head = make_clip_head("mean", stripes=STRIPES, channels=CHANNELS, projection=projection()).eval()
    stripes, energy = clips(3, 4)
    wanted = MeanHead(encoder).fuse_batch(stripes.numpy(), energy.numpy()).embedding
    np.testing.assert_allclose(head(stripes, energy).embedding.detach(), wanted, atol=1e-5)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_weight_and_are_finite_also_for_clips_of_nothing(variant):
    head = trained(variant, with_projection=True).train()
    stripes, energy = clips(8, 4)
    stripes[0], energy[0] = 0, 0
    stripes.requires_grad_()
    mask = torch.ones(8, 4)
    mask[1, 2:] = 0
    made = head(stripes, energy, mask)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    metric = make_loss("trihard", people=4, channels=1, margin=None)
    identity = make_loss("identity", people=4, channels=head.dimensions)
    (sum(metric(features, labels) for features in made.metric) + identity(made.identity, labels)).backward()
    missing = [n for n, p in head.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # a bias of all scores alike, and of both halves of an LSTM, is none; P1 alone takes no gradient into its choice
    assert [name for name in missing if name not in ("temporal.bias",)] == []
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    assert torch.isfinite(stripes.grad).all()


@pytest.mark.parametrize("name", CLIP_HEADS)
def test_training_in_half_precision_computes_in_single(name):
    torch.manual_seed(0)
    head = make_clip_head(name, stripes=STRIPES, channels=CHANNELS).eval()
    stripes, energy = clips(3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(stripes.bfloat16(), energy).embedding
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), head(stripes.bfloat16().float(), energy).embedding.detach(), atol=1e-6)


@pytest.mark.parametrize("variant", ["temporal", "quality", "stgcn", "stgcn-residual", "rnn", "lstm"])
def test_a_head_learns_to_tell_a_few_people_apart(variant):
    """People differ in one stripe only, and half of the frames are noise."""
    name, options = VARIANTS[variant]
    torch.manual_seed(1)
    head = make_clip_head(name, stripes=STRIPES, channels=CHANNELS, **options).train()
    loss = make_loss("trihard", people=4, channels=head.dimensions, margin=None)
    identity = make_loss("identity", people=4, channels=head.dimensions)
    rng = torch.Generator().manual_seed(0)
    looks = torch.rand(4, CHANNELS, generator=rng)
    labels = torch.arange(4).repeat_interleave(4)
    optimiser = torch.optim.Adam([*head.parameters(), *identity.parameters()], lr=1e-2)
    first = last = 0.0
    for step in range(40):
        stripes = torch.rand(16, 4, STRIPES, CHANNELS, generator=rng)
        stripes[:, :2, 1] = looks[labels][:, None] + 0.05 * torch.rand(16, 2, CHANNELS, generator=rng)
        made = head(stripes, stripes.square().sum(-1))
        value = sum(loss(features, labels) for features in made.metric) / len(made.metric) + identity(
            made.identity, labels
        )
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        first, last = (value.item(), 0.0) if step == 0 else (first, value.item())
    assert last < 0.7 * first


# --- the factory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIP_HEADS)
def test_every_head_names_its_source(name):
    head = make_clip_head(name, stripes=2, channels=4)
    assert any(year in type(head).__doc__ for year in ("AAAI", "CVPR", "ECCV", "arXiv"))
    assert head(torch.rand(2, 3, 2, 4), torch.rand(2, 3, 2)).embedding.shape == (2, head.dimensions)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tcn", {}, "expected one of mean, sta"),
        ("mean", {"hidden": 3}, "unknown option 'hidden'; it has apart, dimensions, neck"),
        ("sta", {"fusion": "stripes"}, "expected one of paper"),
        ("temporal", {"kernel": 2}, "odd number"),
        ("stgcn", {"temporal_layers": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        make_clip_head(name, stripes=STRIPES, channels=CHANNELS, **options)
