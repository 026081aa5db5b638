"""What all who pass a camera have in common: who counts for it, what is left without it, and that it is kept."""

import itertools

import numpy as np
import pytest
from identity_site import Camera, Operator, Site, make

from pipeline.config import MatcherConfig
from pipeline.errors import DecodeError
from pipeline.identity.common_look import (
    CommonLooks,
    features_against_common,
    look_from_json,
    look_to_json,
    view_from_json,
    view_to_json,
)
from pipeline.identity.gallery import feature_of

PARTS, WIDTH = 3, 5
PULL = 8.0
CONFIG = MatcherConfig(decide_every_s=0.2, patience_s=0.5)


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def by_parts(camera, track_id, parts, visibility, at_s, **about):
    """A clip of a head whose vector is its parts side by side."""
    whole = (parts * np.sqrt(visibility)[:, None]).ravel()
    whole = whole / np.linalg.norm(whole)
    more = {"parts": parts, "visibility": visibility, "attention": np.ones((1, len(parts)))}
    return camera.clip(track_id, whole.astype(np.float32), at_s, at_s, **more, **about)


def alone(config):
    """A site of one camera, and the camera."""
    return Site(make(config, ["door"])), Camera("door")


def visit(door, track_id, colour, first_s, last_s):
    """A track with a clip every second, and its end."""
    clips = [door.clip(track_id, colour, first_s, t) for t in np.arange(first_s + 0.4, last_s, 1.0).tolist()]
    return [*clips, door.tracklet(track_id, first_s, last_s)]


def pass_by(looks, clips, *, counts=True):
    """A track of these clips, all of them good."""
    features = [looks.feature_of(clip) for clip in clips]
    for clip in clips:
        looks.give(clip)
    looks.settle(clips[0].key, counts)
    return features


def test_nothing_is_taken_off_the_first_one_of_a_camera():
    rng, door = np.random.default_rng(0), Camera("door")
    clip = by_parts(door, 1, unit(rng, PARTS, WIDTH), np.array([1.0, 0.5, 0.0], np.float32), 1.0)
    seen, plain = CommonLooks().feature_of(clip), feature_of(clip)
    assert seen.vector == pytest.approx(plain.vector, abs=1e-6)
    assert (seen.seen.tolist(), seen.quality, seen.at_s) == (plain.seen.tolist(), plain.quality, plain.at_s)


def test_the_mean_of_the_people_before_is_subtracted_part_by_part():
    """Written out: the n-th of somebody's first four good clips weighs visibility / n; zero weighs `PULL`."""
    rng, door, looks = np.random.default_rng(1), Camera("door"), CommonLooks()
    total, weight = np.zeros((PARTS, WIDTH)), np.zeros(PARTS)
    for track_id in range(1, 6):
        clips = []
        for n in range(1, 7):
            parts, visibility = unit(rng, PARTS, WIDTH), rng.random(PARTS).astype(np.float32)
            clips.append(by_parts(door, track_id, parts, visibility, track_id + n / 10))
            if n <= 4:
                for k in range(PARTS):
                    total[k] += parts[k] * visibility[k] / n
                    weight[k] += visibility[k] / n
        pass_by(looks, clips)
    parts, visibility = unit(rng, PARTS, WIDTH), np.array([1.0, 0.25, 0.0], np.float32)
    seen = looks.feature_of(by_parts(door, 9, parts, visibility, 9.0)).vector.reshape(PARTS, WIDTH)
    for k in range(PARTS):
        rest = parts[k] - total[k] / (weight[k] + PULL)
        assert seen[k] == pytest.approx(rest / np.linalg.norm(rest) * np.sqrt(visibility[k]), abs=1e-3)


def test_a_head_with_one_vector_of_the_whole_body_is_compared_as_a_whole():
    rng, door, looks = np.random.default_rng(2), Camera("door"), CommonLooks()
    first, second = unit(rng, 2, 16)
    pass_by(looks, [door.clip(1, first, 1.0, 1.0)])
    rest = second - first / (1 + PULL)
    assert looks.feature_of(door.clip(2, second, 2.0, 2.0)).vector == pytest.approx(
        rest / np.linalg.norm(rest), abs=1e-3
    )


def test_a_track_is_seen_against_those_before_it_until_its_end():
    rng, door, looks = np.random.default_rng(3), Camera("door"), CommonLooks()
    pass_by(looks, [door.clip(1, unit(rng, 16), 1.0, 1.0)])
    colour = unit(rng, 16)
    first = looks.feature_of(door.clip(2, colour, 2.0, 2.0))
    for other in range(3, 9):
        pass_by(looks, [door.clip(other, unit(rng, 16), 2.0, 2.0)])
    looks.settle(door.key(2), counts=True)
    assert looks.feature_of(door.clip(2, colour, 3.0, 3.0)).vector.tolist() == first.vector.tolist()


def test_who_is_undecided_does_not_count_and_who_was_there_before_never_does():
    rng, door, looks = np.random.default_rng(4), Camera("door"), CommonLooks()
    pass_by(looks, [door.clip(1, unit(rng, 16), 1.0, 1.0)])
    before = looks.cameras["door"].mean().copy()
    again = [door.clip(2, unit(rng, 16), t, t) for t in (2.0, 3.0, 4.0)]
    for clip in again:
        looks.feature_of(clip)
        assert not looks.give(clip)
    assert looks.cameras["door"].mean().tolist() == before.tolist()
    assert not looks.settle(door.key(2), counts=False)
    assert not looks.give(again[0])
    assert looks.cameras["door"].mean().tolist() == before.tolist()
    assert not looks.settle(door.key(99), counts=True)  # nobody knows it


def test_those_who_passed_long_ago_fade():
    """Light changes: of a hundred people and more the last ones count."""
    rng, door, looks = np.random.default_rng(5), Camera("door"), CommonLooks()
    day, night = np.eye(16, dtype=np.float32)[:2]
    for number in range(1200):
        light = day if number < 600 else night
        colour = light + 0.3 * unit(rng, 16)
        pass_by(looks, [door.clip(number, colour / np.linalg.norm(colour), 1.0, 1.0)])
    mean = looks.cameras["door"].mean()[0]
    assert float(looks.cameras["door"].seen.weight.max()) == pytest.approx(200.0)
    assert mean[1] > 0.7 and mean[0] < 0.1


def test_another_model_begins_anew():
    rng, door, looks = np.random.default_rng(6), Camera("door"), CommonLooks()
    pass_by(looks, [door.clip(1, unit(rng, 16), 1.0, 1.0)])
    other = door.clip(2, unit(rng, 16), 2.0, 2.0, model_id="other")
    assert looks.feature_of(other).vector.tolist() == feature_of(other).vector.tolist()
    pass_by(looks, [door.clip(3, unit(rng, 16), 3.0, 3.0, model_id="other")])
    assert looks.cameras["door"].model_id == "other"


def test_cameras_have_nothing_to_do_with_each_other():
    rng, door, hall, looks = np.random.default_rng(7), Camera("door"), Camera("hall"), CommonLooks()
    pass_by(looks, [door.clip(1, unit(rng, 16), 1.0, 1.0)])
    clip = hall.clip(1, unit(rng, 16), 2.0, 2.0)
    assert looks.feature_of(clip).vector.tolist() == feature_of(clip).vector.tolist()


def test_means_and_views_are_stored_exactly():
    rng, door, looks = np.random.default_rng(8), Camera("door"), CommonLooks()
    pass_by(looks, [door.clip(1, unit(rng, 16), 1.0, 1.0)])
    for clip in (door.clip(2, unit(rng, 16), 2.0, 2.0), Camera("hall").clip(1, unit(rng, 16), 2.0, 2.0)):
        looks.feature_of(clip)
        looks.give(clip)
        view = looks.tracks[clip.key]
        again = view_from_json(*view_to_json(view))
        assert (again.common is None) == (view.common is None)
        assert again.common is None or again.common.tolist() == view.common.tolist()
        assert again.own.total.tolist() == view.own.total.tolist()
        assert (again.model_id, again.given, again.counts) == (view.model_id, view.given, view.counts)
    camera = look_from_json(*look_to_json(looks.cameras["door"]))
    assert camera.mean().tolist() == looks.cameras["door"].mean().tolist()
    with pytest.raises(ValueError):
        look_from_json(look_to_json(camera)[0], look_to_json(camera)[1][:-4])


def test_recorded_clips_are_seen_as_by_a_matcher_that_is_told_whose_they_are():
    """Two visits of one person and one of another: who came back does not count again."""
    rng, door = np.random.default_rng(9), Camera("door")
    clips = [door.clip(track, unit(rng, 16), t, t) for track, t in ((1, 1.0), (2, 10.0), (3, 20.0), (1, 21.0))]
    people = {1: "her", 2: "her", 3: "him"}
    seen = features_against_common(clips, lambda clip: people[clip.key.track_id], 0.15, 0.5)
    her = clips[0].embedding / (1 + PULL)  # only her first visit is in the mean when he comes
    for clip, feature in zip(clips[1:3], seen[1:3], strict=True):
        rest = clip.embedding - her
        assert feature.vector == pytest.approx(rest / np.linalg.norm(rest), abs=1e-3)
    assert seen[0].vector.tolist() == clips[0].embedding.tolist()
    assert seen[3].vector.tolist() == clips[3].embedding.tolist()  # as it was at the track's first clip


# -- through the matcher -----------------------------------------------------------------------------------------------


def crowd(count, seed=0):
    """People whose looks are mostly what their camera makes of everybody: .35 from each other."""
    rng = np.random.default_rng(seed)
    own = np.zeros((count, 16))
    own[:, 1:] = unit(rng, count, 15)
    looks = np.sqrt(0.65) * np.eye(16)[0] + np.sqrt(0.35) * own
    return (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def after_a_morning(config):
    """Sixteen people were in one camera at once, and left; the site and its camera."""
    site, door = alone(config)
    people = crowd(17)
    numbers = range(1, 17)
    for t in np.arange(0.0, 5.0, 1.0).tolist():
        site.feed(*(door.clip(n, people[n - 1], 0.0, t + 0.4) for n in numbers), door.tick(t + 0.5, *numbers))
    site.feed(*(door.tracklet(n, 0.0, 5.0) for n in numbers), door.tick(30.0, tells=True))
    assert sorted(e.identity_id for e in site.events if e.kind == "entered") == list(numbers)
    return site, door, people


def last_of(site, track_id):
    return [e for e in site.events if e.key is not None and e.key.track_id == track_id][-1]


@pytest.mark.parametrize("subtract", [True, False])
def test_a_stranger_is_a_stranger_although_all_look_alike_in_this_camera(subtract):
    site, door, people = after_a_morning(MatcherConfig(decide_every_s=0.2, subtract_camera_mean=subtract))
    site.feed(*visit(door, 30, people[16], 40.0, 44.0), door.tick(60.0, tells=True))
    assert (last_of(site, 30).identity_id == 17) == subtract


def test_who_comes_back_is_found():
    site, door, people = after_a_morning(MatcherConfig(decide_every_s=0.2))
    again = people[4] + 0.05 * np.random.default_rng(1).normal(size=16)
    again = (again / np.linalg.norm(again)).astype(np.float32)
    site.feed(*visit(door, 30, again, 40.0, 44.0), door.tick(60.0, tells=True))
    assert last_of(site, 30).identity_id == 5


def test_one_person_who_comes_back_all_day_does_not_become_the_mean():
    site, door = alone(MatcherConfig(decide_every_s=0.2))
    rng, him = np.random.default_rng(3), np.eye(16)[3]
    for number, t in zip(range(1, 41), itertools.count(0.0, 60.0), strict=False):
        colour = him + 0.12 * rng.normal(size=16)
        site.feed(*visit(door, number, (colour / np.linalg.norm(colour)).astype(np.float32), t, t + 4.0))
        site.feed(door.tick(t + 30.0, tells=True))
    assert {e.identity_id for e in site.events} == {1}


def test_a_piece_that_is_cut_off_is_told():
    site, _, _ = after_a_morning(CONFIG)
    state = {**site.stored, "common:door": site.stored["common:door"][:-5]}
    with pytest.raises(DecodeError, match="common:door"):
        make(CONFIG, ["door"], state=state)


def test_who_is_forgotten_is_forgotten_in_the_mean_of_few():
    site, door = alone(CONFIG)
    site.feed(*visit(door, 1, crowd(1)[0], 0.0, 4.0), door.tick(30.0, tells=True))
    assert "common:door" in site.stored
    site.feed(Operator().forget(1))
    assert "common:door" not in site.stored


def test_many_hide_who_is_forgotten():
    site, _, _ = after_a_morning(CONFIG)
    site.feed(Operator().forget(1))
    assert "common:door" in site.stored


def test_switched_off_nothing_is_kept():
    site, door = alone(MatcherConfig(decide_every_s=0.2, subtract_camera_mean=False))
    site.feed(*visit(door, 1, crowd(1)[0], 0.0, 4.0), door.tick(30.0, tells=True))
    assert not any(name.startswith("common:") for name in site.stored)
