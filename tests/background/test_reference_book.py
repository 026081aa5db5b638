import pytest

from pipeline.background import reference_book
from pipeline.background.reference_book import ReferenceBook
from pipeline.types import TrackKey

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
