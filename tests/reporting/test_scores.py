from typing import Any

import pytest

from pipeline.reporting.charts import beyond_share, distance_plot, score_plot, threshold_of
from pipeline.reporting.report_inputs import Event
from pipeline.reporting.scores import Table, scores_of


def table(metrics: dict[str, Any], title: str) -> Table:
    return next(t for t in scores_of(metrics).tables if t.title.startswith(title))


def texts(shown: Table) -> dict[str, list[str]]:
    return {name: [c.text + (f" best {c.ceiling}" if c.ceiling else "") for c in cells] for name, cells in shown.rows}


def test_no_metrics_make_no_tables_and_no_plots() -> None:
    scores = scores_of({})
    assert scores.tables == () and scores.facts == () and scores.other == ()
    assert score_plot({}) is None and distance_plot({}, 0.3) is None


def test_every_identity_figure_has_its_ceiling_beside_it_and_others_have_none() -> None:
    figures = {"HOTA": 0.5, "DetA": 0.6, "IDF1": 0.7}
    ceiling = {"HOTA": 0.8, "DetA": 0.6, "IDF1": None}
    metrics = {"cross_camera": figures, "online": {"cross_camera": {"HOTA": 0.4}}, "ceiling": {"cross_camera": ceiling}}
    metrics["gt_boxes"] = {"cross_camera": {"HOTA": 0.9}, "ceiling": {"cross_camera": {"HOTA": 1.0}}}
    shown = table(metrics, "The whole site")
    assert shown.columns == ("HOTA", "DetA", "IDF1")
    assert texts(shown) == {
        "final": ["0.500 best 0.800", "0.600", "0.700"],
        "online": ["0.400 best 0.800", "–", "–"],
        "with ground-truth boxes": ["0.900 best 1.000", "–", "–"],
    }


def test_false_links_come_first() -> None:
    scores = scores_of({"links": {"correct": 5, "false": 1, "missed": 2, "precision": None}})
    assert scores.facts[0][0] == "false links" and scores.facts[0][1].text == "1"
    assert scores.tables[0].title == "Links" and scores.tables[0].columns == ("false", "missed", "correct", "precision")
    assert texts(scores.tables[0]) == {"final": ["1", "2", "5", "–"]}


def test_cameras_are_in_natural_order_with_the_total_last() -> None:
    cameras = {name: {"HOTA": 0.5} for name in ("cam10", "cam2")}
    shown = table({"per_camera": cameras, "combined": {"HOTA": 0.5}}, "Cameras, final")
    assert [name for name, _ in shown.rows] == ["cam2", "cam10", "together"]


def test_reentries_show_times_and_the_unsure_ones_apart() -> None:
    found = {
        "true": 4,
        "found": 3,
        "latency_s_p50": 0.61,
        "likely": {"true": 2, "found": 1},
        "reference_latency_s_p95": 12,
    }
    assert texts(table({"reentry": found}, "Re-entries"))["final"] == [
        "4", "3", "–", "–", "–", "0.61 s", "–", "–", "12.0 s", "1 of 2",
    ]  # fmt: skip


def test_what_was_left_out_is_named_with_its_reason() -> None:
    scored = {"door": {"frames": 5, "gt_boxes": 9, "boxes": 8, "left_out": {"on a distractor": 2, "after the end": 0}}}
    shown = texts(table({"scored": scored | {"hall": {"frames": 1}}}, "What was scored"))
    assert shown == {"door": ["5", "9", "8", "2 on a distractor"], "hall": ["1", "–", "–", "none"]}


def test_retrieval_states_its_definition_of_average_precision() -> None:
    shown = table(
        {"retrieval": {"other_visit": {"rank1": 0.5, "mAP": 0.25, "mAP_trapezoid": 0.2}, "clips": 9, "left_out": 3}},
        "Clip retrieval",
    )
    assert all(words in shown.reading for words in ("rectangle", "trapezoid", "9 clips took part", "3 more show"))
    assert texts(shown) == {"in other visits": ["0.500", "0.250", "0.200"]}


def test_groups_that_nobody_knows_are_shown_as_they_are() -> None:
    (other,) = scores_of({"my_own": {"a": {"x": 1}, "y": 2}}).other
    assert other.title == "my own" and texts(other) == {"a": ["1", "–"], "": ["–", "2"]}


@pytest.mark.parametrize(("threshold", "share"), [(-1, 1.0), (0.5, 0.75), (1.0, 0.5), (1.25, 0.375), (9, 0.0)])
def test_the_share_beyond_a_threshold_divides_the_bin_it_lies_in(threshold: float, share: float) -> None:
    assert beyond_share((2, 2), (0, 1, 2), threshold) == pytest.approx(share)
    assert beyond_share((0, 0), (0, 1, 2), threshold) is None


def test_the_threshold_is_the_one_that_most_decisions_name() -> None:
    def event(threshold: object) -> Event:
        return Event(1, "entered", 1, "door", "1", 1, 0.0, 0.0, evidence={"threshold": threshold})

    assert threshold_of([]) is None
    assert threshold_of([event(None), event("x"), event(float("nan"))]) is None
    assert threshold_of([event(0.3), event(0.2), event(0.3)]) == 0.3
