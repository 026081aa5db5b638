"""What events tell: whose a track is, from when to when, and who cannot be the same."""

from search_examples import clip, event, key, site, unit

from pipeline.search.history import History, Span
from pipeline.search.sources import rows_in_memory


def history():
    return History.of(*site())


def test_without_events_nobody_is_known():
    empty = History.of([])
    assert empty.tracks_of(1) == [] and empty.visits_of(1) == [] and empty.corrections(1) == []
    assert not empty.is_known(1) and empty.together(1, 2) is None
    assert empty.span(key(1)) == Span(0.0, 0.0)


def test_events_in_any_order_of_arrival_tell_the_same():
    events, features = site()
    told, shuffled = History.of(events, features), History.of(events[::-1], features)
    assert told.tracks_of(1) == shuffled.tracks_of(1) == [key(1), key(1, "hall"), key(3)]


def test_visits_are_in_order_of_time_over_all_cameras():
    visits = history().visits_of(1)
    assert [(v.camera_id, v.how.kind) for v in visits] == [
        ("door", "entered"),
        ("hall", "entered"),
        ("door", "reentered"),
    ]
    assert [v.span for v in visits] == [Span(2.0, 8.4), Span(12.0, 13.0), Span(40.0, 43.0)]


def test_a_track_ends_when_events_say_so_and_else_with_its_last_clip():
    assert history().span(key(1)) == Span(2.0, 8.4)  # `left`; its last clip ended at 5
    assert history().span(key(2)) == Span(2.5, 6.0)
    events = [
        event(1, "entered", 1, key(1), 0.0),
        event(2, "continued", 1, key(2), 9.0, absent_s=1.5, previous_key=key(1)),
    ]
    assert History.of(events).span(key(1)) == Span(0.0, 7.5)


def test_tracks_that_go_on_are_one_visit():
    events = [
        event(1, "entered", 1, key(1), 0.0),
        event(2, "continued", 1, key(2), 9.0, absent_s=1.5, previous_key=key(1)),
        event(3, "left", 1, key(2), 12.0),
        event(4, "reentered", 1, key(3), 30.0, absent_s=18.0, previous_key=key(2)),
    ]
    told = History.of(events).visits_of(1)
    assert [(v.tracks, v.span) for v in told] == [((key(1), key(2)), Span(0.0, 12.0)), ((key(3),), Span(30.0, 30.0))]


def test_two_who_were_in_one_camera_at_once_are_two_people():
    assert history().together(1, 2) == "door"
    far = [event(1, "entered", 1, key(1), 0.0), event(2, "entered", 2, key(2), 50.0)]
    assert History.of(far).together(1, 2) is None
    elsewhere = rows_in_memory("m", [clip(key(1), 1, unit(1, 0)), clip(key(2, "hall"), 1, unit(0, 1))])
    both = [event(1, "entered", 1, key(1), 0.0), event(2, "entered", 2, key(2, "hall"), 0.0)]
    assert History.of(both, elsewhere).together(1, 2) is None


def test_corrections_name_what_was_taken_away_as_well():
    events, features = site()
    events += [
        event(8, "split", 9, key(3), 60.0, other_identity_id=1),
        event(9, "merged", 7, None, 61.0, other_identity_id=8),
    ]
    told = History.of(events, features)
    assert [e.sequence for e in told.corrections(1)] == [6, 8]
    assert told.corrections(4) == told.corrections(1)  # it was merged into 1
    assert [e.sequence for e in told.corrections(9)] == [8]


def test_the_forgotten_are_told_from_the_unknown():
    told = History.of([event(1, "entered", 1, key(1)), event(2, "forgotten", 1)])
    assert told.is_forgotten(1) and told.is_known(1) and told.visits_of(1) != []
    assert not told.is_forgotten(2) and not told.is_known(2)
