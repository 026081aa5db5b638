"""Metrics of small sites whose figures can be worked out by hand."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_examples import Sighting, rows, scored, stay, truth

from pipeline.scoring.alignment import ScoredCamera, align_camera
from pipeline.scoring.ground_truth import CameraTruth
from pipeline.scoring.rows import Rows
from pipeline.scoring.tracking_metrics import (
    Figures,
    identity_mapping,
    score_camera,
    score_combined,
    score_each,
    score_site,
)

UNDEFINED = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR", "MOTA")


@pytest.fixture
def two_cameras() -> list[ScoredCamera]:
    """Persons 1 and 2 in both cameras, four frames each; all boxes exact.

    Camera a: 1 is called 10 throughout; 2 is called 20, then from frame 3 on 21.
    Camera b: 1 is called 20 (a wrong link), in frame 4 10; 2 is called 21 and missed in frame 1, where there is a
    false alarm 10 elsewhere.

    Boxes:      10  20  21  nobody | people
        1        5   3              | 8
        2            2   5   1      | 8
        false    1                  |
        ids      6   5   5          | 16 result boxes, 16 of people
    """
    people = stay(1, 0, range(1, 5)) + stay(2, 1, range(1, 5))
    a = stay(10, 0, range(1, 5)) + stay(20, 1, [1, 2]) + stay(21, 1, [3, 4])
    b = stay(20, 0, [1, 2, 3]) + stay(10, 0, [4]) + stay(21, 1, [2, 3, 4]) + stay(10, 5, [1])
    return [scored("a", people, a), scored("b", people, b)]


def test_a_site_has_one_mapping_of_identities(two_cameras: list[ScoredCamera]) -> None:
    figures = score_site(two_cameras)
    # The best mapping: 10 is person 1 (5 boxes), 21 is person 2 (5 boxes).
    assert identity_mapping(two_cameras) == {10: 1, 21: 2}
    assert (figures["IDTP"], figures["IDFP"], figures["IDFN"]) == (10, 6, 6)
    for name in ("IDF1", "IDP", "IDR"):
        assert figures[name] == pytest.approx(10 / 16)
    # IoU is 1 or 0, so every α gives the same: 15 matches, 1 false alarm, 1 miss; for each pair of person and id
    # matches × matches / (boxes of the person + boxes of the id - matches).
    det_a = 15 / 17
    ass_a = (5 * 5 / (8 + 6 - 5) + 3 * 3 / (8 + 5 - 3) + 2 * 2 / (8 + 5 - 2) + 5 * 5 / (8 + 5 - 5)) / 15
    assert figures["DetA"] == pytest.approx(det_a)
    assert figures["AssA"] == pytest.approx(ass_a)
    assert figures["HOTA"] == pytest.approx(math.sqrt(det_a * ass_a))
    assert figures["LocA"] == pytest.approx(1)
    assert [figures[name] for name in ("gt_boxes", "boxes", "gt_ids", "ids")] == [16, 16, 2, 3]
    assert "MOTA" not in figures and "IDSW" not in figures


def test_cameras_one_by_one_and_combined_share_no_ids(two_cameras: list[ScoredCamera]) -> None:
    each, combined = score_each(two_cameras)
    # a: nothing missed, one switch (20 to 21). 1 is 10 (4 boxes), 2 is 20 or 21 (2 boxes).
    assert [each["a"][name] for name in ("TP", "FP", "FN", "IDSW", "IDTP")] == [8, 0, 0, 1, 6]
    assert each["a"]["MOTA"] == pytest.approx(7 / 8)
    assert each["a"]["IDF1"] == pytest.approx(6 / 8)
    # b: one miss, one false alarm, one switch (20 to 10). 1 is 20 (3 boxes), 2 is 21 (3 boxes).
    assert [each["b"][name] for name in ("TP", "FP", "FN", "IDSW", "IDTP")] == [7, 1, 1, 1, 6]
    assert each["b"]["MOTA"] == pytest.approx((7 - 1 - 1) / 8)
    # Combined, 20 of a and 20 of b are two ids: 6 + 6 true positives, where the site's one mapping has 10.
    assert [combined[name] for name in ("TP", "FP", "FN", "IDSW", "IDTP", "gt_ids")] == [15, 1, 1, 2, 12, 4]
    assert combined["MOTA"] == pytest.approx((15 - 1 - 2) / 16)
    assert combined["IDF1"] == pytest.approx(12 / 16)
    assert combined == score_combined(two_cameras)
    assert each == {camera.camera_id: score_camera(camera) for camera in two_cameras}


def test_ids_that_agree_over_cameras_are_worth_more_to_the_site_than_ids_that_do_not() -> None:
    people = stay(1, 0, [1, 2])
    agree = [scored("a", people, stay(7, 0, [1, 2])), scored("b", people, stay(7, 0, [1, 2]))]
    differ = [agree[0], scored("b", people, stay(8, 0, [1, 2]))]
    assert score_site(agree)["IDF1"] == score_site(agree)["HOTA"] == 1
    assert score_site(differ)["IDF1"] == 0.5
    assert score_combined(agree) == {**score_combined(differ), "ids": 2}


def test_a_person_who_is_named_late_has_not_switched() -> None:
    figures = score_camera(scored("a", stay(1, 0, range(1, 7)), stay(0, 0, [1, 2]) + stay(7, 0, [3, 4, 5, 6])), 0)
    assert [figures[name] for name in ("IDSW", "TP", "FP", "FN", "ids", "boxes")] == [0, 6, 0, 0, 1, 6]
    assert figures["MOTA"] == 1
    # Person 1 is 7: four boxes; the two without a name are identities of their own.
    assert [figures[name] for name in ("IDTP", "IDFP", "IDFN")] == [4, 2, 2]


@pytest.mark.parametrize(("after", "switches"), [(7, 0), (8, 1)])
def test_a_change_of_name_is_a_switch_also_across_a_gap_of_unknown(after: int, switches: int) -> None:
    results = stay(7, 0, [1, 2]) + stay(0, 0, [3]) + stay(after, 0, [4])
    figures = score_camera(scored("a", stay(1, 0, range(1, 5)), results), nobody=0)
    assert figures["IDSW"] == switches
    assert figures["MOTA"] == (4 - switches) / 4


def test_without_a_word_for_nobody_zero_is_an_id_like_any_other() -> None:
    camera = scored("a", stay(1, 0, range(1, 5)), stay(0, 0, [1, 2]) + stay(7, 0, [3, 4]))
    assert score_camera(camera)["IDSW"] == 1
    assert score_camera(camera)["ids"] == 2


def test_negative_ids_are_no_identities() -> None:
    detections = [(1, -1, 0), (1, -1, 1), (2, -1, 0)]
    figures = score_camera(scored("a", stay(1, 0, [1, 2]) + stay(2, 1, [1]), detections))
    assert [figures[name] for name in ("TP", "FP", "IDTP", "ids", "IDSW")] == [3, 0, 2, 0, 0]


def test_an_id_twice_in_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="a: expected every id once a frame, got id 7 twice in frame 1"):
        score_camera(scored("a", stay(1, 0, [1]), [(1, 7, 0), (1, 7, 1)]))
    with pytest.raises(ValueError, match="got id 1 twice"):
        score_site([scored("a", [(1, 1, 0), (1, 1, 1)], [])])


def test_of_mappings_as_good_as_each_other_always_the_same_is_taken() -> None:
    people = stay(1, 0, [1, 2]) + stay(2, 1, [1, 2])
    results = [(1, 7, 0), (1, 8, 1), (2, 8, 0), (2, 7, 1)]
    camera = scored("a", people, results)
    turned = align_camera("a", truth(people[::-1]), rows(results[::-1]))
    assert identity_mapping([camera]) == identity_mapping([turned])
    assert len(identity_mapping([camera])) == 2


def test_ids_on_nobody_are_in_no_mapping() -> None:
    camera = scored("a", stay(1, 0, [1, 2]), stay(7, 0, [1]) + stay(8, 5, [1, 2]) + stay(0, 0, [2]))
    assert identity_mapping([camera], nobody=0) == {7: 1}
    assert identity_mapping([]) == {}
    assert identity_mapping([scored("a", [], stay(7, 0, [1]))]) == {}


DEGENERATE: dict[str, tuple[Callable[[], list[ScoredCamera]], dict[str, float | None]]] = {
    "neither side has rows": (lambda: [scored("a", [], [])], dict.fromkeys(UNDEFINED)),
    "no results": (
        lambda: [scored("a", stay(1, 0, [1, 2]), [])],
        {"HOTA": 0, "DetA": 0, "AssA": None, "LocA": None, "IDF1": 0, "IDP": None, "IDR": 0, "MOTA": 0, "FN": 2},
    ),
    "no people": (
        lambda: [scored("a", [], stay(7, 0, [1, 2]))],
        {"HOTA": 0, "DetA": 0, "AssA": None, "LocA": None, "IDF1": 0, "IDP": 0, "IDR": None, "MOTA": None, "FP": 2},
    ),
    "nothing found": (
        lambda: [scored("a", stay(1, 0, [1]), stay(7, 1, [1]))],
        {"HOTA": 0, "AssA": None, "LocA": None, "IDF1": 0, "IDP": 0, "IDR": 0, "MOTA": -1},
    ),
    "one camera without people, one without anything": (
        lambda: [scored("a", stay(1, 0, [1]), stay(7, 0, [1])), scored("b", [], stay(7, 0, [1])), scored("c", [], [])],
        {"DetA": 0.5, "IDP": 0.5, "IDR": 1, "MOTA": 0, "FP": 1},
    ),
    "an id in one camera only": (
        lambda: [scored("a", stay(1, 0, [1]), stay(7, 0, [1])), scored("b", stay(2, 0, [1]), stay(8, 0, [1]))],
        {"HOTA": 1, "IDF1": 1, "MOTA": 1},
    ),
    "frames beyond the video": (
        lambda: [align_camera("a", truth(stay(1, 0, [1, 9])), rows(stay(7, 0, [1, 2, 9])), frame_count=2)],
        {"MOTA": 0, "TP": 1, "FP": 1, "FN": 0},
    ),
    "people outside the picture": (
        lambda: [scored("a", stay(1, -50, [1]), stay(7, -50, [1]))],
        {"HOTA": 1, "IDF1": 1, "MOTA": 1},
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_ground_truth_gives_defined_figures(name: str) -> None:
    make, expected = DEGENERATE[name]
    cameras = make()
    figures = score_combined(cameras)
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    site = score_site(cameras)
    assert {key: site[key] for key in expected if key in site} == pytest.approx(
        {key: value for key, value in expected.items() if key in site}
    )
    for nobody in (None, 7):
        for found in (*score_each(cameras, nobody)[0].values(), score_combined(cameras, nobody), score_site(cameras)):
            assert_plain(found)


def test_no_cameras_have_no_figures() -> None:
    assert {score_combined([])[name] for name in UNDEFINED} == {None}
    assert score_site([])["IDF1"] is None
    assert score_combined([])["IDSW"] == 0


def assert_plain(figures: Figures) -> None:
    """JSON's own kinds only, no NaN, no numpy numbers."""
    for name, value in figures.items():
        assert value is None or type(value) in (int, float), name
        assert value is None or math.isfinite(value), name
    for name in ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR"):
        value = figures[name]
        assert value is None or 0 <= value <= 1, name


@st.composite
def small_sites(draw: st.DrawFn) -> list[ScoredCamera]:
    """One to three cameras of five frames; results lie beside people by up to a whole box, some of them unknown (0)."""
    cameras = []
    for camera in range(draw(st.integers(1, 3))):
        people = draw(st.sets(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=10))
        found = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 3)), max_size=14))
        known = {(frame, i): (frame, i, place) for frame, i, place in found if i > 0}
        unknown = [(frame, 0, place) for frame, i, place in found if i == 0]
        results = rows([*known.values(), *unknown])
        shift = draw(st.lists(st.sampled_from([0.0, 4.0, 8.0, 20.0]), min_size=len(results), max_size=len(results)))
        xywh = results.xywh + np.array([[s, 0, 0, 0] for s in shift]).reshape(-1, 4)
        moved = Rows(results.frames, results.ids, xywh, results.confidence)
        cameras.append(align_camera(f"c{camera}", truth([(f, p, p - 1) for f, p in sorted(people)]), moved))
    return cameras


def named(cameras: Sequence[ScoredCamera]) -> list[ScoredCamera]:
    """The same with an id of its own for every unknown box, known ids as they are."""
    fresh, result = 1000, []
    for camera in cameras:
        ids = camera.result.ids.copy()
        unknown = np.flatnonzero(ids == 0)
        ids[unknown] = fresh + np.arange(len(unknown))
        fresh += len(unknown)
        result.append(camera.with_ids(ids))
    return result


@settings(max_examples=60, deadline=None)
@given(small_sites())
def test_unknown_boxes_count_as_an_identity_each(cameras: list[ScoredCamera]) -> None:
    plain = named(cameras)
    for ours, theirs in (
        (score_site(cameras, nobody=0), score_site(plain)),
        (score_combined(cameras, nobody=0), score_combined(plain)),
    ):
        for name in ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR", "IDTP", "IDFP", "IDFN", "boxes", "gt_ids"):
            assert ours[name] == (theirs[name] if theirs[name] is None else pytest.approx(theirs[name], abs=1e-12)), (
                name
            )
        assert_plain(ours)
        assert [ours.get(name) for name in ("TP", "FP", "FN")] == [theirs.get(name) for name in ("TP", "FP", "FN")]
        assert ours.get("IDSW", 0) <= theirs.get("IDSW", 0)


@settings(max_examples=60, deadline=None)
@given(small_sites())
def test_the_mapping_is_the_one_that_idf1_uses(cameras: list[ScoredCamera]) -> None:
    plain = named(cameras)
    mapping = identity_mapping(plain)
    assert len(set(mapping.values())) == len(mapping)
    hits = sum(int((camera_hits(camera, mapping)).sum()) for camera in plain)
    assert hits == score_site(plain)["IDTP"]
    known = identity_mapping(cameras, nobody=0)
    assert all(0 < result_id < 1000 for result_id in known)
    assert sum(int(camera_hits(camera, known).sum()) for camera in cameras) >= hits - sum(
        int((camera.result.ids == 0).sum()) for camera in cameras
    )


def camera_hits(camera: ScoredCamera, mapping: dict[int, int]) -> np.ndarray:
    """Per frame, how many boxes lie on the person that their id is mapped to."""
    return np.array(
        [
            sum(
                frame.iou[t, r] >= 0.5
                and mapping.get(int(camera.result.ids[frame.result[r]])) == camera.truth.ids[frame.truth[t]]
                for t in range(len(frame.truth))
                for r in range(len(frame.result))
            )
            for frame in camera.frames
        ]
        or [0]
    )


@settings(max_examples=30, deadline=None)
@given(small_sites(), st.permutations(range(1, 5)))
def test_other_names_for_the_same_identities_change_nothing(cameras: list[ScoredCamera], names: list[int]) -> None:
    plain = named(cameras)
    lookup = np.array([0, *names])
    renamed = [
        c.with_ids(np.where(c.result.ids < 1000, lookup[np.minimum(c.result.ids, 4)], c.result.ids)) for c in plain
    ]
    before, after = score_site(plain), score_site(renamed)
    for name in ("DetA", "IDF1", "IDTP", "boxes"):
        assert before[name] == (before[name] if before[name] is None else pytest.approx(after[name]))


@settings(max_examples=30, deadline=None)
@given(small_sites())
def test_a_site_is_its_cameras_one_after_the_other(cameras: list[ScoredCamera]) -> None:
    people, results = [], []
    for number, camera in enumerate(cameras):
        people.append(later(camera.truth, 100 * number))
        results.append(later(camera.result, 100 * number))
    people_rows = joined(people)
    whole = align_camera("all", CameraTruth(people_rows, np.ones(len(people_rows), np.int8)), joined(results))
    one = score_camera(whole, nobody=0)
    assert score_site(cameras, nobody=0) == {name: one[name] for name in score_site(cameras, nobody=0)}


def later(rows: Rows, frames: int) -> Rows:
    return Rows(rows.frames + frames, rows.ids, rows.xywh, rows.confidence)


def joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("frames", "ids", "xywh", "confidence"))
    )


def test_ground_truth_as_its_own_result_is_perfect() -> None:
    people: list[Sighting] = stay(1, 0, [1, 2, 5]) + stay(2, 1, [2, 3]) + stay(3, 2, [9])
    cameras = [scored("a", people, people), scored("b", people, people)]
    for figures in (score_site(cameras), score_combined(cameras)):
        assert [figures.get(name, 1) for name in UNDEFINED] == pytest.approx([1] * 8)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    score_camera(scored("a", stay(1, 0, [1]), stay(7, 0, [1])))
    assert capsys.readouterr() == ("", "")
