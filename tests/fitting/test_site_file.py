"""A fitted configuration as an edit of the user's own file."""

from pathlib import Path

import pytest

from pipeline.config import TopologyConfig, load_config
from pipeline.errors import ConfigError
from pipeline.fitting.site_changes import Change, SiteChanges
from pipeline.fitting.site_file import fitted_text

ENVIRONMENT = {"DOOR_PASSWORD": "s3cret", "VIDEOS": "clips"}
WAY = TopologyConfig(from_camera="door", to_camera="hall", transit_s=(0.0, 12.0))
VIEW = TopologyConfig(pair=("door", "hall"), overlap=True)
CHANGES = SiteChanges(
    matcher={"threshold": Change("0.275", ("chosen on 40 people",))},
    offsets={"hall": Change("-3.7", ("the clock was ahead",))},
    topology=((WAY, ("12 ways",)), (VIEW, ("4 people in both",))),
    notes=("made by fit-site", "a note " * 40),
)
BLOCK = """\
# my site
site: lobby
cameras:
  - id: door
    source: "rtsp://user:${DOOR_PASSWORD}@10.0.0.5/stream1"   # the front
  - id: hall
    source: media/hall.mp4
    # behind the stairs

# how near
matcher: {threshold: auto, margin: 0.04}   # keep this
topology: []
# the end
"""


def fitted(tmp_path, text, changes=CHANGES, folder="site/config", out="results/fit"):
    config_file = tmp_path / folder / "mine.yaml"
    config_file.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(text, encoding="utf-8")
    out_dir = tmp_path / out
    result = fitted_text(config_file, out_dir, changes, ENVIRONMENT)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "site.yaml").write_text(result, encoding="utf-8")
    return result, load_config(config_file, ENVIRONMENT), load_config(out_dir / "site.yaml", ENVIRONMENT)


def test_settings_are_changed_with_their_evidence_and_the_rest_stays(tmp_path):
    text, before, after = fitted(tmp_path, BLOCK)
    assert (after.matcher.threshold, after.matcher.margin) == (0.275, 0.04)
    assert after.camera("hall").clock_offset_s == -3.7
    assert after.topology == (WAY, VIEW)
    assert (after.site, after.camera("door")) == (before.site, before.camera("door"))
    for kept in ("# my site", "# the front", "# behind the stairs", "# how near", "# keep this", "# the end"):
        assert text.count(kept) == 1
    for told in ("# made by fit-site", "# chosen on 40 people", "# the clock was ahead", "# 12 ways"):
        assert text.count(told) == 1
    assert text.index("# chosen on 40 people") < text.index("threshold: 0.275")
    assert all(len(line) <= 110 for line in text.splitlines())


def test_passwords_stay_variables(tmp_path):
    text, _, _ = fitted(tmp_path, BLOCK)
    assert "${DOOR_PASSWORD}" in text and "s3cret" not in text


def test_relative_paths_are_rewritten_for_the_new_folder_and_others_stay(tmp_path):
    text, before, after = fitted(
        tmp_path,
        f"cameras:\n"
        f"  - {{id: a, source: ../shot/a.mp4, calibration: a.json, detections: det.txt}}\n"
        f"  - {{id: b, source: '${{VIDEOS}}/b.mp4'}}\n"
        f"  - {{id: c, source: {tmp_path}/c.mp4}}\n"
        f"  - {{id: d, source: '0'}}\n",
        SiteChanges(),
    )
    assert "${VIDEOS}" in text
    for camera in before.cameras:
        found = after.camera(camera.id)
        for key in ("source", "calibration", "detections"):
            was, now = getattr(camera, key), getattr(found, key)
            assert was == now or Path(was).resolve() == Path(now).resolve()
    assert after.camera("d").source == "0"
    assert str(tmp_path) not in text.replace(f"{tmp_path}/c.mp4", "")


def test_into_the_same_folder_paths_stay_as_they_are(tmp_path):
    text, _, _ = fitted(tmp_path, BLOCK, folder="site", out="site")
    assert "source: media/hall.mp4" in text


@pytest.mark.parametrize(
    "text",
    [
        "cameras: [{id: door, source: a.mp4}, {id: hall, source: b.mp4}]",
        "cameras:\n- {id: door, source: a.mp4}\n- {id: hall, source: b.mp4}\nmatcher: {}\ntopology: []\n",
        "matcher:\n  margin: 0.1\ncameras:\n  - source: a.mp4\n    id: door\n  - id: hall\n    source: b.mp4\n",
        "matcher:\n  threshold: 0.5  # mine\ncameras:\n  - id: door\n    source: a.mp4\n"
        "  - id: hall\n    source: b.mp4\n    clock_offset_s: 1.0\n",
        '{"cameras": [{"id": "door", "source": "a.mp4"}, {"id": "hall", "source": "b.mp4"}]}',
        '{\n "cameras": [\n  {"id": "door",\n   "source": "a.mp4"},\n  {"id": "hall", "source": "b.mp4"}\n ]\n}\n',
        "cameras:\n- &one {id: door, source: a.mp4}\n- {id: hall, source: b.mp4}\nmatcher: &m {threshold: auto}\n",
        "cameras:\n- {id: door, source: a.mp4}\n- id: hall\n  source: >-\n    b.mp4\n",
        "---\ncameras:\n- {id: door, source: a.mp4}\n- {id: hall, source: b.mp4}\n...\n",
        "cameras:\n- {id: door, source: a.mp4,}\n- {id: hall, source: b.mp4,}\nmatcher: {threshold: auto,}\n",
        "cameras:\n- {id: door, source: 'a\n    b.mp4', detect_every_s: 0.1}\n- {id: hall, source: 'c\n    d.mp4'}\n",
    ],
)
def test_every_layout_comes_out_as_the_configuration_that_was_meant(tmp_path, text):
    _, before, after = fitted(tmp_path, text)
    assert after.matcher.threshold == 0.275
    assert after.topology == (*before.topology, WAY, VIEW)
    assert after.camera("hall").clock_offset_s == -3.7
    assert after.camera("door").detect_every_s == before.camera("door").detect_every_s


@pytest.mark.parametrize(
    "entries",
    [
        "[{pair: [hall, door], overlap: false}]",
        "\n  - {pair: [hall, door], overlap: false}  # a wall\n",
        "\n- pair: [hall, door]\n  overlap: false\n  # a wall\n",
    ],
)
def test_entries_of_the_topology_are_added_behind_those_that_are_there(tmp_path, entries):
    text = f"cameras:\n- {{id: door, source: a.mp4}}\n- {{id: hall, source: b.mp4}}\ntopology: {entries}\nsite: x\n"
    result, before, after = fitted(tmp_path, text)
    assert after.topology == (*before.topology, WAY, VIEW)
    assert result.count("a wall") == text.count("a wall")


def test_an_alias_is_not_changed_through_its_anchor(tmp_path):
    text = (
        "cameras:\n- id: door\n  source: a.mp4\n  exits: &none []\n- id: hall\n  source: b.mp4\n  exits: *none\n"
        "detector: {confidence: &c 0.5}\nmatcher: {threshold: *c}\n"
    )
    _, before, after = fitted(tmp_path, text)
    assert after.detector == before.detector
    assert after.matcher.threshold == 0.275


def test_without_any_change_the_same_configuration_comes_out(tmp_path):
    _, before, after = fitted(tmp_path, BLOCK, SiteChanges(), folder="site", out="site")
    assert after == before


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        fitted(tmp_path, "nonsense: 1\n")
    with pytest.raises(ConfigError):
        fitted_text(tmp_path / "absent.yaml", tmp_path, CHANGES, ENVIRONMENT)


HEAD = SiteChanges(
    reid={
        "fusion": Change("stripes", ("better by .05",)),
        "head_weights": Change('"head.safetensors"', ()),
        "stripes": Change("8", ()),
    },
    matcher={"threshold": Change("0.3", ("of the new head",))},
)


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        BLOCK + "reid: {fusion: global, every_s: 2.0}  # mine\n",
        BLOCK + "reid:\n  every_s: 2.0\n  head_weights: ../old/head.safetensors\n",
        BLOCK + "reid: {}\n",
        '{"cameras": [{"id": "door", "source": "a.mp4"}, {"id": "hall", "source": "b.mp4"}]}',
    ],
)
def test_a_learned_head_is_named_with_its_evidence(tmp_path, text):
    result, before, after = fitted(tmp_path, text, HEAD)
    assert (after.reid.fusion, after.reid.stripes, after.reid.every_s) == ("stripes", 8, before.reid.every_s)
    assert Path(after.reid.head_weights).resolve() == (tmp_path / "results" / "fit" / "head.safetensors").resolve()
    assert after.matcher.threshold == 0.3
    assert result.count("# better by .05") == 1


@pytest.mark.parametrize("named", ["../old/head.safetensors", "osnet_x0_25_msmt17"])
def test_a_head_that_stays_is_found_from_the_new_folder_and_a_stored_one_keeps_its_name(tmp_path, named):
    _, before, after = fitted(tmp_path, BLOCK + f"reid: {{head_weights: {named}}}\n", SiteChanges())
    if "/" in named:
        assert Path(after.reid.head_weights).resolve() == Path(before.reid.head_weights).resolve()
    else:
        assert after.reid.head_weights == named
