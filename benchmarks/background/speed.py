"""What background removal costs: alone, and beside a camera's whole pipeline in the same process."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from background.footage import Shot
from pipeline.background.removal.compositing import on_green
from pipeline.background.removal.remover import BackgroundRemover
from pipeline.build import settle
from pipeline.commands.background_live import LiveCutting
from pipeline.commands.background_output import CutOutput
from pipeline.commands.recorded import fix_threads
from pipeline.commands.replay import detector_name
from pipeline.config import CameraConfig, Config
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario
from pipeline.types import Frame


@dataclass(frozen=True, slots=True)
class Cost:
    """Per frame: CPU milliseconds and wall milliseconds; people in the mean frame."""

    cpu_ms: float
    wall_ms: float
    people: float
    what: str = ""

    @property
    def fps(self) -> float:
        return 1000 / self.wall_ms


def removal_alone(shots: list[Shot]) -> Cost:
    """Masks and the picture on green, boxes given."""
    remover = BackgroundRemover()
    cpu, wall = time.process_time(), time.perf_counter()
    for shot in shots:
        on_green(remover.add(shot.frame, shot.seen))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    people = sum(len(shot.seen) for shot in shots) / len(shots)
    return Cost(1000 * cpu / len(shots), 1000 * wall / len(shots), people)


def beside_the_pipeline(scenario: Scenario, camera_id: str, frames: int) -> Cost:
    """Detector, tracker, encoder, matcher, references, masks, and the video on green: what a live camera does."""
    scene = SceneCamera(scenario, camera_id)
    pictures: list[Frame] = [scene.render(index)[0] for index in range(frames)]
    camera = CameraConfig(camera_id, "0")
    config = settle(Config(cameras=(camera,))).config
    fix_threads(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        CutOutput(Path(folder), camera_id, "green", scenario.fps) as output,
    ):
        cutting = LiveCutting(config, camera, output, frozenset(), Path(folder))
        cutting.frame(pictures[0])  # loads and compiles
        cpu, wall = time.process_time(), time.perf_counter()
        for frame in pictures[1:]:
            cutting.frame(frame)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        cutting.close()
    count = frames - 1
    what = f"{detector_name(config)}, {config.reid.backbone}"
    return Cost(1000 * cpu / count, 1000 * wall / count, float("nan"), what)
