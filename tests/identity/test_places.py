"""What places say about who is who: at one time on the ground, and one after another."""

import json
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.ground import GroundPlane, homography_of_points, read_calibration
from pipeline.identity.places import TrackPlaces
from pipeline.types import TrackKey, Tracklet

PICTURE = (1280, 720)
FOCAL_PX, HEIGHT_M, TILT = 900.0, 3.0, np.deg2rad(25.0)


def pixels(places, top_m=0.0):
    """(N, 2) of places (x to the right, y away) of a camera at the origin, 3 m up, looking along y and 25° down."""
    x, y = np.asarray(places, float).reshape(-1, 2).T
    down = HEIGHT_M - top_m
    depth = y * np.cos(TILT) + down * np.sin(TILT)
    lower = down * np.cos(TILT) - y * np.sin(TILT)
    return np.stack([640 + FOCAL_PX * x / depth, 360 + FOCAL_PX * lower / depth], axis=1)


def plane(turn=1.0, away_m=0.0):
    """The camera's ground in a system that it shares: as its own, or seen from the other side."""
    corners = np.array([[-2.0, 4.0], [2.0, 4.0], [2.0, 9.0], [-2.0, 9.0]])
    return GroundPlane(homography_of_points(pixels(corners), turn * corners + [0.0, away_m]), size_px=PICTURE)


# two cameras at both ends of a room of 12 m
GROUNDS = {"a": plane(), "b": plane(-1.0, 12.0)}


def own_view(camera, places):
    return np.array([0.0, 12.0]) - places if camera == "b" else np.asarray(places, float)


def boxes(camera, places, shown=1.0):
    """(N, 4) of people 1.75 m tall; `shown`: the upper share of them only."""
    own = own_view(camera, places)
    feet, head = pixels(own), pixels(own, 1.75)
    bottom = head[:, 1] + shown * (feet[:, 1] - head[:, 1])
    half = 0.19 * (feet[:, 1] - head[:, 1])
    return np.stack([feet[:, 0] - half, head[:, 1], feet[:, 0] + half, bottom], axis=1).astype(np.float32)


def walk(start, velocity, seconds, start_s=0.0, every_s=0.2):
    at_s = np.arange(0.0, seconds + 1e-9, every_s)
    return at_s + start_s, np.array(start) + at_s[:, None] * np.array(velocity)


def key(camera, number=1):
    return TrackKey(camera, "1", number)


def seen(places, track, way, **how):
    at_s, ground = way
    places.add(track, at_s, boxes(track.camera_id, ground, **how), PICTURE)
    return track


def both(first, second, **how):
    """What two walks say of which each is seen by one camera."""
    places = TrackPlaces(GROUNDS)
    seen(places, key("a"), first)
    seen(places, key("b"), second, **how)
    return places.together(key("a"), key("b"))


def test_one_place_at_one_time_is_one_person():
    found = both(walk((0, 5), (0.2, 0.2), 6), walk((0.1, 5.1), (0.2, 0.2), 6))
    assert found.common_s == pytest.approx(6.0, abs=0.4)
    assert found.median_m < 0.4 and found.near_share > 0.9 and found.log_ratio > 3


def test_places_far_apart_at_one_time_are_two_people():
    found = both(walk((-1, 5), (0, 0), 6), walk((1, 8), (0, 0), 6))
    assert found.median_m > 3 and found.near_share == 0 and found.log_ratio < -8


def test_the_longer_the_surer_but_less_and_less_so():
    near = [both(walk((0, 6), (0, 0), s), walk((0.1, 6), (0, 0), s)).log_ratio for s in (1, 4, 16, 29)]
    far = [both(walk((0, 5), (0, 0), s), walk((0, 8), (0, 0), s)).log_ratio for s in (1, 4, 16)]
    assert near == sorted(near) and near[3] - near[2] < near[1] - near[0] and near[3] <= 10
    assert far == sorted(far, reverse=True) and far[0] < -1 and far[2] >= -15


def test_who_stands_beside_somebody_is_not_taken_for_him_nor_excluded_at_a_glance():
    same = both(walk((0, 6), (0, 0), 10), walk((0.15, 6), (0, 0), 10)).log_ratio
    beside = both(walk((0, 6), (0, 0), 10), walk((0.8, 6), (0, 0), 10)).log_ratio
    apart = both(walk((0, 6), (0, 0), 10), walk((2.0, 6), (0, 0), 10)).log_ratio
    assert same > beside + 2 and beside > apart + 5 and apart < -8
    meeting = both(walk((0, 6), (0, 0), 10), walk((-4, 6), (0.8, 0), 10)).log_ratio
    assert meeting < -2, "passing by is not staying"


def test_far_from_the_cameras_places_say_less():
    ratios = []
    for y in (5.0, 15.0, 45.0):
        places = TrackPlaces({"a": plane(), "c": plane()})
        at_s, ground = walk((0, y), (0, 0), 5)
        for camera in "ac":
            places.add(key(camera), at_s, boxes("a", ground), PICTURE)
        ratios.append(places.together(key("a"), key("c")).log_ratio)
    assert ratios[0] > ratios[1] > ratios[2] and ratios[0] > ratios[2] + 2


def test_somebody_whose_feet_one_camera_does_not_see_is_not_excluded():
    """The box ends at the waist, so the place lies metres behind the true one, seen from that camera."""
    hidden = both(walk((0.3, 6), (0, 0), 8), walk((0.3, 6), (0, 0), 8), shown=0.5)
    elsewhere = both(walk((2.5, 6), (0, 0), 8), walk((0.3, 6), (0, 0), 8), shown=0.5)
    assert hidden.median_m > 2 and hidden.log_ratio > -1
    assert elsewhere.log_ratio < hidden.log_ratio - 4


def test_boxes_at_the_sides_of_the_picture_have_no_place():
    places = TrackPlaces(GROUNDS)
    at_s, ground = walk((0, 6), (0, 0), 3)
    cut = boxes("a", ground)
    cut[:, 0] = 0
    places.add(key("a"), at_s, cut, PICTURE)
    seen(places, key("b"), (at_s, ground))
    assert places.together(key("a"), key("b")) is None


def test_feet_below_the_picture_are_somewhere_towards_the_camera():
    places = TrackPlaces(GROUNDS)
    at_s, ground = walk((0, 2.4), (0, 0), 5)
    cut = boxes("a", ground)
    assert (cut[:, 3] > PICTURE[1]).all()
    cut[:, 3] = PICTURE[1]
    places.add(key("a"), at_s, cut, PICTURE)
    for number, place in enumerate([(0, 2.4), (0, 8.0)]):
        seen(places, key("b", number), (at_s, np.tile(place, (len(at_s), 1))))
    there, away = (places.together(key("a"), key("b", number)).log_ratio for number in (0, 1))
    assert there > 0 and away < -5


def test_who_cannot_be_compared_says_nothing():
    places = TrackPlaces({"a": GROUNDS["a"], "b": GROUNDS["b"]})
    way = walk((0, 6), (0, 0), 2)
    for track in (key("a"), key("a", 2), key("c")):
        seen(places, track, way)
    seen(places, key("b"), walk((0, 6), (0, 0), 2, start_s=10))
    assert places.together(key("a"), key("a", 2)) is None, "one camera: two at once are two people anyway"
    assert places.together(key("a"), key("c")) is None, "not calibrated"
    assert places.together(key("a"), key("b")) is None, "not at one time"
    assert places.together(key("a"), key("d")) is None and places.follows(key("d"), key("a")) is None
    assert places.follows(key("a"), key("a")) is None and places.follows(key("a"), key("a", 2)) is None
    assert places.follows(key("c"), key("b")) is None
    assert TrackPlaces({}).together(key("a"), key("b")) is None


def test_pictures_of_another_shape_than_was_calibrated_have_no_ground():
    places = TrackPlaces(GROUNDS)
    at_s, ground = walk((0, 6), (0, 0), 2)
    places.add(key("a"), at_s, boxes("a", ground), (640, 480))
    seen(places, key("b"), (at_s, ground))
    assert places.together(key("a"), key("b")) is None


def test_a_track_of_one_box_may_be_compared():
    places = TrackPlaces(GROUNDS)
    seen(places, key("a"), walk((0, 6), (0, 0), 0))
    seen(places, key("b"), walk((0, 6), (0, 0), 0))
    assert places.together(key("a"), key("b")).common_s == pytest.approx(0.2)
    places.add(key("c"), np.zeros(0), np.zeros((0, 4), np.float32), PICTURE)
    assert key("c") not in places and len(places) == 2


def test_who_goes_on_in_one_picture_is_one_person():
    places = TrackPlaces({})
    before = seen(places, key("a"), walk((-1.5, 7), (0.8, 0), 3))
    on = seen(places, key("a", 2), walk((1.7, 7), (0.8, 0), 3, start_s=4))
    back = seen(places, key("a", 3), walk((-1.5, 7), (-0.8, 0), 3, start_s=4))
    larger = seen(places, key("a", 4), walk((0.5, 3.9), (0.0, 0), 3, start_s=4))
    found = places.follows(before, on)
    assert found.basis == "picture" and found.gap_s == pytest.approx(1.0) and found.log_ratio > 1.5
    assert places.follows(before, back).log_ratio < -1
    assert places.follows(before, larger).log_ratio < 0
    assert places.follows(on, before) is None, "the wrong way round"


def test_the_longer_the_gap_the_less_it_says():
    ratios = []
    for gap_s in (0.6, 3.0, 60.0, 3600.0):
        places = TrackPlaces({})
        before = seen(places, key("a"), walk((0, 7), (0, 0), 3))
        after = seen(places, key("a", 2), walk((0, 7), (0, 0), 3, start_s=3 + gap_s))
        ratios.append(places.follows(before, after).log_ratio)
    assert ratios[0] > ratios[1] > 1 and abs(ratios[2]) < 0.2 and abs(ratios[3]) < 0.05


def test_from_camera_to_camera_nobody_is_faster_than_a_runner():
    places = TrackPlaces(GROUNDS)
    before = seen(places, key("a"), walk((0, 5), (0, 0.5), 2))
    on = seen(places, key("b"), walk((0, 6.4), (0, 0.5), 2, start_s=2.8))
    away = seen(places, key("b", 2), walk((-1.0, -3.0), (0, 0), 2, start_s=2.6))
    later = seen(places, key("b", 3), walk((-1.0, -3.0), (0, 0), 2, start_s=60.0))
    assert places.follows(before, on).basis == "ground" and places.follows(before, on).log_ratio > 1
    assert places.follows(before, away).apart > 7 and places.follows(before, away).log_ratio < -2.5
    assert abs(places.follows(before, later).log_ratio) < 0.2


def test_after_a_restart_of_the_camera_pictures_are_not_compared():
    places = TrackPlaces({})
    seen(places, key("a"), walk((0, 7), (0, 0), 3))
    seen(places, TrackKey("a", "2", 1), walk((0, 7), (0, 0), 3, start_s=4))
    assert places.follows(key("a"), TrackKey("a", "2", 1)) is None


def test_what_is_known_already_changes_nothing():
    once, twice = TrackPlaces(GROUNDS), TrackPlaces(GROUNDS)
    at_s, ground = walk((0, 6), (0.1, 0), 8)
    for places in (once, twice):
        places.add(key("a"), at_s, boxes("a", ground), PICTURE)
    twice.add(key("a"), at_s[5:], boxes("a", ground[5:] + 1), PICTURE)
    assert once.to_json(key("a")) == twice.to_json(key("a"))


def test_a_finished_track_brings_what_came_after_its_last_clip():
    places = TrackPlaces({})
    at_s, ground = walk((0, 6), (0.1, 0), 3)
    places.add(key("a"), at_s[:5], boxes("a", ground[:5]), PICTURE)
    confidence = np.full(len(at_s), 0.9, np.float32)
    confidence[-3:] = 0
    frames = np.arange(len(at_s))
    for number in (1, 2):
        places.close(Tracklet(key("a", number), 9, 5.0, False, frames, at_s, boxes("a", ground), confidence))
    seen(places, key("a", 3), walk((0.3, 6), (0.1, 0), 1, start_s=4.0))
    assert places.follows(key("a"), key("a", 3)).gap_s == pytest.approx(4.0 - at_s[-4])
    assert key("a", 2) not in places, "it never had a clip"


def test_tracks_are_forgotten_one_by_one_and_by_time():
    places = TrackPlaces(GROUNDS)
    for number, start_s in enumerate((0.0, 10.0, 20.0)):
        seen(places, key("a", number), walk((0, 6), (0, 0), 1, start_s=start_s))
    places.forget_before(11.0)
    assert set(places) == {key("a", 1), key("a", 2)}
    places.forget(key("a", 1))
    places.forget(key("a", 1))
    assert set(places) == {key("a", 2)}


def test_memory_of_a_track_is_bounded_however_long_it_is():
    places, plain = TrackPlaces(GROUNDS), TrackPlaces({})
    for minute in range(30):
        at_s, ground = walk((0, 6), (0, 0), 59.9, start_s=60.0 * minute, every_s=0.1)
        for some in (places, plain):
            some.add(key("a"), at_s, boxes("a", ground), PICTURE)
    assert len(json.dumps(places.to_json(key("a")))) < 3000
    assert len(json.dumps(plain.to_json(key("a")))) < 600
    assert places.to_json(key("b")) is None


ways = st.lists(st.tuples(st.floats(-2, 2), st.floats(3, 9), st.floats(0, 3)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(ways, ways, st.integers(1, 30))
def test_order_and_restarts_change_nothing_and_every_ratio_is_a_bounded_number(first, second, cut):
    def rows(steps):
        at_s = np.cumsum([s for *_, s in steps])
        return at_s, np.array([[x, y] for x, y, _ in steps])

    places, again = TrackPlaces(GROUNDS), TrackPlaces(GROUNDS)
    for track, (at_s, ground) in ((key("a"), rows(first)), (key("b"), rows(second)), (key("a", 2), rows(second))):
        found = boxes(track.camera_id, ground)
        places.add(track, at_s[:cut], found[:cut], PICTURE)
        if places.to_json(track):
            again.restore(track, json.loads(json.dumps(places.to_json(track))))
        places.add(track, at_s[cut:], found[cut:], PICTURE)
        again.add(track, at_s[cut:], found[cut:], PICTURE)
    one = places.together(key("a"), key("b"))
    assert one == places.together(key("b"), key("a")) == again.together(key("a"), key("b"))
    assert one is None or (-15 <= one.log_ratio <= 10 and np.isfinite(one.median_m))
    for pair in ((key("a"), key("b")), (key("a"), key("a", 2)), (key("b"), key("a"))):
        after = places.follows(*pair)
        assert after == again.follows(*pair)
        assert after is None or (-8 <= after.log_ratio <= 6 and after.gap_s > 0)


@pytest.mark.parametrize(
    "value", [{}, {"at_s": 1}, {"at_s": "AAAA", "xyxy": "", "picture_px": None}, {"at_s": "", "xyxy": ""}]
)
def test_stored_places_that_are_none_are_refused(value):
    with pytest.raises(DecodeError, match="a/1/1"):
        TrackPlaces({}).restore(key("a"), value)


def test_on_a_real_site_the_places_of_one_person_are_told_from_those_of_two():
    """lab4cam's annotated boxes in pieces of 4 s; one of the three people sits behind a desk."""
    folder = Path(os.environ.get("MEDIA_DIR", "nowhere")) / "lab4cam"
    if not folder.exists():
        pytest.skip("needs MEDIA_DIR with lab4cam")
    names = ("cam0", "cam1", "cam2", "cam3")
    places = TrackPlaces({name: read_calibration(folder / f"calib_{name}.json") for name in names})
    for name in names:
        rows = np.loadtxt(folder / "gt" / f"{name}.txt", delimiter=",")
        rows = rows[rows[:, 6] > 0]
        corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
        at_s = rows[:, 0] / 10
        for piece, person in sorted(
            set(zip((at_s // 4).astype(int).tolist(), rows[:, 1].astype(int).tolist(), strict=True))
        ):
            own = (at_s // 4 == piece) & (rows[:, 1] == person)
            places.add(TrackKey(name, str(piece), person), at_s[own], corners[own], (1288, 728))
    same, different = [], []
    for a, b in combinations(sorted(places), 2):
        found = places.together(a, b)
        if found is not None and found.common_s >= 1:
            (same if a.track_id == b.track_id else different).append(found.log_ratio)
    assert len(same) > 100 and len(different) > 200
    assert np.mean(np.array(same) > 0) > 0.97 and np.mean(np.array(different) < 0) > 0.95
    assert np.mean(np.array(same)[:, None] > np.array(different)) > 0.99
