"""`fit-site` over a small generated site: what it writes can be used, with and without ground truth."""

import json
from dataclasses import replace

import pytest

from pipeline.commands.fit_site import FitOptions, fit_site
from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario

CONFIG = """\
# a site
site: small
cameras:
  - {id: lobby, source: "scene/lobby.mp4", detections: scene/lobby.txt}
  - {id: street, source: scene/street.mp4, detections: scene/street.txt}  # outside
detector: {kind: recorded}
reid: {backbone: handcrafted}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two cameras for twenty seconds, with the ground truth's boxes as detections."""
    folder = tmp_path_factory.mktemp("site")
    scenario = random_scenario(people=5, cameras=2, duration_s=20.0, seed=3)
    scene = write_scene(scenario, folder / "scene", mask_every=1000)
    for camera in ("lobby", "street"):
        rows = [line.split(",") for line in (scene.ground_truth / f"{camera}.txt").read_text().splitlines()]
        found = [",".join([r[0], "-1", *r[2:6], "0.9"]) for r in rows if r[6] == "1"]
        (folder / "scene" / f"{camera}.txt").write_text("\n".join(found) + "\n")
    (folder / "mine.yaml").write_text(CONFIG)
    return folder


def fitted(site, out_dir, truth):
    told = []
    config_file = site / "mine.yaml"
    code = fit_site(load_config(config_file), config_file, out_dir, truth, told.append, FitOptions(progress=False))
    return code, told


@pytest.fixture(scope="module")
def with_truth(site):
    return (site / "out", *fitted(site, site / "out", site / "scene" / "gt"))


def test_the_written_config_is_the_users_with_a_threshold_and_finds_its_files(site, with_truth):
    out_dir, code, _ = with_truth
    assert code == 0
    text = (out_dir / "site.yaml").read_text()
    assert "# a site" in text and "# outside" in text
    config = load_config(out_dir / "site.yaml")
    plain = json.loads((out_dir / "fit.json").read_text())
    assert config.matcher.threshold == plain["threshold"]["threshold"]
    assert 0.0 < config.matcher.threshold < 0.6
    given = load_config(site / "mine.yaml")
    for camera, was in zip(config.cameras, given.cameras, strict=True):
        assert (out_dir / camera.source).resolve() == (site / was.source).resolve()
    assert replace(config, cameras=(), matcher=given.matcher, topology=()) == replace(given, cameras=())


def test_the_evidence_stands_in_comments_on_stdout_and_in_full_in_a_file(with_truth):
    out_dir, _, told = with_truth
    plain = json.loads((out_dir / "fit.json").read_text())
    assert plain["basis"] == "ground truth"
    assert plain["frames"] == {"lobby": 200, "street": 200}
    assert plain["model"].startswith("handcrafted")
    assert len(plain["distances"]["edges"]) == len(plain["distances"]["same"]) + 1
    text = (out_dir / "site.yaml").read_text()
    assert "comparisons of different people" in text
    for warning in plain["warnings"]:
        assert f"warning: {warning}" in told
    assert any(line.startswith("threshold: ") for line in told)


def test_the_same_footage_gives_the_same_files(site, with_truth):
    out_dir, _, _ = with_truth
    again = site / "again"
    fitted(site, again, site / "scene" / "gt")
    for name in ("site.yaml", "fit.json"):
        assert (again / name).read_bytes() == (out_dir / name).read_bytes()


def test_without_ground_truth_what_is_certain_serves_or_the_setting_stays(site, tmp_path):
    code, told = fitted(site, tmp_path / "out", None)
    assert code == 0
    config = load_config(tmp_path / "out" / "site.yaml")
    plain = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert plain["basis"] == "certain pairs"
    chosen = plain["threshold"]["threshold"]
    assert config.matcher.threshold == ("auto" if chosen is None else chosen)
    assert (chosen is None) == any("too little" in line for line in told)


def test_live_sources_missing_ground_truth_and_no_cameras_are_refused_before_anything_is_written(site, tmp_path):
    out_dir = tmp_path / "out"
    config_file = site / "mine.yaml"
    config = load_config(config_file)
    live = config.with_cameras((replace(config.cameras[0], source="rtsp://127.0.0.1/x"),))
    for wrong, truth in ((live, None), (config, site / "nowhere"), (config.with_cameras(()), None)):
        with pytest.raises(ConfigError):
            fit_site(wrong, config_file, out_dir, truth, print, FitOptions(progress=False))
    assert not out_dir.exists()
