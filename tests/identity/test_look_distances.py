"""Looks that are remembered are those that would be found anew, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_site import COLOURS, near

from pipeline.identity.gallery import Feature, Features, MatrixGallery
from pipeline.identity.look_distances import LookDistances
from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import TrackState
from pipeline.types import TrackKey

RED, BLUE = COLOURS[:2]


def feature(vector, at_s=0.0, quality=0.5):
    return Feature(np.asarray(vector, np.float32), np.ones(1, np.float32), quality, at_s)


def random_features(rng, count, length=576):
    vectors = rng.standard_normal((count, length)).astype(np.float16).astype(np.float32)
    return Features(vectors, np.ones((count, 1), np.float32), np.full(count, 0.5, np.float32), np.zeros(count))


class People:
    """A memory with tracks 1.. in one camera, and identities made of them."""

    def __init__(self):
        self.memory = SiteMemory(features_per_identity=4, step_s=0.2)
        self.made = 0

    def track(self, *looks):
        self.made += 1
        track = TrackState(TrackKey("door", "1", self.made), float(self.made), self.made + 1.0, "test")
        self.memory.add_track(track)
        for vector in looks:
            self.memory.learn(track, feature(vector, track.last_s), 0.1)
        return track

    def person(self, *looks):
        track = self.track(*looks)
        identity = self.memory.new_identity(track)
        self.memory.link(track, identity.identity_id)
        return identity, track


@pytest.mark.parametrize("asked", [1, 2, 3, 4, 5, 9])
def test_a_pair_is_as_far_apart_alone_as_among_a_thousand(asked):
    rng = np.random.default_rng(asked)
    gallery, features = MatrixGallery(), random_features(rng, asked)
    owners = [TrackKey("door", "1", i) for i in range(300)]
    for owner in owners:
        gallery.put_back(owner, random_features(rng, int(rng.integers(1, 5))))
    together = gallery.nearest(features, [[owner] for owner in owners])
    alone = np.concatenate([gallery.nearest(features, [[owner]]) for owner in owners])
    assert together.tobytes() == alone.tobytes()


def test_nobody_to_compare_with_gives_nothing():
    people = People()
    assert LookDistances(people.memory).distances(people.track(RED), [], ()).shape == (0,)


def test_a_track_without_features_is_far_from_everybody_until_it_has_some():
    people = People()
    identity, _ = people.person(RED)
    looks, track = LookDistances(people.memory), people.track()
    assert looks.distances(track, [identity.identity_id], ()).tolist() == [np.inf]
    people.memory.learn(track, feature(RED), 0.1)
    assert looks.distances(track, [identity.identity_id], ()) == pytest.approx([0.0], abs=1e-3)


def test_features_of_another_model_are_not_compared():
    people = People()
    identity, _ = people.person(RED)
    track = people.track(RED)
    track.model_id = "another"
    assert LookDistances(people.memory).distances(track, [identity.identity_id], ()).tolist() == [np.inf]


def test_tracks_that_shall_not_speak_do_not_and_do_again():
    people = People()
    identity, first = people.person(RED)
    second = people.track(BLUE)
    people.memory.link(second, identity.identity_id)
    looks, track, ids = LookDistances(people.memory), people.track(BLUE), [identity.identity_id]
    both = looks.distances(track, ids, ())
    without = looks.distances(track, ids, (second.key,))
    assert both[0] < without[0] and looks.distances(track, ids, (first.key,))[0] <= both[0]
    assert looks.distances(track, ids, ()).tolist() == both.tolist()


CHANGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 11), st.integers(0, 11)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(CHANGES, st.integers(0, 2**32 - 1))
def test_whatever_happens_what_is_remembered_is_what_would_be_found_anew(changes, seed):
    rng = np.random.default_rng(seed)
    people = People()
    memory = people.memory
    tracks = [people.person(near(COLOURS[i % 5], 0.2))[1] for i in range(6)]
    tracks += [people.track(near(COLOURS[i], 0.3)) for i in range(6)]
    looks = LookDistances(memory)
    for what, which, whom in changes:
        change(memory, tracks[which], sorted(memory.identities), what, whom, rng)
        ids = sorted(memory.identities)
        ids = [i for i in ids if rng.random() < 0.8]
        for track in tracks:
            if track.key in memory.tracks:
                silent = {track.key} if whom % 2 else {track.key, tracks[whom].key}
                known = looks.distances(track, ids, silent)
                assert known.tobytes() == LookDistances(memory).distances(track, ids, silent).tobytes()


def change(memory, track, ids, what, whom, rng):
    """One of the things that a matcher does to its memory."""
    if track.key not in memory.tracks or not ids:
        return
    other = ids[whom % len(ids)]
    if what <= 2:
        memory.learn(track, feature(near(COLOURS[whom % 14], float(rng.uniform(0, 0.5))), float(whom)), 0.1)
    elif what == 3:
        memory.link(track, other)
    elif what == 4 and track.identity_id is not None:
        memory.end_track(track)
        memory.fold(track)
    elif what == 5 and track.identity_id not in (None, other):
        memory.absorb(memory.identities[track.identity_id], memory.identities[other])
    elif what == 6:
        memory.mute_track(track)
    elif what == 7:
        memory.gallery.forget_before(track.key, 3.0)
        memory.touch_features(track)
