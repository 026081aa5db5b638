import argparse
import json
from itertools import count

import cv2
import numpy as np
import pytest

from pipeline.bus.lines import event_to_json
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, IDENTITIES
from pipeline.commands.search import SearchOptions, config_of_run, options_from, search
from pipeline.commands.search_arguments import add_search_arguments, moment
from pipeline.config import BusConfig, Config, DetectorConfig, MatcherConfig, ReidConfig
from pipeline.errors import ConfigError, OutputError
from pipeline.runtime.feature_store import FeatureStore
from pipeline.search.asked import encode_people
from pipeline.types import ClipFeature, Evidence, IdentityEvent, TrackKey
from reid.handcrafted import HandcraftedEncoder
from reid.load import load_head

SITES = count(1)
REID = ReidConfig(backbone="handcrafted", head="sta", fusion="global")
CONFIG = Config(detector=DetectorConfig(kind="hog"), reid=REID, matcher=MatcherConfig(threshold=0.3))
WHOLE = np.array([[0, 0, 60, 150]], np.float32)


def person(colour):
    """A picture of somebody in one colour, with some noise."""
    picture = np.full((150, 60, 3), 100, np.uint8)
    picture[40:, 10:50] = colour
    return np.clip(picture + np.random.default_rng(0).integers(-6, 7, picture.shape), 0, 255).astype(np.uint8)


RED, BLUE = person((40, 40, 200)), person((200, 60, 40))


def encode(picture):
    """(model id, vector) by the same encoder and head as the command's."""
    encoder = HandcraftedEncoder(REID.stripes)
    head = load_head(REID, encoder.describe())
    return head.clip_model_id, encode_people(picture, WHOLE, encoder, head)[0].query.vectors[0]


def clip(track, sequence, picture, at_s):
    model_id, vector = encode(picture)
    vector = vector.astype(np.float16).astype(np.float32)
    nothing = np.zeros((1, 1), np.float32)
    return ClipFeature(
        track, sequence, at_s, at_s, at_s + 2.0, at_s + 2.0, vector, nothing, np.ones(1), nothing, 0.7, model_id
    )


def key(track_id, camera="door"):
    return TrackKey(camera, "1", track_id)


CLIPS_MADE = [(key(1), 1, RED, 2.0), (key(2), 2, BLUE, 3.0), (key(1, "hall"), 1, RED, 20.0), (key(3), 3, BLUE, 90.0)]


def events():
    why = Evidence(0.21, 0.3, (2, 0.61), cost=0.19)
    return [
        IdentityEvent(1, "entered", 1, key(1), 2.0, 3.0, evidence=Evidence(None, 0.3)),
        IdentityEvent(2, "entered", 2, key(2), 3.0, 4.0, evidence=Evidence(0.8, 0.3)),
        IdentityEvent(3, "handed_over", 1, key(1, "hall"), 20.0, 21.0, via=("door",), evidence=why),
        IdentityEvent(4, "entered", 3, key(3), 90.0, 91.0, evidence=Evidence(0.8, 0.3)),
        IdentityEvent(5, "merged", 3, None, 90.0, 95.0, other_identity_id=2, by="operator"),
    ]


@pytest.fixture
def said():
    return []


@pytest.fixture
def out_dir(tmp_path):
    """What a run of two people left."""
    out = tmp_path / "out"
    out.mkdir()
    store = FeatureStore(out)
    for one in CLIPS_MADE:
        store.add(clip(*one))
    store.close()
    (out / "identities.jsonl").write_text("".join(event_to_json(e) + "\n" for e in events()))
    return out


@pytest.fixture
def red_png(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), RED)
    return tmp_path / "red.png"


def ask(said, **options):
    assert search(SearchOptions(progress=False, **options), said.append) == 0
    return "\n".join(said)


# -- folders


def test_a_picture_finds_the_person_and_where_they_were(out_dir, red_png, said):
    told = ask(said, out_dir=out_dir, config=CONFIG, image=red_png)
    assert told.index("  1. #1   distance 0.0") < told.index("  2. #2   distance")
    assert "within the matcher's threshold" in told
    assert "door  0:02.0 to 0:04.0 (2.0 s)" in told and "hall  0:20.0 to 0:22.0 (2.0 s)" in told
    assert "4 clips compared; 2 of 2 people shown" in told


def test_all_files_are_written(out_dir, red_png, tmp_path, said):
    files = {name: tmp_path / "results" / f"a.{name}" for name in ("json", "html", "sheet")}
    told = ask(said, out_dir=out_dir, config=CONFIG, image=red_png, **files)
    value = json.loads(files["json"].read_text())
    assert value["asked"] == {"image": "red.png", "people_xyxy": [[0.0, 0.0, 60.0, 150.0]]}
    assert [p["identity_id"] for p in value["sections"][0]["people"]] == [1, 2]
    assert "red.png" in files["html"].read_text()
    assert cv2.imread(str(files["sheet"])).shape[1] == 1120
    assert all(str(path) in told for path in files.values())


def test_cameras_and_times_limit_what_is_searched(out_dir, red_png, said):
    told = ask(said, out_dir=out_dir, config=CONFIG, image=red_png, cameras=("hall",), top=1)
    assert "1 clip compared; 1 of 1 person shown" in told
    said.clear()
    told = ask(said, out_dir=out_dir, config=CONFIG, image=red_png, since_s=50.0)
    assert "#2" in told and "#1 " not in told
    with pytest.raises(ConfigError, match="--camera lift: no features of it; there are those of door, hall"):
        ask(said, out_dir=out_dir, config=CONFIG, image=red_png, cameras=("lift",))


def test_an_identity_is_told_with_its_visits_and_who_is_like_it(out_dir, said):
    told = ask(said, out_dir=out_dir, identity=1)
    assert "Where #1 was seen" in told and "0:20.0 to 0:22.0 (2.0 s)  went to hall from door" in told
    assert "2 visits in 2 cameras" in told
    assert "Who is most like #1\n  1. #2   distance" in told and "somebody else: both were in door" in told


def test_why_is_told_only_when_asked(out_dir, said):
    assert "Why #1" not in ask(said, out_dir=out_dir, identity=1)
    told = ask(said, out_dir=out_dir, identity=1, why=True)
    assert "Why #1 is who it is: 2 tracks in 2 cameras" in told
    assert "distance of looks 0.210, cost with time, place and motion 0.190; 0.110 below the threshold 0.300" in told
    assert "the runner-up was #2 at 0.610, 0.420 behind" in told


def test_a_merged_identity_is_told_as_the_one_it_became(out_dir, said):
    told = ask(said, out_dir=out_dir, identity=3, why=True)
    assert told.startswith("#3 was merged: the person is #2\nWhere #2 was seen")
    assert "an operator: merged #3 into #2" in told


def test_an_identity_that_nobody_knows_is_a_mistake(out_dir, said):
    for unknown in (99, 0, -1):
        with pytest.raises(ConfigError, match=f"--identity {unknown} is not known in .*it has 2, from 1 to 2"):
            ask(said, out_dir=out_dir, identity=unknown)


def test_a_forgotten_identity_says_so(out_dir, said):
    with (out_dir / "identities.jsonl").open("a") as log:
        log.write(event_to_json(IdentityEvent(6, "forgotten", 1, None, 99.0, 99.0)) + "\n")
    with pytest.raises(ConfigError, match="was forgotten"):
        ask(said, out_dir=out_dir, identity=1)


def test_a_run_without_features_still_tells_where_and_why(out_dir, red_png, said):
    for path in sorted((out_dir / "features").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    told = ask(said, out_dir=out_dir, identity=1, why=True)
    assert "Where #1 was seen" in told and "nobody can be compared with it" in told and "Why #1" in told
    with pytest.raises(ConfigError, match="holds no features"):
        ask(said, out_dir=out_dir, config=CONFIG, image=red_png)


def test_features_of_another_model_are_not_compared(out_dir, red_png, said):
    other = Config(detector=CONFIG.detector, reid=ReidConfig(backbone="handcrafted", head="mean"))
    with pytest.raises(
        ConfigError, match=r"holds no features of handcrafted.*mean, but of handcrafted.*give the --config"
    ):
        ask(said, out_dir=out_dir, config=other, image=red_png)


def test_a_picture_without_anybody_says_so(out_dir, tmp_path, said):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((240, 320, 3), 120, np.uint8))
    with pytest.raises(ConfigError, match=r"wall\.png: nobody was found in it"):
        ask(said, out_dir=out_dir, config=CONFIG, image=tmp_path / "wall.png")


def test_places_that_are_not_there_are_said(tmp_path, said, red_png):
    with pytest.raises(OutputError, match="no folder"):
        ask(said, out_dir=tmp_path / "none", identity=1)
    with pytest.raises(ConfigError, match=r"bus\.url"):
        ask(said, identity=1)
    with pytest.raises(ConfigError, match=r"bus\.url"):
        ask(said, config=Config(), image=red_png)
    with pytest.raises(ConfigError, match="No such file"):
        ask(said, out_dir=tmp_path, image=tmp_path / "none.png")


def test_a_gpu_that_is_not_there_is_said(out_dir, said, monkeypatch):
    monkeypatch.setattr("reid.nearest.gpu_is_there", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        ask(said, out_dir=out_dir, identity=1, device="gpu")


# -- configuration of the run


def test_models_are_those_of_the_run_when_no_config_is_given(out_dir, red_png, said):
    (out_dir / "run.json").write_text(
        json.dumps({"config": {"reid": {"backbone": "handcrafted", "fusion": "global"}, "detector": {"kind": "hog"}}})
    )
    assert "  1. #1   distance 0.0" in ask(said, out_dir=out_dir, image=red_png)


def test_a_run_on_recorded_detections_still_finds_people_in_a_picture(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"config": {"detector": {"kind": "recorded"}}}))
    assert config_of_run(tmp_path).detector.kind == "auto"


@pytest.mark.parametrize("run", [None, "", "[]", '{"config": 3}', "{}"])
def test_a_run_that_does_not_say_gives_the_defaults(tmp_path, run):
    if run is not None:
        (tmp_path / "run.json").write_text(run)
    assert config_of_run(tmp_path) in (None, Config())


def test_settings_of_another_version_ask_for_a_config(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"config": {"reid": {"wings": 2}}}))
    with pytest.raises(ConfigError, match="another version; give --config"):
        config_of_run(tmp_path)


# -- a running site


@pytest.fixture
def site(command_server):
    config = Config(
        site=f"search-{next(SITES)}",
        detector=CONFIG.detector,
        reid=REID,
        matcher=CONFIG.matcher,
        bus=BusConfig(url=command_server.url),
    )
    bus = RedisBus(command_server.url, config.site)
    for made in events():
        bus.publish(IDENTITIES, made)
    for one in CLIPS_MADE:
        bus.publish(CLIPS, clip(*one))
    bus.publish(CLIPS, clip(*CLIPS_MADE[0]))  # delivered twice
    yield config
    bus.close()


def test_a_running_site_is_searched_by_its_streams(site, red_png, said):
    told = ask(said, config=site, image=red_png)
    assert "  1. #1   distance 0.0" in told and "4 clips compared" in told
    said.clear()
    told = ask(said, config=site, identity=2, why=True)
    assert "merged into it: #3" in told and "Why #2 is who it is: 2 tracks in 1 camera" in told


def test_a_site_that_nobody_was_seen_in_knows_nobody(command_server, said):
    empty = Config(site=f"search-{next(SITES)}", bus=BusConfig(url=command_server.url))
    with pytest.raises(ConfigError, match=r"not known in the streams of site .*, nor anybody else"):
        ask(said, config=empty, identity=1)


# -- the command line


def parsed(*arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_search_arguments(parser)
    return parser.parse_args([str(a) for a in arguments])


def test_the_command_line_becomes_options(tmp_path):
    options = options_from(
        parsed(
            "--out", tmp_path, "--image", "a.png", "--since", "1:02:03.5", "--camera", "a", "--camera", "b", "--top", 3
        )
    )
    assert (options.out_dir, options.image.name, options.since_s) == (tmp_path, "a.png", 3723.5)
    assert options.cameras == ("a", "b") and options.top == 3 and options.rerank and options.config is None


@pytest.mark.parametrize(
    ("text", "at_s"),
    [("12.5", 12.5), ("2:03", 123.0), ("0:12.25", 12.25), ("1:00:00", 3600.0), ("1970-01-01T00:01:00Z", 60.0)],
)
def test_times_are_read_in_all_ways_that_people_write_them(text, at_s):
    assert moment(text) == at_s


@pytest.mark.parametrize("text", ["", "soon", "2026-01-31T14:03:22", "1:2:3:4"])
def test_other_times_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds"):
        moment(text)


@pytest.mark.parametrize("arguments", [(), ("--identity", "1", "--image", "a.png"), ("--identity", "1", "--top", "0")])
def test_command_lines_that_do_not_go_together_are_refused(arguments, capsys):
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed(*arguments)


def test_why_needs_an_identity(out_dir, red_png, said):
    with pytest.raises(ConfigError, match="add --identity"):
        ask(said, out_dir=out_dir, image=red_png, why=True)
