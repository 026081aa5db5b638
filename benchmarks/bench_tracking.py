"""Tracking on MOT17-02, -04 and -09 with the FRCNN detections given there, beside the best known ByteTracks.

    MEDIA_DIR=… python benchmarks/bench_tracking.py [--no-peers] [--environments DIR]

Everybody gets the same detections and runs at its defaults. `ours` is what `PersonTracker.update` returns frame by
frame, as the peers' results are; `ours, tracklets` are the finished tracks with their filled gaps, known only later.
The scores are TrackEval's own (MotChallenge2DBox with its MOT17 preprocessing: only class 1 with consider = 1 counts,
boxes matched to classes 2, 7, 8 and 12 are taken out). Frames per second count the time inside the update calls only,
on one thread. Peers are installed into environments of their own, outside this project's.
"""

import argparse
import configparser
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import platformdirs

from pipeline.boxes import xywh_to_xyxy, xyxy_to_xywh
from pipeline.config import TrackerConfig
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, FloatArray, Tracklet

SEQUENCES = ("02", "04", "09")
PEERS = {  # name in the table -> (name in run_peer.py, requirements)
    "trackers ByteTrack": ("trackers", "requirements-trackers.txt"),
    "boxmot ByteTrack, class defaults": ("boxmot", "requirements-boxmot.txt"),
    "boxmot ByteTrack, shipped config": ("boxmot-config", "requirements-boxmot.txt"),
}
PEERS_FOLDER = Path(__file__).parent / "peers"
INSTALL_LIMIT_S = 1800  # boxmot brings PyTorch, some gigabytes
RUN_LIMIT_S = 600

Scores = dict[str, float]


@dataclass(frozen=True)
class Sequence2D:
    """One MOTChallenge folder: `detections` by frame number, from 1."""

    length: int
    frame_rate: float
    size_px: tuple[int, int]
    detections: Mapping[int, Detections]


@dataclass
class Result:
    """One line of the table: scores by sequence, or why there are none."""

    name: str
    scores: dict[str, Scores] = field(default_factory=dict)
    frames_per_s: float | None = None
    reason: str = ""


def read_sequence(folder: Path) -> Sequence2D:
    ini = configparser.ConfigParser()
    ini.read(folder / "seqinfo.ini")
    info = ini["Sequence"]
    rows = np.loadtxt(folder / "det" / "det.txt", delimiter=",", ndmin=2)
    xyxy = xywh_to_xyxy(rows[:, 2:6].astype(np.float32))
    confidence = np.clip(rows[:, 6], 0, 1)
    frames = rows[:, 0].astype(int)
    detections = {int(f): Detections(xyxy[frames == f], confidence[frames == f]) for f in np.unique(frames)}
    size_px = (int(info["imWidth"]), int(info["imHeight"]))
    return Sequence2D(int(info["seqLength"]), float(info["frameRate"]), size_px, detections)


def mot_rows(frames: Iterable[int], ids: Iterable[int], xyxy: FloatArray, confidence: Iterable[float]) -> list[str]:
    boxes = xyxy_to_xywh(xyxy)
    return [
        f"{f},{i},{x:.3f},{y:.3f},{w:.3f},{h:.3f},{c:.4f},-1,-1,-1"
        for f, i, (x, y, w, h), c in zip(frames, ids, boxes, confidence, strict=True)
    ]


def run_ours(sequence: Sequence2D, config: TrackerConfig) -> tuple[list[str], list[str], float]:
    """Rows known frame by frame, rows of the finished tracklets, and the seconds spent tracking."""
    tracker = PersonTracker("camera", "1", config)
    live: list[str] = []
    ended: list[Tracklet] = []
    seconds = 0.0
    for frame in range(1, sequence.length + 1):
        detections = sequence.detections.get(frame, Detections.empty())
        started = time.perf_counter()
        at_s = (frame - 1) / sequence.frame_rate
        tracks, gone = tracker.update_boxes(frame, at_s, *sequence.size_px, detections)
        seconds += time.perf_counter() - started
        ended += gone
        live += mot_rows([frame] * len(tracks), tracks.ids, tracks.xyxy, tracks.confidence)
    ended += tracker.finish()
    finished: list[str] = []
    for tracklet in ended:
        ids = [tracklet.key.track_id] * len(tracklet.xyxy)
        finished += mot_rows(tracklet.frame_index, ids, tracklet.xyxy, tracklet.confidence)
    return live, finished, seconds


def score(results: Path, truth: Path, lengths: Mapping[str, int]) -> dict[str, Scores]:
    """TrackEval's figures, by sequence and for all together ("all").

    Args:
        results: folder of <sequence>.txt. truth: folder of <sequence>/gt/gt.txt. lengths: frames per sequence.
    """
    import trackeval

    with contextlib.redirect_stdout(io.StringIO()):
        data_set = trackeval.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(truth),
                "TRACKERS_FOLDER": str(results.parent),
                "TRACKERS_TO_EVAL": [results.name],
                "TRACKER_SUB_FOLDER": "",
                "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": dict(lengths),
                "PRINT_CONFIG": False,
            }
        )
        silent = {"PRINT_CONFIG": False}
        metrics = [trackeval.metrics.HOTA(), trackeval.metrics.Identity(silent), trackeval.metrics.CLEAR(silent)]
        found: list[dict[str, dict]] = [{} for _ in metrics]
        for name in lengths:
            raw = data_set.get_raw_seq_data(results.name, name)
            prepared = data_set.get_preprocessed_seq_data(raw, "pedestrian")
            for metric, values in zip(metrics, found, strict=True):
                values[name] = metric.eval_sequence(prepared)
        for metric, values in zip(metrics, found, strict=True):
            values["all"] = metric.combine_sequences(dict(values))
    hota, identity, clear = found
    return {
        name: {
            "HOTA": float(np.mean(hota[name]["HOTA"])),
            "IDF1": float(identity[name]["IDF1"]),
            "MOTA": float(clear[name]["MOTA"]),
            "IDSW": float(clear[name]["IDSW"]),
        }
        for name in [*lengths, "all"]
    }


def bench_ours(media: Path, work: Path, config: TrackerConfig, names: Sequence[str] = SEQUENCES) -> list[Result]:
    lengths, seconds = {}, 0.0
    for name in names:
        sequence = read_sequence(media / name)
        lengths[name] = sequence.length
        live, finished, spent = run_ours(sequence, config)
        seconds += spent
        for folder, rows in (("live", live), ("tracklets", finished)):
            (work / folder).mkdir(parents=True, exist_ok=True)
            (work / folder / f"{name}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    speed = sum(lengths.values()) / seconds
    return [
        Result("ours", score(work / "live", media, lengths), speed),
        Result("ours, tracklets", score(work / "tracklets", media, lengths), speed),
    ]


def peer_python(requirements: Path, environments: Path) -> Path:
    """The interpreter of an environment with these requirements, made when it is not there yet.

    Raises:
        RuntimeError: it could not be made; says why in one line.
    """
    text = requirements.read_text(encoding="utf-8")
    folder = environments / f"{requirements.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    make = [uv, "venv", "--python", version, str(folder)] if uv else [sys.executable, "-m", "venv", str(folder)]
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    for command in (make, [*pip, "-r", str(requirements)]):
        run(command, INSTALL_LIMIT_S)
    done.touch()
    return python


def run(command: Sequence[str], limit_s: float) -> str:
    """The standard output of a command on one thread.

    Raises:
        RuntimeError: it failed or took too long; the message is the last line it wrote.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment, check=True)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{Path(command[0]).name} took more than {limit_s:g} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else str(error)) from None
    return done.stdout


def bench_peer(name: str, media: Path, work: Path, environments: Path) -> Result:
    peer, requirements = PEERS[name]
    folder = work / peer
    folder.mkdir()
    lengths, seconds = {}, 0.0
    try:
        python = peer_python(PEERS_FOLDER / requirements, environments)
        for sequence in SEQUENCES:
            files = [media / sequence / "det" / "det.txt", media / sequence / "seqinfo.ini", folder / f"{sequence}.txt"]
            output = run([str(python), str(PEERS_FOLDER / "run_peer.py"), peer, *map(str, files)], RUN_LIMIT_S)
            spent = json.loads(output.strip().splitlines()[-1])
            lengths[sequence] = int(spent["frames"])
            seconds += spent["seconds"]
    except RuntimeError as error:
        return Result(name, reason=str(error))
    return Result(name, score(folder, media, lengths), sum(lengths.values()) / seconds)


def table(results: Sequence[Result]) -> str:
    lines = ["| tracker | 02 HOTA | 04 HOTA | 09 HOTA | HOTA | IDF1 | MOTA | IDSW | frames/s |", "|" + "---|" * 9]
    for result in results:
        if result.reason:
            lines.append(f"| {result.name} | not run: {result.reason} |" + " |" * 7)
            continue
        every = result.scores["all"]
        cells = [f"{100 * result.scores[s]['HOTA']:.2f}" for s in SEQUENCES]
        cells += [f"{100 * every[m]:.2f}" for m in ("HOTA", "IDF1", "MOTA")]
        cells += [f"{every['IDSW']:.0f}", f"{result.frames_per_s:.0f}"]
        lines.append(f"| {result.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peers", action="store_true", help="only our tracker")
    default = Path(platformdirs.user_cache_dir("multicam-person-reid")) / "benchmark-peers"
    parser.add_argument("--environments", type=Path, default=default, help="where the peers are installed")
    arguments = parser.parse_args()
    media = Path(os.environ.get("MEDIA_DIR", "")) / "mot17"
    missing = [name for name in SEQUENCES if not (media / name / "det" / "det.txt").is_file()]
    if not os.environ.get("MEDIA_DIR") or missing:
        print("MEDIA_DIR must name a folder with mot17/02, mot17/04 and mot17/09", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as work:
        results = bench_ours(media, Path(work), TrackerConfig())
        if not arguments.no_peers:
            results += [bench_peer(name, media, Path(work), arguments.environments) for name in PEERS]
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
