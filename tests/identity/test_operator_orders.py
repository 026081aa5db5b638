"""Orders by hand: carried out at once, durable, and certain evidence from then on."""

import json

import pytest
from identity_site import COLOURS, CONFIG, Camera, Operator, Site, make, near, play, told, visit, walk

from pipeline.bus.lines import event_to_json
from pipeline.types import FramePointer, TrackKey

RED, BLUE, GREEN = COLOURS[:3]
POINTER = FramePointer("host", "door", 0.4, "kept/door/a.jpg")
CORRECTIONS = ("merged", "split", "reassigned")


def key(track_id, camera_id="door"):
    return TrackKey(camera_id, "1", track_id)


def new(state=None):
    return make(CONFIG, ["door"], state=state)


def open_red_and_gone_blue():
    """Red (1) is in the picture, in track 1; blue (2) was there in track 2 and has left it."""
    site, door = Site(new()), Camera("door")
    site.feed(door.clip(1, RED, 0.0, 0.4, frame=POINTER), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1))
    site.feed(*visit(door, 2, BLUE, 3.0, 5.0), door.tick(6.0, 1))
    assert told(site.events) == [("entered", 1, "door", 1), ("entered", 2, "door", 2)]
    return site, door


def go_on(site, door, *tracks, until_s=100.0):
    """Red leaves at 8 s; then more tracks of one look each, (number, look, first, last)."""
    before = len(site.events)
    site.feed(door.tick(8.0, 1), door.tracklet(1, 0.0, 8.0, ended_s=9.0), door.tick(9.0))
    for number, look, first_s, last_s in tracks:
        site.feed(*visit(door, number, look, first_s, last_s), door.tick(last_s + 1.0))
    site.feed(door.tick(until_s))
    return site.events[before:]


# -- rename


@pytest.mark.parametrize("identity_id", [1, 2])
def test_a_name_is_told_at_once_and_with_every_event_from_then_on(identity_id):
    site, door = open_red_and_gone_blue()
    (event,) = site.feed(Operator().rename(identity_id, "Ada"))
    assert (event.kind, event.identity_id, event.name, event.key, event.by) == (
        "renamed",
        identity_id,
        "Ada",
        None,
        "operator",
    )
    site.restart(new)
    later = go_on(site, door)
    assert {e.name for e in later if e.identity_id == identity_id} == {"Ada"}
    assert {e.name for e in later if e.identity_id != identity_id} <= {None}


def test_a_name_can_be_taken_away():
    site, door = open_red_and_gone_blue()
    operator = Operator()
    site.feed(operator.rename(1, "Ada"), operator.rename(1, None))
    assert [e.name for e in site.events[-2:]] == ["Ada", None]
    assert {e.name for e in go_on(site, door)} == {None}


# -- merge


@pytest.mark.parametrize(("gone", "into"), [(2, 1), (1, 2)])
def test_two_are_one_when_an_operator_says_so_and_go_on_under_the_id_he_says(gone, into):
    site, door = open_red_and_gone_blue()
    (event,) = site.feed(Operator().merge(gone, into))
    assert (event.kind, event.identity_id, event.other_identity_id, event.key, event.by) == (
        "merged",
        gone,
        into,
        None,
        "operator",
    )
    site.restart(new)
    go_on(site, door, (3, BLUE, 40.0, 44.0), until_s=100.0)
    assert set(site.who().values()) == {into}
    assert f"identity:{gone}" not in site.stored


def test_a_red_and_a_blue_that_an_operator_merged_are_never_split_again():
    site, door = open_red_and_gone_blue()
    site.feed(Operator().merge(2, 1))
    looks = [(3, BLUE), (4, RED), (5, BLUE), (6, RED), (7, BLUE)]
    go_on(site, door, *((number, look, 10.0 * number, 10.0 * number + 4) for number, look in looks), until_s=300.0)
    assert [e.kind for e in site.events if e.kind in CORRECTIONS] == ["merged"]
    assert set(site.who().values()) == {1}


def test_a_merge_goes_on_from_the_visit_that_lasts():
    site, door = open_red_and_gone_blue()
    site.feed(Operator().merge(2, 1))
    assert site.feed(door.tick(7.5, 1)) == []
    (left,) = go_on(site, door, until_s=100.0)
    assert (left.kind, left.identity_id, left.at_s) == ("left", 1, 8.0), "not blue's last moment, 5.0 s"


def test_a_name_goes_over_with_a_merge_to_one_that_has_none():
    for named, name in ((("Ada", None), "Ada"), ((None, "Bea"), "Bea"), (("Ada", "Bea"), "Bea")):
        site, _ = open_red_and_gone_blue()
        operator = Operator()
        site.feed(*(operator.rename(i + 1, n) for i, n in enumerate(named) if n))
        (event,) = site.feed(operator.merge(1, 2))
        assert event.name == name


def two_models():
    """Red is 1 by features of the old model, and 2 by those of the new one."""
    site, door = Site(new()), Camera("door")
    site.feed(*visit(door, 1, RED, 0.0, 2.0, model_id="old"), door.tick(9.0))
    site.feed(*visit(door, 2, RED[:8], 10.0, 12.0, model_id="new"), door.tick(20.0))
    assert site.who() == {key(1): 1, key(2): 2}
    return site, door


@pytest.mark.parametrize("folded", [False, True])
def test_two_of_different_models_that_were_merged_are_known_by_the_newer_one(folded):
    site, door = two_models()
    if folded:
        site.feed(door.tick(190.0))
    site.feed(Operator().merge(2, 1))
    site.restart(new)
    site.feed(*visit(door, 3, RED[:8], 200.0, 202.0, model_id="new"), door.tick(210.0))
    site.feed(*visit(door, 4, BLUE[:8], 220.0, 222.0, model_id="new"), door.tick(230.0))
    assert site.who() == {key(1): 1, key(2): 1, key(3): 1, key(4): 3}


def test_a_track_is_not_given_to_somebody_who_is_known_by_another_model():
    site, _ = two_models()
    assert site.feed(Operator().split(2, key(2), to_id=1)) == []
    assert site.who() == {key(1): 1, key(2): 2}


# -- split


def test_a_track_that_an_operator_takes_away_is_a_new_person():
    site, door = open_red_and_gone_blue()
    go_on(site, door, (3, RED, 80.0, 84.0), until_s=100.0)
    (event,) = site.feed(Operator().split(1, key(3)))
    assert (event.kind, event.identity_id, event.other_identity_id) == ("split", 3, 1)
    assert (event.key, event.by) == (key(3), "operator")
    assert site.who() == {key(1): 1, key(2): 2, key(3): 3}


def test_a_track_that_an_operator_gives_to_somebody_is_his():
    site, door = open_red_and_gone_blue()
    (event,) = site.feed(Operator().split(1, key(1), to_id=2))
    assert (event.kind, event.identity_id, event.other_identity_id) == ("reassigned", 2, 1)
    assert site.who() == {key(1): 2, key(2): 2}
    assert "identity:1" not in site.stored, "nothing is left of it"
    go_on(site, door, (3, GREEN, 120.0, 124.0), until_s=200.0)
    assert site.who()[key(3)] == 3, "its number is not given again"


def test_two_that_an_operator_split_are_never_merged_again_by_the_matcher():
    tracks = [walk("door", 1, 0.0, 4.0, RED), walk("door", 2, 10.0, 14.0, RED)]
    site = play(tracks, 20.0, cameras=["door"], ended=False)
    site.feed(Operator().split(1, key(2)))
    assert site.who() == {key(1): 1, key(2): 2}
    door = Camera("door", "2")
    for number in range(3, 9):
        at_s = number * 30.0
        if number == 5:
            site.restart(new)
        look = near(RED, 0.02 * (number % 2))
        site.feed(*visit(door, number, look, at_s, at_s + 4.0), door.tick(at_s + 20.0))
    site.feed(door.tick(500.0), door.state(500.0))
    assert [e.kind for e in site.events if e.kind in CORRECTIONS] == ["split"]
    assert set(site.who().values()) == {1, 2}


def test_who_an_operator_split_from_somebody_is_not_merged_with_whom_that_one_became():
    tracks = [walk("door", 1, 0.0, 4.0, RED), walk("door", 2, 10.0, 14.0, RED), walk("door", 3, 20.0, 24.0, BLUE)]
    site, operator = play(tracks, 30.0, cameras=["door"], ended=False), Operator()
    site.feed(operator.split(1, key(2)), operator.merge(1, 2))
    assert site.who() == {key(1): 2, key(2): 3, key(3): 2}
    site.restart(new)
    door = Camera("door", "2")
    for number in range(4, 8):
        at_s = number * 20.0
        site.feed(*visit(door, number, RED, at_s, at_s + 4.0), door.tick(at_s + 15.0))
    site.feed(door.tick(300.0), door.state(300.0))
    assert [e.by for e in site.events if e.kind in CORRECTIONS] == ["operator"] * 2
    assert site.who()[key(1)] == 2 and site.who()[key(2)] == 3


def test_who_is_in_the_picture_beside_a_track_that_an_operator_gave_to_somebody_is_somebody_else():
    """Whoever was there first, and looks more like the person: the operator knows."""
    site, door = Site(new()), Camera("door")
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(2, near(RED, 0.2), 0.2, 0.6), door.tick(1.0, 1, 2))
    site.feed(door.clip(1, RED, 0.0, 1.4), door.clip(2, near(RED, 0.2), 0.2, 1.6), door.tick(3.0, 1, 2))
    assert site.who() == {key(1): 1, key(2): 2}
    site.feed(Operator().split(2, key(2), to_id=1), door.tick(4.0, 1, 2))
    for at_s in range(4, 14):
        site.feed(door.clip(1, RED, 0.0, at_s + 0.4), door.clip(2, near(RED, 0.2), 0.2, at_s + 0.4))
        site.feed(door.tick(at_s + 0.5, 1, 2))
    site.restart(new)
    site.feed(*visit(door, 3, RED, 60.0, 64.0), door.tick(80.0), door.state(80.0))
    assert site.who()[key(2)] == 1 and site.who()[key(1)] != 1


def test_a_longer_and_better_track_does_not_take_the_place_of_one_that_an_operator_gave():
    tracks = [walk("hall", 1, 0.0, 4.0, RED), walk("door", 1, 20.0, 22.0, near(RED, 0.5))]
    site = play(tracks, 30.0, ended=False)
    site.feed(Operator().split(2, key(1), to_id=1))
    assert site.who() == {key(1, "hall"): 1, key(1): 1}
    door, hall = Camera("door", "2"), Camera("hall", "2")
    late = [door.clip(2, RED, 20.5, 30.5 + n) for n in range(12)]  # its clips come when the first one is over
    site.feed(*late, door.tracklet(2, 20.5, 42.0), door.tick(60.0), hall.tick(60.0))
    assert site.who()[key(1)] == 1 and site.who()[door.key(2)] not in (1, None)


def test_the_word_of_an_operator_can_be_taken_back():
    tracks = [walk("door", 1, 0.0, 4.0, RED), walk("door", 2, 10.0, 14.0, RED)]
    site = play(tracks, 20.0, cameras=["door"], ended=False)
    operator = Operator()
    site.feed(operator.split(1, key(2)), operator.merge(2, 1))
    assert set(site.who().values()) == {1}
    assert json.loads(site.stored["identity:1"])["apart"] == []


def test_several_tracks_go_together():
    tracks = [walk("door", n, 10.0 * n, 10.0 * n + 4, RED) for n in (1, 2, 3)]
    site = play(tracks, 40.0, cameras=["door"])
    events = site.feed(Operator().split(1, key(3), key(2), key(99)))
    assert told(events) == [("split", 2, "door", 2), ("split", 2, "door", 3)]
    assert site.who() == {key(1): 1, key(2): 2, key(3): 2}


@pytest.mark.parametrize("is_open", [True, False])
def test_a_split_gives_visits_and_left_to_whom_they_belong(is_open):
    tracks = [walk("door", 1, 0.0, 4.0, RED), walk("door", 2, 20.0, 60.0 if is_open else 24.0, RED)]
    site, door = Site(new()), Camera("door")
    site.feed(*visit(door, 1, RED, 0.0, 4.0), door.tick(15.0))
    site.feed(door.clip(2, RED, 20.0, 20.4), door.clip(2, RED, 20.0, 22.0), door.tick(23.0, 2))
    if not is_open:
        site.feed(door.tracklet(2, 20.0, 24.0), door.tick(25.0))
    site.feed(Operator().split(1, key(2)))
    if is_open:
        site.feed(door.tick(59.0, 2), door.tracklet(2, 20.0, 60.0))
    site.feed(door.tick(80.0))
    lefts = [(e.identity_id, e.at_s) for e in site.events if e.kind == "left"]
    assert lefts == [(1, 4.0), (2, tracks[1].last_s)]


# -- forget


def test_a_forgotten_person_leaves_nothing_in_the_state_and_is_not_learned_again_from_the_open_track():
    site, door = open_red_and_gone_blue()
    (event,) = site.feed(Operator().forget(1))
    assert (event.kind, event.identity_id, event.key, event.by) == ("forgotten", 1, None, "operator")
    assert "identity:1" not in site.stored and "archive:1" not in site.stored
    line, _, raw = site.stored["track:door:1:1"].partition(b"\n")
    track = json.loads(line)
    assert not raw and track["muted"] and track["frame"] is None and track["identity_id"] is None
    assert track["places"] is None
    site.restart(new)
    assert site.feed(door.clip(1, RED, 0.0, 7.4), door.tick(9.0, 1), door.tracklet(1, 0.0, 12.0)) == []
    site.feed(door.tick(30.0))
    assert not any(":door:1:1" in name or name == "identity:1" for name in site.stored)
    site.feed(*visit(door, 3, RED, 31.0, 33.0), door.tick(40.0))
    assert site.who()[key(3)] == 3, "the number is not given again"


def test_a_forgotten_person_who_has_left_is_gone_with_all_tracks():
    site, _ = open_red_and_gone_blue()
    assert "track:door:1:2" in site.stored
    assert told(site.feed(Operator().forget(2))) == [("forgotten", 2, None, None)]
    assert not any(name in site.stored for name in ("track:door:1:2", "identity:2", "archive:2"))


# -- all orders

UNKNOWN = {
    "rename": lambda operator: operator.rename(9, "Ada"),
    "forget": lambda operator: operator.forget(9),
    "merge somebody unknown": lambda operator: operator.merge(9, 1),
    "merge into somebody unknown": lambda operator: operator.merge(1, 9),
    "merge with oneself": lambda operator: operator.merge(1, 1),
    "split somebody unknown": lambda operator: operator.split(9, key(1)),
    "split to somebody unknown": lambda operator: operator.split(1, key(1), to_id=9),
    "split to nobody": lambda operator: operator.split(1, key(1), to_id=0),
    "split to oneself": lambda operator: operator.split(1, key(1), to_id=1),
    "split a track of somebody else": lambda operator: operator.split(1, key(2)),
    "split an unknown track": lambda operator: operator.split(1, key(77)),
    "split nothing": lambda operator: operator.split(1),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_an_order_about_what_is_not_there_does_nothing(what):
    site, _ = open_red_and_gone_blue()
    before = {name: value for name, value in site.stored.items() if not name.startswith(("producer", "meta"))}
    assert site.feed(UNKNOWN[what](Operator())) == []
    assert str(site.number) not in site.pending
    assert before == {name: site.stored[name] for name in before}


@pytest.mark.parametrize("twice", ["at once", "after a restart"])
def test_an_order_that_comes_twice_is_carried_out_once(twice):
    site, _ = open_red_and_gone_blue()
    order = Operator().split(1, key(1))
    site.feed(order)
    if twice == "after a restart":
        site.restart(new)
    assert site.feed(order) == []
    assert told(site.events)[-1] == ("split", 3, "door", 1)


def test_an_order_before_anything_was_seen_does_nothing():
    site, door = Site(new()), Camera("door")
    operator = Operator()
    assert (
        site.feed(operator.forget(1), operator.merge(1, 2), operator.rename(1, "Ada"), operator.split(1, key(1))) == []
    )
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(3.0))
    assert told(site.events) == [("entered", 1, "door", 1)]


def test_ids_of_people_who_were_merged_split_or_forgotten_are_not_given_again():
    site, door = open_red_and_gone_blue()
    operator = Operator()
    site.feed(operator.split(1, key(1)), operator.merge(3, 2), operator.forget(2))
    site.restart(new)
    go_on(site, door, (5, GREEN, 40.0, 44.0), until_s=100.0)
    assert site.who() == {key(5): 4}


def test_orders_after_everything_has_ended_hold_whether_or_not_the_matcher_restarts():
    tracks = [walk("door", n, 10.0 * n, 10.0 * n + 4, look) for n, look in ((1, RED), (2, RED), (3, BLUE), (4, BLUE))]
    told_by = []
    for restart in (False, True):
        site, operator = play(tracks, 60.0, cameras=["door"]), Operator()
        for order in (operator.split(1, key(2)), operator.merge(1, 2), operator.rename(2, "Ada"), operator.forget(9)):
            site.feed(order)
            if restart:
                site.restart(new)
                site.commit()
        assert [e.kind for e in site.events if e.by == "operator"] == ["split", "merged", "renamed"]
        assert site.who() == {key(1): 2, key(2): 3, key(3): 2, key(4): 2}
        told_by.append(list(map(event_to_json, site.events)))
    assert told_by[0] == told_by[1]
