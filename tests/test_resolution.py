"""One reading of a site's events: whose each track is, before and after corrections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.resolution import IdentityBook, final_identities
from pipeline.types import FramePointer, IdentityEvent, TrackKey


def key(track_id, camera="door"):
    return TrackKey(camera, "1", track_id)


def event(kind, identity_id, track=None, decided_at_s=1.0, at_s=0.0, other=None, **others):
    return IdentityEvent(1, kind, identity_id, track, at_s, decided_at_s, other_identity_id=other, **others)


def online(book, track, *times_s):
    return book.online(track, np.array(times_s, float)).tolist()


def test_without_events_nobody_is_known():
    book = IdentityBook()
    assert book.final(key(1)) == 0 and online(book, key(1)) == [] and online(book, key(1), 5.0) == [0]
    assert book.tracks() == {} == final_identities([]) and book.identities() == set()
    assert book.tracks_of(1) == frozenset() == book.tracks_of(0)
    assert book.living(7) == 7 and book.ids_of(7) == {7} and book.name_of(7) is None
    assert book.track_at("door", 1, 5.0) is None and not book.is_known(key(1)) and book.first_s(key(1)) is None


def test_the_last_link_of_a_track_counts():
    events = [event("entered", 1, key(1)), event("split", 2, key(1), 5.0, other=1)]
    assert final_identities(events) == {key(1): 2}
    assert online(IdentityBook(events), key(1), 1.0, 1.1, 5.0, 5.1) == [0, 1, 1, 2]


def test_a_split_takes_one_track_and_leaves_the_others():
    events = [event("entered", 1, key(1)), event("continued", 1, key(2)), event("split", 2, key(2), 9.0, other=1)]
    book = IdentityBook(events)
    assert book.tracks() == {key(1): 1, key(2): 2}
    assert book.tracks_of(1) == {key(1)} and book.tracks_of(2) == {key(2)}


def test_merged_then_split_then_reassigned_back():
    events = [
        event("entered", 1, key(1)),
        event("entered", 2, key(2)),
        event("merged", 2, other=1, decided_at_s=5.0),
        event("split", 3, key(2), 7.0, other=1),
        event("reassigned", 1, key(2), 9.0, other=3),
    ]
    finals = [IdentityBook(events[:n]).final(key(2)) for n in range(2, 6)]
    assert finals == [2, 1, 3, 1]
    assert online(IdentityBook(events), key(2), 1.5, 5.5, 7.5, 9.5) == [2, 1, 3, 1]


def test_a_track_that_was_unknown_is_reassigned_to_somebody():
    events = [event("unknown", 0, key(1)), event("reassigned", 4, key(1), 8.0, other=0)]
    assert IdentityBook(events[:1]).tracks() == {} and not IdentityBook(events[:1]).is_known(key(1))
    assert IdentityBook(events).final(key(1)) == 4


def test_an_identity_that_merges_twice_and_those_merged_into_it_are_one():
    events = [
        event("entered", 5, key(1)),
        event("merged", 5, other=3),
        event("merged", 9, other=5),  # said of an id that is no more
        event("merged", 3, other=2),
        event("entered", 5, key(2)),  # decided before the merge was known
    ]
    book = IdentityBook(events)
    assert book.tracks() == {key(1): 2, key(2): 2}
    assert {book.living(i) for i in (2, 3, 5, 9)} == {2} and book.ids_of(5) == {2, 3, 5, 9} == book.ids_of(2)


def test_one_id_merged_into_two_makes_these_one():
    book = IdentityBook([event("merged", 5, other=3), event("merged", 5, other=2)])
    assert book.living(5) == book.living(3) == book.living(2) == 2


def test_merges_in_a_ring_and_with_oneself_end():
    book = IdentityBook([event("merged", 1, other=2), event("merged", 2, other=1), event("merged", 3, other=3)])
    assert book.living(1) == book.living(2) == 2 and book.living(3) == 3


def test_a_merge_without_its_other_half_says_nothing():
    assert IdentityBook([event("merged", 1)]).living(1) == 1


def test_leaving_is_no_link():
    book = IdentityBook([event("entered", 4, key(1)), event("left", 5, key(1), 2.0), event("left", 5, key(9), 2.0)])
    assert book.tracks() == {key(1): 4}


def test_tracks_of_the_forgotten_are_nobodys_and_those_once_taken_for_them_stay():
    events = [
        event("entered", 1, key(1)),
        event("entered", 1, key(2)),
        event("reassigned", 2, key(2), 5.0, other=1),
        event("forgotten", 1, decided_at_s=9.0),
    ]
    book = IdentityBook(events)
    assert book.is_forgotten(key(1)) and not book.is_forgotten(key(2))
    assert book.tracks() == {key(2): 2} and book.identities() == {2}
    assert online(book, key(2), 2.0, 6.0) == [0, 2]


def test_who_is_forgotten_under_a_merged_id_is_forgotten():
    events = [event("entered", 1, key(1)), event("merged", 2, other=1), event("forgotten", 2)]
    assert IdentityBook(events).is_forgotten(key(1))


def test_names_follow_the_person():
    book = IdentityBook([event("renamed", 2, name="guest"), event("entered", 3, key(1), name="cook")])
    assert book.names() == {2: "guest", 3: "cook"}
    book.take(event("merged", 2, other=1))
    assert book.name_of(2) == book.name_of(1) == "guest" and book.names() == {1: "guest", 3: "cook"}
    book.take(event("merged", 1, other=3))
    assert book.name_of(2) == "cook"  # the one that lives on keeps its own
    book.take(event("renamed", 1, name=None))
    assert book.names() == {}


def test_a_forgotten_persons_name_goes():
    assert IdentityBook([event("renamed", 2, name="guest"), event("forgotten", 2)]).names() == {}


def test_the_track_behind_an_older_label_is_found_by_camera_and_time():
    events = [
        event("entered", 1, key(1), at_s=0.0),
        event("left", 1, key(1), at_s=10.0),
        event("reentered", 1, key(2), at_s=50.0),
        event("handed_over", 1, key(9, "hall"), at_s=20.0),
        event("split", 2, key(2), at_s=50.0, other=1),
    ]
    book = IdentityBook(events)
    assert book.track_at("door", 1, 5.0) == key(1)
    assert book.track_at("door", 1, 60.0) == key(2) == book.track_at("door", 2, 60.0)
    assert book.track_at("hall", 1, 25.0) == key(9, "hall")
    assert book.track_at("door", 1, -1.0) is None and book.track_at("door", 3, 60.0) is None


def test_of_two_tracks_the_one_that_had_not_left_is_meant():
    events = [
        event("entered", 1, key(1), at_s=0.0),
        event("continued", 1, key(2), at_s=10.0),
        event("left", 1, key(2), at_s=20.0),
    ]
    assert IdentityBook(events).track_at("door", 1, 30.0) == key(1)


def test_a_label_of_an_id_that_was_merged_is_understood():
    events = [event("entered", 2, key(1)), event("merged", 2, other=1), event("split", 3, key(1), other=1)]
    book = IdentityBook(events)
    assert book.track_at("door", 2, 1.0) == book.track_at("door", 1, 1.0) == key(1)


def test_pictures_are_those_that_events_point_to():
    shown = event("entered", 1, key(1), frame=FramePointer("h", "door", 2.5, "kept/door/a.jpg"))
    book = IdentityBook([shown, event("left", 1, key(1))])
    assert book.pictures_of(key(1)) == {2.5} and book.pictures_of(key(2)) == frozenset()
    assert book.pictures() == {("door", 2.5): [key(1)]}


def test_a_book_with_a_limit_lets_the_oldest_tracks_and_merges_go():
    book = IdentityBook(remember=2)
    for n in (1, 2, 3):
        book.take(event("entered", n, key(n)))
        book.take(event("merged", 10 + n, other=20 + n))
    assert book.tracks() == {key(2): 2, key(3): 3}
    assert [book.living(10 + n) for n in (1, 2, 3)] == [11, 22, 23]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6), st.integers(1, 6)), max_size=25))
@settings(max_examples=150, deadline=None)
def test_any_history_reads_as_sets_of_tracks_that_are_moved_and_poured_together(history):
    """Against the plain model: identities are sets of tracks; a dead id's links go where it went."""
    events, people, into = [], {}, {}

    def living(n):
        while n in into:
            n = into[n]
        return n

    for is_merge, a, b in history:
        if is_merge:
            events.append(event("merged", a, other=b))
            old, new = living(a), living(b)
            if old != new:
                into[old] = new
                people.setdefault(new, set()).update(people.pop(old, set()))
        else:
            events.append(event("reassigned", a, key(b)))
            for tracks in people.values():
                tracks.discard(key(b))
            people.setdefault(living(a), set()).add(key(b))
    expected = {track: n for n, tracks in people.items() for track in tracks}
    book = IdentityBook(events)
    assert book.tracks() == expected
    assert {n: book.tracks_of(n) for n in book.identities()} == {n: frozenset(t) for n, t in people.items() if t}


@pytest.mark.parametrize("at_s", [0.0, 3.0, 100.0])
def test_online_ids_never_know_more_than_was_said_until_then(at_s):
    events = [
        event("entered", 1, key(1), 1.0),
        event("merged", 1, other=2, decided_at_s=4.0),
        event("split", 3, key(1), 6.0, other=2),
    ]
    before = [e for e in events if e.decided_at_s < at_s]
    assert online(IdentityBook(events), key(1), at_s) == [IdentityBook(before).final(key(1))]
