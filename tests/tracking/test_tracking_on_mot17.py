"""Tracking quality on real detections; `benchmarks/bench_tracking.py` compares it with others."""

import importlib.util
import os
from pathlib import Path

import pytest

from pipeline.config import TrackerConfig

MEDIA = Path(os.environ.get("MEDIA_DIR", "")) / "mot17"
# The settings the figures in docs/tracking.md were measured with.
CONFIG = TrackerConfig(
    high_confidence=0.45, low_confidence=0.1, birth_confidence=0.5, match_iou=0.2, confirm_s=0.1, lost_s=2.0
)
# Measured on MOT17-02 and -09, FRCNN detections, less one point; HOTA of ByteTracks at their defaults is lower
LEAST_HOTA = {"02": 0.356, "09": 0.476}
MOST_SWITCHES = 75  # measured: 61


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "benchmarks" / "bench_tracking.py"
    spec = importlib.util.spec_from_file_location("bench_tracking", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    not (os.environ.get("MEDIA_DIR") and (MEDIA / "09" / "det" / "det.txt").is_file()),
    reason="MEDIA_DIR with mot17/02 and mot17/09 is not there",
)
def test_hota_on_real_detections_does_not_fall(bench, tmp_path):
    live, finished = bench.bench_ours(MEDIA, tmp_path, CONFIG, tuple(LEAST_HOTA))
    for name, least in LEAST_HOTA.items():
        assert live.scores[name]["HOTA"] >= least
        assert finished.scores[name]["HOTA"] >= live.scores[name]["HOTA"]
    assert live.scores["all"]["IDSW"] <= MOST_SWITCHES
