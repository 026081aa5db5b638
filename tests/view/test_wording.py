from typing import get_args

import pytest

from pipeline.types import EventKind
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label


@pytest.mark.parametrize(
    ("at_s", "text"),
    [
        (0.0, "0:00.0"),
        (12.34, "0:12.3"),
        (59.96, "1:00.0"),
        (3661.0, "1:01:01.0"),
        (-2.5, "-0:02.5"),
        (1.7e9 + 0.25, "2023-11-14 22:13:20.2 UTC"),
        (1.7e9 + 0.96, "2023-11-14 22:13:21.0 UTC"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (1e15, "–"),
    ],
)
def test_times_are_readable(at_s: float, text: str) -> None:
    assert clock_text(at_s) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0.0 s"),
        (3.44, "3.4 s"),
        (9.96, "10 s"),
        (12.3, "12 s"),
        (59.7, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3725, "1 h 2 min"),
        (float("nan"), "–"),
        (-1.0, "0.0 s"),
    ],
)
def test_durations_are_readable(duration_s: float, text: str) -> None:
    assert duration_text(duration_s) == text


def test_labels_are_a_number_a_name_or_a_question_mark() -> None:
    assert [identity_label(0), identity_label(7), identity_label(7, "Ann"), identity_label(7, "")] == [
        "?",
        "#7",
        "Ann",
        "#7",
    ]


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_kind_of_event_has_words_of_its_own(kind: str) -> None:
    text = event_text(kind, "door", 12.0, ("hall",), 3, "Ann")
    assert text != f"{kind} door" or kind in ("entered", "left")


def test_whom_a_track_was_taken_for_may_be_forgotten_or_nobody() -> None:
    texts = [event_text("reassigned", "door", other_identity_id=other) for other in (None, 0, 3)]
    assert texts == ["was taken for " + who + " in door" for who in ("another identity", "nobody", "#3")]


def test_a_name_that_was_taken_away_is_said_to_be_gone() -> None:
    assert event_text("renamed", "") == "has no name any more"


def test_an_unknown_kind_is_shown_as_it_is() -> None:
    assert event_text("teleported", "door") == "teleported door"
