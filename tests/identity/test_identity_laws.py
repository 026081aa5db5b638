"""Laws of the matcher over random small sites: two or three cameras, a few people who come and go."""

import itertools
from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_site import COLOURS, LINKS, Camera, Site, make, merged, near

from pipeline.bus.lines import event_to_json
from pipeline.config import MatcherConfig

CAMERAS = ("door", "hall", "yard")
CONFIG = MatcherConfig(absence_s=2.0, occlusion_s=4.0, identity_ttl_s=60.0)
LAW = settings(max_examples=25, deadline=None)

# (seconds since the person's track before, seconds visible, whether it left the picture, noise of its features)
STAYS = st.tuples(
    st.integers(0, 300), st.integers(1, 200), st.booleans(), st.sampled_from([0.0, 0.02, 0.05, 0.15, 0.3])
)
PEOPLE = st.lists(st.lists(STAYS, max_size=3), min_size=1, max_size=3)
SITES = st.lists(st.tuples(PEOPLE, st.integers(0, 5), st.booleans()), min_size=2, max_size=3)
SEEDS = st.integers(0, 2**32 - 1)
FRAME_S = 0.04


def tracks_of(people):
    """(first, last, left, person, noise) of every track of one camera; one person's tracks do not overlap."""
    tracks = []
    for person, stays in enumerate(people):
        frame = person
        for gap, length, left, noise in stays:
            first = frame + gap + 1
            frame = first + length
            tracks.append((first, frame, left, person, noise))
    return sorted(tracks)


def stream_of(camera_id, people, tick_frames, breaks_off):
    """All messages of one camera in its order; optionally under a new epoch from the middle on."""
    tracks = tracks_of(people)
    end = max((last for _, last, *_ in tracks), default=0) + 30
    middle = end // 2 if breaks_off else None
    planned = []  # (frame, what)
    for number, (first, last, left, person, noise) in enumerate(tracks, start=1):
        for n, frame in enumerate(range(first + 10, last + 1, 25)):
            planned.append((frame, 0, ("clip", number, first, frame, person, noise if n == 0 else noise / 2)))
        planned.append((last + 5, 1, ("tracklet", number, first, last, left)))
    planned += [(frame, 2, ("tick",)) for frame in range(0, end, 5 + tick_frames)]
    one, two = Camera(camera_id, "1"), Camera(camera_id, "2")
    messages = []
    for frame, _, what in sorted(planned, key=lambda p: p[:2]):
        late = middle is not None and frame > middle
        camera = two if late else one
        if middle is not None and what[0] != "tick" and (what[2] <= middle) == late:
            continue  # the track was cut by the break
        messages.append(message_of(camera, what, frame))
    last = two if middle is not None else one
    return [*messages, last.tick(end * FRAME_S), last.state(end * FRAME_S)]


def message_of(camera, what, frame):
    if what[0] == "clip":
        _, number, first, at, person, noise = what
        colour = near(COLOURS[person], noise, towards=8 + person)
        return camera.clip(number, colour, first * FRAME_S, at * FRAME_S, quality=0.3 + 0.1 * (number % 5))
    if what[0] == "tracklet":
        _, number, first, last, left = what
        return camera.tracklet(number, first * FRAME_S, last * FRAME_S, left, frame * FRAME_S)
    return camera.tick(frame * FRAME_S)


def streams_of(site):
    return [stream_of(CAMERAS[i], people, ticks, breaks) for i, (people, ticks, breaks) in enumerate(site)]


def new_matcher(site, state=None, config=CONFIG):
    return make(config, CAMERAS[: len(site)], features_s=60.0, state=state)


def run(site, order, restarts=frozenset(), config=CONFIG):
    one = Site(new_matcher(site, config=config))
    for n, message in enumerate(order):
        if n in restarts:
            one.restart(lambda state: new_matcher(site, state, config))
        one.feed(message)
    assert not one.pending
    return one.events


def lines(events):
    return [event_to_json(event) for event in events]


@LAW
@given(SITES, SEEDS)
def test_the_order_of_arrival_over_cameras_changes_nothing(site, seed):
    streams = streams_of(site)
    one_by_one = [message for stream in streams for message in stream]
    assert lines(run(site, merged(streams, seed))) == lines(run(site, one_by_one))


@LAW
@given(SITES, SEEDS)
def test_handling_everything_at_once_gives_what_handling_it_piece_by_piece_gives(site, seed):
    order = merged(streams_of(site), seed)
    at_once = new_matcher(site)
    for n, message in enumerate(order):
        at_once.receive(str(n), message)
    assert lines(at_once.advance().events) == lines(run(site, order))


@LAW
@given(SITES, SEEDS, st.sets(st.integers(0, 200), max_size=30))
def test_a_restart_at_any_moment_changes_nothing(site, seed, restarts):
    order = merged(streams_of(site), seed)
    assert lines(run(site, order, restarts)) == lines(run(site, order))


@LAW
@given(SITES, SEEDS, st.randoms(use_true_random=False))
def test_messages_that_come_twice_change_nothing(site, seed, rng):
    order = merged(streams_of(site), seed)
    doubled = []
    for n, message in enumerate(order):
        doubled.append(message)
        if rng.random() < 0.5:
            doubled.append(order[rng.randrange(n + 1)])
    assert lines(run(site, doubled)) == lines(run(site, order))


@LAW
@given(SITES, SEEDS)
def test_the_events_tell_a_story_that_holds_together(site, seed):
    streams = streams_of(site)
    events = run(site, merged(streams, seed))
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert_ids_are_never_reused(events)
    assert_each_track_is_told_of_once(events)
    assert_nobody_is_two_tracks_of_a_camera(events, streams)
    assert all(a.decided_at_s <= b.decided_at_s for a, b in itertools.pairwise(events))
    assert all(e.at_s <= e.decided_at_s for e in events)


def assert_ids_are_never_reused(events):
    entered = [e.identity_id for e in events if e.kind == "entered"]
    assert entered == list(range(1, len(entered) + 1))
    seen = set()
    for e in events:
        if e.kind == "entered":
            seen.add(e.identity_id)
        elif e.identity_id:
            assert e.identity_id in seen


def assert_each_track_is_told_of_once(events):
    keys = [e.key for e in events if e.kind in (*LINKS, "unknown")]
    assert len(keys) == len(set(keys))


def assert_nobody_is_two_tracks_of_a_camera(events, streams):
    spans = {m.key: m.captured_at_s for stream in streams for m in stream if hasattr(m, "ended_at_s")}
    tracks = defaultdict(list)
    for e in events:
        if e.kind in LINKS and e.key in spans:
            tracks[e.identity_id, e.key.camera_id].append(tuple(spans[e.key][[0, -1]]))
    for found in tracks.values():
        found.sort()
        assert all(b[0] >= a[1] - 0.05 - 1e-6 for a, b in itertools.pairwise(found))


@LAW
@given(SITES, SEEDS)
def test_people_without_noise_are_told_apart_exactly(site, seed):
    clean = [([[(*stay[:3], 0.0) for stay in stays] for stays in people], t, b) for people, t, b in site]
    streams = streams_of(clean)
    true = {m.key: int(np.argmax(m.embedding)) for stream in streams for m in stream if hasattr(m, "embedding")}
    who = {e.key: e.identity_id for e in run(clean, merged(streams, seed)) if e.kind in LINKS}
    pairs = {(true[key], identity_id) for key, identity_id in who.items()}
    assert set(who) == set(true)
    assert len({identity_id for _, identity_id in pairs}) == len(pairs)  # nobody has another one's number
    assert len({person for person, _ in pairs}) == len(pairs)  # and nobody has two
