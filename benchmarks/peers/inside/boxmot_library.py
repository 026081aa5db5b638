"""Trackers of `boxmot`, with the configuration it ships for each; `bytetrack-class`: with the defaults of its class.

Without weights, appearance and motion compensation are switched off.
"""

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from boxmot.trackers.config import load_tracker_config
from boxmot.trackers.registry import get_tracker_class

MOTION_ONLY = {
    "boosttrack": {"use_embeddings": False, "use_cmc": False},
    "botsort": {"use_embeddings": False, "use_cmc": False},
    "deepocsort": {"use_embeddings": False, "cmc_off": True},
    "occluboost": {"use_embeddings": False, "use_cmc": False},
}


class Peer:
    """`blank`: for a tracker that wants a picture for its size alone."""

    def __init__(self, tracker: Any, blank: np.ndarray | None) -> None:
        self._tracker = tracker
        self._blank = blank

    def prepare(self, xyxy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        return np.column_stack([xyxy, confidence, np.zeros(len(xyxy))]).astype(np.float32)

    def update(self, given: np.ndarray, picture: np.ndarray | None) -> Any:
        return self._tracker.update(given, self._blank if picture is None else picture)

    def rows(self, found: Any) -> np.ndarray:
        """(M, 6) id, x1, y1, x2, y2, confidence."""
        rows = np.asarray(found).reshape(-1, 8)  # x1 y1 x2 y2 id confidence class index
        return rows[:, [4, 0, 1, 2, 3, 5]]


@cache
def load_encoder(weights: str) -> Any:
    """The re-ID model, loaded once, because a tracker would load it within its first update."""
    from boxmot.reid.core import ReID

    return ReID(weights=Path(weights)).model


def make_tracker(name: str, clip: dict[str, Any], weights: str | None) -> Peer:
    if name == "bytetrack-class":
        tracker = get_tracker_class("bytetrack")(frame_rate=round(clip["fps"]))
    else:
        options = load_tracker_config(name)
        options |= MOTION_ONLY.get(name, {}) if weights is None else {"reid_model": load_encoder(weights)}
        tracker = get_tracker_class(name)(**options)
    needs = tracker.requirements
    width_px, height_px = clip["size_px"]
    blank = np.zeros((height_px, width_px, 3), np.uint8) if needs.frame and needs.frame_dimensions_only else None
    return Peer(tracker, blank)


def version() -> str:
    return f"boxmot {importlib.metadata.version('boxmot')}"
