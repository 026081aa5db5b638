import numpy as np
import pytest
import torch
from site_examples import ENCODER, Site, first_people, make_site, plain_start, without_pairs

from reid.adaptation.certain_batches import ClipSampler, certain_pairs_loss, hardest_triplet_loss
from reid.adaptation.clips import cut_clips, stack_clip_crops
from reid.adaptation.closed_form import ClosedForm, fit_closed_form
from reid.adaptation.judge import Judge
from reid.adaptation.refine import Refinement, refine_head
from reid.adaptation.torch_head import TorchAlignedHead
from reid.aligned import AlignedHead

OPTIONS = Refinement(steps=8, people=4, clips=2, crops=2)


@pytest.mark.parametrize("parts", [0, 1, 2, 4])
def test_the_head_in_pytorch_equals_the_one_in_numpy_for_clips_of_any_length(parts):
    material = make_site(Site(people=3, crops=5))
    start = fit_closed_form(material, ENCODER, plain_start(parts), ClosedForm(dimensions=6))
    stack = stack_clip_crops(material.tracks, cut_clips(material), range(6))
    wanted = AlignedHead(ENCODER, start).fuse_batch(*stack).embedding
    found = TorchAlignedHead(ENCODER, start)(*map(torch.from_numpy, stack)).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_head_without_a_step_comes_out_as_it_went_in():
    start = fit_closed_form(make_site(), ENCODER, plain_start(), ClosedForm(dimensions=6))
    again = TorchAlignedHead(ENCODER, start).to_parameters("example")
    stripes = np.abs(np.random.default_rng(0).normal(size=(2, 3, *start.position.shape[:1], 24))).astype(np.float32)
    energy = np.square(stripes).sum(-1)
    a, b = (AlignedHead(ENCODER, p).fuse_batch(stripes, energy).embedding for p in (start, again))
    np.testing.assert_allclose(a, b, atol=1e-3)  # prototypes are normalised again


def test_refining_draws_people_of_the_footage_apart():
    material = make_site(Site(disturbance=2.0, noise=1.0))
    start = fit_closed_form(material, ENCODER, plain_start(), ClosedForm(dimensions=8))
    options = Refinement(steps=60, people=6, clips=3, crops=2, rate=5e-3, pull=0.0)
    refined = refine_head(material, ENCODER, start, rng=np.random.default_rng(0), options=options)
    judge = Judge(material, np.random.default_rng(0), 2)
    before, after = (judge.judge(AlignedHead(ENCODER, p)) for p in (start, refined))
    assert before.separation.mean() < 0.95
    assert after.separation.mean() > before.separation.mean() + 0.02


def test_the_pull_keeps_the_head_near_its_start():
    material = make_site()
    start = fit_closed_form(material, ENCODER, plain_start(), ClosedForm(dimensions=8))
    moved = []
    for pull in (0.0, 100.0):
        options = Refinement(steps=60, people=4, clips=2, crops=2, pull=pull, rate=1e-3)
        refined = refine_head(material, ENCODER, start, rng=np.random.default_rng(0), options=options)
        moved.append(np.abs(refined.basis - start.basis).mean())
    assert moved[1] < moved[0] / 2


def test_refining_is_the_same_for_the_same_seed_and_another_for_another():
    material = make_site()
    start = fit_closed_form(material, ENCODER, plain_start(), ClosedForm(dimensions=6))
    digests = [
        refine_head(material, ENCODER, start, rng=np.random.default_rng(seed), options=OPTIONS).digest
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_refining_stops_when_told_to():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    refine_head(make_site(), ENCODER, plain_start(), rng=np.random.default_rng(0), options=OPTIONS, should_stop=stop)
    assert len(asked) == 4


@pytest.mark.parametrize(
    "material",
    [first_people(make_site(), 0), first_people(make_site(), 1), without_pairs(make_site()), make_site(Site(crops=1))],
    ids=["nobody", "one person", "no pairs", "one crop each"],
)
def test_footage_that_teaches_nothing_leaves_the_head_as_it_was(material):
    start = plain_start()
    assert refine_head(material, ENCODER, start, rng=np.random.default_rng(0), options=OPTIONS) is start


def test_a_part_of_weight_zero_stays_off():
    start = plain_start()
    off = type(start)(**{**{n: getattr(start, n) for n in start.__slots__}, "weight": np.array([1, 0, 1], np.float32)})
    refined = refine_head(make_site(), ENCODER, off, rng=np.random.default_rng(0), options=OPTIONS)
    assert refined.weight[1] == 0
    assert refined.weight[0] > 0


# --- batches and losses ----------------------------------------------------------------------------------------------


def test_a_batch_holds_crops_of_the_right_tracks_and_marks_only_certain_pairs():
    material = make_site(Site(people=9, crops=3), together=3)
    sampler = ClipSampler(material, people=6, clips=3, crops=2)
    for seed in range(5):
        batch = sampler.draw(np.random.default_rng(seed))
        person = material.person_of[batch.track]
        assert len(person) == 6 * 3
        for i, j in np.ndindex(*batch.same.shape):
            assert bool(batch.same[i, j]) == (i != j and person[i] == person[j])
            assert bool(batch.different[i, j]) == material.are_apart(int(person[i]), int(person[j]))
        assert bool(batch.different.any(dim=1).all())
        assert (batch.crops >= 0).all()
        assert (batch.crops < 3).all()


def test_the_loss_of_two_against_one_equals_its_equation():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    same = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    different = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]]).bool()
    first = -np.log(np.exp(0.6 / 0.5) / (np.exp(0.6 / 0.5) + np.exp(0.0)))
    second = -np.log(np.exp(0.6 / 0.5) / (np.exp(0.6 / 0.5) + np.exp(0.8 / 0.5)))
    loss = certain_pairs_loss(vectors, same, different, 0.5)
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-5)
    far = np.sqrt(2 - 1.2)
    triplet = np.mean([np.log1p(np.exp(far - np.sqrt(2))), np.log1p(np.exp(far - np.sqrt(2 - 1.6)))])
    assert float(hardest_triplet_loss(vectors, same, different)) == pytest.approx(triplet, abs=1e-5)


@pytest.mark.parametrize("loss", [lambda *a: certain_pairs_loss(*a, 0.1), hardest_triplet_loss])
def test_a_batch_without_a_certain_pair_costs_nothing_and_has_a_gradient_of_zero(loss):
    vectors = torch.ones(3, 2, requires_grad=True)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    loss(vectors, nothing, nothing).backward()
    assert vectors.grad is not None
    assert float(vectors.grad.abs().sum()) == 0.0
