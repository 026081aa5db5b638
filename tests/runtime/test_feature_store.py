"""Features on disk: what is added comes back, whatever happens to the writer; erased rows are gone."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DecodeError, OutputError
from pipeline.runtime.feature_files import ROW, read_features, stored_models
from pipeline.runtime.feature_store import FeatureStore, erase_before, erase_tracks
from pipeline.types import ClipFeature, FramePointer, TrackKey

MODEL = "net@1/mean"
D = 8


def key(track_id, camera="door", epoch="1"):
    return TrackKey(camera, epoch, track_id)


def clip(track, sequence, at_s=0.0, model_id=MODEL, size=D, frame=None):
    vector = np.random.default_rng([sequence, track.track_id]).standard_normal(size).astype(np.float32)
    vector = (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)
    nothing = np.zeros((1, 1), np.float32)
    return ClipFeature(
        track, sequence, at_s, at_s, at_s + 1.0, at_s + 1.0, vector, nothing, np.ones(1), nothing, 0.5, model_id, frame
    )


def store_of(tmp_path, clips, **how):
    store = FeatureStore(tmp_path, **how)
    added = [store.add(one) for one in clips]
    store.close()
    return added


def segments(tmp_path, ending="rows"):
    return sorted((tmp_path / "features").glob(f"*/*.{ending}"))


def test_what_was_added_comes_back_in_order_and_to_the_bit(tmp_path):
    clips = [clip(key(n, camera), n, float(n)) for n in (1, 2, 3) for camera in ("door", "hall")]
    assert all(store_of(tmp_path, clips))
    found = read_features(tmp_path, MODEL)
    assert [found.key(row) for row in found.rows] == [one.key for one in clips]
    assert found.rows["start_s"].tolist() == [one.start_s for one in clips]
    assert found.rows["end_s"].tolist() == [one.end_s for one in clips]
    assert (found.gather(np.arange(6)) == np.stack([one.embedding for one in clips])).all()
    assert (found.gather(np.array([4, 1])) == np.stack([clips[4].embedding, clips[1].embedding])).all()
    assert stored_models(tmp_path) == {MODEL: 6}


def test_rows_are_of_a_fixed_size_and_can_be_mapped(tmp_path):
    store_of(tmp_path, [clip(key(1), n) for n in (1, 2, 3)])
    (rows,), (vectors,) = segments(tmp_path), segments(tmp_path, "vectors")
    assert ROW.itemsize == 64
    assert (rows.stat().st_size, vectors.stat().st_size) == (3 * 64, 3 * 2 * D)
    assert isinstance(read_features(tmp_path, MODEL).vectors[0], np.memmap)


def test_only_the_owner_may_read_features_of_people(tmp_path):
    store_of(tmp_path, [clip(key(1), 1)])
    for path in [*segments(tmp_path), *segments(tmp_path, "vectors")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_without_features_has_none(tmp_path):
    found = read_features(tmp_path, MODEL)
    assert len(found) == 0 and found.vectors == () and found.gather(np.zeros(0, np.int64)).shape == (0, 0)
    assert stored_models(tmp_path) == {} and erase_tracks(tmp_path, [key(1)]) == 0 and erase_before(tmp_path, 9.0) == 0


def test_a_store_that_nothing_was_added_to_makes_no_folder(tmp_path):
    store_of(tmp_path, [])
    assert not (tmp_path / "features").exists()


def test_a_message_that_is_delivered_again_is_added_once_also_after_a_restart(tmp_path):
    assert store_of(tmp_path, [clip(key(1), 1), clip(key(1), 1), clip(key(2), 2)]) == [True, False, True]
    assert store_of(tmp_path, [clip(key(2), 2), clip(key(2), 3), clip(key(2, epoch="2"), 1)]) == [False, True, True]
    assert len(read_features(tmp_path, MODEL)) == 4


def test_each_model_has_files_of_its_own(tmp_path):
    store_of(tmp_path, [clip(key(1), 1), clip(key(1), 2, model_id="other@2/mean", size=3)])
    assert stored_models(tmp_path) == {MODEL: 1, "other@2/mean": 1}
    assert read_features(tmp_path, "other@2/mean").gather(np.array([0])).shape == (1, 3)


def test_the_kept_frame_of_a_clip_is_remembered(tmp_path):
    frame = FramePointer("replay", "door", 12.34, "kept/door/12.340_000308.jpg")
    store_of(tmp_path, [clip(key(1), 1, frame=frame), clip(key(1), 2)])
    rows = read_features(tmp_path, MODEL).rows
    assert rows["picture_at_s"][0] == 12.34 and rows["picture_index"].tolist() == [308, -1]
    assert np.isnan(rows["picture_at_s"][1])


# -- killed writers


@pytest.mark.parametrize("left_over", [(1, 0), (2 * D, 0), (2 * D + 3, 0), (2 * D, 1), (2 * D, 63)])
def test_what_a_killed_writer_left_half_written_is_not_read_and_is_cut_off_by_the_next_one(tmp_path, left_over):
    store_of(tmp_path, [clip(key(1), 1), clip(key(1), 2)])
    for path, extra in zip((segments(tmp_path, "vectors")[0], segments(tmp_path)[0]), left_over, strict=True):
        with path.open("ab") as file:
            file.write(b"\xff" * extra)
    assert len(read_features(tmp_path, MODEL)) == 2
    third = clip(key(1), 3)
    store_of(tmp_path, [third])
    found = read_features(tmp_path, MODEL)
    assert len(found) == 3 and (found.gather(np.array([2]))[0] == third.embedding).all()


def test_a_torn_line_of_streams_is_written_anew(tmp_path):
    store_of(tmp_path, [clip(key(1), 1)])
    names = next((tmp_path / "features").glob("*/streams.jsonl"))
    with names.open("a") as file:
        file.write('["hal')
    store_of(tmp_path, [clip(key(5, "hall"), 1)])
    found = read_features(tmp_path, MODEL)
    assert [found.key(row) for row in found.rows] == [key(1), key(5, "hall")]


def test_a_reader_sees_whole_rows_while_a_writer_goes_on(tmp_path):
    store = FeatureStore(tmp_path)
    store.add(clip(key(1), 1))
    before = read_features(tmp_path, MODEL)
    store.add(clip(key(1), 2))
    assert len(before) == 1 and len(read_features(tmp_path, MODEL)) == 2
    store.close()


def test_a_full_disk_leaves_whole_rows_and_the_store_goes_on(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path)
    store.add(clip(key(1), 1))
    written = os.write

    def full(file, content):
        if len(content) == ROW.itemsize:
            raise OSError(28, "No space left on device")
        return written(file, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="free some space"):
        store.add(clip(key(1), 2))
    monkeypatch.undo()
    third = clip(key(1), 3)
    assert store.add(third)
    store.close()
    found = read_features(tmp_path, MODEL)
    assert found.rows["sequence"].tolist() == [1, 3] and (found.gather(np.array([1]))[0] == third.embedding).all()


# -- segments, erasing, expiry


def test_segments_are_counted_through(tmp_path):
    clips = [clip(key(n), n) for n in range(1, 8)]
    store_of(tmp_path, clips[:4], segment_rows=3)
    store_of(tmp_path, clips[4:], segment_rows=3)
    assert [path.name for path in segments(tmp_path)] == ["000001.rows", "000002.rows", "000003.rows"]
    found = read_features(tmp_path, MODEL)
    assert [len(v) for v in found.vectors] == [3, 3, 1] and found.rows["track_id"].tolist() == list(range(1, 8))
    assert (found.gather(np.array([6, 2])) == np.stack([clips[6].embedding, clips[2].embedding])).all()


def test_erased_tracks_leave_nothing_and_the_others_stay(tmp_path):
    clips = [clip(key(n % 2 + 1), n) for n in range(1, 8)] + [clip(key(1, "hall"), 1), clip(key(1, epoch="2"), 1)]
    store_of(tmp_path, clips, segment_rows=4)
    assert erase_tracks(tmp_path, [key(1)]) == 3
    assert erase_tracks(tmp_path, [key(1)]) == 0
    content = b"".join(path.read_bytes() for path in segments(tmp_path, "vectors"))
    for one in clips:
        assert (one.embedding.astype("<f2").tobytes() in content) is (one.key != key(1))
    found = read_features(tmp_path, MODEL)
    alive = found.rows[found.rows["alive"] == 1]
    assert [found.key(row) for row in alive] == [one.key for one in clips if one.key != key(1)]
    assert not any(found.rows[found.rows["alive"] == 0].tobytes())
    assert stored_models(tmp_path) == {MODEL: 6}


def test_erasing_does_not_disturb_a_writer_that_goes_on(tmp_path):
    store = FeatureStore(tmp_path)
    store.add(clip(key(1), 1))
    store.add(clip(key(2), 2))
    assert store.erase([key(1)]) == 1
    assert store.add(clip(key(3), 3))
    store.close()
    found = read_features(tmp_path, MODEL)
    assert [found.key(row) for row in found.rows if row["alive"]] == [key(2), key(3)]


def test_a_segment_of_nothing_but_erased_rows_is_removed(tmp_path):
    store_of(tmp_path, [clip(key(n), n) for n in range(1, 6)], segment_rows=2)
    erase_tracks(tmp_path, [key(1), key(2), key(5)])
    assert [path.name for path in segments(tmp_path)] == ["000002.rows", "000003.rows"]
    assert [path.name for path in segments(tmp_path, "vectors")] == ["000002.vectors", "000003.vectors"]
    store_of(tmp_path, [clip(key(6), 6), clip(key(7), 7)], segment_rows=2)
    alive = read_features(tmp_path, MODEL).rows
    assert alive[alive["alive"] == 1]["track_id"].tolist() == [3, 4, 6, 7]


def test_rows_that_are_too_old_are_erased_as_time_goes_on(tmp_path):
    store = FeatureStore(tmp_path, features_s=100.0, segment_rows=2)
    for n in range(1, 8):
        store.add(clip(key(n), n, at_s=50.0 * n))
    store.close()
    rows = read_features(tmp_path, MODEL).rows
    assert rows[rows["alive"] == 1]["track_id"].tolist() == [5, 6, 7]
    assert [path.name for path in segments(tmp_path)] == ["000003.rows", "000004.rows"]
    assert erase_before(tmp_path, 300.0) == 1 and erase_before(tmp_path, 300.0) == 0
    assert erase_before(tmp_path, 400.0) == 2
    assert [path.name for path in segments(tmp_path)] == ["000004.rows"]


def test_no_time_erases_nothing(tmp_path):
    store_of(tmp_path, [clip(key(1), 1, at_s=0.0), clip(key(1), 2, at_s=1e9)])
    assert stored_models(tmp_path) == {MODEL: 2}


# -- damage


def test_files_of_another_version_are_passed_over_and_not_written_to(tmp_path, caplog):
    store_of(tmp_path, [clip(key(1), 1)])
    path = next((tmp_path / "features").glob("*/model.json"))
    path.write_text(json.dumps({"schema": 99, "model_id": MODEL, "dimensions": D}))
    assert stored_models(tmp_path) == {} and "passed over" in caplog.text
    with pytest.raises(DecodeError, match="another version"):
        store_of(tmp_path, [clip(key(1), 2)])
    with pytest.raises(DecodeError, match="another version"):
        read_features(tmp_path, MODEL)


@pytest.mark.parametrize("damage", ["vectors", "streams"])
def test_rows_without_what_they_name_are_an_error(tmp_path, damage):
    store_of(tmp_path, [clip(key(1), 1)])
    path = segments(tmp_path, "vectors")[0]
    (path if damage == "vectors" else path.with_name("streams.jsonl")).write_bytes(b"")
    with pytest.raises(DecodeError, match="damaged"):
        read_features(tmp_path, MODEL)


def test_vectors_of_another_length_are_refused(tmp_path):
    store = FeatureStore(tmp_path)
    store.add(clip(key(1), 1))
    with pytest.raises(ValueError, match="expected 8 values"):
        store.add(clip(key(1), 2, size=9))
    store.close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "features").write_text("in the way")
    with pytest.raises(OutputError, match="features"):
        store_of(tmp_path, [clip(key(1), 1)])
    assert isinstance(tmp_path, Path)
