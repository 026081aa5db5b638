"""What calibrations, topology and learned ways say beside looks: who is linked by place, and who cannot be one."""

import json
from dataclasses import replace

import pytest
from identity_site import COLOURS, CONFIG, near, play, walk
from room import GROUNDS, path

from pipeline.config import TopologyConfig

RED, BLUE = COLOURS[:2]


def both_at_once(door_at, hall_at, look, velocity=(0.1, 0.1), config=CONFIG, grounds=GROUNDS, **options):
    """Red at the door, and somebody who looks like that in the hall a little later, each at a place."""
    tracks = [
        walk("door", 1, 0.0, 12.0, RED, boxes=path("door", door_at, velocity)),
        walk("hall", 1, 3.0, 12.0, look, boxes=path("hall", hall_at, velocity)),
    ]
    return play(tracks, 30.0, config, grounds=grounds, **options)


# -- calibrated cameras


def test_same_place_at_the_same_time_links_who_looks_too_different():
    look = near(RED, 0.5)
    site = both_at_once((0.0, 5.0), (0.0, 5.0), look)
    assert set(site.who().values()) == {1}
    (event,) = [e for e in site.events if e.kind in ("handed_over", "merged")]
    assert event.evidence.distance == pytest.approx(0.5, abs=0.01) and event.evidence.cost < 0.4
    assert event.evidence.place_m < 0.5 and "place" in event.evidence.basis
    assert set(both_at_once((0.0, 5.0), (0.0, 5.0), look, grounds={}).who().values()) == {1, 2}


def test_the_same_place_does_not_make_one_of_two_who_look_entirely_different():
    assert set(both_at_once((0.0, 5.0), (0.0, 5.0), BLUE).who().values()) == {1, 2}


def test_far_apart_at_the_same_time_are_two_however_alike():
    site = both_at_once((-1.0, 4.5), (1.2, 7.5), RED)
    assert set(site.who().values()) == {1, 2}
    last = [e for e in site.events if e.key and e.key.camera_id == "hall" and e.kind != "left"][-1]
    assert (1, "elsewhere on the ground at the same time") in last.evidence.excluded
    assert set(both_at_once((-1.0, 4.5), (1.2, 7.5), RED, grounds={}).who().values()) == {1}


def test_of_two_who_look_alike_the_one_who_stands_there_is_the_one():
    tracks = [
        walk("door", 1, 0.0, 14.0, RED, boxes=path("door", (-1.0, 5.0))),
        walk("door", 2, 0.2, 14.0, near(RED, 0.04), boxes=path("door", (1.2, 7.0))),
        walk("hall", 1, 3.0, 14.0, RED, boxes=path("hall", (1.2, 7.0))),
        walk("hall", 2, 3.2, 14.0, near(RED, 0.04), boxes=path("hall", (-1.0, 5.0))),
    ]
    who = play(tracks, 40.0, grounds=GROUNDS).who()
    first, second, third, fourth = (who[track.key] for track in tracks)
    assert (third, fourth) == (second, first) and first != second


def test_places_survive_a_restart():
    look = near(RED, 0.5)
    plain, restarted = (both_at_once((0.0, 5.0), (0.0, 5.0), look, restart_every=every) for every in (None, 2))
    assert restarted.events == plain.events and restarted.stored == plain.stored


def test_pictures_of_another_shape_than_was_calibrated_are_compared_by_looks():
    grounds = {camera_id: replace(ground, size_px=(1000, 1000)) for camera_id, ground in GROUNDS.items()}
    site = both_at_once((0.0, 5.0), (0.0, 5.0), near(RED, 0.5), grounds=grounds)
    assert set(site.who().values()) == {1, 2}


# -- going on from where one was


def test_who_goes_on_from_where_somebody_was_lost_is_that_one_of_two_who_look_alike():
    tracks = [
        walk("door", 1, 0.0, 6.0, RED, boxes=path("door", (-1.0, 5.0)), left=False),
        walk("door", 2, 0.0, 6.1, near(RED, 0.03), boxes=path("door", (1.5, 6.0)), left=False),
        walk("door", 3, 7.0, 14.0, near(RED, 0.015), boxes=path("door", (1.5, 6.0))),
    ]
    site = play(tracks, 40.0, cameras=["door"])
    who = site.who()
    assert who[tracks[2].key] == who[tracks[1].key] != who[tracks[0].key]
    (event,) = [e for e in site.events if e.key == tracks[2].key and e.kind != "left"]
    assert event.kind == "continued" and "motion" in event.evidence.basis


# -- declared


def test_a_declared_overlap_links_who_looks_a_little_too_different():
    rules = (TopologyConfig(pair=("door", "hall"), overlap=True),)
    tracks = [walk("door", 1, 0.0, 12.0, RED), walk("hall", 1, 3.0, 12.0, near(RED, 0.45))]
    site = play(tracks, 30.0, topology=rules)
    assert set(site.who().values()) == {1}
    (event,) = [e for e in site.events if e.kind == "handed_over"]
    assert event.evidence.cost < event.evidence.distance and "transit" in event.evidence.basis
    assert set(play(tracks, 30.0).who().values()) == {1, 2}


def test_a_way_within_its_declared_time_is_plausible_and_others_are_not_ruled_out():
    rules = (TopologyConfig(from_camera="door", to_camera="hall", transit_s=(2.0, 12.0)),)
    for first_s, plausible in ((12.0, True), (80.0, False)):
        for distance, linked in ((0.1, True), (0.35, plausible)):
            tracks = [walk("door", 1, 0.0, 4.0, RED), walk("hall", 1, first_s, first_s + 8, near(RED, distance))]
            site = play(tracks, first_s + 20, topology=rules)
            assert (set(site.who().values()) == {1}) is linked, (first_s, distance)
            (event,) = [e for e in site.events if e.key == tracks[1].key and e.kind in ("handed_over", "entered")]
            if linked:
                assert event.evidence.transit_prior == pytest.approx(1.0 if plausible else 0.05)


# -- learned


def seen_by_both(number, look_here, look_there, first_s):
    return [
        walk("door", number, first_s, first_s + 10, look_here),
        walk("hall", number, first_s + 1.0, first_s + 9, look_there),
    ]


def test_an_overlap_that_one_sure_link_showed_helps_the_next_one():
    sure, doubtful = seen_by_both(1, RED, RED, 0.0), seen_by_both(2, BLUE, near(BLUE, 0.43), 40.0)
    who = play([*sure, *doubtful], 70.0).who()
    assert who[doubtful[0].key] == who[doubtful[1].key] == 2
    alone = play(doubtful, 70.0).who()
    assert alone[doubtful[0].key] != alone[doubtful[1].key]


def test_a_glimpse_is_no_sure_link():
    glimpse = [walk("door", 1, 0.0, 3.0, RED), walk("hall", 1, 1.0, 3.0, RED)]
    doubtful = seen_by_both(2, BLUE, near(BLUE, 0.43), 40.0)
    who = play([*glimpse, *doubtful], 70.0).who()
    assert who[glimpse[0].key] == who[glimpse[1].key] and who[doubtful[0].key] != who[doubtful[1].key]


def test_what_was_learned_is_stored_and_used_after_a_restart():
    sure, doubtful = seen_by_both(1, RED, RED, 0.0), seen_by_both(2, BLUE, near(BLUE, 0.43), 40.0)
    plain, restarted = (play([*sure, *doubtful], 70.0, restart_every=every) for every in (None, 3))
    assert any(name.startswith("way:") for name in plain.stored)
    assert restarted.events == plain.events and restarted.stored == plain.stored


def test_where_no_overlap_is_declared_none_is_learned_from_being_there_at_once():
    rules = (TopologyConfig(pair=("door", "hall"), overlap=False),)
    sure, doubtful = seen_by_both(1, RED, RED, 0.0), seen_by_both(2, BLUE, BLUE, 40.0)
    assert len(set(play([*sure, *doubtful], 70.0, topology=rules).who().values())) == 4


def test_times_that_people_take_are_learned_from_sure_links():
    tracks = []
    for n in range(1, 15):
        start_s = 60.0 * n
        tracks += [
            walk("door", n, start_s, start_s + 8, COLOURS[n]),
            walk("hall", n, start_s + 16, start_s + 24, COLOURS[n]),
        ]
    site = play(tracks, 900.0)
    learned = json.loads(site.stored["way:door:hall"])
    assert sum(learned["links"].values()) == pytest.approx(14, abs=1)
    prior = site.matcher._memory.transits.prior
    assert prior("door", "hall", 8.0) > 0.9 > 0.8 > prior("door", "hall", 500.0)
    assert prior("hall", "door", 100.0) == 1.0, "of the way back nothing is known"
