"""Decision rates of the matching benchmark: links as they were decided, and strangers before a gallery."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from matching.judging import SiteJudge
from matching.quick import Links
from matching.rates import Strangers, choices, decided_links, meet_strangers, only, span_of, true_links
from matching.tracks import SiteTracks, read_tracks
from matching_site import A1, A2, B1, B2, FPS, FRAMES, PEOPLE, WALKS, looks, tiny_site

from pipeline.types import CameraState, ClipFeature, IdentityEvent, Tick, TrackKey, Tracklet


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> SiteTracks:
    return read_tracks(tiny_site(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def judge(tracks: SiteTracks) -> SiteJudge:
    return SiteJudge(tracks)


def link(key: TrackKey, identity: int, kind: str = "handed_over", other: int | None = None) -> IdentityEvent:
    return IdentityEvent(1, kind, identity, key, 0.0, 0.0, other_identity_id=other)  # type: ignore[arg-type]


def test_decisions_are_judged_by_the_track_the_identity_had_before() -> None:
    events = [link(A1, 1, "entered"), link(A2, 2, "entered"), link(B1, 1), link(B2, 1)]
    assert decided_links(events, PEOPLE) == Links(1, 1, 1)


def test_new_people_and_those_who_left_are_no_links() -> None:
    events = [link(A1, 1, "entered"), link(A1, 1, "left"), link(B1, 3, "entered")]
    assert decided_links(events, PEOPLE) == Links(0, 0, 2)


def test_a_decision_after_a_merge_is_judged_by_the_later_track() -> None:
    merged = IdentityEvent(1, "merged", 2, None, 0.0, 0.0, other_identity_id=1)
    events = [link(A1, 1, "entered"), link(A2, 2, "entered"), merged, link(B2, 1)]
    assert decided_links(events, PEOPLE) == Links(1, 0, 1)


def test_links_with_nobody_are_false_but_for_two_nobodies() -> None:
    people = {A1: 1, A2: None, B1: None, B2: None}
    events = [link(A1, 1, "entered"), link(B1, 1), link(A2, 2, "entered"), link(B2, 2)]
    assert decided_links(events, people).false == 1
    assert true_links(people) == 0


def test_no_links_have_no_false_ones() -> None:
    assert Links().found_share == 1.0
    assert Links().false_share == 0.0
    assert Links(3, 1, 2) + Links(1, 0, 0) == Links(4, 1, 2)
    assert Links(3, 1, 1).found_share == 0.75
    assert Links(3, 1, 1).false_share == 0.25


def test_a_third_of_the_people_are_strangers_in_every_draw() -> None:
    assert list(choices({1, 2, 3}, 5)) == [{1}, {2}, {3}]
    drawn = list(choices(set(range(20)), 5))
    assert len(drawn) == 5 and {len(chosen) for chosen in drawn} == {7}
    assert drawn == list(choices(set(range(20)), 5))
    assert list(choices({1}, 5)) == []


def test_messages_of_some_tracks_are_numbered_anew_and_moved(tracks: SiteTracks) -> None:
    kept = list(only(tracks.messages, {A2}, ends=False, epoch="2", later_s=100.0))
    of_a = [message for message in kept if message.camera_id == "a"]
    assert [message.sequence for message in of_a] == list(range(1, len(of_a) + 1))
    assert {m.key for m in kept if isinstance(m, ClipFeature | Tracklet)} == {A2._replace(epoch="2")}
    assert {n for m in kept if isinstance(m, Tick) and m.camera_id == "a" for n in m.visible or ()} == {2}
    assert not any(isinstance(message, CameraState) for message in kept)
    begin_s, end_s = span_of(kept)
    assert (begin_s, end_s) == (100.0, pytest.approx(100.0 + (FRAMES - 1) / FPS))


def test_a_stranger_who_looks_like_nobody_is_taken_for_nobody(tracks: SiteTracks, judge: SiteJudge) -> None:
    assert meet_strangers(tracks, judge, 0.3) == Strangers(tracks=4, taken=0, taken_finally=0)


def test_a_stranger_who_looks_like_somebody_is_taken_for_him(tmp_path: Path) -> None:
    walks = [(n, camera, 3 if person == 2 else person, *rest) for n, camera, person, *rest in WALKS]
    tracks = read_tracks(tiny_site(tmp_path, walks))
    alike = {key: tuple(replace(c, embedding=looks(1, 0.1)) for c in of) for key, of in tracks.clips.items()}
    by_number = {(c.key, c.sequence): c for of in alike.values() for c in of}
    messages = tuple(by_number[m.key, m.sequence] if isinstance(m, ClipFeature) else m for m in tracks.messages)
    twins = replace(tracks, clips=alike, messages=messages)
    met = meet_strangers(twins, SiteJudge(twins), 0.3)
    assert met.tracks == 4
    assert met.taken_share > 0.4


def test_a_track_that_changed_over_to_a_stranger_is_not_in_the_gallery(tmp_path: Path) -> None:
    """In camera a one track goes from person 1 to person 2, whom his own tracks would find there again."""
    tracks = read_tracks(tiny_site(tmp_path, WALKS))
    alike = tuple(replace(m, embedding=looks(1)) if isinstance(m, ClipFeature) else m for m in tracks.messages)
    tracks = replace(tracks, messages=alike)
    judge = SiteJudge(tracks)
    assert judge.people_shown == {key: frozenset({person}) for key, person in judge.people_of_tracks.items()}
    taken = meet_strangers(tracks, judge, 0.3)
    both = dict.fromkeys(judge.people_shown, frozenset({1, 2}))
    changed = SimpleNamespace(people_of_tracks=judge.people_of_tracks, people_shown=both)
    nobody = meet_strangers(tracks, changed, 0.3)  # every track of the gallery shows the stranger: none is left
    assert taken.taken > 0 and (nobody.tracks, nobody.taken) == (taken.tracks, 0)
