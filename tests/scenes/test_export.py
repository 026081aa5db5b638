"""What `write_scene` leaves in a folder."""

import configparser
import csv
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.errors import OutputError
from pipeline.scenes.difficulty import HARD
from pipeline.scenes.export import MIN_VISIBILITY, write_scene
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario, random_scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return random_scenario(people=5, cameras=2, duration_s=8, seed=5)


@pytest.fixture(scope="module")
def written(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene") / "out"
    write_scene(scenario, folder)
    return folder


def rows_of(folder: Path, camera_id: str) -> np.ndarray:
    return np.loadtxt(folder / "gt" / f"{camera_id}.txt", delimiter=",", ndmin=2)


def test_each_camera_is_an_h264_video_without_b_frames_close_to_what_was_rendered(
    written: Path, scenario: Scenario
) -> None:
    for camera in scenario.cameras:
        with av.open(str(written / f"{camera.id}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert not stream.codec_context.has_b_frames
            assert stream.average_rate == 10
            pictures = [(float(f.pts * f.time_base), f.to_ndarray(format="bgr24")) for f in container.decode(stream)]
        assert [at for at, _ in pictures] == pytest.approx([i / 10 for i in range(80)])
        exact = SceneCamera(scenario, camera.id).render(60)[0].image
        assert np.abs(pictures[60][1].astype(int) - exact).mean() < 6
        assert camera.width_px == 640 and pictures[0][1].shape == (360, 640, 3)


def test_the_config_names_every_camera_and_its_file(written: Path, scenario: Scenario) -> None:
    config = load_config(written / "site.yaml", {})
    assert [camera.id for camera in config.cameras] == [camera.id for camera in scenario.cameras]
    assert all(Path(camera.source).is_file() for camera in config.cameras)


def test_ground_truth_rows_equal_what_is_rendered(written: Path, scenario: Scenario) -> None:
    for camera in scenario.cameras:
        scene = SceneCamera(scenario, camera.id)
        rows = rows_of(written, camera.id)
        assert rows.shape[1] == 9 and rows[:, 0].min() >= 1
        assert set(rows[:, 7]) == {1}
        assert np.array_equal(rows[:, 6] == 1, rows[:, 8] >= MIN_VISIBILITY - 5e-4)
        for frame in (10, 40, 75):
            truth = scene.render(frame - 1)[1]
            own = rows[rows[:, 0] == frame]
            order = np.argsort(truth.person_ids)
            assert own[:, 1].tolist() == truth.person_ids[order].tolist()
            assert np.allclose(own[:, 2:4] + own[:, 4:6], truth.xyxy[order, 2:])


def test_label_maps_are_the_exact_masks_of_every_fifth_frame(written: Path, scenario: Scenario) -> None:
    for camera in scenario.cameras:
        files = sorted((written / "masks" / camera.id).iterdir())
        assert [int(file.stem) for file in files] == list(range(1, 81, 5))
        labels = cv2.imread(str(files[9]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, SceneCamera(scenario, camera.id).render(45)[1].labels)


def test_visits_agree_with_the_rows(written: Path) -> None:
    with (written / "gt" / "visits.csv").open() as file:
        visits = list(csv.DictReader(file))
    assert visits
    assert list(visits[0]) == ["camera", "person_id", "visit", "entry_frame", "exit_frame", "certainty"]
    for visit in visits:
        rows = rows_of(written, visit["camera"])
        own = rows[(rows[:, 1] == int(visit["person_id"])) & (rows[:, 6] == 1)][:, 0]
        entry, last = int(visit["entry_frame"]), int(visit["exit_frame"])
        assert entry in own and last in own and entry <= last
        assert entry - 1 not in own and last + 1 not in own


def test_the_sheet_is_a_picture(written: Path) -> None:
    sheet = cv2.imread(str(written / "people.png"))
    assert sheet is not None and sheet.shape == (369, 850, 3)


def test_images_are_lossless_and_in_the_motchallenge_layout(tmp_path: Path) -> None:
    scenario = random_scenario(people=1, cameras=1, duration_s=0.3, seed=5)
    steps: list[tuple[int, int]] = []
    written = write_scene(scenario, tmp_path, images=True, mask_every=2, progress=lambda *s: steps.append(s))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    folder = written.sources["lobby"]
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    assert info["Sequence"]["frameRate"] == "10" and info["Sequence"]["seqLength"] == "3"
    image = cv2.imread(str(folder / "img1" / "000002.png"))
    assert np.array_equal(image, SceneCamera(scenario, "lobby").render(1)[0].image)
    assert len(list((tmp_path / "masks" / "lobby").iterdir())) == 2


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path, scenario: Scenario) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        write_scene(scenario, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(OutputError, match="choose another folder"):
        write_scene(scenario, tmp_path / "mine.txt")
    with pytest.raises(ValueError, match="mask_every"):
        write_scene(scenario, tmp_path / "new", mask_every=0)


def test_a_scene_without_people_or_frames_is_written(tmp_path: Path) -> None:
    written = write_scene(random_scenario(0, 1, 0, 1), tmp_path, images=True)
    assert (written.ground_truth / "lobby.txt").read_text() == ""
    assert (written.ground_truth / "visits.csv").read_text().count("\n") == 1


def test_a_hard_scene_is_written_with_its_difficulty_and_its_lookalikes(tmp_path: Path) -> None:
    scenario = random_scenario(8, 1, 6, 5, difficulty=replace(HARD, lookalikes=0.5))
    written = write_scene(scenario, tmp_path / "hard")
    record = json.loads((tmp_path / "hard" / "difficulty.json").read_text())
    assert record["seed"] == 5 and record["difficulty"]["occluders"] == 3
    copies = [person for person in scenario.people if person.likeness is not None]
    assert [entry["person_id"] for entry in record["lookalikes"]] == [person.person_id for person in copies] != []
    rows = rows_of(written.folder, "lobby")
    assert ((rows[:, 8] > 0.2) & (rows[:, 8] < 0.8)).any()
    assert load_config(written.config, {}).cameras[0].id == "lobby"


def test_a_scene_without_difficulty_has_no_record_of_one(written: Path) -> None:
    assert not (written / "difficulty.json").exists()
