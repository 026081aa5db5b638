"""The plumbing of YOLO's masks; an untrained model stands in, because its weights are fetched by users only."""

from pathlib import Path

import numpy as np
import pytest

from detectors.quiet import import_quietly
from detectors.yolo_segmenter import YoloSegmenter, disjoint, matched
from pipeline.errors import WeightsError
from pipeline.types import Frame

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "untrained-seg.pt"
    import_quietly("ultralytics").YOLO("yolo11n-seg.yaml", task="segment", verbose=False).save(str(path))
    return path


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"put yolo11n-seg\.pt there"):
        YoloSegmenter(tmp_path / "yolo11n-seg.pt")


def test_a_box_without_an_instance_gets_an_empty_mask_a_count_and_a_warning(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = YoloSegmenter(weights, device="cpu", image_size_px=160)
    boxes = np.array([[10, 10, 40, 80], [500, 10, 600, 80]], np.float32)
    masks = segmenter.segment(Frame("door", "1", 0, 0.0, IMAGE), boxes)
    assert masks.shape == (2, 90, 160) and masks.dtype == bool and not masks[1].any()
    missed = int((~masks.any(axis=(1, 2))).sum())
    assert segmenter.counters == {"without_instance": missed, "segmented": 2 - missed}
    assert f"camera door: {missed} of 2 boxes have no instance mask" in caplog.text


def test_instances_are_found_matched_and_given_to_their_boxes(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = YoloSegmenter(weights, device="cpu", image_size_px=160)
    found = np.zeros((2, 90, 160), bool)
    found[0, 10:80, 60:90] = True
    found[1, 10:80, 10:40] = True
    instances = (np.array([[60, 10, 90, 80], [10, 10, 40, 80]], np.float32), found)
    monkeypatch.setattr(segmenter, "_instances", lambda frame: instances)
    masks = segmenter.segment(
        Frame("door", "1", 0, 0.0, IMAGE), np.array([[12, 8, 41, 82], [58, 10, 90, 80]], np.float32)
    )
    assert (masks[0] == found[1]).all() and (masks[1] == found[0]).all()
    assert segmenter.counters["without_instance"] == 0


def test_the_networks_raw_answer_has_masks_of_the_pictures_size(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detectors.yolo_segmenter._LOW_CONFIDENCE", 1e-9)  # an untrained model is sure of nothing
    segmenter = YoloSegmenter(weights, device="cpu", image_size_px=160)
    boxes, masks = segmenter._instances(Frame("door", "1", 0, 0.0, IMAGE))
    assert len(boxes) == len(masks) > 0 and masks.shape[1:] == (90, 160) and masks.dtype == bool


def test_no_boxes_do_not_ask_the_network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = YoloSegmenter(weights, device="cpu")
    monkeypatch.setattr(segmenter, "_instances", lambda frame: pytest.fail("asked"))
    assert segmenter.segment(Frame("door", "1", 0, 0.0, IMAGE), np.zeros((0, 4), np.float32)).shape == (0, 90, 160)


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "broken-seg.pt"
    path.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        YoloSegmenter(path)


def test_weights_of_a_plain_detector_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    import_quietly("ultralytics").YOLO("yolo11n.yaml", task="detect", verbose=False).save(str(path))
    with pytest.raises(WeightsError, match="no segmentation model"):
        YoloSegmenter(path)


def test_matching_is_one_to_one_and_only_above_the_least_iou() -> None:
    a = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32)
    b = np.array([[1, 0, 11, 10], [0, 0, 10, 10], [57, 0, 67, 10]], np.float32)
    assert matched(a, b, 0.5) == [(0, 1), (1, 0)]
    assert matched(a[:0], b, 0.5) == [] and matched(a, b[:0], 0.5) == []


def test_shared_pixels_go_to_the_person_in_front() -> None:
    masks = np.ones((2, 4, 4), bool)
    boxes = np.array([[0, 0, 4, 3], [0, 0, 4, 4]], np.float32)
    result = disjoint(masks, boxes)
    assert not result[0].any() and result[1].all() and masks.all()
