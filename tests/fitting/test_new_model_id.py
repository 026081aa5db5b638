"""A site that gets an adapted head: its matcher never compares old features with new ones."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import clip

from pipeline.config import MatcherConfig
from pipeline.identity.matcher import Matcher
from pipeline.types import Tick

CONFIG = MatcherConfig(identity_ttl_s=600.0)


def look(model_id, size, at_s, epoch, sequence):
    """The same person, as similar as can be within one model; models may have vectors of other lengths."""
    vector = np.zeros(size)
    vector[0] = 1.0
    made = clip("door", 1, vector, at_s, at_s + 0.4)
    key = made.key._replace(epoch=epoch)
    return replace(made, key=key, sequence=sequence, model_id=model_id)


def run(matcher, messages, stored):
    events = []
    for number, message in enumerate(messages):
        matcher.receive(f"{message.epoch}/{number}", message)
        step = matcher.advance()
        events += step.events
        for name, value in step.changes.items():
            stored.pop(name, None) if value is None else stored.__setitem__(name, value)
    return events


def visit(model_id, size, at_s, epoch):
    seen = [look(model_id, size, at_s + i, epoch, i + 1) for i in range(4)]
    return [*seen, Tick("door", epoch, 5, at_s + 30.0)]


@pytest.mark.parametrize("size", [16, 24])
def test_after_a_change_of_model_nobody_is_linked_to_an_old_identity_and_no_id_comes_twice(size):
    stored = {}
    before = run(Matcher(CONFIG, 0.4, ["door"], state=None), visit("old", 16, 0.0, "1"), stored)
    assert [(e.kind, e.identity_id) for e in before if e.kind == "entered"] == [("entered", 1)]
    after = run(Matcher(CONFIG, 0.4, ["door"], state=dict(stored)), visit("new", size, 100.0, "2"), stored)
    told = [(e.kind, e.identity_id) for e in after if e.kind in ("entered", "reentered", "continued", "handed_over")]
    assert told == [("entered", 2)]
    assert {"identity:1", "identity:2"} <= set(stored)


def test_with_the_same_model_the_same_person_is_linked():
    stored = {}
    run(Matcher(CONFIG, 0.4, ["door"], state=None), visit("old", 16, 0.0, "1"), stored)
    after = run(Matcher(CONFIG, 0.4, ["door"], state=dict(stored)), visit("old", 16, 100.0, "2"), stored)
    assert ("entered", 2) not in [(e.kind, e.identity_id) for e in after]
    assert {e.identity_id for e in after} == {1}


def test_old_identities_expire_by_their_time_to_live():
    stored = {}
    run(Matcher(CONFIG, 0.4, ["door"], state=None), visit("old", 16, 0.0, "1"), stored)
    matcher = Matcher(CONFIG, 0.4, ["door"], state=dict(stored))
    run(matcher, visit("new", 24, 100.0, "2"), stored)
    run(matcher, [Tick("door", "2", 6, 690.0)], stored)
    assert "identity:1" not in stored and "identity:2" in stored
