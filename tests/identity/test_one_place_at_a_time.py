"""Exclusion: one person is in one place at a time, whatever they look like, and however long ago it was."""

from dataclasses import replace

import pytest
from identity_site import COLOURS, CONFIG, Camera, Site, make, near, play, told, twice_at_once, visit, walk
from room import path

from pipeline.config import TopologyConfig

RED, BLUE = COLOURS[:2]
APART = (TopologyConfig(pair=("door", "hall"), overlap=False),)
LATE_CAMERA = {"live_cameras": ("door", "hall")}


def ids(site, tracks):
    who = site.who()
    return [who.get(track.key) for track in tracks]


@pytest.mark.parametrize("tells", [1, 3, 0])
def test_twins_in_one_picture_are_two_people(tells):
    tracks = [walk("door", 1, 0.0, 20.0, RED), walk("door", 2, 3.0, 18.0, RED), walk("door", 3, 9.0, 12.0, RED)]
    site = play(tracks, 40.0, cameras=["door"], tells=tells)
    found = [i for i in ids(site, tracks) if i is not None]
    assert len(set(found)) == len(found) >= 2


def test_twins_in_one_picture_are_two_people_when_one_of_them_comes_back():
    tracks = [
        walk("door", 1, 0.0, 10.0, RED),
        walk("door", 2, 2.0, 8.0, near(RED, 0.05)),
        walk("door", 3, 20.0, 30.0, near(RED, 0.05)),
        walk("door", 4, 22.0, 28.0, RED),
    ]
    site = play(tracks, 60.0, cameras=["door"])
    assert not twice_at_once(tracks, site.who())
    assert set(ids(site, tracks)) == {1, 2}


@pytest.mark.parametrize(
    "rules", [APART, (TopologyConfig(from_camera="door", to_camera="hall", transit_s=(2.0, 30.0)),)]
)
def test_two_at_once_in_cameras_that_do_not_overlap_are_two_people(rules):
    tracks = [walk("door", 1, 0.0, 10.0, RED), walk("hall", 1, 3.0, 8.0, RED)]
    site = play(tracks, 40.0, topology=rules)
    assert ids(site, tracks) == [1, 2]
    (event,) = [e for e in site.events if e.kind == "entered" and e.identity_id == 2]
    assert event.evidence.excluded == ((1, "in door at the same time"),)


def test_two_at_once_in_cameras_that_may_overlap_are_one_person():
    tracks = [walk("door", 1, 0.0, 10.0, RED), walk("hall", 1, 3.0, 8.0, RED)]
    assert ids(play(tracks, 40.0), tracks) == [1, 1]
    declared = play(tracks, 40.0, topology=[TopologyConfig(pair=("door", "hall"), overlap=True)])
    assert ids(declared, tracks) == [1, 1]


@pytest.mark.parametrize(("late_camera", "rules"), [("door", ()), ("hall", APART)])
def test_a_track_that_is_long_over_still_excludes(late_camera, rules):
    """A camera that was cut off sends what it saw minutes ago, when the other tracks of that time are folded away."""
    cameras = ("door", "hall")
    site = Site(make(replace(CONFIG, revise_s=20.0), cameras, topology=rules, **LATE_CAMERA))
    door, hall = Camera("door"), Camera("hall")
    site.feed(door.tick(0.0), hall.tick(0.0), *visit(door, 1, RED, 1.0, 9.0), door.tick(60.0), hall.tick(60.0))
    site.feed(door.tick(61.0), hall.tick(61.0))
    assert "track:door:1:1" not in site.stored, "it is folded"
    late = Camera(late_camera, "2")
    site.feed(*visit(late, 7, RED, 3.0, 6.0), door.tick(70.0), hall.tick(70.0))
    assert site.who()[late.key(7)] == 2
    reason = "in this camera at the same time" if late_camera == "door" else "in door at the same time"
    (event,) = [e for e in site.events if e.kind == "entered" and e.identity_id == 2]
    assert event.evidence.excluded == ((1, reason),) and event.evidence.late


def test_a_lost_track_that_comes_back_beside_its_successor_is_settled_in_the_same_cell():
    # red is lost behind a pillar; somebody alike comes and is taken for red; then red steps out again
    tracks = [
        walk("door", 1, 0.0, 20.0, RED, hidden=((5.2, 6.9),)),
        walk("door", 2, 5.5, 20.0, near(RED, 0.1)),
    ]
    site = play(tracks, 60.0, cameras=["door"])
    assert told(site.events)[:2] == [("entered", 1, "door", 1), ("continued", 1, "door", 2)]
    (event,) = [e for e in site.events if e.kind in ("split", "reassigned")]
    assert event.decided_at_s == pytest.approx(7.2), "the first tick that sees both is that of 7.0 s"
    assert event.key.track_id == 2 and event.other_identity_id == 1
    assert not twice_at_once(tracks, site.who())


def test_whoever_is_less_like_the_person_goes_when_two_turn_out_to_be_seen_at_once():
    # the door's first track of red is one who looks a little like red; the red one comes when it is out of sight
    tracks = [
        walk("hall", 1, 0.0, 8.0, RED),
        walk("door", 1, 20.0, 60.0, near(RED, 0.3), hidden=((24.2, 32.0),)),
        walk("door", 2, 25.0, 60.0, RED),
    ]
    site = play(tracks, 100.0)
    assert ids(site, tracks)[0] == ids(site, tracks)[2] == 1
    assert ids(site, tracks)[1] not in (1, None)


def test_without_ticks_that_tell_the_last_clip_is_waited_for():
    site = Site(make(cameras=["door"]))
    door = Camera("door")
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0))
    site.feed(door.clip(2, RED, 1.6, 2.0), door.tick(2.4))
    assert told(site.events) == [("entered", 1, "door", 1)], "the first one may well be in the picture still"


def test_with_ticks_that_tell_who_is_gone_is_followed_at_once():
    site = Site(make(cameras=["door"]))
    door = Camera("door")
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(1.5, 1), door.tick(1.7, tells=True))
    site.feed(door.clip(2, RED, 1.6, 2.0), door.tick(2.1, 2), door.tick(2.3, 2))
    assert told(site.events) == [("entered", 1, "door", 1), ("continued", 1, "door", 2)]


def test_two_tracks_that_touch_for_half_a_frame_may_be_one_person():
    for overlap_s, expected in ((0.04, [1, 1]), (0.2, [1, 2])):
        tracks = [walk("door", 1, 0.0, 5.0, RED, left=False), walk("door", 2, 5.0 - overlap_s, 12.0, RED)]
        assert ids(play(tracks, 40.0, cameras=["door"], tells=0), tracks) == expected


@pytest.mark.parametrize("stays_s", [15.0, 90.0])
@pytest.mark.parametrize("apart_m", [0.0, 1.5])
def test_one_person_whom_the_tracker_follows_under_two_numbers_for_a_moment_is_one(stays_s, apart_m):
    """The new track begins where the old one is about to end: 0.3 s of both, one box in another's place."""
    tracks = [
        walk("door", 1, 0.0, 5.3, RED, left=False, boxes=path("door", (0.0, 6.0))),
        walk("door", 2, 5.0, 5.0 + stays_s, RED, boxes=path("door", (apart_m, 6.0))),
    ]
    site = play(tracks, 130.0, replace(CONFIG, revise_s=20.0), cameras=["door"])
    assert ids(site, tracks) == ([1, 1] if apart_m == 0.0 else [1, 2])
    assert all(e.decided_at_s < 10.0 for e in site.events if e.kind != "left"), "and that is not doubted any more"


def test_people_of_a_camera_that_was_cut_off_are_not_in_the_picture_any_more():
    site = Site(make(cameras=["door"]))
    door, again = Camera("door"), Camera("door", "2")
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1))
    site.feed(again.clip(1, RED, 2.5, 2.9), again.tick(3.0, 1), again.clip(1, RED, 2.5, 3.9), again.tick(5.0, 1))
    assert told(site.events) == [("entered", 1, "door", 1), ("continued", 1, "door", 1)]


def test_features_of_another_model_exclude_whoever_it_is():
    tracks = [
        walk("door", 1, 0.0, 4.0, RED),
        walk("door", 2, 20.0, 24.0, RED[:8], about={"model_id": "other"}),
        walk("door", 3, 40.0, 44.0, RED[:8], about={"model_id": "other"}),
    ]
    assert ids(play(tracks, 60.0, cameras=["door"]), tracks) == [1, 2, 2]
    assert ids(play([*tracks, walk("door", 4, 50.0, 54.0, BLUE)], 70.0, cameras=["door"]), tracks) == [1, 2, 2]


@pytest.mark.parametrize("when", ["never", "while it is seen", "when it is out of sight"])
def test_a_restart_does_not_forget_until_when_somebody_was_seen(when):
    """Clips of it came at the beginning only; ticks say that it was there until 8 s."""
    site = Site(make(cameras=["door"]))
    door = Camera("door")
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(4.0, 1), door.tick(8.0, 1))
    moments = {"while it is seen": door.tick(8.4, 1), "when it is out of sight": door.tick(9.0, tells=True)}
    for moment, tick in moments.items():
        site.feed(tick)
        if when == moment:
            site.feed(door.tick(tick.at_s + 0.3, *tick.visible, tells=True))
            site.restart(lambda state: make(cameras=["door"], state=state))
    site.feed(door.clip(2, RED, 6.0, 9.4), door.clip(2, RED, 6.0, 10.4), door.tick(12.0, 2))
    assert told(site.events)[:2] == [("entered", 1, "door", 1), ("entered", 2, "door", 2)]


def test_a_crowd_of_people_dressed_alike_is_as_many_people():
    """More than the matcher weighs one by one: who is beyond those is not taken for free either."""
    tracks = [walk("door", i, 0.5 * i, 60.0, near(RED, 0.01 + 0.001 * i)) for i in range(1, 41)]
    found = [i for i in ids(play(tracks, 90.0, cameras=["door"]), tracks) if i is not None]
    assert len(set(found)) == len(found) >= 35
