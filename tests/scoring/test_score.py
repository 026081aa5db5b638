import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hand_made import people, rows, span, truth_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scoring.ground_truth import GroundTruth, TrueVisit
from pipeline.scoring.rows import NOBODY, Rows
from pipeline.scoring.score import SiteResults, score_results
from pipeline.types import IdentityEvent, ReferenceFrame, TrackKey

SECTIONS = ["per_camera", "combined", "cross_camera", "online", "links", "reentry", "ceiling", "scored", "warnings"]


def site(**cameras):
    return GroundTruth(cameras)


def score(truth, results, **more):
    given_results = results if isinstance(results, SiteResults) else SiteResults(results, fps=fps_of(truth))
    return score_results(truth, given_results, absence_s=5.0, **more)


def fps_of(truth):
    return dict.fromkeys(truth.cameras, 10.0)


def plain_values(value):
    """Every leaf of the metrics."""
    if isinstance(value, dict):
        return [leaf for key, child in value.items() for leaf in [key, *plain_values(child)]]
    return [leaf for child in value for leaf in plain_values(child)] if isinstance(value, list) else [value]


def assert_plain(metrics):
    for leaf in plain_values(metrics):
        assert type(leaf) in (int, float, str, type(None)), leaf
        assert not isinstance(leaf, float) or math.isfinite(leaf)
    json.dumps(metrics, allow_nan=False)


@pytest.fixture
def two_cameras():
    """Person 1 goes from a to b and back to a after 7 s, person 2 stays in b; 10 frames/s."""
    return site(
        a=truth_of(people((span(1, 30), 1), (span(101, 130), 1))),
        b=truth_of(people((span(40, 90), 1), (span(1, 130), 2))),
    )


def test_perfect_results_score_one_everywhere(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    result = score(two_cameras, SiteResults(final, online=final, local=final, fps=fps_of(two_cameras)))
    metrics = result.metrics
    figures = [metrics, metrics["online"], metrics["ceiling"]]
    for part in figures:
        for of in (*part["per_camera"].values(), part["combined"], part["cross_camera"]):
            named = [of[name] for name in ("HOTA", "DetA", "AssA", "IDF1", "IDP", "IDR")]
            assert named == pytest.approx([1.0] * 6)
        assert part["links"] == {"correct": 1, "false": 0, "missed": 0, "precision": 1.0, "recall": 1.0}
    reentry = metrics["reentry"]
    assert (reentry["true"], reentry["precision"], reentry["recall"], reentry["latency_s_p95"]) == (1, 1.0, 1.0, 0.0)
    assert result.mistakes == ()
    assert metrics["warnings"] == []


def test_without_tracks_a_return_is_a_link_as_well(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    # a: two stays of person 1, b: one of each: three appearances of person 1 and two links
    assert score(two_cameras, final).metrics["links"]["correct"] == 2


def test_figures_over_cameras_are_as_worked_out_by_hand():
    # Person 1 is 10 frames in a and 30 in b. The result calls him 1 in a and 2 in b.
    truth = site(a=truth_of(people((span(1, 10), 1))), b=truth_of(people((span(1, 30), 1))))
    metrics = score(truth, {"a": people((span(1, 10), 1)), "b": rows((span(1, 30), 2, 100))}).metrics
    assert metrics["per_camera"]["a"]["IDF1"] == metrics["per_camera"]["b"]["IDF1"] == 1.0
    assert metrics["combined"]["IDF1"] == 1.0
    # One mapping for the site: person 1 is id 2 (30 true positives); 10 boxes are false, 10 missed: 30 / 40
    over = metrics["cross_camera"]
    assert (over["IDF1"], over["IDP"], over["IDR"]) == pytest.approx((0.75, 0.75, 0.75))
    assert metrics["ceiling"]["cross_camera"]["IDF1"] == 1.0
    assert metrics["links"] == {"correct": 0, "false": 0, "missed": 1, "precision": None, "recall": 0.0}
    assert metrics["ceiling"]["links"]["correct"] == 1


def test_the_sections_and_their_order_are_fixed(two_cameras):
    with_all = score(two_cameras, SiteResults({}, online={}, local={}, events=[], references=[])).metrics
    without = score(two_cameras, {}, independent=True).metrics
    assert list(with_all) == list(without) == SECTIONS
    assert list(with_all["online"]) == list(with_all["ceiling"]) == ["per_camera", "combined", "cross_camera", "links"]
    assert list(with_all["reentry"]) == list(without["reentry"])
    assert with_all["scored"]["a"] == {
        "frames": 130,
        "gt_boxes": 60,
        "boxes": 0,
        "left_out": {
            "after the last frame": 0,
            "frame not annotated": 0,
            "in an ignore region": 0,
            "on a distractor": 0,
        },
    }


def test_a_camera_without_results_counts_as_missed_and_is_warned_about(two_cameras):
    metrics = score(two_cameras, {"a": two_cameras.cameras["a"].rows, "c": Rows.empty()}).metrics
    assert metrics["per_camera"]["b"]["IDF1"] == 0.0
    assert metrics["per_camera"]["b"]["FN"] == 51 + 130
    warnings = " | ".join(metrics["warnings"])
    assert "b: no results" in warnings
    assert "c: no ground truth" in warnings
    assert "b: the results have no rows" in " | ".join(score(two_cameras, {"b": Rows.empty()}).metrics["warnings"])


def test_a_camera_without_online_rows_is_warned_about(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    metrics = score(two_cameras, SiteResults(final, online={"a": final["a"]}, fps=fps_of(two_cameras))).metrics
    assert metrics["online"]["per_camera"]["b"]["IDF1"] == 0.0
    assert metrics["warnings"] == ["b: no online rows: everybody there counts as missed online"]


def test_online_boxes_of_nobody_yet_are_found_and_not_identified():
    truth = site(a=truth_of(people((span(1, 20), 1))))
    online = {"a": rows((span(1, 5), NOBODY, 100), (span(6, 20), 1, 100))}
    metrics = score(truth, SiteResults({"a": people((span(1, 20), 1))}, online=online, fps={"a": 10.0})).metrics
    assert metrics["per_camera"]["a"]["IDF1"] == 1.0
    # 15 of 20 boxes are identified: IDF1 = 2 * 15 / (20 + 20)
    assert metrics["online"]["per_camera"]["a"]["IDF1"] == pytest.approx(0.75)
    assert metrics["online"]["per_camera"]["a"]["FN"] == 0


def test_independent_sequences_have_nothing_over_cameras(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    metrics = score(two_cameras, final, independent=True).metrics
    assert metrics["cross_camera"] is None
    assert metrics["ceiling"]["cross_camera"] is None
    # only the return of person 1 into a; a and b would make one more
    assert metrics["links"] == metrics["ceiling"]["links"]
    assert metrics["links"]["correct"] == 1
    assert metrics["reentry"]["recall"] == 1.0


def test_independent_sequences_have_a_mapping_each():
    # id 7 is person 1 in a and person 2 in b, each coming back after 7 s
    truth = site(
        a=truth_of(people((span(1, 30), 1), (span(101, 130), 1))),
        b=truth_of(people((span(1, 20), 2), (span(101, 110), 2))),
    )
    results = {
        "a": rows((span(1, 30), 7, 100), (span(101, 130), 7, 100)),
        "b": rows((span(1, 20), 7, 200), (span(101, 110), 7, 200)),
    }
    assert score(truth, results, independent=True).metrics["reentry"]["found"] == 2
    assert score(truth, results).metrics["reentry"]["found"] == 1


def test_the_event_log_decides_about_reentries_when_there_is_one(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    event = IdentityEvent(1, "reentered", 1, TrackKey("a", "1", 2), 10.0, 10.8)
    reference = ReferenceFrame("a", 10.5, "i.png", "m.png", "reentered", 1, "grabcut")
    results = SiteResults(final, events=[event], references=[reference], fps=fps_of(two_cameras))
    reentry = score(two_cameras, results).metrics["reentry"]
    assert (reentry["found"], reentry["false"]) == (1, 0)
    assert reentry["latency_s_p50"] == reentry["reference_latency_s_p50"] == pytest.approx(0.8)
    silent = score(two_cameras, replace(results, events=[])).metrics["reentry"]
    assert (silent["precision"], silent["recall"]) == (None, 0.0)


def test_without_times_there_are_no_reentries_and_a_reason(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    metrics = score(two_cameras, SiteResults(final)).metrics
    assert metrics["reentry"]["recall"] is metrics["reentry"]["true"] is None
    assert sum("neither frame times nor a frame rate" in text for text in metrics["warnings"]) == 2
    assert metrics["cross_camera"]["IDF1"] == 1.0


def test_times_of_one_camera_only_score_the_reentries_there(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    metrics = score(two_cameras, SiteResults(final, times={"a": np.arange(130) / 10.0})).metrics
    assert metrics["reentry"]["found"] == 1
    assert [text[0] for text in metrics["warnings"]] == ["b"]


def test_visits_that_come_too_soon_are_counted_and_warned_about(two_cameras):
    visits = (TrueVisit("a", 1, 1, 1, 30), TrueVisit("a", 1, 2, 40, 50))
    truth = GroundTruth(two_cameras.cameras, visits)
    metrics = score(truth, {}).metrics
    assert (metrics["reentry"]["true"], metrics["reentry"]["recall"]) == (0, None)
    assert metrics["reentry"]["likely"] == {"true": 1, "found": 0}
    assert any("less than absence_s (5 s)" in text for text in metrics["warnings"])


def test_a_return_after_the_end_of_the_recording_is_not_missed(two_cameras):
    results = SiteResults({}, fps=fps_of(two_cameras), frame_counts={"a": 100, "b": 100})
    assert score(two_cameras, results).metrics["reentry"]["true"] == 0


def test_rows_after_the_end_of_the_recording_are_not_scored():
    truth = site(a=truth_of(people((span(1, 5), 1))))
    results = SiteResults({"a": people((span(1, 9), 1))}, fps={"a": 10.0}, frame_counts={"a": 5})
    scored = score(truth, results).metrics["scored"]["a"]
    assert (scored["frames"], scored["boxes"], scored["left_out"]["after the last frame"]) == (5, 5, 4)


def test_a_merge_holds_for_events_and_reference_frames(two_cameras):
    final = {camera: truth.rows for camera, truth in two_cameras.cameras.items()}
    key = TrackKey("a", "1", 2)
    events = [
        IdentityEvent(1, "reentered", 5, key, 10.0, 10.8),
        IdentityEvent(2, "merged", 5, None, 10.0, 12.0, other_identity_id=1),
    ]
    reference = ReferenceFrame("a", 11.0, "i.png", "m.png", "reentered", 5, "grabcut")
    results = SiteResults(final, events=events, references=[reference], fps=fps_of(two_cameras))
    reentry = score(two_cameras, results).metrics["reentry"]
    assert (reentry["found"], reentry["reference_latency_s_p50"]) == (1, pytest.approx(1.0))


def test_warnings_of_the_ground_truth_come_first(two_cameras):
    truth = GroundTruth(two_cameras.cameras, warnings=("odd",))
    assert score(truth, {}).metrics["warnings"][0] == "odd"


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize(
    "truth",
    [
        GroundTruth({}),
        site(a=truth_of(Rows.empty())),
        site(a=truth_of(people((span(1, 5), 1)), unsure=[1])),
        site(a=truth_of(people((span(1, 5), 1)), annotated=[])),
        site(a=truth_of(people((span(1, 5), 1))), b=truth_of(Rows.empty())),
        site(a=truth_of(people((span(1, 5), 1))), b=truth_of(people((span(1, 5), 2)))),
        site(a=truth_of(people((span(900, 999), 1)), frame_count=10)),
        site(a=truth_of(people((1, 1)))),
    ],
)
@pytest.mark.parametrize(
    "final",
    [
        {},
        {"a": Rows.empty(), "b": Rows.empty()},
        {"a": rows((span(1, 5), 7, -900))},
        {"a": rows((span(1, 5), -1, 100))},
        {"a": rows((span(500, 510), 7, 100)), "b": rows((1, 0, 200))},
    ],
)
def test_degenerate_inputs_give_defined_figures(truth, final, independent):
    results = SiteResults(final, online=final, local=final, fps=fps_of(truth), frame_counts={"b": 3})
    assert_plain(score(truth, results, independent=independent).metrics)


boxes = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([1, 2, 3, 8, 60, 61, 130]), st.integers(1, 3), st.integers(0, 9)),
    max_size=25,
    unique_by=lambda box: box[:3],
)


def of_cameras(given_boxes, rename=None, shift=0.0):
    """Camera → rows; every box at its own place, so that no two overlaps are equal."""
    names = rename or {}
    return {
        camera: rows(
            *(
                (f, names.get(i, i), 25 * x + shift * (n + 1))
                for n, (c, f, i, x) in enumerate(given_boxes)
                if c == camera
            )
        )
        for camera in "ab"
    }


@settings(max_examples=25, deadline=None)
@given(boxes, boxes)
def test_random_inputs_give_plain_finite_fractions(truth_boxes, result_boxes):
    truth = site(**{c: truth_of(r) for c, r in of_cameras(truth_boxes).items()})
    final = of_cameras(result_boxes)
    metrics = score(truth, SiteResults(final, online=final, fps=fps_of(truth))).metrics
    assert_plain(metrics)
    fractions = [metrics["cross_camera"][name] for name in ("HOTA", "IDF1", "IDP", "IDR")]
    fractions += [metrics["links"][name] for name in ("precision", "recall")]
    assert all(value is None or 0 <= value <= 1 + 1e-9 for value in fractions)


@settings(max_examples=25, deadline=None)
@given(boxes, boxes, st.permutations([11, 12, 13]))
def test_renamed_identities_and_another_order_of_cameras_change_no_figure(truth_boxes, result_boxes, names):
    of_truth = {c: truth_of(r) for c, r in of_cameras(truth_boxes).items()}
    renamed = of_cameras(result_boxes, dict(zip((1, 2, 3), names, strict=True)), shift=0.01)
    plain = of_cameras(result_boxes, shift=0.01)
    first = score(site(**of_truth), plain).metrics
    second = score(site(b=of_truth["b"], a=of_truth["a"]), renamed).metrics
    assert_same(first, second)


def assert_same(first, second):
    if isinstance(first, dict):
        assert set(first) == set(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list):
        assert sorted(first) == sorted(second)
    else:
        assert first == (second if second is None else pytest.approx(second, abs=1e-9))


def test_ground_truth_beyond_the_end_of_the_recording_is_told(two_cameras):
    last = int(two_cameras.cameras["a"].rows.frames.max())
    results = SiteResults({}, fps=fps_of(two_cameras), frame_counts={"a": last - 1, "b": 10**6, "gone": 1})
    told = [w for w in score(two_cameras, results).metrics["warnings"] if "after the last frame" in w]
    assert len(told) == 1
    assert told[0].startswith("a: ")
    assert f"({last - 1}): left out" in told[0]
