"""Generated sites: one floor plan under several cameras, people who roam it, and the files that say so."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.ground_plan import GroundPath, Placement, Stop, ground_to_picture, picture_to_ground, see_path
from pipeline.scenes.roaming import Habits, Place, Port, Roamers, Way
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.silhouettes import Outlines, sightings
from pipeline.scenes.site_files import VARIANTS, topology_rules, write_plan, write_site
from pipeline.scenes.sites import Site, make_site


@pytest.fixture(scope="module")
def site() -> Site:
    return make_site(5, people=16, duration_s=90)


def on_ground(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    rows = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return rows[:, :2] / rows[:, 2:]


# -- floor plan -------------------------------------------------------------------------------------------------------


def test_the_homography_undoes_the_projection_for_every_camera(site: Site) -> None:
    rng = np.random.default_rng(0)
    for camera in site.scenario.cameras:
        placement = site.placements[camera.id]
        right, ahead = placement.axes
        origin = np.array([placement.x_m, placement.y_m])
        points = origin + rng.uniform(-3, 3, (20, 1)) * right + rng.uniform(2, 12, (20, 1)) * ahead
        seen = ground_to_picture(camera, placement, points)
        np.testing.assert_allclose(on_ground(picture_to_ground(camera, placement), seen), points, atol=1e-6)


def test_what_lies_behind_a_camera_is_not_in_its_picture(site: Site) -> None:
    camera = site.scenario.cameras[0]
    placement = site.placements[camera.id]
    behind = np.array([[placement.x_m, placement.y_m]]) - 2 * placement.axes[1]
    assert np.isnan(ground_to_picture(camera, placement, behind)).all()


def test_rendered_feet_stand_where_the_path_says(site: Site) -> None:
    checked = 0
    for camera in site.scenario.cameras:
        scene = SceneCamera(site.scenario, camera.id)
        homography = picture_to_ground(camera, site.placements[camera.id])
        for index in (300, 500, 700):
            frame, truth = scene.render(index)
            whole = (truth.xyxy[:, 0] > 2) & (truth.xyxy[:, 2] < 638) & (truth.visibility > 0.99)
            for person_id, box in zip(truth.person_ids[whole].tolist(), truth.xyxy[whole], strict=True):
                foot = np.array([[(box[0] + box[2]) / 2, box[3]]])
                path = next(
                    c.path
                    for c in site.crossings
                    if c.path.person_id == person_id and c.path.start_s <= frame.captured_at_s < c.path.end_s
                )
                true = path.at(np.array([frame.captured_at_s]))
                assert np.linalg.norm(on_ground(homography, foot) - true) < 0.45  # a bag or a leg shifts the middle
                checked += 1
    assert checked > 10


def test_a_path_far_from_the_picture_is_no_walk(site: Site) -> None:
    camera = site.scenario.cameras[0]
    placement = Placement(0, -5, 0, 500)
    far = GroundPath(1, (Stop(0, 40, 1), Stop(5, 45, 1)))
    assert see_path(far, camera, placement) is None
    assert see_path(GroundPath(1, (Stop(0, 0, 1),)), camera, placement) is None


def test_two_cameras_of_one_place_see_the_same_people_from_two_sides(site: Site) -> None:
    south = {(w.person_id, round(w.start_s)): w for w in site.scenario.walks if w.camera_id == "plaza_south"}
    north = [w for w in site.scenario.walks if w.camera_id == "plaza_north"]
    both = 0
    for walk in north:
        for other in south.values():
            if other.person_id == walk.person_id and abs(other.start_s - walk.start_s) < 3:
                now_s = (max(walk.start_s, other.start_s) + min(walk.end_s, other.end_s)) / 2
                a, b = walk.pose(now_s), other.pose(now_s)
                if a and b:
                    both += 1
                    assert a.faces_left != b.faces_left
    assert both > 3


def test_poses_at_once_are_those_one_by_one(site: Site) -> None:
    walk = site.scenario.walks[3]
    times = np.linspace(walk.start_s, walk.end_s - 1e-6, 40)
    poses = walk.poses(times)
    for i, now_s in enumerate(times.tolist()):
        pose = walk.pose(now_s)
        assert pose is not None
        assert (pose.x, pose.depth, pose.walked_m) == pytest.approx((poses.x[i], poses.depth[i], poses.walked_m[i]))
        assert pose.faces_left == poses.faces_left[i]


# -- roaming ----------------------------------------------------------------------------------------------------------


def test_nobody_is_in_two_places_at_once(site: Site) -> None:
    for person in site.scenario.people:
        own = [c.path for c in site.crossings if c.path.person_id == person.person_id]
        assert all(a.end_s <= b.start_s for a, b in pairwise(own))


def test_every_way_between_two_pictures_takes_a_time_that_its_rule_allows() -> None:
    site = make_site(3, people=20, duration_s=400)
    windows = {(r["from"], r["to"]): r["transit_s"] for r in topology_rules(site) if "from" in r}
    spans: dict[int, list[tuple[float, float, str]]] = {}
    for seen in sightings(site.scenario):
        for s in seen:
            span = (s.frames[0] / site.scenario.fps, s.frames[-1] / site.scenario.fps, s.camera_id)
            spans.setdefault(s.person_id, []).append(span)
    places = {camera: place.id for place in site.places for camera in place.cameras}
    checked = 0
    for person_id, stays in spans.items():
        crossings = [c for c in site.crossings if c.path.person_id == person_id]
        for before, after in pairwise(crossings):
            if before.place == after.place:
                continue
            leave = [
                s for s in stays if places[s[2]] == before.place and before.path.start_s <= s[0] < before.path.end_s
            ]
            enter = [s for s in stays if places[s[2]] == after.place and after.path.start_s <= s[0] < after.path.end_s]
            for _, left_s, origin in leave:
                for entered_s, _, destination in enter:
                    low, high = windows[origin, destination]
                    assert low <= entered_s - left_s <= high
                    checked += 1
    assert checked > 100


def test_people_come_back_again_and_again_when_there_is_time() -> None:
    site = make_site(3, people=8, pairs=0, duration_s=1200, habits=Habits(absence_s=(10, 60)))
    returns = [sum(c.place == "gate" for c in site.crossings if c.path.person_id == i) for i in range(1, 9)]
    assert max(returns) > 12


def test_company_enters_by_the_same_port_a_step_apart() -> None:
    def close(company: float) -> int:
        site = make_site(3, people=20, duration_s=200, habits=Habits(company=company))
        starts = sorted((c.place, c.enter, c.path.start_s) for c in site.crossings)
        return sum(a[:2] == b[:2] and b[2] - a[2] < 1.5 for a, b in pairwise(starts))

    assert close(1.0) > 2 * close(0.0) + 10


def test_everybody_keeps_to_the_right(site: Site) -> None:
    places = {place.id: place for place in site.places}
    shares: dict[str, list[float]] = {"left": [], "right": []}
    for crossing in site.crossings:
        place, last = places[crossing.place], crossing.path.stops[-1]
        shares[crossing.leave].append((last.y_m - place.y_m) / place.lanes_m)
    assert np.mean(shares["right"]) < 0.4 < 0.6 < np.mean(shares["left"])


def test_a_port_without_a_way_out_is_refused() -> None:
    place = Place("room", 0, 0, 4, 1, ())
    port = Port("room", "left")
    roamers = Roamers([place], [Way(port, port, (1, 2))], Habits(), 60)
    with pytest.raises(ValueError, match="way from the right of room"):
        roamers.add(1, np.random.default_rng(1))


# -- sites ------------------------------------------------------------------------------------------------------------


def test_a_seed_gives_one_site_and_another_seed_another() -> None:
    first, again, other = (make_site(seed, people=4, pairs=1, duration_s=20) for seed in (1, 1, 2))
    assert first.crossings == again.crossings and first.placements == again.placements
    assert first.scenario.cameras == again.scenario.cameras
    assert first.crossings != other.crossings and first.scenario.cameras != other.scenario.cameras


def test_four_pairs_are_alike_in_everything_but_one_thing(site: Site) -> None:
    people = {person.person_id: person for person in site.scenario.people}
    pairs = [(person, people[person.likeness.person_id]) for person in people.values() if person.likeness]
    assert sorted(a.likeness.part for a, _ in pairs if a.likeness) == ["bag", "body", "top", "trousers"]
    assert len({p.person_id for pair in pairs for p in pair}) == 8
    for a, b in pairs:
        assert a.attire and b.attire and a.body == b.body and a.likeness
        if a.likeness.part == "body":
            assert a.attire.top == b.attire.top and a.attire.trousers == b.attire.trousers
            assert a.attire.skin != b.attire.skin and a.attire.hair != b.attire.hair
        else:
            part = {"trousers": "trousers", "top": "top", "bag": "bag"}[a.likeness.part]
            assert replace(a.attire, **{part: getattr(b.attire, part)}) == b.attire
            assert a.height == b.height


def test_cameras_differ_in_light_and_drift(site: Site) -> None:
    cameras = site.scenario.cameras
    assert len({camera.cast for camera in cameras}) == len(cameras) == 6
    assert all(camera.cast_drift > 0 for camera in cameras)


@pytest.mark.parametrize(("people", "pairs"), [(3, 1), (15, 4)])
def test_too_few_people_for_so_many_pairs_are_refused(people: int, pairs: int) -> None:
    with pytest.raises(ValueError, match="at least 4 people"):
        make_site(1, people=people, pairs=pairs)


def test_difficulties_that_a_site_has_of_its_own_are_refused() -> None:
    with pytest.raises(ValueError, match="leave those difficulties at 0"):
        make_site(1, difficulty=Difficulty(truncation=0.2))


def test_a_site_without_anybody_is_six_empty_cameras() -> None:
    site = make_site(1, people=0, pairs=0, duration_s=2)
    assert site.crossings == () and len(site.scenario.cameras) == 6
    assert [list(seen) for seen in sightings(site.scenario)] == [[]] * 6


# -- without rendering ------------------------------------------------------------------------------------------------


def test_boxes_that_were_worked_out_are_those_that_are_rendered(site: Site) -> None:
    compared, shares = 0, []
    for camera, seen in zip(site.scenario.cameras, sightings(site.scenario), strict=True):
        scene = SceneCamera(site.scenario, camera.id)
        for index in (300, 420, 640):
            _, truth = scene.render(index)
            mine = {s.person_id: i for i, s in enumerate(seen) if s.frames[0] <= index <= s.frames[-1]}
            assert set(mine) >= set(truth.person_ids.tolist())
            for person_id, box, visible in zip(
                truth.person_ids.tolist(), truth.xyxy, truth.visibility.tolist(), strict=True
            ):
                own = seen[mine[person_id]]
                place = index - int(own.frames[0])
                if box[0] > 2 and box[2] < 638:
                    np.testing.assert_allclose(own.xyxy[place], box, atol=4)
                    compared += 1
                shares.append((float(own.visibility[place]), visible))
    assert compared > 8
    assert np.abs(np.subtract(*np.array(shares).T)).mean() < 0.12  # furniture is left out


def test_outlines_reach_to_the_other_side_of_who_faces_left(site: Site) -> None:
    person = site.scenario.people[0]
    outlines = Outlines([person])
    camera = site.scenario.cameras[0]
    placement = site.placements[camera.id]
    way = (Stop(0, placement.x_m - 6, placement.y_m + 5), Stop(12, placement.x_m + 6, placement.y_m + 5))
    back = tuple(Stop(12 - s.at_s, s.x_m, s.y_m) for s in reversed(way))
    right = see_path(GroundPath(person.person_id, way), camera, placement)
    left = see_path(GroundPath(person.person_id, back), camera, placement)
    assert right and left
    a, b = (outlines.boxes(walk, person, camera, np.array([6.0])) for walk in (right, left))
    middle = camera.width_px / 2
    np.testing.assert_allclose(a[0, 2] - a[0, 0], b[0, 2] - b[0, 0], atol=25)
    assert abs((a[0, 0] + a[0, 2]) / 2 - middle) < 40 and abs((b[0, 0] + b[0, 2]) / 2 - middle) < 40


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_written_site_is_videos_truth_and_four_configurations(tmp_path: Path) -> None:
    site = make_site(4, people=4, pairs=1, duration_s=1.2, habits=Habits(start_within_s=0))
    written = write_site(site, tmp_path / "site")
    assert all(path.is_file() for path in written.sources.values())
    assert not (tmp_path / "site" / "masks").exists()
    with (tmp_path / "site" / "gt" / "visits.csv").open() as file:
        assert next(csv.reader(file))[0] == "camera"
    for name, topology, calibration in VARIANTS:
        config = load_config(tmp_path / "site" / f"{name}.yaml", {})
        assert [camera.id for camera in config.cameras] == [camera.id for camera in site.scenario.cameras]
        assert bool(config.topology) == topology
        assert all((camera.calibration is not None) == calibration for camera in config.cameras)


def test_a_calibration_file_holds_the_homography_of_its_camera(site: Site, tmp_path: Path) -> None:
    write_plan(site, tmp_path, {camera.id: f"{camera.id}.mp4" for camera in site.scenario.cameras})
    for camera in site.scenario.cameras:
        kept = json.loads((tmp_path / "calibration" / f"{camera.id}.json").read_text())
        expected = picture_to_ground(camera, site.placements[camera.id])
        np.testing.assert_allclose(kept["homography"], expected)
        assert kept["resolution"] == {"width": 640, "height": 360}


def test_only_the_plaza_is_declared_to_overlap(site: Site) -> None:
    overlaps = [rule for rule in topology_rules(site) if rule.get("overlap")]
    assert overlaps == [{"pair": ["plaza_south", "plaza_north"], "overlap": True}]
    assert all(rule["transit_s"][0] > 0 for rule in topology_rules(site) if "from" in rule)
