"""Makes an hour of a generated site without rendering it: the same people, cameras and walks, hundreds of re-entries.

    MODELS_DIR=... python benchmarks/generated_site/make_long.py --seed 1 --out DIR [--pool FILE] [--duration-s 3600]

DIR then holds what make.py and --record leave behind, but for the videos: gt/, the configurations, calibration/, and
a recording in run/ for `replay --features`. Looks come from a pool of crops that were rendered and passed the real
encoder (made once for a seed, minutes; --pool keeps it); boxes, misses and broken tracks from a model
(unseen_tracks.py).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from generated_site.crop_pool import CropPool, fill_pool, load_pool, save_pool  # noqa: E402
from generated_site.unseen_messages import EPOCH, Looks, publish  # noqa: E402
from generated_site.unseen_tracks import make_tracks  # noqa: E402
from pipeline.build import build_encoder, build_head, settle  # noqa: E402
from pipeline.bus.codec import encode  # noqa: E402
from pipeline.capture.probe import SourceInfo  # noqa: E402
from pipeline.config import Config, load_config  # noqa: E402
from pipeline.errors import ConfigError, PipelineError  # noqa: E402
from pipeline.ports import ClipHead, CropEncoder  # noqa: E402
from pipeline.replay.recording import RunRecording  # noqa: E402
from pipeline.scenes.export import TruthRow, write_truth  # noqa: E402
from pipeline.scenes.roaming import Habits  # noqa: E402
from pipeline.scenes.silhouettes import Sighting, sightings  # noqa: E402
from pipeline.scenes.site_files import write_plan  # noqa: E402
from pipeline.scenes.sites import Site, make_site  # noqa: E402
from pipeline.types import Frame  # noqa: E402

FPS = 5.0  # enough for boxes that go out five times a second
SHAKE = 0.03  # of the pool's boxes: the detector's shake and offset together, at most
ABSENCE_S = (30.0, 600.0)
START_WITHIN_S = 300.0
NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


def write_long_site(
    site: Site, out_dir: Path, pool: CropPool, head: ClipHead, config: Config, rng: np.random.Generator
) -> int:
    """Ground truth and recording of a site; `config`: settled, with the site's cameras. Returns how many tracks."""
    cameras = site.scenario.cameras
    infos = {c.id: SourceInfo("file", c.width_px, c.height_px, site.scenario.fps) for c in cameras}
    name = "modelled boxes"
    recording = RunRecording(out_dir / "run", config, infos, clip_model_id=head.clip_model_id, detector_name=name)
    truth: dict[str, list[TruthRow]] = {}
    count = 0
    for camera, seen in zip(cameras, sightings(site.scenario), strict=True):
        truth[camera.id] = _truth_rows(seen)
        size_px = (camera.width_px, camera.height_px)
        tracks = make_tracks(seen, site.scenario.fps, config.tracker.lost_s, size_px, rng)
        looks = Looks(pool, camera.id, rng)
        told = publish(camera.id, tracks, site.scenario.frame_count, site.scenario.fps, config, looks, head, size_px)
        for frame, messages in told:
            recording.frame(Frame(camera.id, EPOCH, frame, frame / site.scenario.fps, NO_PICTURE))
            for message in messages:
                recording.message(camera.id, encode(message))
        count += len(tracks)
    recording.end()
    recording.close()
    write_truth(out_dir / "gt", truth)
    return count


def _truth_rows(seen: Sequence[Sighting]) -> list[TruthRow]:
    rows = []
    for sighting in seen:
        boxes = np.concatenate([sighting.xyxy[:, :2], sighting.xyxy[:, 2:] - sighting.xyxy[:, :2]], axis=1)
        for frame, box, visible in zip(
            sighting.frames.tolist(), boxes.tolist(), sighting.visibility.tolist(), strict=True
        ):
            rows.append(TruthRow(frame + 1, sighting.person_id, tuple(box), visible))
    return sorted(rows)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="1 while something is built, 2 for what is reported")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="absent")
    parser.add_argument("--pool", type=Path, metavar="FILE", help="made when absent; default: pool.npz in DIR")
    parser.add_argument("--stays", type=int, default=5, help="of everybody in every camera, in the pool")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--duration-s", type=float, default=3600.0)
    parser.add_argument("--absence-s", type=float, nargs=2, default=ABSENCE_S, metavar=("LEAST", "MOST"))
    parser.add_argument("--wardrobe", choices=("rich", "quiet"), default="rich", help="quiet: dark and plain")
    options = parser.parse_args(arguments)
    if options.out.exists():
        parser.error(f"{options.out} is there already")
    return options


def _site(options: argparse.Namespace) -> Site:
    begun_s = min(START_WITHIN_S, options.duration_s / 4)
    return make_site(
        options.seed,
        people=options.people,
        duration_s=options.duration_s,
        fps=FPS,
        habits=Habits(absence_s=tuple(options.absence_s), start_within_s=begun_s),
        wardrobe=options.wardrobe,
    )


def _pool(path: Path, site: Site, encoder: CropEncoder, stays: int) -> CropPool:
    """The pool in a file, filled first where there is none.

    Raises:
        ConfigError: it holds crops of another encoder.
    """
    if not path.is_file():
        save_pool(fill_pool(site, encoder, stays, SHAKE, np.random.default_rng([site.scenario.seed, 22])), path)
    pool = load_pool(path)
    if pool.model_id != encoder.describe().model_id:
        raise ConfigError(f"{path} holds crops of {pool.model_id}; remove it, or give another --pool")
    return pool


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        _make(options)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _make(options: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    site = _site(options)
    write_plan(site, options.out, {camera.id: f"{camera.id}.mp4" for camera in site.scenario.cameras})
    config = settle(load_config(options.out / "site.yaml")).config
    config = replace(config, detector=replace(config.detector, kind="recorded"))
    encoder = build_encoder(config)
    pool = _pool(options.pool or options.out / "pool.npz", site, encoder, options.stays)
    head = build_head(config, encoder.describe())
    tracks = write_long_site(site, options.out, pool, head, config, np.random.default_rng([options.seed, 23]))
    print(f"{options.out}: {len(site.crossings)} crossings, {tracks} tracks in {len(site.scenario.cameras)} cameras")


if __name__ == "__main__":
    sys.exit(main())
