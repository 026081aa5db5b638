"""Each difficulty does what it says, alone and together, and a scene without any is what it always was."""

from dataclasses import fields, replace
from itertools import pairwise
from typing import get_args

import cv2
import numpy as np
import pytest

from pipeline.scenes.difficulty import EASY, HARD, Difficulty, parse_difficulty
from pipeline.scenes.furniture import render_obstacle
from pipeline.scenes.obstacles import ObstacleKind
from pipeline.scenes.presets import easy_scenario, hard_scenario
from pipeline.scenes.scene import GroundTruth, SceneCamera
from pipeline.scenes.walks import Scenario, demo_scenario, random_scenario
from pipeline.types import Frame

NAMES = [field.name for field in fields(Difficulty)]
PEOPLE, CAMERAS, DURATION_S, SEED = 6, 2, 12.0, 3


def scene_with(difficulty: Difficulty | None, people: int = PEOPLE, cameras: int = CAMERAS) -> Scenario:
    return random_scenario(people, cameras, DURATION_S, SEED, difficulty=difficulty)


def only(name: str, strength: float) -> Difficulty:
    return replace(EASY, **{name: strength})


def noiseless(scenario: Scenario, camera: int) -> SceneCamera:
    """One camera of the scenario without the sensor's noise."""
    quiet = tuple(replace(one, noise=0.0) for one in scenario.cameras)
    return SceneCamera(replace(scenario, cameras=quiet), quiet[camera].id)


def every_second(camera: SceneCamera) -> list[tuple[Frame, GroundTruth]]:
    return [camera.render(index) for index in range(0, len(camera), 2)]


@pytest.fixture(scope="module")
def easy() -> Scenario:
    return scene_with(EASY)


@pytest.fixture(scope="module")
def seen_easily(easy: Scenario) -> list[tuple[Frame, GroundTruth]]:
    return every_second(noiseless(easy, 0))


# --- nothing changes without ------------------------------------------------------------------------------------------

# mean grey value of each of 4 × 3 blocks, row by row, as rendered before there were difficulties
BLOCKS_OF_DEMO_HALL_200 = (105.2, 112.0, 107.1, 112.0, 115.6, 121.5, 93.0, 115.5, 92.3, 97.0, 83.2, 88.3)
BLOCKS_OF_STREET_120 = (132.1, 137.5, 146.8, 127.4, 163.8, 154.1, 159.1, 158.6, 130.3, 143.9, 138.5, 140.0)


def block_means(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image.astype(np.float32), (4, 3), interpolation=cv2.INTER_AREA).mean(axis=2).ravel()


def test_scenes_without_difficulty_look_as_they_did_before_there_were_any() -> None:
    frame, truth = SceneCamera(demo_scenario(), "hall").render(200)
    assert block_means(frame.image) == pytest.approx(BLOCKS_OF_DEMO_HALL_200, abs=0.5)
    assert truth.person_ids.tolist() == [2, 5, 3, 1]
    assert truth.xyxy[1].tolist() == [368, 131, 445, 333]
    frame, truth = SceneCamera(random_scenario(24, 4, 20, 3), "street").render(120)
    assert block_means(frame.image) == pytest.approx(BLOCKS_OF_STREET_120, abs=0.5)


def test_no_difficulty_and_one_of_no_strength_are_the_same_to_the_byte() -> None:
    without = random_scenario(4, 3, 8, 5)
    weak = random_scenario(4, 3, 8, 5, difficulty=Difficulty(), wardrobe="plain")
    assert without.walks == weak.walks
    for camera in without.cameras:
        first, second = SceneCamera(without, camera.id), SceneCamera(weak, camera.id)
        for index in (0, 40, 79):
            (frame, truth), (other, other_truth) = first.render(index), second.render(index)
            assert frame.image.tobytes() == other.image.tobytes()
            assert np.array_equal(truth.labels, other_truth.labels)
            assert np.array_equal(truth.visibility, other_truth.visibility)


# --- every difficulty -------------------------------------------------------------------------------------------------

STRENGTHS = {"occluders": 3, "trolleys": 1, "truncation": 0.3}


@pytest.mark.parametrize("name", [*NAMES, "hard"])
def test_frames_are_the_same_to_the_byte_in_any_order_under(name: str) -> None:
    difficulty = HARD if name == "hard" else only(name, STRENGTHS.get(name, 0.8))
    first, second = (SceneCamera(scene_with(difficulty, 4), "street") for _ in range(2))
    forward = [first.render(i)[0].image.tobytes() for i in (5, 60, 110)]
    assert forward == [second.render(i)[0].image.tobytes() for i in (110, 60, 5)][::-1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "crowding"])
def test_a_difficulty_changes_the_scene(name: str, easy: Scenario) -> None:
    changed = scene_with(only(name, STRENGTHS.get(name, 0.8)))
    indices = (20, 60, 100)
    assert any(
        not np.array_equal(
            SceneCamera(easy, camera.id).render(i)[0].image, SceneCamera(changed, camera.id).render(i)[0].image
        )
        for camera in easy.cameras
        for i in indices
    )


def test_in_a_hard_scene_masks_are_disjoint_boxes_hold_them_and_shares_are_shares() -> None:
    scenario = scene_with(HARD)
    seen = 0
    for camera in scenario.cameras:
        for _, truth in every_second(SceneCamera(scenario, camera.id)):
            assert set(np.unique(truth.labels)) <= {0, *truth.person_ids.tolist()}
            assert ((truth.visibility >= 0) & (truth.visibility <= 1)).all()
            assert (truth.xyxy[:, :2] >= 0).all() and (truth.xyxy[:, 2:] <= (640, 360)).all()
            for person_id, (x1, y1, x2, y2) in zip(truth.person_ids, truth.xyxy.astype(int), strict=True):
                outside = truth.mask(person_id).copy()
                outside[y1:y2, x1:x2] = False
                assert not outside.any()
                seen += 1
    assert seen > 50


# --- occluders --------------------------------------------------------------------------------------------------------


def test_occluders_hide_parts_of_bodies_in_part_of_a_walk_and_are_background_in_the_labels(
    easy: Scenario, seen_easily: list[tuple[Frame, GroundTruth]]
) -> None:
    furnished = every_second(noiseless(scene_with(only("occluders", 4)), 0))
    hidden_shares: dict[int, list[tuple[float, float]]] = {}
    for (_, free), (_, covered) in zip(seen_easily, furnished, strict=True):
        assert np.array_equal(free.person_ids, covered.person_ids)
        assert np.array_equal(free.xyxy, covered.xyxy)  # of the whole silhouette, whatever hides it
        assert (covered.visibility <= free.visibility).all()
        assert (covered.labels[covered.labels != free.labels] == 0).all()
        for person_id, box in zip(free.person_ids.tolist(), free.xyxy.astype(int), strict=True):
            middle = (box[1] + box[3]) // 2
            shares = [
                1 - covered.mask(person_id)[rows].sum() / max(free.mask(person_id)[rows].sum(), 1)
                for rows in (slice(0, middle), slice(middle, None))
            ]
            hidden_shares.setdefault(person_id, []).append((shares[0], shares[1]))
    walkers = [np.array(shares) for shares in hidden_shares.values() if len(shares) > 10]
    assert len(walkers) >= 2
    for upper, lower in (shares.T for shares in walkers):
        assert max(upper.max(), lower.max()) > 0.4  # something hides each of them …
        assert ((upper < 0.05) & (lower < 0.05)).any()  # … for a time
    everybody = np.concatenate(walkers)
    assert ((everybody[:, 1] > 0.5) & (everybody[:, 0] < 0.1)).any()  # legs behind a desk
    assert (everybody[:, 0] > 0.3).any()  # behind a pillar or a plant


def test_occluders_have_a_texture_of_their_own(seen_easily: list[tuple[Frame, GroundTruth]]) -> None:
    scenario = scene_with(only("occluders", 4))
    empty = replace(scenario, walks=())
    bare = replace(empty, cameras=tuple(replace(camera, obstacles=()) for camera in empty.cameras))
    with_furniture, without = noiseless(empty, 0).render(0)[0].image, noiseless(bare, 0).render(0)[0].image
    changed = (with_furniture != without).any(axis=2)
    assert 0.05 < changed.mean() < 0.6
    grey = cv2.cvtColor(with_furniture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    assert np.abs(cv2.Laplacian(grey, cv2.CV_32F))[changed].mean() > 2


@pytest.mark.parametrize("kind", get_args(ObstacleKind))
def test_each_piece_of_furniture_is_textured_and_follows_its_seed(kind: ObstacleKind) -> None:
    picture = render_obstacle(kind, 120, 150, 5)
    assert picture.shape == (150, 120, 4) and np.array_equal(picture, render_obstacle(kind, 120, 150, 5))
    assert not np.array_equal(picture, render_obstacle(kind, 120, 150, 6))
    solid = picture[:, :, 3] > 128
    assert 0.15 < solid.mean() <= 1 and picture[:, :, :3][solid].std() > 8
    assert render_obstacle(kind, 1, 1, 5).shape == (8, 8, 4)


def test_trolleys_move_and_hide(seen_easily: list[tuple[Frame, GroundTruth]]) -> None:
    scenario = scene_with(only("trolleys", 2))
    for trolley in scenario.cameras[0].obstacles:
        places = [trolley.x_at(at_s) for at_s in np.arange(0, 60, 0.1)]
        assert min(places) < 0 and max(places) > 1
        assert np.abs(np.diff(places)).max() <= trolley.speed * 0.1 + 1e-9
    rolling = every_second(noiseless(scenario, 0))
    hidden = [
        free.visibility - covered.visibility for (_, free), (_, covered) in zip(seen_easily, rolling, strict=True)
    ]
    assert max(one.max(initial=0) for one in hidden) > 0.2


def test_crowding_puts_people_side_by_side_but_nobody_in_two_places() -> None:
    alone, crowded = (random_scenario(16, 2, 40, 3, difficulty=only("crowding", share)) for share in (0.0, 1.0))
    assert shared_starts(crowded) > shared_starts(alone) + 5
    for person in crowded.people:
        walks = [walk for walk in crowded.walks if walk.person_id == person.person_id]
        assert all(after.start_s >= before.end_s + 1.5 for before, after in pairwise(walks))


def shared_starts(scenario: Scenario) -> int:
    """How many walks begin within half a second of another's beginning by the same side of the same picture."""
    starts = sorted((walk.camera_id, walk.waypoints[0].x, walk.start_s) for walk in scenario.walks)
    return sum(a[:2] == b[:2] and b[2] - a[2] < 0.5 for a, b in pairwise(starts))


# --- what the sensor does ---------------------------------------------------------------------------------------------


def vertical_edges(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean change of grey from column to column inside a mask."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float(np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))[mask].mean())


def test_motion_blur_softens_walkers_by_the_exposure_and_leaves_the_room_sharp(
    seen_easily: list[tuple[Frame, GroundTruth]],
) -> None:
    camera = noiseless(scene_with(only("motion_blur", 1.0)), 0)
    kept, exposed_s = [], []
    for (sharp, truth), (soft, same) in zip(seen_easily, every_second(camera), strict=True):
        assert np.array_equal(truth.labels, same.labels)  # where people are in the middle of the exposure
        if len(truth.person_ids) == 0:
            assert np.array_equal(sharp.image, soft.image)
            continue
        inside = cv2.erode((truth.labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if inside.sum() > 2000:
            kept.append(vertical_edges(soft.image, inside) / vertical_edges(sharp.image, inside))
            exposed_s.append(camera.camera.exposure_time_s(sharp.captured_at_s))
    assert min(kept) < 0.6  # strong in some frames
    assert max(kept) > 1.3 * min(kept)  # and not in others
    assert np.corrcoef(kept, exposed_s)[0, 1] < -0.6


def test_somebody_who_stands_is_not_blurred() -> None:
    turning = [walk for walk in random_scenario(12, 1, 60, 2).walks if len(walk.waypoints) == 4]
    for walk in turning:
        middle_s = (walk.waypoints[1].at_s + walk.waypoints[2].at_s) / 2
        assert walk.speed(middle_s) == 0
        assert walk.speed(walk.waypoints[0].at_s + 1) > 0.05
        assert walk.speed(walk.end_s + 1) == 0
    assert turning


def test_defocus_comes_and_goes(seen_easily: list[tuple[Frame, GroundTruth]]) -> None:
    camera = noiseless(scene_with(only("defocus", 1.0)), 0)
    everywhere = np.ones((360, 640), bool)
    kept = np.array(
        [
            vertical_edges(soft.image, everywhere) / vertical_edges(sharp.image, everywhere)
            for (sharp, _), (soft, _) in zip(seen_easily, every_second(camera), strict=True)
        ]
    )
    assert kept.min() < 0.6 and (kept == 1).mean() > 0.2


def test_colour_casts_differ_between_cameras_and_drift(easy: Scenario) -> None:
    cast = scene_with(only("colour_cast", 1.0), people=0, cameras=5)
    plain = scene_with(EASY, people=0, cameras=5)

    def red_over_blue(scenario: Scenario, at_s: float) -> np.ndarray:
        greys = np.array([camera.tone_curve(at_s)[0, 110] for camera in scenario.cameras], float)
        return greys[:, 2] / greys[:, 0]

    assert np.ptp(np.log(red_over_blue(cast, 0))) > 1.5 * np.ptp(np.log(red_over_blue(plain, 0)))
    over_time = np.array([red_over_blue(cast, at_s) for at_s in range(0, 41, 4)])
    assert (np.ptp(over_time, axis=0) > 0.03).all()
    frames = [noiseless(cast, i).render(0)[0].image for i in range(5)]
    saturations = [cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[:, :, 1].mean() for image in frames]
    assert max(saturations) > 1.5 * min(saturations)


def test_truncation_cuts_legs_in_one_camera_and_heads_in_another_by_the_given_share() -> None:
    scenario = scene_with(only("truncation", 0.3), people=12, cameras=4)
    whole, legs, _, heads = (SceneCamera(scenario, camera.id) for camera in scenario.cameras)
    for camera, edge in ((legs, 3), (heads, 1)):
        alone = [
            t for _, t in every_second(camera) if len(t.person_ids) == 1 and t.xyxy[0, 0] > 0 and t.xyxy[0, 2] < 640
        ]
        assert len(alone) > 3
        limit = 360 if edge == 3 else 0
        assert all(truth.xyxy[0, edge] == limit for truth in alone)
        assert all(0.6 < truth.visibility[0] < 0.99 for truth in alone)
    assert all((truth.xyxy[:, 1] > 0).all() for _, truth in every_second(whole))


# --- presets and words ------------------------------------------------------------------------------------------------


def test_presets_have_the_size_asked_for_and_every_difficulty() -> None:
    hard, easy = hard_scenario(20, 4, 10, 2), easy_scenario(20, 4, 10, 2)
    for scenario in (hard, easy):
        assert len(scenario.people) == 20 and len(scenario.cameras) == 4 and scenario.frame_count == 100
        assert all(person.attire is not None for person in scenario.people)
    assert all(getattr(HARD, name) > 0 for name in NAMES) and hard.difficulty == HARD
    assert all(getattr(EASY, name) == 0 for name in NAMES) and easy.difficulty == EASY


def test_hard_scenes_without_people_or_cameras_are_fine() -> None:
    assert hard_scenario(0, 0, 10, 1).cameras == ()
    _, truth = SceneCamera(hard_scenario(0, 1, 1, 1), "lobby").render(0)
    assert truth.xyxy.shape == (0, 4) and not truth.labels.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_strength_out_of_range_is_refused(name: str) -> None:
    for wrong in (-1, 13):
        with pytest.raises(ValueError, match=f"{name}: expected 0 to"):
            only(name, wrong)


def test_difficulties_are_read_from_words() -> None:
    assert parse_difficulty("hard") == HARD
    assert parse_difficulty("") == parse_difficulty("easy") == EASY
    assert parse_difficulty("hard, truncation=0") == replace(HARD, truncation=0.0)
    assert parse_difficulty("occluders=4,defocus=0.5") == Difficulty(occluders=4, defocus=0.5)


@pytest.mark.parametrize(
    "words", ["impossible", "fog=1", "occluders=many", "occluders=1.5", "hard,defocus=", "defocus=7"]
)
def test_words_that_are_not_understood_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_difficulty(words)
