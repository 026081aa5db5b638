"""The made-up traffic of a large site is what it says it is, and what a matcher costs is counted rightly."""

import itertools
import sys
from collections import Counter
from dataclasses import dataclass

import bench_matcher_scale
import numpy as np
import pytest
from scale.appearance import DIMENSIONS, AppearanceModel, parts_of
from scale.drive import Cost, drive
from scale.links import Links
from scale.plot import Point, draw
from scale.restart import StateFile, restart, write_state
from scale.site import make_site
from scale.traffic import TICK_EVERY_S, make_traffic
from scale.walks import make_visits

from pipeline.config import MatcherConfig
from pipeline.identity.decide import Round
from pipeline.identity.matcher import Matcher, Step
from pipeline.types import ClipFeature, IdentityEvent, Tick, TrackKey, Tracklet

SECONDS = 900.0  # nobody's walk is longer


@pytest.fixture(scope="module")
def traffic():
    return small_traffic(seed=3)


@pytest.fixture(scope="module")
def messages(traffic):
    return list(traffic.messages())


def small_traffic(seed):
    site = make_site(12, seed)
    return make_traffic(site, make_visits(site, 60, 600, SECONDS, seed), SECONDS, seed)


def matcher_of(site):
    return Matcher(MatcherConfig(), 0.4, site.camera_ids, live_cameras=site.camera_ids, topology=site.topology())


def said(kind, identity_id, track_id, other=None):
    key = None if track_id is None else TrackKey("a", "1", track_id)
    return IdentityEvent(1, kind, identity_id, key, 0.0, 0.0, other_identity_id=other)


@dataclass
class Late:
    """Stands for a matcher that handles two clips with every fourth message, and uses up a clock."""

    calls: int = 0

    def __post_init__(self):
        self.waiting = []

    def receive(self, delivery_id, message):
        self.waiting.append(delivery_id)

    def advance(self):
        self.calls += 1
        done, self.waiting = (self.waiting, []) if self.calls % 4 == 0 else ([], self.waiting)
        return Step({f"identity:{self.calls}": b"1234"}, (), tuple(done))


# -- the site ---------------------------------------------------------------------------------------------------------


def test_a_site_has_no_camera_without_a_way_and_at_most_one_overlap_each():
    site = make_site(200, 0)
    assert all(site.around)
    assert any(p is not None for p in site.partner)
    assert all(p is None or site.partner[p] == i for i, p in enumerate(site.partner))


def test_a_site_declares_each_street_both_ways_or_as_an_overlap():
    site = make_site(50, 0)
    rules = site.topology()
    ways = {(r.from_camera, r.to_camera) for r in rules if r.transit_s}
    assert {(b, a) for a, b in ways} == ways
    assert len(ways) == 2 * sum(not s.overlap for s in site.streets)
    assert all(0 < r.transit_s[0] < r.transit_s[1] for r in rules if r.transit_s)
    assert sum(r.overlap for r in rules) == sum(s.overlap for s in site.streets)


def test_a_site_of_one_camera_has_no_streets_and_none_is_refused():
    assert make_site(1, 0).streets == ()
    with pytest.raises(ValueError, match="at least 1"):
        make_site(0, 0)


# -- the visits -------------------------------------------------------------------------------------------------------


def test_visits_have_as_many_clips_as_were_asked_for_and_lie_in_the_time():
    visits = make_visits(make_site(30, 1), 500, 5000, 3600.0, 1)
    assert visits.clips.sum() == 5000 and visits.clips.min() >= 1
    assert (np.diff(visits.first_s) >= 0).all()
    assert visits.first_s.min() >= 0 and visits.last_s.max() <= 3600.0
    assert set(visits.person.tolist()) == set(range(500))


def test_people_walk_along_streets_and_are_in_two_cameras_at_once_only_where_these_overlap():
    site = make_site(30, 1)
    visits = make_visits(site, 300, 3000, 3600.0, 1)
    for person in range(300):
        mine = np.flatnonzero(visits.person == person)
        for a, b in itertools.pairwise(mine):
            at_once = visits.first_s[b] < visits.last_s[a]
            here, there = int(visits.camera[a]), int(visits.camera[b])
            beside = {n for n, _ in site.around[here]} | {site.partner[here]}
            partner = site.partner[here]
            beside |= {n for n, _ in site.around[partner]} if partner is not None else set()
            returned = visits.first_s[b] - visits.last_s[a] >= 60.0
            assert site.partner[here] == there if at_once else (there in beside or returned)


def test_nobody_leaves_no_visits_and_too_few_clips_are_refused():
    site = make_site(5, 0)
    assert len(make_visits(site, 0, 0, 60.0, 0)) == 0
    with pytest.raises(ValueError, match="at least one for each"):
        make_visits(site, 10, 5, 60.0, 0)


# -- the embeddings ---------------------------------------------------------------------------------------------------


def test_distances_are_those_that_were_measured_on_real_clips():
    model, made_s = AppearanceModel(0), np.array([0.0, 1.0, 12.0])
    shown = [(person, camera) for person in range(24) for camera in range(8) for _ in range(2)]
    clips = np.stack([model.clips(*who, visit, made_s) for visit, who in enumerate(shown)])
    distance = 1 - clips[:, 0] @ clips[:, 0].T
    person, camera = (np.array(column)[:, None] for column in zip(*shown, strict=True))
    same_person, same_camera = person == person.T, camera == camera.T
    other_visit = ~np.eye(len(shown), dtype=bool)
    assert np.mean(1 - (clips[:, 0] * clips[:, 1]).sum(axis=1)) == pytest.approx(0.06, abs=0.02)
    assert np.mean(1 - (clips[:, 0] * clips[:, 2]).sum(axis=1)) == pytest.approx(0.16, abs=0.03)
    assert distance[same_person & same_camera & other_visit].mean() == pytest.approx(0.26, abs=0.03)
    assert distance[same_person & ~same_camera].mean() == pytest.approx(0.36, abs=0.04)
    assert distance[~same_person & same_camera].mean() == pytest.approx(0.65, abs=0.04)
    assert distance[~same_person & ~same_camera].mean() == pytest.approx(0.70, abs=0.04)
    assert distance[~same_person].std() == pytest.approx(0.11, abs=0.03)


def test_embeddings_are_as_the_bus_carries_them_and_the_same_in_any_order():
    model, made_s = AppearanceModel(5), np.array([0.4, 1.4])
    first = model.clips(1, 2, 3, made_s)
    model.clips(9, 9, 9, made_s)
    assert first.shape == (2, DIMENSIONS) and first.dtype == np.float32
    assert (first == first.astype(np.float16)).all()
    assert np.linalg.norm(first, axis=1) == pytest.approx(1.0, abs=1e-3)
    assert (AppearanceModel(5).clips(1, 2, 3, made_s) == first).all()
    assert (AppearanceModel(6).clips(1, 2, 3, made_s) != first).any()
    assert np.linalg.norm(parts_of(first[0]), axis=1) == pytest.approx(1.0, abs=1e-3)


# -- the messages -----------------------------------------------------------------------------------------------------


def test_messages_come_in_order_of_time_and_are_numbered_without_gaps(messages):
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(messages))
    numbers = {}
    for message in messages:
        assert message.sequence == numbers.get(message.camera_id, 0) + 1
        numbers[message.camera_id] = message.sequence


def test_every_visit_leaves_its_clips_and_one_tracklet(traffic, messages):
    kinds = Counter(type(m) for m in messages)
    assert kinds[ClipFeature] == 600
    ended = [m for m in messages if isinstance(m, Tracklet)]
    assert {m.key for m in ended} == set(traffic.person_of) and len(ended) == len(traffic.person_of)
    assert set(traffic.person_of.values()) == set(range(60))


def test_every_camera_ticks_often_and_says_who_is_visible(messages):
    ticks = [m for m in messages if isinstance(m, Tick)]
    spans = {m.key: (m.captured_at_s[0], m.captured_at_s[-1]) for m in messages if isinstance(m, Tracklet)}
    last_s = {}
    for tick in ticks:
        assert tick.at_s - last_s.get(tick.camera_id, 0.0) <= TICK_EVERY_S + 1e-6
        last_s[tick.camera_id] = tick.at_s
        for track_id in tick.visible:
            first_s, end_s = spans[TrackKey(tick.camera_id, "1", track_id)]
            assert first_s - 1e-6 <= tick.at_s < end_s + 0.3  # boxes come at 5 Hz
    assert len(last_s) == 12 and any(t.visible for t in ticks)


def test_a_tracks_boxes_reach_the_matcher_once_each(messages):
    seen = {}
    for message in messages:
        if isinstance(message, ClipFeature):
            seen.setdefault(message.key, []).extend(message.seen_s.tolist())
    assert seen and all(a < b for times in seen.values() for a, b in itertools.pairwise(times))


def test_the_same_seed_gives_the_same_messages(messages):
    again = small_traffic(seed=3).messages()
    for one, other in itertools.islice(zip(messages, again, strict=True), 2000):
        assert type(one) is type(other) and (one.camera_id, one.sequence) == (other.camera_id, other.sequence)
        if isinstance(one, ClipFeature):
            assert (one.embedding == other.embedding).all()


# -- the cost ---------------------------------------------------------------------------------------------------------


def test_all_time_is_charged_to_the_clips_handled_next():
    cost = Cost()
    for spent_ns, clips in ((5, 0), (7, 2), (1, 0), (9, 1), (4, 0)):
        cost.charge(spent_ns, clips)
    assert cost.clip_ns == [6.0, 6.0, 10.0]
    assert cost.wait_ns == [7, 7, 9]
    assert cost.total_ns == 26


def test_no_clips_have_no_times():
    assert Cost().per_clip_ms() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    assert Cost().load == 0.0


def test_driving_times_receive_and_advance_alone_and_keeps_the_state(traffic, messages):
    clock = itertools.count(0, 10)
    clips = [m for m in messages if isinstance(m, ClipFeature)][:10]
    outcome = drive(Late(), clips, traffic.person_of, batch=2, clock_ns=lambda: next(clock))
    assert outcome.cost.total_ns == 5 * 10
    assert outcome.cost.clip_ns == [40 / 8] * 8  # four advances, then eight clips at once; two are never handled
    assert outcome.cost.messages == 10 and outcome.cost.message_s == clips[-1].at_s
    assert outcome.complete and len(outcome.state) == 5
    assert outcome.cost.state_bytes == 5 * (len("identity:1") + 4)


def test_driving_stops_at_its_limit(traffic, messages):
    outcome = drive(Late(), messages, traffic.person_of, limit_s=2.5, clock_ns=itertools.count(0, 10**9).__next__)
    assert not outcome.complete and outcome.cost.cpu_s == 3.0


# -- the links --------------------------------------------------------------------------------------------------------


def test_links_are_right_wrong_or_missed_by_the_person_an_identity_began_with():
    links = Links()
    people = {TrackKey("a", "1", n): person for n, person in ((1, 10), (2, 10), (3, 20), (4, 10))}
    links.take([said("entered", 1, 1), said("continued", 1, 2)], people)
    links.take([said("handed_over", 1, 3), said("entered", 2, 4), said("left", 1, 1)], people)
    assert (links.right, links.wrong, links.missed) == (1, 1, 1)
    final = links.final(people)
    assert (final.identities, final.people, final.tracks, final.stray) == (2, 2, 4, 1)


def test_corrections_change_how_it_stands_at_the_end():
    links = Links()
    people = {TrackKey("a", "1", n): person for n, person in ((1, 10), (2, 20), (3, 10))}
    links.take([said("entered", 1, 1), said("continued", 1, 2), said("entered", 2, 3)], people)
    links.take([said("reassigned", 3, 2, other=1), said("merged", 2, None, other=1)], people)
    final = links.final(people)
    assert (final.identities, final.stray, links.corrected) == (2, 0, 2)


def groups_of_a_town():
    """Who is one person, with few candidates each, so that far cameras have nothing to do with each other."""
    site = make_site(60, 5)
    traffic = make_traffic(site, make_visits(site, 150, 1500, 300.0, 5), 300.0, 5)
    config = MatcherConfig(max_candidates=6)
    matcher = Matcher(config, 0.4, site.camera_ids, live_cameras=site.camera_ids, topology=site.topology())
    links = drive(matcher, traffic.messages(), traffic.person_of, batch=64).links
    groups = {}
    for key, identity_id in links.identity_of.items():
        groups.setdefault(links.alive(identity_id), set()).add(key)
    return {frozenset(keys) for keys in groups.values()}, links


def test_what_is_remembered_between_the_decisions_of_a_moment_changes_none(monkeypatch):
    groups, links = groups_of_a_town()
    assert links.right > 50 and len(groups) > 20
    monkeypatch.setattr(Round, "_row", lambda self, track: self._decider.row(track))
    assert groups_of_a_town()[0] == groups


# -- restart, report --------------------------------------------------------------------------------------------------


def test_a_state_written_to_a_file_reads_the_same(tmp_path):
    state = {"meta": b"{}", "identity:1": b"\x00\nabc", "empty": b""}
    size = write_state(tmp_path / "state", state)
    stored = StateFile(tmp_path / "state")
    assert dict(stored) == state and len(stored) == 3
    assert size == sum(len(n) + len(v) for n, v in state.items())
    stored.close()


def test_a_matcher_carries_on_from_the_file(tmp_path, messages):
    site, seed_traffic = make_site(12, 3), small_traffic(seed=3)
    outcome = drive(matcher_of(site), itertools.islice(seed_traffic.messages(), 2500), seed_traffic.person_of)
    assert outcome.links.identity_of
    write_state(tmp_path / "state", outcome.state)
    again = restart(tmp_path / "state", MatcherConfig(), 0.4, site.camera_ids, site.topology())
    assert again.fields == len(outcome.state) and again.restore_s > 0


def test_a_plot_is_drawn_of_any_number_of_sites(tmp_path):
    points = [Point(100, 0.01, 1.0, 3.0), Point(1000, 0.1, 1.1, 4.0)]
    for name, shown, within in (("two", points, [(50, 1.0), (100, 1.2)]), ("one", points[:1], [])):
        draw(tmp_path / "new" / f"{name}.png", shown, within, 20.0)
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_script_prints_a_row_for_every_size(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench"])
    plot = tmp_path / "cost.png"
    size = ["--cameras", "40", "--identities", "80", "--clips", "800", "--seconds", "60"]
    assert bench_matcher_scale.main([*size, "--shares", "0.25", "--plot", str(plot)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [len(row.strip("|").split("|")) for row in rows] == [12] * 2 + [15] * 2
    assert plot.stat().st_size > 10_000
