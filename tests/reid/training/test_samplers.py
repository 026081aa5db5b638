from pathlib import Path

import numpy as np
import pytest

from reid.datasets.tracklets import ImageTracklet
from reid.training.recipe import BatchRecipe
from reid.training.samplers import UNLABELLED, IdentitySampler, choose_frames


def tracklets_of(*people: int, pictures: int = 6) -> list[ImageTracklet]:
    return [
        ImageTracklet(person, i % 2, tuple(Path(f"{i}_{n}.jpg") for n in range(pictures)))
        for i, person in enumerate(people)
    ]


def test_a_batch_holds_k_tracklets_of_each_of_p_people():
    sampler = IdentitySampler(tracklets_of(*range(1, 9), *range(1, 9)), BatchRecipe(4, 2, 3), 0)
    clips = sampler.batch(0)
    labels = [clip.label for clip in clips]
    assert len(clips) == 8 and len(set(labels)) == 4
    assert all(labels.count(label) == 2 for label in labels)
    assert len({clip.tracklet for clip in clips}) == 8
    assert all(len(clip.frames) == 3 for clip in clips)


def test_every_person_comes_once_an_epoch_in_an_order_of_its_own():
    sampler = IdentitySampler(tracklets_of(*range(1, 9)), BatchRecipe(4, 1), 0)
    epochs = [[c.label for n in (0, 1) for c in sampler.batch(2 * e + n)] for e in range(3)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_last_batch_is_filled_up():
    sampler = IdentitySampler(tracklets_of(1, 2, 3, 4, 5), BatchRecipe(3, 1), 0)
    assert sampler.batches_per_epoch == 2
    assert [len(sampler.batch(n)) for n in (0, 1)] == [3, 3]
    assert {c.label for n in (0, 1) for c in sampler.batch(n)} == set(range(5))


def test_more_people_than_there_are_means_all_of_them():
    sampler = IdentitySampler(tracklets_of(1, 2), BatchRecipe(8, 2), 0)
    assert sorted(c.label for c in sampler.batch(0)) == [0, 0, 1, 1]


def test_a_batch_depends_on_seed_and_number_only():
    first, second = (IdentitySampler(tracklets_of(*range(1, 9)), BatchRecipe(4, 2), 5) for _ in range(2))
    first.batch(0)
    same = [(a.tracklet, a.label, a.frames.tolist()) for a in first.batch(7)]
    assert same == [(b.tracklet, b.label, b.frames.tolist()) for b in second.batch(7)]
    other = IdentitySampler(tracklets_of(*range(1, 9)), BatchRecipe(4, 2), 6)
    assert same != [(b.tracklet, b.label, b.frames.tolist()) for b in other.batch(7)]


def test_a_person_with_one_tracklet_gives_it_several_times():
    sampler = IdentitySampler(tracklets_of(1, 2), BatchRecipe(2, 3), 0)
    assert sorted(c.tracklet for c in sampler.batch(0)) == [0, 0, 0, 1, 1, 1]


def test_distractors_are_left_out_and_nobody_in_particular_is_unlabelled():
    sampler = IdentitySampler(tracklets_of(-1, 0, 3, 7), BatchRecipe(2, 1, unlabelled=1), 0)
    clips = sampler.batch(0)
    assert sampler.people == [3, 7]
    assert [c.label for c in clips].count(UNLABELLED) == 1
    assert {c.tracklet for c in clips} == {0, 2, 3}


@pytest.mark.parametrize("people", [(), (1,), (0, -1, 1)])
def test_fewer_than_two_people_cannot_be_told_apart(people: tuple[int, ...]):
    with pytest.raises(ValueError, match="two people"):
        IdentitySampler(tracklets_of(*people), BatchRecipe(), 0)


@pytest.mark.parametrize("sampling", ["restricted", "dense", "even"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 40])
def test_frames_lie_in_the_tracklet_and_do_not_fall(sampling, length: int):
    for seed in range(30):
        frames = choose_frames(length, 4, sampling, 8, np.random.default_rng(seed))
        assert len(frames) == 4 and frames.min() >= 0 and frames.max() < length
        assert (np.diff(frames) >= 0).all()


def test_restricted_sampling_takes_one_picture_of_each_part():
    drawn = np.array([choose_frames(12, 4, "restricted", 8, np.random.default_rng(s)) for s in range(200)])
    assert (drawn // 3 == np.arange(4)).all()
    assert all(set(drawn[:, part]) == {3 * part, 3 * part + 1, 3 * part + 2} for part in range(4))


def test_dense_sampling_keeps_its_stride_where_there_is_room():
    drawn = [choose_frames(40, 4, "dense", 8, np.random.default_rng(s)) for s in range(200)]
    assert all((np.diff(frames) == 8).all() for frames in drawn)
    assert {int(frames[0]) for frames in drawn} == set(range(16))


def test_dense_sampling_moves_together_in_a_short_tracklet():
    assert choose_frames(7, 4, "dense", 8, np.random.default_rng(0)).tolist() == [0, 2, 4, 6]


def test_even_sampling_is_the_middle_of_each_part():
    assert choose_frames(8, 4, "even", 8, np.random.default_rng(0)).tolist() == [1, 3, 5, 7]


def test_nothing_cannot_be_sampled():
    with pytest.raises(ValueError, match="at least one"):
        choose_frames(0, 4, "even", 8, np.random.default_rng(0))
