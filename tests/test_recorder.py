"""What a run leaves behind: rows with final and online ids, and the identity log."""

import numpy as np
import pytest

from pipeline.background.crops import CropStore
from pipeline.background.local_tracks import note_erased, read_erased
from pipeline.bus.lines import event_from_json
from pipeline.runtime.recorder import UNIDENTIFIED, IdentityBook, RunRecorder
from pipeline.types import FramePointer, IdentityEvent, TrackKey, Tracklet


def key(track_id, camera="door", epoch="1"):
    return TrackKey(camera, epoch, track_id)


def linked(sequence, identity_id, track, decided_at_s, kind="entered", **others):
    return IdentityEvent(sequence, kind, identity_id, track, 0.0, decided_at_s, **others)


def tracklet(track, frames, x=10.0, confidence=0.9, fps=10.0):
    n = len(frames)
    boxes = np.array([[x + f, 20.0, x + f + 30.0, 80.0] for f in frames])
    times = [f / fps for f in frames]
    return Tracklet(track, 1, times[-1], True, frames, times, boxes, np.full(n, confidence))


@pytest.fixture
def recorder(tmp_path):
    return RunRecorder(tmp_path, ["door", "hall"], crops=None, references=None)


def rows(tmp_path, folder="tracks", camera="door"):
    return (tmp_path / folder / f"{camera}.txt").read_text().splitlines()


def ids(tmp_path, folder="tracks", camera="door"):
    return [(int(f), int(i)) for f, i, *_ in (row.split(",") for row in rows(tmp_path, folder, camera))]


def test_one_track_gives_exactly_these_rows(tmp_path, recorder):
    recorder.event(linked(1, 7, key(1), decided_at_s=0.1))
    recorder.tracklet(tracklet(key(1), [0, 1, 2]))
    recorder.close()
    assert rows(tmp_path) == [
        "1,7,10.00,20.00,30.00,60.00,0.900,-1,-1,-1",
        "2,7,11.00,20.00,30.00,60.00,0.900,-1,-1,-1",
        "3,7,12.00,20.00,30.00,60.00,0.900,-1,-1,-1",
    ]
    assert rows(tmp_path, "tracks_online") == [
        "1,0,10.00,20.00,30.00,60.00,0.900,-1,-1,-1",
        "2,0,11.00,20.00,30.00,60.00,0.900,-1,-1,-1",  # decided with this frame: known only after it
        "3,7,12.00,20.00,30.00,60.00,0.900,-1,-1,-1",
    ]


def test_a_run_without_anybody_leaves_complete_empty_files(tmp_path, recorder):
    recorder.close()
    assert rows(tmp_path) == rows(tmp_path, "tracks_online", "hall") == []
    assert (tmp_path / "identities.jsonl").read_text() == ""
    assert sorted(p.name for p in (tmp_path / "tracks").iterdir()) == ["door.txt", "hall.txt"]
    assert rows(tmp_path, "tracks_local") == []
    assert (tmp_path / "tracks_local" / "keys.csv").read_text() == "camera,track,epoch,track_id\n"


def test_tracks_that_were_never_identified_count_from_a_million(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.event(linked(1, 0, key(2), 0.1, kind="unknown"))
    recorder.tracklet(tracklet(key(2), [0], x=100))
    recorder.close()
    assert ids(tmp_path) == [(1, UNIDENTIFIED), (1, UNIDENTIFIED + 1)]
    assert ids(tmp_path, "tracks_online") == [(1, 0), (1, 0)]  # 0 may occur more than once


def test_ids_of_tracks_that_were_never_identified_are_unique_over_the_site_and_in_order_of_cameras(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1, "hall"), [0]))
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.tracklet(tracklet(key(2), [5]))
    recorder.tracklet(tracklet(key(2, "hall"), [5]))
    recorder.close()
    assert ids(tmp_path) == [(1, UNIDENTIFIED), (6, UNIDENTIFIED + 1)]
    assert ids(tmp_path, camera="hall") == [(1, UNIDENTIFIED + 2), (6, UNIDENTIFIED + 3)]


def test_local_tracks_count_over_epochs_and_keep_boxes_that_an_identity_has_twice(tmp_path, recorder):
    for n, track in enumerate((key(1), key(7), key(1, epoch="b"))):
        recorder.event(linked(n + 1, 4, track, -1.0))
    recorder.tracklet(tracklet(key(7), [0, 1]))
    recorder.tracklet(tracklet(key(1), [1, 2], x=200, confidence=0.8))
    recorder.tracklet(tracklet(key(1, epoch="b"), [8, 9]))
    recorder.tracklet(tracklet(key(3, "hall"), [0]))
    recorder.close()
    assert ids(tmp_path) == [(1, 4), (2, 4), (3, 4), (9, 4), (10, 4)]
    assert recorder.doubled_boxes == 1
    assert ids(tmp_path, "tracks_local") == [(1, 1), (2, 1), (2, 2), (3, 2), (9, 3), (10, 3)]
    assert rows(tmp_path, "tracks_local")[0] == "1,1,10.00,20.00,30.00,60.00,0.900,-1,-1,-1"
    assert (tmp_path / "tracks_local" / "keys.csv").read_text().splitlines()[1:] == [
        "door,1,1,7",
        "door,2,1,1",
        "door,3,b,1",
        "hall,1,1,3",
    ]


def test_frames_between_two_detections_are_interpolated_with_confidence_0(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1), [0, 4]))
    recorder.close()
    found = [row.split(",") for row in rows(tmp_path)]
    assert [(r[0], r[2], r[6]) for r in found] == [
        ("1", "10.00", "0.900"),
        ("2", "11.00", "0.000"),
        ("3", "12.00", "0.000"),
        ("4", "13.00", "0.000"),
        ("5", "14.00", "0.900"),
    ]


def test_of_two_boxes_of_one_identity_in_a_frame_the_surer_one_stays(tmp_path, recorder):
    for n, track in enumerate((key(1), key(2))):
        recorder.event(linked(n + 1, 7, track, -1.0))
    recorder.tracklet(tracklet(key(1), [0, 1], confidence=0.5))
    recorder.tracklet(tracklet(key(2), [1, 2], x=200, confidence=0.8))
    recorder.close()
    assert ids(tmp_path) == [(1, 7), (2, 7), (3, 7)]
    assert rows(tmp_path)[1].startswith("2,7,201.00")


def test_rows_stand_in_order_of_frame_and_id(tmp_path, recorder):
    recorder.event(linked(1, 9, key(1), -1.0))
    recorder.event(linked(2, 3, key(2), -1.0))
    recorder.tracklet(tracklet(key(1), [0, 1]))
    recorder.tracklet(tracklet(key(2), [0, 1], x=200))
    recorder.close()
    assert ids(tmp_path) == [(1, 3), (1, 9), (2, 3), (2, 9)]


def test_a_merge_is_applied_to_the_final_ids_and_not_to_the_online_ones(tmp_path, recorder):
    recorder.event(linked(1, 1, key(1), -1.0))
    recorder.event(linked(2, 2, key(2), -1.0))
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.tracklet(tracklet(key(2), [1], x=200))
    recorder.event(linked(3, 2, None, 5.0, kind="merged", other_identity_id=1))
    recorder.close()
    assert ids(tmp_path) == [(1, 1), (2, 1)]
    assert ids(tmp_path, "tracks_online") == [(1, 1), (2, 2)]


def test_a_reassigned_track_is_finally_the_later_identity(tmp_path, recorder):
    recorder.event(linked(1, 1, key(1), 0.05))
    recorder.event(linked(2, 2, key(1), 0.15, kind="reassigned", other_identity_id=1))
    recorder.tracklet(tracklet(key(1), [0, 1, 2]))
    recorder.close()
    assert ids(tmp_path) == [(1, 2), (2, 2), (3, 2)]
    assert ids(tmp_path, "tracks_online") == [(1, 0), (2, 1), (3, 2)]


def test_the_rows_of_a_forgotten_person_are_not_written(tmp_path, recorder):
    recorder.event(linked(1, 1, key(1), -1.0))
    recorder.event(linked(2, 2, key(2), -1.0))
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.tracklet(tracklet(key(2), [0], x=200))
    recorder.event(linked(3, 1, None, 5.0, kind="forgotten"))
    recorder.close()
    assert ids(tmp_path) == ids(tmp_path, "tracks_online") == [(1, 2)]
    assert ids(tmp_path, "tracks_local") == [(1, 2)]
    assert (tmp_path / "tracks_local" / "keys.csv").read_text().splitlines()[1:] == ["door,2,1,2"]


def test_frame_numbers_go_on_where_a_new_epoch_counts_from_0_again(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1, epoch="a"), [0, 1, 2]))
    recorder.tracklet(tracklet(key(1, epoch="b"), [0, 1]))
    recorder.close()
    assert [frame for frame, _ in ids(tmp_path)] == [1, 2, 3, 4, 5]


def test_a_files_epochs_that_go_on_counting_keep_their_numbers(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1, epoch="1"), [0, 1]))
    recorder.tracklet(tracklet(key(1, epoch="2"), [7, 8]))
    recorder.close()
    assert [frame for frame, _ in ids(tmp_path)] == [1, 2, 8, 9]


def test_every_event_is_one_line_of_the_log_in_order(tmp_path, recorder):
    events = [linked(1, 1, key(1), 0.5), linked(2, 1, key(1), 9.0, kind="left")]
    for event in events:
        assert recorder.event(event) == []
    lines = (tmp_path / "identities.jsonl").read_text().splitlines()
    assert [event_from_json(line).sequence for line in lines] == [1, 2]
    assert recorder.event_kinds == {"entered": 1, "left": 1}


def test_what_left_says_is_no_new_assignment():
    book = IdentityBook()
    book.take(linked(1, 4, key(1), 1.0))
    book.take(linked(2, 5, key(1), 2.0, kind="left"))
    assert book.final(key(1)) == 4 and book.final(key(2)) == 0
    assert book.online(key(1), np.array([1.0, 1.1, 3.0])).tolist() == [0, 4, 4]


def test_merges_in_a_ring_end():
    book = IdentityBook()
    book.take(linked(1, 1, key(1), 1.0))
    book.take(linked(2, 1, None, 2.0, kind="merged", other_identity_id=2))
    book.take(linked(3, 2, None, 2.0, kind="merged", other_identity_id=1))
    assert book.final(key(1)) in (1, 2)


def test_online_ids_follow_a_merge_from_when_it_was_said(tmp_path, recorder):
    recorder.event(linked(1, 1, key(1), -1.0))
    recorder.event(linked(2, 2, key(2), -1.0))
    recorder.event(linked(3, 2, None, 0.15, kind="merged", other_identity_id=1))
    recorder.tracklet(tracklet(key(2), [0, 1, 2]))
    recorder.close()
    assert ids(tmp_path, "tracks_online") == [(1, 2), (2, 2), (3, 1)]


def test_merged_then_split_while_the_track_is_open_then_reassigned_back(tmp_path, recorder):
    recorder.event(linked(1, 2, key(1), 0.05))
    recorder.event(linked(2, 2, None, 0.15, kind="merged", other_identity_id=1))
    recorder.event(linked(3, 3, key(1), 0.25, kind="split", other_identity_id=1))
    recorder.event(linked(4, 1, key(1), 0.35, kind="reassigned", other_identity_id=3))
    recorder.tracklet(tracklet(key(1), [0, 1, 2, 3, 4]))
    recorder.close()
    assert {i for _, i in ids(tmp_path)} == {1}
    assert [i for _, i in ids(tmp_path, "tracks_online")] == [0, 2, 1, 3, 1]


def test_a_track_that_was_unknown_and_found_later_is_finally_somebody(tmp_path, recorder):
    recorder.event(linked(1, 0, key(1), 1.0, kind="unknown"))
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.event(linked(2, 4, key(1), 9.0, kind="reassigned", other_identity_id=0))
    recorder.close()
    assert ids(tmp_path) == [(1, 4)]


def test_a_track_that_was_taken_for_somebody_forgotten_keeps_its_rows(tmp_path, recorder):
    recorder.event(linked(1, 1, key(1), -1.0))
    recorder.event(linked(2, 2, key(1), 0.05, kind="reassigned", other_identity_id=1))
    recorder.tracklet(tracklet(key(1), [0, 1]))
    recorder.event(linked(3, 1, None, 5.0, kind="forgotten"))
    recorder.close()
    assert ids(tmp_path) == [(1, 2), (2, 2)] and ids(tmp_path, "tracks_online") == [(1, 0), (2, 2)]


def test_tracks_that_were_erased_while_the_run_went_on_are_not_written_at_its_end(tmp_path, recorder):
    recorder.tracklet(tracklet(key(1), [0]))
    recorder.tracklet(tracklet(key(2), [0], x=200))
    note_erased(tmp_path, {key(1)})
    note_erased(tmp_path, {key(9)})
    recorder.close()
    assert ids(tmp_path) == [(1, UNIDENTIFIED)] and ids(tmp_path, "tracks_local") == [(1, 2)]
    assert read_erased(tmp_path) == set()
    note_erased(tmp_path, {key(2)})
    assert read_erased(tmp_path) == set(), "the run is over"


# -- crops


@pytest.fixture
def with_crops(tmp_path):
    """A recorder that keeps crops; `picture(track, identity)` stores one as an event with a frame would."""
    store = CropStore(tmp_path, per_identity=2)
    return RunRecorder(tmp_path, ["door"], crops=store, references=None), store


def shown(sequence, identity_id, track, at_s, store, kind="entered"):
    """An event that points to a picture, which is in the store already."""
    store.add(identity_id, "door", at_s, np.zeros((40, 20, 3), np.uint8), 0.5)
    return linked(sequence, identity_id, track, at_s, kind, frame=FramePointer("elsewhere", "door", at_s, "kept/a.jpg"))


def crops_of(store, *identity_ids):
    return {i: sorted(c.captured_at_s for c in store.of(i)) for i in identity_ids}


def test_the_pictures_of_a_track_go_with_it_through_split_and_back(with_crops):
    recorder, store = with_crops
    recorder.event(shown(1, 1, key(1), 1.0, store))
    recorder.event(shown(2, 1, key(2), 50.0, store, kind="reentered"))
    recorder.event(linked(3, 2, key(2), 60.0, kind="split", other_identity_id=1))
    assert crops_of(store, 1, 2) == {1: [1.0], 2: [50.0]}
    recorder.event(linked(4, 1, key(2), 70.0, kind="reassigned", other_identity_id=2))
    assert crops_of(store, 1, 2) == {1: [1.0, 50.0], 2: []}
    assert not (store.out_dir / "crops" / "2").exists()


def test_pictures_of_a_merged_identity_are_split_off_under_the_id_that_lives_on(with_crops):
    recorder, store = with_crops
    recorder.event(shown(1, 1, key(1), 1.0, store))
    recorder.event(shown(2, 2, key(2), 50.0, store))
    recorder.event(linked(3, 2, None, 55.0, kind="merged", other_identity_id=1))
    assert crops_of(store, 1, 2) == {1: [1.0, 50.0], 2: []}
    recorder.event(linked(4, 3, key(2), 60.0, kind="split", other_identity_id=1))
    assert crops_of(store, 1, 3) == {1: [1.0], 3: [50.0]}


def test_a_move_keeps_the_best_and_touches_no_other_cameras_pictures(tmp_path):
    store = CropStore(tmp_path, per_identity=1)
    store.add(1, "door", 1.0, np.zeros((40, 20, 3), np.uint8), 0.9)
    store.add(2, "door", 1.0, np.zeros((40, 20, 3), np.uint8), 0.3)
    assert store.move(1, 2, "hall", [1.0]) == 0 == store.move(1, 1, "door", [1.0]) == store.move(7, 8, "door", [])
    assert store.move(1, 2, "door", [1.0004]) == 1
    assert [c.quality for c in store.of(2)] == [0.9] and store.of(1) == []
