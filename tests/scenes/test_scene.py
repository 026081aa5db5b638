"""Cameras, walks and rendering: deterministic, exact, and what the demo promises."""

from itertools import pairwise

import numpy as np
import pytest

from pipeline.scenes.cameras import DEMO_CAMERAS, MIN_PERSON_PX, make_cameras
from pipeline.scenes.export import find_visits, truth_rows
from pipeline.scenes.scene import GroundTruth, SceneCamera
from pipeline.scenes.source import GeneratedSource
from pipeline.scenes.walks import Leg, Scenario, Walk, Waypoint, demo_scenario, make_walk, random_scenario
from pipeline.types import Frame


@pytest.fixture(scope="module")
def demo() -> Scenario:
    return demo_scenario()


@pytest.fixture(scope="module")
def rendered(demo: Scenario) -> dict[str, list[tuple[Frame, GroundTruth]]]:
    """Every third frame of every camera."""
    scenes = {camera.id: SceneCamera(demo, camera.id) for camera in demo.cameras}
    return {name: [scene.render(i) for i in range(0, len(scene), 3)] for name, scene in scenes.items()}


def tight_box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_frames_are_the_same_to_the_byte_in_any_order(demo: Scenario) -> None:
    first, second = SceneCamera(demo, "hall"), SceneCamera(demo_scenario(), "hall")
    forward = [first.render(i)[0].image.tobytes() for i in (5, 100, 200)]
    backward = [second.render(i)[0].image.tobytes() for i in (200, 100, 5)]
    assert forward == backward[::-1]
    assert len(set(forward)) == 3


def test_two_frames_of_an_empty_room_differ_by_noise_alone(rendered: dict) -> None:
    empty = [frame.image.astype(int) for frame, truth in rendered["lobby"] if len(truth.person_ids) == 0]
    difference = np.abs(empty[0] - empty[1])
    assert 0 < difference.mean() < 6


def test_boxes_are_the_tight_boxes_of_the_masks(rendered: dict) -> None:
    compared = 0
    for frames in rendered.values():
        for _, truth in frames:
            for person_id, box in zip(truth.person_ids, truth.xyxy, strict=True):
                mask = truth.mask(person_id)
                alone = all(
                    other == person_id or min(box[2], b[2]) <= max(box[0], b[0])
                    for other, b in zip(truth.person_ids, truth.xyxy, strict=True)
                )
                if alone:
                    assert tight_box(mask) == box.tolist()
                    compared += 1
                elif mask.any():  # partly hidden: the box also holds what is hidden
                    x1, y1, x2, y2 = tight_box(mask)
                    assert box[0] <= x1 and box[1] <= y1 and x2 <= box[2] and y2 <= box[3]
    assert compared > 200


def test_masks_are_disjoint_and_hold_only_people_of_the_frame(rendered: dict) -> None:
    for frames in rendered.values():
        for _, truth in frames:
            assert set(np.unique(truth.labels)) <= {0, *truth.person_ids.tolist()}
            total = sum(
                (truth.mask(person_id).astype(int) for person_id in truth.person_ids), np.zeros((360, 640), int)
            )
            assert total.max() <= 1


def test_visibility_is_one_for_whole_people_and_less_for_hidden_or_cut_ones(rendered: dict) -> None:
    for _, truth in (pair for frames in rendered.values() for pair in frames):
        assert ((truth.visibility >= 0) & (truth.visibility <= 1)).all()
        if len(truth.person_ids) == 1:
            cut = truth.xyxy[0, 0] <= 0 or truth.xyxy[0, 2] >= 640
            assert (truth.visibility[0] == 1) or cut


def test_whole_people_are_at_least_160_px_tall_and_stay_within_the_picture(rendered: dict) -> None:
    for _, truth in (pair for frames in rendered.values() for pair in frames):
        whole = (truth.xyxy[:, 0] > 0) & (truth.xyxy[:, 2] < 640)
        heights = (truth.xyxy[:, 3] - truth.xyxy[:, 1])[whole]
        assert (heights >= MIN_PERSON_PX).all()
        assert (truth.xyxy[:, 1] > 0).all() and (truth.xyxy[:, 3] <= 360).all()


def test_people_enter_and_leave_at_the_side_edges(demo: Scenario) -> None:
    for camera in demo.cameras:
        scene = SceneCamera(demo, camera.id)
        last = demo.frame_count - 1
        walks = [walk for walk in demo.walks if walk.camera_id == camera.id and walk.end_s < demo.duration_s]
        for walk in walks:
            frames = range(round(walk.start_s * 10), min(round(walk.end_s * 10) + 1, last))
            truths = [scene.render(i)[1] for i in (*frames[:10], *frames[-10:])]
            seen = [t.xyxy[t.person_ids == walk.person_id] for t in truths]
            boxes = [box[0] for box in seen if len(box)]
            for box in (boxes[0], boxes[-1]):
                assert box[0] == 0 or box[2] == camera.width_px


def test_the_demo_has_crossings_in_which_one_person_hides_most_of_another(rendered: dict) -> None:
    for name in ("street", "hall"):
        hidden = [
            truth.visibility[(truth.xyxy[:, 0] > 0) & (truth.xyxy[:, 2] < 640)].min(initial=1)
            for _, truth in rendered[name]
        ]
        assert min(hidden) < 0.5


def test_the_demo_has_six_people_in_every_way_between_cameras_and_true_reentries(demo: Scenario) -> None:
    assert len(demo.people) == 6 and len(demo.cameras) == 3 and 30 <= demo.duration_s <= 40
    changes, reentries = set(), 0
    for person in demo.people:
        walks = sorted((w for w in demo.walks if w.person_id == person.person_id), key=lambda w: w.start_s)
        for before, after in pairwise(walks):
            gap = after.start_s - before.end_s
            if before.camera_id == after.camera_id:
                assert gap > 5
                reentries += 1
            else:
                assert 1 <= gap <= 5
                changes.add((before.camera_id, after.camera_id))
    assert reentries >= 2 and len(changes) >= 4


def test_walkers_leave_to_the_side_where_they_next_appear_from(demo: Scenario) -> None:
    ring = [camera.id for camera in demo.cameras]
    for person in demo.people:
        walks = [w for w in demo.walks if w.person_id == person.person_id]
        for before, after in pairwise(walks):
            right = before.waypoints[-1].x > 0.5
            step = (ring.index(after.camera_id) - ring.index(before.camera_id)) % 3
            assert step == (0 if before.camera_id == after.camera_id else 1 if right else 2)
            assert (after.waypoints[0].x < 0.5) == (right if step else not right)


def test_a_person_faces_where_it_walks_and_is_nowhere_before_and_after() -> None:
    walk = make_walk(Leg(0, "left", "left", 0.0, (0.5, 0.5)), DEMO_CAMERAS[0], 1, 10.0)
    assert walk.pose(9.99) is None and walk.pose(walk.end_s) is None
    there, back = walk.pose(10.5), walk.pose(walk.end_s - 0.5)
    assert there is not None and back is not None
    assert not there.faces_left and back.faces_left
    assert back.walked_m > there.walked_m > 0


def test_a_walk_of_an_unknown_person_or_camera_is_refused(demo: Scenario) -> None:
    walk = Walk(99, "lobby", (Waypoint(0, 0, 0), Waypoint(1, 1, 0)), 5.0)
    with pytest.raises(ValueError, match="known people and cameras"):
        Scenario(demo.people, demo.cameras, (walk,), 1.0, 0)
    with pytest.raises(ValueError, match="expected one of"):
        demo.camera("attic")


def test_random_scenarios_have_any_size_and_nobody_in_two_places() -> None:
    scenario = random_scenario(people=15, cameras=5, duration_s=60, seed=4)
    assert len(scenario.people) == 15 and len(scenario.cameras) == 5
    assert scenario.walks == random_scenario(15, 5, 60, 4).walks
    for person in scenario.people:
        walks = [w for w in scenario.walks if w.person_id == person.person_id]
        assert walks
        for before, after in pairwise(walks):
            assert after.start_s >= before.end_s + 1.5
    shortest = min(person.height for person in scenario.people)
    assert all(camera.person_px(1.0) * shortest >= MIN_PERSON_PX for camera in scenario.cameras)


def test_scenarios_without_people_cameras_or_time_are_fine() -> None:
    assert random_scenario(0, 0, 10, 1).walks == ()
    empty = random_scenario(0, 1, 1, 1)
    frames = list(SceneCamera(empty, empty.cameras[0].id).frames())
    assert len(frames) == 10
    _, truth = SceneCamera(empty, empty.cameras[0].id).render(0)
    assert truth.xyxy.shape == (0, 4) and not truth.labels.any()
    assert random_scenario(2, 1, 0, 1).frame_count == 0
    with pytest.raises(ValueError, match="at least one camera"):
        random_scenario(1, 0, 10, 1)
    with pytest.raises(ValueError, match="at least 0"):
        make_cameras(-1, 0)


def test_visits_follow_the_rows_and_survive_an_occlusion(demo: Scenario, rendered: dict) -> None:
    scene = SceneCamera(demo, "street")
    rows = [row for i in range(30, 140) for row in truth_rows(i + 1, scene.render(i)[1])]
    visits = find_visits("street", rows)
    hidden = [row for row in rows if row.visibility < 0.4 and 60 < row.xywh[0] < 500]
    assert hidden
    for visit in visits:
        own = [row.frame for row in rows if row.person_id == visit.person_id]
        assert own[0] <= visit.entry_frame < visit.exit_frame <= own[-1]
    assert len([v for v in visits if v.person_id == hidden[0].person_id]) == 1
    assert find_visits("street", []) == []


def test_a_generated_source_gives_the_scene_with_its_own_times_and_stops_when_closed() -> None:
    scenario = random_scenario(1, 1, 2, 1)
    source = GeneratedSource(scenario, scenario.cameras[0].id, start_s=1000.0, epoch="e7")
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[0].epoch == "e7" and frames[13].captured_at_s == pytest.approx(1001.3)
    expected = SceneCamera(scenario, scenario.cameras[0].id).render(13)[0]
    assert np.array_equal(frames[13].image, expected.image)
    again = GeneratedSource(scenario, scenario.cameras[0].id)
    reader = again.frames()
    next(reader)
    again.close()
    again.close()
    assert list(reader) == []


def test_a_live_generated_source_skips_what_is_overdue() -> None:
    scenario = random_scenario(1, 1, 2, 1)
    now = iter(np.arange(0, 100, 0.25).tolist())  # each look at the clock is a quarter of a second later
    source = GeneratedSource(scenario, scenario.cameras[0].id, live=True, clock=lambda: next(now))
    indices = [frame.index for frame in source.frames()]
    assert indices[0] == 0 and len(indices) < 20
    assert all(b > a for a, b in pairwise(indices))
