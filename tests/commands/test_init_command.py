import cv2
import numpy as np
import pytest

from pipeline.capture.probe import SourceInfo
from pipeline.commands.init import init_site
from pipeline.config import load_config
from pipeline.errors import ConfigError, OutputError, SourceRefused, SourceUnavailable

RTSP = "rtsp://admin:s3cr3t-p@ss@10.0.0.5:554/stream1"


@pytest.fixture
def said():
    return []


@pytest.fixture
def folder(tmp_path):
    """A folder with two pictures."""
    made = tmp_path / "hall.day 1"
    made.mkdir()
    for n in range(2):
        cv2.imwrite(str(made / f"{n}.png"), np.zeros((48, 64, 3), np.uint8))
    return made


def live(source, _config):
    return SourceInfo("rtsp", 1920, 1080, 25.0)


def test_a_folder_becomes_a_site_that_can_be_read_back(tmp_path, folder, said):
    out = tmp_path / "site.yaml"
    assert init_site([str(folder)], out, said.append) == 0
    (camera,) = load_config(out).cameras
    assert (camera.id, camera.source) == ("hall-day-1", str(folder))
    assert load_config(out).site == "site"
    assert "64x48 px" in out.read_text() and "64x48 px" in said[0]


def test_a_relative_source_is_written_relative_to_the_file(tmp_path, folder, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    from pathlib import Path

    out = Path("conf/site.yaml")
    init_site([folder.name], out, said.append)
    (camera,) = load_config(out).cameras
    assert Path(camera.source).resolve() == folder
    assert str(tmp_path) not in out.read_text()


def test_a_password_goes_to_the_environment_and_nowhere_else(tmp_path, said):
    out = tmp_path / "site.yaml"
    assert init_site([RTSP], out, said.append, probe_source=live, environment={}) == 0
    everything = out.read_text() + "\n".join(said)
    assert "s3cr3t" not in everything and "p@ss" not in everything
    assert "CAMERA_1_PASSWORD" in out.read_text() and any("export CAMERA_1_PASSWORD" in line for line in said)
    (camera,) = load_config(out, {"CAMERA_1_PASSWORD": "s3cr3t-p@ss"}).cameras
    assert (camera.id, camera.source) == ("camera-10-0-0-5", RTSP)


def test_a_token_in_the_query_goes_to_the_environment(tmp_path, said):
    url = "rtsp://cam.example/live?token=abc123&channel=2"
    out = tmp_path / "site.yaml"
    init_site([url], out, said.append, probe_source=live, environment={})
    assert "abc123" not in out.read_text() + "\n".join(said)
    (camera,) = load_config(out, {"CAMERA_1_SECRET_1": "abc123"}).cameras
    assert (camera.id, camera.source) == ("cam", url)


def test_secrets_in_a_path_that_some_cameras_use_go_to_the_environment(tmp_path, said):
    url = "rtsp://cam.example/user=admin_password=tl_Jw_channel=1"
    out = tmp_path / "site.yaml"
    init_site([url], out, said.append, probe_source=live, environment={})
    assert "Jw" not in out.read_text() + "\n".join(said)
    (camera,) = load_config(out, {"CAMERA_1_SECRET_1": "tl_Jw"}).cameras
    assert camera.source == url


def test_a_variable_that_is_there_already_stays_and_is_used_for_the_probe(tmp_path, said):
    probed = []

    def remember(source, config):
        probed.append(source)
        return live(source, config)

    url = "rtsp://admin:${DOOR_PASSWORD}@door.local/stream1"
    out = tmp_path / "site.yaml"
    init_site([url], out, said.append, probe_source=remember, environment={"DOOR_PASSWORD": "geheim"})
    assert probed == ["rtsp://admin:geheim@door.local/stream1"]
    assert "${DOOR_PASSWORD}" in out.read_text() and "geheim" not in out.read_text() + "\n".join(said)


def test_ids_are_unique_and_valid(tmp_path, folder, said):
    out = tmp_path / "site.yaml"
    init_site([str(folder), str(folder), "0", "rtsp://_./x"], out, said.append, probe_source=live, environment={})
    assert [c.id for c in load_config(out).cameras] == ["hall-day-1", "hall-day-1-2", "webcam-0", "camera-4"]


@pytest.mark.parametrize("error", [SourceUnavailable("camera: no answer\nin time"), SourceRefused("wrong password")])
def test_a_camera_that_is_off_is_written_with_a_comment_and_makes_the_exit_code_1(tmp_path, said, error):
    def off(_source, _config):
        raise error

    out = tmp_path / "site.yaml"
    assert init_site([RTSP], out, said.append, probe_source=off, environment={}) == 1
    assert "could not be opened by init" in out.read_text()
    assert len(load_config(out, {"CAMERA_1_PASSWORD": "x"}).cameras) == 1


@pytest.mark.parametrize("sources", [[], [""], ["http://camera/stream"], ["nowhere.mp4"]])
def test_what_is_no_source_writes_nothing(tmp_path, said, sources):
    out = tmp_path / "site.yaml"
    with pytest.raises(ConfigError):
        init_site(sources, out, said.append)
    assert not out.exists()


def test_an_existing_file_is_kept_unless_it_may_be_overwritten(tmp_path, folder, said):
    out = tmp_path / "site.yaml"
    out.write_text("mine")
    with pytest.raises(OutputError, match="overwrite"):
        init_site([str(folder)], out, said.append)
    assert out.read_text() == "mine"
    assert init_site([str(folder)], out, said.append, overwrite=True) == 0
    assert load_config(out).cameras
