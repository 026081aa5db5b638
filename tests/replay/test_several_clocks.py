"""Cameras of one site with other frame rates, start times and clocks."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.bus.lines import event_from_json
from pipeline.commands.replay import ReplayOptions, prepare, replay
from pipeline.config import Config, load_config
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario
from pipeline.types import IdentityEvent

START_S = 1772355600.0  # 2026-03-01 09:00 UTC


def events_of(config: Config, out_dir: Path) -> list[IdentityEvent]:
    replay(prepare(config), out_dir, ReplayOptions(progress=False), echo=lambda _: None)
    lines = (out_dir / "identities.jsonl").read_text().splitlines()
    return [event_from_json(line) for line in lines]


def every_other_frame(folder: Path, detections: Path, target: Path) -> Path:
    """Half the frame rate: `target` becomes the pictures; the detections of the kept frames come back."""
    (target / "img1").mkdir(parents=True)
    for number, picture in enumerate(sorted((folder / "img1").iterdir())[::2], start=1):
        shutil.copy(picture, target / "img1" / f"{number:06d}.png")
    (target / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\nframeRate=5\n")
    rows = [line.split(",") for line in detections.read_text().splitlines()]
    kept = [[str((int(r[0]) + 1) // 2), *r[1:]] for r in rows if int(r[0]) % 2 == 1]
    file = target / "det.txt"
    file.write_text("\n".join(",".join(row) for row in kept) + "\n")
    return file


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two cameras at 10 frames per second, with the true boxes as detections, and the events of their replay."""
    folder = tmp_path_factory.mktemp("clocks")
    scene = write_scene(random_scenario(3, 2, 12.0, seed=5), folder / "scene", images=True)
    config = load_config(scene.config)
    cameras = tuple(replace(c, detections=str(scene.ground_truth / f"{c.id}.txt")) for c in config.cameras)
    detector = replace(config.detector, kind="recorded")
    reid = replace(config.reid, backbone="handcrafted")
    background = replace(config.background, references=False)
    config = replace(config, cameras=cameras, detector=detector, reid=reid, background=background)
    return folder, config, events_of(config, folder / "plain")


def test_a_start_time_moves_everything_and_changes_nothing_else(site):
    folder, config, plain = site
    moved = tuple(replace(camera, start_time=START_S) for camera in config.cameras)
    events = events_of(config.with_cameras(moved), folder / "moved")
    assert [(e.kind, e.identity_id, e.key) for e in events] == [(e.kind, e.identity_id, e.key) for e in plain]
    assert [e.at_s - START_S for e in events] == pytest.approx([e.at_s for e in plain], abs=1e-5)


def test_a_clock_that_is_wrong_is_put_right_by_its_offset(site):
    folder, config, plain = site
    first, second = config.cameras
    second = replace(second, start_time=3.0, clock_offset_s=-3.0)
    events = events_of(config.with_cameras((first, second)), folder / "offset")
    assert [(e.kind, e.identity_id, e.key) for e in events] == [(e.kind, e.identity_id, e.key) for e in plain]
    assert [e.at_s for e in events] == pytest.approx([e.at_s for e in plain], abs=1e-5)


def test_a_wrong_clock_moves_the_events_of_its_camera_only(site):
    folder, config, plain = site
    first, second = config.cameras
    events = events_of(config.with_cameras((first, replace(second, start_time=100.0))), folder / "late")
    assert {round(e.at_s, 3) for e in events if e.key.camera_id == first.id and e.kind != "left"} == {
        round(e.at_s, 3) for e in plain if e.key.camera_id == first.id and e.kind != "left"
    }
    assert all(e.at_s >= 100.0 for e in events if e.key.camera_id == second.id)
    assert any(e.key.camera_id == second.id for e in events)


def test_cameras_of_different_frame_rates_meet_in_one_site(site):
    folder, config, plain = site
    first, second = config.cameras
    slow = folder / "slow"
    detections = every_other_frame(Path(second.source), Path(second.detections), slow)
    second = replace(second, source=str(slow), detections=str(detections))
    events = events_of(config.with_cameras((first, second)), folder / "rates")
    told = {(e.kind, e.identity_id, e.key.camera_id): e.at_s for e in events if e.kind != "left"}
    plainly = {(e.kind, e.identity_id, e.key.camera_id): e.at_s for e in plain if e.kind != "left"}
    assert told.keys() <= plainly.keys(), "nobody is taken for somebody else"
    assert len(told) >= len(plainly) - 1, "at 5 frames per second a person may be too short in the picture"
    assert any(kind == "handed_over" for kind, _, _ in told)
    assert all(abs(at_s - plainly[key]) <= 0.4 for key, at_s in told.items())
