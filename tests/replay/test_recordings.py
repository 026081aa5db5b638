"""What a replay recorded, and replays that start from it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.recorded import RecordedDetector
from pipeline.background.local_tracks import read_local_keys
from pipeline.build import build_detector, build_encoder, build_head, build_matcher, build_recorded_source
from pipeline.bus.codec import encode
from pipeline.bus.lines import event_from_json
from pipeline.bus.message_log import LogReader
from pipeline.capture.probe import probe
from pipeline.commands.forget import forget
from pipeline.config import CameraConfig, Config, DetectorConfig, MatcherConfig, ReidConfig
from pipeline.errors import ConfigError, DecodeError, OutputError
from pipeline.identity.matcher import Step
from pipeline.replay.delivery import ReplayResult
from pipeline.replay.erase_recorded import erase_recorded
from pipeline.replay.frame_times import FrameTimeLog
from pipeline.replay.from_detections import use_recorded_detections
from pipeline.replay.from_features import open_features, replay_features
from pipeline.replay.recording import DetectionFile, FeatureFile, RunRecording, detection_rows
from pipeline.replay.replay import Replay, ReplayCamera
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario
from pipeline.types import ClipFeature, Detections, Frame, Tick, Tracklet

THRESHOLD = 0.3
FPS = 10.0
IMAGE = np.zeros((4, 4, 3), np.uint8)
SAME = ("identities.jsonl", "tracks", "tracks_online", "tracks_local", "frame_times")


def full_replay(config: Config, out_dir: Path, *, record: bool = False, stop_after: int | None = None) -> ReplayResult:
    """All cameras with detector and encoder; `stop_after` frames as if by Ctrl-C."""
    detector, encoder = build_detector(config), build_encoder(config)
    head = build_head(config, encoder.describe())
    recording = None
    if record:
        infos = {camera.id: probe(camera.source, config.capture) for camera in config.cameras}
        recording = RunRecording(
            out_dir, config, infos, clip_model_id=head.clip_model_id, detector_name=config.detector.kind
        )
        detector = recording.detector(detector)
    cameras = [
        ReplayCamera(
            camera.id,
            build_recorded_source(camera, 0.0),
            CameraPipeline(
                camera,
                config,
                detector=detector,
                encoder=encoder,
                head=head,
                keeping=PictureKeeping(out_dir, camera.id, "replay"),
            ),
        )
        for camera in config.cameras
    ]
    seen = 0

    def on_frame() -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise KeyboardInterrupt

    recorder = RunRecorder(out_dir, [c.id for c in config.cameras], crops=None, references=None)
    matcher = build_matcher(config, THRESHOLD)
    return Replay(cameras, matcher, recorder, latency=LatencyRecorder(), recording=recording, on_frame=on_frame).run()


def feature_replay(folder: Path, config: Config, out_dir: Path, threshold: float = THRESHOLD) -> ReplayResult:
    recorder = RunRecorder(out_dir, [c.id for c in config.cameras], crops=None, references=None)
    return replay_features(open_features(folder, config), build_matcher(config, threshold), recorder)


def files(out_dir: Path, names: tuple[str, ...] = SAME) -> dict[str, bytes]:
    found = [p for name in names for p in (out_dir / name, *sorted((out_dir / name).glob("*")))]
    return {p.relative_to(out_dir).as_posix(): p.read_bytes() for p in found if p.is_file()}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two cameras, 10 s, two people, one seen by both; one detects every 0.2 s, the other began 1 s earlier."""
    scene = write_scene(random_scenario(2, 2, 10.0, seed=293), tmp_path_factory.mktemp("scene"), mask_every=1000)
    ids = sorted(scene.sources)
    extra: dict[str, dict] = {
        ids[0]: {"detect_every_s": 0.2, "clock_offset_s": 0.05},
        ids[1]: {"start_time": -1.0},
    }
    cameras = tuple(CameraConfig(i, str(scene.sources[i]), **extra[i]) for i in ids)
    return Config(
        site="lobby",
        cameras=cameras,
        detector=DetectorConfig(kind="hog"),
        reid=ReidConfig(backbone="handcrafted"),
        matcher=MatcherConfig(absence_s=2.0, occlusion_s=3.0),
    )


@pytest.fixture(scope="module")
def recorded(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a replay that recorded."""
    out_dir = tmp_path_factory.mktemp("recorded") / "out"
    full_replay(config, out_dir, record=True)
    return out_dir


# -- both ways give the same to the byte ------------------------------------------------------------------------------


def test_recording_changes_nothing(config: Config, recorded: Path, tmp_path: Path) -> None:
    with_detections, _ = use_recorded_detections(config, recorded)
    full_replay(with_detections, tmp_path)
    assert not (tmp_path / "recorded").exists()
    assert files(tmp_path) == files(recorded)


def test_a_replay_from_detections_is_equal_to_the_byte_and_so_is_what_it_records(
    config: Config, recorded: Path, tmp_path: Path
) -> None:
    with_detections, warnings = use_recorded_detections(config, recorded / "recorded")
    assert warnings == () and with_detections.detector.kind == "recorded"
    full_replay(with_detections, tmp_path, record=True)
    assert files(tmp_path) == files(recorded)
    assert len((recorded / "identities.jsonl").read_bytes()) > 0
    both = [files(out / "recorded", ("detections",)) for out in (tmp_path, recorded)]
    assert both[0] == both[1] and sum(map(len, both[0].values())) > 1000


def test_a_replay_from_features_is_equal_to_the_byte_and_needs_only_the_recorded_folder(
    config: Config, recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded / "recorded" / "features", tmp_path / "moved")
    without_videos = replace(config, cameras=tuple(replace(c, source="gone.mp4") for c in config.cameras))
    result = feature_replay(tmp_path / "moved", without_videos, tmp_path / "out")
    assert files(tmp_path / "out") == files(recorded)
    assert result.losses == {}
    assert result.frames == dict.fromkeys((c.id for c in config.cameras), 100)
    assert result.footage_s == pytest.approx(dict.fromkeys((c.id for c in config.cameras), 9.9))
    assert not (tmp_path / "out" / "crops").exists()


def test_another_threshold_gives_other_identities_from_the_same_features(
    config: Config, recorded: Path, tmp_path: Path
) -> None:
    feature_replay(recorded, config, tmp_path, threshold=0.0)
    strict, usual = events(tmp_path), events(recorded)
    assert len({e.identity_id for e in strict}) > len({e.identity_id for e in usual})
    assert files(tmp_path, ("tracks_local",)) == files(recorded, ("tracks_local",))


def events(out_dir: Path) -> list:
    return [event_from_json(line) for line in (out_dir / "identities.jsonl").read_text().splitlines()]


def test_a_replay_that_was_interrupted_leaves_a_recording_that_replays_like_it(
    config: Config, recorded: Path, tmp_path: Path
) -> None:
    config, _ = use_recorded_detections(config, recorded)
    with pytest.raises(KeyboardInterrupt):
        full_replay(config, tmp_path / "a", record=True, stop_after=150)
    assert events(tmp_path / "a")
    result = feature_replay(tmp_path / "a", config, tmp_path / "b")
    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert "recordings cut off" not in result.losses
    assert sum(result.frames.values()) == 150


def test_frame_times_have_a_line_per_frame_exact_to_the_bit(config: Config, recorded: Path) -> None:
    shifts = {c.id: (c.start_time or 0.0) + c.clock_offset_s for c in config.cameras}
    for camera_id, shift_s in shifts.items():
        times = [float(line) for line in (recorded / f"frame_times/{camera_id}.txt").read_text().splitlines()]
        assert len(times) == 100
        assert np.allclose(times, shift_s + np.arange(100) / FPS, atol=1e-6)


class Listening:
    """Stands for the matcher: remembers in which order messages came."""

    late = duplicates = 0

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def receive(self, _: str, message: Tick) -> None:
        self.heard.append((message.camera_id, message.sequence))

    def advance(self) -> Step:
        return Step()


def test_messages_come_by_the_time_of_their_frame_then_by_camera_and_what_closed_the_replay_last(
    tmp_path: Path,
) -> None:
    said: dict[str, list[tuple[str, float]]] = {
        "a": [("frame", 1.0), ("said", 0.2), ("frame", 2.0), ("frame", 3.0), ("said", 0.1), ("end", 0), ("said", 9.0)],
        "b": [("frame", 1.0), ("said", 1.0), ("said", 0.5), ("frame", 2.5), ("said", 2.5), ("end", 0), ("said", 2.5)],
        "none": [("said", 5.0), ("end", 0)],
    }
    for camera_id, what in said.items():
        file = FeatureFile(
            tmp_path / f"{camera_id}.mcplog",
            {"log": "features", "schema": 1, "site": "s", "camera_id": camera_id, "model_id": "m", "settings": {}},
        )
        sequence = 0
        for index, (kind, at_s) in enumerate(what):
            if kind == "frame":
                file.frame(index, at_s)
            elif kind == "said":
                sequence += 1
                file.message(encode(Tick(camera_id, "1", sequence, at_s)))
            else:
                file.end()
        file.close()
    config = Config(cameras=tuple(CameraConfig(i, "gone.mp4") for i in said))
    matcher, passed = Listening(), list[int]()
    recorder = RunRecorder(tmp_path / "out", list(said), crops=None, references=None)
    features = open_features(tmp_path, config)
    result = replay_features(features, matcher, recorder, on_frames=passed.append)  # type: ignore[arg-type]
    assert matcher.heard == [
        ("none", 1),  # ended before anybody's first frame
        ("a", 1),
        ("b", 1),
        ("b", 2),
        ("b", 3),
        ("a", 2),
        ("a", 3),  # said when the whole replay was over, in order of cameras
        ("b", 4),
    ]
    assert result.frames == {"a": 3, "b": 2, "none": 0} and sum(passed) == 5


# -- recordings that do not fit ---------------------------------------------------------------------------------------


@pytest.fixture
def features(recorded: Path, tmp_path: Path) -> Path:
    """A copy that may be harmed."""
    return Path(shutil.copytree(recorded / "recorded" / "features", tmp_path / "features"))


def first_file(features: Path) -> Path:
    return sorted(features.iterdir())[0]


def test_a_feature_file_that_is_cut_off_loses_its_end_only_and_says_so(
    config: Config, features: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = first_file(features)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    result = feature_replay(features, config, tmp_path / "out")
    assert result.losses["recordings cut off"] == 1
    assert "cut off at byte" in caplog.text and path.name in caplog.text
    others = [c.id for c in config.cameras[1:]]
    assert all(result.frames[camera] == 100 for camera in others)


def test_a_folder_without_recordings_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no recorded features; `replay --record`"):
        open_features(tmp_path, config)
    with pytest.raises(ConfigError, match="holds no recorded detections"):
        use_recorded_detections(config, tmp_path)
    with pytest.raises(ConfigError, match="no cameras"):
        open_features(tmp_path, Config())


def test_a_camera_that_was_not_recorded_is_named_with_those_that_were(config: Config, recorded: Path) -> None:
    more = config.with_cameras((*config.cameras, CameraConfig("roof", "roof.mp4")))
    known = ", ".join(c.id for c in config.cameras)
    with pytest.raises(ConfigError, match=f"nothing of camera roof; it has: {known}"):
        open_features(recorded, more)
    with pytest.raises(ConfigError, match=f"nothing of camera roof; it has: {known}"):
        use_recorded_detections(more, recorded)


def test_fewer_cameras_than_were_recorded_may_be_replayed(config: Config, recorded: Path, tmp_path: Path) -> None:
    result = feature_replay(recorded, config.with_cameras(config.cameras[:1]), tmp_path)
    assert list(result.frames) == [config.cameras[0].id]


def test_a_file_under_another_cameras_name_is_an_error(config: Config, features: Path) -> None:
    one, two, *_ = sorted(features.iterdir())
    shutil.copy(one, two)
    with pytest.raises(DecodeError, match=f"{two.name} is a recording of camera '{one.stem}'"):
        open_features(features, config)


def rewrite_header(path: Path, **values: object) -> None:
    """The same records behind another header."""
    from pipeline.bus.message_log import LogWriter

    reader = LogReader(path)
    header, records = {**reader.header, **values}, list(reader.records())
    path.unlink()
    log = LogWriter(path, header)
    for record in records:
        log.add(record.kind, record.fields)
    log.close()


def test_another_schema_another_kind_of_log_and_mixed_models_are_errors(config: Config, features: Path) -> None:
    path = first_file(features)
    for values, words in (
        ({"schema": 2}, "expected features of schema 1, got features of schema 2"),
        ({"schema": 1, "log": "bus"}, "expected features of schema 1, got bus of schema 1"),
        ({"log": "features", "model_id": None}, "does not say which model"),
        ({"model_id": "other-1234"}, "features of different models cannot be compared: .*other-1234"),
    ):
        rewrite_header(path, **values)
        with pytest.raises(DecodeError, match=words):
            open_features(features, config)


def test_a_clip_of_another_model_within_a_file_is_an_error(config: Config, features: Path, tmp_path: Path) -> None:
    for path in features.iterdir():
        rewrite_header(path, model_id="other-1234")
    with pytest.raises(DecodeError, match=r"a clip of model 'handcrafted.*, not 'other-1234'"):
        feature_replay(features, config, tmp_path / "out")


def test_a_file_that_is_no_recording_is_named(config: Config, features: Path) -> None:
    first_file(features).write_bytes(b"nothing of the kind")
    with pytest.raises(DecodeError, match="is no recording of messages"):
        open_features(features, config)


def test_settings_that_a_replay_from_features_cannot_change_are_told(config: Config, recorded: Path) -> None:
    assert open_features(recorded, config).warnings == ()
    other = replace(
        config,
        tracker=replace(config.tracker, lost_s=9.0),
        cameras=(replace(config.cameras[0], clock_offset_s=4.0), *config.cameras[1:]),
    )
    one, two = open_features(recorded, other).warnings
    assert "tracker.lost_s" in one and "clock_offset_s" in two
    assert open_features(recorded, replace(config, matcher=MatcherConfig(margin=0.2))).warnings == ()
    left_open = replace(config, detector=DetectorConfig(), reid=ReidConfig())
    assert open_features(recorded, left_open).warnings == ()


def test_detections_that_were_left_out_of_the_recording_are_not_taken_for_nobody(
    config: Config, recorded: Path
) -> None:
    every_frame = config.with_cameras(tuple(replace(c, detect_every_s=0.0) for c in config.cameras))
    with pytest.raises(ConfigError, match=r"every 0.2 s when it was recorded"):
        use_recorded_detections(every_frame, recorded)
    less_sure = replace(config, detector=replace(config.detector, confidence=0.01))
    (warning,) = use_recorded_detections(less_sure, recorded)[1]
    assert "below confidence 0.1 were not recorded" in warning


def test_anybodys_det_txt_will_do(tmp_path: Path) -> None:
    (tmp_path / "door.txt").write_text("1,-1,10,20,30,40,0.5\n")
    config = Config(cameras=(CameraConfig("door", "door.mp4", detect_every_s=0.5),))
    found, warnings = use_recorded_detections(config, tmp_path)
    assert found.cameras[0].detections == str(tmp_path / "door.txt") and warnings == ()


def test_a_recording_says_nothing_of_the_machine_that_made_it(config: Config, recorded: Path) -> None:
    folder = str(Path(config.cameras[0].source).parent)
    headers = [LogReader(p).header for p in (recorded / "recorded" / "features").iterdir()]
    for header in headers:
        assert header["width_px"] > 0 and header["fps"] == FPS and header["model_id"].startswith("handcrafted")
    text = json.dumps(headers) + (recorded / "recorded" / "recording.json").read_text()
    assert folder not in text and "source" not in text


def test_a_recording_does_not_go_on_in_the_files_of_another(config: Config, recorded: Path) -> None:
    infos = {camera.id: probe(camera.source, config.capture) for camera in config.cameras}
    before = (recorded / "recorded" / "recording.json").read_bytes()
    with pytest.raises(OutputError):
        RunRecording(recorded, config, infos, clip_model_id="m", detector_name="hog")
    assert (recorded / "recorded" / "recording.json").read_bytes() == before


# -- rows that give back the same float32 -----------------------------------------------------------------------------

in_picture = arrays(np.float32, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(0, 8192, width=32)).map(
    lambda a: np.concatenate([np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])], axis=1)
)
anywhere = arrays(np.float32, (2, 4), elements=st.floats(-1e5, 1e5, width=32))


def read_back(tmp: Path, rows: list[str]) -> Detections:
    path = tmp / "det.txt"
    path.write_text("".join(rows))
    (found,) = RecordedDetector({"a": path}).detect([Frame("a", "1", 6, 0.0, IMAGE)])
    return found


def same(a: Detections, b: Detections) -> bool:
    """Equal as numbers: -0.0 may come back as 0.0."""
    return np.array_equal(a.xyxy, b.xyxy) and np.array_equal(a.confidence, b.confidence)


@settings(max_examples=200, deadline=None)
@given(xyxy=in_picture, seed=st.integers(0, 2**32 - 1))
def test_any_box_in_a_picture_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, xyxy: np.ndarray, seed: int
) -> None:
    confidence = np.random.default_rng(seed).random(len(xyxy), np.float32)
    found = Detections(xyxy, confidence)
    rows = detection_rows(7, found)
    assert same(read_back(tmp_path_factory.getbasetemp(), rows), found)


@settings(max_examples=200, deadline=None)
@given(xyxy=anywhere)
def test_a_box_that_a_row_cannot_hold_is_refused_and_any_other_comes_back(
    tmp_path_factory: pytest.TempPathFactory, xyxy: np.ndarray
) -> None:
    found = Detections(xyxy, np.array([0.5, 1.0], np.float32))
    try:
        rows = detection_rows(7, found)
    except ValueError:
        inside_out = (xyxy[:, :2] > xyxy[:, 2:]).any()
        hair_off_zero = (np.abs(xyxy[:, 2:]) < 1e-6 * np.abs(xyxy[:, :2])).any()
        assert inside_out or hair_off_zero
    else:
        assert same(read_back(tmp_path_factory.getbasetemp(), rows), found)


def test_rows_are_as_short_as_they_can_be() -> None:
    found = Detections(np.array([[100.1, 50.25, 180.7, 270.9]], np.float32), np.array([0.87], np.float32))
    (row,) = detection_rows(12, found)
    assert row == "12,-1,100.1,50.25,80.6,220.65,0.87\n"


def test_a_frame_without_anybody_has_no_rows_and_a_box_inside_out_stops_the_recording(tmp_path: Path) -> None:
    file = DetectionFile(tmp_path / "door.txt")
    file.add(0, Detections.empty())
    assert (tmp_path / "door.txt").read_bytes() == b""
    with pytest.raises(OutputError, match=r"door\.txt: a det\.txt row cannot hold the box"):
        file.add(1, Detections(np.array([[5, 5, 1, 9]], np.float32), np.ones(1, np.float32)))
    file.add(2, Detections(np.array([[5, 5, 5, 9]], np.float32), np.ones(1, np.float32)))  # no area, but in order
    file.close()
    assert (tmp_path / "door.txt").read_text() == "3,-1,5.0,5.0,0.0,4.0,1.0\n"


# -- frame times ------------------------------------------------------------------------------------------------------


def test_frames_that_could_not_be_decoded_get_the_time_between_their_neighbours(tmp_path: Path) -> None:
    times = FrameTimeLog()
    for index, at_s in ((0, 10.0), (1, 10.1), (3, 10.5)):
        times.add(index, at_s)
    times.write(tmp_path, "door")
    lines = (tmp_path / "frame_times/door.txt").read_text().splitlines()
    assert lines[:2] == ["10.0", "10.1"] and lines[3] == "10.5"
    assert float(lines[2]) == pytest.approx(10.3)
    assert (len(times), times.footage_s) == (3, 0.5)


def test_a_camera_without_frames_has_an_empty_file(tmp_path: Path) -> None:
    FrameTimeLog().write(tmp_path, "door")
    assert (tmp_path / "frame_times/door.txt").read_bytes() == b""
    assert FrameTimeLog().footage_s == 0.0


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_a_forgotten_person_goes_from_recordings_and_local_tracks_and_others_stay(
    config: Config, recorded: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(recorded, tmp_path / "out"))
    keys = {e.key for e in events(out) if e.identity_id == 1}
    both = {e.key for e in events(out)}
    assert keys and keys != both
    (out / "bus.mcplog").write_bytes(b"")
    said: list[str] = []
    assert forget(1, config=None, out_dir=out, echo=said.append) == 0
    assert not (out / "bus.mcplog").exists(), "nobody can tell who is in it"
    kept = {key for _, key in read_local_keys(out)}
    assert keys.isdisjoint(kept) and both - keys <= kept
    messages = [m for c in open_features(out, config).cameras for _, group in c.groups() for m in group]
    about = {m.key for m in messages if isinstance(m, ClipFeature | Tracklet)}
    assert keys.isdisjoint(about) and both - keys <= about
    for name in ("tracks_local", "recorded/detections"):
        before, after = files(recorded, (name,)), files(out, (name,))
        assert 0 < sum(map(len, after.values())) < sum(map(len, before.values()))
        assert all(set(after[f].splitlines()) <= set(before[f].splitlines()) for f in after)
    first = files(out)
    assert forget(1, config=None, out_dir=out, echo=print) == 0
    assert files(out) == first
    feature_replay(out, config, tmp_path / "again")
    assert {e.key for e in events(tmp_path / "again")} == both - keys


def test_a_recording_that_cannot_be_read_is_removed_when_somebody_is_forgotten(recorded: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(recorded, tmp_path / "out"))
    path = first_file(out / "recorded" / "features")
    path.write_bytes(b"damaged")
    keys = {e.key for e in events(out) if e.identity_id == 1}
    assert erase_recorded(out, keys)["recordings_removed"] == 1
    assert not path.exists()
    assert erase_recorded(out, set()) == {} == erase_recorded(tmp_path, keys)
