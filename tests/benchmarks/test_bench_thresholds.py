"""What bench_thresholds.py makes of people who are seen once."""

from pathlib import Path

import bench_thresholds
import numpy as np

from pipeline.config import CameraConfig
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth, TrueVisit
from pipeline.scoring.rows import Rows


def test_a_visit_is_cut_into_two_cameras_with_a_second_between_them(tmp_path):
    found = tmp_path / "found.txt"
    found.write_text("".join(f"{frame},-1,10,20,30,40,0.9,-1,-1,-1\n" for frame in range(1, 121)))
    visits = (TrueVisit("video", 1, 1, 11, 51), TrueVisit("video", 2, 1, 61, 101))
    truth = GroundTruth({"video": CameraTruth(Rows.empty(), np.zeros(0, np.int8))}, visits)
    camera = CameraConfig("video", "video.mp4", detections=str(found))
    cameras, of_halves = bench_thresholds.halves(camera, truth, tmp_path / "halves")
    assert [c.id for c in cameras] == list(of_halves.cameras) == ["first", "second"]
    first, second = ({int(row.split(",")[0]) for row in Path(c.detections).read_text().splitlines()} for c in cameras)
    assert first == {*range(11, 27), *range(61, 77)}
    assert second == {*range(36, 52), *range(86, 102)}
    assert of_halves.visits is None
