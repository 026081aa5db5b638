from dataclasses import replace

import numpy as np
import pytest
from site_examples import ENCODER, ROWS, Site, first_people, make_site, make_track, plain_start

from pipeline.errors import WeightsError
from pipeline.types import TrackKey
from reid.adaptation.closed_form import ClosedForm, TooLittleFootage, fit_closed_form, fit_prototypes
from reid.adaptation.judge import Judge
from reid.adaptation.material import Material
from reid.aligned import AlignedHead

SMALL = ClosedForm(dimensions=8)


def test_the_offset_is_the_mean_of_the_tracks_whatever_their_length():
    material = make_site(Site(people=3, crops=6))
    doubled = tuple(
        replace(
            t,
            captured_at_s=np.arange(12.0),
            **{name: np.repeat(getattr(t, name), 2, axis=0) for name in ("stripes", "energy", "quality")},
        )
        for t in material.tracks[:1]
    )
    uneven = Material(doubled + material.tracks[1:], material.person_of, material.apart)
    a, b = (fit_closed_form(m, ENCODER, plain_start(), SMALL) for m in (material, uneven))
    np.testing.assert_allclose(a.offset, b.offset, atol=1e-3)


def test_vectors_of_the_site_lie_around_zero_afterwards():
    material = make_site()
    fitted = fit_closed_form(material, ENCODER, plain_start(), SMALL)
    head = AlignedHead(ENCODER, fitted)
    means = [head.fuse_batch(t.stripes[:, None], t.energy[:, None]).embedding.mean(axis=0) for t in material.tracks]
    untouched = AlignedHead(ENCODER, plain_start())
    before = [
        untouched.fuse_batch(t.stripes[:, None], t.energy[:, None]).embedding.mean(axis=0) for t in material.tracks
    ]
    assert np.linalg.norm(np.mean(before, axis=0)) > 0.8
    assert np.linalg.norm(np.mean(means, axis=0)) < 0.5


def test_what_changes_within_tracks_weighs_less_and_people_are_told_apart_better():
    site = Site(people=10, disturbance=1.5)
    material = make_site(site, together=10)
    other_people = Judge(make_site(site, seed=0), np.random.default_rng(0))
    before = other_people.judge(AlignedHead(ENCODER, plain_start())).figure
    fitted = fit_closed_form(material, ENCODER, plain_start(), ClosedForm(dimensions=16))
    assert other_people.judge(AlignedHead(ENCODER, fitted)).figure > before + 0.02


def test_the_same_footage_gives_the_same_head_and_the_order_of_tracks_changes_little():
    material = make_site()
    turned = Material(material.tracks[::-1], material.person_of[::-1].copy(), material.apart)
    a, b, c = (fit_closed_form(m, ENCODER, plain_start(), SMALL) for m in (material, material, turned))
    assert a.digest == b.digest
    np.testing.assert_allclose(a.offset, c.offset, atol=2e-3)


def test_it_is_as_it_will_be_after_a_file_and_knows_its_encoder_and_where_it_is_from(tmp_path):
    fitted = fit_closed_form(make_site(Site(people=5)), ENCODER, plain_start(), SMALL)
    assert fitted.digest == fitted.rounded().digest
    assert fitted.encoder == ENCODER.model_id
    assert fitted.origin == "5 tracks of door"


def test_who_is_one_person_for_certain_counts_as_one_in_what_changes_within_people():
    material = make_site(Site(people=6, visits=2))
    linked = Material(material.tracks, material.person_of % 6, frozenset())
    a, b = (fit_closed_form(m, ENCODER, plain_start(), SMALL) for m in (material, linked))
    assert a.digest != b.digest
    np.testing.assert_array_equal(a.offset, b.offset)


def test_tracks_of_one_crop_still_give_offset_and_directions():
    fitted = fit_closed_form(make_site(Site(crops=1)), ENCODER, plain_start(), SMALL)
    assert fitted.dimensions == 8
    assert np.isfinite(fitted.basis).all()


@pytest.mark.parametrize("crops", [2, 7])
def test_tracks_that_never_change_give_finite_values(crops):
    rows = np.abs(np.random.default_rng(0).normal(size=(3, ROWS, 24))) + 1
    tracks = tuple(
        make_track(TrackKey("door", "1", i), np.repeat(r[None], crops, axis=0), np.arange(crops), False, None)
        for i, r in enumerate(rows)
    )
    material = Material(tracks, np.arange(3), frozenset())
    assert np.isfinite(fit_closed_form(material, ENCODER, plain_start(), SMALL).basis).all()


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_or_one_track_alone_is_too_little(count):
    with pytest.raises(TooLittleFootage, match="two tracks"):
        fit_closed_form(first_people(make_site(), count), ENCODER, plain_start())


def test_a_start_for_another_encoder_is_refused():
    with pytest.raises(WeightsError, match="made for"):
        fit_closed_form(make_site(), replace(ENCODER, model_id="other@2"), plain_start())


def test_two_identical_tracks_give_finite_values():
    track = make_site(Site(people=1)).tracks[0]
    material = Material((track, replace(track, key=TrackKey("hall", "1", 1))), np.arange(2), frozenset())
    assert np.isfinite(fit_closed_form(material, ENCODER, plain_start(), SMALL).basis).all()


# --- prototypes ------------------------------------------------------------------------------------------------------


def test_a_prototype_points_from_the_mean_of_all_rows_to_that_of_its_span():
    rows = np.zeros((5, ROWS, 24), np.float32)
    for r in range(ROWS):
        rows[:, r, r // 2] = 1.0
    fitted = fit_prototypes(rows, ENCODER, 2, origin="x")
    np.testing.assert_allclose(fitted.prototypes[0, :2], [np.sqrt(0.5), -np.sqrt(0.5)], atol=1e-3)
    np.testing.assert_allclose(fitted.centre[:2], 0.5, atol=1e-3)
    assert (fitted.position.argmax(axis=1) == [0, 0, 1, 1]).all()


@pytest.mark.parametrize(("shape", "parts"), [((0, ROWS, 24), 2), ((3, ROWS, 24), 3)])
def test_no_crops_or_rows_that_do_not_divide_are_refused(shape, parts):
    with pytest.raises(ValueError, match="multiple"):
        fit_prototypes(np.ones(shape, np.float32), ENCODER, parts, origin="x")
