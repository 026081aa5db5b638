"""Tracking with appearance on real pictures: ours beside other people's trackers, one camera at a time.

    MODELS_DIR=… MEDIA_DIR=… python benchmarks/bench_peers_reid.py [--no-peers] [--rounds N] [--environments DIR]
        [--work DIR]

Everybody gets the same detections and the same re-ID weights (OSNet x0.25, MSMT17, ONNX Runtime) and runs at its
defaults, motion compensation included. Clips, all frames of each: PETS S2.L1 view 1 with the detections that come with
it, a corridor passed by one person after the other, and the four cameras of a laboratory, each on its own, with
YOLO11n's detections, recorded once before. Ours is the whole pipeline in replay. `final ids` are tracks/ (merges
applied, gaps filled: known at the end), `online ids` are tracks_online/ (the same boxes with the identity known at each
frame), `tracks alone` are tracks_local/ (the tracker without appearance). Scored by pipeline.scoring in the annotated
frames. Frames per second: CPU time on one core, the fastest of N rounds, of a peer inside its update calls (cutting and
encoding crops and motion compensation included), of ours inside the camera's pipeline and the matcher; decoding,
detection and writing of files are left out for everybody.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers.catalogue import APPEARANCE_PEERS
from peers.clips import Clip, mot_rows, read_detections, write_rows
from peers.environments import default_folder
from peers.results import Result, score_clips, table, versions
from peers.running import bench_peers, machine_line, use_one_core
from peers.weights import write_weights

from detectors.yolo import YoloDetector
from pipeline.build import (
    build_detector,
    build_encoder,
    build_head,
    build_matcher,
    build_recorded_source,
    limit_threads,
    matcher_threshold,
    settle,
)
from pipeline.capture.files import VideoFileSource
from pipeline.capture.probe import probe
from pipeline.config import CameraConfig, CaptureConfig, Config, DetectorConfig, ReidConfig
from pipeline.errors import PipelineError
from pipeline.ports import Detector
from pipeline.replay.replay import Replay, ReplayCamera
from pipeline.runtime.camera import CameraPipeline, FrameResult
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.scoring.rows import NOBODY
from pipeline.types import CameraStatus, ClipMessage, Frame
from reid.weights import find_weights

CLIPS = {  # name in the table -> (folder, name of the video and of its ground truth)
    "pets": ("pets_s2l1_view1", "video"),
    "one_by_one": ("one_by_one", "video"),
    **{f"lab_{camera}": ("lab4cam", camera) for camera in ("cam0", "cam1", "cam2", "cam3")},
}
PETS_SCALE = 480 / 768  # its detections were made on 768 x 576, the video here has 480 x 360
DETECTOR_WEIGHTS = "yolo11n_int8_openvino_model"
REID_WEIGHTS = "osnet_x0_25_msmt17.onnx"
LINES = (  # name in the table, folder of a replay, id of a box whose identity is not known
    ("ours, final ids", "tracks", None),
    ("ours, online ids", "tracks_online", NOBODY),
    ("ours, tracks alone", "tracks_local", None),
)


class TimedCamera(CameraPipeline):
    """Adds up the CPU seconds inside the camera's pipeline."""

    seconds = 0.0

    def process(self, frame: Frame) -> FrameResult:
        started = time.process_time()
        result = super().process(frame)
        self.seconds += time.process_time() - started
        return result

    def finish(self, status: CameraStatus | None, at_s: float | None = None) -> list[ClipMessage]:
        started = time.process_time()
        messages = super().finish(status, at_s)
        self.seconds += time.process_time() - started
        return messages


def record_detections(video: Path, detector: Detector, out: Path) -> None:
    """The detector's boxes of every frame as det.txt."""
    rows: list[str] = []
    for frame in VideoFileSource("camera", video).frames():
        (found,) = detector.detect([frame])
        rows += mot_rows([frame.index + 1] * len(found), [-1] * len(found), found.xyxy, found.confidence)
    write_rows(out, rows)


def scale_detections(detections: Path, scale: float, out: Path) -> None:
    """The same boxes for a smaller picture."""
    rows: list[str] = []
    for frame, found in read_detections(detections).items():
        rows += mot_rows([frame] * len(found), [-1] * len(found), found.xyxy * scale, found.confidence)
    write_rows(out, rows)


def read_clips(media: Path, work: Path) -> list[Clip]:
    """All clips, with detections in `work`/detections; those that are there already are not made again."""
    detector: Detector | None = None
    clips = []
    for name, (folder, stem) in CLIPS.items():
        video = media / folder / f"{stem}.mp4"
        detections = work / "detections" / f"{name}.txt"
        if not detections.exists() and name == "pets":
            scale_detections(media / folder / "det_768x576.txt", PETS_SCALE, detections)
        elif not detections.exists():
            print(f"detecting people: {name}", file=sys.stderr, flush=True)
            confidence = DetectorConfig().confidence
            detector = detector or YoloDetector(find_weights(DETECTOR_WEIGHTS), confidence=confidence, device="cpu")
            record_detections(video, detector, detections)
        info = probe(str(video), CaptureConfig())
        truth = read_ground_truth(media / folder / "gt", [stem]).cameras[stem]
        size_px = (info.width_px, info.height_px)
        clips.append(Clip(name, detections, info.frame_count or 0, info.fps or 0.0, size_px, truth, video))
    return clips


def replay_clip(clip: Clip, out: Path) -> float:
    """One camera through the whole pipeline; the CPU seconds inside the camera's pipeline and the matcher."""
    camera = CameraConfig(id=clip.name, source=str(clip.video), detections=str(clip.detections))
    reid = ReidConfig(backbone="osnet_x0_25", weights=REID_WEIGHTS, device="cpu")
    config = Config(cameras=(camera,), detector=DetectorConfig(kind="recorded"), reid=reid)
    config = settle(replace(config, background=replace(config.background, references=False))).config
    cv2.setRNGSeed(config.runtime.seed)
    limit_threads(config)
    encoder = build_encoder(config)
    head = build_head(config, encoder.describe())
    matcher = build_matcher(config, matcher_threshold(config, head.clip_model_id))
    latency = LatencyRecorder(monotonic=time.process_time)
    detector = build_detector(config)
    pipeline = TimedCamera(camera, config, detector=detector, encoder=encoder, head=head, latency=latency)
    recorder = RunRecorder(out, [camera.id], crops=None, references=None)
    cameras = [ReplayCamera(camera.id, build_recorded_source(camera, 0.0), pipeline)]
    Replay(cameras, matcher, recorder, latency=latency).run()
    match = latency.summary()["match"]
    return pipeline.seconds + match["count"] * match["mean_s"]


def bench_ours(clips: Sequence[Clip], work: Path, rounds: int) -> list[Result]:
    """Our lines: every clip replayed as a site of one camera."""
    speed = 0.0
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}: ours", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=work) as out:
            seconds = sum(replay_clip(clip, Path(out)) for clip in clips)
            speed = max(speed, sum(clip.frame_count for clip in clips) / seconds)
            scores = [score_clips(clips, Path(out) / folder, nobody) for _, folder, nobody in LINES]
    alone = len(LINES) - 1  # the tracker without appearance was not timed
    return [
        Result(name, score, None if place == alone else speed)
        for place, ((name, _, _), score) in enumerate(zip(LINES, scores, strict=True))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peers", action="store_true", help="only our pipeline")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many is reported")
    parser.add_argument("--environments", type=Path, default=default_folder(), help="where the peers are installed")
    parser.add_argument("--work", type=Path, help="keep detections and the peers' rows here")
    arguments = parser.parse_args()
    media = Path(os.environ.get("MEDIA_DIR", ""))
    missing = [folder for folder, stem in CLIPS.values() if not (media / folder / f"{stem}.mp4").is_file()]
    if not os.environ.get("MEDIA_DIR") or missing:
        print(
            f"MEDIA_DIR must name a folder with {', '.join(dict.fromkeys(f for f, _ in CLIPS.values()))}",
            file=sys.stderr,
        )
        return 1
    use_one_core()
    rounds = max(1, arguments.rounds)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        try:
            clips = read_clips(media, work)
            results = bench_ours(clips, work, rounds)
            if not arguments.no_peers:
                weights = write_weights(find_weights(REID_WEIGHTS), work / "weights")
                results += bench_peers(
                    APPEARANCE_PEERS, clips, work, arguments.environments, rounds=rounds, weights=weights
                )
        except (PipelineError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    print(table(results, list(CLIPS)))
    print(f"\n{versions(results)}\n{machine_line(rounds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
