"""People beside whom was asked for: grouped by identity as finally known, ranked by the distance to the set."""

import numpy as np
import pytest
from search_examples import BLUE, GREEN, GREY, MODEL, RED, clip, event, key, near, site

from pipeline.search.history import History
from pipeline.search.nearest import Filter, nearest_rows
from pipeline.search.ranking import Query, query_of, rank_people, set_distance
from pipeline.search.sources import rows_in_memory


def query(*vectors, qualities=None):
    return Query(np.stack(vectors), np.array(qualities or [0.5] * len(vectors), np.float32))


def ranked(asked, events, features, wanted=None, **how):
    history = History.of(events, features)
    return rank_people(features, history, asked, search=nearest_rows, wanted=wanted or Filter(), **how)


def ids(ranking):
    return [person.identity_id for person in ranking.people]


def test_tracks_are_grouped_by_the_identity_as_finally_known():
    events, features = site()
    found = ranked(query(RED), events, features)
    assert ids(found) == [1, 2, 0]  # 4 was merged into 1; the last one was never identified
    assert {track.key for track in found.people[0].tracks} == {key(1), key(3), key(1, "hall")}
    assert found.people[2].tracks[0].key == key(4)
    assert found.searched == 8 and found.complete_to is None


def test_people_come_in_order_of_their_distance_and_so_do_their_tracks():
    events, features = site()
    found = ranked(query(BLUE), events, features)
    assert ids(found)[0] == 2
    for person in found.people:
        distances = [track.distance for track in person.tracks]
        assert distances == sorted(distances)
    assert [p.distance for p in found.people] == sorted(p.distance for p in found.people)


def test_the_distance_is_to_the_set_and_not_to_one_stray_feature():
    stray = query(RED)
    one = np.stack([RED, BLUE, BLUE]).astype(np.float32)
    two = np.stack([near(RED, BLUE, 0.2)] * 3)
    assert set_distance(stray, one) == pytest.approx(0.5)  # mean of 0 and 1
    assert set_distance(stray, two) < 0.1
    assert set_distance(stray, one[:1]) == pytest.approx(0.0, abs=1e-6)


def test_better_features_of_whom_was_asked_for_speak_louder():
    stored = np.stack([RED])
    assert set_distance(query(RED, BLUE, qualities=[0.9, 0.1]), stored) == pytest.approx(0.1)
    assert set_distance(query(RED, BLUE, qualities=[0.1, 0.9]), stored) == pytest.approx(0.9)


def test_the_person_that_was_asked_for_is_left_out():
    events, features = site()
    history = History.of(events, features)
    own = query_of(features, history.tracks_of(1), 64)
    assert len(own.vectors) == 5
    assert sorted(ids(ranked(own, events, features, without=1))) == [0, 2]


def test_the_best_features_are_asked_with():
    clips = [clip(key(1), n, RED, quality=n / 10) for n in range(1, 6)]
    features = rows_in_memory(MODEL, clips)
    assert np.allclose(query_of(features, [key(1)], 2).qualities, [0.4, 0.5])
    assert len(query_of(features, [key(9)], 2).vectors) == 0


def test_filters_decide_which_clips_may_speak():
    events, features = site()
    assert ids(ranked(query(RED), events, features, Filter(cameras=frozenset({"hall"})))) == [1]
    late = ranked(query(RED), events, features, Filter(since_s=39.0))
    assert [t.key for p in late.people for t in p.tracks] == [key(3), key(4)] and late.searched == 3
    nobody = ranked(query(RED), events, features, Filter(since_s=1e6))
    assert nobody.people == () and nobody.searched == 0


def test_forgotten_people_are_not_found_even_where_their_features_are_left():
    events, features = site()
    assert 1 not in ids(ranked(query(RED), [*events, event(8, "forgotten", 1)], features))
    assert key(1) not in {
        t.key for p in ranked(query(RED), [*events, event(8, "forgotten", 1)], features).people for t in p.tracks
    }


def test_corrections_decide_whose_a_track_is():
    events, features = site()
    events = [*events, event(8, "split", 9, key(3), 60.0, other_identity_id=1)]
    found = ranked(query(RED), events, features)
    tracks = {person.identity_id: {track.key for track in person.tracks} for person in found.people}
    assert tracks[9] == {key(3)} and tracks[1] == {key(1), key(1, "hall")}


def test_re_ranking_puts_people_into_a_new_order_and_keeps_their_distances():
    events, features = site()
    plain = ranked(query(RED), events, features)
    shapes = []

    def backwards(asked, tracks):
        shapes.append((asked.shape, tracks.shape))
        return asked[0] @ tracks.T

    found = ranked(query(RED, RED), events, features, rerank=backwards)
    assert shapes == [((1, 4), (5, 4))]
    assert ids(found) == ids(plain)[::-1]
    assert {p.identity_id: p.distance for p in found.people} == pytest.approx(
        {p.identity_id: p.distance for p in plain.people}
    )


def test_what_was_not_compared_as_a_whole_is_known_to_be_farther():
    clips = [clip(key(1), n, near(RED, BLUE, 0.1)) for n in range(1, 1501)]
    clips += [clip(key(2), 2000 + n, near(RED, GREEN, 0.5)) for n in range(3)]
    features = rows_in_memory(MODEL, clips)
    found = ranked(query(RED), [event(1, "entered", 1, key(1)), event(2, "entered", 2, key(2))], features)
    assert ids(found) == [1]
    assert found.complete_to == pytest.approx(1 - float(near(RED, BLUE, 0.1)[0]), abs=1e-3)
    assert found.people[0].tracks[0].clips == 256


def test_nothing_stored_finds_nobody():
    found = ranked(query(GREY), [], rows_in_memory(MODEL, []))
    assert found.people == () and found.searched == 0
