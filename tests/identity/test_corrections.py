"""Second thoughts: links that later clips and later tracks show to be wrong, and what is said about it."""

import numpy as np
import pytest
from identity_site import COLOURS, CONFIG, near, play, told, twice_at_once, walk

from pipeline.bus.lines import event_to_json
from pipeline.types import TrackKey

RED, BLUE, GREEN, GREY = COLOURS[:4]
CORRECTIONS = ("merged", "split", "reassigned")


def corrections(site):
    return [e for e in site.events if e.kind in CORRECTIONS]


def key(camera_id, track_id):
    return TrackKey(camera_id, "1", track_id)


def lefts(site):
    return [(e.identity_id, e.key.camera_id, e.at_s) for e in site.events if e.kind == "left"]


def turned(degrees):
    """Somebody who looks between red and blue."""
    angle = np.deg2rad(degrees)
    return (np.cos(angle) * RED + np.sin(angle) * BLUE).astype(np.float16).astype(np.float32)


# -- stories: the tracks, and when they end

TAKEN_FOR_ANOTHER = (  # in the hall it is blue, who looked like red at first
    [
        walk("door", 1, 0.0, 4.0, RED),
        walk("door", 2, 10.0, 14.0, BLUE),
        walk("hall", 1, 20.0, 30.0, near(RED, 0.1), BLUE),
    ],
    60.0,
)
TAKEN_FOR_KNOWN = (  # in the hall is somebody new, who looked like red at first
    [walk("door", 1, 0.0, 4.0, RED), walk("hall", 1, 20.0, 30.0, near(RED, 0.34), near(RED, 0.34), GREEN)],
    60.0,
)
TAKEN_FOR_NEW = (  # red was not recognised at first
    [walk("door", 1, 0.0, 4.0, RED), walk("hall", 1, 20.0, 30.0, GREEN, GREEN, RED)],
    60.0,
)
SHORT_AND_LONG = (  # a glimpse of somebody like red keeps red out
    [
        walk("door", 1, 0.0, 4.0, RED),
        walk("hall", 1, 20.0, 22.0, near(RED, 0.3, towards=14)),
        walk("hall", 2, 20.9, 34.0, near(RED, 0.02)),
    ],
    60.0,
)
TWO_IN_ONE = (  # a look between red and blue made one of two
    [
        walk("door", 1, 0.0, 2.0, turned(50)),
        walk("door", 2, 10.0, 15.0, turned(0)),
        walk("door", 3, 20.0, 25.0, turned(100)),
        walk("door", 4, 30.0, 35.0, turned(0)),
        walk("door", 5, 40.0, 45.0, turned(100)),
    ],
    80.0,
)
TWO_WANT_ONE = (  # the one in the hall is like either of two at the door, who cannot both be that one
    [
        walk("hall", 1, 0.5, 8.0, turned(37), left=False),
        walk("door", 1, 4.75, 12.25, turned(0)),
        walk("door", 2, 7.5, 9.0, turned(37)),
    ],
    40.0,
)
STORIES = {
    "two want one": TWO_WANT_ONE,
    "taken for another": TAKEN_FOR_ANOTHER,
    "taken for known": TAKEN_FOR_KNOWN,
    "taken for new": TAKEN_FOR_NEW,
    "short and long": SHORT_AND_LONG,
    "two in one": TWO_IN_ONE,
}


def test_who_turns_out_to_be_somebody_else_known_is_reassigned():
    site = play(*TAKEN_FOR_ANOTHER)
    (event,) = corrections(site)
    assert told([event]) == [("reassigned", 2, "hall", 1)] and event.other_identity_id == 1
    assert ("handed_over", 1, "hall", 1) in told(site.events)
    assert event.by == "matcher" and event.decided_at_s <= 24.0
    assert list(site.who().values()) == [1, 2, 2]


def test_a_correction_says_why():
    (event,) = corrections(play(*TAKEN_FOR_ANOTHER))
    evidence = event.evidence
    assert evidence.distance == pytest.approx(0.0, abs=0.01) and evidence.threshold == 0.4
    assert evidence.runner_up[0] == 1 and evidence.runner_up[1] > evidence.cost + CONFIG.margin
    assert evidence.clips >= 2 and "appearance" in evidence.basis
    assert event.at_s == 20.0 and event.via == ("door",) and event.previous_key is None


def test_who_turns_out_to_be_nobody_known_is_split_off():
    site = play(*TAKEN_FOR_KNOWN)
    (event,) = corrections(site)
    assert told([event]) == [("split", 2, "hall", 1)] and event.other_identity_id == 1
    assert list(site.who().values()) == [1, 2]


def test_two_who_turn_out_to_be_one_are_merged_into_the_older_id():
    site = play(*TAKEN_FOR_NEW)
    (event,) = corrections(site)
    assert (event.kind, event.identity_id, event.other_identity_id, event.key) == ("merged", 2, 1, None)
    assert event.at_s == 20.0, "since when there was the one that is gone"
    assert set(site.who().values()) == {1}
    assert event.evidence.distance <= 0.4


def test_the_older_id_lives_on_whichever_of_the_two_is_looked_at():
    tracks = [walk("door", 1, 0.0, 12.0, GREEN, GREEN, GREEN, GREEN, RED), walk("hall", 1, 1.0, 3.0, RED)]
    site = play(tracks, 40.0)
    (event,) = corrections(site)
    assert (event.kind, event.identity_id, event.other_identity_id) == ("merged", 2, 1)


def test_a_short_track_that_was_wrong_gives_way_to_a_long_one_that_is_right():
    tracks, until_s = SHORT_AND_LONG
    site = play(tracks, until_s)
    who = site.who()
    assert ("handed_over", 1, "hall", 1) in told(site.events)
    assert who[tracks[2].key] == who[tracks[0].key] == 1
    assert who[tracks[1].key] not in (1, None)
    assert not twice_at_once(tracks, who)


def test_an_identity_of_two_people_is_split_in_two():
    tracks, until_s = TWO_IN_ONE
    site = play(tracks, until_s)
    first = {e.key.track_id: e.identity_id for e in site.events if e.kind in ("entered", "reentered", "continued")}
    assert set(first.values()) == {1}
    assert [(e.kind, e.identity_id, e.other_identity_id) for e in corrections(site)] == [("split", 2, 1)] * 2
    who = site.who()
    _, *red_and_blue = (who[track.key] for track in tracks)
    assert red_and_blue in ([1, 2, 1, 2], [2, 1, 2, 1])


def test_two_clear_people_are_not_split_by_one_bad_clip():
    looks = [RED] * 4 + [GREEN] + [RED]
    site = play([walk("door", 1, 0.0, 4.0, RED), walk("hall", 1, 20.0, 30.0, *looks)], 60.0)
    assert corrections(site) == []


@pytest.mark.parametrize("story", STORIES)
def test_when_nothing_new_comes_nothing_more_is_corrected(story):
    tracks, until_s = STORIES[story]
    quiet = play(tracks, until_s + 600.0)
    assert all(e.decided_at_s <= until_s for e in corrections(quiet))
    assert len(corrections(quiet)) <= 3


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("story", STORIES)
def test_a_restart_before_between_and_after_corrections_changes_nothing(story, every):
    plain, restarted = play(*STORIES[story]), play(*STORIES[story], restart_every=every)
    assert list(map(event_to_json, restarted.events)) == list(map(event_to_json, plain.events))
    assert restarted.stored == plain.stored


@pytest.mark.parametrize("story", STORIES)
def test_whoever_goes_is_said_to_have_left_once_under_the_id_that_is_right(story):
    tracks, until_s = STORIES[story]
    site = play(tracks, until_s)
    who, said = site.who(), lefts(site)
    assert len(said) == len(set(said))
    last = {(who[t.key], t.camera_id): t.last_s for t in tracks}  # in order of time: the last track of each
    assert last.keys() <= {(i, camera_id) for i, camera_id, at_s in said if at_s == last.get((i, camera_id))}


def test_who_was_never_there_has_not_left():
    site = play(*TAKEN_FOR_ANOTHER)
    assert sorted(lefts(site)) == [(1, "door", 4.0), (2, "door", 14.0), (2, "hall", 30.0)]


@pytest.mark.parametrize("camera_id", ["door", "hall"])
def test_a_merge_after_left_was_said_says_it_once(camera_id):
    """That two visits to the door were one person's becomes known by a third track, when `left` was said of both."""
    tracks = [
        walk("door", 1, 0.0, 4.0, turned(0)),
        walk("door", 2, 6.0, 9.0, turned(60)),
        walk(camera_id, 3, 30.0, 42.0, turned(30)),
    ]
    site = play(tracks, 90.0)
    assert set(site.who().values()) == {1} and [e.kind for e in corrections(site)] == ["merged"]
    assert [at_s for _, _, at_s in lefts(site)] == [4.0, 9.0, 42.0]


def test_who_comes_back_after_a_correction_reenters_from_the_track_that_turned_out_to_be_his():
    tracks, _ = TAKEN_FOR_ANOTHER
    site = play([*tracks, walk("hall", 2, 50.0, 54.0, BLUE), walk("hall", 3, 60.0, 64.0, RED)], 90.0)
    blue, red = (next(e for e in site.events if e.key == key("hall", n) and e.kind != "left") for n in (2, 3))
    assert (blue.kind, blue.identity_id, blue.absent_s, blue.previous_key) == ("reentered", 2, 20.0, key("hall", 1))
    assert (red.kind, red.identity_id, red.via) == ("handed_over", 1, ("door",)), "red never was in the hall"
