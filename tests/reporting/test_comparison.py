import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import OutputError
from pipeline.reporting.comparison import Comparison, Row, compare, comparison_table, write_comparison

BASE: dict[str, Any] = {
    "per_camera": {"cam10": {"HOTA": 0.5, "IDSW": 3}, "cam2": {"HOTA": 0.6, "IDSW": 0}},
    "combined": {"HOTA": 0.55, "IDF1": 0.6, "MOTA": -0.2, "IDSW": 3},
    "cross_camera": {"HOTA": 0.5, "IDF1": 0.6},
    "links": {"correct": 5, "false": 2, "missed": 1, "precision": 0.7},
    "reentry": {"precision": None, "recall": 1.0, "latency_s_p50": 0.5},
    "online": None,
    "scored": {"cam2": {"frames": 10, "gt_boxes": 20}, "cam10": {"frames": 10, "gt_boxes": 20}},
}


def changed(**groups: dict[str, Any]) -> dict[str, Any]:
    return {**BASE, **{name: {**BASE[name], **figures} for name, figures in groups.items()}}


def row(comparison: Comparison, heading: str, name: str) -> Row:
    return next(r for r in comparison.rows if (r.heading, r.name) == (heading, name))


def test_better_is_up_for_scores_and_down_for_mistakes() -> None:
    other = changed(
        cross_camera={"HOTA": 0.6, "IDF1": 0.5}, links={"false": 0, "missed": 4}, reentry={"latency_s_p50": 0.4}
    )
    comparison = compare({"a": BASE, "b": other})
    verdicts = {(r.heading, r.name): r.verdicts[1] for r in comparison.rows}
    assert verdicts["the whole site", "HOTA"] == "better" and verdicts["the whole site", "IDF1"] == "worse"
    assert verdicts["links", "false"] == "better" and verdicts["links", "missed"] == "worse"
    assert verdicts["re-entries", "said after, p50, s"] == "better"
    assert verdicts["cameras together", "HOTA"] == "same"
    assert row(comparison, "links", "false").changes == (None, -2.0)


def test_every_result_is_held_against_the_first() -> None:
    comparison = compare({"a": BASE, "b": changed(links={"false": 1}), "c": changed(links={"false": 3})})
    assert row(comparison, "links", "false").changes == (None, -1.0, 1.0)
    assert row(comparison, "links", "false").verdicts == ("", "better", "worse")


def test_figures_that_only_some_have_show_no_change_and_those_that_none_has_no_row() -> None:
    comparison = compare({"a": BASE, "b": changed(reentry={"precision": 0.5, "recall": None})})
    assert row(comparison, "re-entries", "precision").values == (None, 0.5)
    assert row(comparison, "re-entries", "precision").verdicts == ("", "")
    assert not [r for r in comparison.rows if r.heading.startswith("online")]
    assert compare({"a": BASE, "b": {}}).rows[0].values[1] is None


def test_cameras_are_compared_in_natural_order_with_those_that_one_lacks() -> None:
    comparison = compare({"a": BASE, "b": {"per_camera": {"cam3": {"HOTA": 0.1}}}})
    assert list(comparison.cameras) == ["cam2", "cam3", "cam10"]
    assert comparison.cameras["cam3"][0].values == (None, 0.1)


def test_results_of_other_annotation_are_warned_of() -> None:
    other = changed(scored={"cam2": {"frames": 9, "gt_boxes": 20}})
    assert compare({"a": BASE, "b": BASE}).warnings == ()
    (warning,) = compare({"a": BASE, "b": other}).warnings
    assert "cam2" in warning and "cam10" not in warning
    (warning,) = compare({"a": BASE, "b": {**BASE, "scored": {"cam2": BASE["scored"]["cam2"]}}}).warnings
    assert "not scored on the same cameras (cam10)" in warning


def test_the_table_says_each_value_its_change_and_the_verdict() -> None:
    table = comparison_table(compare({"base": BASE, "new": changed(links={"false": 0}, combined={"MOTA": -0.3})}))
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "base new" in lines and "false 2 0 (-2 better)" in lines and "missed 1 1 (same)" in lines
    assert "MOTA -0.2000 -0.3000 (-0.1000 worse)" in lines and "in brackets the change against base" in lines
    assert len({len(line) for line in table.splitlines() if "same)" in line}) == 1, "columns are aligned"


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"one": BASE},
        {"none": {}, "nulls": dict.fromkeys(BASE)},
        {"a": {"combined": {"HOTA": float("nan")}, "per_camera": 7}, "b": {"links": [], "scored": {"x": None}}},
        {f"r{i}": BASE for i in range(12)},
    ],
)
def test_degenerate_results_make_a_table_and_a_page_without_nan(tmp_path: Path, results: dict[str, Any]) -> None:
    comparison = compare(results)
    page = write_comparison(tmp_path / "c.html", comparison).read_text()
    for text in (comparison_table(comparison), page):
        assert text and not re.search(r">\s*(None|nan)|\bnan\b", text)
    assert page == write_comparison(tmp_path / "c.html", comparison).read_text()


def test_the_page_stands_alone_with_everything_escaped(tmp_path: Path) -> None:
    nasty = "</td><script>alert(1)</script>"
    results = {nasty: changed(per_camera={nasty: {"HOTA": 0.4}}), "b": changed(scored={nasty: {"frames": 1}})}
    path = write_comparison(tmp_path / "c.html", compare(results))
    text = path.read_text()
    assert "<script" not in text and "alert(1)" in text and "Content-Security-Policy" in text
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 2 and all(s.startswith("data:image/svg+xml;base64,") for s in sources)
    assert all("<script" not in base64.b64decode(s.split(",")[1]).decode() for s in sources)
    assert [p.name for p in tmp_path.iterdir()] == ["c.html"]


def test_what_json_gave_back_compares_as_it_was() -> None:
    assert compare({"a": json.loads(json.dumps(BASE))}) == compare({"a": BASE})


def test_an_unwritable_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"c\.html"):
        write_comparison(tmp_path / "absent" / "c.html", compare({"a": BASE}))
