import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.background.removal.lives import Lives
from pipeline.background.removal.reading import read_references
from pipeline.background.removal.tracks import Reference

BOX = [10.0, 10.0, 30.0, 60.0]


def lives(*rows: tuple[int, int, list[float]]) -> Lives:
    """(frame, identity, box) rows."""
    frames, ids, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    return Lives(np.array(frames, int), np.array(ids, int), np.array(boxes, np.float32).reshape(-1, 4))


def test_no_rows_are_nobody() -> None:
    nobody = lives()
    assert nobody.lives == [] and nobody.at(0) == [] and nobody.ended(1) == []


def test_a_gap_ends_a_stay_and_the_next_one_has_another_number() -> None:
    some = lives((0, 5, BOX), (1, 5, BOX), (3, 5, BOX), (1, 6, BOX))
    assert [(life.identity_id, life.first, life.last) for life in some.lives] == [(5, 0, 1), (5, 3, 3), (6, 1, 1)]
    assert [one.track_id for one in some.at(1)] == [1, 3] and [one.identity_id for one in some.at(1)] == [5, 6]
    assert some.ended(2) == [1, 3] and some.ended(4) == [2]


def test_a_box_that_jumps_is_another_stay() -> None:
    assert len(lives((0, 5, BOX), (1, 5, [400, 10, 420, 60])).lives) == 2


def test_a_stay_reaches_on_as_the_person_went_but_not_into_another_of_theirs() -> None:
    rows = [(n, 5, [10.0 * n, 10.0, 10.0 * n + 20, 60.0]) for n in (3, 4, 5)]
    some = lives_reaching(2, *rows, (7, 5, [200, 10, 220, 60]))
    assert [(life.first, life.last) for life in some.lives] == [(1, 6), (7, 7)]
    assert some.at(1)[0].xyxy.tolist() == [10, 10, 30, 60] and some.at(6)[0].xyxy.tolist() == [60, 10, 80, 60]
    assert lives_reaching(9, *rows).lives[0].first == 0  # no frames before the first


def lives_reaching(reach: int, *rows: tuple[int, int, list[float]]) -> Lives:
    frames, ids, boxes = zip(*rows, strict=True)
    return Lives(np.array(frames, int), np.array(ids, int), np.array(boxes, np.float32), reach)


def test_a_reference_is_known_from_the_beginning_of_the_stay_that_it_shows() -> None:
    some = lives((2, 5, BOX), (3, 5, BOX), (4, 5, BOX), (9, 5, BOX))
    reference = Reference(0.4, np.zeros((80, 80, 3), np.uint8), np.zeros((80, 80), np.uint8), ((1, tuple(BOX), 5),))
    taught = some.taught_at({4: [reference], 7: [reference]})
    assert list(taught) == [2] and list(taught[2][0][1]) == [1]


def test_references_are_read_back_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "references"
    folder.mkdir()
    image, labels = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    cv2.imwrite(str(folder / "door_1.000.png"), image)
    cv2.imwrite(str(folder / "door_1.000_mask.png"), labels)
    cv2.imwrite(str(folder / "small_mask.png"), labels[:10])
    line = {
        "camera_id": "door",
        "captured_at_s": 1.0,
        "image": "references/door_1.000.png",
        "mask": "references/door_1.000_mask.png",
        "subjects": [
            {"identity_id": 4, "value": 1, "xyxy": BOX, "quality": 0.5},
            {"identity_id": 5, "value": 2, "xyxy": BOX, "quality": 0.0},
        ],
    }
    lines = [
        line,
        {**line, "camera_id": "hall"},
        {**line, "image": "references/gone.png"},
        {**line, "image": "../../etc/passwd"},
        {**line, "mask": "references/small_mask.png"},
        {**line, "subjects": [{}]},
    ]
    text = "\n".join(json.dumps(one) for one in lines) + "\ntorn{"
    (folder / "references.jsonl").write_text(text)
    (reference,) = read_references(tmp_path, "door")
    assert reference.people == ((1, tuple(BOX), 4),) and reference.captured_at_s == pytest.approx(1.0)
    assert list(read_references(tmp_path / "nowhere", "door")) == []
