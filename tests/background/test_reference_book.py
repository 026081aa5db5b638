from dataclasses import replace

import pytest

from pipeline.background import reference_book
from pipeline.background.reference_book import ReferenceBook, TrackIdentities
from pipeline.types import EventKind, IdentityEvent, TrackKey

DOOR, HALL = TrackKey("door", "1", 1), TrackKey("hall", "1", 1)


def test_nobody_is_fresh_at_first() -> None:
    book = ReferenceBook()
    book.stale("door", 1)
    book.track_ended(DOOR)
    book.forget(1)
    assert not book.fresh("door", 1)


def test_freshness_is_per_camera() -> None:
    book = ReferenceBook()
    book.renew(DOOR, 1, 10)
    book.renew(HALL, 1, 11)
    book.track_ended(DOOR)
    assert not book.fresh("door", 1) and book.fresh("hall", 1)
    book.stale("hall", 1)
    assert not book.fresh("hall", 1)


def test_a_picture_of_an_ended_track_makes_nobody_fresh() -> None:
    book = ReferenceBook()
    book.track_ended(DOOR)
    book.renew(DOOR, 1, 10)
    assert not book.fresh("door", 1)
    book.renew(TrackKey("door", "1", 2), 1, 11)
    assert book.fresh("door", 1)


def test_merged_identities_answer_as_one_through_chains() -> None:
    book = ReferenceBook()
    book.renew(DOOR, 3, 10)
    book.merge(3, 2)
    book.merge(2, 1)
    book.merge(1, 3)  # the same person already
    assert book.canonical(3) == 1 and all(book.fresh("door", i) for i in (1, 2, 3))
    book.forget(3)
    assert not book.fresh("door", 1)


@pytest.mark.parametrize("ended", [DOOR, TrackKey("door", "1", 2)])
def test_after_a_merge_the_fresh_reference_counts(ended: TrackKey) -> None:
    book = ReferenceBook()
    book.renew(DOOR, 1, 10)
    book.renew(TrackKey("door", "1", 2), 2, 11)
    book.track_ended(ended)
    book.merge(2, 1)
    assert book.fresh("door", 1)


def test_the_book_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_book, "_REMEMBERED", 10)
    book = ReferenceBook()
    for i in range(1, 50):
        book.renew(TrackKey("door", "1", i), i, i)
    assert book.fresh("door", 49) and not book.fresh("door", 1)
    assert len(book._entries) == 10


def said(kind: EventKind, identity_id: int, key: TrackKey | None = DOOR, other: int | None = None) -> IdentityEvent:
    return IdentityEvent(1, kind, identity_id, key, 0.0, 1.0, other_identity_id=other)


def test_tracks_are_who_the_events_say_through_chains_of_corrections() -> None:
    tracks = TrackIdentities(ReferenceBook())
    told = [
        (said("unknown", 0), 0),
        (said("reassigned", 2, other=0), 2),
        (said("merged", 2, None, other=1), 1),
        (said("split", 3, other=1), 3),
        (said("reassigned", 1, other=3), 1),
        (said("left", 1), 1),
        (said("merged", 1, None, other=4), 4),
        (said("forgotten", 4, None), 0),
    ]
    for event, expected in told:
        tracks.take(event)
        assert tracks.of(DOOR) == expected, event.kind


@pytest.mark.parametrize("kind", ["split", "reassigned"])
def test_a_reference_of_a_track_that_turned_out_to_be_somebody_else_is_stale(kind: EventKind) -> None:
    book = ReferenceBook()
    tracks = TrackIdentities(book)
    tracks.take(said("entered", 1))
    book.renew(DOOR, 1, 10)
    tracks.take(said(kind, 2, other=1))
    assert not book.fresh("door", 1) and not book.fresh("door", 2)


def test_a_correction_ends_no_track() -> None:
    book = ReferenceBook()
    tracks = TrackIdentities(book)
    other = TrackKey("door", "1", 2)
    tracks.take(said("entered", 2, other))
    tracks.take(said("entered", 1))
    book.renew(other, 2, 10)
    tracks.take(replace(said("reassigned", 2, other=1), previous_key=other))
    assert book.fresh("door", 2)
