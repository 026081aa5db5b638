"""Which of the matcher's links are clear enough to learn ways and clocks from, corrections applied."""

from dataclasses import replace

import numpy as np
from fitting_scenes import clip, tracklet

from pipeline.config import Config
from pipeline.fitting.footage import Footage
from pipeline.fitting.links import clear_links, stays_of_links
from pipeline.types import CameraState, Evidence, IdentityEvent, TrackKey

A, B, C = (TrackKey("a", "1", n) for n in (1, 2, 3))
THRESHOLD, MARGIN = 0.4, 0.05


def said(kind, identity_id, key, cost=None, second=None, other=None):
    evidence = Evidence(cost, THRESHOLD, None if second is None else (99, second), cost=cost)
    return IdentityEvent(1, kind, identity_id, key, 0.0, 1.0, evidence=evidence, other_identity_id=other)


def links(*events):
    return clear_links(events, THRESHOLD, MARGIN)


def test_a_new_person_is_clear_and_a_link_by_how_near_it_and_the_runner_up_are():
    new = said("entered", 1, A)
    assert links() == {}
    assert links(new) == {A: 1}
    assert links(new, said("handed_over", 1, B, 0.34)) == {A: 1, B: 1}
    assert links(new, said("handed_over", 1, B, 0.37)) == {A: 1}
    assert links(new, said("handed_over", 1, B, 0.3, second=0.34)) == {A: 1}
    assert links(new, said("handed_over", 1, B)) == {A: 1}


def test_the_last_word_about_a_track_counts():
    begin = [said("entered", 1, A), said("entered", 2, B), said("handed_over", 1, C, 0.1)]
    assert links(*begin, said("reassigned", 2, C, 0.2, other=1)) == {A: 1, B: 2, C: 2}
    assert links(*begin, said("reassigned", 2, C, 0.39, other=1)) == {A: 1, B: 2}
    assert links(*begin, said("split", 3, C, 0.5, other=1)) == {A: 1, B: 2, C: 3}


def test_merged_people_are_one_and_an_unclear_merge_leaves_those_in_doubt_whom_it_moved():
    begin = [said("entered", 1, A), said("entered", 2, B), said("continued", 2, C, 0.1)]
    assert links(*begin, said("merged", 2, None, 0.2, other=1)) == {A: 1, B: 1, C: 1}
    unclear = said("merged", 2, None, 0.38, other=1)
    assert links(*begin, unclear) == {A: 1}
    assert links(*begin, unclear, said("split", 3, C, other=1)) == {A: 1, C: 3}


def test_stays_are_those_of_the_people_finally_known():
    looks = np.eye(6)
    messages, times = [], {("a", 1): 0.0, ("b", 1): 20.0, ("b", 2): 21.0}
    for number, ((camera, track), start_s) in enumerate(times.items()):
        own = looks[0 if track == 1 else 3]
        for at_s in range(4):
            messages.append(clip(camera, track, own + 0.05 * looks[at_s % 3 + 1], start_s + at_s, start_s + at_s + 0.5))
        messages.append(tracklet(camera, track, start_s, start_s + 5, left=100.0 + 200 * number))
    ordered = [replace(m, sequence=i + 1) for i, m in enumerate(messages)]
    ends = tuple(CameraState(c, "1", 99, 60.0, "end") for c in ("a", "b"))
    stays = stays_of_links(Footage(("a", "b"), (*ordered, *ends)), Config(), THRESHOLD)
    assert [(s.camera_id, s.person_id, s.start_s, s.end_s) for s in stays] == [
        ("a", 1, 0.0, 5.0),
        ("b", 1, 20.0, 25.0),
        ("b", 2, 21.0, 26.0),
    ]
