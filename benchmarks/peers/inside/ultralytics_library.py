"""The trackers built into `ultralytics`, each with the configuration it ships.

Without weights, appearance stays off as it is by default, and motion compensation is switched off.
"""

import importlib.metadata
from typing import Any

import numpy as np
from ultralytics.engine.results import Boxes
from ultralytics.trackers.track import TRACKER_MAP
from ultralytics.utils import YAML, IterableSimpleNamespace
from ultralytics.utils.checks import check_yaml


class Peer:
    def __init__(self, tracker: Any, shape: tuple[int, int]) -> None:
        self._tracker = tracker
        self._shape = shape

    def prepare(self, xyxy: np.ndarray, confidence: np.ndarray) -> Any:
        rows = np.column_stack([xyxy, confidence, np.zeros(len(xyxy))]).astype(np.float32)
        return Boxes(rows, self._shape)

    def update(self, given: Any, picture: np.ndarray | None) -> Any:
        return self._tracker.update(given, picture)

    def rows(self, found: Any) -> np.ndarray:
        """(M, 6) id, x1, y1, x2, y2, confidence."""
        rows = np.asarray(found, dtype=float).reshape(-1, 8)  # x1 y1 x2 y2 id confidence class index
        return rows[:, [4, 0, 1, 2, 3, 5]]


def make_tracker(name: str, clip: dict[str, Any], weights: str | None) -> Peer:
    options = YAML.load(check_yaml(f"{name}.yaml"))
    if weights is not None:
        options |= {"with_reid": True, "model": weights, "device": "cpu"}
    elif "gmc_method" in options and clip["video"] is None:
        options["gmc_method"] = "none"
    width_px, height_px = clip["size_px"]
    return Peer(TRACKER_MAP[name](IterableSimpleNamespace(**options)), (height_px, width_px))


def version() -> str:
    return f"ultralytics {importlib.metadata.version('ultralytics')}"
