"""The benchmark sites: what is measured on recordings, and the hour that is never rendered. No model is loaded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generated_site import make
from generated_site.crop_pool import CropPool, PoolStay, fill_pool, load_pool, save_pool
from generated_site.detections import judge_detections, read_recorded
from generated_site.hardness import KINDS, distances_by_kind, overlap_of, read_lookalikes
from generated_site.make_long import write_long_site
from generated_site.unseen_messages import Looks, publish
from generated_site.unseen_tracks import UnseenTrack, make_tracks

from pipeline.config import CameraConfig, Config, DetectorConfig
from pipeline.ports import EncoderDescription
from pipeline.scenes.silhouettes import Sighting
from pipeline.scenes.sites import make_site
from pipeline.scoring.clips import LabelledClip
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth, read_ground_truth
from pipeline.scoring.roles import Role
from pipeline.scoring.rows import Rows
from pipeline.types import (
    CameraState,
    ClipFeature,
    CropFeature,
    CropQuality,
    FusedClip,
    Tick,
    TrackKey,
    Tracklet,
)

SIZE_PX = (640, 360)


class ColourEncoder:
    """Encodes a crop as its mean colour in two stripes."""

    def describe(self) -> EncoderDescription:
        return EncoderDescription("colour", 2, 3)

    def encode(self, frames, boxes):
        return [[self._one(frame, box) for box in own] for frame, own in zip(frames, boxes, strict=True)]

    def _one(self, frame, box):
        x1, y1, x2, y2 = np.clip(box, 0, [639, 359, 639, 359]).astype(int)
        crop = frame.image[y1 : y2 + 1, x1 : x2 + 1].reshape(-1, 3).mean(axis=0)
        return CropFeature(
            frame.captured_at_s, np.stack([crop, crop]), np.ones(2), CropQuality(0, 0, 0, 0, 0), "colour"
        )


class MeanHead:
    clip_model_id = "colour/mean"

    def fuse(self, crops):
        mean = np.mean([crop.stripes[0] for crop in crops], axis=0) + 1e-3
        unit = (mean / np.linalg.norm(mean)).astype(np.float32)
        return FusedClip(unit, unit[None], np.ones(1), np.full((len(crops), 1), 1 / len(crops)))


def crop(at_s: float = 0.0, overlap: float = 0.0, value: float = 1.0) -> CropFeature:
    stripes = np.array([[value, 1, 0], [0, 1, value]], np.float32)
    return CropFeature(at_s, stripes, np.ones(2), CropQuality(150, 80, 0, overlap, 0.8), "colour")


def pool_of(*people: int, cameras: tuple[str, ...] = ("c",)) -> CropPool:
    stay = PoolStay(tuple(crop(i / 2) for i in range(6)), np.linspace(0, 1, 6, dtype=np.float32))
    return CropPool({(person, camera): (stay,) for person in people for camera in cameras}, "colour")


def sighting(person_id: int, first: int, count: int, x: float = 100, visible: float = 1.0, step: float = 6) -> Sighting:
    left = x + step * np.arange(count)
    boxes = np.stack([left, np.full(count, 100), left + 50, np.full(count, 250)], axis=1).astype(np.float32)
    progress = np.linspace(0, 1, count, dtype=np.float32)
    return Sighting(
        person_id, "c", np.arange(first, first + count), boxes, np.full(count, visible, np.float32), progress
    )


# -- tracks -----------------------------------------------------------------------------------------------------------


def test_who_is_seen_well_is_one_track_with_boxes_close_to_the_true_ones() -> None:
    seen = sighting(7, 10, 40)
    (track,) = make_tracks([seen], 5.0, 2.0, SIZE_PX, np.random.default_rng(0))
    assert set(track.person_ids.tolist()) == {7}
    assert len(track.frames) >= 38 and (np.diff(track.frames) == 1).all()
    true = seen.xyxy[track.frames - 10]
    assert 0 < np.abs(track.xyxy - true)[track.found].mean() < 3
    assert not track.left_picture


def test_who_is_hidden_for_longer_than_a_track_lives_is_two_tracks() -> None:
    seen = sighting(7, 0, 60, step=2)
    visibility = seen.visibility.copy()
    visibility[20:40] = 0.0
    tracks = make_tracks([replace(seen, visibility=visibility)], 5.0, 2.0, SIZE_PX, np.random.default_rng(0))
    assert len(tracks) == 2
    assert tracks[0].frames[-1] < 20 and tracks[1].frames[0] >= 40


def test_a_short_gap_is_filled_in_with_boxes_without_confidence() -> None:
    seen = sighting(7, 0, 60, step=2)
    visibility = seen.visibility.copy()
    visibility[20:25] = 0.0
    (track,) = make_tracks([replace(seen, visibility=visibility)], 5.0, 2.0, SIZE_PX, np.random.default_rng(0))
    gap = (track.frames >= 20) & (track.frames < 25)
    assert gap.sum() == 5 and not track.confidence[gap].any()
    np.testing.assert_allclose(track.xyxy[gap][:, 0], seen.xyxy[20:25, 0], atol=4)


def test_who_walks_out_at_the_side_has_left_the_picture() -> None:
    (track,) = make_tracks([sighting(7, 0, 40, x=380)], 5.0, 2.0, SIZE_PX, np.random.default_rng(0))
    assert track.left_picture


def test_nobody_makes_no_track_and_neither_does_a_glimpse() -> None:
    rng = np.random.default_rng(0)
    assert make_tracks([], 5.0, 2.0, SIZE_PX, rng) == []
    assert make_tracks([sighting(7, 0, 1)], 5.0, 2.0, SIZE_PX, rng) == []
    assert make_tracks([sighting(7, 0, 40, visible=0.0)], 5.0, 2.0, SIZE_PX, rng) == []


def test_tracks_of_people_who_cross_change_over_now_and_then() -> None:
    changed = 0
    for seed in range(60):
        hidden = sighting(1, 0, 40)
        visibility = hidden.visibility.copy()
        visibility[18:21] = 0.1
        other = sighting(2, 0, 40, x=110)
        tracks = make_tracks(
            [replace(hidden, visibility=visibility), other], 5.0, 2.0, SIZE_PX, np.random.default_rng(seed)
        )
        people = [set(track.person_ids.tolist()) for track in tracks]
        changed += {1, 2} in people
        assert all((np.diff(track.frames) == 1).all() for track in tracks)
    assert 0 < changed < 30


# -- messages ---------------------------------------------------------------------------------------------------------


def track_of(person_id: int, first: int, count: int) -> UnseenTrack:
    seen = sighting(person_id, first, count)
    people = np.full(count, person_id, np.int64)
    return UnseenTrack(
        seen.frames, seen.xyxy, people, seen.progress, seen.visibility, np.ones(count, bool), left_picture=False
    )


def told(tracks: list[UnseenTrack], frame_count: int) -> list[tuple[int, list]]:
    looks = Looks(pool_of(1, 2), "c", np.random.default_rng(0))
    return list(publish("c", tracks, frame_count, 5.0, Config(), looks, MeanHead(), SIZE_PX))


def test_messages_are_numbered_without_gaps_and_end_with_the_camera() -> None:
    frames = told([track_of(1, 5, 20), track_of(2, 10, 60)], 60)
    messages = [message for _, own in frames for message in own]
    assert [frame for frame, _ in frames] == list(range(60))
    assert [message.sequence for message in messages] == list(range(1, len(messages) + 1))
    assert isinstance(messages[-1], CameraState) and messages[-1].status == "end"
    assert sum(isinstance(message, Tracklet) for message in messages) == 2


def test_the_first_clip_comes_after_the_first_clip_time_and_then_one_a_second() -> None:
    clips = [m for _, own in told([track_of(1, 5, 21)], 60) for m in own if isinstance(m, ClipFeature)]
    assert [clip.made_at_s for clip in clips] == pytest.approx([1.4, 2.4, 3.4, 4.4, 5.4])
    assert clips[0].first_visible_s == 1.0 and clips[0].picture_px == SIZE_PX
    assert np.concatenate([clip.seen_s for clip in clips]).tolist() == pytest.approx(np.arange(5, 26) / 5)


def test_a_tracklet_comes_when_the_track_has_been_lost_for_long_enough() -> None:
    frames = told([track_of(1, 5, 20)], 60)
    (ended,) = [(frame, m) for frame, own in frames for m in own if isinstance(m, Tracklet)]
    assert ended[0] == 24 + 11 and ended[1].ended_at_s == pytest.approx(35 / 5)
    assert ended[1].key == TrackKey("c", "1", 1)


def test_ticks_say_who_is_visible() -> None:
    ticks = {
        round(m.at_s * 5): m.visible for _, own in told([track_of(1, 5, 20)], 60) for m in own if isinstance(m, Tick)
    }
    assert ticks[4] == () and ticks[5] == (1,) and ticks[24] == (1,) and ticks[25] == ()


def test_an_empty_camera_ticks_and_ends() -> None:
    messages = [message for _, own in told([], 5) for message in own]
    assert [type(message) for message in messages] == [Tick] * 5 + [CameraState]


# -- pool and the whole -----------------------------------------------------------------------------------------------


def test_a_pool_has_everybody_in_every_camera_and_survives_the_disk(tmp_path: Path) -> None:
    site = make_site(3, people=2, pairs=0, duration_s=5)
    pool = fill_pool(site, ColourEncoder(), 1, 0.02, np.random.default_rng(0))
    assert set(pool.stays) == {(p, c.id) for p in (1, 2) for c in site.scenario.cameras}
    stay = pool.stays[2, "gate"][0]
    assert stay.progress[0] == 0 and stay.progress[-1] == 1 and stay.crops[0].quality.height_px > 100
    save_pool(pool, tmp_path / "pool.npz")
    again = load_pool(tmp_path / "pool.npz")
    assert again.model_id == "colour" and set(again.stays) == set(pool.stays)
    np.testing.assert_allclose(again.stays[2, "gate"][0].crops[3].stripes, stay.crops[3].stripes, rtol=1e-3)
    assert again.stays[2, "gate"][0].crops[3].quality == stay.crops[3].quality


def test_a_long_site_is_recorded_with_truth_of_the_same_people(tmp_path: Path) -> None:
    site = make_site(3, people=6, pairs=0, duration_s=60, fps=5)
    cameras = tuple(c.id for c in site.scenario.cameras)
    config = Config(
        site="g", cameras=tuple(CameraConfig(c, f"{c}.mp4") for c in cameras), detector=DetectorConfig("recorded")
    )
    pool = pool_of(*range(1, 7), cameras=cameras)
    count = write_long_site(site, tmp_path, pool, MeanHead(), config, np.random.default_rng(1))
    assert count >= len(site.crossings)
    truth = read_ground_truth(tmp_path / "gt", cameras)
    assert {int(i) for camera in truth.cameras.values() for i in camera.rows.ids} <= set(range(1, 7))
    assert sorted(p.stem for p in (tmp_path / "run" / "recorded" / "features").iterdir()) == sorted(cameras)


# -- measuring --------------------------------------------------------------------------------------------------------


def truth_of(boxes: np.ndarray) -> GroundTruth:
    count = len(boxes)
    rows = Rows(np.arange(1, count + 1), np.ones(count, np.int64), boxes, np.ones(count))
    return GroundTruth({"c": CameraTruth(rows, np.full(count, Role.PERSON, np.int8))})


def test_exact_detections_are_perfect_and_do_not_shake() -> None:
    boxes = np.tile([100.0, 50, 60, 180], (10, 1)) + np.arange(10)[:, None] * [4, 0, 0, 0]
    found = {"c": Rows(np.arange(1, 11), np.arange(1, 11), boxes, np.ones(10))}
    quality = judge_detections(truth_of(boxes), found)
    assert (quality.recall, quality.recall_70, quality.precision) == (1, 1, 1)
    assert quality.shake == (0, 0, 0) and quality.offset == (0, 0, 0)


def test_shake_and_offset_of_boxes_are_measured_in_shares_of_the_height() -> None:
    rng = np.random.default_rng(0)
    boxes = np.tile([300.0, 50, 60, 200], (400, 1))
    seen = boxes + np.stack([rng.normal(0, 2, 400), np.zeros(400), np.zeros(400), np.full(400, 4.0)], axis=1)
    quality = judge_detections(truth_of(boxes), {"c": Rows(np.arange(1, 401), np.arange(1, 401), seen, np.ones(400))})
    assert quality.shake[0] == pytest.approx(0.01, rel=0.15)
    assert quality.offset[1:] == pytest.approx((0.02, 0.02))


def test_nothing_found_is_no_recall_and_no_precision() -> None:
    quality = judge_detections(truth_of(np.array([[0.0, 0, 10, 20]])), {"c": Rows.empty()})
    assert quality.recall == 0 and np.isnan(quality.precision) and np.isnan(quality.shake[0])


def test_recorded_detections_are_read_from_a_confidence_on(tmp_path: Path) -> None:
    folder = tmp_path / "recorded" / "detections"
    folder.mkdir(parents=True)
    (folder / "c.txt").write_text("1,-1,10,20,30,60,0.9\n1,-1,50,20,30,60,0.2\n3,-1,10,20,30,60,0.5\n")
    (folder / "d.txt").write_text("")
    found = read_recorded(tmp_path, ["c", "d"], 0.5)
    assert found["c"].frames.tolist() == [1, 3] and len(found["d"]) == 0


def labelled(person_id: int, camera_id: str, visit: int, vector: list[float]) -> LabelledClip:
    unit = np.array(vector, np.float32) / np.linalg.norm(vector)
    key, nothing = TrackKey(camera_id, "1", person_id), np.zeros((1, 0), np.float32)
    clip = ClipFeature(key, 1, 0, 0, 1, 1, unit, np.zeros((0, 2)), np.zeros(0), nothing, 1.0, "colour")
    return LabelledClip(clip, person_id, visit)


def test_pairs_of_clips_are_sorted_by_what_they_have_in_common() -> None:
    clips = [
        labelled(1, "a", 1, [1, 0]),
        labelled(1, "a", 1, [1, 0]),
        labelled(1, "a", 2, [1, 0]),
        labelled(1, "b", 1, [0, 1]),
        labelled(2, "a", 1, [-1, 0]),
        labelled(3, "a", 1, [0, -1]),
    ]
    found = distances_by_kind(clips, frozenset([frozenset((1, 2))]))
    assert [len(found[kind]) for kind in KINDS] == [1, 2, 3, 4, 5]
    assert found[KINDS[0]].tolist() == pytest.approx([0], abs=1e-6)
    assert found[KINDS[3]].max() == pytest.approx(2)
    assert all(len(values) == 0 for values in distances_by_kind(clips[:1], frozenset()).values())


def test_the_overlap_is_the_share_of_pairs_in_the_wrong_order() -> None:
    same, different = np.array([0.1, 0.3], np.float32), np.array([0.2, 0.4], np.float32)
    assert overlap_of(same, different) == pytest.approx(0.25)
    assert np.isnan(overlap_of(same, np.zeros(0, np.float32)))


def test_a_folder_that_is_no_site_has_no_lookalikes(tmp_path: Path) -> None:
    assert read_lookalikes(tmp_path) == frozenset()


# -- command ----------------------------------------------------------------------------------------------------------


def test_a_site_is_made_once_and_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seed", "3", "--people", "2", "--duration-s", "0.3", "--out", str(tmp_path / "site")]
    assert make.main(arguments) == 0
    assert (tmp_path / "site" / "site.full.yaml").is_file() and (tmp_path / "site" / "gate.mp4").is_file()
    before = (tmp_path / "site" / "site.json").read_bytes()
    assert make.main(arguments) == 1
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "site" / "site.json").read_bytes() == before
