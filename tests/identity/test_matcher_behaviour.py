"""Single behaviours of the matcher: what is decided, when, and why."""

from dataclasses import replace

import numpy as np
import pytest
from identity_site import COLOURS, CONFIG, Camera, Site, make, near, play, told, visit, walk

from pipeline.config import MatcherConfig, TopologyConfig
from pipeline.errors import DecodeError
from pipeline.identity.constraints import Topology
from pipeline.identity.matcher import Matcher
from pipeline.types import CameraState, FramePointer, Tick

RED, BLUE, GREEN = COLOURS[:3]


def alone(config=CONFIG, **options):
    """A site of one camera."""
    return Site(make(config, ["door"], **options)), Camera("door")


# -- coming and going


def test_away_for_absence_s_is_a_reentry_and_less_is_not():
    for gap_s, kind in ((5.0, "reentered"), (4.9, "continued")):
        site, door = alone()
        site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(2.0))
        (event,) = [e for e in site.feed(*visit(door, 2, RED, 2.0 + gap_s, 9.0), door.tick(9.5)) if e.kind != "left"]
        assert (event.kind, event.identity_id, event.absent_s) == (kind, 1, pytest.approx(gap_s))
        assert event.previous_key.track_id == 1


def test_lost_in_mid_picture_is_an_occlusion_until_occlusion_s():
    for gap_s, kind in ((6.0, "continued"), (10.0, "reentered")):
        site, door = alone()
        site.feed(*visit(door, 1, RED, 0.0, 2.0, left=False), door.tick(2.0))
        (event,) = [e for e in site.feed(*visit(door, 2, RED, 2 + gap_s, 14.0), door.tick(14.5)) if e.kind != "left"]
        assert event.kind == kind


def test_left_is_told_in_an_empty_picture_and_only_once():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(2.0))
    assert site.feed(door.tick(7.4)) == []
    (left,) = site.feed(door.tick(8.0))
    assert (left.kind, left.at_s, left.decided_at_s) == ("left", 2.0, 7.8)
    assert site.feed(door.tick(60.0)) == []


def test_a_reentry_names_the_cameras_in_between():
    site = Site(make(cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(3.0), *visit(hall, 1, RED, 4.0, 6.0), hall.tick(7.0))
    site.feed(door.tick(9.9), *visit(door, 2, RED, 10.0, 12.0), door.tick(20.0), hall.tick(20.0))
    story = [(e.kind, e.key.camera_id, e.via) for e in site.events if e.kind != "left"]
    assert story == [("entered", "door", ()), ("handed_over", "hall", ("door",)), ("reentered", "door", ("hall",))]


# -- who it is


def test_a_clear_case_is_linked_at_once_and_a_doubtful_one_after_patience_s():
    for distance, decided_s in ((0.1, 10.6), (0.38, 12.0)):
        site, door = alone()
        site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(9.0))
        colour = near(RED, distance)
        site.feed(door.clip(2, colour, 10.0, 10.4), door.tick(11.0), door.tick(13.0))
        assert (site.events[-1].identity_id, site.events[-1].decided_at_s) == (1, decided_s)


def test_between_two_who_are_alike_margin_makes_it_wait():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), *visit(door, 2, near(RED, 0.5), 2.5, 4.0), door.tick(9.0))
    between = near(RED, 1 - 3**0.5 / 2)  # 30 degrees from one, 30 from the other
    site.feed(door.clip(3, between, 10.0, 10.4), door.tick(11.0))
    assert [e for e in site.events if e.key.track_id == 3] == []


def test_a_poor_track_that_ends_is_unknown_and_founds_no_identity():
    site, door = alone()
    site.feed(door.clip(1, RED, 0.0, 0.4, quality=0.05), door.tracklet(1, 0.0, 0.8), door.tick(5.0))
    assert told(site.events) == [("unknown", 0, "door", 1)]
    site.feed(*visit(door, 2, RED, 6.0, 8.0), door.tick(9.0))
    assert told(site.events)[-1] == ("entered", 1, "door", 2)


def test_two_at_once_are_assigned_together_for_the_least_total_distance():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), *visit(door, 2, BLUE, 0.0, 2.0), door.tick(9.0))
    a, b = near(RED, 0.05, towards=1), near(BLUE, 0.05, towards=0)
    site.feed(door.clip(3, b, 10.0, 10.4), door.clip(4, a, 10.0, 10.4), door.tick(14.0))
    who = {e.key.track_id: e.identity_id for e in site.events if e.kind != "left"}
    assert (who[3], who[4]) == (who[2], who[1])


def between(a, b, share):
    """Somebody who looks like two: so much of the way from one to the other."""
    angle = share * np.pi / 2
    return (np.cos(angle) * a + np.sin(angle) * b).astype(np.float16).astype(np.float32)


def test_who_is_the_only_likeness_of_somebody_gets_him_although_another_is_nearer():
    """Between 1 and 2 stands one who is nearer to 1; another one can be 1 only."""
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), *visit(door, 2, BLUE, 0.0, 2.0), door.tick(9.0))
    either, only = between(RED, BLUE, 0.48), near(RED, 0.3, towards=9)
    site.feed(door.clip(3, either, 10.0, 10.4), door.clip(4, only, 10.0, 10.4), door.tick(14.0))
    who = site.who()
    assert (who[door.key(3)], who[door.key(4)]) == (who[door.key(2)], who[door.key(1)])


def test_a_rival_who_can_be_nobody_known_takes_nothing_from_a_clear_case():
    site = Site(make(cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(*visit(door, 1, RED, 0.0, 2.0), hall.clip(1, BLUE, 0.0, 0.4), hall.clip(1, BLUE, 0.0, 1.4))
    site.feed(door.tick(9.0), hall.tick(9.0, 1), hall.tick(10.2, 1, 2))
    site.feed(hall.clip(2, GREEN, 10.0, 10.4), door.clip(2, RED, 10.0, 10.4), door.tick(10.8), hall.tick(10.8, 1, 2))
    assert told(site.events)[-1] == ("reentered", 2, "door", 2) and site.events[-1].decided_at_s == 10.6


def test_a_track_of_another_camera_competes_for_the_same_person():
    rules = (TopologyConfig(pair=("door", "hall"), overlap=False),)
    site = Site(make(cameras=["door", "hall"], topology=rules))
    door, hall = Camera("door"), Camera("hall")
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(9.0), hall.tick(9.0))
    site.feed(door.clip(2, near(RED, 0.3), 10.0, 10.4), hall.clip(1, near(RED, 0.2), 10.0, 10.4))
    site.feed(door.tick(14.0, 2), hall.tick(14.0, 1))
    assert site.who()[hall.key(1)] == 1 and site.who().get(door.key(2)) != 1


def test_the_nearer_one_of_two_at_once_is_waited_for_when_the_other_one_must_be_decided():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(9.0))
    nearer, farther = near(RED, 0.36, towards=7), near(RED, 0.38, towards=8)  # both so far that they are waited for
    site.feed(door.clip(2, farther, 10.0, 10.4), door.tick(11.0, 2), door.clip(3, nearer, 10.8, 11.2))
    site.feed(door.tick(15.0, 2, 3), door.clip(2, farther, 10.0, 15.4), door.tick(17.0, 2, 3))
    assert site.who() == {door.key(1): 1, door.key(3): 1, door.key(2): 2}


def test_two_tracks_that_may_be_one_person_do_not_take_him_from_each_other():
    """Red crosses the door's picture and is in the hall's before it is decided who crossed the door's."""
    site = Site(make(cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(*visit(hall, 1, BLUE, 0.0, 3.0), hall.tick(5.0), *visit(door, 1, RED, 0.0, 3.0), door.tick(5.0))
    red = near(RED, 0.37, towards=7), near(RED, 0.36, towards=8)  # so far that both are waited for
    site.feed(door.clip(2, red[0], 5.5, 5.9), door.tick(6.5, 2), hall.clip(2, red[1], 6.6, 7.0), hall.tick(7.1, 2))
    site.feed(
        door.tracklet(2, 5.5, 6.5, ended_s=7.1), door.tick(9.0), hall.clip(2, red[1], 6.6, 8.0), hall.tick(9.0, 2)
    )
    assert site.who()[door.key(2)] == site.who()[hall.key(2)] == site.who()[door.key(1)]


def test_nobody_known_is_new_after_two_clips_or_after_patience_s():
    for second_s, decided_s in ((1.4, 1.6), (None, 2.0)):
        site, door = alone()
        site.feed(door.clip(1, RED, 0.0, 0.4), *([door.clip(1, RED, 0.0, second_s)] if second_s else []))
        site.feed(door.tick(5.0, 1))
        assert [(e.kind, e.identity_id, e.decided_at_s) for e in site.events] == [("entered", 1, decided_s)]


def test_a_doubtful_track_that_stays_in_the_picture_is_decided_when_later_clips_tell():
    """It is near somebody who is in the picture himself: not new, not him; then he turns out to be somebody else."""
    site, door = alone()
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.clip(2, RED, 1.0, 1.4, quality=0.1))
    site.feed(door.tick(6.0, 1, 2))
    assert told(site.events) == [("entered", 1, "door", 1)]
    site.feed(*(door.clip(2, BLUE, 1.0, 6.4 + n) for n in range(4)), door.tick(10.0, 1, 2))
    assert told(site.events) == [("entered", 1, "door", 1), ("entered", 2, "door", 2)]


def test_who_is_near_somebody_given_to_another_is_unknown_not_new():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(9.0))
    twins = [door.clip(2, RED, 10.0, 10.4), door.clip(3, near(RED, 0.1), 10.0, 10.4)]
    site.feed(*twins, door.tracklet(2, 10.0, 10.5), door.tracklet(3, 10.0, 10.5), door.tick(16.0))
    kinds = {e.key.track_id: (e.kind, e.identity_id) for e in site.events if e.kind != "left"}
    assert kinds[2] == ("reentered", 1)
    assert kinds[3][1] != 1


def test_features_of_another_model_are_another_person():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(9.0))
    clips = [door.clip(2, RED[:8], 10.0, 10.4, model_id="other"), door.clip(2, RED[:8], 10.0, 11.4, model_id="other")]
    site.feed(*clips, door.tick(14.0))
    assert told(site.events)[-1] == ("entered", 2, "door", 2)
    assert "another model" in site.events[-1].evidence.excluded[0][1]


def test_evidence_says_what_was_near_and_what_was_excluded():
    site, door = alone()
    site.feed(
        *visit(door, 1, RED, 0.0, 2.0), door.clip(2, BLUE, 9.0, 9.4), door.clip(2, BLUE, 9.0, 10.4), door.tick(11.0)
    )
    site.feed(door.clip(3, near(RED, 0.1), 10.0, 11.4), door.clip(2, BLUE, 9.0, 11.9), door.tick(14.0))
    evidence = site.events[-1].evidence
    assert (evidence.distance, evidence.threshold) == (pytest.approx(0.1, abs=2e-3), 0.4)
    assert evidence.excluded == ((2, "in this camera at the same time"),)


# -- places

RULES = (
    TopologyConfig(from_camera="a", to_camera="b", transit_s=(2.0, 12.0)),
    TopologyConfig(pair=("b", "c"), overlap=False),
    TopologyConfig(pair=("c", "d"), overlap=True),
)


def test_what_is_not_declared_may_overlap_and_a_way_that_takes_time_may_not():
    topology = Topology(RULES)
    assert topology.may_overlap("a", "d") and topology.may_overlap("d", "c")
    assert not topology.may_overlap("b", "a") and not topology.may_overlap("c", "b")


def test_an_overlap_is_known_where_it_is_declared():
    topology = Topology(RULES)
    assert topology.overlaps("d", "c") is True
    assert topology.overlaps("b", "c") is False and topology.overlaps("a", "b") is False
    assert topology.overlaps("a", "d") is None


def test_cameras_that_do_not_overlap_exclude_who_is_in_the_other_one():
    for overlap, kind in ((False, "entered"), (True, "handed_over")):
        rules = (TopologyConfig(pair=("door", "hall"), overlap=overlap),)
        site = Site(make(cameras=["door", "hall"], topology=rules))
        door, hall = Camera("door"), Camera("hall")
        site.feed(*(door.clip(1, RED, 0.0, at_s) for at_s in (0.4, 1.4, 2.4, 3.4, 4.4)), door.tick(9.0))
        site.feed(hall.clip(1, RED, 2.0, 2.4), hall.clip(1, RED, 2.0, 3.4), hall.tick(9.0))
        assert site.events[-1].kind == kind


# -- forgetting and expiry

POINTER = FramePointer("host", "door", 0.4, "kept/door/a.jpg")


def test_somebody_in_the_picture_does_not_expire():
    site, door = alone(replace(CONFIG, identity_ttl_s=10.0))
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(200.0))
    site.feed(door.clip(1, RED, 0.0, 200.4), door.tick(201.0), door.tracklet(1, 0.0, 202.0), door.tick(203.0))
    assert told(site.events) == [("entered", 1, "door", 1)]


# -- faults


def test_what_comes_after_the_watermark_is_handled_at_once_and_marked():
    site = Site(make(cameras=["door", "hall"], live_cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(door.tick(1.0), hall.tick(1.0), door.tick(20.0))
    site.feed(hall.clip(1, RED, 5.0, 5.4), hall.clip(1, RED, 5.0, 6.4), hall.tick(7.0))
    assert site.matcher.late == 2 and list(site.pending) == ["3"]  # the tick ahead waits
    assert site.events[0].evidence.late and site.events[0].kind == "entered"


def test_an_offline_camera_ends_its_tracks_in_mid_picture_and_holds_nobody_up():
    site = Site(make(cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(hall.tick(0.0), door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0), hall.tick(2.0))
    site.feed(door.state(2.0, "offline"), hall.tick(30.0))
    assert [(e.kind, e.decided_at_s) for e in site.events] == [("entered", 1.6), ("left", 12.2)]  # 1.4 + 10 + 0.6


def test_a_state_with_another_grid_goes_on_at_the_same_moment():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(3.0))
    other = replace(CONFIG, decide_every_s=0.3)
    site.restart(lambda state: make(other, ["door"], state=state))
    site.feed(*visit(door, 2, RED, 10.0, 12.0), door.tick(13.0))
    assert told(site.events) == [("entered", 1, "door", 1), ("left", 1, "door", 1), ("reentered", 1, "door", 2)]


@pytest.mark.parametrize("name", ["meta", "identity:1", "track:door:1:2", "producer:door:1"])
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"x":1}', b"null", b"\xff\xfe", b'{"handled":"x","away":3,"key":[1]}']
)
def test_a_corrupt_state_is_a_decode_error(name, raw):
    site, door = alone()
    site.feed(
        *visit(door, 1, RED, 0.0, 2.0), door.clip(2, BLUE, 3.0, 3.4), door.clip(2, BLUE, 3.0, 4.4), door.tick(5.0)
    )
    assert name in site.stored
    with pytest.raises(DecodeError) as caught:
        make(cameras=["door"], state={**site.stored, name: raw})
    assert "\n" not in str(caught.value)


def test_a_track_of_an_identity_that_is_not_there_is_a_decode_error():
    site, door = alone()
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(3.0))
    with pytest.raises(DecodeError):
        make(cameras=["door"], state={k: v for k, v in site.stored.items() if k != "identity:1"})


def test_a_state_without_its_head_is_a_decode_error():
    with pytest.raises(DecodeError, match="meta"):
        make(state={"identity:1": b"{}"})


def test_nothing_in_gives_nothing_out():
    assert not make().advance()
    assert not make(MatcherConfig(), cameras=[]).advance()


def test_two_who_look_alike_in_one_picture_are_never_one_identity():
    site, door = alone()
    first = [door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4)]
    second = [door.clip(2, RED, 1.5, 1.9), door.tick(2.2), door.clip(1, RED, 0.0, 2.4), door.clip(2, RED, 1.5, 2.9)]
    site.feed(*first, *second, door.clip(1, RED, 0.0, 3.4), door.tick(8.0))
    assert told(site.events) == [("entered", 1, "door", 1), ("entered", 2, "door", 2)]


def test_who_was_lost_and_found_again_goes_on_although_the_old_track_has_not_ended():
    site, door = alone()
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.clip(2, RED, 2.5, 2.9))
    site.feed(door.tracklet(1, 0.0, 1.4, left_picture=False, ended_s=3.4), door.tick(6.0))
    assert told(site.events) == [("entered", 1, "door", 1), ("continued", 1, "door", 2)]


def test_a_late_message_after_every_camera_was_away_is_handled_once_and_ends() -> None:
    matcher = Matcher(MatcherConfig(), 0.4, ["a", "b"], live_cameras=["a", "b"])
    said = [
        Tick("a", "1", 1, 100.0),
        Tick("b", "1", 1, 100.0),
        CameraState("a", "1", 2, 101.0, "offline"),
        CameraState("b", "1", 2, 110.0, "offline"),
        CameraState("a", "2", 1, 105.0, "end"),  # earlier than what was handled when all were away
    ]
    done: list[str] = []
    for number, message in enumerate(said):
        matcher.receive(str(number), message)
        done += matcher.advance().done
    assert done == ["0", "1", "2", "3", "4"]


def test_a_poor_track_that_stays_does_not_keep_others_from_leaving():
    site, door = alone()
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.clip(2, BLUE, 1.0, 1.4, quality=0.05))
    for at_s in range(3, 40):
        site.feed(door.clip(2, BLUE, 1.0, at_s + 0.4, quality=0.05), door.tick(at_s + 0.5, 2))
    assert told(site.events) == [("entered", 1, "door", 1), ("left", 1, "door", 1)]


def test_a_good_track_that_is_undecided_keeps_who_it_may_be_from_leaving():
    site, door = alone(replace(CONFIG, patience_s=10.0))
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(6.0), door.clip(2, near(RED, 0.38), 6.5, 6.9))
    site.feed(door.tick(14.0, 2), door.clip(2, near(RED, 0.38), 6.5, 14.4), door.tick(16.9, 2))
    assert told(site.events) == [("entered", 1, "door", 1)], "it may be 1, who is not gone then"
    site.feed(door.tick(20.0, 2))
    assert told(site.events) == [("entered", 1, "door", 1), ("continued", 1, "door", 2)]


def ways_of_a_track_through(break_of):
    """One track of the door that is seen for 300 s; after 2 s something happens to its camera."""
    site = Site(make(cameras=["door", "hall"], live_cameras=["door", "hall"]))
    door, hall = Camera("door"), Camera("hall")
    site.feed(hall.tick(0.0), door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0), hall.tick(2.0))
    site.feed(*break_of(Camera), hall.tick(3.0))
    for at_s in range(3, 300, 3):
        site.feed(door.clip(1, RED, 0.0, at_s + 0.4), door.tick(at_s + 0.5, 1), hall.tick(at_s + 0.5))
    site.feed(door.tracklet(1, 0.0, 300.0), door.tick(310.0), hall.tick(310.0))
    return site


def test_a_track_goes_on_when_its_camera_was_said_to_be_offline_and_comes_back():
    site = ways_of_a_track_through(lambda camera: [camera("door", "supervisor").state(2.0, "offline")])
    assert [(e.kind, e.identity_id, e.at_s) for e in site.events] == [("entered", 1, 0.0), ("left", 1, 300.0)]


def test_a_message_of_an_old_epoch_that_comes_late_ends_no_track_of_the_new_one():
    site = ways_of_a_track_through(lambda camera: [camera("door", "0").clip(7, BLUE, 0.0, 1.0)])
    assert [(e.kind, e.at_s) for e in site.events if e.identity_id == 1] == [("entered", 0.0), ("left", 300.0)]


@pytest.mark.parametrize("idle_s", [4.0, 60.0])
def test_a_restart_after_ticks_that_do_not_tell_takes_nobody_for_visible(idle_s):
    """The camera stalls: its clock goes on, and nobody knows who is there."""
    for restart in (False, True):
        site, door = alone()
        site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1))
        site.feed(door.tick(2.0 + idle_s), door.tick(2.5 + idle_s))
        if restart:
            site.restart(lambda state: make(cameras=["door"], state=state))
        first_s = 1.0 + idle_s
        site.feed(door.clip(2, RED, first_s, first_s + 2), door.tick(first_s + 2.1, 2), door.tick(first_s + 5, 2))
        assert told(site.events) == [("entered", 1, "door", 1), ("continued", 1, "door", 2)]


def test_a_quiet_hour_with_somebody_in_the_picture_is_passed_over_in_a_few_steps(monkeypatch):
    site, door = alone(replace(CONFIG, identity_ttl_s=100.0))
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1))
    handled, handle = [], Matcher._handle_cell
    monkeypatch.setattr(Matcher, "_handle_cell", lambda self, cell: (handled.append(cell), handle(self, cell)))
    site.feed(door.tick(3600.0, 1))
    assert len(handled) < 150


def test_a_return_says_where_and_when_the_person_was_last_and_how_sure_it_is():
    tracks = [walk("door", 1, 0.0, 10.0, RED), walk("hall", 1, 15.0, 20.0, RED), walk("door", 2, 40.0, 50.0, RED)]
    site = play([*tracks, walk("hall", 2, 0.0, 50.0, BLUE)], 70.0)
    told = {e.key: e for e in site.events if e.kind in ("handed_over", "reentered")}
    over, back = told[tracks[1].key], told[tracks[2].key]
    assert (over.exit_camera_id, over.exit_at_s) == ("door", pytest.approx(10.0, abs=1.0))
    assert (back.exit_camera_id, back.exit_at_s) == ("door", pytest.approx(back.at_s - back.absent_s))
    assert back.via == ("hall",) and 0.9 < back.confidence <= 1.0
    (new,) = [e for e in site.events if e.kind == "entered" and e.identity_id == 2]
    assert new.exit_camera_id is None and new.exit_at_s is None
