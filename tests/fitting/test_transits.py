"""Transit times between cameras, and cameras that see the same people at once."""

import pytest
from fitting_scenes import stays_of_walks

from pipeline.fitting.paths import Stay
from pipeline.fitting.transits import hops_of, shared_views, topology_of, transit_windows
from pipeline.identity.constraints import Topology
from pipeline.identity.transits import TransitTimes
from pipeline.scenes.walks import random_scenario


def walk(person, gap_s, at_s=0.0, origin="a", destination="b"):
    """Ten seconds in one camera, then `gap_s` later ten in another."""
    return [Stay(origin, person, at_s, at_s + 10), Stay(destination, person, at_s + 10 + gap_s, at_s + 20 + gap_s)]


def windows_of(stays, certain=True):
    shared = shared_views(stays)
    return {(w.origin, w.destination): w for w in transit_windows(hops_of(stays), shared, certain=certain)}, shared


def test_a_way_counts_from_where_the_person_was_seen_last():
    stays = [Stay("a", 1, 0, 10), Stay("b", 1, 4, 30), Stay("c", 1, 33, 40), Stay("c", 1, 50, 60)]
    assert [(h.origin, h.destination, h.gap_s) for h in hops_of(stays)] == [("a", "b", -6), ("b", "c", 3)]


def test_nobody_and_one_stay_make_no_way():
    assert hops_of([]) == [] and hops_of([Stay("a", 1, 0, 10)]) == []
    assert shared_views([]) == [] and transit_windows([], [], certain=True) == []


def test_a_window_is_wide_and_begins_at_nothing_for_few_ways():
    found, _ = windows_of([s for n in range(6) for s in walk(n, 3.0 + n / 10)])
    window = found["a", "b"]
    assert window.people == 6 and window.gaps_s == pytest.approx([3.0, 3.1, 3.2, 3.3, 3.4, 3.5])
    assert window.window_s[0] == 0.0
    assert window.window_s[1] >= 2 * 3.5
    assert Topology(topology_of([window], [])).may_overlap("a", "b")


def test_fewer_than_five_ways_have_no_window():
    found, _ = windows_of([s for n in range(4) for s in walk(n, 3.0)])
    assert found["a", "b"].window_s is None
    assert topology_of(list(found.values()), []) == []


def test_many_ways_of_several_people_say_that_nobody_is_in_both_at_once():
    stays = [s for n in range(12) for s in walk(n, 3.0 + n / 10)]
    found, shared = windows_of(stays)
    assert found["a", "b"].window_s[0] == pytest.approx(1.5)
    assert not Topology(topology_of(list(found.values()), shared)).may_overlap("a", "b")
    by_links, _ = windows_of(stays, certain=False)
    assert by_links["a", "b"].window_s[0] == 0.0
    of_two_people, _ = windows_of([s for n in range(12) for s in walk(n % 2, 3.0, at_s=100.0 * n)])
    assert of_two_people["a", "b"].window_s[0] == 0.0


def test_people_seen_by_both_at_once_make_a_shared_view_and_no_window():
    stays = [s for n in range(12) for s in walk(n, -4.0)]
    found, shared = windows_of(stays)
    assert found == {}
    (view,) = shared
    assert (view.cameras, view.stays, view.people, view.seconds, view.is_sure) == (("a", "b"), 12, 12, 48.0, True)
    (entry,) = topology_of([], shared)
    assert entry.pair == ("a", "b") and entry.overlap


def test_one_person_in_both_at_once_is_not_sure():
    _, shared = windows_of(walk(1, -4.0))
    assert [view.is_sure for view in shared] == [False]
    assert topology_of([], shared) == []


def test_every_true_way_of_a_generated_site_is_fully_plausible_under_what_is_learned_from_others():
    seen = random_scenario(people=10, cameras=2, duration_s=300.0, seed=1)
    later = random_scenario(people=10, cameras=2, duration_s=300.0, seed=2)
    windows, shared = windows_of(stays_of_walks(seen))
    times = TransitTimes(topology_of(list(windows.values()), shared))
    hops = hops_of(stays_of_walks(later))
    priors = [times.prior(h.origin, h.destination, h.gap_s) for h in hops]
    assert len(priors) > 20
    assert sum(p == 1.0 for p in priors) / len(priors) > 0.9
    assert min(priors) > 0.0
