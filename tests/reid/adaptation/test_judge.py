import numpy as np
import pytest
from site_examples import ENCODER, Site, first_people, make_site, plain_start, without_pairs

from pipeline.types import TrackKey
from reid.adaptation.clips import cut_clips, different_people, embed_clips, same_person
from reid.adaptation.folds import person_folds
from reid.adaptation.judge import MOST_CLIPS, Judge, Judgement, average_precision, compare
from reid.adaptation.material import Material
from reid.aligned import AlignedHead


def precision_by_hand(distance, same, different):
    ranked = sorted((d, s) for d, s, o in zip(distance, same, different, strict=True) if s or o)
    hits, total = 0, 0.0
    for place, (_, hit) in enumerate(ranked, 1):
        if hit:
            hits += 1
            total += hits / place
    return total / hits if hits else np.nan


def test_average_precision_equals_a_count_by_hand_with_ties_counted_as_wrong_first():
    rng = np.random.default_rng(0)
    for _ in range(60):
        distance = rng.integers(0, 5, (3, 9)) / 4.0
        kind = rng.integers(0, 3, (3, 9))
        found = average_precision(distance, kind == 1, kind == 2)
        wanted = [precision_by_hand(d, k == 1, k == 2) for d, k in zip(distance, kind, strict=True)]
        np.testing.assert_allclose(found, wanted)


def test_a_head_that_says_the_same_of_everybody_is_worth_no_more_than_the_worst_order():
    same = np.array([[True, False, False, False]])
    assert average_precision(np.zeros((1, 4)), same, ~same) == pytest.approx(1 / 4)


@pytest.mark.parametrize(("crops", "lengths"), [(1, [1]), (2, [1, 1]), (5, [2, 2]), (9, [4, 4]), (400, [4] * 8)])
def test_clips_of_a_track_share_no_crop_and_a_short_track_gives_two_halves(crops, lengths):
    material = first_people(make_site(Site(crops=crops)), 1)
    table = cut_clips(material)
    assert (table.crops >= 0).sum(axis=1).tolist() == lengths
    used = table.crops[table.crops >= 0]
    assert len(set(used.tolist())) == len(used)


def test_clips_of_one_track_are_compared_only_when_a_second_or_more_lies_between_them():
    near = cut_clips(first_people(make_site(Site(crops=8, spacing_s=0.1)), 1))
    far = cut_clips(first_people(make_site(Site(crops=8, spacing_s=1.0)), 1))
    assert same_person(near, np.arange(2)).tolist() == [[False, False], [False, False]]
    assert same_person(far, np.arange(2)).tolist() == [[False, True], [True, False]]


def test_clips_of_one_person_in_two_cameras_are_compared_at_one_time():
    door, hall = make_site(Site(people=2, crops=3)).tracks
    hall = type(hall)(TrackKey("hall", "1", 0), door.captured_at_s, hall.stripes, hall.energy, hall.quality)
    table = cut_clips(Material((door, hall), np.array([0, 0]), frozenset()), 4)
    assert same_person(table, np.arange(len(table))).any()
    between = table.camera[:, None] != table.camera
    assert same_person(table, np.arange(len(table)))[between].all()


def test_only_those_who_are_certainly_apart_are_strangers():
    material = make_site(Site(people=8), together=4)
    table = cut_clips(material)
    strangers = different_people(table, np.arange(len(table)), material.apart)
    wanted = [[material.are_apart(int(a), int(b)) for b in table.person] for a in table.person]
    np.testing.assert_array_equal(strangers, wanted)


def test_vectors_of_clips_are_those_of_the_head_for_their_crops_alone():
    material, head = make_site(Site(people=2, crops=5)), AlignedHead(ENCODER, plain_start())
    table = cut_clips(material)
    vectors = embed_clips(material, table, head)
    for i, crops in enumerate(table.crops):
        track, own = material.tracks[table.track[i]], crops[crops >= 0]
        alone = head.fuse_batch(track.stripes[own][None], track.energy[own][None]).embedding[0]
        np.testing.assert_allclose(vectors[i], alone, atol=1e-5)


def test_everybody_counts_the_same_however_long_they_were_seen():
    judgement = Judgement(np.array([1, 2]), np.array([1.0, 1.0]), np.array([1.0, 0.5]))
    assert judgement.figure == pytest.approx(0.75)


def test_a_judge_without_people_pairs_or_long_enough_tracks_judges_nobody():
    head = AlignedHead(ENCODER, plain_start())
    nobody = make_site(Site(people=1))
    for material in (first_people(nobody, 0), nobody, without_pairs(make_site()), make_site(Site(crops=1))):
        judge = Judge(material, np.random.default_rng(0), 4)
        assert len(judge.people) == 0
        assert np.isnan(judge.judge(head).figure)


def test_people_who_are_easy_to_tell_apart_score_one_and_noise_scores_less():
    head = AlignedHead(ENCODER, plain_start(0))
    easy = Judge(make_site(Site(disturbance=0.0, noise=0.01)), np.random.default_rng(0), 4).judge(head)
    noise = Judge(make_site(Site(disturbance=0.0, identity=0.0)), np.random.default_rng(0), 4).judge(head)
    assert (easy.figure, easy.average_precision.mean()) == (1.0, 1.0)
    assert noise.average_precision.mean() < 0.6
    assert 0.3 < noise.figure < 0.7


def test_the_interval_of_two_equal_heads_is_zero_and_of_a_better_one_above_zero():
    rng = np.random.default_rng(0)
    people, low = np.arange(12), np.linspace(0.4, 0.6, 12)
    worse, better = Judgement(people, low, low), Judgement(people, low, low + 0.1 + 0.01 * rng.random(12))
    assert compare(worse, worse, rng).interval == (0.0, 0.0)
    assert not compare(worse, worse, rng).is_better
    found = compare(worse, better, rng)
    assert found.is_better
    assert found.interval[0] <= found.gain <= found.interval[1]


def test_the_bootstrap_is_the_same_for_the_same_seed():
    people, low = np.arange(6), np.linspace(0, 1, 6)
    a, b = Judgement(people, low, low), Judgement(people, low, low[::-1].copy())
    assert compare(a, b, np.random.default_rng(3)) == compare(a, b, np.random.default_rng(3))


def test_judgements_of_different_people_or_of_nobody_are_not_compared():
    some = Judgement(np.array([1]), np.array([1.0]), np.array([1.0]))
    other = Judgement(np.array([2]), np.array([1.0]), np.array([1.0]))
    for a, b in ((some, other), (Judgement.joined([]), Judgement.joined([]))):
        with pytest.raises(ValueError, match="same people"):
            compare(a, b, np.random.default_rng(0))


def test_a_judgement_of_very_many_clips_is_thinned_and_keeps_pairs():
    material = make_site(Site(people=300, crops=40), together=10)
    judge = Judge(material, np.random.default_rng(0), 4)
    assert 50 < len(judge.people) < MOST_CLIPS / 10 + 20


# --- folds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "together"), [(8, 2), (8, 8), (30, 3), (17, 5), (5, 4)])
def test_folds_share_nobody_and_each_keeps_a_pair_apart(people, together):
    material = make_site(Site(people=people, crops=2), together=together)
    folds = person_folds(material)
    held = np.concatenate(folds)
    assert len(set(held.tolist())) == len(held)
    assert 1 <= len(folds) <= 4
    assert all(material.of_people(fold).apart for fold in folds)
    concerned = {n for pair in material.apart for n in pair}
    assert set(held.tolist()) == concerned


def test_folds_hold_about_the_same_number_of_pairs():
    material = make_site(Site(people=40, crops=2), together=5)
    pairs = [len(material.of_people(fold).apart) for fold in person_folds(material)]
    assert len(pairs) == 4
    assert min(pairs) == max(pairs)


def test_folds_of_footage_without_pairs_are_none_and_do_not_depend_on_the_order_of_tracks():
    material = make_site(Site(people=9, crops=2), together=3)
    assert person_folds(without_pairs(material)) == []
    turned = Material(material.tracks[::-1], material.person_of[::-1].copy(), material.apart)
    for a, b in zip(person_folds(material), person_folds(turned), strict=True):
        np.testing.assert_array_equal(a, b)


def test_who_is_apart_from_nobody_is_held_back_with_nobody():
    material = make_site(Site(people=5, crops=2), together=4)  # the fifth comes alone
    assert 4 not in np.concatenate(person_folds(material))


def test_pairs_that_share_one_person_make_one_fold_and_two_separate_ones_make_two():
    material = make_site(Site(people=9, crops=2), together=9)
    star = Material(material.tracks, material.person_of, frozenset((0, n) for n in range(1, 9)))
    assert [fold.tolist() for fold in person_folds(star)] == [list(range(9))]
    triangle = Material(material.tracks, material.person_of, frozenset({(0, 1), (0, 2), (1, 2)}))
    assert [fold.tolist() for fold in person_folds(triangle)] == [[0, 1, 2]]
    hubs = Material(material.tracks, material.person_of, star.apart | {(7, 8)})
    folds = person_folds(hubs)
    assert len(folds) == 2
    assert sorted(np.concatenate(folds).tolist()) == list(range(9))
    assert all(hubs.of_people(fold).apart for fold in folds)


@pytest.mark.parametrize("seed", range(20))
def test_two_folds_are_found_wherever_two_pairs_share_nobody(seed):
    rng = np.random.default_rng(seed)
    material = make_site(Site(people=6, crops=2), together=6)
    everything = sorted(material.apart)
    chosen = rng.choice(len(everything), int(rng.integers(2, 9)), replace=False)
    apart = frozenset(everything[i] for i in chosen)
    separate = any(not set(a) & set(b) for a in apart for b in apart)
    folds = person_folds(Material(material.tracks, material.person_of, apart))
    assert (len(folds) >= 2) is separate
    held = np.concatenate(folds).tolist()
    assert sorted(held) == sorted({n for pair in apart for n in pair})


def test_one_pair_alone_makes_one_fold():
    folds = person_folds(make_site(Site(people=2, crops=2)))
    assert [fold.tolist() for fold in folds] == [[0, 1]]
