"""The two baselines of the matching benchmark, on tracks with answers known by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from matching.baselines import GreedyNearest, Merge, cluster, thresholds_of, together
from matching.judging import SiteJudge, final_ids
from matching.tracks import SiteTracks, read_tracks
from matching_site import A1, A2, B1, B2, clip, looks, tiny_site, tracklet

from pipeline.types import IdentityEvent, TrackKey


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> SiteTracks:
    return read_tracks(tiny_site(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def judge(tracks: SiteTracks) -> SiteJudge:
    return SiteJudge(tracks)


# -- greedy nearest neighbour -----------------------------------------------------------------------------------------


def ids_of(events: Sequence[IdentityEvent]) -> dict[TrackKey, int]:
    return final_ids(events)


def test_greedy_links_people_who_look_alike_and_no_others(tracks: SiteTracks) -> None:
    ids = ids_of(GreedyNearest(tracks, 0.3).run())
    assert ids[A1] == ids[B1] != ids[A2] == ids[B2]


def test_greedy_decides_every_twenty_frames(tracks: SiteTracks) -> None:
    times = {event.at_s for event in GreedyNearest(tracks, 0.3).run()}
    assert all(at_s % 2.0 == pytest.approx(0.0) for at_s in times)
    assert len(times) > 1


def test_greedy_without_tolerance_gives_every_track_its_own_id(tracks: SiteTracks) -> None:
    assert len(set(ids_of(GreedyNearest(tracks, -1.0).run()).values())) == 4


def test_greedy_never_gives_one_id_to_two_who_are_together(tracks: SiteTracks) -> None:
    ids = ids_of(GreedyNearest(tracks, 2.0).run())
    assert ids[A1] != ids[A2] and ids[B1] != ids[B2]


def test_greedy_joins_the_nearest_pair_first(tracks: SiteTracks) -> None:
    """B2 looks like person 1 as well, but B1 looks more like him."""
    second = [replace(c, embedding=looks(1, 0.5)) for c in tracks.clips[B2]]
    early = [replace(c, made_at_s=c.made_at_s) for c in tracks.clips[B1]]
    changed = replace(tracks, clips={**tracks.clips, B1: tuple(early), B2: tuple(second)})
    ids = ids_of(GreedyNearest(changed, 0.9).run())
    assert ids[B1] == ids[A1] != ids[B2]


def test_greedy_follows_the_running_average(tracks: SiteTracks) -> None:
    """The first look is far from the last one; the average of all looks is near enough."""
    drifting = [replace(c, embedding=looks(1, 0.4 * i)) for i, c in enumerate(tracks.clips[A1])]
    alike = [replace(c, embedding=looks(1, 0.8)) for c in tracks.clips[B1]]
    changed = replace(tracks, clips={A1: tuple(drifting), B1: tuple(alike)})
    assert 1 - float(looks(1) @ looks(1, 0.8)) > 0.1  # the first look alone would not do
    ids = ids_of(GreedyNearest(changed, 0.1).run())
    assert ids[A1] == ids[B1]


def test_greedy_says_nothing_of_tracks_without_clips(tracks: SiteTracks) -> None:
    assert GreedyNearest(replace(tracks, clips={}), 0.3).run() == []


# -- constrained clustering -------------------------------------------------------------------------------------------


def test_clusters_link_people_who_look_alike(tracks: SiteTracks) -> None:
    states = cluster(tracks.tracklets, tracks.clips)
    ids = states[2].ids
    assert ids[A1] == ids[B1] != ids[A2] == ids[B2]
    assert len(states) == 3  # one more would join two who were together
    assert states[0] == Merge(0.0, {A1: 1, A2: 2, B1: 3, B2: 4})


def test_clusters_are_as_far_apart_as_their_tracks_on_average() -> None:
    keys = [TrackKey(camera, "1", 1) for camera in "pqr"]
    angles = np.deg2rad([0.0, 20.0, 60.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    tracklets = [tracklet(key, 1, 1, 20) for key in keys]
    clips = {key: (clip(key, 1, 1.0, vector),) for key, vector in zip(keys, vectors, strict=True)}
    states = cluster(tracklets, clips)
    near, far = 1 - np.cos(np.deg2rad(20)), (2 - np.cos(np.deg2rad(60)) - np.cos(np.deg2rad(40))) / 2
    assert [state.distance for state in states] == pytest.approx([0.0, near, far], abs=1e-6)
    assert states[1].ids == {keys[0]: 1, keys[1]: 1, keys[2]: 2}


def test_no_tracks_make_no_clusters() -> None:
    assert cluster([], {}) == [Merge(0.0, {})]
    assert cluster([tracklet(A1, 1, 1, 20)], {}) == [Merge(0.0, {})]


def test_a_threshold_stops_before_the_first_merge_beyond_it() -> None:
    states = [Merge(0.0, {}), Merge(0.3, {A1: 1}), Merge(0.2, {A1: 2}), Merge(0.5, {A1: 3})]
    assert thresholds_of(states) == [(0.0, {}), (0.3, {A1: 2}), (0.5, {A1: 3})]


def test_together_means_the_same_camera_at_the_same_time() -> None:
    assert together(A1, (0.0, 2.0), A2, (2.0, 3.0))
    assert not together(A1, (0.0, 2.0), A2, (2.1, 3.0))
    assert not together(A1, (0.0, 2.0), B1, (0.0, 2.0))
