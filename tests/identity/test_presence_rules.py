"""What an appearance means: absence begins at the edge, an occlusion becomes one only later; merges and company."""

import numpy as np
import pytest

from pipeline.config import MatcherConfig
from pipeline.identity.rules import PresenceRules, confidence_of
from pipeline.identity.state import IdentityState, Sight, TrackState
from pipeline.types import Evidence, TrackKey

RULES = PresenceRules(MatcherConfig(absence_s=5.0, occlusion_s=10.0))


def track(number, first_s, last_s, camera="door", left_picture=True, is_open=False):
    key = TrackKey(camera, "1", number)
    return TrackState(key, first_s, last_s, open=is_open, left_picture=left_picture)


def identity(number=1):
    return IdentityState(number, 0.0, "model")


def test_the_first_of_all_enters():
    only = track(1, 0.0, 3.0)
    assert RULES.appearance(only, identity(), []).kind == "entered"
    assert RULES.appearance(only, identity(), [only]).kind == "entered"


@pytest.mark.parametrize(
    ("left_picture", "gap_s", "kind"),
    [
        (True, 4.9, "continued"),
        (True, 5.0, "reentered"),
        (False, 5.0, "continued"),  # hidden, for all that is known
        (False, 9.9, "continued"),
        (False, 10.0, "reentered"),
    ],
)
def test_absence_begins_at_the_edge_and_an_occlusion_is_one_only_later(left_picture, gap_s, kind):
    before, now = track(1, 0.0, 3.0, left_picture=left_picture), track(2, 3.0 + gap_s, 20.0)
    appearance = RULES.appearance(now, identity(), [before, now])
    assert (appearance.kind, appearance.previous_key) == (kind, before.key)
    assert appearance.absent_s == pytest.approx(gap_s) and appearance.at_s is None


def test_an_appearance_says_where_and_when_the_person_was_seen_last():
    first, away = track(1, 0.0, 3.0), track(1, 6.0, 9.0, camera="hall")
    over = RULES.appearance(away, identity(), [first, away])
    assert (over.kind, over.exit_camera_id, over.exit_at_s, over.via) == ("handed_over", "door", 3.0, ("door",))
    back = RULES.appearance(track(2, 12.0, 15.0), identity(), [first, away])
    assert (back.kind, back.exit_camera_id, back.exit_at_s) == ("reentered", "door", 3.0)
    entered = RULES.appearance(first, identity(), [])
    assert (entered.exit_camera_id, entered.exit_at_s) == (None, None)


@pytest.mark.parametrize(
    ("cost", "runner_up", "expected"),
    [
        (0.4, None, 0.5),  # at the threshold: as likely as not
        (0.35, None, 1 / (1 + np.exp(-1.5))),  # a margin below
        (0.45, None, 1 / (1 + np.exp(-1.5))),  # a margin above: sure to be new
        (0.1, (2, 0.1), 0.5),  # two alike
        (0.1, (2, 0.6), 1.0),
    ],
)
def test_confidence_grows_with_the_distance_to_the_threshold_and_to_the_runner_up(cost, runner_up, expected):
    evidence = Evidence(cost, 0.4, runner_up, cost=cost)
    assert confidence_of(evidence, margin=0.05) == pytest.approx(expected, abs=2e-4)


def test_nobody_to_compare_with_gives_no_confidence_and_no_margin_no_division_by_zero():
    assert confidence_of(Evidence(None, 0.4), 0.05) is None
    assert confidence_of(Evidence(0.2, 0.4, cost=0.2), 0.0) == pytest.approx(1.0)


def test_back_in_a_after_b_is_one_return_by_way_of_b():
    first, away, now = track(1, 0.0, 3.0), track(1, 6.0, 9.0, camera="hall"), track(2, 12.0, 15.0)
    appearance = RULES.appearance(now, identity(), [first, away, now])
    assert (appearance.kind, appearance.via, appearance.absent_s) == ("reentered", ("hall",), 9.0)


def test_who_came_in_hidden_by_somebody_came_in_with_them():
    before, now = track(1, 0.0, 3.0), track(4, 22.0, 30.0)
    appearance = RULES.appearance(now, identity(), [before, now], came_in_s=19.0)
    assert (appearance.kind, appearance.at_s, appearance.absent_s) == ("reentered", 19.0, 16.0)


@pytest.mark.parametrize("came_in_s", [2.0, 7.9, 22.0, 25.0])
def test_company_from_before_the_absence_was_over_or_from_later_tells_nothing(came_in_s):
    before, now = track(1, 0.0, 3.0), track(4, 22.0, 30.0)
    appearance = RULES.appearance(now, identity(), [before, now], came_in_s=came_in_s)
    assert (appearance.kind, appearance.at_s, appearance.absent_s) == ("reentered", None, 19.0)


def test_company_makes_no_return_of_an_occlusion():
    before, now = track(1, 0.0, 3.0, left_picture=False), track(4, 9.0, 30.0)
    assert RULES.appearance(now, identity(), [before, now], came_in_s=8.5).kind == "continued"


def returned(gone, into, gone_members, into_members):
    return [(t.key.track_id, a.absent_s) for t, a in RULES.returns_by_merge(gone, into, gone_members, into_members)]


def test_a_merge_shows_that_somebody_who_had_entered_had_come_back():
    assert returned(identity(7), identity(1), [track(9, 20.0, 30.0)], [track(1, 0.0, 3.0)]) == [(9, 17.0)]


def test_a_merge_tells_no_return_that_was_told():
    gone = [track(8, 20.0, 30.0), track(9, 40.0, 50.0)]  # the second was told when it came
    assert returned(identity(7), identity(1), gone, [track(1, 0.0, 3.0)]) == [(8, 17.0)]


def test_a_merge_tells_no_return_of_somebody_who_may_have_been_there_all_the_time():
    lost = track(1, 0.0, 3.0, left_picture=False)
    assert returned(identity(7), identity(1), [track(9, 20.0, 30.0)], [lost]) == []
    assert returned(identity(7), identity(1), [track(9, 4.0, 30.0)], [track(1, 0.0, 3.0)]) == []  # not away long enough


def test_a_merge_knows_of_visits_whose_tracks_are_long_over():
    into = identity(1)
    into.past["door"] = Sight(3.0, TrackKey("door", "1", 1), True)
    assert returned(identity(7), into, [track(9, 20.0, 30.0)], []) == [(9, 17.0)]


def test_a_merge_of_two_without_tracks_tells_nothing():
    assert returned(identity(7), identity(1), [], []) == []
