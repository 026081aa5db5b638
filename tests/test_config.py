import re
import string
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import CameraConfig, Config, TopologyConfig, load_config, parse_config
from pipeline.errors import ConfigError

ROOT = Path(__file__).parent.parent
SECTIONS = {f.name: f.default_factory for f in fields(Config) if is_dataclass(f.default_factory)}
YAML_WORDS = {"from_camera": "from", "to_camera": "to"}


def mistakes(text, **environment):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "site.yaml", environment=environment)
    return list(caught.value.mistakes)


# -- the files that come with the program


def test_the_default_file_holds_every_setting_once_with_its_default():
    text = (ROOT / "configs/default.yaml").read_text()
    assert parse_config(text, environment={}) == Config()
    given_keys = yaml.safe_load(text)
    assert set(given_keys) == {f.name for f in fields(Config)}
    for name, section in SECTIONS.items():
        assert set(given_keys[name]) == {f.name for f in fields(section)}, name


def test_every_line_of_the_default_file_has_a_comment():
    lines = (ROOT / "configs/default.yaml").read_text().splitlines()
    bare = [line for line in lines if ":" in line and "#" not in line and not line.endswith(":")]
    assert bare == []


def test_the_default_file_shows_every_setting_of_a_camera_with_its_default():
    text = (ROOT / "configs/default.yaml").read_text()
    example = "".join(line[1:] + "\n" for line in text.split("cameras: []")[1].split("\n\n")[0].splitlines()[1:])
    (camera,) = yaml.safe_load(example)
    assert set(camera) == {f.name for f in fields(CameraConfig)}
    shown = parse_config(f"cameras:\n{example}", environment={}).cameras[0]
    assert shown == CameraConfig(camera["id"], camera["source"])


@pytest.mark.parametrize("name", ["default", "demo", "cpu", "gpu", "site.example"])
def test_every_file_that_comes_along_can_be_read(name):
    config = load_config(ROOT / f"configs/{name}.yaml", {"DOOR_PASSWORD": "a", "HALL_PASSWORD": "b"})
    assert config.site


def test_the_example_site_has_a_password_from_the_environment():
    config = load_config(ROOT / "configs/site.example.yaml", {"DOOR_PASSWORD": "a/b@c", "HALL_PASSWORD": "b"})
    assert "viewer:a/b@c@" in config.camera("door").source
    assert [c.id for c in config.cameras] == ["door", "hall", "yard"]
    with pytest.raises(ConfigError, match="HALL_PASSWORD is not set"):
        load_config(ROOT / "configs/site.example.yaml", {"DOOR_PASSWORD": "a"})


def tables_of(text):
    """Section heading -> {key: default as written} of the page's tables."""
    tables = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+\|$", part, flags=re.MULTILINE)
        tables[part.split("\n", 1)[0]] = dict(rows)
    return tables


def documented_default(f):
    if f.default is MISSING and f.default_factory is MISSING:
        return "(required)"
    value = f.default if f.default is not MISSING else f.default_factory()
    return list(value) if isinstance(value, tuple) else value


def test_the_page_about_the_configuration_has_every_key_with_its_default():
    tables = tables_of((ROOT / "docs/configuration.md").read_text())
    sections = {**SECTIONS, "cameras": CameraConfig, "topology": TopologyConfig}
    assert set(tables) == {*sections, "top level"}
    for name, section in sections.items():
        expected = {YAML_WORDS.get(f.name, f.name): documented_default(f) for f in fields(section)}
        shown = {k: v if v == "(required)" else yaml.safe_load(v.strip("`")) for k, v in tables[name].items()}
        assert shown == expected, name
    assert set(tables["top level"]) | set(SECTIONS) == {f.name for f in fields(Config)}


# -- what is read


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_is_all_defaults(text):
    assert parse_config(text) == Config()


def test_a_file_needs_only_what_differs():
    config = parse_config("matcher: {absence_s: 7}\nview:\n  port: 0\n")
    assert (config.matcher.absence_s, config.view.port) == (7.0, 0)
    assert replace(config, matcher=Config().matcher, view=Config().view) == Config()


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path):
    text = (
        "cameras:\n- {id: a, source: x/a.mp4, detections: det.txt, calibration: ../c.yaml}\n"
        "- {id: b, source: /abs/b.mp4}\n- {id: c, source: '0'}\n- {id: d, source: 'rtsp://h/s'}\n"
    )
    (tmp_path / "site.yaml").write_text(text)
    a, b, c, d = load_config(tmp_path / "site.yaml").cameras
    assert a.source == str(tmp_path / "x/a.mp4") and a.detections == str(tmp_path / "det.txt")
    assert a.calibration == str(tmp_path / "../c.yaml")
    assert (b.source, c.source, d.source) == ("/abs/b.mp4", "0", "rtsp://h/s")


def test_a_number_as_a_source_is_a_webcam():
    assert parse_config("cameras: [{id: a, source: 0}]").cameras[0].source == "0"


def test_variables_are_replaced_anywhere_in_a_text():
    text = "cameras: [{id: '${ID}', source: 'rtsp://${USER_1}:${P}@h/${P}'}]"
    (camera,) = parse_config(text, environment={"ID": "door", "USER_1": "u", "P": "p${X}"}).cameras
    assert (camera.id, camera.source) == (
        "door",
        "rtsp://u:p${X}@h/p${X}",
    )  # what comes from a variable is taken as it is


def test_the_topology_says_from_and_to():
    text = "cameras: [{id: a, source: x}, {id: b, source: y}]\ntopology: [{from: a, to: b, transit_s: [1, 2.5]}]"
    (rule,) = parse_config(text).topology
    assert (rule.from_camera, rule.to_camera, rule.transit_s) == ("a", "b", (1.0, 2.5))


def test_the_camera_of_an_unknown_id_is_answered_with_the_known_ones():
    config = parse_config("cameras: [{id: a, source: x}]")
    assert config.camera("a").source == "x"
    with pytest.raises(ConfigError, match="it has: a"):
        config.camera("b")


# -- mistakes, each with its line

LINE_AND_WORDS = [
    ("site: a\nmatchr: {}\n", 2, "unknown key 'matchr'; did you mean 'matcher'"),
    ("matcher:\n  absense_s: 1\n", 2, "unknown key 'matcher.absense_s'; did you mean 'absence_s'"),
    ("matcher:\n  zzz: 1\n", 2, "known here: absence_s"),
    ("site: a\nsite: b\n", 2, "'site' is given twice"),
    ("matcher:\n  margin: 0.1\n  margin: 0.2\n", 3, "'matcher.margin' is given twice"),
    ("matcher:\n  absence_s: soon\n", 2, "matcher.absence_s: expected a number, got 'soon'"),
    ("matcher:\n  absence_s:\n", 2, "expected a number, got nothing"),
    ("matcher:\n  absence_s: [1]\n", 2, "expected a number, got a list"),
    ("matcher:\n  threshold: low\n", 2, "matcher.threshold: expected a number or auto, got 'low'"),
    ("matcher:\n  threshold: 2.5\n", 2, "expected 0 to 2, got 2.5"),
    ("matcher:\n  absence_s: -1\n", 2, "got -1"),
    ("tracker:\n  lost_s: -0.5\n", 2, "seconds cannot be negative"),
    ("runtime:\n  cameras_per_worker: 1.5\n", 2, "expected a whole number"),
    ("runtime:\n  cameras_per_worker: 0\n", 2, "expected 1 to 64, got 0"),
    ("view:\n  insecure: 1\n", 2, "expected true or false"),
    ("view:\n  port: 70000\n", 2, "expected 0 to 65535"),
    ("detector:\n  kind: yolov5\n", 2, "expected one of auto, yolo, hog, recorded; got 'yolov5'"),
    ("detector: yolo\n", 1, "detector: expected settings as `key: value`"),
    ("site: true\n", 1, "expected text, got 'true'; put it in quotes"),
    ("cameras: {id: a}\n", 1, "cameras: expected a list, got a section"),
    ("cameras:\n- {id: a, source: x}\n- {id: b}\n", 3, "'source' is missing"),
    ("cameras:\n- id: a\n  source: ${NOPE}\n", 3, "the environment variable NOPE is not set"),
    ("cameras:\n- id: a\n  source: x\n  detect_every_s: 61\n", 4, "cameras[0].detect_every_s: expected 0 to 60"),
    ("topology:\n- from_camera: a\n", 2, "unknown key 'topology[0].from_camera'"),
    ("topology:\n- {from: a, to: b, transit_s: [1, 2, 3]}\n", 2, "expected 2 values, got 3"),
    ("capture:\n  reconnect_s: [1, x]\n", 2, "capture.reconnect_s[1]: expected a number"),
    ("matcher:\n  absence_s: .nan\n", 2, "expected a number, got '.nan'"),
    ("matcher:\n  absence_s: !!float nan\n", 2, "expected a finite number, got nan"),
    ("tracker:\n  lost_s: .inf\n", 2, "expected a number, got '.inf'"),
    ("tracker:\n  lost_s: !!float inf\n", 2, "expected a finite number, got inf"),
]


@pytest.mark.parametrize(("text", "line", "words"), LINE_AND_WORDS, ids=[words for _, _, words in LINE_AND_WORDS])
def test_a_mistake_names_its_line(text, line, words):
    (mistake,) = mistakes(text)
    assert mistake.startswith(f"site.yaml:{line}: ") and words in mistake


WHOLE = [
    ("site: a b\n", "letters, digits"),
    ("cameras: [{id: ../x, source: y}]", "letters, digits"),
    ("cameras: [{id: '', source: y}]", "letters, digits"),
    ("cameras: [{id: a, source: x}, {id: a, source: y}]", "camera id 'a' is used twice"),
    ("topology: [{pair: [a, b]}]", "unknown camera 'a'"),
    ("cameras: [{id: a, source: x}]\ntopology: [{from: a, to: q, transit_s: [1, 2]}]", "unknown camera 'q'"),
    ("cameras: [{id: a, source: x}]\ntopology: [{from: a}]", "{from, to, transit_s} or {pair, overlap}"),
    ("topology: [{}]", "{from, to, transit_s} or {pair, overlap}"),
    ("cameras: [{id: a, source: x}]\ntopology: [{from: a, to: a, transit_s: [5, 2]}]", "[least, most]"),
    ("capture: {reconnect_s: []}", "at least one wait"),
    ("capture: {refused_s: [0]}", "above 0 s"),
    ("background: {poll_s: 1, poll_missing_s: 2}", "0 < poll_missing_s <= poll_s"),
]


@pytest.mark.parametrize(("text", "words"), WHOLE, ids=[f"{n}-{words}" for n, (_, words) in enumerate(WHOLE)])
def test_a_mistake_between_settings_names_the_file(text, words):
    found = mistakes(text)
    assert all(m.startswith("site.yaml: ") for m in found) and any(words in m for m in found)


def test_all_mistakes_are_told_at_once():
    found = mistakes("nope: 1\nmatcher:\n  margin: x\n  absence_s: -1\nview: {port: -1}\n")
    assert [m.split(":")[1] for m in found] == ["1", "3", "4", "5"]


@pytest.mark.parametrize("text", ["site: [", "a: b: c", "\tsite: x", "site: 'x", "- a\n- b", "just text", "42"])
def test_what_is_no_configuration_is_one_line(text):
    (mistake,) = mistakes(text)
    assert mistake.startswith("site.yaml:") and "\n" not in mistake


@pytest.mark.parametrize(
    "text",
    [
        "site: !!python/object/apply:os.system ['true']",
        "site: !!python/name:os.system",
        "!!python/object:pipeline.config.Config {}",
        "cameras: !!python/tuple [1]",
        "a: &x {b: 1}\n<<: *x",
        "? [a, b]\n: 1",
        "? {a: b}\n: 1",
        "matcher:\n  ? [a]\n  : 1",
        "site: !!binary aGFsbG8=",
        "matcher: {absence_s: !!float abc}",
        "view: {port: !!int xyz}",
        "view: {insecure: !!bool perhaps}",
    ],
)
def test_yaml_that_is_more_than_settings_is_refused(text):
    found = mistakes(text)
    assert found and all(m.startswith("site.yaml:") for m in found)


def test_a_file_that_refers_to_itself_is_refused():
    found = mistakes("topology: &x\n- *x\n")
    assert found and all("\n" not in m for m in found)


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"site: caf\xe9")
    (tmp_path / "two.yaml").write_text("site: a\n---\nsite: b\n")
    for name in ("missing.yaml", "latin.yaml", "two.yaml", "."):
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / name)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"cameras:\n- {{id: a, source: ['rtsp://u:{SECRET}@h/s']}}\n",
        f"cameras:\n- {{id: a, source: {{x: 'rtsp://u:{SECRET}@h/s'}}}}\n",
        f"cameras:\n- {{id: a, sorce: 'rtsp://u:{SECRET}@h/s'}}\n",
        f"cameras:\n- {{id: a, source: 'rtsp://u:{SECRET}@h/s', nope: 1}}\n",
        f"cameras:\n- {{id: a, source: 'rtsp://u:{SECRET}@h/${{NOPE}}'}}\n",
        f"cameras: 'rtsp://u:{SECRET}@h/s'\n",
        f"cameras:\n- 'rtsp://u:{SECRET}@h/s'\n",
        f"cameras:\n- {{id: 'rtsp://u:{SECRET}@h/s', source: 'x'}}\n",
        f"cameras:\n- {{id: a, start_time: 'rtsp://u:{SECRET}@h/s', source: x}}\n",
        f"bus: {{url: ['redis://:{SECRET}@h/0']}}\n",
        f"bus: 'redis://:{SECRET}@h/0'\n",
        f"bus: {{url: redis://:{SECRET}@h/0, max_messages: x}}\n",
        f"'redis://:{SECRET}@h/0': 1\n",
        f"cameras:\n- {{id: a, source: !!binary 'rtsp://u:{SECRET}@h/s'}}\n",
    ],
)
def test_no_error_repeats_a_password(text):
    assert SECRET not in "\n".join(mistakes(text))


# -- laws

IDS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8).filter(lambda t: t[0].isalnum())
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda t: "${" not in t
)


def values_of(kind, key):
    """Valid values of one setting, from its annotation."""
    origin = get_origin(kind)
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin is Union or type(kind).__name__ == "UnionType":
        return st.one_of([st.none() if k is type(None) else values_of(k, key) for k in get_args(kind)])
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(32, 64)  # allowed for every whole number here
    if kind is float:
        return st.floats(0.1, 1.0)  # likewise for every other one
    return TEXTS


TOGETHER = ("stripes", "poll_s")  # what they may be depends on others


def section_of(kind):
    hints = get_type_hints(kind)
    keys = [f.name for f in fields(kind) if get_origin(hints[f.name]) is not tuple and f.name not in TOGETHER]
    return st.fixed_dictionaries({}, optional={key: values_of(hints[key], key) for key in keys})


SITES = st.fixed_dictionaries(
    {"site": IDS},
    optional={
        **{name: section_of(kind) for name, kind in SECTIONS.items()},
        "cameras": st.lists(
            st.fixed_dictionaries({"id": IDS, "source": TEXTS}, optional={"clock_offset_s": st.floats(-9, 9)}),
            max_size=3,
            unique_by=lambda c: c["id"],
        ),
    },
)


@settings(max_examples=40, deadline=None)
@given(SITES)
def test_what_is_written_is_what_is_read(plain):
    config = parse_config(yaml.safe_dump(plain, allow_unicode=True), environment={})
    for name, value in plain.items():
        if name == "cameras":
            assert [{k: getattr(c, k) for k in p} for c, p in zip(config.cameras, value, strict=True)] == value
        elif isinstance(value, dict):
            section = getattr(config, name)
            assert {k: getattr(section, k) for k in value} == value
            untouched = {f.name for f in fields(section)} - set(value)
            assert {k: getattr(section, k) for k in untouched} == {k: getattr(SECTIONS[name](), k) for k in untouched}
        else:
            assert getattr(config, name) == value


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_is_a_configuration_error(text):
    try:
        parse_config(text, environment={})
    except ConfigError as error:
        assert error.mistakes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1772355600", 1772355600.0),
        ("0.5", 0.5),
        ("2026-03-01T09:00:00Z", 1772355600.0),
        ("2026-03-01 10:00:00+01:00", 1772355600.0),
        ("'2026-03-01T09:00:00.250Z'", 1772355600.25),
    ],
)
def test_the_start_of_a_file_is_given_in_seconds_or_as_a_time_with_its_zone(text: str, seconds: float) -> None:
    config = parse_config(f"cameras: [{{id: a, source: a.mp4, start_time: {text}}}]")
    assert config.cameras[0].start_time == seconds


@pytest.mark.parametrize("text", ["2026-03-01T09:00:00", "yesterday", "2026-03-01", "true"])
def test_a_start_without_a_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="start_time: expected Unix seconds, or a time with its zone"):
        parse_config(f"cameras: [{{id: a, source: a.mp4, start_time: {text}}}]")
