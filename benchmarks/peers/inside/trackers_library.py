"""Trackers of Roboflow's `trackers`. It knows no appearance; motion compensation is used where there are pictures."""

import importlib.metadata
from typing import Any

import numpy as np
import supervision
import trackers

CLASSES = {
    "sort": trackers.SORTTracker,
    "bytetrack": trackers.ByteTrackTracker,
    "ocsort": trackers.OCSORTTracker,
    "botsort": trackers.BoTSORTTracker,
    "cbiou": trackers.CBIoUTracker,
    "mcbyte": trackers.McByteTracker,
}
WITH_PICTURES = ("botsort", "mcbyte")


class Peer:
    def __init__(self, tracker: Any, wants_picture: bool) -> None:
        self._tracker = tracker
        self._wants_picture = wants_picture

    def prepare(self, xyxy: np.ndarray, confidence: np.ndarray) -> Any:
        return supervision.Detections(xyxy=xyxy, confidence=confidence, class_id=np.zeros(len(xyxy), int))

    def update(self, given: Any, picture: np.ndarray | None) -> Any:
        return self._tracker.update(given, picture if self._wants_picture else None)

    def rows(self, found: Any) -> np.ndarray:
        """(M, 6) id, x1, y1, x2, y2, confidence; boxes without an id (-1) are not tracks."""
        if len(found) == 0:
            return np.zeros((0, 6))
        rows = np.column_stack([found.tracker_id, found.xyxy, found.confidence])
        return rows[found.tracker_id >= 0]


def make_tracker(name: str, clip: dict[str, Any], weights: str | None) -> Peer:
    if weights is not None:
        raise SystemExit("trackers has no tracker that uses appearance")
    wants_picture = name in WITH_PICTURES and clip["video"] is not None
    options = {"enable_cmc": wants_picture} if name in WITH_PICTURES else {}
    return Peer(CLASSES[name](frame_rate=clip["fps"], **options), wants_picture)


def version() -> str:
    return f"trackers {importlib.metadata.version('trackers')}"
