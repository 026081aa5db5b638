from typing import Any

from pipeline.types import IdentityEvent, TrackKey
from pipeline.view.roster import Roster


def event(kind: Any, identity_id: int, at_s: float, camera_id: str = "door", **more: Any) -> IdentityEvent:
    return IdentityEvent(1, kind, identity_id, TrackKey(camera_id, "1", identity_id), at_s, at_s + 0.5, **more)


def written(*events: IdentityEvent, **limits: int) -> Roster:
    roster = Roster(**limits)
    for one in events:
        roster.write(one)
    return roster


def people(roster: Roster) -> list[tuple[int, str, bool]]:
    return [(one["identity_id"], one["camera_id"], one["present"]) for one in roster.identities()]


def test_an_empty_roster_has_nobody_and_nothing() -> None:
    assert Roster().identities() == [] and Roster().events()["events"] == [] and Roster().names() == {}


def test_people_are_where_the_last_event_saw_them_and_those_present_come_first() -> None:
    roster = written(
        event("entered", 1, 0.0),
        event("entered", 2, 1.0),
        event("left", 2, 5.0),
        event("handed_over", 1, 4.0, "hall", via=("door",)),
    )
    assert people(roster) == [(1, "hall", True), (2, "door", False)]


def test_leaving_the_camera_before_does_not_end_the_presence_in_the_next() -> None:
    roster = written(event("entered", 1, 0.0), event("handed_over", 1, 4.0, "hall"), event("left", 1, 5.0, "door"))
    assert people(roster) == [(1, "hall", True)]


def test_returns_are_counted() -> None:
    roster = written(event("entered", 1, 0.0), event("left", 1, 3.0), event("reentered", 1, 20.0, absent_s=17.0))
    assert roster.identities()[0]["returns"] == 1 and people(roster) == [(1, "door", True)]


def test_a_merge_leaves_one_identity_with_what_both_had() -> None:
    roster = written(
        event("entered", 1, 0.0),
        event("entered", 2, 5.0, "hall"),
        event("renamed", 2, 6.0, name="Ann"),
        event("merged", 2, 7.0, "hall", other_identity_id=1),
    )
    (one,) = roster.identities()
    assert (one["identity_id"], one["label"], one["camera_id"], one["first_seen_s"]) == (1, "Ann", "hall", 0.0)


def test_a_page_that_opened_late_learns_names_from_arrivals() -> None:
    roster = written(event("entered", 1, 0.0, name="Ann"), event("reentered", 1, 9.0))
    assert roster.names() == {1: "Ann"}


def test_a_name_is_shown_in_the_list_and_on_older_events() -> None:
    roster = written(event("entered", 1, 0.0), event("renamed", 1, 1.0, name="Ann"))
    assert roster.names() == {1: "Ann"}
    assert [one["label"] for one in roster.events()["events"]] == ["Ann", "Ann"]


def test_forgetting_erases_the_identity_its_events_and_its_name() -> None:
    roster = written(
        event("entered", 1, 0.0),
        event("renamed", 1, 1.0, name="Ann"),
        event("entered", 2, 2.0),
        event("forgotten", 1, 3.0),
    )
    assert people(roster) == [(2, "door", True)]
    answer = roster.events()
    assert [(one["kind"], one["identity_id"]) for one in answer["events"]] == [("entered", 2), ("forgotten", 1)]
    assert "Ann" not in str(answer) and answer["erasures"] == 1


def test_events_come_once_and_in_order() -> None:
    roster = written(event("entered", 1, 0.0), event("left", 1, 1.0))
    first = roster.events()
    roster.write(event("reentered", 1, 14.0, absent_s=13.0, via=("hall", "lift")))
    second = roster.events(first["newest"])
    assert [one["kind"] for one in first["events"]] == ["entered", "left"]
    assert [one["text"] for one in second["events"]] == ["returned to door after 13 s via hall, lift"]
    assert roster.events(second["newest"])["events"] == []


def test_memory_is_bounded() -> None:
    roster = written(*(event("entered", i, float(i)) for i in range(1, 50)), max_events=10, max_identities=5)
    assert len(roster.events()["events"]) == 10
    assert [one["identity_id"] for one in roster.identities()] == [49, 48, 47, 46, 45]


def test_events_about_nobody_known_do_no_harm() -> None:
    roster = written(
        event("left", 9, 0.0),
        event("merged", 9, 0.0, other_identity_id=8),
        event("unknown", 0, 1.0),
        event("forgotten", 9, 2.0),
    )
    assert roster.identities() == []
