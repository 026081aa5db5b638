"""Makes a generated site with ground truth, and records it: detections and clip features of the real models.

    MODELS_DIR=... python benchmarks/generated_site/make.py --seed 1 --out DIR [--duration-s 120] [--record]

DIR then holds the videos, gt/, site.yaml and its variants with topology and calibration, calibration/, and with
--record the recording in run/. Score a matcher on it, in seconds, with each of the configurations:

    run_pipeline.py replay --config DIR/site.full.yaml --features DIR/run --gt DIR/gt --out RESULT
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import run_pipeline  # noqa: E402
from pipeline.errors import PipelineError  # noqa: E402
from pipeline.scenes.difficulty import parse_difficulty  # noqa: E402
from pipeline.scenes.site_files import write_site  # noqa: E402
from pipeline.scenes.sites import SITE_DIFFICULTY, make_site  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="1 while something is built, 2 for what is reported")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="empty or absent, but for --record")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--duration-s", type=float, default=120.0)
    parser.add_argument("--difficulty", type=parse_difficulty, default=SITE_DIFFICULTY, metavar="NAME=STRENGTH,…")
    parser.add_argument("--wardrobe", choices=("rich", "quiet"), default="rich", help="quiet: dark and plain")
    parser.add_argument("--record", action="store_true", help="of a site that is there already as well")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    if not (options.record and (options.out / "site.yaml").is_file()):
        try:
            write(options)
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.record:
        return record(options.out)
    return 0


def write(options: argparse.Namespace) -> None:
    site = make_site(
        options.seed,
        people=options.people,
        duration_s=options.duration_s,
        difficulty=options.difficulty,
        wardrobe=options.wardrobe,
    )
    frames = site.scenario.frame_count * len(site.scenario.cameras)
    with tqdm(total=frames, unit=" frames", desc="site", mininterval=1.0) as bar:

        def show(done: int, _: int) -> None:
            bar.update(done - bar.n)

        write_site(site, options.out, progress=show)


def record(folder: Path) -> int:
    """Detections and features of the videos in `folder`, into `folder/run`; the pipeline's exit code."""
    return run_pipeline.main(
        ["replay", "--config", str(folder / "site.yaml"), "--out", str(folder / "run"), "--record"]
    )


if __name__ == "__main__":
    sys.exit(main())
