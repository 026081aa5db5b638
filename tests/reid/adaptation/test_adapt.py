import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from site_examples import ENCODER, Site, first_people, make_site, plain_start, without_pairs

from pipeline.errors import WeightsError
from pipeline.types import TrackKey
from reid.adaptation.adapt import MOST_CROPS, MOST_TRACKS, adapt, folds_of_people
from reid.adaptation.closed_form import fit_closed_form
from reid.adaptation.judge import Judge
from reid.adaptation.material import Material
from reid.adaptation.thinning import thin, thin_track
from reid.adaptation.trial import Learned
from reid.aligned import AlignedHead

HELPFUL = Site(people=12, crops=20, disturbance=1.5)  # three directions disturb everybody: the closed form finds them
NOISE = Site(people=12, crops=20, identity=0.0, disturbance=0.0)


@pytest.fixture(scope="module")
def adapted():
    return adapt(make_site(HELPFUL), ENCODER, plain_start(), rng=np.random.default_rng(0))


def test_what_disturbs_everybody_is_learned_and_the_gain_is_stated(adapted):
    assert adapted.parameters is not None
    assert adapted.stages[0].name == "closed form"
    assert adapted.stages[0].kept
    assert adapted.comparison.gain > 0.02
    assert adapted.comparison.interval[0] > 0
    assert "held-back people" in adapted.reason
    assert not adapted.stopped


def test_people_of_another_day_gain_by_it_too(adapted):
    strangers = Judge(make_site(HELPFUL, seed=7), np.random.default_rng(1))
    before = strangers.judge(AlignedHead(ENCODER, plain_start())).figure
    assert strangers.judge(AlignedHead(ENCODER, adapted.parameters)).figure > before + 0.02


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pure_noise_is_not_adapted_to(seed):
    found = adapt(make_site(NOISE, seed=seed), ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.parameters is None
    assert "stays as it was" in found.reason
    assert not any(stage.kept for stage in found.stages)


def test_the_same_seed_gives_the_same_head_and_figures(adapted):
    again = adapt(make_site(HELPFUL), ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert again.parameters.digest == adapted.parameters.digest
    assert {**again.to_plain(), "seconds": 0} == {**adapted.to_plain(), "seconds": 0}


def test_the_result_can_be_written_as_json_and_says_every_stage(adapted):
    plain = json.loads(json.dumps(adapted.to_plain()))
    assert plain["kept"] is True
    assert plain["stages"][0]["stage"] == "closed form"
    assert plain["stages"][-1]["stage"] == "refinement"
    assert plain["gain"] == pytest.approx(plain["after"] - plain["before"], abs=2e-4)
    assert len(plain["interval"]) == 2


def test_the_head_belongs_to_the_encoder_and_has_another_name_than_the_untouched_one(adapted):
    names = {AlignedHead(ENCODER, p).clip_model_id for p in (plain_start(), adapted.parameters)}
    assert len(names) == 2
    assert adapted.backbone is None


def test_progress_rises_to_its_total_stage_by_stage():
    told = []
    adapt(
        make_site(HELPFUL),
        ENCODER,
        plain_start(),
        rng=np.random.default_rng(0),
        on_progress=lambda *step: told.append(step),
    )
    names = list(dict.fromkeys(name for name, _, _ in told))
    assert names[0] == "closed form"
    for name in names:
        done = [(d, total) for n, d, total in told if n == name]
        assert all(a[0] <= b[0] for a, b in pairwise(done))
        assert done[-1][0] == done[-1][1]


@pytest.mark.parametrize("allowed", [0, 2, 6, 12])
def test_told_to_stop_it_returns_what_was_accepted_until_then(allowed):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > allowed

    found = adapt(make_site(HELPFUL), ENCODER, plain_start(), rng=np.random.default_rng(0), should_stop=stop)
    assert found.stopped
    assert (found.parameters is None) == (not any(stage.kept for stage in found.stages))
    if allowed == 0:
        assert "stopped before anything" in found.reason
    if allowed == 12:
        fitted = fit_closed_form(make_site(HELPFUL), ENCODER, plain_start())
        assert found.parameters.digest == fitted.digest


@pytest.mark.parametrize(
    ("material", "says"),
    [
        (first_people(make_site(), 0), "nobody"),
        (first_people(make_site(), 1), "one person"),
        (without_pairs(make_site()), "seen beside each other"),
        (first_people(make_site(), 2), "beside the same person"),
        (make_site(Site(crops=1)), "are needed"),
        (make_site(Site(crops=4, spacing_s=0.04)), "are needed"),
    ],
    ids=["nobody", "one person", "no pairs", "two people", "one crop each", "a moment each"],
)
def test_footage_that_proves_nothing_leaves_the_encoder_and_says_what_would_help(material, says):
    found = adapt(material, ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.parameters is None
    assert found.stages == ()
    assert says in found.reason
    assert "footage" in found.reason
    json.dumps(found.to_plain())


def test_a_head_of_another_encoder_is_refused():
    with pytest.raises(WeightsError, match="made for"):
        adapt(make_site(), replace(ENCODER, model_id="other@2"), plain_start(), rng=np.random.default_rng(0))


def test_people_who_come_back_are_held_back_with_themselves():
    """Else a stage that can learn people by heart would know those who are judged."""
    people = 12
    material = make_site(Site(people=people, visits=2, disturbance=0.5), together=6)
    start = plain_start()
    folds = folds_of_people(Learned(material, ENCODER, start, start), np.random.default_rng(0))
    assert len(folds) >= 2
    fold_of = {int(number): i for i, fold in enumerate(folds) for number in fold}
    assert all(fold_of[number] == fold_of[number + people] for number in range(people))


def test_where_people_are_too_few_none_are_held_back_as_people():
    material = make_site(Site(people=3, visits=8, disturbance=0.1, noise=0.1, crops=12), together=3)
    start = plain_start()
    assert folds_of_people(Learned(material, ENCODER, start, start), np.random.default_rng(0)) == []


def test_tracks_are_held_back_where_people_are_too_few_and_that_is_said():
    material = make_site(Site(people=3, visits=8, disturbance=0.1, noise=0.1, crops=12), together=3)
    found = adapt(material, ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.comparison is not None
    assert "Tracks were held back" in found.reason


def test_two_real_people_are_not_enough_to_hold_whole_persons_back():
    material = make_site(Site(people=2, visits=24, disturbance=0.1, noise=0.1, crops=12), together=2)
    found = adapt(material, ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.comparison is not None
    assert "Tracks were held back" in found.reason


def always_there(others=11):
    """Two people who stay, each certainly apart from many pieces of tracks, as in a small site."""
    material = make_site(Site(people=2 + others, crops=20, disturbance=1.5), together=2 + others)
    apart = {(0, n) for n in range(1, 2 + others)} | {(1, n) for n in range(2, 2 + others)}
    return Material(material.tracks, material.person_of, frozenset(apart))


def test_a_site_where_somebody_is_always_there_is_judged_in_folds():
    found = adapt(always_there(), ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.comparison is not None
    assert found.comparison.people >= 4


def test_one_person_beside_whom_everybody_was_seen_cannot_be_held_back_and_the_reason_says_so():
    material = always_there()
    star = Material(material.tracks, material.person_of, frozenset((0, n) for n in range(1, 13)))
    found = adapt(star, ENCODER, plain_start(), rng=np.random.default_rng(0))
    assert found.parameters is None
    assert "beside the same person" in found.reason
    assert "needed" not in found.reason


def test_who_was_held_back_comes_with_a_head_that_does_not_know_them(adapted):
    material = make_site(HELPFUL)
    assert len(adapted.held_back) >= 2
    held = np.concatenate([numbers for numbers, _ in adapted.held_back])
    assert len(set(held.tolist())) == len(held)
    digests = {parameters.digest for _, parameters in adapted.held_back}
    assert len(digests) == len(adapted.held_back) and adapted.parameters.digest not in digests
    if [stage.name for stage in adapted.stages if stage.kept] == ["closed form"]:
        for numbers, parameters in adapted.held_back:
            others = material.of_people(material.people[~np.isin(material.people, numbers)])
            assert fit_closed_form(others, ENCODER, plain_start()).digest == parameters.digest


def test_nothing_kept_leaves_no_held_back_heads():
    assert adapt(make_site(NOISE), ENCODER, plain_start(), rng=np.random.default_rng(0)).held_back == ()


def test_the_clock_is_the_callers():
    times = iter([10.0, 17.5])
    found = adapt(
        first_people(make_site(), 0), ENCODER, plain_start(), rng=np.random.default_rng(0), clock=lambda: next(times)
    )
    assert found.seconds == 7.5


def test_a_backbone_whose_pictures_were_not_kept_is_left_alone_with_a_reason(tmp_path):
    from reid.adaptation.backbone import BackboneToTrain

    wanted = BackboneToTrain("osnet_x0_25", tmp_path / "a.safetensors", tmp_path / "out.safetensors")
    found = adapt(make_site(HELPFUL), ENCODER, plain_start(), rng=np.random.default_rng(0), backbone=wanted)
    assert found.stages[-1].name == "backbone"
    assert "pictures were not kept" in found.stages[-1].reason.replace("of the crops ", "")
    assert found.backbone is None
    assert not wanted.out.exists()


def test_a_thousand_tracks_are_thinned_evenly_and_that_is_said():
    material = make_site(Site(people=1000, crops=8), together=5)
    found = adapt(material, ENCODER, plain_start(), rng=np.random.default_rng(0), should_stop=lambda: True)
    assert f"{MOST_TRACKS} of 1000 tracks were used" in found.reason


# --- thinning --------------------------------------------------------------------------------------------------------


def test_thinning_keeps_neighbours_together_and_spreads_over_the_whole_footage():
    material = make_site(Site(people=1000, crops=2), together=10)
    part = thin(material, 300, 1)
    assert 280 <= len(part.tracks) <= 320
    assert len(part.apart) > 0.2 * len(material.apart)
    starts = np.array([track.captured_at_s[0] for track in part.tracks])
    assert np.histogram(starts, bins=4, range=(0, 10_000))[0].min() > 50
    assert all(len(track) == 1 for track in part.tracks)


def test_thinning_little_footage_changes_nothing_and_a_long_track_keeps_its_ends():
    material = make_site(Site(people=2, crops=10))
    assert [len(track) for track in thin(material, 5, MOST_CROPS).tracks] == [10, 10]
    shorter = thin_track(material.tracks[0], 4)
    assert shorter.captured_at_s.tolist() == [0.0, 1.5, 3.0, 4.5]
    assert thin(Material((), np.zeros(0, np.int64), frozenset()), 5, 5).tracks == ()
    assert shorter.key == TrackKey("door", "1", 0)
