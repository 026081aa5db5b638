"""`run_pipeline.py demo`: the whole pipeline on a generated three-camera scene, without any download."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from pipeline.commands.replay import ReplayOptions, prepare, print_summary, replay
from pipeline.config import Config, load_config
from pipeline.scenes.export import WrittenScene, write_scene
from pipeline.scenes.walks import Scenario, demo_scenario


def demo(base: Config, out_dir: Path, echo: Callable[[str], None], *, progress: bool = True) -> int:
    """Generate the scene into `out_dir/scene`, replay it with the settings of `base`, and score it.

    Raises:
        PipelineError: something that the user must put right.
    """
    scenario = demo_scenario()
    echo(f"generating {len(scenario.people)} people walking through {len(scenario.cameras)} cameras …")
    scene = _generate(scenario, out_dir / "scene", progress)
    config = replace(base, cameras=load_config(scene.config).cameras)
    how = ReplayOptions(overlay=True, progress=progress, gt_boxes=False)  # a second pass would double the demo's time
    summary = replay(prepare(config, scene.ground_truth), out_dir, how, echo)
    echo("")
    print_summary(summary, out_dir, echo)
    echo(f"{'the people:':18}{scene.sheet}  ({len(scenario.people)} of them; ground truth in {scene.ground_truth})")
    return 0


def _generate(scenario: Scenario, folder: Path, progress: bool) -> WrittenScene:
    with tqdm(total=None, unit=" frames", desc="scene", disable=not progress, mininterval=1.0) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return write_scene(scenario, folder, progress=show)
