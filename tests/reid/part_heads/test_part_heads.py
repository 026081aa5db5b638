"""Part heads: equal to their equations, trained as their papers say, and the same live from stripe means."""

import numpy as np
import part_head_equations as equations
import pytest
import torch

from pipeline.errors import WeightsError
from pipeline.ports import EncoderDescription
from pipeline.retrieval import comparable_vector
from reid.clip_heads.live import LiveClipHead
from reid.distances.dmli import dmli
from reid.losses.identity import smoothed_cross_entropy
from reid.part_heads.base import PartHead, PartVectors
from reid.part_heads.make import PART_HEADS, make_part_head, store_part_head
from reid.sta_torch import pool_stripes

CHANNELS, PEOPLE = 6, 4
VARIANTS: dict[str, tuple[str, dict]] = {
    **{name: (name, {}) for name in PART_HEADS},
    "pcb-h": ("pcb", {"test": "h", "local_dimensions": 5}),
    "pcb-variant-1": ("pcb", {"classifiers": "averaged", "stripes": 8}),
    "pcb-variant-2": ("pcb", {"classifiers": "shared", "stripes": 2}),
    "aligned-bare": ("aligned_reid", {"neck": False}),
}


def maps(count: int = 8, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.gamma(0.7, 1.0, (count, CHANNELS, 16, 8)).astype(np.float32))


LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


def trained(variant: str, **more) -> PartHead:
    """A head with weights and statistics that are nothing special, in test mode."""
    name, options = VARIANTS[variant]
    torch.manual_seed(0)
    head = make_part_head(name, channels=CHANNELS, people=PEOPLE, **options, **more)
    with torch.no_grad():
        for value in head.parameters():
            value.add_(0.3 * torch.randn(value.shape))
    for seed in range(5):
        head(maps(seed=seed))
    return head.eval()


def weights_of(head: PartHead) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in head.state_dict().items()}


# --- equations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stripes", [1, 4, 8])
def test_pcb_concatenates_its_stripes(stripes):
    for test in ("g", "h"):
        head = trained("pcb", stripes=stripes, test=test)
        found = head(maps()).embedding.detach()
        for picture, vector in zip(maps().double().numpy(), found, strict=True):
            means = equations.stripe_means(picture, stripes)
            wanted = means if test == "g" else equations.pcb_reduced(means, weights_of(head))
            np.testing.assert_allclose(vector, equations.unit(wanted.ravel()), atol=1e-5)


def test_refined_pooling_is_the_mean_of_cells_weighted_by_what_they_look_like():
    head = trained("pcb", rpp=True)
    uniform = head(maps()).local
    head.begin("all")
    head.eval()
    refined = head(maps())
    w = weights_of(head)
    wanted = np.stack([equations.refined_means(picture, w) for picture in maps().double().numpy()])
    np.testing.assert_allclose(refined.local.detach(), wanted, rtol=1e-4, atol=1e-5)
    assert not np.allclose(uniform.detach(), wanted, atol=0.05)


def test_the_three_ways_to_classify_stripes():
    pictures = maps()
    for classifiers, count in (("own", 4), ("shared", 4), ("averaged", 1)):
        head = trained("pcb", classifiers=classifiers)
        w = weights_of(head)
        head.train()
        for layer in head.local:
            layer.eval()
        logits = head(pictures).logits
        assert len(logits) == count
        for b, picture in enumerate(pictures.double().numpy()):
            h = equations.pcb_reduced(equations.stripe_means(picture, 4), w)
            if classifiers == "averaged":
                wanted = [w["classify.0.weight"] @ h.mean(axis=0)]
            else:
                wanted = [w[f"classify.{k if classifiers == 'own' else 0}.weight"] @ h[k] for k in range(4)]
            np.testing.assert_allclose([row[b].detach().numpy() for row in logits], wanted, rtol=1e-3, atol=1e-4)


def test_icnn_is_the_whole_and_the_stripes_each_with_norm_one():
    head = trained("icnn")
    for picture, vector in zip(maps().double().numpy(), head(maps()).embedding.detach(), strict=True):
        whole = equations.unit(picture.mean(axis=(1, 2)))
        parts = equations.unit(equations.stripe_means(picture, 4).ravel())
        np.testing.assert_allclose(vector, np.concatenate([whole, parts]) / np.sqrt(2), atol=1e-5)


def test_aligned_reid_keeps_the_mean_and_drops_its_local_features():
    head, keeping = trained("aligned_reid"), trained("aligned_reid", keep_local=True)
    found = head(maps())
    assert found.local.shape == (8, 0, 128)
    w = weights_of(head)
    for picture, vector in zip(maps().double().numpy(), found.embedding.detach(), strict=True):
        whole = equations.batch_norm(picture.mean(axis=(1, 2)), w, "neck.norm")
        np.testing.assert_allclose(vector, equations.unit(whole), atol=1e-4)
    wanted = np.stack([equations.aligned_local(picture, weights_of(keeping), 8) for picture in maps().double().numpy()])
    np.testing.assert_allclose(keeping(maps()).local.detach(), wanted, atol=1e-4)


def test_the_local_loss_is_trihard_on_dmli_of_the_triplets_that_the_global_features_choose():
    head = trained("aligned_reid").train()
    found = head(maps(seed=3))
    whole, local = found.metric[0].detach().double().numpy(), found.local.detach().numpy()
    paths = dmli(local, local)
    values = []
    for a in range(8):
        same = [i for i in range(8) if i != a and LABELS[i] == LABELS[a]]
        other = [i for i in range(8) if LABELS[i] != LABELS[a]]
        distance = np.linalg.norm(whole - whole[a], axis=1)
        positive, negative = max(same, key=lambda i: distance[i]), min(other, key=lambda i: distance[i])
        values.append(max(paths[a, positive] - paths[a, negative] + 0.3, 0))
    assert head.losses(found, LABELS)["local"].item() == pytest.approx(np.mean(values), rel=1e-4)


def test_scpnet_pulls_channel_groups_to_stripes_and_the_stripes_do_not_move():
    head = trained("scpnet")
    w = weights_of(head)
    for norm in head.norms:
        norm.eval()
    head.training = True
    pictures = maps().requires_grad_()
    found = head(pictures)
    total = 0.0
    for picture in pictures.detach().double().numpy():
        groups, parts = equations.scpnet_groups(picture, w, 4), equations.stripe_means(picture, 4)
        total += 10 * sum(np.mean((groups[r] - parts[r]) ** 2) for r in range(4))
    own = head.own_losses(found, LABELS)["parts"]
    assert own.item() == pytest.approx(total / 8, rel=1e-4)
    (gradient,) = torch.autograd.grad(own, pictures)
    everywhere = gradient[:, :, :1, :1].expand_as(gradient)  # through the mean of the whole map, and no stripe
    np.testing.assert_allclose(gradient, everywhere, atol=1e-7)
    flat = np.stack([equations.scpnet_groups(p, w, 4).ravel() for p in pictures.detach().double().numpy()])
    np.testing.assert_allclose(found.embedding.detach(), flat / np.linalg.norm(flat, axis=1, keepdims=True), atol=1e-4)


# --- training --------------------------------------------------------------------------------------------------------

TERMS = {
    "pcb": {"identity_0", "identity_1", "identity_2", "identity_3"},
    "pcb-variant-1": {"identity_0"},
    "icnn": {"identity_0", "identity_1", "identity_2", "identity_3", "trihard_0"},
    "aligned_reid": {"identity_0", "trihard_0", "local"},
    "scpnet": {*(f"identity_{r}" for r in range(4)), *(f"trihard_{r}" for r in range(4)), "parts"},
}


@pytest.mark.parametrize("variant", TERMS)
def test_the_terms_of_the_loss_are_those_of_the_paper(variant):
    head = trained(variant).train()
    found = head(maps())
    terms = head.losses(found, LABELS)
    assert set(terms) == TERMS[variant]
    assert terms["identity_0"].item() == pytest.approx(
        smoothed_cross_entropy(found.logits[0], LABELS, head.smoothing).item()
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_the_map_and_every_weight(variant):
    head = trained(variant).train()
    pictures = maps(seed=2).requires_grad_()
    sum(head.losses(head(pictures), LABELS).values()).backward()
    assert torch.isfinite(pictures.grad).all()
    assert pictures.grad.any()
    missing = [n for n, p in head.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []


@pytest.mark.parametrize("labels", [[-1] * 8, [0] * 8, list(range(8)), [0, 0, 1, 1, -1, -1, -1, -1]], ids=str)
@pytest.mark.parametrize("variant", PART_HEADS)
def test_batches_without_pairs_or_of_nobody_give_finite_gradients(variant, labels):
    name, options = VARIANTS[variant]
    head = make_part_head(name, channels=CHANNELS, people=8, **options)
    pictures = maps().requires_grad_()
    sum(head.losses(head(pictures), torch.tensor(labels)).values()).backward()
    assert torch.isfinite(pictures.grad).all()


@pytest.mark.parametrize("variant", PART_HEADS)
def test_equal_pictures_and_half_precision_give_finite_gradients(variant):
    name, options = VARIANTS[variant]
    head = make_part_head(name, channels=CHANNELS, people=PEOPLE, **options)
    pictures = torch.ones(8, CHANNELS, 16, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(pictures)
        loss = sum(head.losses(found, LABELS).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(pictures.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_refined_pooling_is_trained_in_stages():
    head = make_part_head("pcb", channels=CHANNELS, people=PEOPLE, rpp=True)
    assert head.stages == ("parts", "refine", "all")
    learned = {}
    for stage in head.stages:
        with_backbone = head.begin(stage)
        learned[stage] = {name.split(".")[0] for name, p in head.named_parameters() if p.requires_grad}
        assert with_backbone == (stage != "refine")
    assert learned == {
        "parts": {"local", "classify"},
        "refine": {"part_of"},
        "all": {"local", "classify", "part_of"},
    }
    again = make_part_head("pcb", channels=CHANNELS, people=PEOPLE, rpp=True)
    again.load_state_dict(head.state_dict())
    assert bool(again.refined)
    with pytest.raises(ValueError, match="expected one of all"):
        make_part_head("icnn", channels=CHANNELS, people=PEOPLE).begin("refine")


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "aligned-bare"])  # it has little but the backbone
def test_a_head_learns_to_tell_a_few_people_apart(variant):
    name, options = VARIANTS[variant]
    torch.manual_seed(0)
    head = make_part_head(name, channels=CHANNELS, people=PEOPLE, **options)
    rng = torch.Generator().manual_seed(0)
    looks = torch.rand(PEOPLE, CHANNELS, 16, 1, generator=rng)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    values = []
    for _ in range(25):
        pictures = looks[LABELS] + 0.3 * torch.rand(8, CHANNELS, 16, 8, generator=rng)
        loss = sum(head.losses(head(pictures), LABELS).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < 0.8 * values[0]


# --- in use ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_at_test_time_nothing_but_the_vector_is_left(variant):
    found = trained(variant)(maps())
    assert isinstance(found, PartVectors)
    assert found.logits == found.metric == ()
    assert found.embedding.shape == (8, trained(variant).dimensions)
    np.testing.assert_allclose(found.embedding.norm(dim=1).detach(), 1, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_equals_its_pictures_one_by_one_and_may_be_empty(variant):
    head = trained(variant)
    together = head(maps()).embedding.detach()
    np.testing.assert_allclose(head(maps()[2:3]).embedding.detach()[0], together[2], atol=1e-5)
    assert head(maps()[:0]).embedding.shape == (0, head.dimensions)


@pytest.mark.parametrize("variant", VARIANTS)
def test_live_from_stripe_means_it_is_the_same_vector(variant):
    head = trained(variant)
    means, energy = pool_stripes(maps(), 16)
    encoder = EncoderDescription("example@1", 16, CHANNELS)
    live = LiveClipHead(encoder, store_part_head(head, CHANNELS, encoder="example", origin="a test"))
    found = live.fuse_batch(means[:, None].numpy(), energy[:, None].numpy())
    np.testing.assert_allclose(found.embedding, head(maps()).embedding.detach(), atol=1e-5)
    assert len(live.fuse_batch(means[:0, None].numpy(), energy[:0, None].numpy()).embedding) == 0


def test_the_matcher_compares_stripes_one_by_one_where_a_vector_is_nothing_else():
    means, energy = pool_stripes(maps(), 16)
    for variant, parts in (("pcb", 4), ("icnn", 1), ("scpnet", 1), ("aligned_reid", 1)):
        stored = store_part_head(trained(variant), CHANNELS, encoder="example", origin="a test")
        live = LiveClipHead(EncoderDescription("example@1", 16, CHANNELS), stored)
        found = live.fuse_batch(means[:1, None].numpy(), energy[:1, None].numpy())
        vector, seen = comparable_vector(found.embedding[0], found.parts[0], found.visibility[0])
        assert len(seen) == parts
        assert vector.shape == found.embedding[0].shape


def test_refined_pooling_needs_maps_and_says_so():
    head = trained("pcb", rpp=True)
    head.begin("all")
    with pytest.raises(WeightsError, match="needs whole maps"):
        store_part_head(head, CHANNELS, encoder="example", origin="a test")


# --- the factory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PART_HEADS)
def test_every_head_names_its_source(name):
    head = make_part_head(name, channels=CHANNELS, people=PEOPLE)
    assert any(year in type(head).__doc__ for year in ("ECCV 2018", "Access 6, 2018", "2019", "ACCV 2018"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("glad", {}, "expected one of pcb"),
        ("pcb", {"parts": 3}, "unknown option 'parts'"),
        ("pcb", {"test": "x"}, "expected own, shared or averaged, and g or h"),
    ],
)
def test_what_cannot_be_made_is_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        make_part_head(name, channels=CHANNELS, people=PEOPLE, **options)


def test_stripes_that_do_not_divide_the_rows_are_refused_with_the_pictures_that_fit():
    with pytest.raises(ValueError, match="96 px"):
        make_part_head("pcb", channels=CHANNELS, people=PEOPLE, stripes=6)(maps())
