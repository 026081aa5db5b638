"""Laws of the matcher over random small sites: people who come and go, are lost, look alike, and are mistaken."""

import itertools
import random
from collections import Counter
from dataclasses import replace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from identity_site import COLOURS, LINKS, merged, near, walk
from random_site import CONFIG, RandomSite, random_site, seen_twice_at_once, shuffled_in_time, with_orders

from pipeline.bus.lines import event_to_json
from pipeline.resolution import IdentityBook

# a site is made from a seed, so that one that breaks a law can be made again: random_site(random.Random(seed))
LAW = settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
CHANCE = st.integers(0, 2**32 - 1)
CORRECTIONS = ("merged", "split", "reassigned")
OF_NO_TRACK = ("merged", "renamed", "forgotten")


def lines(site):
    assert not site.pending
    return [event_to_json(event) for event in site.events]


def in_any_order(rng, one):
    return merged(one.streams(), rng.randint(0, 2**32 - 1))


@LAW
@given(CHANCE)
def test_the_order_of_arrival_over_cameras_changes_nothing(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    plain = one.run([message for stream in one.streams() for message in stream])
    shuffled = one.run(in_any_order(rng, one))
    assert lines(shuffled) == lines(plain) and shuffled.stored == plain.stored


@LAW
@given(CHANCE)
def test_what_comes_within_the_allowed_lateness_changes_nothing(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    live = {"live_cameras": one.cameras}
    order = shuffled_in_time(rng, one.streams(), CONFIG.lateness_s - 0.5)
    shuffled = one.run(order, **live)
    assert shuffled.matcher.late == 0
    assert lines(shuffled) == lines(one.run(shuffled_in_time(rng, one.streams(), 0.0), **live))


@LAW
@given(CHANCE)
def test_handling_everything_at_once_gives_what_handling_it_piece_by_piece_gives(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    order = in_any_order(rng, one)
    at_once = one.matcher()
    for number, message in enumerate(order):
        at_once.receive(str(number), message)
    assert [event_to_json(event) for event in at_once.advance().events] == lines(one.run(order))


@LAW
@given(CHANCE)
def test_a_restart_at_any_moment_changes_nothing(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    order = with_orders(rng, in_any_order(rng, one), one.walks)
    restarts = {rng.randint(0, len(order)) for _ in range(12)}
    plain, restarted = one.run(order), one.run(order, restarts)
    assert lines(restarted) == lines(plain)
    assert restarted.stored == plain.stored


def test_a_correction_after_which_left_is_due_says_it_at_the_same_moment_before_and_after_a_restart():
    red, other = COLOURS[0], near(COLOURS[0], 0.2, towards=1)
    walks = (
        walk("door", 2, 5.5, 7.0, other),
        walk("door", 3, 8.25, 9.75, red, COLOURS[2], left=False),
        walk("hall", 2, 6.0, 7.875, other),
        walk("hall", 3, 7.0, 7.75, red),
    )
    one = RandomSite(("door", "hall"), walks, {}, tells=(1, 1), every_s=(1.0, 0.5), until_s=32.0, breaks_s={})
    for seed in range(4):
        order = merged(one.streams(), seed)
        plain, restarted = one.run(order), one.run(order, range(len(order)))
        assert [e.kind for e in plain.events].count("reassigned") == 1
        assert lines(restarted) == lines(plain)


@LAW
@given(CHANCE)
def test_messages_that_come_twice_change_nothing(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    order = with_orders(rng, in_any_order(rng, one), one.walks)
    doubled = []
    for number, message in enumerate(order):
        doubled.append(message)
        if rng.random() < 0.3:
            doubled.append(order[rng.randint(0, number)])
    assert lines(one.run(doubled)) == lines(one.run(order))


@LAW
@given(CHANCE)
def test_replaying_any_prefix_twice_changes_nothing(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    order = with_orders(rng, in_any_order(rng, one), one.walks)
    cut = rng.randint(0, len(order))
    again = one.run([*order[:cut], *order[:cut], *order[cut:]], restarts={cut} if rng.random() < 0.5 else ())
    assert lines(again) == lines(one.run(order))


@LAW
@given(CHANCE)
def test_nobody_is_in_one_camera_twice_at_once(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    site = one.run(in_any_order(rng, one))
    assert not seen_twice_at_once(one, site.who())


@LAW
@given(CHANCE)
def test_the_events_tell_a_story_that_holds_together(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    site = one.run(with_orders(rng, in_any_order(rng, one), one.walks))
    assert [e.sequence for e in site.events] == list(range(1, len(site.events) + 1))
    assert all(a.decided_at_s <= b.decided_at_s for a, b in itertools.pairwise(site.events))
    assert all(e.at_s <= e.decided_at_s for e in site.events)
    assert_ids_are_never_reused(site.events)
    assert_each_track_is_told_of_once(site.events)
    assert_corrections_say_what_was_so(site.events)
    assert_nobody_leaves_who_is_not_there(site.events)


def assert_ids_are_never_reused(events):
    """New ids count up; an id that was merged or forgotten is never heard of again."""
    new = [e.identity_id for e in events if e.kind == "entered" or (e.kind == "split" and e.identity_id)]
    first = list(dict.fromkeys(new))
    assert first == list(range(1, len(first) + 1))
    known, gone = set(), set()
    for e in events:
        if e.kind in ("entered", "split"):
            known.add(e.identity_id)
        if e.kind != "unknown":
            assert e.identity_id in known - gone
        if e.other_identity_id is not None:
            assert e.other_identity_id in known
        if e.kind in ("merged", "forgotten"):
            gone.add(e.identity_id)


def assert_each_track_is_told_of_once(events):
    """But for returns that only a merge shows: they are told right after it."""
    told, after_merge = set(), False
    for e in events:
        if e.kind in (*LINKS, "unknown"):
            assert e.key not in told or (after_merge and e.kind == "reentered")
            told.add(e.key)
        after_merge = e.kind == "merged" or (after_merge and e.kind == "reentered")


def assert_corrections_say_what_was_so(events):
    """`split` and `reassigned` name the id that the track had; both sides of a merge lived."""
    owner = {}
    for e in events:
        assert (e.key is None) is (e.kind in OF_NO_TRACK)
        if e.kind in LINKS:
            owner[e.key] = e.identity_id
        elif e.kind in ("split", "reassigned"):
            assert owner[e.key] == e.other_identity_id != e.identity_id
            owner[e.key] = e.identity_id
        elif e.kind == "merged":
            assert e.other_identity_id != e.identity_id
            owner = {k: e.other_identity_id if v == e.identity_id else v for k, v in owner.items()}
        elif e.kind == "forgotten":
            owner = {k: v for k, v in owner.items() if v != e.identity_id}


def assert_nobody_leaves_who_is_not_there(events):
    """`left` is said of a track that is the identity's, and once for each end of a visit."""
    owner, said = {}, set()
    for e in events:
        if e.kind in (*LINKS, "split", "reassigned"):
            owner[e.key] = e.identity_id
        elif e.kind == "merged":
            owner = {k: e.other_identity_id if v == e.identity_id else v for k, v in owner.items()}
        elif e.kind == "left":
            assert owner[e.key] == e.identity_id
            assert (e.identity_id, e.key, e.at_s) not in said
            said.add((e.identity_id, e.key, e.at_s))


@LAW
@given(CHANCE)
def test_everybody_who_is_gone_has_left_under_the_id_that_is_finally_theirs(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    site = one.run(merged(one.streams(quiet_s=30.0, ended=False), rng.randint(0, 99)))
    who, book = site.who(), IdentityBook(site.events)
    last = {(who[track.key], track.camera_id): track for track in by_end(one.walks) if track.key in who}
    said = [e for e in site.events if e.kind == "left"]
    for (identity_id, camera_id), track in last.items():
        own = [e for e in said if (book.living(e.identity_id), e.key.camera_id) == (identity_id, camera_id)]
        # at the end of this track, or of a later one that was taken for his
        assert any(e.at_s >= track.first_s for e in own)
        assert sum(e.key == track.key and e.identity_id == identity_id for e in own) <= 1


def by_end(walks):
    return sorted(walks, key=lambda one: one.last_s)


@LAW
@given(CHANCE)
def test_when_nothing_new_comes_no_mind_is_changed_any_more(seed):
    rng = random.Random(seed)
    one = random_site(rng)
    site = one.run(in_any_order(rng, replace(one, until_s=one.until_s + 60.0)))
    assert all(e.decided_at_s <= one.until_s + 10.0 for e in site.events if e.kind in CORRECTIONS)
    counts = Counter(e.key for e in site.events if e.kind in ("split", "reassigned"))
    assert max(counts.values(), default=0) <= 4 and sum(e.kind == "merged" for e in site.events) <= len(one.walks)


def test_random_sites_have_corrections_of_every_kind():
    """So that the laws above say something about them."""
    kinds = Counter()
    for seed in range(30):
        rng = random.Random(seed)
        one = random_site(rng)
        kinds.update(e.kind for e in one.run(in_any_order(rng, one)).events)
    assert min(kinds[kind] for kind in CORRECTIONS) >= 4
    assert min(kinds[kind] for kind in ("entered", "handed_over", "reentered", "continued", "left", "unknown")) >= 8


@LAW
@given(CHANCE)
def test_people_without_noise_are_told_apart_exactly(seed):
    rng = random.Random(seed)
    one = random_site(rng, noise=False)
    who = one.run(in_any_order(rng, one)).who()
    assert who.keys() == {track.key for track in one.walks if track.clips()}
    pairs = {(one.person[key], identity_id) for key, identity_id in who.items()}
    assert len({identity_id for _, identity_id in pairs}) == len(pairs)  # nobody has another one's number
    assert len({person for person, _ in pairs}) == len(pairs)  # and nobody has two
