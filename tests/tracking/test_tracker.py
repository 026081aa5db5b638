"""Births, deaths and ids of `PersonTracker`, in seconds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_walks import HEIGHT_PX, START_S, WIDTH_PX, detections_at, every, follow, hidden, walker

from pipeline.config import TrackerConfig
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Detections, Frame

CONFIG = TrackerConfig(
    high_confidence=0.45, low_confidence=0.1, birth_confidence=0.5, match_iou=0.2, confirm_s=0.1, lost_s=2.0
)


def new_tracker(epoch="1", **options):
    return PersonTracker("cam", epoch, CONFIG, **options)


def story_of(walks, times_s, **options):
    return follow(walks, times_s, new_tracker(**options))


def test_empty_frames_give_nothing():
    story = story_of([], every(0.1, 2.0))
    assert story.tracklets == {}
    assert all(len(tracks) == 0 for tracks in story.frames.values())


def test_finish_without_frames_gives_nothing():
    assert new_tracker().finish() == []


def test_ids_count_from_one_in_every_instance():
    walks = [walker(100, 20), walker(400, -20)]
    first, second = story_of(walks, every(0.1, 1.0)), story_of(walks, every(0.1, 1.0))
    assert sorted(first.tracklets) == sorted(second.tracklets) == [1, 2]


def test_a_tracklet_begins_with_the_first_box_though_it_was_shown_later():
    story = story_of([walker(100, 20)], every(0.04, 1.0))
    shown = [time_s for time_s, tracks in story.frames.items() if len(tracks)]
    assert shown[0] == pytest.approx(0.12)  # the first frame at least confirm_s after birth
    tracklet = story.tracklets[1]
    assert tracklet.captured_at_s[0] == START_S
    assert tracklet.frame_index.tolist() == list(range(26))
    np.testing.assert_allclose(tracklet.xyxy[0], [100, 100, 140, 220])


def test_births_names_the_first_box_of_open_confirmed_tracks():
    tracker = new_tracker()
    for i, time_s in enumerate(every(0.1, 0.5)):
        tracker.update_boxes(i, time_s, WIDTH_PX, HEIGHT_PX, detections_at([walker(100, 0, born_s=0.2)], time_s))
    assert tracker.births() == {1: pytest.approx(0.2)}


def test_a_flicker_is_never_a_track():
    story = story_of([walker(100, 0, gone_s=0.0), walker(400, 0, born_s=0.5, gone_s=0.54)], every(0.04, 2.0))
    assert story.tracklets == {}


@pytest.mark.parametrize("frames_per_s", [5, 10, 25])
def test_births_and_deaths_are_the_same_at_any_frame_rate(frames_per_s):
    walks = [
        walker(100, 60, gone_s=3.0),
        hidden(walker(500, -50, y_px=200), 2.0, 3.0),
        walker(300, 0, y_px=10, born_s=1.0),
    ]
    story = story_of(walks, every(1 / frames_per_s, 6.0))
    assert sorted(story.tracklets) == [1, 2, 3]
    begin = {i: t.captured_at_s[0] - START_S for i, t in story.tracklets.items()}
    last = {i: t.captured_at_s[-1] - START_S for i, t in story.tracklets.items()}
    assert begin == pytest.approx({1: 0.0, 2: 0.0, 3: 1.0}, abs=1e-6)
    gone = min(story.tracklets, key=lambda i: last[i])
    assert last[gone] == pytest.approx(3.0, abs=1e-6)
    ended_s = story.tracklets[gone].ended_at_s - START_S
    assert 5.0 < ended_s <= 5.0 + 1 / frames_per_s + 1e-3


def test_uneven_frames_follow_the_clock_not_the_count():
    rng = np.random.default_rng(3)
    times_s = np.cumsum(rng.choice([0.04, 0.2, 0.5], 30)).tolist()
    assert sorted(story_of([walker(50, 40), walker(600, -40, y_px=200)], times_s).tracklets) == [1, 2]


def test_crossing_people_keep_their_ids():
    right, left = walker(100, 80), walker(420, -80, y_px=110)
    story = story_of([right, hidden(left, 1.8, 2.2)], every(0.1, 4.0))
    assert sorted(story.tracklets) == [1, 2]
    for tracklet in story.tracklets.values():
        steps = np.diff(tracklet.xyxy[:, 0])
        assert (np.sign(steps) == np.sign(steps[0])).all()  # nobody turned round at the crossing


def test_weak_detections_continue_a_track_and_never_begin_one():
    fading = walker(100, 20)
    weak = walker(100, 20, confidence=0.2)
    story = story_of(
        [lambda t: fading(t) if t < 1.0 else weak(t), walker(400, 0, confidence=0.3)],
        every(0.1, 3.0),
    )
    assert list(story.tracklets) == [1]
    assert len(story.tracklets[1].frame_index) == 31
    assert story.tracklets[1].confidence[-1] == pytest.approx(0.2)


def test_an_occlusion_shorter_than_lost_s_is_bridged_and_filled():
    story = story_of([hidden(walker(100, 40), 2.0, 3.5)], every(0.1, 5.0))
    assert list(story.tracklets) == [1]
    tracklet = story.tracklets[1]
    assert tracklet.frame_index.tolist() == list(range(51))
    filled = tracklet.confidence == 0
    assert filled.sum() == 15
    np.testing.assert_allclose(tracklet.xyxy[:, 0], 100 + 40 * np.arange(51) * 0.1, atol=0.01)
    assert story.ids_at(2.5) == []  # an interpolated box is not a visible track


def test_an_occlusion_longer_than_lost_s_ends_the_track():
    story = story_of([hidden(walker(100, 20), 2.0, 4.3)], every(0.1, 6.0))
    assert sorted(story.tracklets) == [1, 2]
    first = story.tracklets[1]
    assert first.captured_at_s[-1] - START_S == pytest.approx(1.9)
    assert first.ended_at_s - START_S == pytest.approx(4.0)  # the first frame more than lost_s later
    assert not first.left_picture


def test_a_person_walking_out_has_left_the_picture_and_one_who_vanishes_inside_has_not():
    out, inside = walker(400, 100, gone_s=1.95), walker(200, 0, gone_s=2.0, y_px=200)
    story = story_of([out, inside], every(0.1, 5.0))
    by_row = {round(float(t.xyxy[0, 1])): t for t in story.tracklets.values()}
    assert by_row[100].left_picture
    assert not by_row[200].left_picture


def test_a_person_vanishing_in_an_exit_has_left_the_picture():
    exits = [[(190, 310), (250, 310), (250, 330), (190, 330)]]
    assert story_of([walker(200, 0, gone_s=2.0, y_px=200)], every(0.1, 5.0), exits=exits).tracklets[1].left_picture


def test_finish_ends_what_is_open_at_the_last_frame():
    tracker = new_tracker()
    story = follow([walker(100, 20)], every(0.1, 1.0), tracker)
    assert story.tracklets[1].ended_at_s == pytest.approx(START_S + 1.0)
    assert story.tracklets[1].sequence == 0
    assert story.tracklets[1].key == ("cam", "1", 1)
    assert tracker.finish() == []


def test_ids_go_on_after_finish():
    tracker = new_tracker()
    follow([walker(100, 20)], every(0.1, 1.0), tracker)
    later = follow([walker(100, 20)], every(0.1, 1.0), tracker, START_S + 10, 100)
    assert list(later.tracklets) == [2]


def test_a_repeated_or_late_frame_changes_nothing():
    tracker = new_tracker()
    walk = [walker(100, 20)]
    for i, time_s in enumerate([0.0, 0.1, 0.2]):
        tracker.update_boxes(i, time_s, WIDTH_PX, HEIGHT_PX, detections_at(walk, time_s))
    for time_s in (0.2, 0.1):
        tracks, ended = tracker.update_boxes(9, time_s, WIDTH_PX, HEIGHT_PX, detections_at([walker(500, 0)], time_s))
        assert len(tracks) == 0
        assert ended == []
    tracks, _ = tracker.update_boxes(3, 0.3, WIDTH_PX, HEIGHT_PX, detections_at(walk, 0.3))
    assert tracks.ids.tolist() == [1]
    assert tracker.finish()[0].frame_index.tolist() == [0, 1, 2, 3]


def test_a_clock_that_jumps_far_back_ends_the_tracks_and_starts_again():
    tracker = new_tracker()
    walk = [walker(100, 0)]
    for i in range(5):
        tracker.update_boxes(i, 1000 + i * 0.1, WIDTH_PX, HEIGHT_PX, detections_at(walk, 0.0))
    _, ended = tracker.update_boxes(5, 10.0, WIDTH_PX, HEIGHT_PX, detections_at(walk, 0.0))
    assert [(t.key.track_id, t.ended_at_s) for t in ended] == [(1, pytest.approx(1000.4))]
    for i in range(6, 10):
        tracks, _ = tracker.update_boxes(i, 10 + (i - 5) * 0.1, WIDTH_PX, HEIGHT_PX, detections_at(walk, 0.0))
    assert tracks.ids.tolist() == [2]


def test_a_gap_in_the_stream_longer_than_lost_s_ends_the_tracks_at_the_next_frame():
    story = story_of([walker(100, 0)], [*every(0.1, 1.0), 30.0, 30.1, 30.2])
    assert sorted(story.tracklets) == [1, 2]
    assert story.tracklets[1].ended_at_s - START_S == pytest.approx(30.0)


def test_one_frame_a_second_is_enough_to_follow_somebody_slow():
    assert list(story_of([walker(100, 10)], every(1.0, 10.0)).tracklets) == [1]


def test_predicted_boxes_go_on_moving_without_changing_the_tracker():
    tracker = new_tracker()
    for i, time_s in enumerate(every(0.1, 2.0)):
        tracker.update_boxes(i, time_s, WIDTH_PX, HEIGHT_PX, detections_at([walker(100, 50)], time_s))
    ahead = tracker.predicted(2.2)
    assert ahead.ids.tolist() == [1]
    assert ahead.confidence.tolist() == [0.0]
    assert ahead.xyxy[0, 0] == pytest.approx(210, abs=2)
    np.testing.assert_array_equal(tracker.predicted(2.2).xyxy, ahead.xyxy)
    assert len(new_tracker().predicted(1.0)) == 0


def test_update_takes_the_size_from_the_picture_and_equals_update_boxes():
    with_pictures, without = new_tracker(), new_tracker()
    picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for i, time_s in enumerate(every(0.1, 2.0)):
        detections = detections_at([walker(500, 60)], time_s)
        a, _ = with_pictures.update(Frame("cam", "1", i, time_s, picture), detections)
        b, _ = without.update_boxes(i, time_s, WIDTH_PX, HEIGHT_PX, detections)
        np.testing.assert_array_equal(a.xyxy, b.xyxy)
    a, b = with_pictures.finish()[0], without.finish()[0]
    assert (a.left_picture, a.ended_at_s) == (b.left_picture, b.ended_at_s) == (True, 2.0)


@pytest.mark.parametrize(("camera", "epoch"), [("other", "1"), ("cam", "2")])
def test_a_frame_of_another_camera_or_epoch_is_refused(camera, epoch):
    frame = Frame(camera, epoch, 0, 0.0, np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="expected camera and epoch"):
        new_tracker().update(frame, Detections.empty())


def test_the_input_is_not_touched():
    detections = detections_at([walker(100, 20), walker(300, 0, confidence=0.95)], 0.0)
    before = detections.xyxy.copy()
    new_tracker().update_boxes(0, 0.0, WIDTH_PX, HEIGHT_PX, detections)
    np.testing.assert_array_equal(detections.xyxy, before)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_permuting_the_detections_does_not_change_the_tracks(seed):
    rng = np.random.default_rng(seed)
    plain, shuffled = new_tracker(), new_tracker()
    boxes = rng.uniform(0, 300, (8, 2)).astype(np.float32)
    for i in range(12):
        boxes = boxes + rng.normal(0, 4, boxes.shape).astype(np.float32)
        confidence = rng.choice([0.2, 0.7, 0.9], len(boxes)).astype(np.float32)
        xyxy = np.concatenate([boxes, boxes + np.array([40, 90], np.float32)], axis=1)
        order = rng.permutation(len(boxes))
        a, _ = plain.update_boxes(i, i * 0.1, WIDTH_PX, HEIGHT_PX, Detections(xyxy, confidence))
        b, _ = shuffled.update_boxes(i, i * 0.1, WIDTH_PX, HEIGHT_PX, Detections(xyxy[order], confidence[order]))
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.xyxy, b.xyxy)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.04, 0.1, 0.2]))
def test_whatever_is_detected_ids_are_unique_and_tracklets_hold_what_was_shown(seed, dt_s):
    rng = np.random.default_rng(seed)
    tracker = new_tracker()
    shown: dict[tuple[int, int], np.ndarray] = {}
    tracklets = []
    for i in range(40):
        low = rng.uniform(0, 300, (rng.integers(0, 6), 2)).astype(np.float32)
        found = Detections(np.concatenate([low, low + 80], axis=1), rng.random(len(low)).astype(np.float32))
        tracks, ended = tracker.update_boxes(i, i * dt_s, WIDTH_PX, HEIGHT_PX, found)
        tracklets += ended
        assert len(set(tracks.ids.tolist())) == len(tracks)
        assert (tracks.ids >= 1).all()
        shown |= {(int(k), i): box for k, box in zip(tracks.ids, tracks.xyxy, strict=True)}
    tracklets += tracker.finish()
    assert sorted(t.key.track_id for t in tracklets) == list(range(1, len(tracklets) + 1))
    kept = {(t.key.track_id, int(f)): b for t in tracklets for f, b in zip(t.frame_index, t.xyxy, strict=True)}
    for key, box in shown.items():
        np.testing.assert_allclose(kept[key], box)
    for tracklet in tracklets:
        assert (np.diff(tracklet.frame_index) > 0).all()
        assert tracklet.confidence[0] > 0
        assert tracklet.confidence[-1] > 0
        assert tracklet.ended_at_s >= tracklet.captured_at_s[-1]


def walked(walks, times_s):
    """A tracker that has seen these walks."""
    tracker = new_tracker()
    for i, time_s in enumerate(times_s):
        tracker.update_boxes(i, time_s, WIDTH_PX, HEIGHT_PX, detections_at(walks, time_s))
    return tracker


def test_a_split_track_ends_at_the_change_and_goes_on_under_a_fresh_id():
    tracker = walked([walker(100, 20), walker(400, -20)], every(0.1, 2.0))
    first, new_id = tracker.split(1, 1.25)
    assert (first.key.track_id, new_id) == (1, 3)
    assert first.captured_at_s[-1] == pytest.approx(1.2)
    assert first.ended_at_s == pytest.approx(2.0)
    assert not first.left_picture
    assert tracker.births() == {2: 0.0, 3: pytest.approx(1.3)}
    tracks, _ = tracker.update_boxes(
        21, 2.1, WIDTH_PX, HEIGHT_PX, detections_at([walker(100, 20), walker(400, -20)], 2.1)
    )
    assert tracks.ids.tolist() == [2, 3]
    second, rest = tracker.finish()
    assert (second.key.track_id, rest.key.track_id) == (2, 3)
    assert len(second.captured_at_s) == 22
    assert np.concatenate([first.frame_index, rest.frame_index]).tolist() == list(range(22))


def test_a_track_that_is_lost_can_be_split_and_is_found_again_as_the_new_one():
    walk = hidden(walker(100, 20), 1.0, 1.5)
    tracker = walked([walk], every(0.1, 1.3))
    _, new_id = tracker.split(1, 0.55)
    tracks, _ = tracker.update_boxes(15, 1.5, WIDTH_PX, HEIGHT_PX, detections_at([walk], 1.5))
    assert tracks.ids.tolist() == [new_id]


@pytest.mark.parametrize(("track_id", "after_s"), [(0, 0.5), (7, 0.5), (1, -0.5), (1, 1.0), (1, 9.0)])
def test_nothing_is_split_that_is_not_open_or_has_no_box_on_both_sides(track_id, after_s):
    tracker = walked([walker(100, 20), walker(400, -20, born_s=1.0)], every(0.1, 1.0))  # the second one is tentative
    assert tracker.split(track_id, after_s) is None
    (tracklet,) = tracker.finish()
    assert len(tracklet.captured_at_s) == 11
