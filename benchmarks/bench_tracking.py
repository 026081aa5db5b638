"""Tracking on MOT17-02, -04 and -09 with the FRCNN detections given there, beside other people's trackers.

    MEDIA_DIR=… python benchmarks/bench_tracking.py [--no-peers] [--rounds N] [--environments DIR]

Association alone: everybody gets the same detections and no pictures, and runs at its defaults; appearance and motion
compensation are off where a tracker has them. `ours` is what `PersonTracker` returns frame by frame, as the peers'
results are; `ours, tracklets` are the finished tracks with their filled gaps, known only later. Scored by
pipeline.scoring (MOT17's rules: only class 1 with consider = 1 counts, boxes on classes 2, 7, 8 and 12 are taken out).
Frames per second: CPU time inside the update calls, on one core, the fastest of N rounds. Peers are installed into
environments of their own; one that cannot be installed or run is a line with the reason.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers.catalogue import MOTION_PEERS
from peers.clips import Clip, mot_rows, read_detections, read_mot_clip, write_rows
from peers.environments import default_folder
from peers.results import Result, score_clips, table, versions
from peers.running import bench_peers, machine_line, use_one_core

from pipeline.config import TrackerConfig
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, Tracklet

SEQUENCES = ("02", "04", "09")


def run_ours(clip: Clip, config: TrackerConfig) -> tuple[list[str], list[str], float]:
    """Rows known frame by frame, rows of the finished tracklets, and the CPU seconds spent tracking."""
    tracker = PersonTracker("camera", "1", config)
    detections = read_detections(clip.detections)
    live: list[str] = []
    ended: list[Tracklet] = []
    seconds = 0.0
    for frame in range(1, clip.frame_count + 1):
        given = detections.get(frame, Detections.empty())
        at_s = (frame - 1) / clip.fps
        started = time.process_time()
        tracks, gone = tracker.update_boxes(frame, at_s, *clip.size_px, given)
        seconds += time.process_time() - started
        ended += gone
        live += mot_rows([frame] * len(tracks), tracks.ids, tracks.xyxy, tracks.confidence)
    ended += tracker.finish()
    finished: list[str] = []
    for tracklet in ended:
        ids = [tracklet.key.track_id] * len(tracklet.xyxy)
        finished += mot_rows(tracklet.frame_index, ids, tracklet.xyxy, tracklet.confidence)
    return live, finished, seconds


def read_clips(media: Path, names: Sequence[str] = SEQUENCES) -> list[Clip]:
    truth = read_ground_truth(media, names)
    return [read_mot_clip(media / name, truth.cameras[name]) for name in names]


def bench_ours(
    media: Path, work: Path, config: TrackerConfig, names: Sequence[str] = SEQUENCES, rounds: int = 1
) -> list[Result]:
    """Our two lines of the table: frame by frame, and the finished tracklets."""
    clips = read_clips(media, names)
    frames = sum(clip.frame_count for clip in clips)
    speed = 0.0
    for _ in range(rounds):
        seconds = 0.0
        for clip in clips:
            live, finished, spent = run_ours(clip, config)
            seconds += spent
            write_rows(work / "live" / f"{clip.name}.txt", live)
            write_rows(work / "tracklets" / f"{clip.name}.txt", finished)
        speed = max(speed, frames / seconds)
    return [
        Result("ours", score_clips(clips, work / "live"), speed),
        Result("ours, tracklets", score_clips(clips, work / "tracklets"), speed),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peers", action="store_true", help="only our tracker")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of so many is reported")
    parser.add_argument("--environments", type=Path, default=default_folder(), help="where the peers are installed")
    arguments = parser.parse_args()
    media = Path(os.environ.get("MEDIA_DIR", "")) / "mot17"
    missing = [name for name in SEQUENCES if not (media / name / "det" / "det.txt").is_file()]
    if not os.environ.get("MEDIA_DIR") or missing:
        print("MEDIA_DIR must name a folder with mot17/02, mot17/04 and mot17/09", file=sys.stderr)
        return 1
    rounds = max(1, arguments.rounds)
    use_one_core()
    with tempfile.TemporaryDirectory() as work:
        results = bench_ours(media, Path(work), TrackerConfig(), rounds=rounds)
        if not arguments.no_peers:
            results += bench_peers(MOTION_PEERS, read_clips(media), Path(work), arguments.environments, rounds=rounds)
    print(table(results, SEQUENCES))
    print(f"\n{versions(results)}\n{machine_line(rounds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
