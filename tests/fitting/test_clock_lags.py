"""By how much clocks differ: from movement that two cameras see, and from walking times between cameras."""

import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fitting_scenes import CAMERA_A, CAMERA_B, path, paths_of_walks, seen_by, stays_of_walks, wandering

from pipeline.fitting.clocks import contradictions, lag_of_transits, solve_offsets
from pipeline.fitting.paths import Stay, paths_of_tracks, paths_of_truth, stays_of_truth
from pipeline.fitting.transits import hops_of
from pipeline.fitting.views import ClockLag, lag_of_views
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import Scenario, Walk, Waypoint, demo_scenario, random_scenario
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.scoring.times import FrameTimes
from pipeline.types import TrackKey, Tracklet

MOST_LAG_S = 30.0


def two_views(lag_s, people=1, named=False, seed=1, seconds=40.0):
    """The paths of some people by two cameras, the second one's clock ahead by `lag_s`."""
    rng = np.random.default_rng(seed)
    first, second = [], []
    for person in range(people):
        at_s, ground = wandering(rng, seconds)
        shake = rng.normal(0, 1.5, (2, len(at_s), 2))
        who = person if named else None
        first.append(path("a", at_s, seen_by(CAMERA_A, ground) + shake[0], str(person), who))
        second.append(path("b", at_s + lag_s, seen_by(CAMERA_B, ground) + shake[1], str(person), who))
    return first, second


@pytest.mark.parametrize("lag_s", [0.0, 3.7, -8.2])
@pytest.mark.parametrize("named", [False, True])
def test_the_movement_of_people_seen_by_both_tells_the_lag(lag_s, named):
    found = lag_of_views(*two_views(lag_s, people=2, named=named), MOST_LAG_S)
    assert found is not None
    assert found.how == "movement"
    assert found.lag_s == pytest.approx(lag_s, abs=0.2)
    assert abs(found.lag_s - lag_s) <= 4 * found.error_s


def test_tracks_are_matched_with_those_of_the_same_person_only():
    found = lag_of_views(*two_views(1.0, people=3), MOST_LAG_S)
    assert {match.names for match in found.matches} == {(f"a/1/{n}", f"b/1/{n}") for n in range(3)}


def test_other_peoples_movement_says_nothing():
    for seed in range(12):
        first, _ = two_views(0.0, seed=seed)
        _, second = two_views(0.0, seed=seed + 1000)
        assert lag_of_views(first, second, MOST_LAG_S) is None


def test_who_stands_still_or_walks_straight_at_one_speed_says_nothing():
    at_s = np.arange(0, 20, 0.1)
    still = np.full((len(at_s), 2), 50.0) + np.random.default_rng(0).normal(0, 2, (len(at_s), 2))
    straight = np.stack([at_s * 30, at_s * 5 + 100], axis=1)
    for foot in (still, straight):
        assert lag_of_views([path("a", at_s, foot)], [path("b", at_s, foot)], MOST_LAG_S) is None


def test_short_paths_and_no_paths_say_nothing():
    first, second = two_views(0.0, seconds=5.0)
    assert lag_of_views(first, second, MOST_LAG_S) is None
    assert lag_of_views([], second, MOST_LAG_S) is None


def test_people_of_other_names_are_not_compared():
    first, second = two_views(0.0, named=True)
    renamed = [replace(p, person_id=9) for p in second]
    assert lag_of_views(first, renamed, MOST_LAG_S) is None


def lab4cam(shift_s):
    media = os.environ.get("MEDIA_DIR")
    folder = Path(media) / "lab4cam" / "gt" if media else None
    if folder is None or not folder.is_dir():
        pytest.skip("needs MEDIA_DIR with lab4cam")
    cameras = ["cam0", "cam1", "cam2", "cam3"]
    truth = read_ground_truth(folder, cameras)
    times = {c: FrameTimes(fps=10.0, start_s=shift_s.get(c, 0.0)) for c in cameras}
    return cameras, truth, times


@pytest.mark.parametrize("shift_s", [2.3, -6.1])
@pytest.mark.parametrize("with_names", [True, False])
def test_on_real_footage_a_shifted_camera_is_found_within_a_fifth_of_a_second(shift_s, with_names):
    cameras, truth, times = lab4cam({"cam2": shift_s})
    paths = paths_of_truth(truth, times)
    if not with_names:
        paths = [replace(p, person_id=None, name=f"{p.camera_id}/{i}") for i, p in enumerate(paths)]
    own = {c: [p for p in paths if p.camera_id == c] for c in cameras}
    lags = [lag for a, b in combinations(cameras, 2) if (lag := lag_of_views(own[a], own[b], MOST_LAG_S))]
    offsets = solve_offsets(cameras, lags)
    assert offsets["cam2"].offset_s == pytest.approx(-shift_s, abs=0.2)
    assert offsets["cam2"].is_worth_it
    for camera in ("cam1", "cam3"):
        assert offsets[camera].offset_s == pytest.approx(0.0, abs=0.2)


def overlapping_scene():
    """Two of the demo's cameras that see the same people at the same time, from opposite sides."""
    demo = demo_scenario()
    lobby, street = demo.cameras[:2]
    rng = np.random.default_rng(4)
    walks = []
    for person in (1, 2, 3):
        times = 1.0 * person + np.cumsum(rng.uniform(1.5, 4.0, 9))
        points = [Waypoint(t, *rng.uniform((0.1, 0.0), (0.9, 1.0))) for t in times.tolist()]
        mirrored = tuple(p._replace(x=1 - p.x, depth=1 - p.depth) for p in points)
        walks += [Walk(person, lobby.id, tuple(points), 6.0), Walk(person, street.id, mirrored, 6.0)]
    return Scenario(demo.people, (lobby, street), tuple(walks), 30.0, 3)


@pytest.mark.parametrize("with_names", [True, False])
def test_in_a_generated_scene_of_two_views_the_lag_is_found(with_names):
    own = {"lobby": [], "street": []}
    for walked in paths_of_walks(overlapping_scene()):
        moved = replace(walked, at_s=walked.at_s - (4.4 if walked.camera_id == "street" else 0.0))
        own[walked.camera_id].append(moved if with_names else replace(moved, person_id=None))
    found = lag_of_views(own["lobby"], own["street"], MOST_LAG_S)
    assert found.lag_s == pytest.approx(-4.4, abs=0.2)


@pytest.mark.slow
def test_in_a_written_scene_of_two_views_the_lag_is_found_from_its_ground_truth(tmp_path):
    scene = write_scene(overlapping_scene(), tmp_path / "scene")
    truth = read_ground_truth(scene.ground_truth, ["lobby", "street"])
    times = {"lobby": FrameTimes(fps=10.0), "street": FrameTimes(fps=10.0, start_s=-4.4)}
    paths = paths_of_truth(truth, times)
    own = [[p for p in paths if p.camera_id == c] for c in ("lobby", "street")]
    found = lag_of_views(*own, MOST_LAG_S)
    assert found.lag_s == pytest.approx(-4.4, abs=0.2)


@pytest.mark.parametrize("ahead_s", [0.0, 5.0, -12.0])
def test_walking_times_there_and_back_tell_the_lag_of_cameras_that_share_no_view(ahead_s):
    scenario = random_scenario(people=8, cameras=2, duration_s=400.0, seed=5)
    first, second = (camera.id for camera in scenario.cameras)
    found = lag_of_transits(first, second, stays_of_walks(scenario, {second: ahead_s}), MOST_LAG_S)
    assert found.how == "walking times"
    assert found.lag_s == pytest.approx(ahead_s, abs=1.0)
    offset = solve_offsets([first, second], [found])[second]
    assert offset.is_worth_it == (ahead_s != 0.0)


@pytest.mark.slow
def test_the_demos_ground_truth_has_the_stays_of_its_timetable(tmp_path):
    scene = write_scene(demo_scenario(), tmp_path / "scene")
    cameras = ["lobby", "street", "hall"]
    truth = read_ground_truth(scene.ground_truth, cameras)
    times = {c: FrameTimes(fps=10.0) for c in cameras}
    stays = stays_of_truth(truth, times, absence_s=5.0)
    assert len(stays) == len(demo_scenario().walks)
    without_file = stays_of_truth(replace(truth, visits=None), times, absence_s=5.0)
    assert len(without_file) == len(stays)
    gaps = [hop.gap_s for hop in hops_of(stays)]
    assert min(gaps) > 1.0 and max(gaps) < 8.0


def test_too_few_ways_in_one_direction_say_nothing():
    there = [s for n in range(6) for s in (Stay("a", n, 0.0, 10.0), Stay("b", n, 13.0, 20.0))]
    back = [Stay("a", n, 24.0, 30.0) for n in range(6)]
    assert lag_of_transits("a", "b", there, MOST_LAG_S) is None
    assert lag_of_transits("a", "b", there + back[:2], MOST_LAG_S) is None
    assert lag_of_transits("a", "b", there + back, MOST_LAG_S).lag_s == pytest.approx(-0.5)
    assert lag_of_transits("a", "b", [], MOST_LAG_S) is None


def test_cameras_that_always_see_people_at_once_have_no_walking_times():
    stays = []
    for n in range(6):
        for visit in range(4):
            stays += [Stay(c, n, 40.0 * visit + n, 40.0 * visit + n + 8) for c in ("a", "b")]
    assert lag_of_transits("a", "b", stays, MOST_LAG_S) is None


def lag(first, second, lag_s, error_s=0.1, how="movement"):
    return ClockLag((first, second), lag_s, error_s, how, 2, 0.9)


def test_offsets_undo_the_lags_along_a_chain_and_weigh_them_by_their_errors():
    offsets = solve_offsets(["a", "b", "c"], [lag("a", "b", 2.0), lag("c", "b", -1.0)])
    assert offsets["b"].offset_s == pytest.approx(-2.0)
    assert offsets["c"].offset_s == pytest.approx(-3.0)
    assert offsets["c"].error_s > offsets["b"].error_s
    weighed = solve_offsets(["a", "b"], [lag("a", "b", 2.0, 0.1), lag("a", "b", 4.0, 10.0)])
    assert weighed["b"].offset_s == pytest.approx(-2.0, abs=0.01)


def test_cameras_that_nothing_connects_keep_their_clocks():
    assert solve_offsets(["a", "b", "c"], [lag("b", "c", 2.0)]) == {}
    assert list(solve_offsets(["a", "b", "c"], [lag("a", "c", 2.0)])) == ["c"]
    assert solve_offsets(["a"], []) == {}
    assert solve_offsets([], []) == {}


def test_small_or_uncertain_offsets_are_not_worth_writing():
    assert not solve_offsets(["a", "b"], [lag("a", "b", 0.05, 0.01)])["b"].is_worth_it
    assert not solve_offsets(["a", "b"], [lag("a", "b", 1.0, 0.8)])["b"].is_worth_it
    assert not solve_offsets(["a", "b"], [lag("a", "b", 0.9, 0.1, "walking times")])["b"].is_worth_it
    assert solve_offsets(["a", "b"], [lag("a", "b", 1.0, 0.1)])["b"].is_worth_it


def test_lags_that_contradict_each_other_are_told():
    lags = [lag("a", "b", 1.0), lag("b", "c", 1.0), lag("a", "c", 5.0)]
    assert contradictions(lags, solve_offsets(["a", "b", "c"], lags))
    agree = [lag("a", "b", 1.0), lag("b", "c", 1.0), lag("a", "c", 2.0)]
    assert contradictions(agree, solve_offsets(["a", "b", "c"], agree)) == []


def test_a_track_of_one_box_or_of_no_time_is_no_path():
    def track(times):
        key = TrackKey("a", "1", 1)
        boxes = np.tile([0, 0, 10, 20], (len(times), 1))
        return Tracklet(key, 1, times[-1], True, np.arange(len(times)), times, boxes, np.ones(len(times)))

    assert paths_of_tracks([track([0.0]), track([1.0, 1.0])]) == []
    assert len(paths_of_tracks([track([0.0, 1.0])])) == 1
