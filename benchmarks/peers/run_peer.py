"""Run one peer's ByteTrack, at its defaults, over the detections of one MOTChallenge sequence.

Runs in the peer's own environment, so it imports nothing of this project. Prints one JSON line: {"frames", "seconds"},
the seconds spent inside the peer's update calls.

    python run_peer.py trackers|boxmot|boxmot-config DET.txt SEQINFO.ini OUT.txt
"""

import argparse
import configparser
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# (xyxy (N, 4), confidence (N,)) -> rows (M, 6): id, x1, y1, x2, y2, confidence
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]


def trackers_step(frame_rate: float) -> Step:
    """ByteTrack of Roboflow's `trackers`; boxes without an id (-1) are not tracks."""
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=frame_rate)

    def step(xyxy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        found = tracker.update(
            supervision.Detections(xyxy=xyxy, confidence=confidence, class_id=np.zeros(len(xyxy), int))
        )
        if len(found) == 0:
            return np.zeros((0, 6))
        rows = np.column_stack([found.tracker_id, found.xyxy, found.confidence])
        return rows[found.tracker_id >= 0]

    return step


def boxmot_step(frame_rate: float, picture: np.ndarray, from_config: bool) -> Step:
    """ByteTrack of `boxmot`: with the defaults of its class, or with those of the configuration it ships."""
    if from_config:
        from boxmot import create_tracker
        from boxmot.trackers.specs import TrackerSpec

        tracker = create_tracker(TrackerSpec(name="bytetrack"))
    else:
        from boxmot import ByteTrack

        tracker = ByteTrack(frame_rate=round(frame_rate))

    def step(xyxy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        rows = np.column_stack([xyxy, confidence, np.zeros(len(xyxy))]).astype(np.float32)
        found = np.asarray(tracker.update(rows, picture)).reshape(-1, 8)  # x1 y1 x2 y2 id confidence class index
        return found[:, [4, 0, 1, 2, 3, 5]]

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["trackers", "boxmot", "boxmot-config"])
    parser.add_argument("detections", type=Path)
    parser.add_argument("seqinfo", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    ini = configparser.ConfigParser()
    ini.read(arguments.seqinfo)
    info = ini["Sequence"]
    rows = np.loadtxt(arguments.detections, delimiter=",", ndmin=2)
    boxes = np.column_stack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]]).astype(np.float32)
    confidence = np.clip(rows[:, 6], 0, 1).astype(np.float32)
    if arguments.peer == "trackers":
        step = trackers_step(info.getfloat("frameRate"))
    else:
        picture = np.zeros((info.getint("imHeight"), info.getint("imWidth"), 3), np.uint8)
        step = boxmot_step(info.getfloat("frameRate"), picture, arguments.peer == "boxmot-config")
    seconds, lines = 0.0, []
    for frame in range(1, info.getint("seqLength") + 1):
        here = rows[:, 0] == frame
        started = time.perf_counter()
        found = step(boxes[here], confidence[here])
        seconds += time.perf_counter() - started
        lines += [
            f"{frame},{int(i)},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{c:.4f},-1,-1,-1"
            for i, x1, y1, x2, y2, c in found
        ]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps({"frames": info.getint("seqLength"), "seconds": seconds}))


if __name__ == "__main__":
    main()
