"""Every loss against its equations written out, and the laws that all of them keep."""

import loss_equations as equations
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.losses.base import squared_distances
from reid.losses.identity import BNNeck, smoothed_cross_entropy
from reid.losses.make import LOSSES, make_loss
from reid.losses.triplets import ImprovedTripletLoss, TriHardLoss
from reid.sta_torch import frame_distance

PEOPLE, CHANNELS = 5, 7
ON_VECTORS = tuple(name for name in LOSSES if name not in ("attributes", "inter_frame"))
METRIC = tuple(name for name in ON_VECTORS if name != "identity")


def batch(seed: int = 0, per_person: int = 3, unlabelled: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, D) in double precision and labels, mixed, some of nobody."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(PEOPLE), per_person), np.full(unlabelled, -1)])
    labels = rng.permutation(labels)
    centres = rng.standard_normal((PEOPLE + 1, CHANNELS))
    features = centres[labels] + 0.8 * rng.standard_normal((len(labels), CHANNELS))
    return torch.from_numpy(features), torch.from_numpy(labels)


def value(scalar: torch.Tensor) -> float:
    return scalar.detach().item()


def make(name: str, **options):
    return make_loss(name, people=PEOPLE, channels=CHANNELS, **options).double()


WRITTEN_OUT = {
    "contrastive": lambda f, y, _: equations.contrastive(f, y, 1.0),
    "verification": lambda f, y, m: equations.verification(f, y, m.weight.detach().numpy(), value(m.bias)),
    "triplet": lambda f, y, _: equations.triplet(f, y, 0.3),
    "improved_triplet": lambda f, y, _: equations.improved_triplet(f, y, -1.0, 0.01, 0.002),
    "quadruplet": lambda f, y, _: equations.quadruplet(f, y, (1.0, 0.5)),
    "trihard": lambda f, y, _: equations.trihard(f, y, 0.3),
    "msml": lambda f, y, _: equations.msml(f, y, 0.3),
    "identity": lambda f, y, m: equations.identity(f, y, m.classifier.weight.detach().numpy(), 0.1, 0.0),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ON_VECTORS)
def test_a_loss_is_what_its_equations_say(name, seed):
    features, labels = batch(seed)
    loss = make(name)
    with torch.no_grad():
        for parameter in loss.parameters():  # away from the even start
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    wanted = WRITTEN_OUT[name](features.numpy(), labels.numpy(), loss)
    assert value(loss(features, labels)) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(labels=st.lists(st.integers(-1, 3), max_size=9), seed=st.integers(0, 99), double=st.booleans())
@pytest.mark.parametrize("name", METRIC)
def test_batches_of_any_make_up_are_what_the_equations_say_with_finite_gradients(name, labels, seed, double):
    """People with one picture, nobody, everybody the same, pictures that occur twice."""
    rows = np.random.default_rng(seed).standard_normal((len(labels), CHANNELS))
    if double and len(labels) > 1:
        rows[1] = rows[0]
    features, people = torch.from_numpy(rows).requires_grad_(), torch.tensor(labels, dtype=torch.int64)
    loss = make(name)
    found = loss(features, people)
    found.backward()
    assert torch.isfinite(features.grad).all()
    assert value(found) == pytest.approx(WRITTEN_OUT[name](rows, people.numpy(), loss), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("contrastive", {"margin": 0.4}, lambda f, y: equations.contrastive(f, y, 0.4)),
        ("triplet", {"squared": True, "margin": 0.5}, lambda f, y: equations.triplet(f, y, 0.5, 2)),
        ("quadruplet", {"squared": False, "margin": 0.3, "weak_margin": 0.1},
         lambda f, y: equations.quadruplet(f, y, (0.3, 0.1), 1)),
        ("trihard", {"margin": None}, lambda f, y: equations.trihard(f, y, None)),
        ("trihard", {"margin": 0.2, "normalise": True}, lambda f, y: equations.trihard(f, y, 0.2, True)),
        ("msml", {"margin": 0.0}, lambda f, y: equations.msml(f, y, 0.0)),
        ("improved_triplet", {"comparison_floor": -0.2, "pull_floor": 0.3, "pull": 0.5},
         lambda f, y: equations.improved_triplet(f, y, -0.2, 0.3, 0.5)),
    ],
)  # fmt: skip
def test_options_do_what_the_equations_say(name, options, wanted):
    features, labels = batch(7)
    assert value(make(name, **options)(features, labels)) == pytest.approx(
        wanted(features.numpy(), labels.numpy()), rel=1e-6
    )


@pytest.mark.parametrize("unlabelled_weight", [0.1, 1.0])
def test_pictures_of_nobody_have_the_uniform_label(unlabelled_weight):
    features, labels = batch(3, unlabelled=4)
    loss = make("identity", unlabelled_weight=unlabelled_weight)
    weight = loss.classifier.weight.detach().numpy()
    wanted = equations.identity(features.numpy(), labels.numpy(), weight, 0.1, unlabelled_weight)
    assert value(loss(features, labels)) == pytest.approx(wanted, rel=1e-6)


def test_without_smoothing_it_is_the_usual_cross_entropy():
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    wanted = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert value(smoothed_cross_entropy(logits, labels, 0.2)) == pytest.approx(value(wanted), rel=1e-5)


def test_attributes_are_the_mean_over_attributes_of_what_is_known():
    features, _ = batch(1)
    labels = torch.from_numpy(np.random.default_rng(2).integers(-1, 2, (len(features), 3)))
    loss = make("attributes", classes=[2, 3, 2])
    layers = [(c.weight.detach().numpy(), c.bias.detach().numpy()) for c in loss.classifiers]
    wanted = equations.attributes(features.numpy(), labels.numpy(), layers)
    assert value(loss(features, labels)) == pytest.approx(wanted, rel=1e-6)


def test_an_attribute_that_nobody_knows_costs_nothing():
    features, _ = batch(1)
    loss = make("attributes", classes=[2, 2])
    assert value(loss(features, torch.full((len(features), 2), -1))) == 0


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_VECTORS)
def test_gradients_are_those_of_the_equations(name):
    features, labels = batch(5, per_person=2, unlabelled=1)
    loss = make(name)
    assert torch.autograd.gradcheck(lambda f: loss(f, labels), (features.requires_grad_(),), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("level", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("name", ON_VECTORS)
def test_gradients_are_finite_where_all_features_are_equal(name, level, dtype):
    features = torch.full((6, CHANNELS), level, dtype=dtype, requires_grad=True)
    loss = make_loss(name, people=PEOPLE, channels=CHANNELS)(features, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("labels", [[], [2], [-1, -1], [0, 1, 2], [1, 1, 1], [-1, 3]], ids=str)
@pytest.mark.parametrize("name", METRIC)
def test_a_batch_without_usable_pairs_costs_what_is_left_and_has_a_gradient(name, labels):
    features = torch.randn(len(labels), CHANNELS, generator=torch.Generator().manual_seed(1), requires_grad=True)
    loss = make_loss(name, people=PEOPLE, channels=CHANNELS)(features, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(features.grad).all()
    one_kind_is_enough = name in ("contrastive", "verification") and labels in ([0, 1, 2], [1, 1, 1])
    if not one_kind_is_enough:
        assert value(loss) == 0
        assert not features.grad.any()


@pytest.mark.parametrize("labels", [[], [-1, -1]], ids=str)
def test_identity_of_nobody_is_zero_with_gradient_zero(labels):
    features = torch.ones(len(labels), CHANNELS, requires_grad=True)
    loss = make_loss("identity", people=PEOPLE, channels=CHANNELS)(features, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert value(loss) == 0
    assert not features.grad.any()


@pytest.mark.parametrize("name", ON_VECTORS)
def test_rows_of_nobody_change_nothing(name):
    features, labels = batch(2)
    loss = make(name)
    assert value(loss(features, labels)) == pytest.approx(value(loss(features[labels >= 0], labels[labels >= 0])))


@pytest.mark.parametrize("name", METRIC)
def test_the_order_of_the_batch_does_not_matter(name):
    features, labels = batch(4)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    loss = make(name)
    assert value(loss(features, labels)) == pytest.approx(value(loss(features[order], labels[order])), rel=1e-9)


@pytest.mark.parametrize("name", METRIC)
def test_a_step_against_the_gradient_lowers_the_loss(name):
    features, labels = batch(6)
    loss = make(name)
    before = loss(features.requires_grad_(), labels)
    before.backward()
    after = loss(features.detach() - 1e-4 * features.grad, labels)
    assert value(after) < value(before)


@pytest.mark.parametrize("name", ON_VECTORS)
def test_autocast_changes_nothing(name):
    features, labels = batch(6)
    loss = make_loss(name, people=PEOPLE, channels=CHANNELS)
    plain = loss(features.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert value(loss(features.float(), labels)) == value(plain)


def test_the_loss_of_the_notes_is_the_improved_one_with_a_pull_of_one():
    """d_ap + (d_ap - d_an + α)₊ = max(d_ap - d_an, -α) + max(d_ap, 0) + α."""
    features, labels = batch(8)
    notes = ImprovedTripletLoss(comparison_floor=-0.3, pull_floor=0.0, pull=1.0)
    rows, people = equations.known(equations.unit(features.numpy()), labels.numpy())
    values = []
    for a, p, n in equations.triplets(people):
        near, far = equations.distance(rows[a], rows[p]), equations.distance(rows[a], rows[n])
        values.append(near + max(near - far + 0.3, 0))
    assert value(notes(features, labels)) == pytest.approx(np.mean(values) - 0.3, rel=1e-6)


def test_msml_touches_four_features_at_most():
    features, labels = batch(9)
    make("msml", margin=5.0)(features.requires_grad_(), labels).backward()
    assert 2 <= int(features.grad.any(dim=1).sum()) <= 4


def test_adaptive_margins_are_differences_of_mean_distances():
    features, labels = batch(3)
    rows, people = equations.known(equations.unit(features.numpy()), labels.numpy())
    near = [equations.distance(rows[a], rows[b]) ** 2 for a in range(len(rows)) for b in range(a)
            if people[a] == people[b]]  # fmt: skip
    far = [equations.distance(rows[a], rows[b]) ** 2 for a in range(len(rows)) for b in range(a)
           if people[a] != people[b]]  # fmt: skip
    margin = max(np.mean(far) - np.mean(near), 0)
    wanted = equations.quadruplet(features.numpy(), labels.numpy(), (margin, margin / 2))
    assert value(make("quadruplet", adaptive=True)(features, labels)) == pytest.approx(wanted, rel=1e-6)


def test_distances_far_from_the_origin_are_as_exact_as_near_to_it():
    rows = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    moved = squared_distances(rows + 1000)
    wanted = (rows.double()[:, None] - rows.double()[None]).square().sum(-1)
    np.testing.assert_allclose(moved, wanted, rtol=2e-3, atol=1e-3)


def test_trihard_with_a_margin_is_zero_once_people_are_that_far_apart():
    features = torch.tensor([[0.0, 0], [0, 0.1], [5, 0], [5, 0.1]])
    assert value(TriHardLoss(margin=1.0)(features, torch.tensor([0, 0, 1, 1]))) == 0
    assert value(TriHardLoss(margin=None)(features, torch.tensor([0, 0, 1, 1]))) > 0


# --- the regulariser, the neck, the factory --------------------------------------------------------------------------


def test_the_regulariser_without_a_generator_is_the_mean_over_pairs():
    maps = torch.rand(2, 3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    loss = make_loss("inter_frame", people=PEOPLE, channels=4)
    pairs = [frame_distance(maps, torch.tensor([[i, j]] * 2)).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert value(loss(maps, torch.zeros(2))) == pytest.approx(value(sum(pairs) / 3), rel=1e-5)


def test_the_regulariser_with_a_generator_draws_one_pair_of_each_clip():
    maps = torch.rand(1, 2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    loss = make_loss("inter_frame", people=PEOPLE, channels=4, generator=torch.Generator().manual_seed(3))
    assert value(loss(maps)) == pytest.approx(value(frame_distance(maps, torch.tensor([[0, 1]])).mean()), rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 4, 6, 5), (2, 1, 4, 6, 5), (2, 3, 4, 6, 5)])
def test_the_regulariser_of_nothing_or_of_equal_frames_is_zero(shape):
    maps = torch.ones(shape, requires_grad=True)
    loss = make_loss("inter_frame", people=PEOPLE, channels=4)(maps)
    loss.backward()
    assert value(loss) == 0
    assert not maps.grad.any()


def test_the_regulariser_wants_maps():
    with pytest.raises(ValueError, match="expected maps"):
        make_loss("inter_frame", people=2, channels=4)(torch.zeros(3, 4), torch.zeros(3))


def test_the_neck_has_a_fixed_bias_and_in_use_its_collected_statistics():
    neck = BNNeck(4)
    assert [name for name, p in neck.named_parameters() if p.requires_grad] == ["norm.weight"]
    features = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) * 3 + 2
    for _ in range(200):
        trained = neck(features)
    np.testing.assert_allclose(trained.mean(0).detach(), 0, atol=1e-5)
    before = neck.norm.running_mean.clone()
    rows = features.reshape(16, 4, 4)
    in_use = neck.in_use(rows)
    np.testing.assert_array_equal(before, neck.norm.running_mean)
    np.testing.assert_allclose(in_use.detach(), neck.eval()(features).detach().reshape(16, 4, 4), atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_made_by_name_and_names_its_source(name):
    needed = {"classes": [2, 2]} if name == "attributes" else {}
    loss = make_loss(name, people=PEOPLE, channels=CHANNELS, **needed)
    assert any(year in type(loss).__doc__ for year in ("2006", "2015", "2016", "2017", "2019", "1703", "1710", "1611"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("center", {}, "expected one of identity"),
        ("trihard", {"alpha": 1}, "unknown option 'alpha'; it has margin, normalise"),
        ("attributes", {}, "'classes' is missing"),
        ("attributes", {"classes": [1]}, "at least 2 values"),
        ("identity", {"smoothing": 1.0}, "smoothing"),
    ],
)
def test_what_cannot_be_made_is_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        make_loss(name, people=PEOPLE, channels=CHANNELS, **options)


def test_attribute_labels_of_the_wrong_shape_are_refused():
    loss = make_loss("attributes", people=PEOPLE, channels=CHANNELS, classes=[2, 2])
    with pytest.raises(ValueError, match=r"expected \(3, 2\)"):
        loss(torch.zeros(3, CHANNELS), torch.zeros(3, dtype=torch.int64))
