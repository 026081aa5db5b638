"""How long people take from camera to camera, learned from sure links."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import TopologyConfig
from pipeline.errors import DecodeError
from pipeline.identity import transits
from pipeline.identity.transits import FLOOR, LEAST_LINKS, TransitTimes, declared_plausibility

WINDOW = TopologyConfig(from_camera="a", to_camera="b", transit_s=(2.0, 30.0))


def learned(gaps, rules=()):
    times = TransitTimes(rules)
    for gap_s in gaps:
        times.observe("a", "b", gap_s, 0.0)
    return times


def test_before_anything_is_learned_the_declared_window_says_it_all():
    times = TransitTimes([WINDOW])
    gaps = [2.0, 10.0, 30.0, 44.0, 58.5, -5.0, 1e4]
    expected = [1.0, 1.0, 1.0, 0.5, FLOOR, 0.75, FLOOR]
    assert [times.prior("a", "b", gap_s) for gap_s in gaps] == pytest.approx(expected)
    assert [declared_plausibility((2.0, 30.0), gap_s) for gap_s in gaps] == pytest.approx(expected)
    assert times.prior("b", "a", 1e4) == times.prior("a", "c", -1e4) == 1.0, "of the way back nothing is declared"


def test_an_instant_as_a_window_is_a_second_wide():
    assert declared_plausibility((5.0, 5.0), 5.5) == pytest.approx(0.5)


def test_where_nothing_is_declared_every_time_is_plausible_until_enough_links_were_seen():
    times = learned([10.0] * int(LEAST_LINKS))
    assert [times.prior("a", "b", gap_s) for gap_s in (-3.0, 1.0, 10.0, 500.0)] == [1.0] * 4
    for _ in range(10):
        times.observe("a", "b", 10.0, 0.0)
    assert times.prior("a", "b", 10.0) == pytest.approx(1.0)
    assert times.prior("a", "b", 500.0) < 0.6
    assert times.prior("b", "a", 500.0) == 1.0


def test_the_plausible_times_are_those_that_people_take():
    gaps = np.random.default_rng(0).lognormal(np.log(20.0), 0.3, 150)
    times = learned(gaps)
    usual, twice, much_later, at_once = (times.prior("a", "b", gap_s) for gap_s in (20.0, 45.0, 600.0, -4.0))
    assert usual > 0.8 > 0.4 > twice > much_later >= FLOOR
    assert much_later < 0.1 and at_once < 0.1
    assert times.prior("a", "b", 24.0) > 0.6, "a time between those that were seen"


def test_many_links_overrule_a_window_that_is_wrong():
    few, many = learned([90.0] * 3, [WINDOW]), learned([90.0] * 150, [WINDOW])
    assert few.prior("a", "b", 10.0) > 0.7 and few.prior("a", "b", 90.0) < 0.4
    assert many.prior("a", "b", 10.0) < 0.15 and many.prior("a", "b", 90.0) > 0.9


def test_old_links_fade():
    times = learned([10.0] * 200)
    for _ in range(800):
        times.observe("a", "b", 100.0, 0.0)
    assert times.prior("a", "b", 100.0) > 0.95 and times.prior("a", "b", 10.0) < 0.1
    assert times.links("a", "b") < 210


def test_links_of_last_month_count_half_or_less():
    times = learned([10.0] * 30)
    before = times.links("a", "b")
    times.observe("a", "b", 10.0, 28 * 86400.0)
    assert times.links("a", "b") == pytest.approx(before / 4 + 1, rel=0.01)
    times.observe("a", "b", 10.0, 0.0)
    assert times.links("a", "b") == pytest.approx(before / 4 + 2, rel=0.02), "what comes late takes nothing away"


def test_cameras_that_see_people_at_once_are_known_to_share_ground():
    times = learned([-4.0, -2.0])
    assert times.overlap_seen("a", "b") is None
    times.observe("b", "a", -10.0, 0.0)
    assert times.overlap_seen("a", "b") is True and times.overlap_seen("b", "a") is True
    assert times.overlap_seen("a", "c") is None


def test_cameras_with_many_ways_and_nobody_in_both_share_none():
    times = learned([8.0] * 15)
    assert times.overlap_seen("a", "b") is None
    for _ in range(10):
        times.observe("b", "a", 7.0, 0.0)
    assert times.overlap_seen("a", "b") is False
    times.observe("a", "b", -0.3, 0.0)
    assert times.overlap_seen("a", "b") is None, "clocks that are a little off?"
    for _ in range(3):
        times.observe("a", "b", -5.0, 0.0)
    assert times.overlap_seen("b", "a") is True


def test_a_few_false_links_do_not_make_an_overlap_of_many_ways():
    times = learned([-5.0] * 3 + [8.0] * 150)
    assert times.overlap_seen("a", "b") is None


def test_a_pair_that_is_seen_by_both_makes_being_seen_by_both_plausible():
    times = learned([-5.0] * 50)
    assert times.prior("a", "b", -20.0) > 0.95 and times.prior("a", "b", 60.0) < 0.3


def test_half_a_link_counts_half():
    times = TransitTimes()
    times.observe("a", "b", 5.0, 0.0, weight=0.5)
    assert times.links("a", "b") == 0.5 and times.links("b", "a") == 0.0
    assert list(times) == [("a", "b")] and len(times) == 1


@pytest.mark.parametrize(
    ("gap_s", "at_s", "weight"),
    [(1.0, 0.0, 0.0), (1.0, 0.0, 1.5), (float("nan"), 0.0, 1.0), (float("inf"), 0.0, 1.0), (1.0, float("nan"), 1.0)],
)
def test_what_is_no_link_is_refused(gap_s, at_s, weight):
    with pytest.raises(ValueError, match="weight"):
        TransitTimes().observe("a", "b", gap_s, at_s, weight)


links = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.floats(-1e5, 1e6)), max_size=60)


@settings(max_examples=50, deadline=None)
@given(links, st.floats(-1e6, 1e7))
def test_nothing_is_ever_impossible_and_a_restart_changes_nothing(seen, gap_s):
    times = TransitTimes([TopologyConfig(from_camera="a", to_camera="c", transit_s=(1.0, 3.0))])
    for origin, destination, gap in seen:
        times.observe(origin, destination, gap, 50.0)
    again = TransitTimes([TopologyConfig(from_camera="a", to_camera="c", transit_s=(1.0, 3.0))])
    again.restore(json.loads(json.dumps(times.to_json())))
    assert again.to_json() == times.to_json()
    for pair in (("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")):
        assert FLOOR <= times.prior(*pair, gap_s) <= 1
        assert again.prior(*pair, gap_s) == times.prior(*pair, gap_s)
        assert again.overlap_seen(*pair) == times.overlap_seen(*pair)


def test_pairs_can_be_stored_one_by_one():
    times, again = learned([5.0, 7.0, -2.0]), TransitTimes()
    assert times.pair_to_json("b", "a") is None
    again.restore_pair("a", "b", json.loads(json.dumps(times.pair_to_json("a", "b"))))
    assert again.to_json() == times.to_json()
    for some in (times, again):
        some.observe("a", "b", 6.0, 1e6)
    assert again.to_json() == times.to_json()


@pytest.mark.parametrize(
    "links", [[1.0], {"0": "x"}, {"99": 1.0}, {"-50": 1.0}, {"x": 1.0}, {"3": -1.0}, {"3": float("nan")}]
)
def test_stored_times_that_are_none_are_refused(links):
    with pytest.raises(DecodeError, match="a -> b"):
        TransitTimes().restore_pair("a", "b", {"last_s": 0.0, "links": links})
    with pytest.raises(DecodeError, match="a -> b"):
        TransitTimes().restore({"pairs": [["a", "b", {"last_s": 0.0, "links": links}]]})


@pytest.mark.parametrize("value", [{}, {"pairs": 1}, {"pairs": [["a", "b"]]}, {"pairs": [["a", "b", {}]]}])
def test_a_stored_state_that_is_none_is_refused(value):
    with pytest.raises(DecodeError, match="transit times"):
        TransitTimes().restore(value)


def test_the_number_of_pairs_is_bounded_and_the_weakest_go_first(monkeypatch):
    monkeypatch.setattr(transits, "_MOST_PAIRS", 200)
    times = TransitTimes()
    for _ in range(2):
        times.observe("strong", "pair", 5.0, 0.0)
    for i in range(1000):
        times.observe("from", f"camera{i}", 5.0, 0.0)
    assert len(times) <= 200 and ("strong", "pair") in set(times)
