from pipeline.reporting.names import names_of
from pipeline.reporting.report_inputs import Event


def event(kind: str, identity_id: int, name: str | None = None, other: int | None = None) -> Event:
    return Event(1, kind, identity_id, "", "", None, 0.0, 0.0, other_identity_id=other, name=name)


def test_nobody_has_a_name_without_events() -> None:
    assert names_of([]) == {}


def test_the_last_name_counts_and_none_takes_it_away() -> None:
    events = [event("renamed", 1, "Ann"), event("renamed", 1, "Bea"), event("renamed", 2, "Cy"), event("renamed", 2)]
    assert names_of(events) == {1: "Bea"}


def test_an_event_of_somebody_with_a_name_tells_it() -> None:
    assert names_of([event("left", 1, "Ann"), event("left", 1)]) == {1: "Ann"}


def test_names_go_with_merges_and_the_dead_numbers_of_older_lines_show_them() -> None:
    events = [event("renamed", 2, "Ann"), event("merged", 2, other=1), event("merged", 1, other=3)]
    assert names_of(events) == {1: "Ann", 2: "Ann", 3: "Ann"}
    assert names_of([event("renamed", 1, "Own"), *events[:2]]) == {1: "Own", 2: "Own"}
    assert names_of([*events, event("renamed", 2, "Bea")])[3] == "Bea"


def test_a_forgotten_persons_name_is_gone_and_rings_end() -> None:
    ring = [event("merged", 1, other=2), event("merged", 2, other=1)]
    assert names_of([event("renamed", 1, "Ann"), *ring, event("forgotten", 1)]) == {}
