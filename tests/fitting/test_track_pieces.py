"""Pieces of tracks that show one person for certain."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import tracklet

from pipeline.fitting.pieces import LONGEST_PIECE_S, cut_tracks, origin_of

SURE = 0.45  # tracker.high_confidence


def spans(pieces):
    return [(float(p.captured_at_s[0]), float(p.captured_at_s[-1])) for p in pieces]


def test_a_short_sure_track_alone_stays_whole_and_keeps_its_key():
    track = tracklet("a", 1, 0.0, 20.0)
    (piece,) = cut_tracks([track], SURE)
    assert piece is track and origin_of(piece.key) == track.key


def test_no_tracks_give_no_pieces_and_one_box_is_a_piece():
    assert cut_tracks([], SURE) == []
    (piece,) = cut_tracks([tracklet("a", 1, 3.0, 3.0)], SURE)
    assert len(piece.captured_at_s) == 1


def test_a_long_track_is_cut_in_equal_parts_with_keys_of_their_own():
    track = tracklet("a", 1, 0.0, 2.5 * LONGEST_PIECE_S)
    pieces = cut_tracks([track], SURE)
    assert len(pieces) == 3
    assert all(end - start <= LONGEST_PIECE_S for start, end in spans(pieces))
    assert len({p.key for p in pieces}) == 3
    assert {origin_of(p.key) for p in pieces} == {track.key}
    assert np.array_equal(np.concatenate([p.frame_index for p in pieces]), track.frame_index)


def test_a_track_is_cut_where_nobody_was_seen_for_more_than_a_second():
    track = tracklet("a", 1, 0.0, 10.0)
    confidence = np.where((track.captured_at_s > 4.0) & (track.captured_at_s < 5.6), 0.0, 0.9)
    (_, first_end), (second_start, _) = spans(cut_tracks([replace(track, confidence=confidence)], SURE))
    assert first_end < second_start == pytest.approx(5.6)
    short = np.where((track.captured_at_s > 4.0) & (track.captured_at_s < 4.8), 0.0, 0.9)
    assert len(cut_tracks([replace(track, confidence=short)], SURE)) == 1


def test_a_track_is_cut_in_the_middle_of_a_weak_stretch():
    track = tracklet("a", 1, 0.0, 10.0)
    confidence = np.where((track.captured_at_s >= 4.0) & (track.captured_at_s <= 6.0), 0.2, 0.9)
    pieces = cut_tracks([replace(track, confidence=confidence)], SURE)
    assert spans(pieces)[1][0] == pytest.approx(5.0)
    blink = np.where(np.isclose(track.captured_at_s, 4.0), 0.2, 0.9)
    assert len(cut_tracks([replace(track, confidence=blink)], SURE)) == 1


def passing(camera, track_id, start_s, end_s, lefts):
    """Somebody whose left edge moves evenly from one place to another."""
    track = tracklet(camera, track_id, start_s, end_s)
    left = np.linspace(*lefts, len(track.captured_at_s))
    xyxy = np.stack([left, np.zeros_like(left), left + 20, np.full_like(left, 50.0)], axis=1)
    return replace(track, xyxy=xyxy)


def test_two_people_whose_boxes_coincide_are_both_cut_where_they_are_nearest():
    right, left = passing("a", 1, 0.0, 10.0, (0, 100)), passing("a", 2, 0.0, 10.0, (100, 0))
    pieces = cut_tracks([right, left], SURE)
    assert [origin_of(p.key).track_id for p in pieces] == [1, 1, 2, 2]
    assert spans(pieces)[1][0] == pytest.approx(5.0, abs=0.11)


def test_people_in_other_cameras_or_epochs_or_far_apart_cut_nothing():
    one, other = passing("a", 1, 0.0, 10.0, (0, 100)), passing("b", 2, 0.0, 10.0, (100, 0))
    later = replace(other, key=other.key._replace(camera_id="a", epoch="2"))
    far = passing("a", 3, 0.0, 10.0, (500, 600))
    assert len(cut_tracks([one, other, later, far], SURE)) == 4
