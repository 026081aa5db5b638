"""What is kept for how long: features, tracks that are over, identities; by time and by count."""

import json
from dataclasses import replace

import numpy as np
import pytest
from identity_site import COLOURS, CONFIG, Camera, Site, make, near, play, told, visit, walk

from pipeline.identity.state import load
from pipeline.types import TrackKey

RED, BLUE, GREEN, GREY = COLOURS[:4]
FOLDS_EARLY = replace(CONFIG, revise_s=20.0)


def alone(config=CONFIG, **options):
    return Site(make(config, ["door"], **options)), Camera("door")


def identities(site):
    return sorted(int(name.partition(":")[2]) for name in site.stored if name.startswith("identity:"))


def times_of(site, name):
    features = load(name, site.stored[name]).features
    return [] if features is None else features.at_s.tolist()


# -- by time


def test_an_identity_expires_when_nobody_saw_it_for_identity_ttl_s():
    site, door = alone(replace(CONFIG, identity_ttl_s=100.0), features_s=1000.0)
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(90.0))
    assert identities(site) == [1]
    site.feed(door.tick(200.0))
    assert identities(site) == [] and not any(name.startswith(("track:", "archive:")) for name in site.stored)
    site.feed(*visit(door, 2, RED, 201.0, 203.0), door.tick(205.0))
    assert told(site.events)[-1] == ("entered", 2, "door", 2)


def test_who_comes_back_in_time_starts_the_time_anew():
    site, door = alone(replace(CONFIG, identity_ttl_s=100.0), features_s=1000.0)
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(80.0), *visit(door, 2, RED, 90.0, 95.0), door.tick(170.0))
    site.feed(*visit(door, 3, RED, 180.0, 182.0), door.tick(190.0))
    assert ("reentered", 1, "door", 3) in told(site.events) and identities(site) == [1]


@pytest.mark.parametrize("restart", [False, True])
def test_somebody_in_the_picture_does_not_expire(restart):
    config = replace(CONFIG, identity_ttl_s=10.0)
    site, door = alone(config)
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1), door.tick(200.0, 1))
    if restart:
        site.restart(lambda state: make(config, ["door"], state=state))
    site.feed(door.clip(1, RED, 0.0, 200.4), door.tick(201.0, 1), door.tracklet(1, 0.0, 202.0), door.tick(203.0))
    assert told(site.events) == [("entered", 1, "door", 1)]


def test_features_of_somebody_who_stays_expire_one_by_one():
    site, door = alone(features_s=100.0)
    site.feed(door.clip(1, RED, 0.0, 0.4), door.tick(50.0, 1), door.clip(1, near(RED, 0.2), 0.0, 60.4))
    site.feed(door.tick(90.0, 1), door.clip(1, RED, 0.0, 121.4), door.tick(125.0, 1))
    assert times_of(site, "track:door:1:1") == [60.4, 121.4]
    site.feed(door.tick(185.0, 1))
    assert times_of(site, "track:door:1:1") == [121.4]


def test_features_of_tracks_that_are_over_expire_too():
    site, door = alone(replace(FOLDS_EARLY, identity_ttl_s=1e6), features_s=100.0)
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(60.0))
    assert times_of(site, "archive:1") == [0.4, 2.0]
    site.feed(*visit(door, 2, near(RED, 0.1), 70.0, 72.0), door.tick(115.0))
    site.feed(door.tick(125.0))
    assert times_of(site, "archive:1") == [70.4, 72.0] and identities(site) == [1]
    site.feed(door.tick(400.0))
    assert identities(site) == [] and "archive:1" not in site.stored, "whom nobody could recognise is no identity"


def test_expiry_and_restarts_do_not_disturb_each_other():
    tracks = [walk("door", n, 40.0 * n, 40.0 * n + 5, COLOURS[n % 3]) for n in range(1, 9)]
    config = replace(CONFIG, identity_ttl_s=90.0, revise_s=10.0)
    plain, restarted = (play(tracks, 600.0, config, ["door"], every, features_s=80.0) for every in (None, 5))
    assert restarted.events == plain.events and len(plain.events) == 16
    assert restarted.stored == plain.stored and identities(plain) == []


# -- by count


def test_beyond_max_identities_whoever_was_seen_longest_ago_goes():
    site, door = alone(replace(CONFIG, max_identities=2))
    for number, colour in enumerate((RED, BLUE, GREEN), start=1):
        site.feed(*visit(door, number, colour, 20.0 * number, 20.0 * number + 4), door.tick(20.0 * number + 15))
    assert identities(site) == [2, 3]
    assert not any(name in site.stored for name in ("track:door:1:1", "archive:1"))
    site.feed(*visit(door, 4, RED, 90.0, 94.0), door.tick(110.0))
    assert told(site.events)[-2] == ("entered", 4, "door", 4), (
        "nobody knows red any more; the number is not given again"
    )


def test_of_many_a_hundredth_goes_at_once():
    """To look through all for every newcomer would cost most of the time."""
    site, door = alone(replace(CONFIG, max_identities=200))
    rng = np.random.default_rng(0)
    for number, colour in enumerate(rng.normal(size=(201, 64)), start=1):
        unit = (colour / np.linalg.norm(colour)).astype(np.float32)
        site.feed(*visit(door, number, unit, 6.0 * number, 6.0 * number + 2), door.tick(6.0 * number + 4))
    assert identities(site) == list(range(4, 202))  # one too many, and two more


def test_somebody_in_the_picture_is_not_dropped_for_people_who_are_gone():
    site, door = alone(replace(CONFIG, max_identities=2))
    site.feed(door.clip(1, RED, 0.0, 0.4), door.clip(1, RED, 0.0, 1.4), door.tick(2.0, 1))
    for number, colour in enumerate((BLUE, GREEN, GREY), start=2):
        first_s = 20.0 * number
        site.feed(*visit(door, number, colour, first_s, first_s + 4), door.tick(first_s + 15, 1))
    assert identities(site) == [1, 4]
    site.feed(door.tracklet(1, 0.0, 120.0), door.tick(126.0))
    assert told(site.events)[-1] == ("left", 1, "door", 1)


def test_when_all_are_in_the_picture_the_number_is_kept_all_the_same():
    site, door = alone(replace(CONFIG, max_identities=2))
    for number, colour in enumerate((RED, BLUE, GREEN), start=1):
        site.feed(door.clip(number, colour, number, number + 0.4), door.clip(number, colour, number, number + 1.4))
    site.feed(door.tick(6.0, 1, 2, 3))
    assert len(identities(site)) == 2
    site.feed(door.clip(1, RED, 1.0, 6.4), door.clip(2, BLUE, 2.0, 6.4), door.clip(3, GREEN, 3.0, 6.4), door.tick(9.0))
    assert len(identities(site)) == 2


# -- folding


def test_a_track_that_is_over_is_known_by_itself_for_revise_s_and_folded_then():
    site, door = alone(FOLDS_EARLY)
    site.feed(*visit(door, 1, RED, 0.0, 2.0), door.tick(21.8))
    assert "track:door:1:1" in site.stored and "archive:1" not in site.stored
    site.feed(door.tick(22.4))
    assert "track:door:1:1" not in site.stored
    identity = json.loads(site.stored["identity:1"])
    assert identity["past"] == {"door": [2.0, ["door", "1", 1], True]} and identity["spans"] == {"door": [[0.0, 2.0]]}
    assert times_of(site, "archive:1") == [0.4, 2.0]


def test_a_folded_visit_still_tells_reentries_and_where_somebody_came_from():
    tracks = [walk("door", 1, 0.0, 4.0, RED), walk("hall", 1, 60.0, 64.0, RED), walk("door", 2, 130.0, 134.0, RED)]
    site = play(tracks, 200.0, FOLDS_EARLY)
    entered, handed, back = (e for e in site.events if e.kind != "left")
    assert (entered.kind, handed.kind, handed.via) == ("entered", "handed_over", ("door",))
    assert (back.kind, back.absent_s, back.via) == ("reentered", 126.0, ("hall",))
    assert back.previous_key == tracks[0].key
    assert [(e.key.camera_id, e.at_s) for e in site.events if e.kind == "left"] == [
        ("door", 4.0),
        ("hall", 64.0),
        ("door", 134.0),
    ]


def test_a_link_can_be_corrected_until_the_track_is_folded_and_not_after():
    """A poor likeness is linked to red in the hall; while it was there, late clips show, red was there itself."""
    for delay_s, corrected in ((10.0, True), (60.0, False)):
        site = Site(make(FOLDS_EARLY, ["door", "hall"], live_cameras=["door", "hall"]))
        door, hall = Camera("door"), Camera("hall")
        site.feed(door.tick(0.0), hall.tick(0.0), *visit(door, 1, RED, 0.0, 4.0), door.tick(10.0), hall.tick(10.0))
        site.feed(*visit(hall, 1, near(RED, 0.3), 20.0, 22.0), door.tick(24.0), hall.tick(24.0))
        site.feed(door.tick(24.0 + delay_s), hall.tick(24.0 + delay_s))
        site.feed(*(hall.clip(2, RED, 20.5, 20.9 + n) for n in range(9)), hall.tracklet(2, 20.5, 30.0))
        site.feed(door.tick(200.0), hall.tick(200.0))
        who = site.who()
        first, second = who[hall.key(1)], who[hall.key(2)]
        assert (second == 1 and first != 1) if corrected else (first == 1 and second != 1)


def test_a_fold_keeps_the_features_that_differ():
    site, door = alone(replace(FOLDS_EARLY, features_per_identity=3))
    for number in range(1, 6):
        colour = near(RED, 0.05 * number, towards=number)
        site.feed(*visit(door, number, colour, 30.0 * number, 30.0 * number + 2), door.tick(30.0 * number + 28))
    assert identities(site) == [1] and len(times_of(site, "archive:1")) == 3


def test_spans_that_an_identity_remembers_are_bounded():
    site, door = alone(replace(FOLDS_EARLY, revise_s=5.0))
    for number in range(1, 81):
        first_s = 12.0 * number
        site.feed(*visit(door, number, RED, first_s, first_s + 2), door.tick(first_s + 11))
    spans = json.loads(site.stored["identity:1"])["spans"]["door"]
    assert len(spans) == 64 and spans[-1][1] > 940
    assert sum(name.startswith("track:") for name in site.stored) <= 2
    assert site.who()[TrackKey("door", "1", 80)] == 1
