"""`background` from its arguments to its files, on a short generated scene with recorded detections."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.background.removal.tracks import CutFrame
from pipeline.build import build_recorded_source
from pipeline.commands.background import BackgroundOptions, background, options_from
from pipeline.commands.background_arguments import add_background_arguments
from pipeline.commands.background_live import DELAY_S, LiveCutting
from pipeline.config import CameraConfig, Config, DetectorConfig, MatcherConfig, ReidConfig
from pipeline.errors import ConfigError, OutputError
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import demo_scenario

REID = ReidConfig(backbone="handcrafted", head="sta", fusion="global")
SECONDS = 5.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two cameras of the demo's first seconds; who is where is read from the ground truth."""
    folder = tmp_path_factory.mktemp("background") / "scene"
    demo = demo_scenario()
    cameras = demo.cameras[:2]
    ids = {camera.id for camera in cameras}
    walks = tuple(walk for walk in demo.walks if walk.camera_id in ids)
    scene = write_scene(replace(demo, cameras=cameras, walks=walks, duration_s=SECONDS), folder, mask_every=1)
    found = []
    for camera_id, source in scene.sources.items():
        rows = [line.split(",") for line in (folder / "gt" / f"{camera_id}.txt").read_text().splitlines()]
        boxes = "".join(f"{r[0]},-1,{','.join(r[2:6])},0.9,-1,-1,-1\n" for r in rows if float(r[8]) > 0.3)
        (folder / f"{camera_id}_det.txt").write_text(boxes)
        found.append(CameraConfig(camera_id, str(source), detections=str(folder / f"{camera_id}_det.txt")))
    return Config(
        cameras=tuple(found),
        detector=DetectorConfig(kind="recorded"),
        reid=REID,
        matcher=MatcherConfig(threshold=0.3),
    )


@pytest.fixture(scope="module")
def results(site: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the command from the beginning, on green."""
    out_dir = tmp_path_factory.mktemp("background") / "out"
    said: list[str] = []
    assert background(site, BackgroundOptions("lobby", out_dir, progress=False), said.append) == 0
    assert said[-1].endswith("background/lobby_green.mp4")
    return out_dir


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]


def is_green(picture: np.ndarray) -> np.ndarray:
    blue, green, red = (picture[..., i].astype(int) for i in range(3))
    return (green - red > 90) & (green - blue > 60)


def options(results: Path, out_dir: Path, **more: object) -> BackgroundOptions:
    return replace(BackgroundOptions("lobby", out_dir, results=results, progress=False), **more)


def people_in(results: Path, camera_id: str) -> set[int]:
    return {int(line.split(",")[1]) for line in (results / "tracks" / f"{camera_id}.txt").read_text().splitlines()}


def test_the_video_on_green_has_every_frame_and_shows_the_people_alone(site: Config, results: Path) -> None:
    shown = pictures(results / "background" / "lobby_green.mp4")
    assert len(shown) == round(SECONDS * 10)
    scene = Path(site.camera("lobby").source).parent
    overlap = []
    for number in range(15, len(shown), 6):
        mask = cv2.imread(str(scene / "masks" / "lobby" / f"{number + 1:06d}.png"), cv2.IMREAD_GRAYSCALE) > 0
        cut = ~is_green(shown[number])
        overlap.append(np.count_nonzero(mask & cut) / max(1, np.count_nonzero(mask | cut)))
    assert np.mean(overlap) > 0.85, overlap
    with av.open(str(results / "background" / "lobby_green.mp4")) as video:
        assert video.streams.video[0].average_rate == 10


def test_what_was_made_is_told_beside_the_video(results: Path) -> None:
    told = json.loads((results / "background" / "lobby_green.json").read_text())
    assert told["frames"] == round(SECONDS * 10) and told["output"] == "green" and told["identities"]
    assert told["plate_coverage"] > 0.9


def test_pictures_with_alpha_are_numbered_by_frame(site: Config, results: Path, tmp_path: Path) -> None:
    assert background(site, options(results, tmp_path / "out", output="alpha"), lambda text: None) == 0
    files = sorted((tmp_path / "out/background/lobby_alpha").glob("*.png"))
    assert [file.name for file in files[:2]] == ["000001.png", "000002.png"] and len(files) == round(SECONDS * 10)
    picture = cv2.imread(str(files[30]), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (360, 640, 4) and picture[..., 3].max() == 255 and picture[..., 3].min() == 0


def test_only_the_chosen_identity_is_cut_out(site: Config, results: Path, tmp_path: Path) -> None:
    elsewhere = people_in(results, "street") - people_in(results, "lobby")
    known = {i for i in people_in(results, "lobby") if i < 1_000_000}
    assert known and elsewhere
    chosen = options(results, tmp_path / "a", identities=frozenset({min(known)}))
    assert background(site, chosen, lambda text: None) == 0
    assert not all(is_green(p).mean() > 0.999 for p in pictures(tmp_path / "a/background/lobby_green.mp4"))
    nobody_here = options(results, tmp_path / "b", identities=frozenset({min(elsewhere)}))
    assert background(site, nobody_here, lambda text: None) == 0
    assert all(is_green(p).mean() > 0.999 for p in pictures(tmp_path / "b/background/lobby_green.mp4"))


def test_removed_people_leave_a_picture_near_the_empty_room(site: Config, results: Path, tmp_path: Path) -> None:
    assert background(site, options(results, tmp_path / "out", output="removed"), lambda text: None) == 0
    shown = pictures(tmp_path / "out/background/lobby_removed.mp4")
    source = pictures(Path(site.camera("lobby").source))
    empty = np.median(np.stack(shown), axis=0)
    left = np.abs(shown[30].astype(int) - empty).mean()
    assert left < 2.0 and left < 0.5 * np.abs(source[30].astype(int) - empty).mean()


def test_an_unknown_camera_lists_the_known_ones(site: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lobby, street"):
        background(site, BackgroundOptions("attic", tmp_path / "out"), print)


def test_an_unknown_identity_lists_those_in_the_run_and_empties_nothing(
    site: Config, results: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no identity 77 in the run; it has: 1"):
        background(site, options(results, tmp_path / "out", identities=frozenset({77})), print)
    assert not (tmp_path / "out").exists()


def test_results_without_the_camera_are_refused(site: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no tracks of camera lobby"):
        background(site, options(tmp_path, tmp_path / "out"), print)


def test_a_duration_is_for_live_cameras(site: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--duration is for live cameras"):
        background(site, BackgroundOptions("lobby", tmp_path / "out", duration_s=3.0), print)


def test_a_folder_that_holds_something_is_kept(site: Config, results: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="not empty"):
        background(site, options(results, tmp_path), print)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_the_command_line_says_all_of_it() -> None:
    parser = argparse.ArgumentParser()
    add_background_arguments(parser)
    line = "--config a.yaml --camera c --out o --identity 3 --identity 4 --output alpha --results r --overwrite --quiet"
    made = options_from(parser.parse_args(line.split()))
    assert made.identities == frozenset({3, 4}) and made.output == "alpha" and made.results == Path("r")
    assert made.overwrite and not made.progress and made.inputs == (Path("a.yaml"),)


@pytest.mark.parametrize("wrong", ["--identity 0", "--identity x", "--duration 0", "--duration soon", "--output blue"])
def test_wrong_values_are_refused_by_the_command_line(wrong: str) -> None:
    parser = argparse.ArgumentParser()
    add_background_arguments(parser)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--config", "a", "--camera", "c", "--out", "o", *wrong.split()])
    assert stop.value.code == 2


class Kept:
    """Takes the place of the output: what would be written, and when."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, set[int] | None]] = []
        self.cut_px: list[int] = []

    def write(self, cut: CutFrame, shown: dict[int, int] | None) -> None:
        chosen = None if shown is None else set(shown)
        self.frames.append((cut.frame.index, len(cut.cutouts), chosen))
        self.cut_px.append(int(cut.mask(chosen).sum()))


def run_live(site: Config, out_dir: Path, identities: frozenset[int], delays: list[float]) -> Kept:
    """One camera's file as if it came live; `delays` gets, per frame, how far the output is behind."""
    camera = site.camera("lobby")
    kept = Kept()
    cutting = LiveCutting(site.with_cameras((camera,)), camera, kept, identities, out_dir)  # type: ignore[arg-type]
    source = build_recorded_source(camera, 0.0)
    for frame in source.frames():
        cutting.frame(frame)
        delays.append((frame.index - (kept.frames[-1][0] if kept.frames else -1)) / 10)
    source.close()
    cutting.close()
    return kept


def test_a_live_camera_is_put_out_whole_and_a_bounded_moment_late(site: Config, tmp_path: Path) -> None:
    delays: list[float] = []
    kept = run_live(site, tmp_path, frozenset(), delays)
    assert [index for index, _, _ in kept.frames] == list(range(round(SECONDS * 10)))
    assert max(delays) <= DELAY_S + 0.11
    assert (tmp_path / "identities.jsonl").read_text() and (tmp_path / "kept/lobby/plate.png").exists()
    assert max(kept.cut_px) > 5000


def test_a_live_camera_shows_the_chosen_identity_from_its_first_box_on(site: Config, tmp_path: Path) -> None:
    everybody = run_live(site, tmp_path / "a", frozenset(), [])
    events = [json.loads(line) for line in (tmp_path / "a/identities.jsonl").read_text().splitlines()]
    first = next(event for event in events if event["kind"] == "entered")
    chosen = run_live(site, tmp_path / "b", frozenset({first["identity_id"]}), [])
    decided = round(first["decided_at_s"] * 10)
    began = next(index for index, px in enumerate(chosen.cut_px) if px > 500)
    assert began < decided  # the matcher had not decided yet when the frame came
    assert 0 < sum(chosen.cut_px) <= sum(everybody.cut_px)
    nobody = run_live(site, tmp_path / "c", frozenset({99}), [])
    assert sum(nobody.cut_px) == 0
