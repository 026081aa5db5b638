import base64
import re
from collections.abc import Callable

import matplotlib
import pytest

from pipeline.reporting.plots import (
    BLUE,
    DARK,
    ORANGE,
    Histogram,
    Lane,
    Series,
    bars,
    dots,
    histograms,
    ranges,
    timeline,
)

NO_CEILINGS: dict[str, list[int]] = {}


def svg(uri: str) -> str:
    head, body = uri.split(",", 1)
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(body).decode()


def lanes(count: int) -> dict[str, list[Lane]]:
    return {"door": [Lane(f"#{i}", BLUE, ((i, i + 5.0), (i + 9.0, i + 9.0)), (i + 9.0,)) for i in range(count)]}


FINAL, CEILING = Series("final", (0.5, None), BLUE), Series("ceiling", (0.9, None), DARK)
DRAWINGS: dict[str, Callable[[], str]] = {
    "bars": lambda: bars(["HOTA", "IDF1"], [FINAL, CEILING], ceilings={"ceiling": [0]}),
    "histograms": lambda: histograms([0, 1, 2], [Histogram("same", (3, 1), BLUE)], threshold=0.7),
    "ranges": lambda: ranges([("detect", 1, 2, 3), ("match", 0.01, 2, 300)], x_label="ms"),
    "dots": lambda: dots(["HOTA", "IDF1"], [FINAL, Series("other", (0.7, 0.2), ORANGE)]),
    "timeline": lambda: timeline(lanes(3), marks=[(0.0, "0:00"), (5.0, "0:05")], x_label=""),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_equal_input_gives_equal_bytes_without_a_date(name: str) -> None:
    first = DRAWINGS[name]()
    assert DRAWINGS[name]() == first
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT|<script", svg(first))


@pytest.mark.parametrize("name", DRAWINGS)
def test_settings_of_the_process_change_nothing_and_stay_as_they_are(name: str) -> None:
    first = DRAWINGS[name]()
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black", "svg.hashsalt": None}):
        assert DRAWINGS[name]() == first
        assert matplotlib.rcParams["font.size"] == 31.0


@pytest.mark.parametrize(
    "draw",
    [
        lambda: bars([], []),
        lambda: bars(["a"], [Series("x", (None,), BLUE)]),
        lambda: bars(["a"], [Series("x", (-3.0,), BLUE), CEILING], ceilings={"ceiling": []}),
        lambda: histograms([0, 1], []),
        lambda: histograms([0, 1], [Histogram("none", (0,), BLUE)]),
        lambda: histograms([5, 5], [Histogram("flat", (2,), BLUE)], threshold=5),
        lambda: ranges([], x_label="ms"),
        lambda: ranges([("still", 0.0, 0.0, 0.0)], x_label="ms"),
        lambda: dots([], []),
        lambda: dots(["a"], [Series("x", (None,), BLUE)]),
        lambda: dots(["a"], [Series("x", (1.0,), BLUE), Series("y", (1.0,), BLUE)]),
        lambda: dots(["a"], [Series(str(i), (-2.0 + i,), BLUE) for i in range(12)]),
        lambda: timeline({}, marks=[], x_label=""),
        lambda: timeline({"a": [Lane("x", BLUE, ())], "b": []}, marks=[], x_label=""),
        lambda: timeline({"a": [Lane("x", BLUE, ((1.7e9, 1.7e9),))]}, marks=[(1.7e9, "now")], x_label=""),
    ],
)
def test_nothing_little_and_equal_values_are_drawn_without_nan(draw: Callable[[], str]) -> None:
    assert not re.search(r"\bnan\b|\binf\b", svg(draw()))


def test_values_stand_in_their_bars_and_what_is_undefined_is_a_dash() -> None:
    text = svg(bars(["a", "b"], [Series("x", (0.123, None), BLUE), Series("y", (-0.5, 1.0), ORANGE)]))
    assert all(f">{value}<" in text for value in ("0.12", "–", "-0.50", "1.00"))


def test_names_stay_names_whatever_is_in_them() -> None:
    name = "<b>&\"' $x_{ 王\x00\x1b"
    text = svg(timeline({name: [Lane(name, BLUE, ((0, 1),))]}, marks=[(0.0, name)], x_label=name))
    assert "$x_{" in text and "王" in text and "<b>" not in text and "&lt;b&gt;" in text
    assert "\x00" not in text and "\x1b" not in text


@pytest.mark.parametrize("count", [3, 60])
def test_a_timeline_grows_with_its_rows_and_shows_every_label(count: int) -> None:
    text = svg(timeline(lanes(count), marks=[], x_label=""))
    assert all(f">#{i}<" in text for i in range(count))
    height_pt = float(re.search(r'height="([\d.]+)pt"', text)[1])  # type: ignore[index]
    assert height_pt * 96 / 72 > 17 * count
