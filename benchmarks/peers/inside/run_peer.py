"""Runs one tracker of one library over clips. Lives in the peer's environment, so it imports nothing of this project.

    python run_peer.py JOB.json

The job: {"library", "tracker", "weights": path or null, "clips": [{"name", "detections", "frame_count", "fps",
"size_px", "video": path or null, "out"}]}. Writes MOTChallenge rows to `out` and prints one JSON line:
{"version", "seconds": {clip: CPU seconds of this process inside the tracker's update calls}}.
"""

import importlib
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP_FRAMES = 10  # with a tracker that is thrown away: what a library loads at its first call is not tracking


def read_boxes(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame numbers (N,), xyxy (N, 4) float32 px and confidences (N,) float32 in [0, 1] of a det.txt."""
    rows = np.loadtxt(path, delimiter=",", usecols=range(7), ndmin=2).reshape(-1, 7)
    boxes = np.column_stack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]]).astype(np.float32)
    return rows[:, 0], boxes, np.clip(rows[:, 6], 0, 1).astype(np.float32)


def pictures(video: str | None, count: int) -> Iterator[np.ndarray | None]:
    """`count` BGR pictures, or None as often."""
    if video is None:
        yield from (None for _ in range(count))
        return
    import cv2

    reader = cv2.VideoCapture(video)
    for number in range(1, count + 1):
        is_read, picture = reader.read()
        if not is_read:
            raise SystemExit(f"{Path(video).name} has no frame {number}")
        yield picture
    reader.release()


def track(tracker: Any, clip: dict[str, Any], frame_count: int) -> tuple[list[str], float]:
    """Result rows, and the CPU seconds inside the update calls."""
    frames, boxes, confidence = read_boxes(clip["detections"])
    seconds, lines = 0.0, []
    for frame, picture in enumerate(pictures(clip["video"], frame_count), start=1):
        here = frames == frame
        given = tracker.prepare(boxes[here], confidence[here])
        started = time.process_time()
        answer = tracker.update(given, picture)
        seconds += time.process_time() - started
        lines += [
            f"{frame},{int(i)},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{c:.4f},-1,-1,-1"
            for i, x1, y1, x2, y2, c in tracker.rows(answer)
        ]
    return lines, seconds


def limit_threads() -> None:
    for name, call in (("cv2", "setNumThreads"), ("torch", "set_num_threads")):
        if name in sys.modules:
            getattr(sys.modules[name], call)(1)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    library = importlib.import_module(f"{job['library']}_library")
    limit_threads()
    seconds = {}
    for clip in islice(job["clips"], 1):
        tracker = library.make_tracker(job["tracker"], clip, job["weights"])
        track(tracker, clip, min(WARM_UP_FRAMES, clip["frame_count"]))
    for clip in job["clips"]:
        tracker = library.make_tracker(job["tracker"], clip, job["weights"])
        lines, seconds[clip["name"]] = track(tracker, clip, clip["frame_count"])
        Path(clip["out"]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(json.dumps({"version": library.version(), "seconds": seconds}))


if __name__ == "__main__":
    main()
