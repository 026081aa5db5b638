"""The benchmark of re-entries: its words for policies and its table."""

import bench_reentry
import pytest
from reentry.measuring import Outcome
from reentry.tables import table

from pipeline.scoring.reentry import Reentries
from pipeline.tracking.encoding_policy import EVENLY, EVENT, EventPolicy, PollPolicy


@pytest.mark.parametrize(
    ("word", "policy"),
    [
        ("event", EVENT),
        ("event:1,5,2", EventPolicy(1.0, 5.0, 2.0)),
        ("evenly", EVENLY),
        ("poll:5,0.5", PollPolicy(5.0, 0.5)),
    ],
)
def test_words_name_policies(word, policy):
    assert bench_reentry.parse_policy(word) == policy


@pytest.mark.parametrize("word", ["", "poll", "poll:5", "poll:1,5", "poll:a,b", "evenly:1", "often"])
def test_other_words_are_refused(word):
    with pytest.raises(ValueError):
        bench_reentry.parse_policy(word)


def test_every_policy_that_is_measured_by_default_is_known():
    assert [bench_reentry.parse_policy(word) for word in bench_reentry.POLICIES]


def test_a_clip_without_returns_has_dashes_in_its_line():
    outcome = Outcome("none", "event", 0.5, 10, Reentries().figures(), 0.9, {}, 3)
    head, rule, line = table([outcome]).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line.startswith("| none | event | 0 | 0 | 0 | 0 of 0 | – | – | –, – | –, – | –, – | 20 | 0.900 |")
    assert table([]).count("\n") == 1
